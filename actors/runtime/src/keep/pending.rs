//! What could not be kept or told as it should, and waits for another attempt. It remembers; it must not act.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Users remembered as not told.
const UNSEEN: usize = 100_000;

pub(super) type User = (Arc<str>, Arc<str>);

/// Work that waits for another attempt.
#[derive(Default)]
pub struct Pending {
    /// Users whose frames here are not all where they belong.
    strays: Mutex<HashSet<User>>,
    unseen: Mutex<Unseen>,
    unseen_users: AtomicUsize,
    retrying: AtomicBool,
}

/// Users for whom something is kept and who may be online without knowing it, each with the number of its latest mark.
#[derive(Default)]
struct Unseen {
    users: HashMap<User, u64>,
    marks: u64,
}

impl Pending {
    pub(super) fn stray(&self, tenant: &Arc<str>, users: impl IntoIterator<Item = Arc<str>>) {
        lock(&self.strays).extend(users.into_iter().map(|user| (tenant.clone(), user)));
    }

    pub(super) fn take_strays_of(&self, tenant: &Arc<str>, users: &[Arc<str>]) -> Vec<Arc<str>> {
        let mut strays = lock(&self.strays);
        users.iter().filter(|user| strays.remove(&(tenant.clone(), Arc::clone(user)))).cloned().collect()
    }

    pub(super) fn take_strays(&self) -> HashSet<User> {
        std::mem::take(&mut *lock(&self.strays))
    }

    pub(super) fn unseen(&self) -> Vec<User> {
        lock(&self.unseen).users.keys().cloned().collect()
    }

    /// False when another attempt is under way; else [`Pending::end_retry`] must follow.
    pub(super) fn begin_retry(&self) -> bool {
        !self.retrying.swap(true, SeqCst)
    }

    pub(super) fn end_retry(&self) {
        self.retrying.store(false, SeqCst);
    }

    pub(super) fn mark(&self, tenant: &Arc<str>, users: Vec<Arc<str>>) {
        let mut unseen = lock(&self.unseen);
        for user in users {
            if unseen.users.len() >= UNSEEN {
                // They find what is kept for them when they connect.
                break;
            }
            unseen.marks += 1;
            let mark = unseen.marks;
            unseen.users.insert((tenant.clone(), user), mark);
        }
        self.unseen_users.store(unseen.users.len(), SeqCst);
    }

    /// Forgets those that were not marked again since.
    pub(super) fn seen(&self, users: impl IntoIterator<Item = (User, u64)>) {
        let mut unseen = lock(&self.unseen);
        for (user, mark) in users {
            if unseen.users.get(&user) == Some(&mark) {
                unseen.users.remove(&user);
            }
        }
        self.unseen_users.store(unseen.users.len(), SeqCst);
    }

    /// Of these users, those for whom something older waits.
    pub(super) fn unseen_of(&self, tenant: &Arc<str>, users: &[Arc<str>]) -> Vec<(User, u64)> {
        if self.unseen_users.load(SeqCst) == 0 {
            return Vec::new();
        }
        let unseen = lock(&self.unseen);
        let users = users.iter().map(|user| (tenant.clone(), user.clone()));
        users.filter_map(|user| unseen.users.get(&user).map(|mark| (user, *mark))).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
