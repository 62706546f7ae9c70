//! Which messages of one sender were seen: once, again, or out of their order. One bit per message.

/// A growing set of small numbers.
#[derive(Debug, Default)]
pub(crate) struct BitSet(Vec<u64>);

impl BitSet {
    /// Adds `n`; false when it was in already.
    pub fn insert(&mut self, n: u64) -> bool {
        let (word, bit) = ((n / 64) as usize, 1 << (n % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let fresh = self.0[word] & bit == 0;
        self.0[word] |= bit;
        fresh
    }

    /// How many of `self` are not in `other`.
    pub fn missing_in(&self, other: &BitSet) -> u64 {
        let theirs = other.0.iter().chain(std::iter::repeat(&0));
        self.0.iter().zip(theirs).map(|(mine, theirs)| u64::from((mine & !theirs).count_ones())).sum()
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    InOrder,
    Late,
    Again,
}

/// What one receiver got from one sender.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    pub seen: BitSet,
    /// One above the highest number seen.
    next: u64,
}

impl Tracker {
    /// Numbers may have gaps (those are found at the end); a lower number after a higher one is late.
    pub fn arrive(&mut self, seq: u64) -> Arrival {
        if !self.seen.insert(seq) {
            return Arrival::Again;
        }
        if seq < self.next {
            return Arrival::Late;
        }
        self.next = seq + 1;
        Arrival::InOrder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_told_apart_and_gaps_are_counted() {
        let mut tracker = Tracker::default();
        let arrivals: Vec<_> = [0, 1, 3, 2, 3, 200].into_iter().map(|n| tracker.arrive(n)).collect();
        use Arrival::*;
        assert_eq!(arrivals, [InOrder, InOrder, InOrder, Late, Again, InOrder]);
        let mut acked = BitSet::default();
        (0..5).chain([200, 500]).for_each(|n| assert!(acked.insert(n)));
        assert_eq!(acked.missing_in(&tracker.seen), 2);
        assert_eq!(acked.missing_in(&BitSet::default()), 7);
        assert_eq!(BitSet::default().missing_in(&acked), 0);
    }
}
