//! Latency histogram in the manner of HdrHistogram: 128 buckets per power of two, so a value is off by less than
//! 0.8 %. Recording is one atomic add, from any thread. Values are microseconds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const SUB_BITS: u32 = 7;
const SUB: u64 = 1 << SUB_BITS;
/// Covers up to 2^40 us (12 days); anything above counts as that.
const BUCKETS: usize = ((40 - SUB_BITS as usize + 1) << SUB_BITS) + 1;

pub(crate) struct Histogram {
    buckets: Vec<AtomicU64>,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), max: AtomicU64::new(0) }
    }
}

/// The bucket of `value`: exact below `SUB`, then `SUB` steps per power of two.
fn index(value: u64) -> usize {
    if value < SUB {
        return value as usize;
    }
    let shift = value.ilog2() - SUB_BITS;
    let index = ((shift as u64 + 1) << SUB_BITS) + ((value >> shift) - SUB);
    (index as usize).min(BUCKETS - 1)
}

/// The largest value that falls into a bucket.
fn upper(index: usize) -> u64 {
    let (group, sub) = ((index as u64) >> SUB_BITS, (index as u64) & (SUB - 1));
    if group == 0 { sub } else { ((SUB + sub + 1) << (group - 1)) - 1 }
}

impl Histogram {
    pub fn record(&self, us: u64) {
        self.buckets[index(us)].fetch_add(1, Relaxed);
        self.max.fetch_max(us, Relaxed);
    }

    pub fn max(&self) -> u64 {
        self.max.load(Relaxed)
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|b| b.load(Relaxed)).sum()
    }

    /// Nearest-rank percentiles for ascending `ps` (0..=1), in microseconds; 0 when nothing was recorded.
    pub fn percentiles<const N: usize>(&self, ps: [f64; N]) -> [u64; N] {
        let total = self.count();
        let mut out = [0; N];
        if total == 0 {
            return out;
        }
        let (mut below, mut bucket) = (0, 0);
        for (slot, p) in out.iter_mut().zip(ps) {
            let rank = ((p * total as f64).ceil() as u64).clamp(1, total);
            while bucket < BUCKETS {
                let here = self.buckets[bucket].load(Relaxed);
                if below + here >= rank {
                    break;
                }
                below += here;
                bucket += 1;
            }
            *slot = upper(bucket.min(BUCKETS - 1)).min(self.max());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_is_close() {
        for value in (0..5000).chain((12..40).flat_map(|b| [(1u64 << b) - 1, 1 << b, (1 << b) + (1 << (b - 2))])) {
            let up = upper(index(value));
            assert!(up >= value && (up - value) as f64 <= value as f64 / 127.0, "{value} -> {up}");
            assert!(value == 0 || index(value) >= index(value - 1));
        }
        Histogram::default().record(u64::MAX);
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let histogram = Histogram::default();
        assert_eq!(histogram.percentiles([0.5, 0.99]), [0, 0]);
        (1..=100).for_each(|v| histogram.record(v));
        assert_eq!(histogram.percentiles([0.0, 0.5, 0.9, 0.99, 0.999, 1.0]), [1, 50, 90, 99, 100, 100]);
        assert_eq!((histogram.max(), histogram.count()), (100, 100));
    }
}
