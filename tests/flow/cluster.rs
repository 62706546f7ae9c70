//! Several nodes in one process, on the in-memory directory and link, behind real sockets: routing, the offline buffer's
//! homes, replacement and drain. Must not depend on a real Redis (see live_cluster.rs for that).

use std::time::Duration;

use mics_actors::members::ANNOUNCE_EVERY;
use mics_actors::settings::Settings;
use mics_proto::message::AckStatus;

use crate::support::client::{group, single};
use crate::support::{Book, Client, Cluster, Gateway, Setup, wait_until};

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Sends numbered messages, all of which must be promised.
fn send_all(sender: &mut Client, to: &str, range: std::ops::Range<usize>) {
    for id in ids(range) {
        let ack = sender.say(single(&id, to, b"x"));
        assert_eq!((ack.status, &*ack.reason, ack.msg_id), (AckStatus::Sent as i32, "", id));
    }
}

/// Users with frames on this node.
fn keeps(gateway: &Gateway, user: &str) -> usize {
    gateway.node.tenants().get("t1").unwrap().offline.entries(user).len()
}

fn three() -> Vec<Gateway> {
    Cluster::default().start(3, |setup| setup)
}

#[test]
fn a_message_reaches_every_device_on_every_node_in_order() {
    let nodes = three();
    let mut sender = nodes[0].connect("t1", "s", "d");
    let mut devices: Vec<Client> = (0..3).map(|n| nodes[n].connect("t1", "v", &format!("d{n}"))).collect();
    send_all(&mut sender, "v", 0..50);
    for device in &mut devices {
        assert_eq!(device.ids(50), ids(0..50));
    }
}

#[test]
fn what_is_kept_has_two_copies_and_is_fetched_from_any_node() {
    let nodes = three();
    let mut sender = nodes[0].connect("t1", "s", "d");
    // Their homes are different nodes.
    for user in ["alice", "bob", "u1", "u2", "u3"] {
        send_all(&mut sender, user, 0..20);
        let copies: Vec<usize> = nodes.iter().map(|node| keeps(node, user)).collect();
        assert_eq!((copies.iter().sum::<usize>(), copies.iter().max()), (40, Some(&20)), "{user}: {copies:?}");
    }
    for (node, user) in ["alice", "bob", "u1", "u2", "u3"].into_iter().enumerate() {
        assert_eq!(nodes[node % 3].connect("t1", user, "d").ids(20), ids(0..20), "{user}");
        wait_until("both copies are gone", || nodes.iter().all(|node| keeps(node, user) == 0));
    }
}

#[test]
fn the_crash_of_a_home_loses_nothing() {
    let cluster = Cluster::default();
    let mut nodes = cluster.start(3, |setup| setup);
    let mut sender = nodes[2].connect("t1", "s", "d");
    send_all(&mut sender, "u1", 0..10);
    send_all(&mut sender, "bob", 0..10);
    // Its memory goes with it; the peers can't reach it any more.
    let crashed = nodes.remove(0);
    assert_eq!((keeps(&crashed, "u1"), keeps(&crashed, "bob")), (10, 10));
    cluster.link.cut("http://node-1.example");
    assert_eq!(nodes[0].connect("t1", "u1", "d").ids(10), ids(0..10));
    assert_eq!(nodes[1].connect("t1", "bob", "d").ids(10), ids(0..10));
}

#[test]
fn a_drain_hands_over_what_the_node_keeps_and_nobody_finds_it_there_any_more() {
    let mut nodes = three();
    let mut sender = nodes[2].connect("t1", "s", "d");
    let mut guest = nodes[0].connect("t1", "guest", "d");
    for user in ["u1", "u2", "bob", "alice"] {
        send_all(&mut sender, user, 0..5);
    }
    let leaving = nodes.remove(0);
    let leaver = leaving.node.clone();
    leaving.stopped();
    assert_eq!(guest.closed().0, 4200);
    assert!(leaver.tenants().get("t1").unwrap().offline.users().is_empty());
    for (user, node) in [("u1", 0), ("u2", 1), ("bob", 0), ("alice", 1)] {
        assert_eq!((keeps(&nodes[0], user), keeps(&nodes[1], user)), (5, 5), "{user}");
        assert_eq!(nodes[node].connect("t1", user, "d").ids(5), ids(0..5), "{user}");
    }
    send_all(&mut sender, "guest", 0..3);
    assert_eq!(nodes[0].connect("t1", "guest", "d").ids(3), ids(0..3));
}

#[test]
fn the_newest_connection_of_a_device_wins_across_nodes() {
    let nodes = three();
    let mut sender = nodes[2].connect("t1", "s", "d");
    let mut old = nodes[0].connect("t1", "v", "d");
    send_all(&mut sender, "v", 0..1);
    let mut new = nodes[1].connect("t1", "v", "d");
    assert_eq!(old.ids(1), ids(0..1));
    assert_eq!(old.closed(), (4409, "replaced".to_owned()));
    send_all(&mut sender, "v", 1..10);
    assert_eq!(new.ids(9), ids(1..10));
}

#[test]
fn what_a_replaced_connection_could_not_be_sent_follows_to_the_other_node() {
    let small = |setup: Setup| setup.set(|settings| settings.outbox_max_bytes = 8 << 20);
    let nodes = Cluster::default().start(2, small);
    let mut sender = nodes[0].connect("t1", "s", "d");
    let mut old = Client::open_with(nodes[0].address, "tenantId=t1&token=valid:v&deviceId=d", Some(4_096));
    old.welcome();
    for id in ids(0..200) {
        sender.say(single(&id, "v", &[7; 16 * 1024]));
    }
    let mut new = nodes[1].connect("t1", "v", "d");
    let mut got: Vec<usize> = Vec::new();
    // Some are in the old socket's buffers; whatever is not comes here, the last one for sure.
    while got.last() != Some(&199) {
        got.push(new.ids(1)[0].parse().unwrap());
    }
    let mut seen: Vec<usize> = old.rest().0.iter().map(|id| id.parse().unwrap()).collect();
    seen.extend(got);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_moved_user_is_found_at_once() {
    let nodes = three();
    let mut sender = nodes[0].connect("t1", "s", "d");
    for round in 0..20 {
        let mut v = nodes[round % 3].connect("t1", "v", "d");
        send_all(&mut sender, "v", round * 2..round * 2 + 2);
        assert_eq!(v.ids(2), ids(round * 2..round * 2 + 2));
        v.close(1000);
        v.closed();
        wait_until("v is gone", || {
            nodes.iter().all(|node| !node.node.tenants().get("t1").unwrap().sessions.online("v"))
        });
    }
}

#[test]
fn a_group_spans_nodes_and_absent_members_are_kept_for() {
    let members: Vec<String> = (0..300).map(|n| format!("m{n}")).collect();
    let book = || Book::default().group("t1", "g", members.iter().map(String::as_str));
    let nodes = Cluster::default().start(3, |setup| Setup { book: book(), ..setup });
    let mut online: Vec<Client> = (0..60).map(|n| nodes[n % 3].connect("t1", &format!("m{n}"), "d")).collect();
    let mut sender = nodes[1].connect("t1", "s", "d");
    let ack = sender.say(group("1", "g"));
    assert_eq!((ack.status, ack.offline_buffered_users, ack.offline_skipped_users), (0, 240, 0));
    for client in &mut online {
        assert_eq!(client.ids(1), ["1"]);
    }
    for n in [60, 61, 62, 299] {
        assert_eq!(nodes[n % 3].connect("t1", &format!("m{n}"), "d").ids(1), ["1"]);
    }
}

#[test]
fn a_limit_of_messages_per_second_holds_for_all_nodes_together() {
    let book = || Book::default().config("t1", |config| config.tenant_max_message_qps = 40);
    let nodes = Cluster::default().start(2, |setup| Setup { book: book(), ..setup });
    let mut senders: Vec<Client> = nodes.iter().map(|node| node.connect("t1", "s", &node.node.id)).collect();
    let started = std::time::SystemTime::now();
    let mut sent = 0;
    for n in 0..200 {
        let ack = senders[n % 2].say(single(&n.to_string(), "v", b"x"));
        match &*ack.reason {
            "" => sent += 1,
            reason => assert_eq!(reason, "tenant qps limited"),
        }
    }
    let seconds = started.elapsed().unwrap().as_secs() as usize + 2;
    assert!(sent >= 30 && sent <= 40 * seconds, "{sent} in {seconds} s");
}

#[test]
fn a_resend_to_another_node_is_known_there_where_nodes_share_what_was_sent() {
    let nodes = Cluster::default().start(2, |setup| setup.set(|settings| settings.dedup_shared = true));
    let mut v = nodes[1].connect("t1", "v", "d");
    let mut sender = nodes[0].connect("t1", "s", "d");
    assert_eq!(sender.say(single("1", "v", b"x")).reason, "");
    drop(sender);
    let mut again = nodes[1].connect("t1", "s", "d");
    let ack = again.say(single("1", "v", b"x"));
    assert_eq!((ack.status, &*ack.reason), (AckStatus::Sent as i32, "duplicate"));
    assert_eq!(again.say(single("1", "v", b"another text")).reason, "");
    assert_eq!(v.ids(2), ["1", "1"]);
}

#[test]
fn what_is_kept_waits_for_homes_that_do_not_serve_the_tenant_yet() {
    let cluster = Cluster::default();
    // A new tenant comes to the nodes one after the other, as their files do.
    let newcomer = |settings: &mut Settings| {
        let like_t1 = settings.tenants["t1"].clone();
        settings.tenants.insert("t3".into(), like_t1);
    };
    let first = cluster.node("node-1", |setup| setup.set(newcomer));
    let others = ["node-2", "node-3"].map(|id| cluster.node(id, |setup| setup));
    wait_until("the nodes know each other", || first.node.members.live().len() == 3);
    let users: Vec<String> = (0..12).map(|n| format!("u{n}")).collect();
    let elsewhere = |user: &&String| !first.node.members.homes("t3", user).here;
    assert!(users.iter().any(|user| elsewhere(&user)), "some have both homes elsewhere");
    let mut sender = first.connect("t3", "s", "d");
    users.iter().for_each(|user| send_all(&mut sender, user, 0..3));
    // More than one attempt to bring it home.
    std::thread::sleep(2 * ANNOUNCE_EVERY + Duration::from_millis(500));
    for node in &others {
        let mut wanted = node.node.settings.clone();
        newcomer(&mut wanted);
        node.node.change_tenants(&wanted.tenants);
    }
    for (n, user) in users.iter().enumerate() {
        assert_eq!(others[n % 2].connect("t3", user, "d").ids(3), ids(0..3), "{user}");
    }
}

/// A first node that keeps three messages for each of 12 absent users of t1, and has just stopped serving it.
fn a_node_that_serves_its_tenant_no_more() -> (Cluster, Gateway, Vec<String>) {
    let cluster = Cluster::default();
    let first = cluster.node("node-1", |setup| setup);
    let users: Vec<String> = (0..12).map(|n| format!("u{n}")).collect();
    let mut sender = first.connect("t1", "s", "d");
    users.iter().for_each(|user| send_all(&mut sender, user, 0..3));
    let all = first.node.settings.tenants.clone();
    first.node.change_tenants(&all.into_iter().filter(|(id, _)| id != "t1").collect());
    assert_eq!(sender.closed().0, 4002);
    (cluster, first, users)
}

#[test]
fn what_was_kept_for_a_tenant_that_comes_back_is_brought_where_its_homes_are_now() {
    let (cluster, first, users) = a_node_that_serves_its_tenant_no_more();
    // Meanwhile others have become the homes of most users.
    let others = ["node-2", "node-3"].map(|id| cluster.node(id, |setup| setup));
    wait_until("the nodes know each other", || first.node.members.live().len() == 3);
    std::thread::sleep(ANNOUNCE_EVERY);
    first.node.change_tenants(&first.node.settings.tenants);
    for (n, user) in users.iter().enumerate() {
        assert_eq!(others[n % 2].connect("t1", user, "d").ids(3), ids(0..3), "{user}");
    }
}

#[test]
fn of_two_nodes_with_one_id_the_one_that_came_later_leaves() {
    let cluster = Cluster::default();
    let nodes = cluster.start(2, |setup| setup);
    // Longer than a newcomer counts as one.
    std::thread::sleep(Duration::from_secs(11));
    let mut bob = nodes[0].connect("t1", "bob", "d");
    let mut sender = nodes[1].connect("t1", "s", "d");
    let mut setup = Setup { cluster: Some(cluster.clone()), ..Setup::default() };
    setup.settings.endpoint = "http://copy.example".into();
    let copy = setup.start();
    assert_eq!(copy.node.id, nodes[0].node.id);
    wait_until("the copy has left", || copy.node.drained());
    assert!(!nodes[0].node.draining());
    // Nobody was sent away for it, and what the copy's coming disturbed heals.
    let me = nodes[0].node.members.me().clone();
    wait_until("the first one is back", || nodes[1].node.members.live().contains(&me));
    send_all(&mut sender, "bob", 0..10);
    assert_eq!(bob.ids(10), ids(0..10));
}

#[test]
fn a_node_that_leaves_hands_over_what_it_keeps_for_a_tenant_that_it_serves_no_more() {
    let (cluster, first, users) = a_node_that_serves_its_tenant_no_more();
    let second = cluster.node("node-2", |setup| setup);
    wait_until("the nodes know each other", || first.node.members.live().len() == 2);
    first.stopped();
    for user in &users {
        assert_eq!(second.connect("t1", user, "d").ids(3), ids(0..3), "{user}");
    }
}
