//! What the buffer promises: by example, and against a model of plain lists.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Longer than any test.
const HOLD: u64 = 1_000_000;

fn buffer(max_messages_per_user: usize, max_bytes_per_user: usize, max_users: usize) -> OfflineBuffer {
    OfflineBuffer::new(OfflineLimits { max_messages_per_user, max_bytes_per_user, max_users })
}

fn user(name: &str) -> Arc<str> {
    Arc::from(name)
}

fn frame(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn entry(id: u128, text: &str, expires_at_ms: u64, devices: &[&str]) -> Entry {
    Entry { id, frame: frame(text), expires_at_ms, devices: devices.iter().map(|d| Arc::from(*d)).collect() }
}

/// A frame that is not promised yet: refused when it is too large.
fn put(b: &mut OfflineBuffer, user: &Arc<str>, entry: Entry, now_ms: u64) -> Put {
    if b.fits(entry.frame.len()) { b.put(user, entry, now_ms) } else { Put::default() }
}

/// Puts frames with the ids that follow those of the user; returns how many were dropped for them.
fn put_all(b: &mut OfflineBuffer, name: &str, texts: &[&str]) -> usize {
    let first = b.entries(name).last().map_or(1, |last| last.id + 1);
    let entries = texts.iter().zip(first..).map(|(text, id)| entry(id, text, 1000, &[]));
    entries.map(|entry| put(b, &user(name), entry, 0).dropped_messages).sum()
}

fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8(entry.frame.to_vec()).unwrap()).collect()
}

fn ids(entries: &[Entry]) -> Vec<u128> {
    entries.iter().map(|entry| entry.id).collect()
}

/// What a device would get now; leaves the buffer as it was.
fn peek(b: &mut OfflineBuffer, name: &str, now: u64) -> Vec<String> {
    let lease = b.lease(name, ("dev", 0), usize::MAX, HOLD, now);
    b.release(name, &ids(&lease));
    texts(&lease)
}

#[test]
fn who_leases_again_gets_the_same_frames_again() {
    let mut b = buffer(0, 0, 0);
    put_all(&mut b, "u", &["a"]);
    b.lease("u", ("dev", 7), usize::MAX, HOLD, 0);
    put_all(&mut b, "u", &["b"]);
    assert_eq!(texts(&b.lease("u", ("dev", 7), usize::MAX, HOLD, 1)), ["a", "b"], "the first answer was lost");
    assert!(b.is_held("u", "dev", 8, 1) && b.is_held("u", "dev", 0, 1) && !b.is_held("u", "dev", 7, 1));
    assert_eq!(b.lease("u", ("dev", 8), usize::MAX, HOLD, 1), []);
}

#[test]
fn frames_come_out_in_order_and_leave_only_when_taken() {
    let mut b = buffer(0, 0, 0);
    put_all(&mut b, "u", &["a", "bb", "c"]);
    let lease = b.lease("u", ("dev", 0), usize::MAX, HOLD, 0);
    assert_eq!(texts(&lease), ["a", "bb", "c"]);
    assert_eq!((b.messages(), b.bytes(), b.has("u")), (3, 4, true));
    assert_eq!(b.lease("u", ("other", 0), usize::MAX, HOLD, 0), [], "leased frames are nobody else's");
    assert_eq!(b.take("u", &ids(&lease)), 3);
    assert_eq!((b.messages(), b.bytes(), b.users(), b.has("u")), (0, 0, 0, false));
    assert_eq!(b.take("u", &ids(&lease)), 0);
    b.release("u", &ids(&lease));
    assert_eq!(b.messages(), 0);
}

#[test]
fn a_lease_ends_by_itself() {
    let mut b = buffer(0, 0, 0);
    put_all(&mut b, "u", &["a"]);
    assert_eq!(b.lease("u", ("dev", 0), usize::MAX, 100, 10).len(), 1);
    assert_eq!((b.is_held("u", "dev", 0, 109), b.is_held("u", "dev", 0, 110)), (true, false));
    assert_eq!(b.lease("u", ("dev", 0), usize::MAX, 100, 109), []);
    assert_eq!(b.lease("u", ("dev", 0), usize::MAX, 100, 110).len(), 1);
}

#[test]
fn frames_stand_in_the_order_of_their_ids_and_copies_fall_together() {
    let mut b = buffer(0, 0, 0);
    for (id, text) in [(5, "e"), (2, "b"), (9, "i"), (2, "b"), (5, "e"), (1, "a")] {
        assert!(put(&mut b, &user("u"), entry(id, text, 1000, &[]), 0).accepted);
    }
    assert_eq!((peek(&mut b, "u", 0), b.messages(), b.bytes()), (["a", "b", "e", "i"].map(String::from).into(), 4, 4));
}

#[test]
fn a_copy_widens_whom_a_frame_is_for() {
    let mut b = buffer(0, 0, 0);
    put(&mut b, &user("u"), entry(1, "x", 1000, &["a"]), 0);
    put(&mut b, &user("u"), entry(1, "x", 1000, &["b", "a"]), 0);
    assert_eq!(b.entries("u")[0].devices.len(), 2);
    assert_eq!(peek(&mut b, "u", 0), [] as [&str; 0]);
    put(&mut b, &user("u"), entry(1, "x", 1000, &[]), 0);
    assert_eq!(peek(&mut b, "u", 0), ["x"]);
    put(&mut b, &user("u"), entry(1, "x", 1000, &["a"]), 0);
    assert_eq!(peek(&mut b, "u", 0), ["x"], "still for everybody");
}

#[test]
fn a_full_user_drops_the_oldest() {
    let mut by_count = buffer(2, 0, 0);
    assert_eq!(put_all(&mut by_count, "u", &["a", "b", "c"]), 1);
    assert_eq!(peek(&mut by_count, "u", 0), ["b", "c"]);
    let mut by_bytes = buffer(0, 5, 0);
    assert_eq!(put_all(&mut by_bytes, "u", &["aa", "bb", "ccc"]), 1);
    assert_eq!(peek(&mut by_bytes, "u", 0), ["bb", "ccc"]);
    assert_eq!(put_all(&mut by_bytes, "u", &["ddddd"]), 2);
    let late = put(&mut by_count, &user("u"), entry(0, "z", 1000, &[]), 0);
    assert_eq!((late.accepted, late.dropped_messages), (false, 1), "it is the oldest itself");
}

#[test]
fn a_frame_over_the_byte_limit_is_refused_unless_it_was_promised_before() {
    let mut b = buffer(0, 3, 1);
    put_all(&mut b, "u", &["a"]);
    assert_eq!(put(&mut b, &user("v"), entry(7, "long", 1000, &[]), 0), Put::default());
    assert_eq!((b.users(), peek(&mut b, "u", 0)), (1, vec!["a".to_string()]));
    assert!(!put(&mut b, &user("v"), entry(7, "x", 0, &[]), 0).accepted, "dead on arrival");
    let put = b.put(&user("u"), entry(7, "long", 1000, &[]), 0);
    assert_eq!((put.accepted, put.dropped_messages, peek(&mut b, "u", 0)), (true, 1, vec!["long".to_string()]));
}

#[test]
fn a_user_too_many_evicts_the_least_recently_written_one_whole() {
    let mut b = buffer(0, 0, 2);
    put_all(&mut b, "a", &["1", "2"]);
    put_all(&mut b, "b", &["3"]);
    put_all(&mut b, "a", &["4"]);
    let put = put(&mut b, &user("c"), entry(1, "5", 1000, &[]), 0);
    assert_eq!((put.accepted, put.evicted_user, put.evicted_messages), (true, Some(user("b")), 1));
    let put = b.put(&user("d"), entry(1, "6", 1000, &[]), 0);
    assert_eq!((put.accepted, put.evicted_user, put.evicted_messages), (true, Some(user("a")), 3));
    assert_eq!((b.users(), b.messages(), b.bytes()), (2, 2, 2));
}

#[test]
fn expired_frames_go_also_from_behind_a_longer_lived_head() {
    let mut b = buffer(0, 0, 0);
    put(&mut b, &user("u"), entry(1, "long", 5000, &[]), 0);
    put(&mut b, &user("u"), entry(2, "short", 100, &[]), 0);
    put(&mut b, &user("v"), entry(2, "short", 100, &[]), 0);
    assert_eq!(b.expire(99), 0);
    assert_eq!(b.expire(100), 2);
    assert_eq!((b.users(), b.messages(), b.bytes()), (1, 1, 4));
    assert_eq!(peek(&mut b, "u", 4999), ["long"]);
    assert_eq!(peek(&mut b, "u", 5000), [] as [&str; 0]);
    assert_eq!((b.expire(5000), b.expire(5000)), (1, 0));
}

#[test]
fn a_lease_takes_at_least_one_frame_and_then_up_to_its_bytes() {
    let cases = [(0, 1), (3, 1), (5, 1), (6, 2), (7, 3), (100, 3)];
    for (max_bytes, count) in cases {
        let mut b = buffer(0, 0, 0);
        put_all(&mut b, "u", &["aaa", "bbb", "c"]);
        assert_eq!(b.lease("u", ("dev", 0), max_bytes, HOLD, 0).len(), count, "{max_bytes}");
    }
}

#[test]
fn what_is_released_stands_before_what_came_meanwhile() {
    let mut b = buffer(0, 0, 0);
    put_all(&mut b, "u", &["a", "b"]);
    let lease = b.lease("u", ("dev", 0), usize::MAX, HOLD, 0);
    put_all(&mut b, "u", &["c"]);
    assert_eq!(b.take("u", &ids(&lease[..1])), 1);
    b.release("u", &ids(&lease[1..]));
    assert_eq!(peek(&mut b, "u", 0), ["b", "c"]);
}

#[test]
fn leased_frames_that_expire_or_are_dropped_do_not_come_back() {
    let mut b = buffer(2, 0, 0);
    put_all(&mut b, "u", &["a", "b"]);
    let lease = b.lease("u", ("dev", 0), usize::MAX, HOLD, 0);
    assert_eq!(put_all(&mut b, "u", &["c"]), 1);
    b.release("u", &ids(&lease));
    assert_eq!(peek(&mut b, "u", 0), ["b", "c"]);
    let lease = b.lease("u", ("dev", 0), usize::MAX, HOLD, 0);
    assert_eq!(b.expire(1000), 2);
    b.release("u", &ids(&lease));
    assert_eq!((b.messages(), b.bytes(), b.users()), (0, 0, 0));
}

#[test]
fn frames_keep_to_their_devices() {
    let mut b = buffer(0, 0, 0);
    b.put(&user("u"), entry(1, "a", 900, &["dev"]), 10);
    b.put(&user("u"), entry(2, "b", 900, &["other"]), 10);
    put_all(&mut b, "u", &["c"]);
    assert_eq!(peek(&mut b, "u", 10), ["a", "c"]);
    assert_eq!(texts(&b.entries("u")), ["a", "b", "c"]);
}

#[test]
fn a_frame_for_two_devices_waits_for_both() {
    let mut b = buffer(0, 0, 0);
    put(&mut b, &user("u"), entry(1, "x", 1000, &["a", "b"]), 0);
    put(&mut b, &user("u"), entry(2, "y", 1000, &[]), 0);
    assert_eq!(b.lease("u", ("a", 0), usize::MAX, HOLD, 0).len(), 2);
    b.take_for("u", "a", &[1, 2, 3]);
    assert_eq!(b.lease("u", ("a", 0), usize::MAX, HOLD, 0), []);
    assert_eq!(texts(&b.lease("u", ("b", 0), usize::MAX, HOLD, 0)), ["x"]);
    b.take_for("u", "b", &[1]);
    assert_eq!((b.messages(), b.bytes(), b.has("u")), (0, 0, false));
}

#[test]
fn memory_comes_back_after_mass_expiry() {
    let mut b = buffer(0, 0, 0);
    for n in 0..20_000 {
        put(&mut b, &user(&n.to_string()), entry(n, "x", 1000, &[]), 0);
    }
    assert_eq!(b.user_names().count(), 20_000);
    assert_eq!(b.expire(1000), 20_000);
    assert!(b.users.capacity() <= 4 * MIN_CAPACITY, "{}", b.users.capacity());
    assert!(b.by_write.is_empty() && b.by_expiry.is_empty());
}

#[derive(Debug, Clone)]
enum Op {
    /// `back`: promised before, so its size does not matter.
    Put {
        user: usize,
        id: u128,
        len: usize,
        ttl: u64,
        back: bool,
    },
    Lease {
        user: usize,
        max_bytes: usize,
    },
    /// Ends the n-th open lease after `count` frames.
    End {
        nth: usize,
        count: usize,
    },
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0usize..4, 0u128..300, 4usize..24, 1u64..60, any::<bool>())
            .prop_map(|(user, id, len, ttl, back)| Op::Put { user, id, len, ttl, back }),
        3 => (0usize..4, 0usize..60).prop_map(|(user, max_bytes)| Op::Lease { user, max_bytes }),
        3 => (any::<usize>(), 0usize..4).prop_map(|(nth, count)| Op::End { nth, count }),
        2 => (0u64..30).prop_map(Op::Wait),
    ];
    prop::collection::vec(op, 1..200)
}

fn limits() -> impl Strategy<Value = OfflineLimits> {
    (0usize..6, prop_oneof![Just(0usize), 16usize..60], 0usize..4).prop_map(|(messages, bytes, users)| OfflineLimits {
        max_messages_per_user: messages,
        max_bytes_per_user: bytes,
        max_users: users,
    })
}

fn check_books(b: &OfflineBuffer) -> Result<(), TestCaseError> {
    let mut total = (0, 0);
    for (name, queue) in &b.users {
        let bytes: usize = queue.slots.iter().map(|slot| slot.entry.frame.len()).sum();
        prop_assert!(!queue.slots.is_empty() && bytes == queue.bytes);
        prop_assert!(queue.slots.iter().is_sorted_by(|a, b| a.entry.id < b.entry.id), "in order, each id once");
        prop_assert!(!exceeds(queue.slots.len(), b.limits.max_messages_per_user));
        prop_assert!(queue.slots.len() == 1 || !exceeds(bytes, b.limits.max_bytes_per_user));
        prop_assert_eq!(b.by_write.get(&queue.written), Some(name));
        total = (total.0 + queue.slots.len(), total.1 + bytes);
    }
    prop_assert!(!exceeds(b.users(), b.limits.max_users));
    prop_assert_eq!((b.messages(), b.bytes(), b.by_write.len()), (total.0, total.1, b.users()));
    Ok(())
}

proptest! {
    /// Never over a limit; in order; nobody's frame is leased twice at a time; every accepted frame is held, taken,
    /// dropped as oldest, evicted or expired, and the reported numbers say which.
    #[test]
    fn nothing_is_lost_but_what_is_reported(ops in ops(), limits in limits()) {
        let mut b = OfflineBuffer::new(limits);
        let names: Vec<_> = ["a", "b", "c", "d"].map(user).into();
        let mut now = 0;
        let mut open: Vec<(usize, Vec<Entry>)> = vec![];
        let (mut inserted, mut taken, mut reported) = (0, 0, 0);
        for op in ops {
            match op {
                Op::Wait(ms) => now += ms,
                Op::Put { user, id, len, ttl, back } => {
                    let entry = entry(id, &"x".repeat(len), now + ttl, &[]);
                    let known = ids(&b.entries(&names[user])).contains(&id);
                    let put = if back { b.put(&names[user], entry, now) } else { put(&mut b, &names[user], entry, now) };
                    let refused = !back && exceeds(len, limits.max_bytes_per_user);
                    prop_assert!(!(refused && put.accepted));
                    prop_assert_eq!(put.accepted, !refused && ids(&b.entries(&names[user])).contains(&id));
                    inserted += usize::from(!refused && !known);
                    reported += put.dropped_messages + put.evicted_messages;
                }
                Op::Lease { user, max_bytes } => {
                    let lease = b.lease(&names[user], ("dev", 0), max_bytes, HOLD, now);
                    let bytes: usize = lease.iter().map(|e| e.frame.len()).sum();
                    prop_assert!(lease.len() <= 1 || bytes <= max_bytes);
                    prop_assert!(lease.iter().all(|e| e.expires_at_ms > now));
                    if !lease.is_empty() {
                        open.push((user, lease));
                    }
                }
                Op::End { nth, count } if !open.is_empty() => {
                    let (user, lease) = open.remove(nth % open.len());
                    reported += b.expire(now);
                    let (gone, rest) = lease.split_at(count.min(lease.len()));
                    taken += b.take(&names[user], &ids(gone));
                    b.release(&names[user], &ids(rest));
                }
                Op::End { .. } => {}
            }
            reported += b.expire(now);
            check_books(&b)?;
        }
        prop_assert_eq!(inserted, taken + reported + b.messages());
    }

    /// Leases released in any order leave the buffer as it was.
    #[test]
    fn leases_released_restore_everything_in_order(
        lens in prop::collection::vec(4usize..20, 1..30), sizes in prop::collection::vec(0usize..80, 1..8), seed in any::<usize>(),
    ) {
        let mut b = buffer(0, 0, 0);
        for (n, len) in lens.iter().enumerate() {
            put(&mut b, &user("u"), entry(n as u128, &"x".repeat(*len), 1000, &[]), 0);
        }
        let (want, bytes) = (b.entries("u"), b.bytes());
        let mut open: Vec<_> = sizes.iter().map(|max| b.lease("u", ("dev", 0), *max, HOLD, 0)).collect();
        let leased: Vec<u128> = open.iter().flat_map(|lease| ids(lease)).collect();
        prop_assert_eq!(leased.iter().collect::<BTreeSet<_>>().len(), leased.len(), "leased twice");
        while !open.is_empty() {
            let lease = open.swap_remove(seed % open.len());
            b.release("u", &ids(&lease));
        }
        prop_assert_eq!(b.lease("u", ("dev", 0), usize::MAX, HOLD, 0), want);
        prop_assert_eq!(b.bytes(), bytes);
    }
}
