//! How a node leaves: in an order in which nothing is sent or kept here any more before it goes. Must end within its part of
//! the drain time, whoever does not answer.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mics_domain::codes::Close;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Node;
use crate::keep;
use crate::members::MembersMsg;
use crate::tenant::SessionRef;

/// Routes withdrawn, and sessions asked to leave, at a time during a drain.
const WITHDRAW_BATCH: usize = 256;
const CLOSE_BATCH: usize = 50;
const CLOSE_PAUSE: Duration = Duration::from_millis(50);
/// Left to those who come after: the last events, among them the ends of these sessions, have to reach the brokers.
const RESERVE: Duration = Duration::from_secs(5);

/// The part of the drain time that is for sessions and the hand-over.
fn own_part(drain_time: Duration) -> Duration {
    drain_time - RESERVE.min(drain_time / 4)
}

impl Node {
    /// Leaves: refuses newcomers, gives up its place in the cluster and its routes, asks every session to go (4200) and
    /// waits until they have, hands over what it keeps for others; all within the drain time, less a quarter (5 s at most)
    /// for what is still to be sent out afterwards. Once; who asks again waits for the end of the first.
    pub async fn drain(self: &Arc<Self>) {
        self.drained.get_or_init(|| self.leave()).await;
    }

    async fn leave(self: &Arc<Self>) {
        self.draining.store(true, Relaxed);
        tracing::warn!(node = %self.id, sessions = self.connections(), "shutdown_drain_begin");
        let deadline = Instant::now() + own_part(self.settings.drain_timeout);
        let alone = self.directory.standalone();
        if !alone {
            self.members.leave();
            let _ = timeout_at(deadline, self.withdraw_all()).await;
        }
        self.close_all(deadline).await;
        if !alone {
            let _ = timeout_at(deadline, self.hand_over()).await;
        }
        let tenants = self.tenants().with_retired();
        tenants.iter().for_each(|tenant| tenant.stop());
        self.metrics.shutdown_drain_total.with_label_values(&[&self.id]).inc();
        let kept: usize = tenants.iter().map(|tenant| tenant.offline.users().len()).sum();
        tracing::warn!(node = %self.id, sessions = self.connections(), users_with_frames = kept, "shutdown_drain_done");
    }

    /// From now on nobody sends here, nor keeps anything here.
    async fn withdraw_all(self: &Arc<Self>) {
        let (reply, left) = oneshot::channel();
        if self.members_actor.get().is_some_and(|members| members.send(MembersMsg::Leave(reply)).is_ok()) {
            let _ = left.await;
        }
        for tenant in self.tenants().iter() {
            let leases: Vec<_> = tenant.sessions.all().iter().map(SessionRef::lease).collect();
            for leases in leases.chunks(WITHDRAW_BATCH) {
                let _ = self.directory.unregister(leases).await;
            }
        }
    }

    /// Asks the sessions to go, spread over a part of the time so that they don't all come back at once.
    async fn close_all(self: &Arc<Self>, deadline: Instant) {
        let sessions: Vec<SessionRef> = self.tenants().iter().flat_map(|tenant| tenant.sessions.all()).collect();
        let time = deadline.saturating_duration_since(Instant::now()) / 3;
        let rounds = sessions.len().div_ceil(CLOSE_BATCH).max(1);
        let pause = (time / rounds as u32).min(CLOSE_PAUSE);
        for batch in sessions.chunks(CLOSE_BATCH) {
            batch.iter().for_each(|session| session.close(Close::Draining));
            tokio::time::sleep(pause).await;
        }
        while self.connections() > 0 && Instant::now() < deadline {
            // Those who came in while the others were asked.
            self.tenants().iter().flat_map(|tenant| tenant.sessions.all()).for_each(|s| s.close(Close::Draining));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Brings everything that is kept here to the nodes that stay; tried until it is done. What is kept for a tenant that
    /// is served here no more is offered as well, but not waited for: perhaps nobody else serves it either.
    async fn hand_over(self: &Arc<Self>) {
        while self.members.live().len() > 1 {
            keep::hand_over(self).await;
            if self.tenants().iter().all(|tenant| tenant.offline.is_empty()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
