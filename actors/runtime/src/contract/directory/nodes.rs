//! Promises about the nodes themselves: who is live, and what becomes of a dead one's entries.

use std::future::Future;
use std::sync::Arc;

use mics_domain::ports::{Announced, Directory, Peer, Registered, Route};

use super::{SHORT_MS, fresh_tenant, limits, peer, route, routes_of, until};

/// A sign of life that outlasts a check.
const TTL_MS: u64 = 600_000;

pub(super) async fn run_all<D, F, Fut>(make: &F)
where
    D: Directory,
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<D>>,
{
    a_sign_of_life_is_remembered_and_seen(&*make().await).await;
    silence_is_death(&*make().await).await;
    a_new_incarnation_takes_the_place_of_the_old(&*make().await).await;
    who_leaves_is_dead_at_once(&*make().await).await;
    the_dead_are_buried_in_portions_and_forgotten(&*make().await).await;
    burying_spares_what_the_living_took_over(&*make().await).await;
    the_living_are_not_buried(&*make().await).await;
    several_may_bury_at_once(&*make().await).await;
}

fn fresh_peer() -> Peer {
    peer(&format!("node-{:016x}", rand::random::<u64>()), 1)
}

fn at(device: &str, at: &Peer, connection: u128) -> Route {
    Route { at: at.clone(), ..route(device, &at.node, connection) }
}

async fn announce(directory: &impl Directory, me: &Peer) -> Announced {
    directory.announce(me, TTL_MS).await.expect("announce")
}

async fn a_sign_of_life_is_remembered_and_seen(directory: &impl Directory) {
    let (one, two) = (peer(&format!("a|:{{%}}{}", fresh_tenant()), u64::MAX), fresh_peer());
    let first = announce(directory, &one).await;
    assert!(!first.remembered && first.live.contains(&one), "{first:?}");
    assert!(!announce(directory, &two).await.remembered);
    let again = announce(directory, &one).await;
    assert!(again.remembered && again.live.contains(&one) && again.live.contains(&two), "{again:?}");
    assert!(again.live.is_sorted_by(|a, b| a.node < b.node), "in the order of their ids: {again:?}");
    assert!(!again.dead.contains(&one) && !again.dead.contains(&two));
    assert!(again.now_ms >= first.now_ms && first.now_ms > 1_600_000_000_000, "Unix milliseconds");
    let moved = Peer { endpoint: "http://elsewhere:1".into(), ..one };
    assert!(announce(directory, &moved).await.live.contains(&moved), "an endpoint may change");
}

async fn silence_is_death(directory: &impl Directory) {
    let (silent, witness) = (fresh_peer(), fresh_peer());
    directory.announce(&silent, SHORT_MS).await.expect("announce");
    until("death", || async {
        let seen = announce(directory, &witness).await;
        assert_ne!(seen.live.contains(&silent), seen.dead.contains(&silent), "either live or dead");
        seen.dead.contains(&silent)
    })
    .await;
    let back = announce(directory, &silent).await;
    assert!(!back.remembered && back.live.contains(&silent) && !back.dead.contains(&silent));
}

async fn a_new_incarnation_takes_the_place_of_the_old(directory: &impl Directory) {
    let old = fresh_peer();
    let new = peer(&old.node, 2);
    announce(directory, &old).await;
    let seen = announce(directory, &new).await;
    assert!(!seen.remembered, "it has no sessions yet");
    assert!(seen.live.contains(&new) && !seen.live.contains(&old) && seen.dead.contains(&old), "{seen:?}");
    assert!(announce(directory, &new).await.remembered);
}

async fn who_leaves_is_dead_at_once(directory: &impl Directory) {
    let (leaver, witness) = (fresh_peer(), fresh_peer());
    announce(directory, &leaver).await;
    directory.leave(&leaver).await.expect("leave");
    let seen = announce(directory, &witness).await;
    assert!(!seen.live.contains(&leaver) && seen.dead.contains(&leaver), "{seen:?}");
    let live = directory.live().await.expect("live");
    assert!(live.contains(&witness) && !live.contains(&leaver), "{live:?}");
    directory.leave(&fresh_peer()).await.expect("an unknown node may leave");
    directory.leave(&leaver).await.expect("and one that left");
}

async fn the_dead_are_buried_in_portions_and_forgotten(directory: &impl Directory) {
    let (dead, witness, tenant) = (fresh_peer(), fresh_peer(), fresh_tenant());
    announce(directory, &dead).await;
    for n in 0..25_u128 {
        let answer = directory.register(&tenant, &format!("u{n}"), &at("d|:", &dead, n), limits(25, 0)).await;
        assert_eq!(answer, Ok(Registered::New));
    }
    directory.leave(&dead).await.expect("leave");
    let mut looked_at = Vec::new();
    while looked_at.last() != Some(&0) {
        looked_at.push(directory.bury(&dead, 10).await.expect("bury"));
        assert!(looked_at.len() < 100, "no end: {looked_at:?}");
    }
    assert!(looked_at.iter().all(|n| *n <= 10) && looked_at.iter().sum::<usize>() >= 25, "{looked_at:?}");
    let users: Vec<Arc<str>> = (0..25).map(|n| format!("u{n}").into()).collect();
    assert_eq!(directory.routes(&tenant, &users).await.expect("routes").concat(), []);
    assert!(!announce(directory, &witness).await.dead.contains(&dead), "forgotten");
    for n in 0..25_u128 {
        let answer = directory.register(&tenant, &format!("v{n}"), &at("d", &witness, 100 + n), limits(25, 0)).await;
        assert_eq!(answer, Ok(Registered::New), "its places are free");
    }
}

async fn burying_spares_what_the_living_took_over(directory: &impl Directory) {
    let (dead, living, tenant) = (fresh_peer(), fresh_peer(), fresh_tenant());
    announce(directory, &dead).await;
    announce(directory, &living).await;
    directory.register(&tenant, "moved", &at("d", &dead, 1), limits(0, 0)).await.expect("register");
    directory.register(&tenant, "stayed", &at("d", &dead, 2), limits(0, 0)).await.expect("register");
    let moved = at("d", &living, 3);
    directory.register(&tenant, "moved", &moved, limits(0, 0)).await.expect("register");
    // The same node, started again, is another one.
    let reborn = peer(&dead.node, 2);
    announce(directory, &reborn).await;
    let again = at("e", &reborn, 4);
    directory.register(&tenant, "stayed", &again, limits(0, 0)).await.expect("register");
    while directory.bury(&dead, 10).await.expect("bury") > 0 {}
    assert_eq!(routes_of(directory, &tenant, "moved").await, [moved]);
    assert_eq!(routes_of(directory, &tenant, "stayed").await, [again]);
    assert!(announce(directory, &reborn).await.remembered);
}

async fn the_living_are_not_buried(directory: &impl Directory) {
    let (living, tenant) = (fresh_peer(), fresh_tenant());
    announce(directory, &living).await;
    let route = at("d", &living, 1);
    directory.register(&tenant, "alice", &route, limits(0, 0)).await.expect("register");
    assert_eq!(directory.bury(&living, 10).await, Ok(0));
    assert_eq!(routes_of(directory, &tenant, "alice").await, [route]);
    assert!(announce(directory, &living).await.remembered);
}

async fn several_may_bury_at_once(directory: &impl Directory) {
    let (dead, tenant) = (fresh_peer(), fresh_tenant());
    announce(directory, &dead).await;
    for n in 0..40_u128 {
        directory.register(&tenant, &format!("u{n}"), &at("d", &dead, n), limits(0, 0)).await.expect("register");
    }
    directory.leave(&dead).await.expect("leave");
    let burying = (0..4).map(|_| async { while directory.bury(&dead, 7).await.expect("bury") > 0 {} });
    futures_util::future::join_all(burying).await;
    let users: Vec<Arc<str>> = (0..40).map(|n| format!("u{n}").into()).collect();
    assert_eq!(directory.routes(&tenant, &users).await.expect("routes").concat(), []);
}
