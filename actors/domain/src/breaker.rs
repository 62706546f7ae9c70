//! Circuit breaker: stops calling what keeps failing. It only counts and decides; it never calls, waits or reads a clock.
//!
//! Every call admitted must end in exactly one of `success`, `failure` or `release`, with the `Admit` it was given:
//! the pass tells a late result of a call admitted while closed from the result of the half-open probe.

/// When to open and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Consecutive failures that open the breaker; 0 counts as 1.
    pub failure_threshold: u32,
    /// How long it stays open, in ms; 0 = half-open at once, for as long as the probes fail.
    pub open_ms: u64,
}

/// The breaker's answer, and the pass to hand back with the call's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    /// Call: the breaker is closed.
    Closed,
    /// Call: the one probe of a half-open breaker.
    Probe,
    /// Do not call.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    Open,
    HalfOpen,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Consecutive failures so far.
    Closed { failures: u32 },
    /// Open before `until_ms`, half-open from then on.
    Tripped { until_ms: u64, probing: bool },
}

/// One breaker. Starts closed.
#[derive(Debug)]
pub struct Breaker {
    phase: Phase,
    openings: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker { phase: Phase::Closed { failures: 0 }, openings: 0 }
    }
}

impl Breaker {
    /// May a call be made now? While half-open one call at a time is let through.
    pub fn admit(&mut self, now_ms: u64, _policy: BreakerPolicy) -> Admit {
        match &mut self.phase {
            Phase::Closed { .. } => Admit::Closed,
            Phase::Tripped { until_ms, probing } if now_ms >= *until_ms && !*probing => {
                *probing = true;
                Admit::Probe
            }
            Phase::Tripped { .. } => Admit::Refused,
        }
    }

    /// The call answered. Closes a half-open breaker when it was the probe.
    pub fn success(&mut self, pass: Admit) {
        match (self.phase, pass) {
            (Phase::Closed { .. }, Admit::Closed) | (Phase::Tripped { probing: true, .. }, Admit::Probe) => {
                self.phase = Phase::Closed { failures: 0 };
            }
            _ => {}
        }
    }

    /// The call failed in a way that counts. True when this failure opened the breaker (again).
    pub fn failure(&mut self, pass: Admit, now_ms: u64, policy: BreakerPolicy) -> bool {
        match (self.phase, pass) {
            (Phase::Closed { failures }, Admit::Closed) => {
                let failures = failures.saturating_add(1);
                if failures < policy.failure_threshold {
                    self.phase = Phase::Closed { failures };
                    return false;
                }
                self.trip(now_ms, policy);
                true
            }
            (Phase::Tripped { probing: true, .. }, Admit::Probe) => {
                self.trip(now_ms, policy);
                true
            }
            _ => false,
        }
    }

    /// The call never reached its target (no permit, caller gone): frees a probe's slot and counts nothing.
    pub fn release(&mut self, pass: Admit) {
        if let (Phase::Tripped { probing, .. }, Admit::Probe) = (&mut self.phase, pass) {
            *probing = false;
        }
    }

    pub fn state(&self, now_ms: u64) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Tripped { until_ms, .. } if now_ms < until_ms => BreakerState::Open,
            Phase::Tripped { .. } => BreakerState::HalfOpen,
        }
    }

    /// How often it opened since it was made, re-openings after a failed probe included.
    pub fn openings(&self) -> u64 {
        self.openings
    }

    fn trip(&mut self, now_ms: u64, policy: BreakerPolicy) {
        self.phase = Phase::Tripped { until_ms: now_ms.saturating_add(policy.open_ms), probing: false };
        self.openings += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: BreakerPolicy = BreakerPolicy { failure_threshold: 3, open_ms: 100 };

    fn tripped_at(now_ms: u64, policy: BreakerPolicy) -> Breaker {
        let mut b = Breaker::default();
        for _ in 0..policy.failure_threshold {
            let pass = b.admit(now_ms, policy);
            b.failure(pass, now_ms, policy);
        }
        b
    }

    #[test]
    fn opens_at_the_threshold_of_consecutive_failures() {
        let mut b = Breaker::default();
        assert!(!b.failure(Admit::Closed, 0, POLICY));
        assert!(!b.failure(Admit::Closed, 0, POLICY));
        b.success(Admit::Closed);
        assert!(!b.failure(Admit::Closed, 0, POLICY));
        assert!(!b.failure(Admit::Closed, 0, POLICY));
        assert_eq!(b.state(0), BreakerState::Closed);
        assert!(b.failure(Admit::Closed, 0, POLICY));
        assert_eq!((b.state(0), b.openings()), (BreakerState::Open, 1));
    }

    #[test]
    fn refuses_while_open_then_lets_one_probe_through() {
        let mut b = tripped_at(0, POLICY);
        assert_eq!(b.admit(99, POLICY), Admit::Refused);
        assert_eq!(b.state(100), BreakerState::HalfOpen);
        assert_eq!(b.admit(100, POLICY), Admit::Probe);
        assert_eq!(b.admit(100, POLICY), Admit::Refused);
        b.success(Admit::Probe);
        assert_eq!((b.state(100), b.admit(100, POLICY)), (BreakerState::Closed, Admit::Closed));
    }

    #[test]
    fn a_failed_probe_reopens_for_a_full_period() {
        let mut b = tripped_at(0, POLICY);
        assert_eq!(b.admit(150, POLICY), Admit::Probe);
        assert!(b.failure(Admit::Probe, 160, POLICY));
        assert_eq!(b.admit(259, POLICY), Admit::Refused);
        assert_eq!(b.admit(260, POLICY), Admit::Probe);
        assert_eq!(b.openings(), 2);
    }

    #[test]
    fn a_probe_that_never_reached_the_hook_frees_the_slot() {
        let mut b = tripped_at(0, POLICY);
        let pass = b.admit(100, POLICY);
        b.release(pass);
        assert_eq!((b.admit(100, POLICY), b.openings()), (Admit::Probe, 1));
    }

    #[test]
    fn late_results_of_calls_admitted_while_closed_change_nothing_after_opening() {
        let mut b = tripped_at(0, POLICY);
        b.success(Admit::Closed);
        assert_eq!(b.state(0), BreakerState::Open);
        assert_eq!(b.admit(100, POLICY), Admit::Probe);
        b.success(Admit::Closed);
        assert!(!b.failure(Admit::Closed, 100, POLICY));
        b.release(Admit::Closed);
        assert_eq!(b.admit(100, POLICY), Admit::Refused, "the probe's slot is still taken");
        b.success(Admit::Probe);
        assert_eq!(b.state(100), BreakerState::Closed);
    }

    #[test]
    fn open_time_zero_is_permanently_half_open_after_the_threshold() {
        let policy = BreakerPolicy { failure_threshold: 1, open_ms: 0 };
        let mut b = tripped_at(5, policy);
        for _ in 0..3 {
            assert_eq!(b.state(5), BreakerState::HalfOpen);
            assert_eq!(b.admit(5, policy), Admit::Probe);
            assert_eq!(b.admit(5, policy), Admit::Refused);
            b.failure(Admit::Probe, 5, policy);
        }
    }

    #[test]
    fn a_lower_threshold_of_a_later_call_counts() {
        let mut b = Breaker::default();
        b.failure(Admit::Closed, 0, POLICY);
        assert!(b.failure(Admit::Closed, 0, BreakerPolicy { failure_threshold: 2, open_ms: 100 }));
        let mut b = Breaker::default();
        assert!(b.failure(Admit::Closed, 0, BreakerPolicy { failure_threshold: 0, open_ms: 1 }));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Wait(u64),
        Admit,
        /// Ends the n-th outstanding call (modulo) with success, failure or release.
        End(usize, u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            1 => (0u64..80).prop_map(Step::Wait),
            3 => Just(Step::Admit),
            4 => (any::<usize>(), prop_oneof![1 => Just(0u8), 3 => Just(1u8), 1 => Just(2u8)])
                .prop_map(|(n, how)| Step::End(n, how)),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        /// Against a model written the other way round: the history of counted results since the last change.
        #[test]
        fn behaves_like_the_model(steps in steps(), threshold in 1u32..4, open_ms in prop_oneof![Just(0u64), 1u64..100]) {
            let policy = BreakerPolicy { failure_threshold: threshold, open_ms };
            let mut b = Breaker::default();
            let (mut now, mut calls): (u64, Vec<Admit>) = (0, vec![]);
            let (mut run, mut opened_at): (u32, Option<u64>) = (0, None);
            for step in steps {
                match step {
                    Step::Wait(ms) => now += ms,
                    Step::Admit => {
                        let probing = calls.contains(&Admit::Probe);
                        let want = match opened_at {
                            None => Admit::Closed,
                            Some(at) if now - at >= open_ms && !probing => Admit::Probe,
                            Some(_) => Admit::Refused,
                        };
                        let got = b.admit(now, policy);
                        prop_assert_eq!(got, want);
                        if got != Admit::Refused { calls.push(got); }
                    }
                    Step::End(_, _) if calls.is_empty() => {}
                    Step::End(n, how) => {
                        let pass = calls.remove(n % calls.len());
                        let counts = (pass == Admit::Probe) == opened_at.is_some();
                        match how {
                            0 => {
                                b.success(pass);
                                if counts { (run, opened_at) = (0, None); }
                            }
                            1 => {
                                run += u32::from(counts);
                                let opens = counts && (pass == Admit::Probe || run >= threshold);
                                if opens { opened_at = Some(now); }
                                prop_assert_eq!(b.failure(pass, now, policy), opens);
                            }
                            _ => b.release(pass),
                        }
                    }
                }
                let want = match opened_at {
                    None => BreakerState::Closed,
                    Some(at) if now - at < open_ms => BreakerState::Open,
                    Some(_) => BreakerState::HalfOpen,
                };
                prop_assert_eq!(b.state(now), want);
            }
        }
    }
}
