//! A set of numbers kept as ranges, for sequence numbers and message numbers.

use alloc::collections::VecDeque;

/// An ordered set of `u64`, as inclusive ranges that neither overlap nor touch.
///
/// Queries are binary searches; an insertion moves at most half of the ranges. How many ranges there may be is for
/// the owner to limit, by asking [`would_add_range`](Self::would_add_range) first.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct RangeSet {
    ranges: VecDeque<(u64, u64)>,
}

impl RangeSet {
    /// The empty set.
    pub(crate) const fn new() -> Self {
        Self { ranges: VecDeque::new() }
    }

    /// How many ranges there are.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The ranges in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().copied()
    }

    /// The lowest range.
    pub(crate) fn first(&self) -> Option<(u64, u64)> {
        self.ranges.front().copied()
    }

    /// The highest range.
    pub(crate) fn last(&self) -> Option<(u64, u64)> {
        self.ranges.back().copied()
    }

    /// Whether `value` is in the set.
    pub(crate) fn contains(&self, value: u64) -> bool {
        self.ranges.get(self.position(value)).is_some_and(|&(from, _)| from <= value)
    }

    /// Whether every number from `from` to `to`, both included, is in the set.
    pub(crate) fn contains_all(&self, from: u64, to: u64) -> bool {
        self.ranges.get(self.position(from)).is_some_and(|range| range.0 <= from && to <= range.1)
    }

    /// Whether inserting `value` would make one range more.
    pub(crate) fn would_add_range(&self, value: u64) -> bool {
        let touched = self.position(value.saturating_sub(1));
        self.ranges.get(touched).is_none_or(|&(from, _)| from > value.saturating_add(1))
    }

    /// Adds every number from `from` to `to`, both included. Nothing happens if `from` is above `to`.
    pub(crate) fn insert(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        // In order, the new number continues the last range.
        if let Some(last) = self.ranges.back_mut()
            && last.0 <= from
            && from <= last.1.saturating_add(1)
        {
            last.1 = last.1.max(to);
            return;
        }
        // The first range that reaches up to `from - 1`, and the first that begins behind `to + 1`.
        let begin = self.position(from.saturating_sub(1));
        let end = self.ranges.partition_point(|&(first, _)| first <= to.saturating_add(1)).max(begin);
        if begin == end {
            self.ranges.insert(begin, (from, to));
            return;
        }
        let upper = self.ranges.get(end - 1).map_or(to, |&(_, last)| last.max(to));
        if let Some(range) = self.ranges.get_mut(begin) {
            *range = (range.0.min(from), upper);
        }
        self.ranges.drain(begin + 1..end);
    }

    /// Takes out the lowest range.
    pub(crate) fn remove_lowest_range(&mut self) {
        self.ranges.pop_front();
    }

    /// Index of the first range that ends at `value` or above.
    fn position(&self, value: u64) -> usize {
        self.ranges.partition_point(|&(_, to)| to < value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use quickcheck::quickcheck;

    fn model_ranges(model: &BTreeSet<u64>) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for &value in model {
            match ranges.last_mut() {
                Some(last) if last.1 + 1 == value => last.1 = value,
                _ => ranges.push((value, value)),
            }
        }
        ranges
    }

    quickcheck! {
        fn it_is_a_set(inserts: Vec<(u8, u8)>) -> bool {
            let mut set = RangeSet::new();
            let mut model = BTreeSet::new();
            inserts.into_iter().all(|(from, length)| {
                let (from, to) = (u64::from(from), u64::from(from) + u64::from(length % 6));
                let adds = set.would_add_range(from);
                if from == to {
                    let before = set.len();
                    let mut probe = set.clone();
                    probe.insert(from, from);
                    assert_eq!(adds, probe.len() > before);
                }
                set.insert(from, to);
                model.extend(from..=to);
                let ranges = model_ranges(&model);
                ranges == set.iter().collect::<Vec<_>>()
                    && (0..270).all(|value| set.contains(value) == model.contains(&value))
                    && (0..270).step_by(7).all(|low| (low..low + 9).all(|high| {
                        set.contains_all(low, high) == (low..=high).all(|value| model.contains(&value))
                    }))
                    && set.first() == ranges.first().copied()
                    && set.last() == ranges.last().copied()
            })
        }
    }

    #[test]
    fn the_ends_of_the_number_space_are_ordinary_members() {
        let mut set = RangeSet::new();
        set.insert(u64::MAX, u64::MAX);
        set.insert(0, 0);
        assert_eq!(set.iter().collect::<Vec<_>>(), [(0, 0), (u64::MAX, u64::MAX)]);
        assert!(set.contains(u64::MAX) && !set.contains(u64::MAX - 1));
        set.insert(1, u64::MAX - 1);
        assert_eq!(set.iter().collect::<Vec<_>>(), [(0, u64::MAX)]);
        assert!(!set.would_add_range(u64::MAX));
        set.insert(5, 4);
        assert_eq!(set.len(), 1);
    }
}
