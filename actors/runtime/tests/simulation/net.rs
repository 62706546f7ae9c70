//! The network between nodes and to the directory, with everything that can go wrong there. Which call goes wrong is
//! decided by the seed, the caller and the number of the call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use mics_actors::ports::{MemoryDirectory, MemoryLink};
use mics_domain::ports::{Directory, LocalFuture, RouteWatcher};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::random::Random;

/// How long a caller waits for an answer.
const DEADLINE: Duration = Duration::from_millis(500);

/// One start of a node; a node that starts again is another instance.
pub type Instance = usize;

/// What may happen to every call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flaky {
    pub delay_ms: u64,
    pub fail_per_mille: u64,
    /// Carried out, and the answer lost.
    pub mute_per_mille: u64,
}

#[derive(Default)]
struct State {
    calls: HashMap<(Instance, &'static str), u64>,
    endpoints: BTreeMap<String, Instance>,
    killed: BTreeSet<Instance>,
    frozen: BTreeSet<Instance>,
    away: BTreeSet<Instance>,
    parted: BTreeSet<(Instance, Instance)>,
    directory_flaky: Flaky,
    link_flaky: Flaky,
    lanes: HashMap<(Instance, Instance), Arc<tokio::sync::Mutex<()>>>,
    watchers: Vec<Arc<News>>,
    /// Nobody gets to remove a dead node's entries.
    no_burials: bool,
}

pub struct Net {
    seed: u64,
    state: Mutex<State>,
    directory: Mutex<Arc<MemoryDirectory>>,
    pub link: MemoryLink,
    changed: Notify,
    began: Instant,
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    Unreachable,
    Late,
}

impl Net {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Net {
            seed,
            state: Mutex::default(),
            directory: Mutex::new(Arc::new(MemoryDirectory::shared())),
            link: MemoryLink::new(),
            changed: Notify::new(),
            began: Instant::now(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn directory(&self) -> Arc<MemoryDirectory> {
        self.directory.lock().unwrap().clone()
    }

    /// The directory's clock, which goes on although its memory is lost.
    pub fn now_ms(&self) -> i64 {
        1_800_000_000_000 + self.began.elapsed().as_millis() as i64
    }

    pub fn place(&self, endpoint: &str, instance: Instance) {
        self.state().endpoints.insert(endpoint.to_owned(), instance);
    }

    fn at(&self, endpoint: &str) -> Option<Instance> {
        self.state().endpoints.get(endpoint).copied()
    }

    pub fn kill(&self, instance: Instance) {
        self.state().killed.insert(instance);
        self.changed.notify_waiters();
    }

    pub fn part(&self, a: Instance, b: Instance) {
        self.state().parted.extend([(a, b), (b, a)]);
    }

    /// `from` reaches `to` again, whatever is true of the other direction.
    pub fn reach(&self, from: Instance, to: Instance) {
        self.state().parted.remove(&(from, to));
    }

    pub fn freeze(&self, instance: Instance) {
        self.state().frozen.insert(instance);
    }

    pub fn stop_burials(&self) {
        self.state().no_burials = true;
    }

    pub fn burials_fail(&self) -> bool {
        self.state().no_burials
    }

    pub fn flaky(&self, directory: Flaky, link: Flaky) {
        let mut state = self.state();
        (state.directory_flaky, state.link_flaky) = (directory, link);
    }

    pub fn away(&self, instance: Instance) {
        self.state().away.insert(instance);
        self.tell_watching(instance, false);
    }

    /// The directory loses its memory; nobody is told.
    pub fn empty(&self) {
        let fresh = Arc::new(MemoryDirectory::shared());
        *self.directory.lock().unwrap() = fresh.clone();
        let watchers = self.state().watchers.clone();
        for watcher in &watchers {
            watcher.watch(&fresh, true);
        }
    }

    /// Everything works again, except for nodes that were killed.
    pub fn heal(&self) {
        let back = {
            let mut state = self.state();
            state.parted.clear();
            state.frozen.clear();
            state.no_burials = false;
            (state.directory_flaky, state.link_flaky) = Default::default();
            std::mem::take(&mut state.away)
        };
        self.changed.notify_waiters();
        self.release_news();
        back.into_iter().for_each(|instance| self.tell_watching(instance, true));
    }

    fn tell_watching(&self, instance: Instance, live: bool) {
        let watchers = self.state().watchers.clone();
        for watcher in watchers.iter().filter(|watcher| watcher.instance == instance) {
            if let Some(inner) = watcher.inner.upgrade() {
                inner.watching(live);
            }
        }
    }

    fn release_news(&self) {
        let watchers = self.state().watchers.clone();
        watchers.iter().for_each(|watcher| watcher.release());
    }

    pub fn watch(self: &Arc<Self>, instance: Instance, inner: Weak<dyn RouteWatcher>) {
        let news = Arc::new(News {
            net: Arc::downgrade(self),
            instance,
            inner,
            kept: Mutex::default(),
            mute: Mutex::default(),
        });
        self.state().watchers.push(news.clone());
        news.watch(&self.directory(), false);
    }

    fn dice(&self, from: Instance, op: &'static str) -> Random {
        let mut state = self.state();
        let calls = state.calls.entry((from, op)).or_default();
        *calls += 1;
        Random::of(self.seed, (from, op, *calls))
    }

    fn unreachable(&self, from: Instance, to: Option<Instance>) -> bool {
        let state = self.state();
        match to {
            None => state.killed.contains(&from) || state.away.contains(&from),
            Some(to) => {
                state.killed.contains(&from) || state.killed.contains(&to) || state.parted.contains(&(from, to))
            }
        }
    }

    fn killed(&self, from: Instance, to: Option<Instance>) -> bool {
        let state = self.state();
        state.killed.contains(&from) || to.is_some_and(|to| state.killed.contains(&to))
    }

    fn frozen(&self, from: Instance, to: Option<Instance>) -> bool {
        let state = self.state();
        state.frozen.contains(&from) || to.is_some_and(|to| state.frozen.contains(&to))
    }

    async fn thawed(&self, from: Instance, to: Option<Instance>) {
        loop {
            let changed = self.changed.notified();
            if !self.frozen(from, to) {
                return;
            }
            changed.await;
        }
    }

    fn lane(&self, from: Instance, to: Instance) -> Arc<tokio::sync::Mutex<()>> {
        self.state().lanes.entry((from, to)).or_default().clone()
    }

    /// A call to the node at `endpoint`, in the order of such calls.
    pub async fn to_node<T: 'static>(
        self: &Arc<Self>,
        from: Instance,
        endpoint: &str,
        op: &'static str,
        call: LocalFuture<'static, T>,
    ) -> Result<T, Lost> {
        let to = self.at(endpoint).ok_or(Lost::Unreachable)?;
        let flaky = self.state().link_flaky;
        self.carry(from, Some(to), op, flaky, call).await
    }

    /// A call to the directory.
    pub async fn to_directory<T: 'static>(
        self: &Arc<Self>,
        from: Instance,
        op: &'static str,
        call: LocalFuture<'static, T>,
    ) -> Result<T, Lost> {
        let flaky = self.state().directory_flaky;
        self.carry(from, None, op, flaky, call).await
    }

    async fn carry<T: 'static>(
        self: &Arc<Self>,
        from: Instance,
        to: Option<Instance>,
        op: &'static str,
        flaky: Flaky,
        call: LocalFuture<'static, T>,
    ) -> Result<T, Lost> {
        let mut dice = self.dice(from, op);
        let delay = Duration::from_millis(dice.between(0, flaky.delay_ms));
        let (fails, mute) = (dice.chance(flaky.fail_per_mille), dice.chance(flaky.mute_per_mille));
        if fails || self.unreachable(from, to) {
            sleep(delay).await;
            return Err(Lost::Unreachable);
        }
        let (answer, answered) = oneshot::channel();
        let (net, lane) = (self.clone(), to.map(|to| self.lane(from, to)));
        actix_rt::spawn(async move {
            let _in_order = match &lane {
                Some(lane) => Some(lane.lock().await),
                None => None,
            };
            if !delay.is_zero() {
                sleep(delay).await;
            }
            net.thawed(from, to).await;
            if !net.killed(from, to) {
                let _ = answer.send(call.await);
            }
        });
        match timeout(DEADLINE, answered).await {
            Ok(Ok(_)) if mute || self.unreachable(from, to) => Err(Lost::Late),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Lost::Unreachable),
            Err(_) => Err(Lost::Late),
        }
    }
}

/// News on its way to one node.
pub struct News {
    net: Weak<Net>,
    instance: Instance,
    inner: Weak<dyn RouteWatcher>,
    /// What came while the node was frozen.
    kept: Mutex<Vec<Option<(String, String)>>>,
    mute: Mutex<bool>,
}

impl News {
    fn watch(self: &Arc<Self>, directory: &MemoryDirectory, mute: bool) {
        *self.mute.lock().unwrap() = mute;
        let watcher: Arc<dyn RouteWatcher> = self.clone();
        directory.watch(Arc::downgrade(&watcher));
        *self.mute.lock().unwrap() = false;
    }

    fn came(&self, news: Option<(String, String)>) {
        let Some(net) = self.net.upgrade() else { return };
        if net.unreachable(self.instance, None) {
            return;
        }
        if net.frozen(self.instance, None) {
            return self.kept.lock().unwrap().push(news);
        }
        self.tell(news);
    }

    fn tell(&self, news: Option<(String, String)>) {
        match (self.inner.upgrade(), news) {
            (Some(inner), Some((tenant, user))) => inner.changed(&tenant, &user),
            (Some(inner), None) => inner.nodes_changed(),
            (None, _) => {}
        }
    }

    fn release(&self) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap());
        kept.into_iter().for_each(|news| self.tell(news));
    }
}

impl RouteWatcher for News {
    fn changed(&self, tenant: &str, user: &str) {
        self.came(Some((tenant.to_owned(), user.to_owned())));
    }

    fn nodes_changed(&self) {
        self.came(None);
    }

    fn watching(&self, live: bool) {
        if !*self.mute.lock().unwrap()
            && let Some(inner) = self.inner.upgrade()
        {
            inner.watching(live);
        }
    }
}
