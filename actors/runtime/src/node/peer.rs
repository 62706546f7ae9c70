//! What other nodes may ask of this one. Nothing here waits, and all of it may be repeated.

use std::sync::Arc;

use mics_domain::codes::Close;
use mics_domain::delivery::{Delivery, Kept};
use mics_domain::offline::Entry;
use mics_domain::ports::{PeerAnswer, PeerCall};
use mics_domain::trace::{SpanKind, Traced};

use super::{Node, clock_ms};
use crate::encode;
use crate::fanout::urgency;
use crate::keep;
use crate::outbox::Frame;
use crate::ports::PeerNode;
use crate::tenant::Tenant;

impl PeerNode for Node {
    fn deliver(&self, delivery: &Delivery, users: &[Arc<str>]) -> Vec<u32> {
        let Some(tenant) = self.tenants().get(&delivery.tenant) else { return vec![0; users.len()] };
        let mut traced = Traced::child(&*self.tracer, "deliver_from_peer", SpanKind::Server, delivery.trace);
        let frame = Frame { id: delivery.id, bytes: encode::delivery_of(&delivery.request), shared: delivery.shared };
        let urgency = urgency(users.len());
        let reached: Vec<u32> = users
            .iter()
            .map(|user| tenant.once(user, delivery.id, || tenant.sessions.deliver(user, &frame, urgency)))
            .collect();
        let via = if users.len() == 1 { "grpc_in_single" } else { "grpc_in_batch" };
        let total = reached.iter().map(|sessions| u64::from(*sessions)).sum();
        self.metrics.deliveries_total.with_label_values(&[&*tenant.id, via]).inc_by(total);
        traced.set("mics.sessions_reached", total);
        reached
    }

    fn answer(&self, call: PeerCall) -> PeerAnswer {
        match call {
            // Nothing may stay behind on a node that leaves.
            PeerCall::Place { .. } if self.draining() => PeerAnswer::Leaving,
            PeerCall::Place { tenant, kept, view } => match self.tenants().get(&tenant) {
                Some(tenant) => {
                    if view != self.members.digest() {
                        keep::doubt(self, &tenant, kept.iter().map(|kept| kept.user.clone()));
                    }
                    PeerAnswer::Placed(place(&tenant, kept))
                }
                None => PeerAnswer::NotServed,
            },
            PeerCall::Lease { tenant, user, device, holder, hold_ms } => {
                let now = clock_ms();
                let tenant = self.tenants().get(&tenant);
                let lease = tenant.map(|tenant| tenant.offline.lease(&user, &device, holder, hold_ms));
                let (entries, held) = lease.unwrap_or_default();
                let kept = |entry: Entry| Kept {
                    user: user.clone(),
                    id: entry.id,
                    frame: entry.frame,
                    ttl_ms: entry.expires_at_ms.saturating_sub(now),
                    devices: entry.devices,
                };
                PeerAnswer::Leased { kept: entries.into_iter().map(kept).collect(), held }
            }
            PeerCall::Settle { tenant, user, device, taken, released } => {
                if let Some(tenant) = self.tenants().get(&tenant) {
                    tenant.offline.settle(&user, &device, &taken, &released);
                }
                PeerAnswer::Done
            }
            PeerCall::Nudge { tenant, users } => {
                if let Some(tenant) = self.tenants().get(&tenant) {
                    users.iter().for_each(|user| tenant.sessions.nudge(user));
                }
                PeerAnswer::Done
            }
            PeerCall::Replace { tenant, user, connection, .. } => {
                let session = self.tenants().get(&tenant).and_then(|tenant| tenant.sessions.find(&user, connection));
                if let Some(session) = session {
                    session.close(Close::Replaced);
                }
                PeerAnswer::Done
            }
            PeerCall::Kick { tenant, user, device } => PeerAnswer::Kicked(self.kick_here(&tenant, &user, &device)),
            PeerCall::Report { tenants } => PeerAnswer::Report(Box::new(self.report(&tenants))),
        }
    }
}

impl Node {
    /// Closes the user's sessions on this node, of one device or (empty) of all; answers how many.
    pub fn kick_here(&self, tenant: &str, user: &str, device: &str) -> u32 {
        let sessions = self.tenants().get(tenant).map(|tenant| tenant.sessions.of(user)).unwrap_or_default();
        let meant = sessions.iter().filter(|session| device.is_empty() || *session.outbox.device == *device);
        meant.map(|session| session.close(Close::Kicked)).count() as u32
    }
}

fn place(tenant: &Arc<Tenant>, kept: Vec<Kept>) -> Vec<bool> {
    let now = clock_ms();
    let put = |kept: Kept| {
        let Kept { user, id, frame, ttl_ms, devices } = kept;
        let entry = Entry { id, frame, expires_at_ms: now + ttl_ms, devices };
        let accepted = tenant.offline.put(&user, entry, now, "grpc_in");
        tenant.sessions.nudge(&user);
        accepted
    };
    kept.into_iter().map(put).collect()
}
