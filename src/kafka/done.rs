//! Which dead letters of a partition were sent again. Kept at the broker as the committed offset of a consumer group, with
//! the ranges above it in the commit's metadata: one commit changes both. Must not talk to a broker.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Brokers take 4096 bytes of metadata by default (`offset.metadata.max.bytes`).
const MOST_BYTES: usize = 4096;
/// First word of the metadata; another one is not ours.
const VERSION: &str = "mics1";

/// A set of offsets: all below `next`, and ranges above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    next: i64,
    /// Start to end (not included); apart from each other and from `next`.
    ranges: BTreeMap<i64, i64>,
}

impl Done {
    /// What a commit says. Metadata of someone else counts as none.
    pub fn read(next: i64, metadata: &str) -> Done {
        let mut done = Done { next: next.max(0), ranges: BTreeMap::new() };
        let mut words = metadata.split(' ');
        if words.next() != Some(VERSION) {
            return done;
        }
        let mut at = done.next;
        for word in words {
            let pair = word.split_once('+').and_then(|(gap, length)| Some((gap.parse().ok()?, length.parse().ok()?)));
            let Some((gap, length)): Option<(i64, i64)> = pair.filter(|(gap, length)| *gap > 0 && *length > 0) else {
                break;
            };
            done.ranges.insert(at + gap, at + gap + length);
            at += gap + length;
        }
        done
    }

    /// Offset and metadata to commit; `None` = too scattered to be written down.
    pub fn write(&self) -> Option<(i64, String)> {
        let (mut text, mut at) = (VERSION.to_owned(), self.next);
        for (start, end) in &self.ranges {
            let _ = write!(text, " {}+{}", start - at, end - start);
            at = *end;
        }
        (text.len() <= MOST_BYTES).then_some((self.next, text))
    }

    pub fn contains(&self, offset: i64) -> bool {
        offset < self.next || self.ranges.range(..=offset).next_back().is_some_and(|(_, end)| offset < *end)
    }

    pub fn insert(&mut self, offset: i64) {
        if self.contains(offset) {
            return;
        }
        let (mut start, mut end) = (offset, offset + 1);
        let before = self.ranges.range(..offset).next_back().map(|(s, e)| (*s, *e));
        if let Some((before, _)) = before.filter(|(_, until)| *until == start) {
            self.ranges.remove(&before);
            start = before;
        }
        if let Some(after) = self.ranges.remove(&end) {
            end = after;
        }
        if start == self.next {
            self.next = end;
        } else {
            self.ranges.insert(start, end);
        }
    }

    /// The broker has nothing below `low` any more.
    pub fn forget_below(&mut self, low: i64) {
        self.next = self.next.max(low);
        while let Some((start, end)) = self.ranges.first_key_value().map(|(s, e)| (*s, *e)) {
            if start > self.next {
                break;
            }
            self.ranges.remove(&start);
            self.next = self.next.max(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_that_was_put_in_and_survives_the_broker(
            offsets in prop::collection::vec(0..60_i64, 0..80), start in 0..20_i64, low in 0..70_i64,
        ) {
            let mut done = Done::read(start, "");
            let mut plain: BTreeSet<i64> = (0..start).collect();
            for offset in offsets {
                done.insert(offset);
                plain.insert(offset);
            }
            let (next, text) = done.write().unwrap();
            prop_assert_eq!(&Done::read(next, &text), &done);
            (0..80).for_each(|n| assert_eq!(done.contains(n), plain.contains(&n), "{n}"));
            done.forget_below(low);
            (0..80).for_each(|n| assert_eq!(done.contains(n), n < low || plain.contains(&n), "{n}"));
            let (next, text) = done.write().unwrap();
            prop_assert_eq!(&Done::read(next, &text), &done);
        }
    }

    #[test]
    fn what_others_wrote_is_no_range() {
        for text in ["", "someone else", "mics2 3+4", "mics1 x", "mics1 0+4", "mics1 3+-1"] {
            assert_eq!(Done::read(5, text), Done { next: 5, ranges: BTreeMap::new() }, "{text}");
        }
        assert_eq!(Done::read(-1001, ""), Done::default());
    }

    #[test]
    fn too_many_gaps_are_said_and_not_cut_off() {
        let mut done = Done::default();
        (0..800).for_each(|n| done.insert(n * 2 + 1));
        assert!(done.write().is_some());
        (800..2_000).for_each(|n| done.insert(n * 2 + 1));
        assert_eq!(done.write(), None);
        (0..2_000).for_each(|n| done.insert(n * 2));
        assert_eq!(done.write(), Some((4_000, "mics1".to_owned())));
    }
}
