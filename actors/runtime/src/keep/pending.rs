//! What could not be kept or told as it should, and waits for another attempt. It remembers; it must not act.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mics_domain::delivery::DeliveryId;
use tokio::sync::OwnedMutexGuard;

/// Users remembered as not told.
const UNSEEN: usize = 100_000;

pub(super) type User = (Arc<str>, Arc<str>);

/// Endpoints of homes that lack frames of a user, each with the oldest id that it may lack.
pub(super) type Owed = HashMap<Arc<str>, DeliveryId>;

/// Work that waits for another attempt.
#[derive(Default)]
pub struct Pending {
    strays: Mutex<HashMap<User, Stray>>,
    stray_users: AtomicUsize,
    unseen: Mutex<Unseen>,
    unseen_users: AtomicUsize,
    retrying: AtomicBool,
}

/// A user whose frames here are not all where they belong.
#[derive(Default)]
struct Stray {
    /// Empty while somebody brings them there.
    owed: Owed,
    /// One at a time brings them, or a newer frame could arrive before an older one.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Stray {
    fn owe(&mut self, endpoint: Arc<str>, from: DeliveryId) {
        self.owed.entry(endpoint).and_modify(|oldest| *oldest = from.min(*oldest)).or_insert(from);
    }
}

/// Users for whom something is kept and who may be online without knowing it, each with the number of its latest mark.
#[derive(Default)]
struct Unseen {
    users: HashMap<User, u64>,
    marks: u64,
}

impl Pending {
    /// These endpoints lack frames of the user that are kept here, from that id on.
    pub(super) fn owe(
        &self,
        tenant: &Arc<str>,
        user: &Arc<str>,
        endpoints: impl IntoIterator<Item = Arc<str>>,
        from: DeliveryId,
    ) {
        let mut endpoints = endpoints.into_iter().peekable();
        if endpoints.peek().is_some() {
            let mut strays = lock(&self.strays);
            let stray = strays.entry((tenant.clone(), user.clone())).or_default();
            endpoints.for_each(|endpoint| stray.owe(endpoint, from));
            self.stray_users.store(strays.len(), SeqCst);
        }
    }

    pub(super) fn is_stray(&self, tenant: &Arc<str>, user: &Arc<str>) -> bool {
        self.stray_users.load(SeqCst) > 0 && lock(&self.strays).contains_key(&(tenant.clone(), user.clone()))
    }

    pub(super) fn strays(&self) -> Vec<User> {
        lock(&self.strays).keys().cloned().collect()
    }

    /// The tenant is served here no more.
    pub(super) fn forget(&self, tenant: &Arc<str>) {
        let mut strays = lock(&self.strays);
        strays.retain(|(of, _), _| of != tenant);
        self.stray_users.store(strays.len(), SeqCst);
        drop(strays);
        let mut unseen = lock(&self.unseen);
        unseen.users.retain(|(of, _), _| of != tenant);
        self.unseen_users.store(unseen.users.len(), SeqCst);
    }

    /// The strays among these users, for one caller alone; waits for whoever has one of them.
    pub(super) async fn claim(&self, tenant: &Arc<str>, users: &[Arc<str>]) -> Vec<Claim<'_>> {
        let mut claims = Vec::new();
        if self.stray_users.load(SeqCst) == 0 {
            return claims;
        }
        // In one order for everybody: no two wait for each other.
        for user in BTreeSet::from_iter(users) {
            let user = (tenant.clone(), user.clone());
            while let Some(turn) = self.turn(&user) {
                let mine = turn.clone().lock_owned().await;
                // Who had the turn before may have been the last of this stray.
                if self.turn(&user).is_some_and(|now| Arc::ptr_eq(&now, &turn)) {
                    claims.push(Claim { pending: self, user, taken: Owed::default(), _mine: mine });
                    break;
                }
            }
        }
        claims
    }

    fn turn(&self, user: &User) -> Option<Arc<tokio::sync::Mutex<()>>> {
        lock(&self.strays).get(user).map(|stray| stray.turn.clone())
    }

    /// False when another attempt is under way; else [`Pending::end_retry`] must follow.
    pub(super) fn begin_retry(&self) -> bool {
        !self.retrying.swap(true, SeqCst)
    }

    pub(super) fn end_retry(&self) {
        self.retrying.store(false, SeqCst);
    }

    pub(super) fn mark(&self, tenant: &Arc<str>, users: impl IntoIterator<Item = Arc<str>>) {
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

    pub(super) fn unseen(&self) -> Vec<User> {
        lock(&self.unseen).users.keys().cloned().collect()
    }

    /// Of these users, those that were marked.
    pub(super) fn marks_of(&self, tenant: &Arc<str>, users: &[Arc<str>]) -> Vec<(User, u64)> {
        if self.unseen_users.load(SeqCst) == 0 {
            return Vec::new();
        }
        let unseen = lock(&self.unseen);
        let users = users.iter().map(|user| (tenant.clone(), user.clone()));
        users.filter_map(|user| unseen.users.get(&user).map(|mark| (user, *mark))).collect()
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

    /// Of these users, those for whom something older may wait somewhere.
    pub(super) fn waiting_of(&self, tenant: &Arc<str>, users: &[Arc<str>]) -> Vec<Arc<str>> {
        if self.unseen_users.load(SeqCst) + self.stray_users.load(SeqCst) == 0 {
            return Vec::new();
        }
        let (unseen, strays) = (lock(&self.unseen), lock(&self.strays));
        let waits = |user: &&Arc<str>| {
            let user = (tenant.clone(), Arc::clone(user));
            unseen.users.contains_key(&user) || strays.contains_key(&user)
        };
        users.iter().filter(waits).cloned().collect()
    }
}

/// One user's frames that are not all where they belong, in the hands of one caller.
pub(super) struct Claim<'a> {
    pending: &'a Pending,
    user: User,
    /// What the caller has taken to bring and not answered for yet.
    taken: Owed,
    _mine: OwnedMutexGuard<()>,
}

impl Claim<'_> {
    pub(super) fn user(&self) -> &Arc<str> {
        &self.user.1
    }

    /// Takes what is owed by now. It is owed again when this claim ends, unless [`Claim::brought`] follows.
    pub(super) fn take(&mut self) {
        if let Some(stray) = lock(&self.pending.strays).get_mut(&self.user) {
            self.taken = std::mem::take(&mut stray.owed);
        }
    }

    pub(super) fn taken(&self) -> &Owed {
        &self.taken
    }

    /// The attempt is over; these endpoints still lack frames.
    pub(super) fn brought(&mut self, failed: Owed) {
        self.taken = failed;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut strays = lock(&self.pending.strays);
        let Some(stray) = strays.get_mut(&self.user) else { return };
        std::mem::take(&mut self.taken).into_iter().for_each(|(endpoint, from)| stray.owe(endpoint, from));
        if stray.owed.is_empty() {
            strays.remove(&self.user);
            self.pending.stray_users.store(strays.len(), SeqCst);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
