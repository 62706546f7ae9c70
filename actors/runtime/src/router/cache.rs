//! Where users were last seen, for a short time: so that most messages need no question. Emptied by news and by
//! peers that had nobody there. A route that is merely old is still better than none while the directory is away.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use mics_domain::ports::Route;
use moka::sync::Cache;
use prometheus::IntCounter;

use crate::metrics::Metrics;
use crate::node::clock_ms;

/// Bytes that a route counts for.
const ROUTE_BYTES: u32 = 256;
/// How long a route may serve while the directory is away.
const STALE: Duration = Duration::from_secs(120);
/// News is counted in this many groups of users.
const GROUPS: usize = 1024;

type Key = (Arc<str>, Arc<str>);

#[derive(Clone)]
struct Seen {
    routes: Arc<[Route]>,
    at_ms: u64,
}

pub struct RouteCache {
    /// `None`: off.
    cache: Option<Cache<Key, Seen>>,
    ttl_ms: u64,
    /// News arrives: also "nobody" may be believed.
    watched: AtomicBool,
    news: Box<[AtomicU32]>,
    hasher: RandomState,
    hits: IntCounter,
    misses: IntCounter,
}

/// The state of the news about a user when a question was asked. What came meanwhile makes its answer worthless.
#[derive(Clone, Copy)]
pub struct Asked(u32);

impl RouteCache {
    /// `ttl` or `max_bytes` zero: off.
    pub fn new(ttl: Duration, max_bytes: u64, metrics: &Metrics) -> Self {
        let on = !ttl.is_zero() && max_bytes > 0;
        let cache = on.then(|| {
            Cache::builder()
                .weigher(|_: &Key, seen: &Seen| (seen.routes.len() as u32).max(1) * ROUTE_BYTES)
                .max_capacity(max_bytes)
                .time_to_live(STALE.max(ttl))
                .build()
        });
        RouteCache {
            cache,
            ttl_ms: ttl.as_millis() as u64,
            watched: AtomicBool::new(false),
            news: (0..GROUPS).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::new(),
            hits: metrics.route_cache_total.with_label_values(&["hit"]),
            misses: metrics.route_cache_total.with_label_values(&["miss"]),
        }
    }

    fn group(&self, tenant: &str, user: &str) -> &AtomicU32 {
        &self.news[self.hasher.hash_one((tenant, user)) as usize % GROUPS]
    }

    /// A route list that may still be believed.
    pub fn get(&self, tenant: &Arc<str>, user: &Arc<str>) -> Option<Arc<[Route]>> {
        let seen = self.cache.as_ref()?.get(&(tenant.clone(), user.clone()))?;
        let fresh = clock_ms() < seen.at_ms + self.ttl_ms;
        let believed = fresh && (!seen.routes.is_empty() || self.watched.load(SeqCst));
        believed.then_some(seen.routes)
    }

    /// So many of the users of a message were known here, so many were not.
    pub fn count(&self, known: usize, unknown: usize) {
        self.hits.inc_by(known as u64);
        self.misses.inc_by(unknown as u64);
    }

    /// The last known routes, however old.
    pub fn stale(&self, tenant: &Arc<str>, user: &Arc<str>) -> Option<Arc<[Route]>> {
        self.cache.as_ref()?.get(&(tenant.clone(), user.clone())).map(|seen| seen.routes)
    }

    pub fn ask(&self, tenant: &str, user: &str) -> Asked {
        Asked(self.group(tenant, user).load(SeqCst))
    }

    /// Remembers an answer, unless there was news since it was asked for.
    pub fn learn(&self, tenant: &Arc<str>, user: &Arc<str>, asked: Asked, routes: Arc<[Route]>) {
        let Some(cache) = &self.cache else { return };
        let key = (tenant.clone(), user.clone());
        cache.insert(key.clone(), Seen { routes, at_ms: clock_ms() });
        // Looked at after the insert, so that news in between is not missed.
        if self.group(tenant, user).load(SeqCst) != asked.0 {
            cache.invalidate(&key);
        }
    }

    pub fn forget(&self, tenant: &str, user: &str) {
        self.group(tenant, user).fetch_add(1, SeqCst);
        if let Some(cache) = &self.cache {
            cache.invalidate(&(tenant.into(), user.into()));
        }
    }

    pub fn forget_all(&self) {
        for group in self.news.iter() {
            group.fetch_add(1, SeqCst);
        }
        if let Some(cache) = &self.cache {
            cache.invalidate_all();
        }
    }

    /// News arrives from now on, or no longer does. While it did not, anything may have happened; but when it stops
    /// because the directory is away, the last known routes are all there is.
    pub fn set_watched(&self, watched: bool) {
        if watched {
            self.forget_all();
        }
        self.watched.store(watched, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mics_domain::ports::Peer;

    fn cache(ttl: Duration, max_bytes: u64) -> RouteCache {
        RouteCache::new(ttl, max_bytes, &Metrics::new(prometheus::Registry::new()).unwrap())
    }

    fn route() -> Arc<[Route]> {
        let at = Peer { node: "n2".into(), boot: 1, endpoint: "http://n2".into() };
        [Route { device: "d".into(), at, connection: 1, online_at_ms: 0 }].into()
    }

    fn nobody() -> Arc<[Route]> {
        [].into()
    }

    #[tokio::test(start_paused = true)]
    async fn routes_are_believed_for_their_time_and_kept_for_worse() {
        let (cache, t, u) = (cache(Duration::from_secs(5), 1 << 20), Arc::from("t"), Arc::from("u"));
        cache.learn(&t, &u, cache.ask("t", "u"), route());
        assert_eq!(cache.get(&t, &u), Some(route()));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!((cache.get(&t, &u), cache.stale(&t, &u)), (None, Some(route())));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_believed_only_while_news_arrives() {
        let (cache, t, u) = (cache(Duration::from_secs(5), 1 << 20), Arc::from("t"), Arc::from("u"));
        cache.learn(&t, &u, cache.ask("t", "u"), nobody());
        assert_eq!(cache.get(&t, &u), None);
        cache.set_watched(true);
        cache.learn(&t, &u, cache.ask("t", "u"), nobody());
        assert_eq!(cache.get(&t, &u), Some(nobody()));
        cache.set_watched(false);
        assert_eq!(cache.get(&t, &u), None);
    }

    #[tokio::test(start_paused = true)]
    async fn news_beats_an_answer_that_was_asked_for_before() {
        let (cache, t, u) = (cache(Duration::from_secs(5), 1 << 20), Arc::from("t"), Arc::from("u"));
        let asked = cache.ask("t", "u");
        cache.forget("t", "u");
        cache.learn(&t, &u, asked, route());
        assert_eq!((cache.get(&t, &u), cache.stale(&t, &u)), (None, None));
        cache.learn(&t, &u, cache.ask("t", "u"), route());
        cache.forget_all();
        assert_eq!(cache.stale(&t, &u), None);
    }

    #[tokio::test]
    async fn switched_off_it_knows_nothing() {
        for cache in [cache(Duration::ZERO, 1 << 20), cache(Duration::from_secs(5), 0)] {
            let (t, u) = (Arc::from("t"), Arc::from("u"));
            cache.learn(&t, &u, cache.ask("t", "u"), route());
            assert_eq!((cache.get(&t, &u), cache.stale(&t, &u)), (None, None));
        }
    }
}
