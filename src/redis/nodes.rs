//! The register of nodes: signs of life, leaving, and clearing up after the dead.

use deadpool_redis::redis::Value;
use mics_domain::ports::{Announced, DirectoryDown, Lease, Peer};

use super::entries::{Entries, KEEP_MS};
use super::exchange::{Exchange, Lane, Question, read};
use super::keys::{CHANGES, LIVE, NODES, PEERS, escape, node_routes_key, peer_member, read_node_route, read_peer};

const ANNOUNCE: &str = include_str!("scripts/announce.lua");
const ALL_LIVE: &str = include_str!("scripts/all_live.lua");
const LEAVE: &str = include_str!("scripts/leave.lua");
const IS_LIVE: &str = include_str!("scripts/is_live.lua");
const FORGET: &str = include_str!("scripts/forget.lua");

fn registry() -> [String; 2] {
    [LIVE.to_owned(), PEERS.to_owned()]
}

fn peers(pairs: &[String]) -> Vec<Peer> {
    let read = |pair: &[String]| match pair {
        [member, endpoint] => read_peer(member, endpoint),
        _ => None,
    };
    let mut peers: Vec<Peer> = pairs.chunks(2).filter_map(read).collect();
    peers.sort_unstable_by(|a, b| (&a.node, a.boot).cmp(&(&b.node, b.boot)));
    peers
}

pub(super) async fn announce(exchange: &Exchange, me: &Peer, ttl_ms: u64) -> Result<Announced, DirectoryDown> {
    let sign = Question::script(ANNOUNCE, &registry())
        .arg(peer_member(me))
        .arg(format!("{}|", escape(&me.node)))
        .arg(&*me.endpoint)
        .arg(ttl_ms.max(1))
        .arg(KEEP_MS)
        .arg(CHANGES)
        .arg(NODES);
    // Best effort: without it the list of this node's routes ends a day after the last registration.
    let keep = Question::command("PEXPIRE", &node_routes_key(me)).arg(KEEP_MS);
    let answers = exchange.ask_all(Lane::Quick, vec![sign, keep]).await;
    let answer = answers.into_iter().next().unwrap_or_else(|| Ok(Value::Nil))?;
    let (remembered, now_ms, live, dead): (bool, i64, Vec<String>, Vec<String>) = read(answer)?;
    Ok(Announced { remembered, live: peers(&live), dead: peers(&dead), now_ms })
}

pub(super) async fn live(exchange: &Exchange) -> Result<Vec<Peer>, DirectoryDown> {
    let live: Vec<String> = exchange.ask(Question::script(ALL_LIVE, &registry())).await?;
    Ok(peers(&live))
}

pub(super) async fn leave(exchange: &Exchange, me: &Peer) -> Result<(), DirectoryDown> {
    exchange.ask(Question::script(LEAVE, &[LIVE.to_owned()]).arg(peer_member(me)).arg(CHANGES).arg(NODES)).await
}

/// Looks first and removes after: what a crash leaves undone is somebody else's to bury, and two who bury at once mostly
/// pick different entries.
pub(super) async fn bury(entries: &Entries, dead: &Peer, max: usize) -> Result<usize, DirectoryDown> {
    let exchange = &entries.exchange;
    let is_live = Question::script(IS_LIVE, &[LIVE.to_owned()]).arg(peer_member(dead));
    let some = Question::command("SRANDMEMBER", &node_routes_key(dead)).arg(max);
    let mut answers = exchange.ask_all(Lane::Batch, vec![is_live, some]).await.into_iter();
    let mut next = || answers.next().unwrap_or_else(|| Ok(Value::Nil));
    let (is_live, members) = (read::<bool>(next()?)?, read::<Vec<String>>(next()?)?);
    if is_live {
        return Ok(0);
    }
    if members.is_empty() {
        let _: u32 = exchange.ask(Question::script(FORGET, &registry()).arg(peer_member(dead))).await?;
        return Ok(0);
    }
    let leases: Vec<Lease> = members.iter().filter_map(|member| read_node_route(member)).collect();
    entries.unregister_of(&leases, None).await?;
    entries.forget_routes(dead, &members).await?;
    Ok(members.len())
}
