//! Keeping frames for users who are not there: at their home node and its replica, so that the crash of one node loses
//! nothing. What can't be brought there stays here and is tried again. Whoever keeps something for a user looks once
//! more whether the user has come meanwhile. It must not decide whether a frame is to be kept.

mod pending;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::join_all;
use mics_domain::delivery::Kept;
use mics_domain::offline::Entry;
use mics_domain::ports::{PeerAnswer, PeerCall};

use crate::members::{Homes, View};
use crate::node::{Node, clock_ms};
use crate::outbox::Frame;
use crate::router::Freshness;
use crate::session::Live;
use crate::tenant::Tenant;

use pending::User;

pub use pending::Pending;

/// Bytes of frames in one call to a peer, about.
const CALL_BYTES: usize = 4 << 20;
/// Users moved at a time when the cluster changes.
const MOVE_USERS: usize = 64;

/// A frame to keep, and for whom.
pub type Item = (Arc<str>, Entry);

fn by_tenant(users: impl IntoIterator<Item = User>) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
    let mut by_tenant: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
    users.into_iter().for_each(|(tenant, user)| by_tenant.entry(tenant).or_default().push(user));
    by_tenant
}

/// Keeps frames where their users will look for them. Answers per frame whether some node has it now: with two or more
/// nodes in reach, two have.
///
/// `via`: metric label of what this node keeps itself as a home.
pub async fn keep(node: &Arc<Node>, tenant: &Arc<Tenant>, mut items: Vec<Item>, via: &str) -> Vec<bool> {
    let admitted: Vec<bool> = items.iter().map(|(_, entry)| tenant.offline.admits(entry.frame.len())).collect();
    let mut admissions = admitted.iter();
    items.retain(|_| admissions.next() == Some(&true));
    let now = clock_ms();
    let homes = homes_of(node, tenant, &items);
    let mut copies: Vec<usize> = Vec::with_capacity(items.len());
    for ((user, entry), homes) in items.iter().zip(&homes) {
        copies.push(usize::from(homes.here && tenant.offline.put(user, entry.clone(), now, via)));
    }
    for (index, taken) in place(node, tenant, &items, &homes).await {
        copies[index] += usize::from(taken);
    }
    for (index, (user, entry)) in items.iter().enumerate() {
        let short = copies[index] < homes[index].count();
        if short && !homes[index].here && tenant.offline.put(user, entry.clone(), now, "local_fallback") {
            copies[index] += 1;
        }
        if short && tenant.offline.has(user) {
            node.pending.stray(&tenant.id, [user.clone()]);
        }
    }
    let users: HashSet<Arc<str>> =
        items.iter().zip(&copies).filter(|(_, copies)| **copies > 0).map(|((user, _), _)| user.clone()).collect();
    tell_or_mark(node, tenant, users.into_iter().collect()).await;
    let mut copies = copies.into_iter();
    admitted.into_iter().map(|admitted| admitted && copies.next().is_some_and(|copies| copies > 0)).collect()
}

/// Computed once per user: equal neighbours share it.
fn homes_of(node: &Node, tenant: &Tenant, items: &[Item]) -> Vec<Homes> {
    let mut homes: Vec<Homes> = Vec::with_capacity(items.len());
    for (index, (user, _)) in items.iter().enumerate() {
        let same = index.checked_sub(1).filter(|before| items[*before].0 == *user).map(|before| homes[before].clone());
        homes.push(same.unwrap_or_else(|| node.members.homes(&tenant.id, user)));
    }
    homes
}

/// Keeps what a session could not write; it was promised before. It is safe here at once, and on its way to where it
/// belongs. What the user's other devices got is kept for this device only.
pub fn put_back(live: &Live, frames: Vec<Frame>) {
    if frames.is_empty() {
        return;
    }
    let expires_at_ms = clock_ms() + live.config.offline_ttl_ms;
    let entry = |frame: Frame| {
        let devices = if frame.shared { vec![live.device.clone()] } else { Vec::new() };
        // Another id, so that it is not taken for a late copy of what was handed over.
        Entry { id: frame.id + 1, frame: frame.bytes, expires_at_ms, devices }
    };
    live.tenant.offline.put_back(&live.user, frames.into_iter().map(entry).collect());
    rehome(&live.node, &live.tenant, vec![live.user.clone()]);
}

/// Brings everything that is kept here for these users where it belongs, in the background.
fn rehome(node: &Arc<Node>, tenant: &Arc<Tenant>, users: Vec<Arc<str>>) {
    let (node, tenant) = (node.clone(), tenant.clone());
    if node.directory.standalone() {
        return users.iter().for_each(|user| tenant.sessions.nudge(user));
    }
    // On the control thread: a session may be ending together with its own thread.
    node.control().spawn_fn(move || drop(actix_rt::spawn(async move { bring_home(&node, &tenant, &users).await })));
}

/// Brings what is kept here for these users to their homes, and tells them.
async fn bring_home(node: &Arc<Node>, tenant: &Arc<Tenant>, users: &[Arc<str>]) {
    carry_home(node, tenant, users).await;
    tell_or_mark(node, tenant, users.to_vec()).await;
}

/// Brings what is kept here for these users to their homes, and forgets it here once it is safe there.
async fn carry_home(node: &Arc<Node>, tenant: &Arc<Tenant>, users: &[Arc<str>]) {
    let mut items: Vec<Item> = Vec::new();
    for user in users {
        items.extend(tenant.offline.entries(user).into_iter().map(|entry| (user.clone(), entry)));
    }
    let homes = homes_of(node, tenant, &items);
    let mut answered = vec![0; items.len()];
    // What a home did not take is older than everything in its full buffer: dropped there, as here.
    for (index, _) in place(node, tenant, &items, &homes).await {
        answered[index] += 1;
    }
    for (index, (user, entry)) in items.iter().enumerate() {
        // Without any home nothing is safe anywhere but here.
        let safe = answered[index] == homes[index].elsewhere.len() && homes[index].count() > 0;
        if safe && !homes[index].here {
            tenant.offline.forget(user, &[entry.id]);
        }
        if !safe {
            node.pending.stray(&tenant.id, [user.clone()]);
        }
    }
}

/// Asks the homes to keep frames, all peers at once; yields, each time a peer answered for a frame, its index and whether
/// it was taken.
async fn place(node: &Arc<Node>, tenant: &Tenant, items: &[Item], homes: &[Homes]) -> Vec<(usize, bool)> {
    let mut by_endpoint: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
    for (index, homes) in homes.iter().enumerate() {
        homes.elsewhere.iter().for_each(|endpoint| by_endpoint.entry(endpoint.clone()).or_default().push(index));
    }
    let calls = by_endpoint.into_iter().map(|(endpoint, indexes)| async move {
        let mut placed = Vec::new();
        for indexes in calls_of(items, indexes) {
            let now = clock_ms();
            let kept = indexes.iter().map(|index| to_peer(&items[*index], now)).collect();
            let call = PeerCall::Place { tenant: tenant.id.clone(), kept, view: node.members.digest() };
            match node.router().call(&endpoint, call).await {
                Ok(PeerAnswer::Placed(taken)) => placed.extend(indexes.into_iter().zip(taken)),
                // Tenants come to the nodes one after the other.
                Ok(PeerAnswer::NotServed) => break,
                Ok(_) => {
                    node.members.forget(&endpoint);
                    break;
                }
                Err(error) => {
                    tenant.offline.not_placed(&error, indexes.len());
                    // A node that leaves no longer hears who else has gone.
                    if node.draining() {
                        node.members.forget(&endpoint);
                    }
                    break;
                }
            }
        }
        placed
    });
    let placed: Vec<(usize, bool)> = join_all(calls).await.into_iter().flatten().collect();
    tenant.offline.count_placed(placed.iter().filter(|(_, taken)| *taken).count());
    placed
}

/// Splits what goes to one peer into calls of a bearable size.
fn calls_of(items: &[Item], indexes: Vec<usize>) -> Vec<Vec<usize>> {
    let mut calls: Vec<Vec<usize>> = Vec::new();
    let mut bytes = usize::MAX;
    for index in indexes {
        let size = items[index].1.frame.len();
        match calls.last_mut() {
            Some(call) if bytes + size <= CALL_BYTES => {
                call.push(index);
                bytes += size;
            }
            _ => {
                calls.push(vec![index]);
                bytes = size;
            }
        }
    }
    calls
}

fn to_peer((user, entry): &Item, now_ms: u64) -> Kept {
    Kept {
        user: user.clone(),
        id: entry.id,
        frame: entry.frame.clone(),
        ttl_ms: entry.expires_at_ms.saturating_sub(now_ms),
        devices: entry.devices.clone(),
    }
}

/// Before live messages go to these users on other nodes: those who may not know of older ones are told. Returns those
/// who still may not, with the endpoints that could not be told: a live message must not overtake what waits there.
pub async fn unseen(node: &Arc<Node>, tenant: &Arc<Tenant>, users: &[Arc<str>]) -> Untold {
    let unseen = node.pending.unseen_of(&tenant.id, users);
    if unseen.is_empty() {
        return Untold::default();
    }
    let names: Vec<Arc<str>> = unseen.iter().map(|((_, user), _)| user.clone()).collect();
    // A session that is told looks at the homes: what is older must be there by then.
    let strays = node.pending.take_strays_of(&tenant.id, &names);
    carry_home(node, tenant, &strays).await;
    let untold = tell(node, tenant, names).await;
    node.pending.seen(unseen.into_iter().filter(|((_, user), _)| !untold.users.contains_key(user)));
    untold
}

/// Users who could not be told that something is kept for them.
#[derive(Debug, Default)]
pub struct Untold {
    /// Each with the endpoints that did not answer.
    users: HashMap<Arc<str>, HashSet<Arc<str>>>,
    /// The directory is away: there may be others.
    directory_away: bool,
}

impl Untold {
    pub fn at(&self, user: &str, endpoint: &str) -> bool {
        self.users.get(user).is_some_and(|endpoints| endpoints.contains(endpoint))
    }
}

async fn tell_or_mark(node: &Arc<Node>, tenant: &Arc<Tenant>, users: Vec<Arc<str>>) {
    let untold = tell(node, tenant, users).await;
    if !untold.users.is_empty() {
        node.pending.mark(&tenant.id, untold.users.into_keys().collect());
    }
}

/// Tells the sessions of these users, wherever they are, that something is kept for them. It closes the race between
/// "nobody is there" and "just connected": the look comes after the frame was kept.
async fn tell(node: &Arc<Node>, tenant: &Arc<Tenant>, users: Vec<Arc<str>>) -> Untold {
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
            if node.members.is_dead(&route.at) {
                // Until its entries are removed it may come back with them.
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

/// Another node, which sees the cluster differently, had frames kept here: they are looked at again.
pub fn doubt(node: &Node, tenant: &Tenant, users: impl IntoIterator<Item = Arc<str>>) {
    node.pending.stray(&tenant.id, users);
}

/// The cluster changed: the frames of users whose homes have changed with it are looked at again.
pub fn rehome_all(node: &Arc<Node>, before: &View) {
    for tenant in node.tenants().iter() {
        let mut users = tenant.offline.users();
        users.retain(|user| node.members.homes_changed(before, &tenant.id, user));
        node.pending.stray(&tenant.id, users);
    }
    retry(node);
}

/// This node leaves: one round of bringing everything to the nodes that stay.
pub async fn hand_over(node: &Arc<Node>) {
    for tenant in node.tenants().with_retired() {
        for users in tenant.offline.users().chunks(MOVE_USERS) {
            bring_home(node, &tenant, users).await;
        }
    }
}

/// Tries again what could not be brought home or told, in the background.
pub fn retry(node: &Arc<Node>) {
    let node = node.clone();
    node.control().spawn_fn(move || drop(actix_rt::spawn(async move { retry_now(&node).await })));
}

async fn retry_now(node: &Arc<Node>) {
    if !node.pending.begin_retry() {
        return;
    }
    for (tenant, users) in by_tenant(node.pending.take_strays()) {
        let Some(tenant) = node.tenants().get(&tenant) else { continue };
        for users in users.chunks(MOVE_USERS) {
            bring_home(node, &tenant, users).await;
            tokio::task::yield_now().await;
        }
    }
    for (tenant, users) in by_tenant(node.pending.unseen()) {
        let Some(tenant) = node.tenants().get(&tenant) else { continue };
        for users in users.chunks(MOVE_USERS) {
            if unseen(node, &tenant, users).await.directory_away {
                break;
            }
        }
    }
    node.pending.end_retry();
}
