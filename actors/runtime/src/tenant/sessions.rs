//! A tenant's live sessions on this node, by user. The first place where a recipient is looked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use dashmap::DashMap;
use mics_domain::codes::Close;
use mics_domain::ports::{Lease, Peer, Route};

use crate::mailbox::Mailbox;
use crate::outbox::{Frame, Outbox, Pushed, Urgency};
use crate::session::SessionMsg;

/// A live session as others see it.
#[derive(Clone)]
pub struct SessionRef {
    pub outbox: Arc<Outbox>,
    pub mailbox: Mailbox<SessionMsg>,
    /// How long its entry in the directory lives unless renewed.
    pub lease_ms: u64,
    pub online_at_ms: i64,
}

impl SessionRef {
    /// The session's entry in the directory.
    pub fn lease(&self) -> Lease {
        Lease {
            tenant: self.outbox.tenant.clone(),
            user: self.outbox.user.clone(),
            device: self.outbox.device.clone(),
            connection: self.outbox.connection,
            lease_ms: self.lease_ms,
        }
    }

    /// Where the session is, as the directory knows it.
    pub fn route(&self, at: &Peer) -> Route {
        Route {
            device: self.outbox.device.clone(),
            at: at.clone(),
            connection: self.outbox.connection,
            online_at_ms: self.online_at_ms,
        }
    }

    /// Has the session fetch what is kept for it. One that is too busy to be told looks when it is told next.
    pub fn nudge(&self) {
        if self.hold() {
            self.fetch();
        }
    }

    /// Holds live deliveries back until the session has fetched what is kept for it. True when nobody did before.
    pub fn hold(&self) -> bool {
        self.outbox.nudge()
    }

    /// Has a session fetch that is held.
    pub fn fetch(&self) {
        if self.mailbox.send(SessionMsg::Backlog).is_err() {
            self.outbox.take_nudge();
            self.outbox.release();
        }
    }

    /// Asks the session to end. A session too busy to be asked is ended from outside.
    pub fn close(&self, close: Close) {
        if self.mailbox.send(SessionMsg::Close(close.clone())).is_err() {
            self.outbox.close_from_outside(&close);
        }
    }
}

#[derive(Default)]
pub struct Sessions {
    by_user: DashMap<Arc<str>, Vec<SessionRef>>,
    count: AtomicUsize,
}

/// A newer connection of the device is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outrun;

impl Sessions {
    /// Puts a session in; returns the one of the same device that it replaces. Stays out with [`Outrun`] where a connection
    /// of the device that began later was faster.
    pub fn insert(&self, session: SessionRef) -> Result<Option<SessionRef>, Outrun> {
        let mut sessions = self.by_user.entry(session.outbox.user.clone()).or_insert_with(|| Vec::with_capacity(1));
        match sessions.iter_mut().find(|known| known.outbox.device == session.outbox.device) {
            Some(known) if known.online_at_ms > session.online_at_ms => Err(Outrun),
            Some(known) => Ok(Some(std::mem::replace(known, session))),
            None => {
                sessions.push(session);
                self.count.fetch_add(1, Relaxed);
                Ok(None)
            }
        }
    }

    pub fn remove(&self, user: &str, connection: u128) {
        if let Some(mut sessions) = self.by_user.get_mut(user) {
            let before = sessions.len();
            sessions.retain(|session| session.outbox.connection != connection);
            self.count.fetch_sub(before - sessions.len(), Relaxed);
        }
        self.by_user.remove_if(user, |_, sessions| sessions.is_empty());
        if self.by_user.is_empty() {
            self.by_user.shrink_to_fit();
        }
    }

    pub fn of(&self, user: &str) -> Vec<SessionRef> {
        self.by_user.get(user).map(|sessions| sessions.clone()).unwrap_or_default()
    }

    /// The session of this connection, if it is still there.
    pub fn find(&self, user: &str, connection: u128) -> Option<SessionRef> {
        self.by_user.get(user)?.iter().find(|session| session.outbox.connection == connection).cloned()
    }

    pub fn online(&self, user: &str) -> bool {
        self.by_user.contains_key(user)
    }

    /// Every session, as of now.
    pub fn all(&self) -> Vec<SessionRef> {
        self.by_user.iter().flat_map(|sessions| sessions.clone()).collect()
    }

    /// Has the user's sessions fetch what is kept for them.
    pub fn nudge(&self, user: &str) {
        self.of(user).iter().for_each(SessionRef::nudge);
    }

    pub fn device_online(&self, user: &str, device: &str) -> bool {
        self.by_user.get(user).is_some_and(|sessions| sessions.iter().any(|session| &*session.outbox.device == device))
    }

    /// Hands a frame to every device of the user; returns how many took it.
    pub fn deliver(&self, user: &str, frame: &Frame, urgency: Urgency) -> u32 {
        let Some(sessions) = self.by_user.get(user) else { return 0 };
        let shared = frame.shared || sessions.len() > 1;
        let deliver = |session: &&SessionRef| {
            session.outbox.deliver(Frame { shared, ..frame.clone() }, urgency) != Pushed::Closed
        };
        sessions.iter().filter(deliver).count() as u32
    }

    pub fn users(&self) -> usize {
        self.by_user.len()
    }

    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(connection: u128, online_at_ms: i64) -> SessionRef {
        let id = || Arc::from("x");
        SessionRef {
            outbox: Outbox::new(
                (id(), id(), id()),
                connection,
                0,
                Arc::default(),
                1_000,
                prometheus::IntCounter::new("c", "c").unwrap(),
            ),
            mailbox: Mailbox::to_nobody(),
            lease_ms: 1_000,
            online_at_ms,
        }
    }

    #[actix_rt::test]
    async fn of_two_connections_of_a_device_the_one_that_began_later_stays_whoever_is_put_in_first() {
        let sessions = Sessions::default();
        assert!(matches!(sessions.insert(session(2, 20)), Ok(None)));
        assert_eq!(sessions.insert(session(1, 10)).err(), Some(Outrun));
        assert_eq!(sessions.of("x")[0].outbox.connection, 2);
        let replaced = sessions.insert(session(3, 20)).ok().flatten();
        assert_eq!(replaced.map(|session| session.outbox.connection), Some(2));
        assert_eq!(sessions.count(), 1);
    }

    #[actix_rt::test]
    async fn a_session_too_busy_to_be_asked_gives_back_what_it_was_promised_and_has_not_been_sent() {
        let session = session(1, 10);
        let frame = Frame { id: 7, bytes: b"x".as_slice().into(), shared: false };
        assert_eq!(session.outbox.deliver(frame, Urgency::Interactive), Pushed::Accepted);
        // Its thread is busy: the mailbox fills.
        (0..100).for_each(|_| session.close(Close::Draining));
        assert!(!session.outbox.is_open());
        assert_eq!(session.outbox.finish().iter().map(|frame| frame.id).collect::<Vec<_>>(), [7]);
    }
}
