//! Messages that the tenant keeps, on their way to a user who comes back while others go on writing.

use std::time::Duration;

use super::processes::{Node, wait};
use super::tenant::Tenant;
use super::users::{Talk, User, repetitions, sent};

const ROUNDS: usize = 4;
const BEFORE: usize = 250;

/// A user who is away is written to, connects in the middle, and is written to further. Answers how many messages were
/// notified but not yet in the tenant's store when the user came; they are there on the next connect.
async fn come_back(tenant: &Tenant, node: &Node, round: usize) -> usize {
    let (away, prefix) = (format!("away{round}"), format!("m{round}"));
    let writer = User::at(node, &format!("writer{round}")).await;
    let talk = Talk::start(writer, &away, &prefix, Duration::from_millis(1));
    talk.goes_on(BEFORE).await;
    let user = User::at(node, &away).await;
    talk.goes_on(BEFORE).await;
    let (writer, outcomes) = talk.end().await;
    let all = sent(&outcomes);
    assert_eq!(all.len(), outcomes.len(), "every message was SENT");
    // The last one comes live; what was kept came before it.
    user.got(&all[all.len() - 1..]).await;
    let first = user.seen();
    wait("the tenant has all that it was told of", || tenant.store.caught_up()).await;
    let kept = tenant.store.ids_of(&away);
    assert!(kept.len() >= BEFORE, "{} messages were notified", kept.len());
    assert_eq!(kept, all[..kept.len()], "those before the connect, in order");
    let late: Vec<String> = all.iter().filter(|id| !first.contains(id)).cloned().collect();
    assert!(late.iter().all(|id| kept.contains(id)), "what is missing was notified: {late:.20?}");
    assert_eq!(repetitions(&first), 0);
    let rest: Vec<String> = all.iter().filter(|id| !late.contains(id)).cloned().collect();
    assert_eq!(first, rest, "in order");

    tenant.store.read_by(&away, &first);
    user.client.disconnect().await;
    let again = User::at(node, &away).await;
    writer.tell(&away, "the end").await;
    again.got(&["the end".to_owned()]).await;
    assert_eq!(again.seen()[..late.len()], late, "the rest, then live messages");
    assert_eq!(again.seen().len(), late.len() + 1);
    again.still_connected();
    tenant.store.read_by(&away, &late);
    late.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_comes_back_gets_what_the_tenant_kept_and_then_live_messages() {
    let test = "a_user_who_comes_back_gets_what_the_tenant_kept_and_then_live_messages";
    let Some((broker, tenant)) = Tenant::start(test).await else { return };
    let cluster = tenant.gateway(&broker, |_| {}).await;
    let node = &cluster.nodes[0];
    let mut late = Vec::new();
    for round in 0..ROUNDS {
        late.push(come_back(&tenant, node, round).await);
    }
    println!("notified, and not in the store at the connect, per round: {late:?}");
    assert!(late.contains(&0), "never without a gap, though the tenant waits for what is on its way: {late:?}");
    assert_eq!(node.metric("mics_offline_buffered_total", &[]), 0.0, "nothing was buffered");
    assert_eq!(node.metric("mics_offline_notified_total", &[]) as usize, tenant.store.notified());
    let failed = node.metric("mics_offline_drain_failed_total", &[]) as usize;
    let pulled = node.metric("mics_offline_drained_from_hook_total", &[]) as usize;
    // A pull that fails midway has handed over its first pages.
    assert!(pulled == tenant.store.notified() || failed > 0, "{pulled} pulled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connect_brings_a_thousand_and_the_next_one_the_rest() {
    let Some((broker, tenant)) = Tenant::start("one_connect_brings_a_thousand_and_the_next_one_the_rest").await else {
        return;
    };
    let mut cluster = tenant.gateway(&broker, |_| {}).await;
    let node = &cluster.nodes[0];
    let writer = User::at(node, "writer").await;
    let all: Vec<String> = (0..1_050).map(|n| format!("m-{n}")).collect();
    for id in &all {
        writer.tell("away", id).await;
    }
    wait("the tenant has all that it was told of", || tenant.store.caught_up()).await;
    let failed = || node.metric("mics_offline_drain_failed_total", &[]);
    // A page may miss its 150 ms on a busy machine.
    let (user, live) = loop {
        let (before, user) = (failed(), User::at(node, "away").await);
        let live = format!("live-{before}");
        writer.tell("away", &live).await;
        user.got(std::slice::from_ref(&live)).await;
        if failed() == before {
            break (user, live);
        }
        user.client.disconnect().await;
    };
    assert_eq!(user.seen(), [&all[..1_000], &[live]].concat(), "as many as one connect may bring, then live ones");
    user.still_connected();
    tenant.store.read_by("away", &user.seen());
    user.client.disconnect().await;
    User::at(node, "away").await.got(&all[1_000..]).await;
    assert!(cluster.nodes[0].process().log().contains("offline_drain_hook_limit_reached"));
}
