//! The rules of the lanes, with a library that only notes what it is given, and time that only moves when told.

use std::collections::HashMap;

use mics_actors::metrics::Metrics;
use mics_domain::event::EventType;
use prometheus::Registry;
use proptest::prelude::*;

use super::*;
use crate::kafka::quota::{Limits, Quota};
use crate::kafka::settings::Retries;

#[derive(Debug, Clone)]
struct Sent {
    topic: String,
    user: String,
    value: String,
    ticket: Ticket,
    apart: bool,
}

#[derive(Default)]
struct Library {
    sent: Vec<Sent>,
    /// By topic: does not take.
    refuses: HashMap<String, NotTaken>,
    /// Takes this many more.
    room: Option<usize>,
}

impl Producer for Library {
    fn send(&mut self, topic: &str, item: &Item, ticket: Ticket, apart: bool) -> Result<(), NotTaken> {
        if let Some(refusal) = self.refuses.get(topic) {
            return Err(*refusal);
        }
        match &mut self.room {
            Some(0) => return Err(NotTaken::Busy),
            Some(room) => *room -= 1,
            None => {}
        }
        let value = String::from_utf8(item.value.clone()).unwrap();
        self.sent.push(Sent { topic: topic.into(), user: item.user.to_string(), value, ticket, apart });
        Ok(())
    }
}

struct Bench {
    lanes: Lanes,
    library: Library,
    quota: Arc<Quota>,
    metrics: Metrics,
    now: Instant,
}

const LIMITS: Limits = Limits {
    events: 100_000,
    events_per_tenant: 50_000,
    bytes: 1 << 30,
    bytes_per_tenant: 1 << 30,
    second: 4,
    second_per_tenant: 2,
};

const POLICY: Policy = Policy {
    events: Retries { tries: 3, backoff: Duration::from_millis(50) },
    second: Retries { tries: 2, backoff: Duration::from_millis(200) },
};

impl Bench {
    fn new() -> Bench {
        Bench::with(LIMITS)
    }

    fn with(limits: Limits) -> Bench {
        let metrics = Metrics::new(Registry::new()).unwrap();
        let quota = Quota::new(limits, metrics.clone());
        let lanes = Lanes::new(POLICY, Tally::new(metrics.clone()));
        Bench { lanes, library: Library::default(), quota, metrics, now: Instant::now() }
    }

    fn push(&mut self, tenant: &str, user: &str, value: impl ToString) {
        let tenant: Arc<str> = tenant.into();
        let slot = self.quota.take(&tenant).unwrap();
        let (value, kind) = (value.to_string().into_bytes(), EventType::SingleChatMsg);
        self.lanes.push(Item { tenant, user: user.into(), kind, value, trace: None, slot, tries: 0, suspect: false });
    }

    /// What is sent now.
    fn sent(&mut self) -> Vec<Sent> {
        self.lanes.dispatch(self.now, &mut self.library);
        std::mem::take(&mut self.library.sent)
    }

    /// The values of what is sent now.
    fn values(&mut self) -> Vec<String> {
        self.sent().into_iter().map(|sent| sent.value).collect()
    }

    /// What is sent after the pause that is waited for, and how long that was.
    fn next(&mut self) -> (Duration, Vec<Sent>) {
        let wake = self.lanes.next_wake().expect("something is waited for");
        let pause = wake.saturating_duration_since(self.now);
        self.now = self.now.max(wake);
        (pause, self.sent())
    }

    fn answer(&mut self, sent: &[Sent], outcome: Outcome) {
        sent.iter().for_each(|sent| self.lanes.outcome(&sent.ticket, outcome, self.now));
    }

    /// Sum of a metric over all its series.
    fn count(&self, name: &str) -> u64 {
        let families = self.metrics.registry.gather();
        let family = families.iter().find(|family| family.name() == format!("mics_mq_{name}"));
        family.map_or(0, |family| family.get_metric().iter().map(|m| m.get_counter().get_value() as u64).sum())
    }

    fn dropped(&self, tenant: &str, reason: &str) -> u64 {
        self.metrics.mq_dropped_total.with_label_values(&[tenant, reason]).get()
    }
}

const PASSING: Outcome = Err(Failure::Passing);

fn texts(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| n.to_string()).collect()
}

#[test]
fn a_run_is_sent_at_once_and_the_next_when_it_is_settled() {
    let mut bench = Bench::new();
    (0..RUN + 3).for_each(|n| bench.push("t", "u", n));
    let first = bench.sent();
    assert_eq!(first.iter().map(|sent| sent.value.clone()).collect::<Vec<_>>(), texts(0..RUN));
    assert!(first.iter().all(|sent| sent.topic == "im-mics-t-event" && sent.user == "u" && !sent.apart));
    bench.answer(&first[1..], Ok(()));
    assert!(bench.sent().is_empty(), "one event of the run is not settled");
    bench.answer(&first[..1], Ok(()));
    let rest = bench.sent();
    assert_eq!(rest.len(), 3);
    bench.answer(&rest, Ok(()));
    assert_eq!((bench.quota.pending(), bench.count("published_total")), (0, RUN as u64 + 3));
    assert!(bench.lanes.lanes.is_empty(), "an idle lane costs nothing");
    bench.answer(&first, PASSING);
    assert_eq!(bench.count("failed_total"), 0, "an outcome that comes twice is ignored");
}

#[test]
fn a_failed_event_goes_again_before_all_later_ones_and_holds_back_its_user_only() {
    let mut bench = Bench::new();
    (0..3).for_each(|n| bench.push("t", "u", n));
    let sent = bench.sent();
    bench.answer(&sent, PASSING);
    bench.push("t", "u", 3);
    bench.push("t", "v", "other");
    assert_eq!(bench.values(), ["other"]);
    let (pause, sent) = bench.next();
    assert_eq!((pause.as_millis(), sent.len()), (50, 4));
    assert_eq!(sent.iter().map(|sent| sent.value.clone()).collect::<Vec<_>>(), texts(0..4));
    assert_eq!((bench.count("failed_total"), bench.count("retried_total")), (3, 3));
    // The last of the run failed: what is before it keeps its place.
    bench.answer(&sent[..3], Ok(()));
    bench.answer(&sent[3..], PASSING);
    bench.push("t", "u", 4);
    assert_eq!(bench.next().1.iter().map(|sent| sent.value.clone()).collect::<Vec<_>>(), ["3", "4"]);
}

#[test]
fn an_event_that_was_overtaken_is_not_published_late() {
    let mut bench = Bench::new();
    (0..4).for_each(|n| bench.push("t", "u", n));
    let sent = bench.sent();
    for (n, outcome) in [Ok(()), PASSING, Ok(()), PASSING].into_iter().enumerate() {
        bench.answer(&sent[n..=n], outcome);
    }
    let now = bench.sent();
    assert_eq!(now.len(), 1);
    assert_eq!((now[0].topic.as_str(), now[0].value.as_str()), ("im-mics-t-event-dlq", "1"));
    assert_eq!(bench.next().1[0].value, "3", "nothing was stored behind it: it goes again");
}

#[test]
fn tries_and_pauses_are_those_of_the_settings_then_the_dead_letter_topic_then_the_second_queue() {
    let mut bench = Bench::new();
    bench.push("t", "u", "e");
    let mut seen = Vec::new();
    let mut sent = bench.sent();
    while !sent.is_empty() {
        assert_eq!(sent.len(), 1);
        bench.answer(&sent, PASSING);
        let topic = sent[0].topic.clone();
        sent = bench.sent();
        let mut pause = Duration::ZERO;
        if sent.is_empty() && bench.lanes.next_wake().is_some() {
            (pause, sent) = bench.next();
        }
        seen.push((topic, pause.as_millis()));
    }
    let (event, dead) = ("im-mics-t-event".to_owned(), "im-mics-t-event-dlq".to_owned());
    let expected = [(&event, 50), (&event, 100), (&event, 0), (&dead, 0), (&dead, 200), (&dead, 0)];
    assert_eq!(seen, expected.map(|(topic, pause)| (topic.clone(), pause)));
    let counts = ["failed_total", "retried_total", "published_total", "dlq_total"].map(|name| bench.count(name));
    assert_eq!(counts, [3, 2, 0, 0]);
    let second = ["enqueued", "failed", "retried", "published", "dropped"];
    let second = second.map(|name| bench.count(&format!("dlq_fallback_{name}_total")));
    assert_eq!(second, [1, 2, 1, 0, 0]);
    assert_eq!((bench.dropped("t", "dlq_fallback_giveup"), bench.quota.pending()), (1, 0));
}

#[test]
fn the_second_queue_publishes_when_the_topic_is_back_and_refuses_above_its_bounds() {
    let mut bench = Bench::new();
    (0..3).for_each(|n| bench.push("t", "u", n));
    let refused = Err(Failure::Refused);
    let events = bench.sent();
    bench.answer(&events, refused);
    let letters = bench.sent();
    assert_eq!(letters.len(), 3, "a refusal of the topic is no reason to wait");
    assert!(letters.iter().all(|sent| sent.apart));
    bench.answer(&letters, refused);
    let kept = bench.sent();
    assert_eq!(kept.len(), 2, "two places per tenant");
    assert_eq!((bench.dropped("t", "dlq_failed"), bench.count("dlq_fallback_dropped_total")), (1, 1));
    bench.answer(&kept, refused);
    let again = bench.next().1;
    bench.answer(&again, Ok(()));
    assert_eq!((bench.count("dlq_fallback_published_total"), bench.count("dlq_total")), (2, 2));
    assert_eq!((bench.count("published_total"), bench.quota.pending()), (2, 0));
}

#[test]
fn without_a_second_queue_a_refused_dead_letter_is_lost_and_counted() {
    let mut bench = Bench::with(Limits { second: 0, ..LIMITS });
    bench.push("t", "u", "e");
    for _ in 0..2 {
        let sent = bench.sent();
        bench.answer(&sent, Err(Failure::Refused));
    }
    assert_eq!((bench.dropped("t", "dlq_failed"), bench.count("dlq_fallback_dropped_total")), (1, 0));
    assert_eq!(bench.quota.pending(), 0);
}

#[test]
fn a_tenant_whose_topic_hangs_delays_nobody() {
    let mut bench = Bench::new();
    (0..10_000).for_each(|n| bench.push("broken", &format!("u{}", n % 500), n));
    let hanging = bench.sent();
    assert_eq!(hanging.len(), WINDOW);
    for n in 0..3_000 {
        bench.push("fine", &format!("u{}", n % 50), n);
        let sent = bench.sent();
        assert_eq!(sent.iter().map(|sent| sent.value.clone()).collect::<Vec<_>>(), texts([n]));
        bench.answer(&sent, Ok(()));
    }
    assert_eq!(bench.count("published_total"), 3_000);
}

#[test]
fn tenants_take_turns() {
    let mut bench = Bench::new();
    (0..5_000).for_each(|n| bench.push("large", &format!("u{n}"), n));
    (0..RUN).for_each(|n| bench.push("small", &format!("u{n}"), n));
    let sent = bench.sent();
    let last = sent.iter().rposition(|sent| sent.topic == "im-mics-small-event").unwrap();
    assert_eq!(last, 2 * RUN - 1, "the small one is through after one turn of each");
}

#[test]
fn a_tenant_in_trouble_is_sent_apart_for_a_while() {
    let mut bench = Bench::new();
    bench.push("t", "u", 0);
    let sent = bench.sent();
    bench.answer(&sent, PASSING);
    bench.push("other", "u", 0);
    assert!(!bench.sent()[0].apart);
    let sent = bench.next().1;
    assert!(sent[0].apart);
    bench.answer(&sent, Ok(()));
    bench.now += APART;
    bench.push("t", "u", 1);
    assert!(!bench.sent()[0].apart);
}

#[test]
fn while_no_broker_answers_one_event_is_tried_and_no_try_counts() {
    let mut bench = Bench::new();
    (0..5).for_each(|n| bench.push(&format!("t{n}"), "u", n));
    bench.lanes.brokers_down(bench.now);
    let mut probe = bench.sent();
    for _ in 0..20 {
        assert_eq!(probe.len(), 1);
        bench.lanes.brokers_down(bench.now);
        bench.answer(&probe, PASSING);
        assert!(bench.sent().is_empty());
        let before = bench.now;
        loop {
            probe = bench.next().1;
            if !probe.is_empty() {
                break;
            }
        }
        assert_eq!(bench.now.duration_since(before), PROBE_EVERY);
    }
    assert_eq!((bench.count("dlq_total"), bench.quota.pending()), (0, 5));
    bench.answer(&probe, Ok(()));
    let mut sent = bench.sent();
    if sent.len() < 4 {
        sent.extend(bench.next().1);
    }
    bench.answer(&sent, Ok(()));
    assert_eq!((bench.count("published_total"), bench.quota.pending()), (5, 0));
}

#[test]
fn a_batch_that_is_too_large_is_taken_apart_and_only_the_culprit_becomes_a_dead_letter() {
    let mut bench = Bench::new();
    (0..3).for_each(|n| bench.push("t", "u", n));
    (3..6).for_each(|n| bench.push("t", &format!("u{n}"), n));
    let sent = bench.sent();
    assert_eq!(sent.len(), 6);
    bench.answer(&sent, Err(Failure::TooLarge));
    assert_eq!(bench.count("dlq_total"), 0);
    let (mut stored, mut letters) = (Vec::new(), Vec::new());
    while bench.quota.pending() > 0 {
        let mut sent = bench.sent();
        if sent.is_empty() {
            sent = bench.next().1;
        }
        assert!(sent.iter().filter(|sent| sent.topic == "im-mics-t-event").count() <= 1, "one by one");
        for one in sent {
            let culprit = one.value == "1" && one.topic == "im-mics-t-event";
            bench.lanes.outcome(&one.ticket, if culprit { Err(Failure::TooLarge) } else { Ok(()) }, bench.now);
            if !culprit {
                let list = if one.topic.ends_with("dlq") { &mut letters } else { &mut stored };
                list.push(one.value);
            }
        }
    }
    assert_eq!(letters, ["1"]);
    let of_u: Vec<_> = stored.iter().map(String::as_str).filter(|value| ["0", "2"].contains(value)).collect();
    assert_eq!((stored.len(), of_u), (5, vec!["0", "2"]));
}

#[test]
fn what_the_library_itself_finds_too_large_is_a_dead_letter_and_then_nothing() {
    let mut bench = Bench::new();
    bench.library.refuses.insert("im-mics-t-event".into(), NotTaken::TooLarge);
    bench.push("t", "u", "large");
    let sent = bench.sent();
    assert_eq!(sent[0].topic, "im-mics-t-event-dlq");
    bench.answer(&sent, Ok(()));
    bench.library.refuses.insert("im-mics-t-event-dlq".into(), NotTaken::TooLarge);
    bench.push("t", "u", "large");
    assert!(bench.sent().is_empty());
    assert_eq!((bench.dropped("t", "dlq_failed"), bench.quota.pending()), (1, 0));
}

#[test]
fn an_error_at_the_hand_over_is_an_outcome_like_any_other() {
    let mut bench = Bench::new();
    bench.library.refuses.insert("im-mics-t-event".into(), NotTaken::Failed(Failure::Refused));
    (0..2).for_each(|n| bench.push("t", "u", n));
    assert_eq!(bench.values(), ["0", "1"]);
    assert_eq!(bench.count("failed_total"), 2);
}

#[test]
fn a_library_without_room_is_asked_again_and_nothing_changes_places() {
    let mut bench = Bench::new();
    (0..10).for_each(|n| bench.push("t", "u", n));
    bench.library.room = Some(3);
    let sent = bench.sent();
    assert_eq!(sent.len(), 3);
    bench.answer(&sent, Ok(()));
    assert!(bench.sent().is_empty());
    bench.library.room = None;
    assert_eq!(bench.next().1.iter().map(|sent| sent.value.clone()).collect::<Vec<_>>(), texts(3..10));
    assert_eq!(bench.count("failed_total"), 0);
}

#[test]
fn the_end_of_a_client_costs_no_try() {
    let mut bench = Bench::new();
    bench.push("t", "u", 0);
    for _ in 0..10 {
        let mut sent = bench.sent();
        if sent.is_empty() {
            sent = bench.next().1;
        }
        assert_eq!(sent[0].topic, "im-mics-t-event");
        bench.answer(&sent, Err(Failure::Abandoned));
    }
    assert_eq!(bench.quota.pending(), 1);
}

#[test]
fn giving_up_counts_what_waits_what_rests_and_what_is_in_flight() {
    let mut bench = Bench::new();
    (0..RUN + 10).for_each(|n| bench.push("a", "u", n));
    bench.push("b", "u", 0);
    let sent = bench.sent();
    bench.answer(&sent[..2], Ok(()));
    bench.push("c", "u", 0);
    let resting = bench.sent();
    bench.answer(&resting, PASSING);
    assert_eq!(bench.lanes.clear(bench.now), RUN as u64 + 10);
    assert_eq!((bench.dropped("a", "shutdown"), bench.dropped("c", "shutdown")), (RUN as u64 + 8, 1));
    assert_eq!(bench.quota.pending(), 0);
    bench.answer(&sent, Ok(()));
    assert_eq!(bench.count("published_total"), 2);
}

/// What happens to a sent event: mostly it is stored.
fn fate() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        6 => Just(Ok(())),
        3 => Just(PASSING),
        1 => Just(Err(Failure::Refused)),
        1 => Just(Err(Failure::TooLarge)),
        1 => Just(Err(Failure::Abandoned)),
    ]
}

proptest! {
    #[test]
    fn whatever_fails_users_see_their_events_in_order_and_each_event_ends_once(
        fates in prop::collection::vec((fate(), any::<u16>()), 50..400),
        downs in prop::collection::vec(0..400_usize, 0..3),
    ) {
        let mut bench = Bench::new();
        let mut open = Vec::<(usize, Sent)>::new();
        // By user: (when it was sent, event).
        let mut stored = HashMap::<(String, String), Vec<(usize, usize)>>::new();
        let (mut pushed, mut sends, mut letters) = (0, 0, 0_u64);
        let mut fates = fates.into_iter().enumerate();
        loop {
            let fate = fates.next();
            if let Some((step, (_, dice))) = fate {
                for _ in 0..dice % 4 {
                    bench.push(&format!("t{}", dice % 3), &format!("u{}", dice / 4 % 3), pushed);
                    pushed += 1;
                }
                if downs.contains(&step) {
                    bench.lanes.brokers_down(bench.now);
                }
            }
            for sent in bench.sent() {
                open.push((sends, sent));
                sends += 1;
            }
            if open.is_empty() {
                match bench.lanes.next_wake() {
                    Some(wake) => bench.now = bench.now.max(wake),
                    None if fate.is_none() => break,
                    None => {}
                }
                continue;
            }
            // Outcomes come in any order.
            let (outcome, at) = fate.map_or((Ok(()), 0), |(_, (outcome, dice))| (outcome, dice as usize % open.len()));
            let (order, sent) = open.swap_remove(at);
            bench.lanes.outcome(&sent.ticket, outcome, bench.now);
            if outcome.is_ok() {
                match sent.topic.ends_with("-dlq") {
                    true => letters += 1,
                    false => stored.entry((sent.topic, sent.user)).or_default().push((order, sent.value.parse().unwrap())),
                }
            }
        }
        // The library keeps the order in which events of one user were sent.
        let published: usize = stored.values().map(Vec::len).sum();
        for events in stored.values_mut() {
            events.sort_unstable();
            prop_assert!(events.is_sorted_by(|a, b| a.1 < b.1), "in order, each once: {:?}", events);
        }
        let lost = bench.count("dropped_total");
        prop_assert_eq!(published as u64 + letters + lost, pushed as u64);
        prop_assert_eq!(bench.quota.pending(), 0);
        prop_assert_eq!(bench.lanes.in_flight, 0);
        prop_assert!(bench.lanes.lanes.values().all(|lane| lane.rows.is_empty() && lane.suspects == 0));
    }
}
