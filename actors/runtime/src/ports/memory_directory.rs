//! The directory as maps, for one process that holds one node or several. It must behave like the Redis one, leases
//! included, so it is held to the same contract suite; it never blocks and never fails.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use mics_domain::ports::{ConnectionLimits, Directory, DirectoryDown, LocalFuture, Registered, Route};
use tokio::time::Instant;

/// How often tenants that nobody asks about are looked through for expired leases.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

struct Lease {
    route: Route,
    expires: Instant,
}

/// One tenant's connections. `by_expiry` holds exactly one entry per lease.
#[derive(Default)]
struct Tenant {
    users: HashMap<Arc<str>, HashMap<Arc<str>, Lease>>,
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

    fn lease(&self, user: &str, device: &str) -> Option<&Lease> {
        self.users.get(user)?.get(device)
    }

    fn insert(&mut self, user: &str, lease: Lease) {
        self.remove(user, &lease.route.device.clone());
        let user: Arc<str> = match self.users.get_key_value(user) {
            Some((known, _)) => known.clone(),
            None => user.into(),
        };
        let device = lease.route.device.clone();
        self.by_expiry.insert((lease.expires, user.clone(), device.clone()));
        self.users.entry(user).or_default().insert(device, lease);
    }

    fn remove(&mut self, user: &str, device: &str) -> Option<Lease> {
        let lease = self.forget(user, device)?;
        self.by_expiry.remove(&(lease.expires, user.into(), device.into()));
        Some(lease)
    }

    /// Removes a lease whose expiry entry is already gone, or is about to go.
    fn forget(&mut self, user: &str, device: &str) -> Option<Lease> {
        let devices = self.users.get_mut(user)?;
        let lease = devices.remove(device);
        if devices.is_empty() {
            self.users.remove(user);
        }
        lease
    }

    fn register(&mut self, user: &str, route: &Route, limits: ConnectionLimits, now: Instant) -> Registered {
        let outcome = match self.lease(user, &route.device) {
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
        self.insert(user, Lease { route: route.clone(), expires: now + Duration::from_millis(limits.lease_ms) });
        outcome
    }

    fn unregister(&mut self, user: &str, device: &str, connection: u128) {
        if self.lease(user, device).is_some_and(|lease| lease.route.connection == connection) {
            self.remove(user, device);
        }
    }

    fn renew(&mut self, user: &str, device: &str, connection: u128, expires: Instant) -> bool {
        if self.lease(user, device).is_none_or(|lease| lease.route.connection != connection) {
            return false;
        }
        if let Some(lease) = self.remove(user, device) {
            self.insert(user, Lease { expires, ..lease });
        }
        true
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Share it as `Arc<MemoryDirectory>` between the nodes of a process. Tenants have a lock each and don't wait for each
/// other; what expired is given back within [`SWEEP_EVERY`] of any registration.
pub struct MemoryDirectory {
    tenants: DashMap<Arc<str>, Arc<Mutex<Tenant>>>,
    last_sweep: Mutex<Instant>,
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
        MemoryDirectory { tenants: DashMap::new(), last_sweep: Mutex::new(Instant::now()), standalone }
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
            Ok(self.with(tenant, |t| t.register(user, route, limits, now)))
        })
    }

    fn unregister<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        device: &'a str,
        connection: u128,
    ) -> LocalFuture<'a, Result<(), DirectoryDown>> {
        Box::pin(async move {
            self.with_known(tenant, |t| t.unregister(user, device, connection));
            Ok(())
        })
    }

    fn renew<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        device: &'a str,
        connection: u128,
        lease_ms: u64,
    ) -> LocalFuture<'a, Result<bool, DirectoryDown>> {
        Box::pin(async move {
            let expires = Instant::now() + Duration::from_millis(lease_ms);
            Ok(self.with_known(tenant, |t| t.renew(user, device, connection, expires)).unwrap_or(false))
        })
    }

    fn routes<'a>(
        &'a self,
        tenant: &'a str,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<Vec<Route>>, DirectoryDown>> {
        Box::pin(async move {
            let routes_of = |t: &Tenant, user: &str| -> Vec<Route> {
                t.users.get(user).map(|d| d.values().map(|lease| lease.route.clone()).collect()).unwrap_or_default()
            };
            let found = self.with_known(tenant, |t| users.iter().map(|user| routes_of(t, user)).collect());
            Ok(found.unwrap_or_else(|| vec![Vec::new(); users.len()]))
        })
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
        directory.unregister("last", "u", "phone", 7).await.unwrap();
        assert_eq!(directory.tenants(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_leaves_nothing_behind() {
        let directory = MemoryDirectory::standalone();
        assert!(directory.standalone());
        let limits = ConnectionLimits { tenant: 1, user: 0, lease_ms: 1_000 };
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
                            directory.unregister("t", &user, "d", n).await.unwrap();
                        }
                    });
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(directory.tenants(), 0);
    }
}
