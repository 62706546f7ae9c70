//! The gate in front of each (tenant, hook): breaker, permits, figures and throttled logs around one port call.
//! Must not know what is asked, and never decides what a failure means (that is `mics_domain::policy`).

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mics_domain::breaker::{Admit, Breaker, BreakerState};
use mics_domain::permits::Permits;
use mics_domain::policy::{HookFailure, HookOp, HookPolicy};
use mics_domain::ports::HookTarget;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::node::clock_ms;
use crate::quiet::Quiet;

/// Breaker and permits of one (tenant, operation).
pub struct Gate {
    op: HookOp,
    breaker: Mutex<Breaker>,
    permits: Mutex<Permits<oneshot::Sender<()>>>,
    /// By result.
    logged: Quiet<&'static str>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    pub fn new(op: HookOp) -> Self {
        Gate {
            op,
            breaker: Mutex::new(Breaker::default()),
            permits: Mutex::new(Permits::default()),
            logged: Quiet::default(),
        }
    }

    pub fn state(&self) -> BreakerState {
        lock(&self.breaker).state(clock_ms())
    }

    pub fn openings(&self) -> u64 {
        lock(&self.breaker).openings()
    }

    pub fn in_flight(&self) -> u32 {
        lock(&self.permits).in_flight()
    }

    /// Makes the call if breaker and permits let it; records the outcome. Dropping the future counts as canceled and
    /// frees what it held.
    pub async fn call<T>(
        &self,
        metrics: &Metrics,
        policy: &HookPolicy,
        to: &HookTarget,
        call: impl Future<Output = Result<T, HookFailure>>,
    ) -> Result<T, HookFailure> {
        let outcome = self.guarded(metrics, policy, to, call).await;
        let label = outcome.as_ref().err().map_or("ok", |failure| failure.label());
        metrics.hook_requests_total.with_label_values(&[&to.tenant, self.op.label(), label]).inc();
        if let Err(failure) = &outcome {
            self.log(to, failure);
        }
        outcome
    }

    async fn guarded<T>(
        &self,
        metrics: &Metrics,
        policy: &HookPolicy,
        to: &HookTarget,
        call: impl Future<Output = Result<T, HookFailure>>,
    ) -> Result<T, HookFailure> {
        if policy.sign_required && to.secret.key().is_none() {
            return Err(HookFailure::SignRequired);
        }
        let mut pass = Pass::admit(self, policy).ok_or(HookFailure::CircuitOpen)?;
        let labels = [&*to.tenant, self.op.label()];
        if !self.permit(policy).await {
            metrics.hook_limiter_rejected_total.with_label_values(&[labels[0], labels[1], "queue_timeout"]).inc();
            return Err(HookFailure::QueueRejected);
        }
        let permit = Permit { gate: self, max: policy.max_concurrency };
        let started = Instant::now();
        let outcome = call.await;
        drop(permit);
        let elapsed = started.elapsed();
        metrics.hook_duration_ms.with_label_values(&labels).observe(elapsed.as_secs_f64() * 1e3);
        metrics.hook_duration_ms_total.with_label_values(&labels).inc_by(elapsed.as_millis() as u64);
        let opened = pass.settle(outcome.as_ref().err());
        if opened {
            metrics.hook_breaker_opened_total.with_label_values(&labels).inc();
        }
        outcome
    }

    /// Waits at most the policy's queue time for a permit.
    async fn permit(&self, policy: &HookPolicy) -> bool {
        let (waiter, granted) = {
            let mut permits = lock(&self.permits);
            if permits.try_take(policy.max_concurrency) {
                return true;
            }
            if policy.queue_timeout_ms == 0 {
                return false;
            }
            let (sender, receiver) = oneshot::channel();
            (permits.wait(sender), receiver)
        };
        let mut waiting = Waiting { gate: self, key: Some(waiter), granted, max: policy.max_concurrency };
        let wait = tokio::time::timeout(Duration::from_millis(policy.queue_timeout_ms), &mut waiting.granted).await;
        let granted = matches!(wait, Ok(Ok(())));
        if granted {
            waiting.key = None;
        }
        granted
    }

    fn give_back(&self, max: u32) {
        let mut granted = lock(&self.permits).give_back(max);
        while let Some(waiter) = granted.pop() {
            if waiter.send(()).is_err() {
                // The waiter went away between being chosen and being told: its permit goes on.
                granted.extend(lock(&self.permits).give_back(max));
            }
        }
    }

    fn log(&self, to: &HookTarget, failure: &HookFailure) {
        let label = failure.label();
        let Some(suppressed) = self.logged.due(label, clock_ms()) else { return };
        tracing::warn!(
            tenant = %to.tenant, op = self.op.label(), result = label, url = %to.base_url, trace_id = %to.trace_id,
            suppressed, "hook_request_failed"
        );
    }
}

/// A call's passage through the breaker; dropped unsettled, it frees its probe and counts nothing.
struct Pass<'a> {
    gate: &'a Gate,
    policy: HookPolicy,
    admit: Option<Admit>,
}

impl<'a> Pass<'a> {
    fn admit(gate: &'a Gate, policy: &HookPolicy) -> Option<Self> {
        match lock(&gate.breaker).admit(clock_ms(), policy.breaker) {
            Admit::Refused => None,
            admit => Some(Pass { gate, policy: *policy, admit: Some(admit) }),
        }
    }

    /// True when this outcome opened the breaker.
    fn settle(&mut self, failure: Option<&HookFailure>) -> bool {
        let Some(admit) = self.admit.take() else { return false };
        let mut breaker = lock(&self.gate.breaker);
        match failure {
            None => breaker.success(admit),
            Some(failure) if failure.counts_for_breaker() => {
                return breaker.failure(admit, clock_ms(), self.policy.breaker);
            }
            Some(_) => breaker.release(admit),
        }
        false
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(admit) = self.admit.take() {
            lock(&self.gate.breaker).release(admit);
        }
    }
}

struct Permit<'a> {
    gate: &'a Gate,
    max: u32,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.gate.give_back(self.max);
    }
}

/// A place in the queue. Dropped while queued it leaves; dropped after being granted unseen it passes the permit on.
struct Waiting<'a> {
    gate: &'a Gate,
    key: Option<mics_domain::permits::WaiterKey>,
    granted: oneshot::Receiver<()>,
    max: u32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        lock(&self.gate.permits).cancel(key);
        self.granted.close();
        if self.granted.try_recv().is_ok() {
            self.gate.give_back(self.max);
        }
    }
}
