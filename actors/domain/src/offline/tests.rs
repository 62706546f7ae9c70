//! What the buffer promises: by example, and against a model of plain lists.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn buffer(max_messages_per_user: usize, max_bytes_per_user: usize, max_users: usize) -> OfflineBuffer {
    OfflineBuffer::new(OfflineLimits { max_messages_per_user, max_bytes_per_user, max_users })
}

fn user(name: &str) -> Arc<str> {
    Arc::from(name)
}

fn frame(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put_all(b: &mut OfflineBuffer, name: &str, texts: &[&str]) -> usize {
    texts.iter().map(|text| b.put(&user(name), frame(text), 1000, 0).dropped_messages).sum()
}

fn texts(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| std::str::from_utf8(&entry.frame).unwrap()).collect()
}

fn entry(text: &str, expires_at_ms: u64, device: Option<&str>) -> Entry {
    Entry { frame: frame(text), expires_at_ms, only_device: device.map(Arc::from) }
}

/// What a device would get now; leaves the buffer as it was.
fn peek(b: &mut OfflineBuffer, name: &str, now: u64) -> Vec<String> {
    let Some(lease) = b.lease(name, "dev", usize::MAX, now) else { return vec![] };
    b.give_back(lease.id);
    texts(&lease.entries).into_iter().map(String::from).collect()
}

#[test]
fn frames_come_out_in_order_and_leave_only_with_the_commit() {
    let mut b = buffer(0, 0, 0);
    put_all(&mut b, "u", &["a", "bb", "c"]);
    let lease = b.lease("u", "dev", usize::MAX, 0).unwrap();
    assert_eq!(texts(&lease.entries), ["a", "bb", "c"]);
    assert_eq!((b.messages(), b.bytes(), b.has("u")), (3, 4, true));
    assert_eq!(b.lease("u", "other", usize::MAX, 0), None, "leased frames are nobody else's");
    b.commit(lease.id);
    assert_eq!((b.messages(), b.bytes(), b.users(), b.has("u")), (0, 0, 0, false));
    b.commit(lease.id);
    b.give_back(lease.id);
    assert_eq!(b.messages(), 0);
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
}

#[test]
fn a_frame_over_the_byte_limit_is_refused_and_disturbs_nothing() {
    let mut b = buffer(0, 3, 1);
    put_all(&mut b, "u", &["a"]);
    assert_eq!(b.put(&user("v"), frame("long"), 1000, 0), Put::default());
    assert_eq!(b.put(&user("u"), frame("long"), 1000, 0), Put::default());
    assert_eq!((b.users(), peek(&mut b, "u", 0)), (1, vec!["a".to_string()]));
    assert!(!b.put(&user("v"), frame("x"), 0, 0).accepted, "dead on arrival");
}

#[test]
fn a_user_too_many_evicts_the_least_recently_written_one_whole() {
    let mut b = buffer(0, 0, 2);
    put_all(&mut b, "a", &["1", "2"]);
    put_all(&mut b, "b", &["3"]);
    put_all(&mut b, "a", &["4"]);
    let put = b.put(&user("c"), frame("5"), 1000, 0);
    assert_eq!((put.accepted, put.evicted_user, put.evicted_messages), (true, Some(user("b")), 1));
    let put = b.put_back(&user("d"), vec![entry("6", 1000, None)], 0);
    assert_eq!((put.accepted, put.evicted_user, put.evicted_messages), (true, Some(user("a")), 3));
    assert_eq!((b.users(), b.messages(), b.bytes()), (2, 2, 2));
}

#[test]
fn expired_frames_go_also_from_behind_a_longer_lived_head() {
    let mut b = buffer(0, 0, 0);
    b.put(&user("u"), frame("long"), 5000, 0);
    b.put(&user("u"), frame("short"), 100, 0);
    b.put(&user("v"), frame("short"), 100, 0);
    assert_eq!((b.next_expiry_ms(), b.expire(99)), (Some(100), 0));
    assert_eq!(b.expire(100), 2);
    assert_eq!((b.users(), b.messages(), b.bytes()), (1, 1, 4));
    assert_eq!(peek(&mut b, "u", 4999), ["long"]);
    assert_eq!(peek(&mut b, "u", 5000), [] as [&str; 0]);
    assert_eq!((b.expire(5000), b.expire(5000), b.next_expiry_ms()), (1, 0, None));
}

#[test]
fn a_lease_takes_at_least_one_frame_and_then_up_to_its_bytes() {
    let cases = [(0, 1), (3, 1), (5, 1), (6, 2), (7, 3), (100, 3)];
    for (max_bytes, count) in cases {
        let mut b = buffer(0, 0, 0);
        put_all(&mut b, "u", &["aaa", "bbb", "c"]);
        assert_eq!(b.lease("u", "dev", max_bytes, 0).unwrap().entries.len(), count, "{max_bytes}");
    }
}

#[test]
fn a_lease_given_back_stands_before_what_came_meanwhile() {
    let mut b = buffer(0, 0, 0);
    put_all(&mut b, "u", &["a", "b"]);
    let first = b.lease("u", "dev", 1, 0).unwrap();
    let second = b.lease("u", "dev", 1, 0).unwrap();
    put_all(&mut b, "u", &["c"]);
    b.give_back(second.id);
    b.give_back(first.id);
    assert_eq!(peek(&mut b, "u", 0), ["a", "b", "c"]);
}

#[test]
fn a_lease_written_in_part_keeps_the_rest() {
    let mut b = buffer(0, 0, 0);
    put_all(&mut b, "u", &["a", "b", "c"]);
    let lease = b.lease("u", "dev", usize::MAX, 0).unwrap();
    b.commit_first(lease.id, 2);
    assert_eq!((peek(&mut b, "u", 0), b.messages()), (vec!["c".to_string()], 1));
}

#[test]
fn leased_frames_that_expire_or_are_dropped_do_not_come_back() {
    let mut b = buffer(2, 0, 0);
    put_all(&mut b, "u", &["a", "b"]);
    let lease = b.lease("u", "dev", usize::MAX, 0).unwrap();
    assert_eq!(put_all(&mut b, "u", &["c"]), 1);
    b.give_back(lease.id);
    assert_eq!(peek(&mut b, "u", 0), ["b", "c"]);
    let lease = b.lease("u", "dev", usize::MAX, 0).unwrap();
    assert_eq!(b.expire(1000), 2);
    b.give_back(lease.id);
    assert_eq!((b.messages(), b.bytes(), b.users()), (0, 0, 0));
}

#[test]
fn frames_put_back_come_first_and_keep_to_their_device() {
    let mut b = buffer(3, 0, 0);
    put_all(&mut b, "u", &["c"]);
    let back = vec![entry("a", 900, Some("dev")), entry("gone", 10, None), entry("b", 900, Some("other"))];
    assert!(b.put_back(&user("u"), back, 10).accepted);
    assert_eq!(peek(&mut b, "u", 10), ["a", "c"]);
    let any = b.lease_any("u", usize::MAX, 10).unwrap();
    assert_eq!(texts(&any.entries), ["a", "b", "c"]);
    b.give_back(any.id);
    let put = b.put_back(&user("u"), vec![entry("x", 900, None), entry("y", 900, None)], 10);
    assert_eq!((put.accepted, put.dropped_messages), (false, 2), "the oldest go, and these are the oldest");
}

#[test]
fn memory_comes_back_after_mass_expiry() {
    let mut b = buffer(0, 0, 0);
    for n in 0..20_000 {
        b.put(&user(&n.to_string()), frame("x"), 1000, 0);
    }
    assert_eq!(b.user_names().count(), 20_000);
    assert_eq!(b.expire(1000), 20_000);
    assert!(b.users.capacity() <= 4 * MIN_CAPACITY, "{}", b.users.capacity());
    assert!(b.by_write.is_empty() && b.by_expiry.is_empty());
}

#[derive(Debug, Clone)]
enum Op {
    Put {
        user: usize,
        len: usize,
        ttl: u64,
    },
    Lease {
        user: usize,
        max_bytes: usize,
    },
    /// Ends the n-th open lease after `count` frames; `put_back`: through commit and `put_back` of the rest.
    End {
        nth: usize,
        count: usize,
        put_back: bool,
    },
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0usize..4, 4usize..24, 1u64..60).prop_map(|(user, len, ttl)| Op::Put { user, len, ttl }),
        3 => (0usize..4, 0usize..60).prop_map(|(user, max_bytes)| Op::Lease { user, max_bytes }),
        3 => (any::<usize>(), 0usize..4, any::<bool>())
            .prop_map(|(nth, count, put_back)| Op::End { nth, count, put_back }),
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

/// Frames are numbered, so that order and loss can be seen.
fn numbered(number: u32, len: usize) -> Bytes {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(len.max(4), 0);
    Bytes::from(bytes)
}

fn number(entry: &Entry) -> u32 {
    u32::from_be_bytes(entry.frame[..4].try_into().unwrap())
}

fn held(b: &OfflineBuffer, name: &str) -> Vec<u32> {
    b.users.get(name).map_or(vec![], |queue| queue.slots.iter().map(|slot| number(&slot.entry)).collect())
}

fn check_books(b: &OfflineBuffer) -> Result<(), TestCaseError> {
    let mut total = (0, 0);
    for (name, queue) in &b.users {
        let bytes: usize = queue.slots.iter().map(|slot| slot.entry.frame.len()).sum();
        prop_assert!(!queue.slots.is_empty() && bytes == queue.bytes);
        prop_assert!(!exceeds(queue.slots.len(), b.limits.max_messages_per_user));
        prop_assert!(!exceeds(bytes, b.limits.max_bytes_per_user));
        prop_assert_eq!(b.by_write.get(&queue.written), Some(name));
        total = (total.0 + queue.slots.len(), total.1 + bytes);
    }
    prop_assert!(!exceeds(b.users(), b.limits.max_users));
    prop_assert_eq!((b.messages(), b.bytes(), b.by_write.len()), (total.0, total.1, b.users()));
    Ok(())
}

proptest! {
    /// Never over a limit; order kept; every accepted frame is held, committed, dropped as oldest, evicted or expired,
    /// and the reported numbers say which.
    #[test]
    fn nothing_is_lost_but_what_is_reported(ops in ops(), limits in limits()) {
        let mut b = OfflineBuffer::new(limits);
        let names: Vec<_> = ["a", "b", "c", "d"].map(user).into();
        let (mut now, mut next) = (0, 0u32);
        let mut open: Vec<(usize, Lease)> = vec![];
        let (mut accepted, mut taken, mut reported) = (0, 0, 0);
        for op in ops {
            match op {
                Op::Wait(ms) => now += ms,
                Op::Put { user, len, ttl } => {
                    let put = b.put(&names[user], numbered(next, len), ttl, now);
                    prop_assert_eq!(put.accepted, !exceeds(len, limits.max_bytes_per_user));
                    prop_assert!(!put.accepted || held(&b, &names[user]).last() == Some(&next));
                    accepted += usize::from(put.accepted);
                    reported += put.dropped_messages + put.evicted_messages;
                    next += 1;
                }
                Op::Lease { user, max_bytes } => {
                    if let Some(lease) = b.lease(&names[user], "dev", max_bytes, now) {
                        let bytes: usize = lease.entries.iter().map(|e| e.frame.len()).sum();
                        prop_assert!(lease.entries.len() == 1 || bytes <= max_bytes);
                        prop_assert!(lease.entries.iter().all(|e| e.expires_at_ms > now));
                        let ids: BTreeSet<u32> = lease.entries.iter().map(number).collect();
                        let others = open.iter().flat_map(|(_, l)| &l.entries);
                        prop_assert!(others.map(number).all(|n| !ids.contains(&n)), "leased twice");
                        open.push((user, lease));
                    }
                }
                Op::End { nth, count, put_back } if !open.is_empty() => {
                    let (user, lease) = open.remove(nth % open.len());
                    reported += b.expire(now);
                    let before = b.messages();
                    if put_back {
                        b.commit(lease.id);
                        taken += before - b.messages();
                        let rest: Vec<_> = lease.entries.into_iter().skip(count).collect();
                        let alive = rest.iter().filter(|e| e.expires_at_ms > now).count();
                        let before = b.messages();
                        let put = b.put_back(&names[user], rest, now);
                        prop_assert_eq!(before + alive, b.messages() + put.dropped_messages + put.evicted_messages);
                        accepted += alive;
                        reported += put.dropped_messages + put.evicted_messages;
                    } else {
                        let waiting = held(&b, &names[user]);
                        b.commit_first(lease.id, count);
                        taken += before - b.messages();
                        let gone: BTreeSet<u32> = lease.entries.iter().take(count).map(number).collect();
                        let want: Vec<u32> = waiting.into_iter().filter(|n| !gone.contains(n)).collect();
                        prop_assert_eq!(held(&b, &names[user]), want);
                    }
                }
                Op::End { .. } => {}
            }
            reported += b.expire(now);
            check_books(&b)?;
        }
        prop_assert_eq!(accepted, taken + reported + b.messages());
    }

    /// Leases given back in any order leave the buffer as it was.
    #[test]
    fn leases_given_back_restore_everything_in_order(
        lens in prop::collection::vec(4usize..20, 1..30), sizes in prop::collection::vec(0usize..80, 1..8), seed in any::<usize>(),
    ) {
        let mut b = buffer(0, 0, 0);
        for (n, len) in lens.iter().enumerate() {
            b.put(&user("u"), numbered(n as u32, *len), 1000, 0);
        }
        let (want, bytes) = (held(&b, "u"), b.bytes());
        let mut open: Vec<_> = sizes.iter().filter_map(|max| b.lease("u", "dev", *max, 0)).collect();
        while !open.is_empty() {
            let lease = open.swap_remove(seed % open.len());
            b.give_back(lease.id);
        }
        let all = b.lease("u", "dev", usize::MAX, 0).unwrap();
        prop_assert_eq!(all.entries.iter().map(number).collect::<Vec<_>>(), want);
        prop_assert_eq!(b.bytes(), bytes);
    }
}
