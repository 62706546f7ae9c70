//! Event sinks that need no broker: a ring one can look into, and "off". Neither may block or grow without bound.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use mics_domain::event::Event;
use mics_domain::ports::{EventRefused, EventSink};

/// The latest events of the process. Takes every event and forgets the oldest.
pub struct MemoryEvents {
    ring: Mutex<VecDeque<Event>>,
    capacity: usize,
}

impl MemoryEvents {
    pub fn new(capacity: usize) -> Self {
        MemoryEvents { ring: Mutex::new(VecDeque::new()), capacity: capacity.max(1) }
    }
}

impl EventSink for MemoryEvents {
    fn offer(&self, event: Event) -> Result<(), EventRefused> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() >= self.capacity {
            ring.pop_front();
        }
        ring.push_back(event);
        Ok(())
    }

    fn recent(&self) -> Vec<Event> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// No broker configured: every event is refused, so that callers use what they have instead.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventsOff;

impl EventSink for EventsOff {
    fn offer(&self, _event: Event) -> Result<(), EventRefused> {
        Err(EventRefused::Off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::events::{self as contract, Published};
    use mics_domain::ports::LocalFuture;
    use std::sync::Arc;

    struct Ring(Arc<MemoryEvents>);

    impl Published for Ring {
        fn published<'a>(&'a self, tenant: &'a str, _at_least: usize) -> LocalFuture<'a, Vec<(String, String)>> {
            let of_tenant = self.0.recent().into_iter().filter(|e| &*e.tenant == tenant);
            let pairs: Vec<_> = of_tenant.map(|e| (e.user.to_string(), e.msg_id)).collect();
            Box::pin(async move { pairs })
        }
    }

    #[tokio::test]
    async fn keeps_the_contract_of_the_port() {
        contract::run_all(|| async {
            let events = Arc::new(MemoryEvents::new(10_000));
            (events.clone(), Ring(events))
        })
        .await;
    }

    #[test]
    fn ring_forgets_the_oldest() {
        let events = MemoryEvents::new(3);
        for n in 0..5 {
            events.offer(contract::event("t", "u", &n.to_string())).unwrap();
        }
        let ids: Vec<_> = events.recent().into_iter().map(|e| e.msg_id).collect();
        assert_eq!(ids, ["2", "3", "4"]);
    }

    #[test]
    fn off_refuses_and_keeps_nothing() {
        assert_eq!(EventsOff.offer(contract::event("t", "u", "1")), Err(EventRefused::Off));
        assert!(EventsOff.recent().is_empty());
    }
}
