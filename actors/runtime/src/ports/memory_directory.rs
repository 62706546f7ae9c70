//! The directory as maps, for one process that holds one node or several. It must behave like the Redis one, leases
//! included, so it is held to the same contract suite; it never blocks and never fails.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dashmap::DashMap;
use mics_domain::ports::{
    Announced, ConnectionLimits, Directory, DirectoryDown, Lease, LocalFuture, Peer, Registered, Renewed, Route,
    RouteWatcher,
};
use tokio::time::Instant;

use super::memory_nodes::Nodes;

/// How often tenants that nobody asks about are looked through for expired leases.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

struct Entry {
    route: Route,
    expires: Instant,
}

/// One tenant's connections. `by_expiry` holds exactly one entry per lease.
#[derive(Default)]
struct Tenant {
    users: HashMap<Arc<str>, HashMap<Arc<str>, Entry>>,
    by_expiry: BTreeSet<(Instant, Arc<str>, Arc<str>)>,
    /// Taken out of the map; whoever still holds it must look the tenant up again.
    retired: bool,
}

impl Tenant {
    fn drop_expired(&mut self, now: Instant) {
        while self.by_expiry.first().is_some_and(|(expires, ..)| *expires <= now) {
            if let Some((_, user, device)) = self.by_expiry.pop_first() {
                self.forget(&user, &device);
            }
        }
    }

    fn lease(&self, user: &str, device: &str) -> Option<&Entry> {
        self.users.get(user)?.get(device)
    }

    fn insert(&mut self, user: &str, lease: Entry) {
        self.remove(user, &lease.route.device.clone());
        let user: Arc<str> = match self.users.get_key_value(user) {
            Some((known, _)) => known.clone(),
            None => user.into(),
        };
        let device = lease.route.device.clone();
        self.by_expiry.insert((lease.expires, user.clone(), device.clone()));
        self.users.entry(user).or_default().insert(device, lease);
    }

    fn remove(&mut self, user: &str, device: &str) -> Option<Entry> {
        let lease = self.forget(user, device)?;
        self.by_expiry.remove(&(lease.expires, user.into(), device.into()));
        Some(lease)
    }

    /// Removes a lease whose expiry entry is already gone, or is about to go.
    fn forget(&mut self, user: &str, device: &str) -> Option<Entry> {
        let devices = self.users.get_mut(user)?;
        let lease = devices.remove(device);
        if devices.is_empty() {
            self.users.remove(user);
        }
        lease
    }

    fn register(&mut self, user: &str, route: &Route, limits: ConnectionLimits, now: Instant) -> Registered {
        let outcome = match self.lease(user, &route.device) {
            Some(earlier) if limits.again && earlier.route.online_at_ms > route.online_at_ms => {
                return Registered::Newer;
            }
            Some(earlier) => Registered::Replaced(Box::new(earlier.route.clone())),
            None => {
                let of_user = count(self.users.get(user).map_or(0, HashMap::len));
                let of_tenant = count(self.by_expiry.len());
                if limits.user > 0 && of_user >= limits.user {
                    return Registered::UserFull { current: of_user };
                }
                if limits.tenant > 0 && of_tenant >= limits.tenant {
                    return Registered::TenantFull { current: of_tenant };
                }
                Registered::New
            }
        };
        self.insert(user, Entry { route: route.clone(), expires: now + Duration::from_millis(limits.lease_ms) });
        outcome
    }

    /// True when it was there.
    fn unregister(&mut self, lease: &Lease) -> bool {
        self.renewed(lease) == Renewed::Ours && self.remove(&lease.user, &lease.device).is_some()
    }

    fn renewed(&self, lease: &Lease) -> Renewed {
        match self.lease(&lease.user, &lease.device) {
            None => Renewed::Absent,
            Some(held) if held.route.connection == lease.connection => Renewed::Ours,
            Some(_) => Renewed::Taken,
        }
    }

    fn renew(&mut self, lease: &Lease, now: Instant) -> Renewed {
        let renewed = self.renewed(lease);
        if renewed == Renewed::Ours
            && let Some(held) = self.remove(&lease.user, &lease.device)
        {
            let expires = now + Duration::from_millis(lease.lease_ms);
            self.insert(&lease.user, Entry { expires, ..held });
        }
        renewed
    }

    /// Up to `max` entries of a node.
    fn entries_of(&self, at: &Peer, max: usize) -> Vec<(Arc<str>, Arc<str>)> {
        let entries = self.users.iter().flat_map(|(user, devices)| devices.values().map(move |entry| (user, entry)));
        let theirs = entries.filter(|(_, entry)| entry.route.at.node == at.node && entry.route.at.boot == at.boot);
        theirs.take(max).map(|(user, entry)| (user.clone(), entry.route.device.clone())).collect()
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Messages answered SENT, for those who ask on another node.
#[derive(Default)]
struct Sent {
    fingerprints: HashMap<(Arc<str>, u128), (u64, Instant)>,
    ends: VecDeque<(Instant, (Arc<str>, u128))>,
}

impl Sent {
    fn remember(&mut self, tenant: &str, key: u128, fingerprint: u64, ttl: Duration) {
        let now = Instant::now();
        // In the order of their ends, as long as callers use one time to live.
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            let Some((_, id)) = self.ends.pop_front() else { break };
            if self.fingerprints.get(&id).is_some_and(|(_, end)| *end <= now) {
                self.fingerprints.remove(&id);
            }
        }
        let (id, end) = ((Arc::from(tenant), key), now + ttl);
        self.ends.push_back((end, (Arc::clone(&id.0), key)));
        self.fingerprints.insert(id, (fingerprint, end));
    }

    fn recall(&self, tenant: &str, key: u128) -> Option<u64> {
        let found = self.fingerprints.get(&(tenant.into(), key)).copied();
        found.filter(|(_, end)| *end > Instant::now()).map(|(fingerprint, _)| fingerprint)
    }
}

/// Share it as `Arc<MemoryDirectory>` between the nodes of a process. Tenants have a lock each and don't wait for each
/// other; what expired is given back within [`SWEEP_EVERY`] of any registration.
///
/// Unlike the port promises it serves several watchers: each node of the process has its own.
pub struct MemoryDirectory {
    tenants: DashMap<Arc<str>, Arc<Mutex<Tenant>>>,
    /// Per tenant: the second that was last asked about, and what was taken of it.
    sent: Mutex<Sent>,
    budgets: DashMap<Arc<str>, (i64, u32)>,
    nodes: Mutex<Nodes>,
    watchers: Mutex<Vec<Weak<dyn RouteWatcher>>>,
    last_sweep: Mutex<Instant>,
    /// The two clocks at the start; from there on only tokio's counts.
    started: (Instant, SystemTime),
    standalone: bool,
}

impl MemoryDirectory {
    /// For the only node there is: callers may skip look-ups.
    pub fn standalone() -> Self {
        Self::new(true)
    }

    /// For several nodes in one process.
    pub fn shared() -> Self {
        Self::new(false)
    }

    fn new(standalone: bool) -> Self {
        let now = Instant::now();
        MemoryDirectory {
            tenants: DashMap::new(),
            budgets: DashMap::new(),
            sent: Mutex::default(),
            nodes: Mutex::default(),
            watchers: Mutex::default(),
            last_sweep: Mutex::new(now),
            started: (now, SystemTime::now()),
            standalone,
        }
    }

    fn now_ms(&self) -> i64 {
        let since = (self.started.1 + self.started.0.elapsed()).duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn tell(&self, news: impl Fn(&dyn RouteWatcher)) {
        let watchers: Vec<Arc<dyn RouteWatcher>> = {
            let mut watchers = lock(&self.watchers);
            watchers.retain(|watcher| watcher.strong_count() > 0);
            watchers.iter().filter_map(Weak::upgrade).collect()
        };
        watchers.iter().for_each(|watcher| news(&**watcher));
    }

    /// Live connections of a tenant.
    pub fn connections(&self, tenant: &str) -> usize {
        self.with_known(tenant, |t| t.by_expiry.len()).unwrap_or(0)
    }

    /// Tenants that hold memory here.
    pub fn tenants(&self) -> usize {
        self.tenants.len()
    }

    /// Gives back what expired, in every tenant.
    pub fn sweep(&self) {
        let names: Vec<Arc<str>> = self.tenants.iter().map(|entry| entry.key().clone()).collect();
        for name in names {
            self.with_known(&name, |_| ());
        }
        let second = self.now_ms() / 1000;
        self.budgets.retain(|_, (asked, _)| *asked == second);
    }

    fn sweep_when_due(&self, now: Instant) {
        {
            let mut last = lock(&self.last_sweep);
            if now.duration_since(*last) < SWEEP_EVERY {
                return;
            }
            *last = now;
        }
        self.sweep();
    }

    /// Runs `act` on a tenant that may be new.
    fn with<R>(&self, tenant: &str, mut act: impl FnMut(&mut Tenant) -> R) -> R {
        loop {
            let entry = self.tenants.get(tenant).map(|found| found.value().clone());
            let cell = entry.unwrap_or_else(|| self.tenants.entry(tenant.into()).or_default().value().clone());
            if let Some(result) = self.act_on(tenant, &cell, &mut act) {
                return result;
            }
        }
    }

    /// Runs `act` on a tenant, unless nobody of it is online.
    fn with_known<R>(&self, tenant: &str, mut act: impl FnMut(&mut Tenant) -> R) -> Option<R> {
        let cell = self.tenants.get(tenant).map(|found| found.value().clone())?;
        self.act_on(tenant, &cell, &mut act)
    }

    /// `None` when the tenant was retired meanwhile. Retires it when it is left empty.
    fn act_on<R>(&self, name: &str, cell: &Mutex<Tenant>, act: &mut impl FnMut(&mut Tenant) -> R) -> Option<R> {
        let (result, retire) = {
            let mut tenant = lock(cell);
            if tenant.retired {
                return None;
            }
            tenant.drop_expired(Instant::now());
            let result = act(&mut tenant);
            tenant.retired = tenant.users.is_empty();
            (result, tenant.retired)
        };
        if retire {
            self.tenants.remove_if(name, |_, held| std::ptr::eq(Arc::as_ptr(held), cell));
        }
        Some(result)
    }
}

impl Directory for MemoryDirectory {
    fn register<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        route: &'a Route,
        limits: ConnectionLimits,
    ) -> LocalFuture<'a, Result<Registered, DirectoryDown>> {
        Box::pin(async move {
            let now = Instant::now();
            self.sweep_when_due(now);
            let outcome = self.with(tenant, |t| t.register(user, route, limits, now));
            let changed = match &outcome {
                Registered::New => true,
                Registered::Replaced(earlier) => earlier.connection != route.connection,
                Registered::Newer | Registered::TenantFull { .. } | Registered::UserFull { .. } => false,
            };
            if changed {
                self.tell(|watcher| watcher.changed(tenant, user));
            }
            Ok(outcome)
        })
    }

    fn unregister<'a>(&'a self, leases: &'a [Lease]) -> LocalFuture<'a, Result<(), DirectoryDown>> {
        Box::pin(async move {
            for lease in leases {
                if self.with_known(&lease.tenant, |t| t.unregister(lease)).unwrap_or(false) {
                    self.tell(|watcher| watcher.changed(&lease.tenant, &lease.user));
                }
            }
            Ok(())
        })
    }

    fn renew<'a>(&'a self, leases: &'a [Lease]) -> LocalFuture<'a, Result<Vec<Renewed>, DirectoryDown>> {
        Box::pin(async move {
            let now = Instant::now();
            let renew = |lease: &Lease| self.with_known(&lease.tenant, |t| t.renew(lease, now));
            Ok(leases.iter().map(|lease| renew(lease).unwrap_or(Renewed::Absent)).collect())
        })
    }

    fn routes<'a>(
        &'a self,
        tenant: &'a str,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<Vec<Route>>, DirectoryDown>> {
        Box::pin(async move {
            let routes_of = |t: &Tenant, user: &str| -> Vec<Route> {
                t.users.get(user).map(|d| d.values().map(|entry| entry.route.clone()).collect()).unwrap_or_default()
            };
            let found = self.with_known(tenant, |t| users.iter().map(|user| routes_of(t, user)).collect());
            Ok(found.unwrap_or_else(|| vec![Vec::new(); users.len()]))
        })
    }

    fn take_budget<'a>(&'a self, tenant: &'a str, want: u32, max: u32) -> LocalFuture<'a, Result<u32, DirectoryDown>> {
        Box::pin(async move {
            self.sweep_when_due(Instant::now());
            let second = self.now_ms() / 1000;
            let mut budget = self.budgets.entry(tenant.into()).or_insert((second, 0));
            if budget.0 != second {
                *budget = (second, 0);
            }
            let got = want.min(max.saturating_sub(budget.1));
            budget.1 += got;
            Ok(got)
        })
    }

    fn remember<'a>(
        &'a self,
        tenant: &'a str,
        key: u128,
        fingerprint: u64,
        ttl_ms: u64,
    ) -> LocalFuture<'a, Result<(), DirectoryDown>> {
        Box::pin(async move {
            lock(&self.sent).remember(tenant, key, fingerprint, Duration::from_millis(ttl_ms));
            Ok(())
        })
    }

    fn recall<'a>(&'a self, tenant: &'a str, key: u128) -> LocalFuture<'a, Result<Option<u64>, DirectoryDown>> {
        Box::pin(async move { Ok(lock(&self.sent).recall(tenant, key)) })
    }

    fn claim<'a>(&'a self, tenant: &'a str, key: u128, ttl_ms: u64) -> LocalFuture<'a, Result<bool, DirectoryDown>> {
        Box::pin(async move {
            let mut sent = lock(&self.sent);
            let free = sent.recall(tenant, key).is_none();
            if free {
                sent.remember(tenant, key, 0, Duration::from_millis(ttl_ms));
            }
            Ok(free)
        })
    }

    fn announce<'a>(&'a self, me: &'a Peer, ttl_ms: u64) -> LocalFuture<'a, Result<Announced, DirectoryDown>> {
        Box::pin(async move {
            let ttl = Duration::from_millis(ttl_ms);
            let announced = lock(&self.nodes).announce(me, ttl, Instant::now(), self.now_ms());
            if !announced.remembered {
                self.tell(|watcher| watcher.nodes_changed());
            }
            Ok(announced)
        })
    }

    fn live(&self) -> LocalFuture<'_, Result<Vec<Peer>, DirectoryDown>> {
        Box::pin(async move { Ok(lock(&self.nodes).live(Instant::now())) })
    }

    fn leave<'a>(&'a self, me: &'a Peer) -> LocalFuture<'a, Result<(), DirectoryDown>> {
        Box::pin(async move {
            if lock(&self.nodes).leave(me, Instant::now()) {
                self.tell(|watcher| watcher.nodes_changed());
            }
            Ok(())
        })
    }

    fn bury<'a>(&'a self, dead: &'a Peer, max: usize) -> LocalFuture<'a, Result<usize, DirectoryDown>> {
        Box::pin(async move {
            if lock(&self.nodes).is_live(dead, Instant::now()) {
                return Ok(0);
            }
            let names: Vec<Arc<str>> = self.tenants.iter().map(|entry| entry.key().clone()).collect();
            let mut buried = 0;
            for tenant in names {
                let left = max - buried;
                let users = self.with_known(&tenant, |t| {
                    let entries = t.entries_of(dead, left);
                    entries.iter().for_each(|(user, device)| drop(t.remove(user, device)));
                    entries
                });
                let users = users.unwrap_or_default();
                buried += users.len();
                users.iter().for_each(|(user, _)| self.tell(|watcher| watcher.changed(&tenant, user)));
                if buried >= max {
                    break;
                }
            }
            if buried == 0 {
                lock(&self.nodes).forget(dead, Instant::now());
            }
            Ok(buried)
        })
    }

    fn watch(&self, watcher: Weak<dyn RouteWatcher>) {
        lock(&self.watchers).push(watcher.clone());
        if let Some(watcher) = watcher.upgrade() {
            watcher.watching(true);
        }
    }

    fn standalone(&self) -> bool {
        self.standalone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::directory as contract;

    #[tokio::test(start_paused = true)]
    async fn keeps_the_contract_of_the_port() {
        contract::run_all(|| async { Arc::new(MemoryDirectory::shared()) }).await;
    }

    #[tokio::test(start_paused = true)]
    async fn memory_comes_back_from_tenants_nobody_asks_about() {
        let directory = MemoryDirectory::shared();
        let limits = ConnectionLimits { lease_ms: 1_000, ..ConnectionLimits::default() };
        for n in 0..100_u128 {
            let route = contract::route("phone", "n1", n);
            directory.register(&format!("t{n}"), "u", &route, limits).await.unwrap();
        }
        assert_eq!(directory.tenants(), 100);
        tokio::time::advance(SWEEP_EVERY).await;
        directory.register("last", "u", &contract::route("phone", "n1", 7), limits).await.unwrap();
        assert_eq!(directory.tenants(), 1);
        directory.unregister(&[contract::lease("last", "u", "phone", 7)]).await.unwrap();
        assert_eq!(directory.tenants(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_leaves_nothing_behind() {
        let directory = MemoryDirectory::standalone();
        assert!(directory.standalone());
        let limits = ConnectionLimits { tenant: 1, user: 0, lease_ms: 1_000, again: false };
        directory.register("t", "a", &contract::route("d", "n", 1), limits).await.unwrap();
        let refused = directory.register("t", "b", &contract::route("d", "n", 2), limits).await.unwrap();
        assert_eq!(refused, Registered::TenantFull { current: 1 });
        assert_eq!(directory.connections("t"), 1);
        assert_eq!(directory.connections("unknown"), 0);
    }

    #[test]
    fn threads_that_come_and_go_never_lose_a_registration() {
        let directory = Arc::new(MemoryDirectory::shared());
        let limits = ConnectionLimits { lease_ms: 60_000, ..ConnectionLimits::default() };
        let threads: Vec<_> = (0..4_u128)
            .map(|n| {
                let directory = directory.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    runtime.block_on(async {
                        let (user, route) = (format!("u{n}"), contract::route("d", "n", n));
                        let users: [Arc<str>; 1] = [user.as_str().into()];
                        for _ in 0..2_000 {
                            directory.register("t", &user, &route, limits).await.unwrap();
                            assert_eq!(directory.routes("t", &users).await.unwrap(), vec![vec![route.clone()]]);
                            directory.unregister(&[contract::lease("t", &user, "d", n)]).await.unwrap();
                        }
                    });
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(directory.tenants(), 0);
    }
}
