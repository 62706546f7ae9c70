//! How keys and values are spelled. Knows no connection and no script.
//!
//! Keys (ids escaped, see [`escape`]; all keys of one script share a hash tag, so that a cluster can run it):
//!
//! | key | type | content |
//! |---|---|---|
//! | `mics:{tenant:user}:online` | hash | device -> `node\|endpoint\|connection\|onlineAtMs\|boot` |
//! | `mics:{tenant:user}:leases` | zset | device -> end of its lease |
//! | `mics:{tenant}:places` | zset | `user\|device\|connection` -> end of its lease |
//! | `mics:{tenant}:budget` | hash | the second that was last asked about, messages taken of it |
//! | `mics:{nodes}:live` | zset | `node\|boot` -> end of its last sign of life, 0 = left or was followed by a new one |
//! | `mics:{nodes}:peers` | hash | `node\|boot` -> endpoint |
//! | `mics:{node:<node>\|<boot>}:routes` | set | `tenant\|user\|device\|connection` of its sessions |

use std::fmt::Write;

use mics_domain::ports::{Lease, Peer, Route};

pub(super) const LIVE: &str = "mics:{nodes}:live";
pub(super) const PEERS: &str = "mics:{nodes}:peers";
/// Pub/sub: `tenant|user` whose routes changed, or [`NODES`].
pub(super) const CHANGES: &str = "mics:changes";
pub(super) const NODES: &str = "nodes";

pub(super) fn user_keys(tenant: &str, user: &str) -> [String; 2] {
    let tag = format!("mics:{{{}:{}}}", escape(tenant), escape(user));
    [format!("{tag}:online"), format!("{tag}:leases")]
}

pub(super) fn places_key(tenant: &str) -> String {
    format!("mics:{{{}}}:places", escape(tenant))
}

pub(super) fn budget_key(tenant: &str) -> String {
    format!("mics:{{{}}}:budget", escape(tenant))
}

/// A message that was answered SENT.
pub(super) fn sent_key(tenant: &str, key: u128) -> String {
    format!("mics:{{{}:{key:032x}}}:sent", escape(tenant))
}

pub(super) fn node_routes_key(peer: &Peer) -> String {
    format!("mics:{{node:{}}}:routes", peer_member(peer))
}

/// Member of places.
pub(super) fn place(user: &str, device: &str, connection: u128) -> String {
    format!("{}|{}|{}", escape(user), escape(device), hex(connection))
}

/// Member of a node's routes.
pub(super) fn node_route(tenant: &str, user: &str, device: &str, connection: u128) -> String {
    format!("{}|{}", escape(tenant), place(user, device, connection))
}

/// Undoes [`node_route`]; the lease is over.
pub(super) fn read_node_route(member: &str) -> Option<Lease> {
    let mut parts = member.split('|');
    let mut next = || parts.next();
    let (tenant, user, device, connection) = (next()?, next()?, next()?, next()?);
    let lease = Lease {
        tenant: unescape(tenant)?.into(),
        user: unescape(user)?.into(),
        device: unescape(device)?.into(),
        connection: u128::from_str_radix(connection, 16).ok()?,
        lease_ms: 0,
    };
    next().is_none().then_some(lease)
}

/// News of a user for [`CHANGES`]; never [`NODES`], which has no `|`.
pub(super) fn user_news(tenant: &str, user: &str) -> String {
    format!("{}|{}", escape(tenant), escape(user))
}

pub(super) fn read_user_news(news: &str) -> Option<(String, String)> {
    let (tenant, user) = news.split_once('|')?;
    Some((unescape(tenant)?, unescape(user)?))
}

/// Member of [`LIVE`], field of [`PEERS`].
pub(super) fn peer_member(peer: &Peer) -> String {
    format!("{}|{}", escape(&peer.node), peer.boot)
}

pub(super) fn read_peer(member: &str, endpoint: &str) -> Option<Peer> {
    let (node, boot) = member.split_once('|')?;
    Some(Peer { node: unescape(node)?.into(), boot: boot.parse().ok()?, endpoint: endpoint.into() })
}

pub(super) fn hex(connection: u128) -> String {
    format!("{connection:032x}")
}

/// Separators and braces as `%xx`, everything else as it is: readable, and no two ids share a spelling.
pub(super) fn escape(id: &str) -> String {
    let mut escaped = String::with_capacity(id.len());
    for c in id.chars() {
        match c {
            '%' | '|' | ':' | '{' | '}' => {
                let _ = write!(escaped, "%{:02x}", u32::from(c));
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Undoes [`escape`]; `None` for what it cannot have written.
fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut id = parts.next()?.to_owned();
    for part in parts {
        let code = u8::from_str_radix(part.get(..2)?, 16).ok()?;
        id.push(char::from(code));
        id.push_str(&part[2..]);
    }
    Some(id)
}

pub(super) fn route_value(route: &Route) -> String {
    // The endpoint keeps its colons for the reader; only `%` and `|` matter inside a value.
    let plain = |text: &str| text.replace('%', "%25").replace('|', "%7c");
    let Peer { node, boot, endpoint } = &route.at;
    format!("{}|{}|{}|{}|{boot}", plain(node), plain(endpoint), hex(route.connection), route.online_at_ms)
}

pub(super) fn read_route(device: &str, value: &str) -> Option<Route> {
    let mut parts = value.split('|');
    let mut next = || parts.next();
    let (node, endpoint, connection, online_at, boot) = (next()?, next()?, next()?, next()?, next()?);
    if next().is_some() {
        return None;
    }
    let at = Peer { node: unescape(node)?.into(), boot: boot.parse().ok()?, endpoint: unescape(endpoint)?.into() };
    Some(Route {
        device: device.into(),
        at,
        connection: u128::from_str_radix(connection, 16).ok()?,
        online_at_ms: online_at.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(node: &str, boot: u64) -> Peer {
        Peer { node: node.into(), boot, endpoint: "http://[::1]:8080".into() }
    }

    #[test]
    fn keys_are_readable_and_share_a_slot_per_script() {
        assert_eq!(user_keys("t1", "alice"), ["mics:{t1:alice}:online", "mics:{t1:alice}:leases"]);
        assert_eq!(places_key("t1"), "mics:{t1}:places");
        assert_eq!(budget_key("t1"), "mics:{t1}:budget");
        assert_eq!(node_routes_key(&peer("gw-1", 7)), "mics:{node:gw-1|7}:routes");
        assert_ne!(user_keys("a", "b:c"), user_keys("a:b", "c"));
        assert_ne!(place("a|b", "c", 1), place("a", "b|c", 1));
    }

    #[test]
    fn escaping_can_be_undone() {
        for id in ["alice", "a:b|c{d}%7c%", "张三", "%%", ""] {
            assert_eq!(unescape(&escape(id)).as_deref(), Some(id));
        }
        assert_eq!(unescape("%x"), None);
        assert_eq!(unescape("%张"), None);
    }

    #[test]
    fn routes_survive_the_way_and_rubbish_is_skipped() {
        let route =
            Route { device: "d".into(), at: peer("n|1%", u64::MAX), connection: u128::MAX - 1, online_at_ms: -5 };
        assert_eq!(read_route("d", &route_value(&route)), Some(route));
        for rubbish in ["", "a|b|c", "n|e|1|1", "n|e|zz|1|1", "n|e|1|x|1", "n|e|1|1|x", "n|e|1|1|1|1"] {
            assert_eq!(read_route("d", rubbish), None, "{rubbish}");
        }
    }

    #[test]
    fn members_and_news_survive_the_way() {
        let lease = read_node_route(&node_route("t:1", "a|b", "{d}", 5)).expect("readable");
        assert_eq!((&*lease.tenant, &*lease.user, &*lease.device, lease.connection), ("t:1", "a|b", "{d}", 5));
        for rubbish in ["", "t|u|d", "t|u|d|x", "t|u|d|1|1"] {
            assert_eq!(read_node_route(rubbish), None, "{rubbish}");
        }
        assert_eq!(read_user_news(&user_news("a|", "|b")), Some(("a|".to_owned(), "|b".to_owned())));
        assert_eq!(read_user_news(NODES), None);
        let me = peer("a|b", 9);
        assert_eq!(read_peer(&peer_member(&me), &me.endpoint), Some(me));
    }
}
