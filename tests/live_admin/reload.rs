//! Tenants that change while the node runs: from a file, by the API, by SIGHUP, by being written; and mistakes that
//! change nothing.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::api::{Administered, call, signed, text};
use super::client::{Client, http_post_json};
use super::processes::{Node, SECRET, wait};
use super::redis_support::redis_is_missing;
use super::users::User;

const ROTATED: &str = "another secret of the tenant";

/// A file of the test's own.
struct TenantsFile(PathBuf);

impl TenantsFile {
    fn new(name: &str, text: &str) -> TenantsFile {
        let file = TenantsFile(std::env::temp_dir().join(format!("mics-tenants-{}-{name}", std::process::id())));
        file.write(text);
        file
    }

    /// As one should: whole or not at all.
    fn write(&self, text: &str) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &self.0).unwrap();
    }
}

impl Drop for TenantsFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn toml(tenants: &[(&str, &str, &str)]) -> String {
    let lines = |value: fn(&(&str, &str, &str)) -> String| {
        tenants.iter().map(|tenant| format!("{} = \"{}\"\n", tenant.0, value(tenant))).collect::<String>()
    };
    format!("[TENANT_AUTH_MAP]\n{}[TENANT_HOOK_SECRETS]\n{}", lines(|t| t.1.into()), lines(|t| t.2.into()))
}

/// How a newcomer is received.
fn knock(node: &Node, tenant: &str) -> Option<u16> {
    let mut client = Client::open(node.address(), &format!("tenantId={tenant}&token=valid%3Aeve&deviceId=knock"));
    match client.next() {
        super::client::Frame::Close(code, _) => code,
        _ => None,
    }
}

/// A cluster with tenant t1 from a file, and the URL of its hooks.
async fn with_file(n: usize, name: &str) -> (Administered, TenantsFile, String) {
    let file = TenantsFile::new(name, "");
    let mut url = String::new();
    let admin = Administered::start(n, |plan| {
        let map: Value = serde_json::from_str(&plan.variables["TENANT_AUTH_MAP"]).expect("a map");
        url = map["t1"].as_str().expect("a URL").to_owned();
        file.write(&toml(&[("t1", &url, SECRET)]));
        plan.set("TENANT_AUTH_MAP", "");
        plan.set("TENANT_HOOK_SECRETS", "");
        plan.set("TENANTS_FILE", file.0.display());
    })
    .await;
    (admin, file, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_over_what_is_right_and_nothing_of_what_is_wrong() {
    if redis_is_missing("a_reload_takes_over_what_is_right_and_nothing_of_what_is_wrong") {
        return;
    }
    let (mut admin, file, url) = with_file(1, "reload").await;
    let alice = User::at(&admin.cluster.nodes[0], "alice").await;
    let same = admin.post("/admin/v1/reload", "").body;
    assert_eq!((&same["added"], &same["changed"], &same["restart_needed"]), (&json!([]), &json!([]), &json!(false)));
    let successful = |admin: &Administered| admin.cluster.nodes[0].metric("mics_config_last_reload_successful", &[]);
    let when =
        |admin: &Administered| admin.cluster.nodes[0].metric("mics_config_last_reload_success_timestamp_seconds", &[]);
    let first = when(&admin);
    assert!(successful(&admin) == 1.0 && first > 1.7e9, "{first}");

    // Every mistake is named, nothing is changed, and no secret is shown.
    let wrong =
        "[TENANT_AUTH_MAP]\nt1 = \"ftp://x\"\n\"t 2\" = \"http://x\"\n[TENANT_HOOK_SECRETS]\nt1 = 5\n[PORT]\nx = 1\n";
    file.write(wrong);
    let refused = admin.post("/admin/v1/reload", "");
    assert_eq!(refused.problem(), (422, "invalid_configuration"));
    assert_eq!(successful(&admin), 0.0);
    let mistakes = refused.body["error"]["details"].to_string();
    for part in ["ftp://x", "t 2", "TENANT_HOOK_SECRETS", "PORT__x"] {
        assert!(mistakes.contains(part), "{part} is not in {mistakes}");
    }
    let output = admin.command(0, &["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("is not an absolute http or https URL"), "{}", text(&output));
    for broken in ["", "t1 = ", "{\"TENANT_AUTH_MAP\": {", "{}", "[TENANT_AUTH_MAP]\n"] {
        file.write(broken);
        assert_eq!(admin.post("/admin/v1/reload", "").problem(), (422, "invalid_configuration"), "{broken:?}");
    }
    std::fs::remove_file(&file.0).unwrap();
    assert_eq!(admin.post("/admin/v1/reload", "").problem(), (422, "invalid_configuration"), "no file");
    alice.tell("bob", "m-1").await;
    assert_eq!(knock(&admin.cluster.nodes[0], "t1"), None, "t1 is served as before");

    // JSON is as good as TOML. The new tenant's back end refuses (4001), the tenant is known (no 4002).
    assert_eq!(knock(&admin.cluster.nodes[0], "t2"), Some(4002));
    file.write(
        &json!({ "TENANT_AUTH_MAP": { "t1": url, "t2": url }, "TENANT_HOOK_SECRETS": { "t1": SECRET } }).to_string(),
    );
    let added = admin.post("/admin/v1/reload", "").body;
    assert_eq!((&added["added"], &added["removed"]), (&json!(["t2"]), &json!([])));
    assert!(successful(&admin) == 1.0 && when(&admin) >= first, "{} after {first}", when(&admin));
    assert_eq!(knock(&admin.cluster.nodes[0], "t2"), Some(4001));
    assert_eq!(admin.get("/admin/v1/tenants").body["total"], 2);
    alice.tell("bob", "m-2").await;
    alice.still_connected();
    let log = admin.cluster.nodes[0].process().log();
    assert!(log.contains("tenant_added") && log.contains("reload_refused"), "{log}");
    assert!(!log.contains(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_tenant_is_refused_and_its_sessions_closed_and_it_may_come_back() {
    if redis_is_missing("a_removed_tenant_is_refused_and_its_sessions_closed_and_it_may_come_back") {
        return;
    }
    let (admin, file, url) = with_file(1, "removed").await;
    let node = &admin.cluster.nodes[0];
    let users = [User::at(node, "alice").await, User::at(node, "bob").await];
    users[0].tell("dave", "kept").await;
    file.write(&toml(&[("t2", &url, "x")]));
    let removed = admin.post("/admin/v1/reload", "").body;
    assert_eq!((&removed["added"], &removed["removed"]), (&json!(["t2"]), &json!(["t1"])));
    for user in &users {
        assert_eq!(user.closed().await, 4002);
    }
    assert_eq!(knock(node, "t1"), Some(4002));
    assert_eq!(admin.get("/admin/v1/tenants/t1").problem(), (404, "unknown_tenant"));
    wait("nobody is left", || node.metric("mics_ws_connections", &[]) == 0.0).await;

    file.write(&toml(&[("t1", &url, SECRET)]));
    assert_eq!(admin.post("/admin/v1/reload", "").body["added"], json!(["t1"]));
    let dave = User::at(node, "dave").await;
    dave.got(&["kept".into()]).await;
    dave.still_connected();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_under_way_are_carried_to_their_end_whatever_changes() {
    if redis_is_missing("messages_under_way_are_carried_to_their_end_whatever_changes") {
        return;
    }
    let (admin, file, url) = with_file(2, "way").await;
    let hooks = url.strip_prefix("http://").and_then(|address| address.parse().ok()).expect("an address");
    let alice = User::at(&admin.cluster.nodes[0], "alice").await;
    let slow = |ms: u32| {
        let faults = json!({ "check-message": { "delay_ms": ms } }).to_string();
        assert_eq!(http_post_json(hooks, "/_mock/faults", &faults).0, 204);
    };
    let checked = || admin.cluster.nodes[0].metric("mics_hook_check_message_total", &[]);
    slow(100);
    // Other settings: the message has its ack. (The hooks of a session are those that its /auth named.)
    let ids: Vec<String> = (0..10).map(|n| format!("m-{n}")).collect();
    let saying = async {
        for id in &ids {
            alice.tell("bob", id).await;
        }
    };
    let changing = async {
        for n in 0..5 {
            wait("some are on their way", || checked() >= f64::from(n)).await;
            file.write(&toml(&[("t1", &url, if n % 2 == 0 { ROTATED } else { SECRET })]));
            let changed = tokio::task::block_in_place(|| admin.post("/admin/v1/reload", ""));
            assert_eq!(changed.status, 200, "{changed:?}");
        }
    };
    tokio::join!(saying, changing);
    alice.still_connected();

    // No tenant any more: the ack has nobody to go to, the message is kept all the same.
    let before = admin.cluster.nodes[0].metric("mics_messages_in_total", &[]);
    let client = alice.client.clone();
    let said = tokio::spawn(async move { client.send_single_chat("bob", "x", Some("last".into())).await });
    wait("it is on its way", || admin.cluster.nodes[0].metric("mics_messages_in_total", &[]) > before).await;
    file.write(&toml(&[("t2", &url, "x")]));
    assert_eq!(admin.post("/admin/v1/reload", "").body["removed"], json!(["t1"]));
    assert_eq!(alice.closed().await, 4002);
    said.abort();
    slow(0);
    file.write(&toml(&[("t1", &url, SECRET)]));
    for node in [0, 1] {
        // The second node may have looked at the file in between, and noticed by itself.
        let known = || knock(&admin.cluster.nodes[node], "t1").is_none();
        wait("the tenant is back everywhere", known).await;
    }
    let bob = User::at(&admin.cluster.nodes[0], "bob").await;
    bob.got(&ids.iter().cloned().chain(["last".into()]).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_hangups_are_noticed_and_a_rotated_secret_has_an_overlap() {
    if redis_is_missing("files_and_hangups_are_noticed_and_a_rotated_secret_has_an_overlap") {
        return;
    }
    let (mut admin, file, url) = with_file(1, "noticed").await;
    let port = admin.ports[0];
    let alice = User::at(&admin.cluster.nodes[0], "alice").await;
    let path = "/admin/v1/tenants/t1";
    let ask = |secret: &str| call(port, "GET", path, &signed("GET", path, "", "t1", secret, 0), "").status;
    assert_eq!((ask(SECRET), ask(ROTATED)), (200, 401));

    // By itself, once it is written.
    file.write(&toml(&[("t1", &url, ROTATED)]));
    wait("the new secret is accepted", || ask(ROTATED) == 200).await;
    assert_eq!(ask(SECRET), 200, "the one before as well, for a while");
    assert_eq!(ask("neither"), 401);
    // The mock knows the old one only: what is signed is signed with the new one at once.
    assert_eq!(knock(&admin.cluster.nodes[0], "t1"), Some(4001));

    // By SIGHUP: the process goes on.
    file.write(&toml(&[("t1", &url, SECRET), ("t2", &url, "x")]));
    admin.cluster.nodes[0].process().signal("HUP");
    wait("the second tenant is there", || admin.get("/admin/v1/tenants").body["total"] == 2).await;
    assert_eq!(knock(&admin.cluster.nodes[0], "t1"), None);
    alice.tell("bob", "m-1").await;
    alice.still_connected();
    let log = admin.cluster.nodes[0].process().log();
    let changed = log.lines().find(|line| line.contains("tenant_changed")).expect("the change is told");
    assert!(changed.contains("secret") && !log.contains(SECRET) && !log.contains(ROTATED), "{changed}");
}
