//! What the directory counts: how long Redis takes for each kind of question, how often it does not answer, and how often
//! what was looked for was there. Must not look anything up by label while somebody waits.

use std::future::Future;

use mics_actors::metrics::Metrics;
use mics_domain::ports::DirectoryDown;
use prometheus::{Histogram, IntCounter};
use tokio::time::Instant;

/// A kind of question; the label `op`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Register,
    Unregister,
    Renew,
    Routes,
    TakeBudget,
    Remember,
    Recall,
    Claim,
    Announce,
    Live,
    Leave,
    Bury,
}

impl Op {
    /// In the order of the numbers.
    const LABELS: [&str; 12] = [
        "register",
        "unregister",
        "renew",
        "routes",
        "take_budget",
        "remember",
        "recall",
        "claim",
        "announce",
        "live",
        "leave",
        "bury",
    ];
}

pub(super) struct Lookups {
    hit: IntCounter,
    miss: IntCounter,
}

impl Lookups {
    fn new(op: Op, metrics: &Metrics) -> Self {
        let of = |result| metrics.redis_lookups_total.with_label_values(&[Op::LABELS[op as usize], result]);
        Lookups { hit: of("hit"), miss: of("miss") }
    }

    pub fn count(&self, found: impl IntoIterator<Item = bool>) {
        found.into_iter().for_each(|found| if found { self.hit.inc() } else { self.miss.inc() });
    }
}

pub(super) struct Figures {
    /// By the number of the [`Op`].
    ops: [(Histogram, IntCounter); Op::LABELS.len()],
    /// Users, by whether they are anywhere.
    pub routes: Lookups,
    /// Message ids, by whether they were sent before.
    pub recall: Lookups,
}

impl Figures {
    pub fn new(metrics: &Metrics) -> Self {
        let of = |op: &str| {
            (metrics.redis_duration_ms.with_label_values(&[op]), metrics.redis_failed_total.with_label_values(&[op]))
        };
        Figures {
            ops: Op::LABELS.map(of),
            routes: Lookups::new(Op::Routes, metrics),
            recall: Lookups::new(Op::Recall, metrics),
        }
    }

    /// Times what was answered, counts what was not: its time says how patient we are, not how fast Redis is.
    pub async fn time<T>(
        &self,
        op: Op,
        work: impl Future<Output = Result<T, DirectoryDown>>,
    ) -> Result<T, DirectoryDown> {
        let (duration, failed) = &self.ops[op as usize];
        let begun = Instant::now();
        let done = work.await;
        match done {
            Ok(_) => duration.observe(begun.elapsed().as_secs_f64() * 1e3),
            Err(_) => failed.inc(),
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_are_timed_and_the_rest_is_counted() {
        let metrics = Metrics::new(prometheus::Registry::new()).unwrap();
        let figures = Figures::new(&metrics);
        let slow = async {
            tokio::time::sleep(std::time::Duration::from_millis(7)).await;
            Ok(())
        };
        figures.time(Op::Bury, slow).await.unwrap();
        let failing = async { Err::<(), _>(DirectoryDown("deadline".into())) };
        assert!(figures.time(Op::Bury, failing).await.is_err());
        figures.recall.count([true, false, false]);
        let timed = metrics.redis_duration_ms.with_label_values(&["bury"]);
        assert_eq!((timed.get_sample_count(), timed.get_sample_sum()), (1, 7.0));
        assert_eq!(metrics.redis_failed_total.with_label_values(&["bury"]).get(), 1);
        let lookups = |result| metrics.redis_lookups_total.with_label_values(&["recall", result]).get();
        assert_eq!((lookups("hit"), lookups("miss")), (1, 2));
        assert_eq!(Op::LABELS[Op::TakeBudget as usize], "take_budget");
    }
}
