//! What was kept for a user on its way into a session: first what the tenant kept (hook-pull), then what the nodes kept.
//! A frame is forgotten where it was kept only once it is in the session's outbox. Must not hold up the connection.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mics_domain::delivery::{DeliveryId, Kept};
use mics_domain::ids;
use mics_domain::offline::Entry;
use mics_domain::policy::HookOp;
use mics_domain::ports::{PeerAnswer, PeerCall};
use tokio::time::Instant;

use crate::encode;
use crate::keep;
use crate::node::{clock_ms, fresh_id};
use crate::outbox::{Frame, Pushed};
use crate::session::Live;

/// Messages per page of the offline pull, and pages per connect.
const PULL_PAGE: u32 = 100;
const PULL_PAGES: usize = 10;
/// And messages in all, however large the pages are.
const PULL_MESSAGES: usize = 1_000;
/// Between looks whether a client has read enough of its backlog for more of it.
const PAUSE: Duration = Duration::from_millis(5);
/// When a session looks again for frames that it could not have; doubled as long as it can't.
const AGAIN: Duration = Duration::from_millis(500);
const MOST_DOUBLINGS: u32 = 3;
/// How long live messages wait for frames that somebody else has leased.
const HOLDERS_END: Duration = Duration::from_millis(300);
/// How long frames are this session's to take.
const HOLD: Duration = Duration::from_secs(5);

/// After a connect: what the tenant kept, then what the nodes kept, then live messages.
pub async fn welcome(live: Rc<Live>) {
    if live.config.offline_use_hook_pull {
        pull(&live).await;
    }
    more(live).await;
}

/// Fetches what is kept, until there is no news of more; then live messages go on.
pub async fn more(live: Rc<Live>) {
    loop {
        fetch(&live).await;
        if live.outbox.release() {
            break;
        }
    }
    live.fetching.set(false);
}

/// Moves everything that is kept for this session into its outbox.
async fn fetch(live: &Rc<Live>) {
    live.outbox.take_nudge();
    let patience = Instant::now() + HOLDERS_END;
    while live.outbox.is_open() {
        let lease = Lease::take(live).await;
        if lease.held && Instant::now() < patience {
            // What is held is older: mostly by a connection that is ending, or by another device that is about to have it.
            lease.settle(live, 0).await;
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        if lease.frames.is_empty() {
            match lease.held || lease.failed {
                true => look_again(live),
                false => live.looks.set(0),
            }
            return;
        }
        let moved = move_frames(live, &lease).await;
        lease.settle(live, moved).await;
    }
}

/// Whoever has leased frames may end without having taken them, and a home may answer later. Live messages don't wait
/// for this.
fn look_again(live: &Rc<Live>) {
    if live.looking_again.replace(true) {
        return;
    }
    let looks = live.looks.get().min(MOST_DOUBLINGS);
    live.looks.set(looks + 1);
    // Spread, because after the end of a node many sessions look again.
    let pause = (AGAIN * (1 << looks)).mul_f64(0.75 + 0.5 * (fresh_id() as u16 as f64 / f64::from(u16::MAX)));
    let live = Rc::downgrade(live);
    actix_rt::spawn(async move {
        tokio::time::sleep(pause).await;
        let Some(live) = live.upgrade() else { return };
        live.looking_again.set(false);
        if live.outbox.is_open() && !live.fetching.replace(true) {
            more(live).await;
        }
    });
}

/// Frames taken from wherever they are kept, each once, in order.
struct Lease {
    frames: BTreeMap<DeliveryId, Entry>,
    /// Endpoints of the homes, and whether each has leased some of them to this session.
    homes: BTreeMap<Arc<str>, bool>,
    /// Somebody else has leased more of them.
    held: bool,
    /// A home did not answer.
    failed: bool,
    until: Instant,
}

impl Lease {
    /// From the home first: whoever has leased the frames there has them all.
    async fn take(live: &Rc<Live>) -> Lease {
        let homes = live.node.members.homes(&live.tenant.id, &live.user);
        let elsewhere = homes.elsewhere.iter().map(|endpoint| (endpoint.clone(), false)).collect();
        let mut places: Vec<Option<Arc<str>>> = homes.elsewhere.into_iter().map(Some).collect();
        places.insert(if homes.here_first { 0 } else { places.len() }, None);
        let until = Instant::now() + HOLD / 2;
        let mut lease = Lease { frames: BTreeMap::new(), homes: elsewhere, held: false, failed: false, until };
        for place in places {
            lease.held = match place {
                None => lease.take_here(live),
                Some(endpoint) => lease.take_there(live, endpoint).await,
            };
            if lease.held {
                break;
            }
        }
        lease
    }

    /// True when somebody else holds more.
    fn take_here(&mut self, live: &Live) -> bool {
        let (entries, held) =
            live.tenant.offline.lease(&live.user, &live.device, live.outbox.connection, HOLD.as_millis() as u64);
        for entry in entries {
            self.frames.entry(entry.id).or_insert(entry);
        }
        held
    }

    async fn take_there(&mut self, live: &Live, endpoint: Arc<str>) -> bool {
        let (tenant, user, device) = (live.tenant.id.clone(), live.user.clone(), live.device.clone());
        let holder = live.outbox.connection;
        let call = PeerCall::Lease { tenant, user, device, holder, hold_ms: HOLD.as_millis() as u64 };
        let now = clock_ms();
        match live.node.router().call(&endpoint, call).await {
            Ok(PeerAnswer::Leased { kept, held }) => {
                self.homes.insert(endpoint, !kept.is_empty());
                for Kept { id, frame, ttl_ms, devices, .. } in kept {
                    let entry = Entry { id, frame, expires_at_ms: now + ttl_ms, devices };
                    self.frames.entry(id).or_insert(entry);
                }
                held
            }
            Ok(_) => false,
            Err(error) => {
                live.tenant.offline.not_drained(&error);
                self.failed = true;
                false
            }
        }
    }

    /// Forgets, wherever they are kept, the frames up to `moved`; the rest is free again.
    async fn settle(self, live: &Rc<Live>, moved: usize) {
        if self.frames.is_empty() {
            return;
        }
        let tenant = &live.tenant;
        let mut taken: Vec<DeliveryId> = self.frames.into_keys().collect();
        let device = &live.device;
        let released = taken.split_off(moved);
        tenant.offline.settle(&live.user, device, &taken, &released);
        tenant.offline.count_drained(taken.len());
        // A home that had none may be about to get a copy: it must know what is taken.
        let calls = self.homes.into_iter().map(|(endpoint, leased)| {
            let released = if leased { released.clone() } else { Vec::new() };
            let (taken, user) = (taken.clone(), live.user.clone());
            let (tenant, device) = (tenant.id.clone(), device.clone());
            let call = PeerCall::Settle { tenant, user, device, taken, released };
            async move {
                // Not settled, a frame is free again when its lease ends; this node knows then that it was taken.
                let _ = live.node.router().call(&endpoint, call).await;
            }
        });
        join_all(calls).await;
    }
}

/// Moves frames into the outbox as the client reads; returns how many, when all are moved, the lease nears its end, or
/// the session ends.
async fn move_frames(live: &Rc<Live>, lease: &Lease) -> usize {
    for (moved, (id, entry)) in lease.frames.iter().enumerate() {
        let device = if entry.devices.is_empty() { "" } else { &*live.device };
        let again = live.tenant.offline.was_taken(&live.user, device, *id);
        // Or it came by another way, after its sender had given up on it.
        if again || live.tenant.was_forwarded(&live.user, device, *id) {
            continue;
        }
        room_for(live, entry.frame.len()).await;
        let late = Instant::now() >= lease.until;
        let frame = Frame { id: *id, bytes: entry.frame.clone(), shared: !entry.devices.is_empty() };
        if (late && moved > 0) || live.outbox.kept(frame) == Pushed::Closed {
            return moved;
        }
        // Should the sender's own attempt arrive after all.
        live.tenant.note_given(&live.user, device, *id);
    }
    lease.frames.len()
}

/// Waits until the client has read enough for a frame of this size, or the session ends.
async fn room_for(live: &Live, bytes: usize) {
    while live.outbox.is_open() && !live.outbox.is_idle() && live.outbox.room() < bytes {
        tokio::time::sleep(PAUSE).await;
    }
}

/// Fetches offline messages from the tenant, page by page, bounded. A failure never ends the connection.
async fn pull(live: &Rc<Live>) {
    let (node, tenant) = (&live.node, &live.tenant);
    let guards = tenant.guards();
    let (target, policy) = tenant.hook_target(&live.config, node, &live.trace_id);
    let labels = |result| [&*tenant.id, result];
    let mut cursor = String::new();
    let mut pulled = 0;
    for page_number in 1..=PULL_PAGES {
        let call = node.hooks.offline_messages(&target, &live.user, &live.device, PULL_PAGE, &cursor);
        let answer = guards.gate(HookOp::GetOfflineMessages).call(&node.metrics, &policy, &target, call).await;
        let Ok(page) = answer else {
            node.metrics.hook_get_offline_messages_total.with_label_values(&labels("fail")).inc();
            node.metrics.offline_drain_failed_total.with_label_values(&labels("hook_fail")).inc();
            break;
        };
        node.metrics.hook_get_offline_messages_total.with_label_values(&labels("ok")).inc();
        if !page.ok || page.messages.is_empty() {
            break;
        }
        let messages = page.messages.iter().take(PULL_MESSAGES - pulled);
        let frame = |message: &bytes::Bytes| Frame {
            id: node.next_delivery(),
            bytes: encode::delivery_of(message),
            shared: false,
        };
        let rest = queue(live, messages.map(frame).collect()).await;
        pulled += page.messages.len().min(PULL_MESSAGES - pulled);
        if !rest.is_empty() {
            // What an ending session can't take is kept.
            keep::put_back(live, rest);
            break;
        }
        if !page.has_more {
            break;
        }
        if ids::is_blank(&page.next_cursor) {
            tracing::warn!(tenant = %tenant.id, user = %live.user, count = pulled, "offline_drain_hook_missing_cursor");
            break;
        }
        if page_number == PULL_PAGES || pulled >= PULL_MESSAGES {
            tracing::warn!(tenant = %tenant.id, user = %live.user, count = pulled, "offline_drain_hook_limit_reached");
            break;
        }
        cursor = page.next_cursor;
    }
    node.metrics.offline_drained_from_hook_total.with_label_values(&[&*tenant.id, &*node.id]).inc_by(pulled as u64);
}

/// Queues pulled frames as the client reads; returns what the session could not take any more.
async fn queue(live: &Live, frames: Vec<Frame>) -> Vec<Frame> {
    let mut frames = frames.into_iter();
    while let Some(frame) = frames.next() {
        room_for(live, frame.bytes.len()).await;
        if live.outbox.backlog(frame.clone()) == Pushed::Closed {
            return std::iter::once(frame).chain(frames).collect();
        }
    }
    Vec::new()
}
