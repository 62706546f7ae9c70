//! The directory on Redis: scripts for what must be atomic, the server's clock for every lease, a deadline on everything.
//! Must never panic and never hold a session up for longer than its deadlines. Keys: [`super::keys`].
//!
//! All input and output happens on a thread of its own: a connection lives on the thread that opened it, and a worker
//! thread may be busy or gone.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mics_actors::metrics::Metrics;
use mics_domain::ports::{
    Announced, ConnectionLimits, Directory, DirectoryDown, Lease, LocalFuture, Peer, Registered, Renewed, Route,
    RouteWatcher,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::connection::{RedisConfig, RedisMistakes};
use super::entries::Entries;
use super::exchange::Exchange;
use super::figures::{Figures, Op};
use super::{nodes, watching};
use crate::background::Background;

/// Registrations under way at once. When thousands come back together, the questions of those who talk wait behind so
/// many and no more.
const REGISTRATIONS: usize = 64;

/// Connects in the background as soon as it exists, and again whenever a connection is lost.
pub struct RedisDirectory {
    config: RedisConfig,
    entries: Entries,
    background: Background,
    figures: Arc<Figures>,
    registrations: Arc<Semaphore>,
    _links: JoinSet<()>,
    watching: Mutex<JoinSet<()>>,
}

impl RedisDirectory {
    /// A node starts without Redis and finds it when it is there. Errors name what this build or this machine cannot do.
    pub fn new(config: &RedisConfig, metrics: &Metrics) -> Result<Self, RedisMistakes> {
        config.listening()?;
        let background = Background::start("mics-redis", 1);
        let background = background.map_err(|error| RedisMistakes(vec![error.to_string()]))?;
        let (exchange, links) = Exchange::new(config, background.handle())?;
        Ok(RedisDirectory {
            config: config.clone(),
            entries: Entries::new(exchange),
            background,
            figures: Arc::new(Figures::new(metrics)),
            registrations: Arc::new(Semaphore::new(REGISTRATIONS)),
            _links: links,
            watching: Mutex::default(),
        })
    }

    /// Another deadline per question than 200 ms; batches have five times as long.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.entries.exchange = self.entries.exchange.with_deadline(deadline);
        self
    }

    /// Carries `work` out on the directory's runtime, to its end even if the caller goes away.
    fn run<'a, T: Send + 'static>(
        &'a self,
        work: impl Future<Output = Result<T, DirectoryDown>> + Send + 'static,
    ) -> LocalFuture<'a, Result<T, DirectoryDown>> {
        Box::pin(async move {
            let done = self.background.handle().spawn(work).await;
            done.unwrap_or_else(|_| Err(DirectoryDown("the runtime for Redis has ended".to_owned())))
        })
    }

    /// The same, timed.
    fn timed<'a, T: Send + 'static>(
        &'a self,
        op: Op,
        work: impl Future<Output = Result<T, DirectoryDown>> + Send + 'static,
    ) -> LocalFuture<'a, Result<T, DirectoryDown>> {
        let figures = self.figures.clone();
        self.run(async move { figures.time(op, work).await })
    }
}

impl Directory for RedisDirectory {
    fn register<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        route: &'a Route,
        limits: ConnectionLimits,
    ) -> LocalFuture<'a, Result<Registered, DirectoryDown>> {
        let (entries, tenant, user, route) = (self.entries.clone(), tenant.to_owned(), user.to_owned(), route.clone());
        let (registrations, figures) = (self.registrations.clone(), self.figures.clone());
        self.run(async move {
            let _turn = registrations.acquire().await;
            figures.time(Op::Register, entries.register(&tenant, &user, &route, limits)).await
        })
    }

    fn unregister<'a>(&'a self, leases: &'a [Lease]) -> LocalFuture<'a, Result<(), DirectoryDown>> {
        let (entries, leases) = (self.entries.clone(), leases.to_vec());
        self.timed(Op::Unregister, async move { entries.unregister(&leases).await })
    }

    fn renew<'a>(&'a self, leases: &'a [Lease]) -> LocalFuture<'a, Result<Vec<Renewed>, DirectoryDown>> {
        let (entries, leases) = (self.entries.clone(), leases.to_vec());
        self.timed(Op::Renew, async move { entries.renew(&leases).await })
    }

    fn routes<'a>(
        &'a self,
        tenant: &'a str,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<Vec<Route>>, DirectoryDown>> {
        let (entries, tenant, users) = (self.entries.clone(), tenant.to_owned(), users.to_vec());
        let figures = self.figures.clone();
        self.timed(Op::Routes, async move {
            let found = entries.routes(&tenant, &users).await?;
            figures.routes.count(found.iter().map(|routes| !routes.is_empty()));
            Ok(found)
        })
    }

    fn take_budget<'a>(&'a self, tenant: &'a str, want: u32, max: u32) -> LocalFuture<'a, Result<u32, DirectoryDown>> {
        let (entries, tenant) = (self.entries.clone(), tenant.to_owned());
        self.timed(Op::TakeBudget, async move { entries.take_budget(&tenant, want, max).await })
    }

    fn remember<'a>(
        &'a self,
        tenant: &'a str,
        key: u128,
        fingerprint: u64,
        ttl_ms: u64,
    ) -> LocalFuture<'a, Result<(), DirectoryDown>> {
        let (entries, tenant) = (self.entries.clone(), tenant.to_owned());
        self.timed(Op::Remember, async move { entries.remember(&tenant, key, fingerprint, ttl_ms).await })
    }

    fn recall<'a>(&'a self, tenant: &'a str, key: u128) -> LocalFuture<'a, Result<Option<u64>, DirectoryDown>> {
        let (entries, tenant) = (self.entries.clone(), tenant.to_owned());
        let figures = self.figures.clone();
        self.timed(Op::Recall, async move {
            let known = entries.recall(&tenant, key).await?;
            figures.recall.count([known.is_some()]);
            Ok(known)
        })
    }

    fn claim<'a>(&'a self, tenant: &'a str, key: u128, ttl_ms: u64) -> LocalFuture<'a, Result<bool, DirectoryDown>> {
        let (entries, tenant) = (self.entries.clone(), tenant.to_owned());
        self.timed(Op::Claim, async move { entries.claim(&tenant, key, ttl_ms).await })
    }

    fn announce<'a>(&'a self, me: &'a Peer, ttl_ms: u64) -> LocalFuture<'a, Result<Announced, DirectoryDown>> {
        let (entries, me) = (self.entries.clone(), me.clone());
        self.timed(Op::Announce, async move {
            entries.remember_me(&me);
            nodes::announce(&entries.exchange, &me, ttl_ms).await
        })
    }

    fn live(&self) -> LocalFuture<'_, Result<Vec<Peer>, DirectoryDown>> {
        let exchange = self.entries.exchange.clone();
        self.timed(Op::Live, async move { nodes::live(&exchange).await })
    }

    fn leave<'a>(&'a self, me: &'a Peer) -> LocalFuture<'a, Result<(), DirectoryDown>> {
        let (exchange, me) = (self.entries.exchange.clone(), me.clone());
        self.timed(Op::Leave, async move { nodes::leave(&exchange, &me).await })
    }

    fn bury<'a>(&'a self, dead: &'a Peer, max: usize) -> LocalFuture<'a, Result<usize, DirectoryDown>> {
        let (entries, dead) = (self.entries.clone(), dead.clone());
        self.timed(Op::Bury, async move { nodes::bury(&entries, &dead, max).await })
    }

    fn watch(&self, watcher: Weak<dyn RouteWatcher>) {
        // It could be made at the start, so it can be made now.
        let Ok(listening) = self.config.listening() else { return };
        let following = watching::follow(listening, watcher, self.entries.exchange.link().changes());
        let mut tasks = self.watching.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.abort_all();
        tasks.spawn_on(following, self.background.handle());
    }
}
