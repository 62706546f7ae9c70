//! Room for events: how many and how many bytes may wait, on the node and per tenant. Room belongs to a [`Slot`], and what
//! the slot took comes back when it is dropped, whatever became of the event. Must not know queues or topics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use mics_actors::metrics::Metrics;
use mics_domain::ports::EventRefused;
use prometheus::IntGauge;

/// Bounds of what waits or is in flight.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events of all tenants.
    pub events: u64,
    pub events_per_tenant: u64,
    /// Bytes of all tenants' events, the second queue included.
    pub bytes: u64,
    pub bytes_per_tenant: u64,
    /// Dead letters whose topic refused them, of all tenants; 0 = they are not kept.
    pub second: u64,
    pub second_per_tenant: u64,
}

/// A count that is never above its cap. `amount` always fits beside nothing.
fn take(counter: &AtomicU64, amount: u64, cap: u64) -> bool {
    let grown = |now: u64| (now == 0 && cap > 0 || now + amount <= cap).then_some(now + amount);
    counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, grown).is_ok()
}

fn give_back(counter: &AtomicU64, amount: u64) {
    counter.fetch_sub(amount, Ordering::AcqRel);
}

#[derive(Default)]
struct Used {
    events: AtomicU64,
    bytes: AtomicU64,
    second: AtomicU64,
}

struct TenantUse {
    tenant: Arc<str>,
    used: Used,
}

/// What is taken of the limits.
pub struct Quota {
    limits: Limits,
    used: Used,
    tenants: DashMap<Arc<str>, Arc<TenantUse>>,
    metrics: Metrics,
}

impl Quota {
    pub fn new(limits: Limits, metrics: Metrics) -> Arc<Quota> {
        Arc::new(Quota { limits, used: Used::default(), tenants: DashMap::new(), metrics })
    }

    /// Events that are not settled yet, in both queues.
    pub fn pending(&self) -> u64 {
        self.used.events.load(Ordering::Acquire) + self.used.second.load(Ordering::Acquire)
    }

    fn tenant(&self, tenant: &Arc<str>) -> Arc<TenantUse> {
        if let Some(known) = self.tenants.get(tenant) {
            return known.clone();
        }
        let new = || Arc::new(TenantUse { tenant: tenant.clone(), used: Used::default() });
        self.tenants.entry(tenant.clone()).or_insert_with(new).clone()
    }

    /// Not kept: the series of a tenant that was removed are freed, and may come back.
    fn waiting(&self, tenant: &TenantUse, second: bool) -> IntGauge {
        let queue = if second { "dlq_fallback" } else { "event" };
        self.metrics.mq_pending.with_label_values(&[&*tenant.tenant, queue])
    }

    /// Room for one event of the tenant, its size still unknown.
    pub fn take(self: &Arc<Self>, tenant: &Arc<str>) -> Result<Slot, EventRefused> {
        let tenant = self.tenant(tenant);
        if !take(&tenant.used.events, 1, self.limits.events_per_tenant) {
            return Err(EventRefused::TenantQuota);
        }
        if !take(&self.used.events, 1, self.limits.events) {
            give_back(&tenant.used.events, 1);
            return Err(EventRefused::QueueFull);
        }
        self.waiting(&tenant, false).inc();
        Ok(Slot { quota: self.clone(), tenant, bytes: 0, second: false })
    }
}

/// One event's share of the limits.
pub struct Slot {
    quota: Arc<Quota>,
    tenant: Arc<TenantUse>,
    bytes: u64,
    second: bool,
}

impl Slot {
    /// Takes room for the event's bytes too.
    pub fn grow(&mut self, bytes: u64) -> Result<(), EventRefused> {
        let limits = self.quota.limits;
        if !take(&self.tenant.used.bytes, bytes, limits.bytes_per_tenant) {
            return Err(EventRefused::TenantQuota);
        }
        if !take(&self.quota.used.bytes, bytes, limits.bytes) {
            give_back(&self.tenant.used.bytes, bytes);
            return Err(EventRefused::QueueFull);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// From the first queue into the second. On refusal nothing changes; `Off` = there is no second queue.
    pub fn move_to_second(&mut self) -> Result<(), EventRefused> {
        let limits = self.quota.limits;
        if limits.second == 0 {
            return Err(EventRefused::Off);
        }
        if !take(&self.tenant.used.second, 1, limits.second_per_tenant) {
            return Err(EventRefused::TenantQuota);
        }
        if !take(&self.quota.used.second, 1, limits.second) {
            give_back(&self.tenant.used.second, 1);
            return Err(EventRefused::QueueFull);
        }
        self.leave_queue();
        self.second = true;
        self.quota.waiting(&self.tenant, true).inc();
        Ok(())
    }

    fn leave_queue(&self) {
        let counter = |used: &Used| give_back(if self.second { &used.second } else { &used.events }, 1);
        counter(&self.tenant.used);
        counter(&self.quota.used);
        self.quota.waiting(&self.tenant, self.second).dec();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        give_back(&self.tenant.used.bytes, self.bytes);
        give_back(&self.quota.used.bytes, self.bytes);
        self.leave_queue();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(limits: Limits) -> Arc<Quota> {
        Quota::new(limits, Metrics::new(prometheus::Registry::new()).unwrap())
    }

    const LIMITS: Limits =
        Limits { events: 3, events_per_tenant: 2, bytes: 100, bytes_per_tenant: 60, second: 1, second_per_tenant: 1 };

    #[test]
    fn room_is_bounded_per_tenant_and_in_total_and_comes_back() {
        let quota = quota(LIMITS);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut kept = vec![quota.take(&a).unwrap(), quota.take(&a).unwrap()];
        assert_eq!(quota.take(&a).err(), Some(EventRefused::TenantQuota));
        kept.push(quota.take(&b).unwrap());
        assert_eq!(quota.take(&b).err(), Some(EventRefused::QueueFull));
        kept.clear();
        assert_eq!(quota.pending(), 0);
        // A refusal costs nothing, however often.
        for _ in 0..10 {
            kept.extend([&a, &a, &a, &b, &b].map(|tenant| quota.take(tenant)).into_iter().flatten());
            assert_eq!(kept.len(), 3);
            kept.clear();
        }
        assert_eq!(quota.metrics.mq_pending.with_label_values(&["a", "event"]).get(), 0);
    }

    #[test]
    fn bytes_are_bounded_and_one_event_always_fits() {
        let quota = quota(LIMITS);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut large = quota.take(&a).unwrap();
        assert_eq!(large.grow(1_000), Ok(()));
        let mut other = quota.take(&b).unwrap();
        assert_eq!(other.grow(1), Err(EventRefused::QueueFull));
        drop(large);
        assert_eq!(other.grow(60), Ok(()));
        let mut more = quota.take(&b).unwrap();
        assert_eq!(more.grow(1), Err(EventRefused::TenantQuota));
        drop((other, more));
        assert_eq!(quota.used.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_second_queue_has_bounds_of_its_own() {
        let quota = quota(LIMITS);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let (mut first, mut second, mut third) =
            (quota.take(&a).unwrap(), quota.take(&a).unwrap(), quota.take(&b).unwrap());
        assert_eq!(first.move_to_second(), Ok(()));
        assert_eq!(second.move_to_second(), Err(EventRefused::TenantQuota));
        assert_eq!(third.move_to_second(), Err(EventRefused::QueueFull));
        assert!(quota.take(&a).is_ok(), "the first queue has one more place");
        assert_eq!(quota.metrics.mq_pending.with_label_values(&["a", "dlq_fallback"]).get(), 1);
        drop((first, second, third));
        assert_eq!(quota.pending(), 0);
    }

    #[test]
    fn without_a_second_queue_there_is_none() {
        let quota = quota(Limits { second: 0, ..LIMITS });
        assert_eq!(quota.take(&"a".into()).unwrap().move_to_second(), Err(EventRefused::Off));
    }
}
