//! What the table promises: by example, and against a model that remembers everything.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

const WINDOW: u64 = 600_000;

fn table() -> Dedup<u32> {
    Dedup::new(100, WINDOW)
}

fn key(id: &str) -> Key {
    Key::of("u", "d", id)
}

#[test]
fn a_first_message_is_fresh_and_its_repetition_a_duplicate_after_success() {
    let mut d = table();
    assert_eq!(d.claim(key("1"), 7, 1, 0), Claim::Fresh);
    assert_eq!(d.claim(key("1"), 7, 1, 5), Claim::InProgress);
    assert!(d.succeed(key("1"), 10).is_empty());
    assert_eq!(d.claim(key("1"), 7, 1, 20), Claim::Duplicate);
}

#[test]
fn a_failed_attempt_is_forgotten() {
    let mut d = table();
    assert_eq!(d.claim(key("1"), 7, 1, 0), Claim::Fresh);
    d.fail(key("1"));
    assert_eq!((d.len(), d.claim(key("1"), 7, 1, 1)), (0, Claim::Fresh));
}

#[test]
fn those_who_joined_hear_the_outcome_once() {
    let mut d = table();
    for succeed in [true, false] {
        d.claim(key("1"), u64::from(succeed), 1, 0);
        assert_eq!((d.join(key("1"), 10), d.join(key("1"), 11)), (None, None));
        let heard = if succeed { d.succeed(key("1"), 1) } else { d.fail(key("1")) };
        assert_eq!(heard, [10, 11]);
        assert!(d.succeed(key("2"), 1).is_empty() && d.fail(key("2")).is_empty());
    }
}

#[test]
fn joining_nothing_hands_the_waiter_back() {
    let mut d = table();
    assert_eq!(d.join(key("1"), 9), Some(9));
    d.claim(key("1"), 7, 1, 0);
    d.succeed(key("1"), 0);
    assert_eq!(d.join(key("1"), 9), Some(9));
    assert!(d.fail(key("1")).is_empty());
    assert_eq!(d.claim(key("1"), 7, 1, 1), Claim::Duplicate, "a success cannot fail afterwards");
}

#[test]
fn who_sent_what_when_decides_about_a_duplicate() {
    let cases = [
        // (fingerprint, connection, ms after the first arrival, answer); the first: fingerprint 7 on connection 1
        (7, 1, 60_001, Claim::Duplicate),
        (7, 1, WINDOW - 1, Claim::Duplicate),
        (7, 1, WINDOW + 10, Claim::Fresh),
        (7, 2, 60_000, Claim::Duplicate),
        (7, 2, 60_001, Claim::Fresh),
        (8, 1, 20, Claim::Fresh),
        (8, 2, 20, Claim::Fresh),
    ];
    for (fingerprint, connection, after, want) in cases {
        let mut d = table();
        d.claim(key("1"), 7, 1, 1000);
        d.succeed(key("1"), 1010);
        assert_eq!(
            d.claim(key("1"), fingerprint, connection, 1000 + after),
            want,
            "{fingerprint} {connection} {after}"
        );
    }
}

#[test]
fn another_content_under_a_key_in_progress_is_delivered_without_a_record() {
    let mut d = table();
    d.claim(key("1"), 7, 1, 0);
    assert_eq!(d.claim(key("1"), 8, 1, 1), Claim::FreshUntracked);
    assert_eq!(d.claim(key("1"), 7, 2, 2), Claim::InProgress);
}

#[test]
fn the_oldest_success_goes_when_the_table_is_full_and_work_in_progress_stays() {
    let mut d = Dedup::<u32>::new(3, WINDOW);
    for id in ["1", "2", "3"] {
        assert_eq!(d.claim(key(id), 7, 1, 0), Claim::Fresh);
    }
    assert_eq!(d.claim(key("4"), 7, 1, 0), Claim::FreshUntracked, "nothing finished can go");
    d.succeed(key("2"), 1);
    d.succeed(key("1"), 2);
    assert_eq!(d.claim(key("4"), 7, 1, 3), Claim::Fresh);
    assert_eq!(d.claim(key("1"), 7, 1, 3), Claim::Duplicate);
    assert_eq!(d.claim(key("3"), 7, 1, 3), Claim::InProgress);
    assert_eq!(d.claim(key("2"), 7, 1, 3), Claim::Fresh, "it was the oldest success");
    assert_eq!(d.len(), 3);
}

#[test]
fn a_table_of_no_records_lets_everything_pass() {
    let mut d = Dedup::<u32>::new(0, WINDOW);
    assert_eq!(d.claim(key("1"), 7, 1, 0), Claim::FreshUntracked);
    assert_eq!(d.len(), 0);
}

#[test]
fn memory_comes_back_after_the_window() {
    let mut d = Dedup::<u32>::new(100_000, 1000);
    for n in 0..50_000 {
        d.claim(key(&n.to_string()), 7, 1, 0);
        d.succeed(key(&n.to_string()), 0);
    }
    d.expire(1000);
    assert!(d.is_empty() && d.finished.is_empty());
    assert!(d.records.capacity() < 10_000, "{}", d.records.capacity());
}

#[test]
fn one_key_reused_over_and_over_does_not_grow_the_queue() {
    let mut d = table();
    for n in 0..10_000 {
        assert_eq!(d.claim(key("1"), n, 1, 0), Claim::Fresh);
        d.succeed(key("1"), 0);
    }
    assert!(d.finished.len() < 100, "{}", d.finished.len());
}

#[test]
fn expiry_of_a_replaced_success_leaves_the_one_that_replaced_it() {
    let mut d = table();
    d.claim(key("1"), 7, 1, 0);
    d.succeed(key("1"), 0);
    d.claim(key("1"), 8, 1, 100_000);
    d.succeed(key("1"), 100_000);
    assert_eq!(d.claim(key("1"), 8, 1, WINDOW), Claim::Duplicate);
}

#[test]
fn keys_and_fingerprints_tell_parts_apart() {
    let keys = [("a", "b", "c"), ("ab", "", "c"), ("", "ab", "c"), ("a", "bc", ""), ("a", "b", "d")];
    let distinct: HashSet<_> = keys.iter().map(|(u, d, m)| Key::of(u, d, m)).collect();
    assert_eq!(distinct.len(), keys.len());
    let prints = [
        fingerprint(0, "u", "", b"x"),
        fingerprint(1, "u", "", b"x"),
        fingerprint(0, "", "u", b"x"),
        fingerprint(0, "ux", "", b""),
        fingerprint(0, "u", "x", b""),
    ];
    assert_eq!(prints.iter().collect::<HashSet<_>>().len(), prints.len());
    assert_eq!(fingerprint(0, "u", "", b"x"), prints[0]);
}

#[derive(Debug, Clone)]
enum Op {
    Claim { key: u8, print: u64, connection: u128 },
    End { nth: usize, succeed: bool },
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0u8..6, 0u64..2, 0u128..2).prop_map(|(key, print, connection)| Op::Claim { key, print, connection }),
        3 => (any::<usize>(), prop::bool::weighted(0.7)).prop_map(|(nth, succeed)| Op::End { nth, succeed }),
        1 => (0u64..50_000).prop_map(Op::Wait),
    ];
    prop::collection::vec(op, 1..300)
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    print: u64,
    connection: u128,
    first: u64,
    done: Option<u64>,
}

proptest! {
    /// With room for all, every answer is that of a plain list of what happened, and joiners hear exactly one outcome.
    #[test]
    fn answers_like_a_table_that_remembers_everything(ops in ops()) {
        const WINDOW: u64 = 200_000;
        let mut d = Dedup::<u32>::new(100, WINDOW);
        let mut model: std::collections::BTreeMap<u8, Seen> = Default::default();
        let (mut joined, mut now, mut next) = (HashMap::<u8, Vec<u32>>::new(), 0, 0);
        for op in ops {
            match op {
                Op::Wait(ms) => now += ms,
                Op::Claim { key: k, print, connection } => {
                    model.retain(|_, seen| seen.done.is_none_or(|done| now < done + WINDOW));
                    let want = match model.get(&k) {
                        Some(s) if s.done.is_none() && s.print == print => Claim::InProgress,
                        Some(s) if s.done.is_none() => Claim::FreshUntracked,
                        Some(s) if s.print == print && (s.connection == connection || now - s.first <= 60_000) =>
                            Claim::Duplicate,
                        _ => Claim::Fresh,
                    };
                    prop_assert_eq!(d.claim(key(&k.to_string()), print, connection, now), want);
                    if want == Claim::Fresh {
                        model.insert(k, Seen { print, connection, first: now, done: None });
                    } else if want == Claim::InProgress {
                        prop_assert_eq!(d.join(key(&k.to_string()), next), None);
                        joined.entry(k).or_default().push(next);
                        next += 1;
                    }
                }
                Op::End { nth, succeed } => {
                    let open: Vec<u8> = model.iter().filter(|(_, s)| s.done.is_none()).map(|(k, _)| *k).collect();
                    let Some(k) = open.get(nth % open.len().max(1)).copied() else { continue };
                    let heard = if succeed {
                        model.get_mut(&k).unwrap().done = Some(now);
                        d.succeed(key(&k.to_string()), now)
                    } else {
                        model.remove(&k);
                        d.fail(key(&k.to_string()))
                    };
                    prop_assert_eq!(heard, joined.remove(&k).unwrap_or_default());
                }
            }
            d.expire(now);
            model.retain(|_, seen| seen.done.is_none_or(|done| now < done + WINDOW));
            prop_assert_eq!(d.len(), model.len());
        }
    }

    /// However small the table: never over its size, and no two deliveries of one message under way at once.
    #[test]
    fn a_small_table_stays_within_its_size(ops in ops(), max in 0usize..4) {
        let mut d = Dedup::<u32>::new(max, 100_000);
        let (mut open, mut now) = (Vec::<(u8, u64)>::new(), 0);
        for op in ops {
            match op {
                Op::Wait(ms) => now += ms,
                Op::Claim { key: k, print, connection } => {
                    if d.claim(key(&k.to_string()), print, connection, now) == Claim::Fresh {
                        prop_assert!(open.iter().all(|(other, _)| *other != k));
                        open.push((k, print));
                    }
                }
                Op::End { nth, succeed } if !open.is_empty() => {
                    let (k, print) = open.remove(nth % open.len());
                    if succeed {
                        d.succeed(key(&k.to_string()), now);
                    } else {
                        d.fail(key(&k.to_string()));
                    }
                    let again = d.claim(key(&k.to_string()), print, 99, now);
                    prop_assert!(succeed || again == Claim::Fresh || again == Claim::FreshUntracked);
                    if again == Claim::Fresh { open.push((k, print)); }
                }
                Op::End { .. } => {}
            }
            prop_assert!(d.len() <= max && open.len() <= d.len());
        }
    }
}
