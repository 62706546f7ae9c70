//! The nodes of the cluster as this one sees them: who is live, who died, and which two nodes keep a user's frames. The
//! actor beside it gives this node's sign of life, and acts when nodes come and go. While the directory is away, the
//! last view holds: nobody is declared dead for want of news.

mod actor;
mod doubles;
mod message;

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mics_domain::ports::Peer;
use mics_domain::rendezvous;

pub use message::MembersMsg;

pub(crate) use actor::start;

/// Between two signs of life.
pub const ANNOUNCE_EVERY: Duration = Duration::from_millis(1_500);
/// A node silent for this long counts as dead.
pub const ANNOUNCE_TTL: Duration = Duration::from_secs(5);
/// Dead nodes that are remembered, so that their routes are not believed.
const GRAVES: usize = 256;

/// The cluster at one moment.
#[derive(Debug, Default, Clone)]
pub struct View {
    /// Never empty, in the order of the nodes' ids.
    live: Vec<Peer>,
    dead: VecDeque<Peer>,
    leaving: bool,
}

impl View {
    /// Nodes that keep frames.
    fn keepers<'a>(&'a self, me: &'a Peer) -> impl Iterator<Item = &'a Peer> {
        self.live.iter().filter(|peer| !(self.leaving && peer.node == me.node))
    }
}

/// Which nodes keep a user's frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Homes {
    /// This node is one of them.
    pub here: bool,
    /// And the first choice.
    pub here_first: bool,
    /// Endpoints of the others, at most two, first choice first.
    pub elsewhere: Vec<Arc<str>>,
}

impl Homes {
    pub fn count(&self) -> usize {
        self.elsewhere.len() + usize::from(self.here)
    }
}

pub struct Members {
    me: Peer,
    view: RwLock<Arc<View>>,
}

impl Members {
    pub fn new(me: Peer) -> Self {
        let view = View { live: vec![me.clone()], ..View::default() };
        Members { me, view: RwLock::new(Arc::new(view)) }
    }

    pub fn me(&self) -> &Peer {
        &self.me
    }

    fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut view));
    }

    /// Every live node, this one included.
    pub fn live(&self) -> Vec<Peer> {
        self.view().live.clone()
    }

    /// The node is known to have ended (or this incarnation of it).
    pub fn is_dead(&self, at: &Peer) -> bool {
        let view = self.view();
        view.live.iter().any(|peer| peer.node == at.node && peer.boot > at.boot)
            || view.dead.iter().any(|peer| peer.node == at.node && peer.boot == at.boot)
    }

    /// The user's home node and its replica. A node that leaves is nobody's home.
    pub fn homes(&self, tenant: &str, user: &str) -> Homes {
        let mut homes = Homes { here: false, here_first: false, elsewhere: Vec::new() };
        for peer in self.keepers_in(&self.view(), tenant, user) {
            if peer.node == self.me.node {
                (homes.here, homes.here_first) = (true, homes.elsewhere.is_empty());
            } else {
                homes.elsewhere.push(peer.endpoint);
            }
        }
        homes
    }

    /// True when other nodes keep the user's frames now than in that view, or another incarnation of one: with an empty
    /// memory.
    pub fn homes_changed(&self, before: &View, tenant: &str, user: &str) -> bool {
        self.keepers_in(before, tenant, user) != self.keepers_in(&self.view(), tenant, user)
    }

    /// First choice first.
    fn keepers_in(&self, view: &View, tenant: &str, user: &str) -> Vec<Peer> {
        let candidates: Vec<&Peer> = view.keepers(&self.me).collect();
        let names: Vec<&str> = candidates.iter().map(|peer| &*peer.node).collect();
        let (first, second) = rendezvous::ranked2(tenant, user, &names);
        [first, second].into_iter().flatten().map(|index| candidates[index].clone()).collect()
    }

    /// A digest of the nodes that keep frames, as this one sees them. Equal on nodes that agree.
    pub fn digest(&self) -> u64 {
        let view = self.view();
        rendezvous::digest(view.keepers(&self.me).map(|peer| &*peer.node))
    }

    /// The node says that it leaves, or can't be reached by one that leaves itself: it keeps nothing for anybody.
    pub(crate) fn forget(&self, endpoint: &str) {
        self.change(|view| view.live.retain(|peer| *peer.endpoint != *endpoint || peer.node == self.me.node));
    }

    /// From now on this node is nobody's home.
    pub(crate) fn leave(&self) {
        self.change(|view| view.leaving = true);
    }

    /// Takes over what the directory says. `keep_missing`: do not yet believe that somebody is gone. Returns the
    /// view before, if anything changed.
    fn update(&self, mut live: Vec<Peer>, keep_missing: bool) -> Option<Arc<View>> {
        let before = self.view();
        if !live.iter().any(|peer| peer.node == self.me.node) {
            live.push(self.me.clone());
        }
        if keep_missing {
            let missing = before.live.iter().filter(|old| !live.iter().any(|peer| peer.node == old.node));
            let missing: Vec<Peer> = missing.cloned().collect();
            live.extend(missing);
        }
        live.sort_by(|a, b| a.node.cmp(&b.node));
        if live == before.live {
            return None;
        }
        let gone: Vec<Peer> = before.live.iter().filter(|old| !live.contains(old)).cloned().collect();
        self.change(|view| {
            view.dead.retain(|peer| !live.contains(peer));
            view.dead.extend(gone);
            while view.dead.len() > GRAVES {
                view.dead.pop_front();
            }
            view.live = live;
        });
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(node: &str, boot: u64) -> Peer {
        Peer { node: node.into(), boot, endpoint: format!("http://{node}").into() }
    }

    #[test]
    fn alone_a_node_is_everybodys_home() {
        let members = Members::new(peer("node-1", 1));
        assert_eq!(members.homes("t1", "u1"), Homes { here: true, here_first: true, elsewhere: vec![] });
    }

    #[test]
    fn homes_are_the_first_two_choices_and_never_a_leaving_node() {
        let members = Members::new(peer("node-1", 1));
        assert!(members.update(["node-3", "node-2"].map(|n| peer(n, 1)).into(), false).is_some());
        assert_eq!(
            members.homes("t1", "u1"),
            Homes { here: true, here_first: true, elsewhere: vec!["http://node-3".into()] }
        );
        let bob = Homes { here: true, here_first: false, elsewhere: vec!["http://node-2".into()] };
        assert_eq!(members.homes("t1", "bob"), bob);
        members.leave();
        let left = vec!["http://node-2".into(), "http://node-3".into()];
        assert_eq!(members.homes("t1", "bob"), Homes { here: false, here_first: false, elsewhere: left });
    }

    #[test]
    fn the_dead_are_remembered_until_they_come_back() {
        let members = Members::new(peer("a", 1));
        assert!(members.update(vec![peer("a", 1), peer("b", 1), peer("c", 1)], false).is_some());
        assert!(members.update(vec![peer("c", 1), peer("a", 1)], true).is_none(), "no news is no death");
        assert!(members.update(vec![peer("a", 1), peer("c", 2)], false).is_some());
        assert!(members.is_dead(&peer("b", 1)) && members.is_dead(&peer("c", 1)));
        assert!(!members.is_dead(&peer("c", 2)) && !members.is_dead(&peer("unknown", 1)));
        assert!(members.update(vec![peer("a", 1), peer("b", 1), peer("c", 2)], false).is_some());
        assert!(!members.is_dead(&peer("b", 1)));
    }
}
