//! The promises of [`Directory`]. Works on a clean store as on one that other runs used before: each check has a tenant
//! of its own, and nodes of its own.

mod batches;
mod nodes;
mod watching;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use mics_domain::ports::{ConnectionLimits, Directory, Lease, Peer, Registered, Renewed, Route};
use tokio::time::{Instant, sleep};

/// Long enough that no lease of a check ends by itself.
const LONG_MS: u64 = 600_000;
/// Short enough to wait for.
const SHORT_MS: u64 = 40;
/// Nothing takes this long; only a broken promise waits for it.
const GIVE_UP: Duration = Duration::from_secs(20);

/// A route of `connection` on `node`; the other fields follow from these.
pub fn route(device: &str, node: &str, connection: u128) -> Route {
    Route { device: device.into(), at: peer(node, 1), connection, online_at_ms: 1_700_000_000_000 }
}

/// Incarnation `boot` of `node`.
pub fn peer(node: &str, boot: u64) -> Peer {
    Peer { node: node.into(), boot, endpoint: format!("http://{node}:8080").into() }
}

/// Good for ten minutes.
pub fn lease(tenant: &str, user: &str, device: &str, connection: u128) -> Lease {
    Lease { tenant: tenant.into(), user: user.into(), device: device.into(), connection, lease_ms: LONG_MS }
}

async fn unregister(directory: &impl Directory, tenant: &str, user: &str, device: &str, connection: u128) {
    directory.unregister(&[lease(tenant, user, device, connection)]).await.expect("unregister");
}

async fn renew(directory: &impl Directory, tenant: &str, user: &str, device: &str, connection: u128) -> Renewed {
    let answers = directory.renew(&[lease(tenant, user, device, connection)]).await.expect("renew");
    assert_eq!(answers.len(), 1, "one answer per lease");
    answers[0]
}

fn limits(tenant: u32, user: u32) -> ConnectionLimits {
    ConnectionLimits { tenant, user, lease_ms: LONG_MS, again: false }
}

fn fresh_tenant() -> String {
    format!("contract-{:016x}", rand::random::<u64>())
}

async fn routes_of(directory: &impl Directory, tenant: &str, user: &str) -> Vec<Route> {
    let users: [Arc<str>; 1] = [user.into()];
    let mut found = directory.routes(tenant, &users).await.expect("routes");
    assert_eq!(found.len(), 1, "one answer per user");
    let mut routes = found.remove(0);
    routes.sort_by(|a, b| a.device.cmp(&b.device));
    routes
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let give_up = Instant::now() + GIVE_UP;
    while !holds().await {
        assert!(Instant::now() < give_up, "never came: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Runs every check, each on what `make` gives.
pub async fn run_all<D, F, Fut>(make: F)
where
    D: Directory,
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<D>>,
{
    a_registered_device_is_found(&*make().await).await;
    routes_come_in_the_order_asked(&*make().await).await;
    newest_connection_of_a_device_wins_and_learns_of_the_earlier(&*make().await).await;
    registering_again_yields_to_a_newer_connection(&*make().await).await;
    unregister_and_renew_are_fenced(&*make().await).await;
    what_was_sent_is_remembered_for_its_time(&*make().await).await;
    one_of_all_who_ask_gets_a_claim(&*make().await).await;
    user_limit_counts_devices_of_that_user_only(&*make().await).await;
    tenant_limit_counts_every_user_and_frees_places(&*make().await).await;
    a_full_tenant_still_replaces(&*make().await).await;
    concurrent_registrations_stay_within_the_limit(&*make().await).await;
    concurrent_registrations_of_one_device_form_a_chain(&*make().await).await;
    a_lease_that_is_not_renewed_vanishes(&*make().await).await;
    a_renewed_lease_stays(&*make().await).await;
    odd_identifiers_do_not_collide(&*make().await).await;
    batches::run_all(&make).await;
    nodes::run_all(&make).await;
    watching::run_all(&make).await;
}

pub async fn a_registered_device_is_found(directory: &impl Directory) {
    let tenant = fresh_tenant();
    let phone = route("phone", "n1", u128::MAX);
    let desk = route("desk", "n2", 1);
    assert_eq!(directory.register(&tenant, "alice", &phone, limits(0, 0)).await, Ok(Registered::New));
    assert_eq!(directory.register(&tenant, "alice", &desk, limits(0, 0)).await, Ok(Registered::New));
    assert_eq!(routes_of(directory, &tenant, "alice").await, vec![desk.clone(), phone]);
    unregister(directory, &tenant, "alice", "phone", u128::MAX).await;
    assert_eq!(routes_of(directory, &tenant, "alice").await, vec![desk]);
}

pub async fn routes_come_in_the_order_asked(directory: &impl Directory) {
    let tenant = fresh_tenant();
    let users: Vec<Arc<str>> = (0..50).map(|n| format!("u{n}").into()).collect();
    for (n, user) in users.iter().enumerate().filter(|(n, _)| n % 3 == 0) {
        let route = route("d", "n1", n as u128);
        directory.register(&tenant, user, &route, limits(0, 0)).await.expect("register");
    }
    let found = directory.routes(&tenant, &users).await.expect("routes");
    let connections: Vec<Option<u128>> = found.iter().map(|r| r.first().map(|r| r.connection)).collect();
    let expected: Vec<Option<u128>> = (0..50).map(|n| (n % 3 == 0).then_some(n)).collect();
    assert_eq!(connections, expected);
    assert_eq!(directory.routes(&tenant, &[]).await, Ok(Vec::new()));
}

pub async fn newest_connection_of_a_device_wins_and_learns_of_the_earlier(directory: &impl Directory) {
    let tenant = fresh_tenant();
    let (old, new) = (route("phone", "n1", 1), route("phone", "n2", 2));
    assert_eq!(directory.register(&tenant, "alice", &old, limits(0, 0)).await, Ok(Registered::New));
    let answer = directory.register(&tenant, "alice", &new, limits(0, 0)).await;
    assert_eq!(answer, Ok(Registered::Replaced(Box::new(old))));
    assert_eq!(routes_of(directory, &tenant, "alice").await, vec![new]);
}

pub async fn registering_again_yields_to_a_newer_connection(directory: &impl Directory) {
    let tenant = fresh_tenant();
    let again = ConnectionLimits { again: true, ..limits(0, 0) };
    let (old, mut new) = (route("phone", "n1", 1), route("phone", "n2", 2));
    new.online_at_ms += 1;
    assert_eq!(directory.register(&tenant, "alice", &old, again).await, Ok(Registered::New));
    assert_eq!(
        directory.register(&tenant, "alice", &new, again).await,
        Ok(Registered::Replaced(Box::new(old.clone())))
    );
    assert_eq!(directory.register(&tenant, "alice", &old, again).await, Ok(Registered::Newer));
    assert_eq!(routes_of(directory, &tenant, "alice").await, vec![new.clone()]);
    assert_eq!(directory.register(&tenant, "alice", &old, limits(0, 0)).await, Ok(Registered::Replaced(Box::new(new))));
}

pub async fn what_was_sent_is_remembered_for_its_time(directory: &impl Directory) {
    let (tenant, other) = (fresh_tenant(), fresh_tenant());
    assert_eq!(directory.recall(&tenant, 1).await, Ok(None));
    directory.remember(&tenant, 1, u64::MAX, LONG_MS).await.expect("remember");
    assert_eq!(directory.recall(&tenant, 1).await, Ok(Some(u64::MAX)));
    assert_eq!((directory.recall(&tenant, 2).await, directory.recall(&other, 1).await), (Ok(None), Ok(None)));
    directory.remember(&tenant, 1, 7, LONG_MS).await.expect("remember");
    assert_eq!(directory.recall(&tenant, 1).await, Ok(Some(7)));
    directory.remember(&other, 1, 7, SHORT_MS).await.expect("remember");
    sleep(Duration::from_millis(2 * SHORT_MS)).await;
    assert_eq!(directory.recall(&other, 1).await, Ok(None));
}

pub async fn one_of_all_who_ask_gets_a_claim(directory: &impl Directory) {
    let (tenant, other) = (fresh_tenant(), fresh_tenant());
    let answers = futures_util::future::join_all((0..20).map(|_| directory.claim(&tenant, 1, LONG_MS))).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(true)).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(false)).count(), 19, "{answers:?}");
    assert_eq!(directory.claim(&tenant, 2, LONG_MS).await, Ok(true), "another identity");
    assert_eq!(directory.claim(&other, 1, SHORT_MS).await, Ok(true), "another tenant");
    sleep(Duration::from_millis(2 * SHORT_MS)).await;
    assert_eq!(directory.claim(&other, 1, SHORT_MS).await, Ok(true), "its time was up");
    directory.remember(&other, 2, 7, LONG_MS).await.expect("remember");
    assert_eq!(directory.claim(&other, 2, LONG_MS).await, Ok(false), "what is remembered is taken");
    assert_eq!(directory.recall(&other, 2).await, Ok(Some(7)));
}

pub async fn unregister_and_renew_are_fenced(directory: &impl Directory) {
    let tenant = fresh_tenant();
    let new = route("phone", "n1", 2);
    directory.register(&tenant, "alice", &route("phone", "n1", 1), limits(0, 0)).await.expect("register");
    directory.register(&tenant, "alice", &new, limits(0, 0)).await.expect("register");
    unregister(directory, &tenant, "alice", "phone", 1).await;
    assert_eq!(renew(directory, &tenant, "alice", "phone", 1).await, Renewed::Taken);
    assert_eq!(routes_of(directory, &tenant, "alice").await, vec![new]);
    assert_eq!(renew(directory, &tenant, "alice", "phone", 2).await, Renewed::Ours);
    assert_eq!(renew(directory, &tenant, "alice", "unknown", 2).await, Renewed::Absent);
    assert_eq!(renew(directory, &tenant, "unknown", "phone", 2).await, Renewed::Absent);
    unregister(directory, &tenant, "unknown", "phone", 2).await;
}

pub async fn user_limit_counts_devices_of_that_user_only(directory: &impl Directory) {
    let tenant = fresh_tenant();
    for n in 0..2_u128 {
        let route = route(&format!("d{n}"), "n1", n);
        assert_eq!(directory.register(&tenant, "alice", &route, limits(0, 2)).await, Ok(Registered::New));
    }
    let third = directory.register(&tenant, "alice", &route("d2", "n1", 2), limits(0, 2)).await;
    assert_eq!(third, Ok(Registered::UserFull { current: 2 }));
    assert_eq!(routes_of(directory, &tenant, "alice").await.len(), 2);
    let other = directory.register(&tenant, "bob", &route("d2", "n1", 3), limits(0, 2)).await;
    assert_eq!(other, Ok(Registered::New));
    let again = directory.register(&tenant, "alice", &route("d1", "n1", 4), limits(0, 2)).await;
    assert!(matches!(again, Ok(Registered::Replaced(_))), "a device that is online is not counted: {again:?}");
}

pub async fn tenant_limit_counts_every_user_and_frees_places(directory: &impl Directory) {
    let tenant = fresh_tenant();
    for n in 0..3_u128 {
        let route = route("d", "n1", n);
        assert_eq!(directory.register(&tenant, &format!("u{n}"), &route, limits(3, 0)).await, Ok(Registered::New));
    }
    let late = route("d", "n1", 9);
    let full = directory.register(&tenant, "late", &late, limits(3, 0)).await;
    assert_eq!(full, Ok(Registered::TenantFull { current: 3 }));
    assert!(routes_of(directory, &tenant, "late").await.is_empty(), "a refusal registers nothing");
    unregister(directory, &tenant, "u1", "d", 1).await;
    assert_eq!(directory.register(&tenant, "late", &late, limits(3, 0)).await, Ok(Registered::New));
    let elsewhere = directory.register(&fresh_tenant(), "u", &late, limits(3, 0)).await;
    assert_eq!(elsewhere, Ok(Registered::New), "tenants don't share a limit");
    // A refusal for the user's sake must not use up a place of the tenant.
    let tenant = fresh_tenant();
    directory.register(&tenant, "a", &route("d1", "n1", 1), limits(2, 1)).await.expect("register");
    for n in 0..5 {
        let refused = directory.register(&tenant, "a", &route("d2", "n1", n), limits(2, 1)).await;
        assert_eq!(refused, Ok(Registered::UserFull { current: 1 }));
    }
    let second = directory.register(&tenant, "b", &route("d", "n1", 2), limits(2, 1)).await;
    assert_eq!(second, Ok(Registered::New));
}

pub async fn a_full_tenant_still_replaces(directory: &impl Directory) {
    let tenant = fresh_tenant();
    directory.register(&tenant, "alice", &route("phone", "n1", 1), limits(1, 1)).await.expect("register");
    for connection in 2..6 {
        let new = route("phone", "n2", connection);
        let answer = directory.register(&tenant, "alice", &new, limits(1, 1)).await;
        let earlier = if connection == 2 { route("phone", "n1", 1) } else { route("phone", "n2", connection - 1) };
        assert_eq!(answer, Ok(Registered::Replaced(Box::new(earlier))));
    }
    unregister(directory, &tenant, "alice", "phone", 5).await;
    let answer = directory.register(&tenant, "bob", &route("d", "n1", 7), limits(1, 1)).await;
    assert_eq!(answer, Ok(Registered::New), "replacing must not leave places occupied");
}

pub async fn concurrent_registrations_stay_within_the_limit(directory: &impl Directory) {
    let tenant = fresh_tenant();
    let tenant = &tenant;
    let answers = futures_util::future::join_all((0..40_u128).map(|n| async move {
        let (user, route) = (format!("u{n}"), route("d", "n1", n));
        directory.register(tenant, &user, &route, limits(10, 0)).await.expect("register")
    }))
    .await;
    assert_eq!(answers.iter().filter(|a| **a == Registered::New).count(), 10);
    let users: Vec<Arc<str>> = (0..40).map(|n| format!("u{n}").into()).collect();
    let online = directory.routes(tenant, &users).await.expect("routes");
    assert_eq!(online.iter().flatten().count(), 10);
}

pub async fn concurrent_registrations_of_one_device_form_a_chain(directory: &impl Directory) {
    let tenant = fresh_tenant();
    let tenant = &tenant;
    let answers = futures_util::future::join_all((0..20_u128).map(|n| async move {
        let route = route("d", "n1", n);
        directory.register(tenant, "alice", &route, limits(0, 0)).await.expect("register")
    }))
    .await;
    assert_eq!(answers.iter().filter(|a| **a == Registered::New).count(), 1);
    let mut seen: Vec<u128> = answers
        .iter()
        .filter_map(|a| if let Registered::Replaced(old) = a { Some(old.connection) } else { None })
        .collect();
    seen.extend(routes_of(directory, tenant, "alice").await.iter().map(|r| r.connection));
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>(), "each connection but the last is reported to exactly one successor");
}

pub async fn a_lease_that_is_not_renewed_vanishes(directory: &impl Directory) {
    let tenant = fresh_tenant();
    let short = ConnectionLimits { tenant: 1, user: 1, lease_ms: SHORT_MS, again: false };
    directory.register(&tenant, "alice", &route("phone", "n1", 1), short).await.expect("register");
    until("the end of the lease", || async { routes_of(directory, &tenant, "alice").await.is_empty() }).await;
    assert_eq!(renew(directory, &tenant, "alice", "phone", 1).await, Renewed::Absent);
    let next = directory.register(&tenant, "alice", &route("desk", "n1", 2), limits(1, 1)).await;
    assert_eq!(next, Ok(Registered::New), "an expired lease occupies no place");
}

pub async fn a_renewed_lease_stays(directory: &impl Directory) {
    let tenant = fresh_tenant();
    let phone = route("phone", "n1", 1);
    // Long enough to be renewed in time by a busy machine, short enough to outlive.
    let lease = ConnectionLimits { tenant: 1, user: 0, lease_ms: 2_000, again: false };
    directory.register(&tenant, "alice", &phone, lease).await.expect("register");
    assert_eq!(renew(directory, &tenant, "alice", "phone", 1).await, Renewed::Ours);
    sleep(Duration::from_millis(2_200)).await;
    assert_eq!(routes_of(directory, &tenant, "alice").await, vec![phone]);
    let other = directory.register(&tenant, "bob", &route("d", "n1", 2), limits(1, 0)).await;
    assert_eq!(other, Ok(Registered::TenantFull { current: 1 }), "the tenant's place was renewed as well");
}

pub async fn odd_identifiers_do_not_collide(directory: &impl Directory) {
    let tenant = fresh_tenant();
    let pairs = [
        ("a|b", "c"),
        ("a", "b|c"),
        ("a:b", "c"),
        ("a%7Cb", "c"),
        ("{a}", "}{"),
        ("}", "{"),
        ("a/online", "d"),
        ("a b\"'\\", "*?[x]"),
        ("张三", "手机"),
        ("a:", ":c"),
    ];
    let routes: Vec<Route> = (0..).zip(pairs).map(|(n, (_, device))| route(device, "n|1:%", n)).collect();
    for ((user, _), route) in pairs.iter().zip(&routes) {
        assert_eq!(directory.register(&tenant, user, route, limits(100, 10)).await, Ok(Registered::New), "{user}");
    }
    for ((user, device), route) in pairs.iter().zip(&routes) {
        let expected: Vec<Route> = vec![route.clone()];
        assert_eq!(routes_of(directory, &tenant, user).await, expected, "{user}");
        assert_eq!(renew(directory, &tenant, user, device, route.connection).await, Renewed::Ours);
    }
    for ((user, device), route) in pairs.iter().zip(&routes) {
        unregister(directory, &tenant, user, device, route.connection).await;
        assert!(routes_of(directory, &tenant, user).await.is_empty(), "{user}");
    }
    let first = directory.register(&tenant, "u", &route("d", "n1", 99), limits(1, 0)).await;
    assert_eq!(first, Ok(Registered::New), "all places are free again");
}
