//! Telling the sessions of a user that something is kept for them, and who may still not know. It must not keep anything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::join_all;
use mics_domain::offline::Entry;
use mics_domain::ports::{PeerCall, Route};

use crate::node::Node;
use crate::router::Freshness;
use crate::tenant::Tenant;

/// Users who may not know of something that is kept for them.
#[derive(Debug, Default)]
pub struct Untold {
    /// Each with the endpoints that did not answer.
    users: HashMap<Arc<str>, HashSet<Arc<str>>>,
    /// Users of whom something older is only here: these devices elsewhere may not come by it, though they were told.
    pub(super) hidden: HashMap<Arc<str>, Devices>,
    /// The directory is away: there may be others.
    pub(super) directory_away: bool,
}

impl Untold {
    /// `routes`: the user's.
    pub fn at(&self, user: &str, endpoint: &str, routes: &[Route]) -> bool {
        let there = || routes.iter().filter(|route| *route.at.endpoint == *endpoint);
        self.users.get(user).is_some_and(|endpoints| endpoints.contains(endpoint))
            || self.hidden.get(user).is_some_and(|devices| there().any(|route| devices.have(&route.device)))
    }
}

/// Tells these users that something is kept for them, and remembers who could not be told. `silent`: peers that
/// have just not answered; they cost one deadline, not two.
pub(super) async fn tell(
    node: &Arc<Node>,
    tenant: &Arc<Tenant>,
    users: Vec<Arc<str>>,
    silent: &HashSet<Arc<str>>,
) -> Untold {
    let marks = node.pending.marks_of(&tenant.id, &users);
    let untold = nudge(node, tenant, users, silent).await;
    node.pending.seen(marks.into_iter().filter(|((_, user), _)| !untold.users.contains_key(user)));
    if !untold.users.is_empty() {
        node.pending.mark(&tenant.id, untold.users.keys().cloned());
    }
    untold
}

/// Tells the sessions of these users, wherever they are, that something is kept for them. It closes the race between
/// "nobody is there" and "just connected": the look comes after the frame was kept.
async fn nudge(node: &Arc<Node>, tenant: &Arc<Tenant>, users: Vec<Arc<str>>, silent: &HashSet<Arc<str>>) -> Untold {
    users.iter().for_each(|user| tenant.sessions.nudge(user));
    let mut untold = Untold::default();
    if node.directory.standalone() || users.is_empty() {
        return untold;
    }
    let (router, id) = (node.router(), &tenant.id);
    let mut routes = router.elsewhere_or_dead(id, &users, Freshness::Fresh).await;
    if routes.is_none() {
        untold.directory_away = true;
        untold.users.extend(users.iter().map(|user| (user.clone(), HashSet::new())));
        routes = router.elsewhere_or_dead(id, &users, Freshness::Cached).await;
    }
    let mut by_endpoint: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
    for (user, routes) in users.iter().zip(routes.unwrap_or_default()) {
        for route in routes.iter() {
            // Until the entries of a dead node are removed it may come back with them.
            if node.members.is_dead(&route.at) || silent.contains(&route.at.endpoint) {
                untold.users.entry(user.clone()).or_default().insert(route.at.endpoint.clone());
                continue;
            }
            let users = by_endpoint.entry(route.at.endpoint.clone()).or_default();
            if users.last() != Some(user) {
                users.push(user.clone());
            }
        }
    }
    let calls = by_endpoint.into_iter().map(|(endpoint, users)| async move {
        let call = PeerCall::Nudge { tenant: id.clone(), users: users.clone() };
        let told = node.router().call(&endpoint, call).await.is_ok();
        (endpoint, if told { Vec::new() } else { users })
    });
    for (endpoint, users) in join_all(calls).await {
        for user in users {
            untold.users.entry(user).or_default().insert(endpoint.clone());
        }
    }
    untold
}

/// Devices of a user.
#[derive(Debug)]
pub(super) enum Devices {
    All,
    These(HashSet<Arc<str>>),
}

impl Devices {
    pub fn add(&mut self, entry: &Entry) {
        match self {
            Devices::These(devices) if !entry.devices.is_empty() => devices.extend(entry.devices.iter().cloned()),
            _ => *self = Devices::All,
        }
    }

    fn have(&self, device: &str) -> bool {
        match self {
            Devices::All => true,
            Devices::These(devices) => devices.contains(device),
        }
    }
}
