//! `mics admin`: what it shows, and how it ends.

use serde_json::Value;

use super::api::{Administered, TOKEN, admin_command, text};
use super::processes::port;
use super::redis_support::redis_is_missing;
use super::users::User;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_show_the_cluster_and_their_exit_codes_tell_the_outcome() {
    if redis_is_missing("commands_show_the_cluster_and_their_exit_codes_tell_the_outcome") {
        return;
    }
    let admin = Administered::start(2, |_| {}).await;
    let _alice = User::at(&admin.cluster.nodes[0], "alice").await;
    let shown = |words: &[&str]| {
        let output = admin.command(0, words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output));
        text(&output)
    };
    let nodes = shown(&["nodes"]);
    assert!(nodes.contains("node-1 *  serving") && nodes.contains("node-2    serving"), "{nodes}");
    assert!(shown(&["tenants"]).contains("t1"));
    let tenant = shown(&["tenant", "t1"]);
    assert!(tenant.contains("user_max_connections") && tenant.contains("CheckMessage"), "{tenant}");
    assert_eq!(shown(&["presence", "t1", "nobody"]), "offline\n");
    assert_eq!(shown(&["reload"]), "nothing has changed\n");
    assert!(shown(&["overview"]).contains("TENANT"));
    assert!(shown(&["actors"]).contains("offline_buffer"));
    let presence = shown(&["presence", "t1", "alice"]);
    assert!(presence.starts_with("DEVICE") && presence.contains("node-1"), "{presence}");
    let json: Value = serde_json::from_str(&shown(&["nodes", "--json"])).expect("one JSON object");
    assert_eq!(json["nodes"].as_array().map(Vec::len), Some(2));

    let code = |words: &[&str]| admin.command(0, words).status.code();
    assert_eq!(code(&["tenant", "nobody"]), Some(1));
    assert_eq!(code(&["tenants", "--limit", "0"]), Some(1));
    assert_eq!(code(&["frobnicate"]), Some(2));
    assert_eq!(code(&["kick", "t1"]), Some(2));
    let said = text(&admin.command(0, &["tenant", "nobody"]));
    assert_eq!(said, "unknown_tenant (404): this node serves no tenant nobody\n");

    // The token may stand in a file; a wrong one, no port and nobody at the port are told.
    let url = format!("http://127.0.0.1:{}", admin.ports[0]);
    let file = std::env::temp_dir().join(format!("mics-admin-token-{}", std::process::id()));
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let by_file = admin_command(&["nodes", "--url", &url, "--token-file", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(by_file.status.code(), Some(0), "{}", text(&by_file));
    std::fs::remove_file(&file).unwrap();
    let output = admin_command(&["nodes", "--url", &url]).env("ADMIN_TOKEN", "guess").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).starts_with("unauthorized (401)"), "{}", text(&output));
    assert_eq!(admin_command(&["nodes"]).output().unwrap().status.code(), Some(2));
    let nobody = admin_command(&["nodes", &format!("--ADMIN_PORT={}", port())]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(1), "{}", text(&nobody));
}

#[test]
fn a_node_whose_admin_port_is_taken_says_so_before_it_serves_anybody() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken_port = taken.local_addr().unwrap().port();
    let main_port = port();
    let mut gateway = std::process::Command::new(env!("CARGO_BIN_EXE_mics"));
    gateway.arg("gateway").env("PORT", main_port.to_string()).env("ADMIN_PORT", taken_port.to_string());
    let output = gateway.env("TENANT_AUTH_MAP", "{\"t1\":\"http://127.0.0.1:9\"}").output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("ADMIN_PORT={taken_port}: can't listen on 127.0.0.1:{taken_port}")), "{said}");
    assert!(!said.contains("node_started"), "{said}");
}
