//! Keeping frames for users who are not there: at their home node and its replica, so that the crash of one node loses
//! nothing. What can't be brought there stays here and is tried again. Whoever keeps something for a user looks once
//! more whether the user has come meanwhile. It must not decide whether a frame is to be kept.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use mics_domain::delivery::Kept;
use mics_domain::offline::Entry;
use mics_domain::ports::{PeerAnswer, PeerCall};

use crate::node::{Node, clock_ms};
use crate::outbox::Frame;
use crate::router::Freshness;
use crate::session::Live;
use crate::tenant::Tenant;

/// Bytes of frames in one call to a peer, about.
const CALL_BYTES: usize = 4 << 20;
/// Users moved at a time when the cluster changes.
const MOVE_USERS: usize = 64;

/// A frame to keep, and for whom.
pub type Item = (Arc<str>, Entry);

/// Users of this node's buffers whose frames are not all where they belong, or who may be online without having got them.
#[derive(Default)]
pub struct Pending {
    strays: Mutex<HashSet<(Arc<str>, Arc<str>)>>,
    unseen: Mutex<HashSet<(Arc<str>, Arc<str>)>>,
}

type Users = HashSet<(Arc<str>, Arc<str>)>;

fn add(set: &Mutex<Users>, tenant: &Arc<str>, users: impl IntoIterator<Item = Arc<str>>) {
    let users = users.into_iter().map(|user| (tenant.clone(), user));
    set.lock().unwrap_or_else(PoisonError::into_inner).extend(users);
}

fn take(set: &Mutex<Users>) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
    let taken = std::mem::take(&mut *set.lock().unwrap_or_else(PoisonError::into_inner));
    let mut by_tenant: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
    taken.into_iter().for_each(|(tenant, user)| by_tenant.entry(tenant).or_default().push(user));
    by_tenant
}

/// Keeps frames where their users will look for them. Answers per frame whether some node has it now: with two or more
/// nodes in reach, two have.
pub async fn keep(node: &Arc<Node>, tenant: &Arc<Tenant>, items: Vec<Item>) -> Vec<bool> {
    let now = clock_ms();
    let homes: Vec<_> = items.iter().map(|(user, _)| node.members.homes(&tenant.id, user)).collect();
    let mut copies: Vec<usize> = Vec::with_capacity(items.len());
    for ((user, entry), homes) in items.iter().zip(&homes) {
        copies.push(usize::from(homes.here && tenant.offline.put(user, entry.clone(), now, "local")));
    }
    let targets = homes.iter().enumerate();
    let targets = targets.flat_map(|(index, homes)| homes.elsewhere.iter().map(move |endpoint| (endpoint, index)));
    for index in place(node, tenant, &items, targets).await {
        copies[index] += 1;
    }
    for (index, (user, entry)) in items.iter().enumerate() {
        let short = copies[index] < homes[index].count();
        if short && !homes[index].here && tenant.offline.put(user, entry.clone(), now, "local_fallback") {
            copies[index] += 1;
        }
        if short && tenant.offline.has(user) {
            add(&node.pending.strays, &tenant.id, [user.clone()]);
        }
    }
    let kept: Vec<bool> = copies.iter().map(|copies| *copies > 0).collect();
    let users: HashSet<Arc<str>> =
        items.iter().zip(&kept).filter(|(_, kept)| **kept).map(|((user, _), _)| user.clone()).collect();
    tell(node, tenant, users.into_iter().collect()).await;
    kept
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

/// Brings what is kept here for these users to their homes, and forgets it here once it is safe there.
async fn bring_home(node: &Arc<Node>, tenant: &Arc<Tenant>, users: &[Arc<str>]) {
    let items: Vec<Item> = users
        .iter()
        .flat_map(|user| tenant.offline.entries(user).into_iter().map(|entry| (user.clone(), entry)))
        .collect();
    let homes: Vec<_> = items.iter().map(|(user, _)| node.members.homes(&tenant.id, user)).collect();
    let targets = homes.iter().enumerate();
    let targets = targets.flat_map(|(index, homes)| homes.elsewhere.iter().map(move |endpoint| (endpoint, index)));
    let mut placed = vec![0; items.len()];
    for index in place(node, tenant, &items, targets).await {
        placed[index] += 1;
    }
    for (index, (user, entry)) in items.iter().enumerate() {
        let safe = placed[index] == homes[index].elsewhere.len();
        if safe && !homes[index].here {
            tenant.offline.forget(user, &[entry.id]);
        }
        if !safe {
            add(&node.pending.strays, &tenant.id, [user.clone()]);
        }
    }
    tell(node, tenant, users.to_vec()).await;
}

/// Asks peers to keep frames, all peers at once; yields the index of a frame each time a peer took it.
async fn place<'a>(
    node: &Arc<Node>,
    tenant: &Tenant,
    items: &[Item],
    targets: impl Iterator<Item = (&'a Arc<str>, usize)>,
) -> Vec<usize> {
    let mut by_endpoint: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
    targets.for_each(|(endpoint, index)| by_endpoint.entry(endpoint.clone()).or_default().push(index));
    let calls = by_endpoint.into_iter().map(|(endpoint, indexes)| async move {
        let mut placed = Vec::new();
        for indexes in calls_of(items, indexes) {
            let now = clock_ms();
            let kept = indexes.iter().map(|index| to_peer(&items[*index], now)).collect();
            let call = PeerCall::Place { tenant: tenant.id.clone(), kept, view: node.members.digest() };
            match node.router().call(&endpoint, call).await {
                Ok(PeerAnswer::Placed(taken)) => {
                    let taken = indexes.into_iter().zip(taken).filter(|(_, taken)| *taken);
                    placed.extend(taken.map(|(index, _)| index));
                }
                Ok(_) => break,
                Err(error) => {
                    tenant.offline.not_placed(&error, indexes.len());
                    break;
                }
            }
        }
        placed
    });
    let placed: Vec<usize> = join_all(calls).await.into_iter().flatten().collect();
    tenant.offline.count_placed(placed.len());
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

/// Tells the sessions of these users, wherever they are, that something is kept for them. It closes the race between
/// "nobody is there" and "just connected": the look comes after the frame was kept.
async fn tell(node: &Arc<Node>, tenant: &Arc<Tenant>, users: Vec<Arc<str>>) {
    users.iter().for_each(|user| tenant.sessions.nudge(user));
    if node.directory.standalone() || users.is_empty() {
        return;
    }
    let Some(routes) = node.router().elsewhere(&tenant.id, &users, Freshness::Fresh).await else {
        // The directory is away: asked again later.
        return add(&node.pending.unseen, &tenant.id, users);
    };
    let mut by_endpoint: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
    for (user, routes) in users.iter().zip(&routes) {
        for route in routes.iter() {
            let users = by_endpoint.entry(route.at.endpoint.clone()).or_default();
            if users.last() != Some(user) {
                users.push(user.clone());
            }
        }
    }
    let calls = by_endpoint.into_iter().map(|(endpoint, users)| async move {
        let call = PeerCall::Nudge { tenant: tenant.id.clone(), users: users.clone() };
        if node.router().call(&endpoint, call).await.is_err() {
            add(&node.pending.unseen, &tenant.id, users);
        }
    });
    join_all(calls).await;
}

/// Another node, which sees the cluster differently, had frames kept here: they are looked at again.
pub fn doubt(node: &Node, tenant: &Tenant, users: impl IntoIterator<Item = Arc<str>>) {
    add(&node.pending.strays, &tenant.id, users);
}

/// The cluster changed: every frame here is looked at again.
pub fn rehome_all(node: &Arc<Node>) {
    for tenant in node.tenants().iter() {
        add(&node.pending.strays, &tenant.id, tenant.offline.users());
    }
    retry(node);
}

/// This node leaves: one round of bringing everything to the nodes that stay.
pub async fn hand_over(node: &Arc<Node>) {
    for tenant in node.tenants().iter() {
        for users in tenant.offline.users().chunks(MOVE_USERS) {
            bring_home(node, tenant, users).await;
        }
    }
}

/// Tries again what could not be brought home or told, in the background.
pub fn retry(node: &Arc<Node>) {
    let node = node.clone();
    node.control().spawn_fn(move || drop(actix_rt::spawn(async move { retry_now(&node).await })));
}

async fn retry_now(node: &Arc<Node>) {
    for (tenant, users) in take(&node.pending.strays) {
        let Some(tenant) = node.tenants().get(&tenant) else { continue };
        for users in users.chunks(MOVE_USERS) {
            bring_home(node, tenant, users).await;
            tokio::task::yield_now().await;
        }
    }
    for (tenant, users) in take(&node.pending.unseen) {
        let Some(tenant) = node.tenants().get(&tenant) else { continue };
        tell(node, tenant, users).await;
    }
}
