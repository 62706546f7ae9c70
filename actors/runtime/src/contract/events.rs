//! The promises of [`EventSink`], for sinks that are on. What came out is read back through [`Published`].

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use mics_domain::event::{Event, EventType};
use mics_domain::ports::{EventSink, LocalFuture};
use mics_domain::tenant::Secret;

/// Reads a tenant's topic, whatever the topic is.
pub trait Published {
    /// (user, msg_id) of all published events of the tenant, in order per user. Waits, within reason, until there are
    /// `at_least` that many.
    fn published<'a>(&'a self, tenant: &'a str, at_least: usize) -> LocalFuture<'a, Vec<(String, String)>>;
}

/// A chat event; the fields not named here are fixed.
pub fn event(tenant: &str, user: &str, msg_id: &str) -> Event {
    Event {
        tenant: tenant.into(),
        kind: EventType::SingleChatMsg,
        msg_id: msg_id.into(),
        user: user.into(),
        device: "phone".into(),
        to_user: "bob".into(),
        group: String::new(),
        data: Bytes::from_static(b"\x0a\x01t"),
        at_ms: 1_700_000_000_000,
        trace_id: "trace".into(),
        secret: Secret::default(),
        trace: None,
    }
}

/// Runs every check, each on a sink and the reader of its topics.
pub async fn run_all<S, P, F, Fut>(make: F)
where
    S: EventSink,
    P: Published,
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<S>, P)>,
{
    let (sink, reader) = make().await;
    every_accepted_event_is_published_in_order_per_user(&*sink, &reader).await;
    let (sink, reader) = make().await;
    tenants_have_topics_of_their_own(&*sink, &reader).await;
}

pub async fn every_accepted_event_is_published_in_order_per_user(sink: &impl EventSink, reader: &impl Published) {
    let (tenant, users, each) = ("contract-order", 7, 40);
    for n in 0..each {
        for u in 0..users {
            sink.offer(event(tenant, &format!("u{u}"), &n.to_string())).expect("room for a few hundred events");
        }
    }
    let published = reader.published(tenant, users * each).await;
    assert_eq!(published.len(), users * each, "nothing is lost or doubled");
    let mut by_user: HashMap<String, Vec<String>> = HashMap::new();
    for (user, msg_id) in published {
        by_user.entry(user).or_default().push(msg_id);
    }
    let in_order: Vec<String> = (0..each).map(|n| n.to_string()).collect();
    assert_eq!(by_user.len(), users);
    for (user, ids) in by_user {
        assert_eq!(ids, in_order, "{user}");
    }
}

pub async fn tenants_have_topics_of_their_own(sink: &impl EventSink, reader: &impl Published) {
    sink.offer(event("contract-a", "u", "1")).expect("room");
    sink.offer(event("contract-b", "u", "2")).expect("room");
    let of = |msg_id: &str| vec![("u".to_owned(), msg_id.to_owned())];
    assert_eq!(reader.published("contract-a", 1).await, of("1"));
    assert_eq!(reader.published("contract-b", 1).await, of("2"));
}
