//! What the link counts, for whoever exports it. Must not know tenants: their number has no bound.

use std::sync::atomic::{AtomicU64, Ordering};

use tonic::Code;

/// gRPC status names in the order of their numbers.
const NAMES: [&str; 17] = [
    "Ok",
    "Cancelled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

#[derive(Default)]
pub(super) struct ByStatus([AtomicU64; NAMES.len()]);

impl ByStatus {
    pub fn add(&self, code: Code) {
        self.0[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn seen(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        NAMES.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}

#[derive(Default)]
pub(super) struct Counters {
    pub forwards: AtomicU64,
    pub forward_failures: ByStatus,
    pub sent: AtomicU64,
    pub batches: AtomicU64,
    pub streams: AtomicU64,
    pub reconnects: AtomicU64,
    pub circuit_openings: AtomicU64,
    pub circuit_refusals: AtomicU64,
    pub overflows: AtomicU64,
    pub calls: AtomicU64,
    pub call_failures: ByStatus,
}

impl Counters {
    pub fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub fn read(&self) -> LinkCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LinkCounts {
            forwards: load(&self.forwards),
            forward_failures: self.forward_failures.seen(),
            sent: load(&self.sent),
            batches: load(&self.batches),
            streams: load(&self.streams),
            reconnects: load(&self.reconnects),
            circuit_openings: load(&self.circuit_openings),
            circuit_refusals: load(&self.circuit_refusals),
            overflows: load(&self.overflows),
            calls: load(&self.calls),
            call_failures: self.call_failures.seen(),
        }
    }
}

/// Totals since the link was made, over all peers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Forwards that were admitted, repetitions not counted.
    pub forwards: u64,
    /// Forwards that failed, by the name of their gRPC status; names that never occurred are absent.
    pub forward_failures: Vec<(&'static str, u64)>,
    /// Forwards written to a peer, repetitions included.
    pub sent: u64,
    /// Writes that carried those forwards.
    pub batches: u64,
    /// Streams of forwards opened.
    pub streams: u64,
    /// Connections given up because they broke or fell silent.
    pub reconnects: u64,
    /// Times a peer's circuit opened, re-openings included.
    pub circuit_openings: u64,
    /// Forwards and calls not made because the peer's circuit was open.
    pub circuit_refusals: u64,
    /// Forwards and calls not made because too many waited for the peer.
    pub overflows: u64,
    /// Calls other than forwards.
    pub calls: u64,
    /// Those that failed, by the name of their gRPC status.
    pub call_failures: Vec<(&'static str, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_codes() {
        for (number, name) in NAMES.iter().enumerate() {
            assert_eq!(format!("{:?}", Code::from_i32(number as i32)), *name);
        }
    }
}
