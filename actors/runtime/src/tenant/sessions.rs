//! A tenant's live sessions on this node, by user. The first place where a recipient is looked for.

use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use mics_domain::codes::Close;

use crate::mailbox::Mailbox;
use crate::outbox::{Outbox, Pushed, Urgency};
use crate::session::SessionMsg;

/// A live session as others see it.
#[derive(Clone)]
pub struct SessionRef {
    pub outbox: Arc<Outbox>,
    pub mailbox: Mailbox<SessionMsg>,
}

impl SessionRef {
    /// Asks the session to end. A session too busy to be asked is ended from outside.
    pub fn close(&self, close: Close) {
        if self.mailbox.send(SessionMsg::Close(close.clone())).is_err() {
            self.outbox.begin_close(&close, true);
        }
    }
}

#[derive(Default)]
pub struct Sessions {
    by_user: DashMap<Arc<str>, Vec<SessionRef>>,
}

impl Sessions {
    /// Puts a session in; returns the one of the same device that it replaces.
    pub fn insert(&self, session: SessionRef) -> Option<SessionRef> {
        let mut sessions = self.by_user.entry(session.outbox.user.clone()).or_insert_with(|| Vec::with_capacity(1));
        match sessions.iter_mut().find(|known| known.outbox.device == session.outbox.device) {
            Some(known) => Some(std::mem::replace(known, session)),
            None => {
                sessions.push(session);
                None
            }
        }
    }

    pub fn remove(&self, user: &str, connection: u128) {
        if let Some(mut sessions) = self.by_user.get_mut(user) {
            sessions.retain(|session| session.outbox.connection != connection);
        }
        self.by_user.remove_if(user, |_, sessions| sessions.is_empty());
        if self.by_user.is_empty() {
            self.by_user.shrink_to_fit();
        }
    }

    pub fn of(&self, user: &str) -> Vec<SessionRef> {
        self.by_user.get(user).map(|sessions| sessions.clone()).unwrap_or_default()
    }

    pub fn device_online(&self, user: &str, device: &str) -> bool {
        self.by_user.get(user).is_some_and(|sessions| sessions.iter().any(|session| &*session.outbox.device == device))
    }

    /// Hands a frame to every device of the user; returns how many took it.
    pub fn deliver(&self, user: &str, frame: &Bytes, urgency: Urgency) -> u32 {
        let Some(sessions) = self.by_user.get(user) else { return 0 };
        let taken = sessions.iter().filter(|session| session.outbox.deliver(frame.clone(), urgency) != Pushed::Closed);
        taken.count() as u32
    }

    pub fn users(&self) -> usize {
        self.by_user.len()
    }

    pub fn count(&self) -> usize {
        self.by_user.iter().map(|sessions| sessions.len()).sum()
    }

    /// Asks every session to end.
    pub fn close_all(&self, close: &Close) {
        for sessions in self.by_user.iter() {
            sessions.iter().for_each(|session| session.close(close.clone()));
        }
    }
}
