//! The cluster at a glance, for a console: one sample a second while somebody watches, shared by all who do.

use std::cmp::Reverse;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use mics_actors::node::{Node, unix_ms};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::cluster::{self, Reported};
use super::view;

/// Between two samples of a stream.
const EVERY: Duration = Duration::from_secs(1);
/// Tenants in an overview: those with the most connections on this node.
pub const MOST_TENANTS: usize = 200;
/// Streams that one node serves.
pub const MOST_STREAMS: usize = 16;
/// A sample older than this gives no rates.
const OLD: Duration = Duration::from_secs(60);

struct Sample {
    at: Instant,
    nodes: Vec<Reported>,
}

#[derive(Default)]
struct State {
    last: Option<Arc<Sample>>,
    streams: usize,
    sampling: bool,
}

/// Samples, and who watches them.
pub struct Overview {
    node: Arc<Node>,
    state: Mutex<State>,
    latest: watch::Sender<Bytes>,
}

/// One open stream.
struct Watching(Arc<Overview>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.state().streams -= 1;
    }
}

/// The task that samples.
struct Sampling(Arc<Overview>);

impl Drop for Sampling {
    fn drop(&mut self) {
        self.0.state().sampling = false;
    }
}

impl Overview {
    pub fn new(node: Arc<Node>) -> Arc<Self> {
        Arc::new(Overview { node, state: Mutex::default(), latest: watch::Sender::new(Bytes::new()) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As of now. Rates are those since the sample before, `null` when there was none in the last minute.
    pub async fn snapshot(&self) -> Value {
        let mut tenants: Vec<_> = self.node.tenants().iter().collect();
        let total = tenants.len();
        // Each count is read once: they change meanwhile, and an order that changes is a panic.
        tenants.sort_by_cached_key(|tenant| (Reverse(tenant.sessions.count()), tenant.id.clone()));
        tenants.truncate(MOST_TENANTS);
        let ids: Vec<Arc<str>> = tenants.iter().map(|tenant| tenant.id.clone()).collect();
        let nodes = cluster::reports(&self.node, ids.clone()).await;
        let sample = Arc::new(Sample { at: Instant::now(), nodes });
        let before = self.state().last.replace(sample.clone()).filter(|before| before.at.elapsed() < OLD);
        self.show(&sample, before.as_deref(), &ids, total)
    }

    fn show(&self, now: &Sample, before: Option<&Sample>, ids: &[Arc<str>], total: usize) -> Value {
        let interval = before.map(|before| now.at.duration_since(before.at).as_secs_f64().max(0.001));
        let rates = |id: &str| {
            let growth = view::growth(&before?.nodes, &now.nodes, id);
            Some(growth.per_second(interval?))
        };
        let tenants: Vec<Value> = ids
            .iter()
            .map(|id| {
                let mut row = view::tenant(&view::sum(id, &view::of_tenant(&now.nodes, id)));
                row["rates"] = rates(id).unwrap_or(Value::Null);
                row
            })
            .collect();
        let add = |name: &str| -> Option<f64> {
            interval.map(|_| tenants.iter().filter_map(|tenant| tenant["rates"][name].as_f64()).sum())
        };
        let told = || now.nodes.iter().filter_map(|node| node.report.as_ref().ok());
        let shown = |tenant: &str| tenant.is_empty() || ids.iter().any(|id| **id == *tenant);
        let actors: Vec<_> = self.node.mailboxes().into_iter().filter(|actor| shown(&actor.tenant)).collect();
        json!({
            "at_ms": unix_ms(),
            "node": &*self.node.id,
            "interval_ms": interval.map(|seconds| (seconds * 1e3).round()),
            "cluster": {
                "nodes": now.nodes.len(),
                "unreachable": now.nodes.len() - told().count(),
                "connections": told().map(|report| report.connections).sum::<u64>(),
                "messages_per_second": add("messages_per_second"),
                "deliveries_per_second": add("deliveries_per_second"),
            },
            "nodes": now.nodes.iter().map(|reported| view::node(reported, unix_ms())).collect::<Vec<_>>(),
            "tenants": tenants,
            "tenants_total": total,
            "actors": actors,
        })
    }

    /// Server-sent events `overview`, one at once and one a second; `None` when too many are open.
    pub fn stream(self: &Arc<Self>) -> Option<impl Stream<Item = Result<Bytes, Infallible>> + use<>> {
        let mut state = self.state();
        if state.streams >= MOST_STREAMS {
            return None;
        }
        state.streams += 1;
        if !std::mem::replace(&mut state.sampling, true) {
            actix_rt::spawn(self.clone().sample());
        }
        drop(state);
        let mut news = self.latest.subscribe();
        // The sampler's next one: what is there may be of the watcher before.
        news.mark_unchanged();
        let watching = Watching(self.clone());
        Some(stream::unfold((news, watching), |(mut news, watching)| async move {
            news.changed().await.ok()?;
            let event = news.borrow_and_update().clone();
            Some((Ok(event), (news, watching)))
        }))
    }

    /// Until nobody watches any more.
    async fn sample(self: Arc<Self>) {
        let _sampling = Sampling(self.clone());
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.state().streams == 0 {
                return;
            }
            let event = format!("event: overview\ndata: {}\n\n", self.snapshot().await);
            self.latest.send_replace(event.into());
        }
    }
}
