//! Keeping frames for users who are not there: at their home node and its replica, so that the crash of one node loses
//! nothing. What can't be brought there stays here and is tried again. Whoever keeps something for a user looks once
//! more whether the user has come meanwhile. It must not decide whether a frame is to be kept.

mod pending;
mod place;
mod tell;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use mics_domain::delivery::DeliveryId;
use mics_domain::offline::Entry;

use crate::members::{Homes, View};
use crate::node::{Node, clock_ms};
use crate::outbox::Frame;
use crate::session::Live;
use crate::tenant::Tenant;

use pending::{Claim, Owed, User};
use place::place;
use tell::{Devices, tell};

pub use pending::Pending;
pub use tell::Untold;

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
pub async fn keep(node: &Arc<Node>, tenant: &Arc<Tenant>, items: Vec<Item>, via: &str) -> Vec<bool> {
    let mut kept = vec![false; items.len()];
    let (mut behind, mut first) = (Vec::new(), Vec::new());
    for (index, item) in
        items.into_iter().enumerate().filter(|(_, (_, entry))| tenant.offline.admits(entry.frame.len()))
    {
        let queue = if node.pending.is_stray(&tenant.id, &item.0) { &mut behind } else { &mut first };
        queue.push((index, item));
    }
    for (queue, together) in [(first, false), (behind, true)] {
        let (indexes, items): (Vec<usize>, Vec<Item>) = queue.into_iter().unzip();
        let taken = match together {
            true => keep_behind(node, tenant, items, via).await,
            false => keep_first(node, tenant, items, via).await,
        };
        indexes.into_iter().zip(taken).for_each(|(index, taken)| kept[index] = taken);
    }
    kept
}

/// For users of whom nothing older waits here.
async fn keep_first(node: &Arc<Node>, tenant: &Arc<Tenant>, items: Vec<Item>, via: &str) -> Vec<bool> {
    let now = clock_ms();
    let homes = homes_of(node, tenant, &items);
    let mut copies: Vec<usize> = Vec::with_capacity(items.len());
    for ((user, entry), homes) in items.iter().zip(&homes) {
        copies.push(usize::from(homes.here && tenant.offline.put(user, entry.clone(), now, via)));
    }
    let to: Vec<Vec<Arc<str>>> = homes.iter().map(|homes| homes.elsewhere.clone()).collect();
    let placed = place(node, tenant, &items, &to).await;
    placed.taken.iter().for_each(|index| copies[*index] += 1);
    for (index, (user, entry)) in items.iter().enumerate() {
        let short = copies[index] < homes[index].count();
        if short && !homes[index].here && tenant.offline.put(user, entry.clone(), now, "local_fallback") {
            copies[index] += 1;
        }
    }
    for (index, endpoint) in &placed.silent {
        let (user, entry) = &items[*index];
        if tenant.offline.has(user) {
            node.pending.owe(&tenant.id, user, [endpoint.clone()], entry.id);
        }
    }
    let users: HashSet<Arc<str>> =
        items.iter().zip(&copies).filter(|(_, copies)| **copies > 0).map(|((user, _), _)| user.clone()).collect();
    tell(node, tenant, users.into_iter().collect(), &placed.silent_peers()).await;
    copies.into_iter().map(|copies| copies > 0).collect()
}

/// For users of whom older frames still wait here for their way to the homes: these come behind them.
async fn keep_behind(node: &Arc<Node>, tenant: &Arc<Tenant>, items: Vec<Item>, via: &str) -> Vec<bool> {
    let (now, homes) = (clock_ms(), homes_of(node, tenant, &items));
    let mut kept = Vec::with_capacity(items.len());
    for ((user, entry), homes) in items.iter().zip(homes) {
        let id = entry.id;
        kept.push(tenant.offline.put(user, entry.clone(), now, if homes.here { via } else { "local_fallback" }));
        node.pending.owe(&tenant.id, user, homes.elsewhere, id);
    }
    let users: HashSet<Arc<str>> = items.into_iter().map(|(user, _)| user).collect();
    bring_home(node, tenant, users.into_iter().collect()).await;
    kept
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
    let entries: Vec<Entry> = frames.into_iter().map(entry).collect();
    let oldest = entries.iter().map(|entry| entry.id).min().unwrap_or_default();
    live.tenant.offline.put_back(&live.user, entries);
    rehome(&live.node, &live.tenant, live.user.clone(), oldest);
}

/// Brings what is kept here for the user, from that frame on, where it belongs, in the background.
fn rehome(node: &Arc<Node>, tenant: &Arc<Tenant>, user: Arc<str>, from: DeliveryId) {
    let (node, tenant) = (node.clone(), tenant.clone());
    if node.directory.standalone() {
        return tenant.sessions.nudge(&user);
    }
    node.pending.owe(&tenant.id, &user, node.members.homes(&tenant.id, &user).elsewhere, from);
    // On the control thread: a session may be ending together with its own thread.
    node.control().spawn_fn(move || drop(actix_rt::spawn(async move { bring_home(&node, &tenant, vec![user]).await })));
}

/// Everything that is kept here for these users is to be brought to their homes (again): the homes may have changed, or
/// another node sees the cluster differently.
pub fn doubt(node: &Node, tenant: &Tenant, users: impl IntoIterator<Item = Arc<str>>) {
    for user in users {
        node.pending.owe(&tenant.id, &user, node.members.homes(&tenant.id, &user).elsewhere, 0);
    }
}

/// Brings what waits here for these users to their homes, in the order of its ids, and then tells them. Who comes
/// meanwhile with something newer for one of them waits until both are done.
async fn bring_home(node: &Arc<Node>, tenant: &Arc<Tenant>, users: Vec<Arc<str>>) -> Untold {
    let mut claims = node.pending.claim(&tenant.id, &users).await;
    let carried = match claims.is_empty() {
        true => Carried::default(),
        false => carry(node, tenant, &mut claims).await,
    };
    let mut untold = tell(node, tenant, users, &carried.silent).await;
    untold.hidden = carried.hidden;
    untold
}

/// What came of an attempt to bring frames to their homes.
#[derive(Default)]
struct Carried {
    /// Endpoints that gave no answer.
    silent: HashSet<Arc<str>>,
    /// Users with frames that no home elsewhere has, and whom these are for.
    hidden: HashMap<Arc<str>, Devices>,
}

/// Brings frames to the homes that lack them, and forgets here what is safe there.
async fn carry(node: &Arc<Node>, tenant: &Arc<Tenant>, claims: &mut [Claim<'_>]) -> Carried {
    let (mut items, mut to, mut by): (Vec<Item>, Vec<Vec<Arc<str>>>, Vec<usize>) = Default::default();
    for (index, claim) in claims.iter_mut().enumerate() {
        let user = claim.user().clone();
        let homes = node.members.homes(&tenant.id, &user).elsewhere;
        // Taken before the frames are looked at: what comes between is owed again.
        claim.take();
        let owed = owed_to(&homes, claim.taken());
        for entry in tenant.offline.entries(&user) {
            to.push(owed.iter().filter(|(_, from)| **from <= entry.id).map(|(home, _)| home.clone()).collect());
            items.push((user.clone(), entry));
            by.push(index);
        }
    }
    // What a home did not take is older than everything in its full buffer: dropped there, as here.
    let placed = place(node, tenant, &items, &to).await;
    let mut failed = vec![Owed::default(); claims.len()];
    let mut lacking = vec![0; items.len()];
    let mut carried = Carried { silent: placed.silent_peers(), ..Carried::default() };
    for (index, endpoint) in placed.silent {
        lacking[index] += 1;
        let oldest = failed[by[index]].entry(endpoint).or_insert(items[index].1.id);
        *oldest = items[index].1.id.min(*oldest);
    }
    // Not those of before: a node that leaves says so when it is asked.
    let homes = homes_of(node, tenant, &items);
    for (((user, entry), lacking), homes) in items.iter().zip(lacking).zip(homes) {
        // Without any home nothing is safe anywhere but here.
        if lacking == 0 && !homes.here && !homes.elsewhere.is_empty() {
            tenant.offline.forget(user, &[entry.id]);
        } else if lacking > 0 && lacking >= homes.elsewhere.len() {
            carried.hidden.entry(user.clone()).or_insert_with(|| Devices::These(HashSet::new())).add(entry);
        }
    }
    claims.iter_mut().zip(failed).for_each(|(claim, failed)| claim.brought(failed));
    carried
}

/// What was owed to nodes that are no homes any more is owed to all that are.
fn owed_to(homes: &[Arc<str>], owed: &Owed) -> Owed {
    let gone = owed.iter().filter(|(endpoint, _)| !homes.contains(endpoint)).map(|(_, from)| *from).min();
    let from = |home: &Arc<str>| owed.get(home).copied().into_iter().chain(gone).min();
    homes.iter().filter_map(|home| Some((home.clone(), from(home)?))).collect()
}

/// Before live messages go to these users on other nodes: for whom something older waits, that is brought to the homes and
/// told. Returns those who still may not know of it, with the endpoints that could not be told: a live message must not
/// overtake what waits there.
pub async fn unseen(node: &Arc<Node>, tenant: &Arc<Tenant>, users: &[Arc<str>]) -> Untold {
    let waiting = node.pending.waiting_of(&tenant.id, users);
    if waiting.is_empty() { Untold::default() } else { bring_home(node, tenant, waiting).await }
}

/// The cluster changed: the frames of users whose homes have changed with it are looked at again.
pub fn rehome_all(node: &Arc<Node>, before: &View) {
    for tenant in node.tenants().iter() {
        let mut users = tenant.offline.users();
        users.retain(|user| node.members.homes_changed(before, &tenant.id, user));
        doubt(node, &tenant, users);
    }
    retry(node);
}

/// This node leaves: one round of bringing everything to the nodes that stay.
pub async fn hand_over(node: &Arc<Node>) {
    for tenant in node.tenants().with_retired() {
        for users in tenant.offline.users().chunks(MOVE_USERS) {
            doubt(node, &tenant, users.to_vec());
            bring_home(node, &tenant, users.to_vec()).await;
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
    retry_for(node, node.pending.strays(), false).await;
    retry_for(node, node.pending.unseen(), true).await;
    node.pending.end_retry();
}

/// `only_to_tell`: nothing can be done for these users while the directory is away.
async fn retry_for(node: &Arc<Node>, users: Vec<User>, only_to_tell: bool) {
    for (id, users) in by_tenant(users) {
        let Some(tenant) = node.tenants().get(&id) else {
            // Should it come back, everything that is kept for it is looked at.
            node.pending.forget(&id);
            continue;
        };
        for users in users.chunks(MOVE_USERS) {
            let untold = bring_home(node, &tenant, users.to_vec()).await;
            if only_to_tell && untold.directory_away {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}
