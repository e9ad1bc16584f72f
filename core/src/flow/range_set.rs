//! A set of numbers kept as ranges, for sequence numbers and message numbers.

use alloc::collections::BTreeMap;
use core::ops::Bound;

/// What a tree takes at least: one node.
const NODE: usize = 192;
/// What each range in a tree takes at most, as nodes are at least five elevenths full.
const ENTRY: usize = 48;

/// How a number fits into a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fit {
    /// It is in the set.
    Inside,
    /// It is next to a range, which it would make longer.
    Adjoins,
    /// It would be a range of its own.
    Apart,
}

/// An ordered set of `u64`, as inclusive ranges that neither overlap nor touch.
///
/// The lowest range stands apart, so that a set without gaps allocates nothing. Every operation takes O(log n) in the
/// number of ranges, amortised. How many ranges there may be is for the owner to limit, by
/// [`memory`](Self::memory) and [`cost`](Self::cost).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct RangeSet {
    lowest: Option<(u64, u64)>,
    /// The other ranges, from their first number to their last.
    above: BTreeMap<u64, u64>,
    /// How many ranges were looked at, ever.
    #[cfg(test)]
    pub(crate) visited: core::cell::Cell<usize>,
}

impl RangeSet {
    /// The empty set.
    pub(crate) const fn new() -> Self {
        Self {
            lowest: None,
            above: BTreeMap::new(),
            #[cfg(test)]
            visited: core::cell::Cell::new(0),
        }
    }

    /// How many gaps there are between ranges.
    pub(crate) fn gaps(&self) -> usize {
        self.above.len()
    }

    /// The most memory that it has allocated, in bytes.
    pub(crate) fn memory(&self) -> usize {
        memory_of(self.above.len())
    }

    /// By how much [`memory`](Self::memory) grows if a value that fits so is inserted.
    pub(crate) fn cost(&self, fit: Fit) -> usize {
        match fit {
            Fit::Inside | Fit::Adjoins => 0,
            Fit::Apart if self.lowest.is_none() => 0,
            Fit::Apart => memory_of(self.above.len() + 1) - self.memory(),
        }
    }

    /// The ranges in ascending order.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.lowest.into_iter().chain(self.above_from(0))
    }

    /// The lowest range.
    pub(crate) const fn first(&self) -> Option<(u64, u64)> {
        self.lowest
    }

    /// The highest range.
    pub(crate) fn last(&self) -> Option<(u64, u64)> {
        self.above.last_key_value().map(|(&from, &to)| (from, to)).or(self.lowest)
    }

    /// The ranges but the lowest that begin at `from` or above, in ascending order.
    pub(crate) fn above_from(&self, from: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.above.range(from..).map(|(&from, &to)| {
            #[cfg(test)]
            self.visited.update(|visited| visited + 1);
            (from, to)
        })
    }

    /// The range, other than the lowest, that `value` is in.
    pub(crate) fn above_with(&self, value: u64) -> Option<(u64, u64)> {
        self.above.range(..=value).next_back().map(|(&from, &to)| (from, to)).filter(|&(_, to)| value <= to)
    }

    /// Whether `value` is in the set.
    pub(crate) fn contains(&self, value: u64) -> bool {
        self.contains_all(value, value)
    }

    /// Whether every number from `from` to `to`, both included, is in the set.
    pub(crate) fn contains_all(&self, from: u64, to: u64) -> bool {
        let covers = |range: (u64, u64)| range.0 <= from && to <= range.1;
        self.lowest.is_some_and(covers) || self.above_with(from).is_some_and(covers)
    }

    /// How `value` fits in.
    #[inline]
    pub(crate) fn fit(&self, value: u64) -> Fit {
        let fit = self.lowest.map_or(Fit::Apart, |lowest| fit_to(lowest, value));
        if fit == Fit::Apart && !self.above.is_empty() { self.fit_above(value) } else { fit }
    }

    /// How `value`, which is apart from the lowest range, fits in with the others.
    fn fit_above(&self, value: u64) -> Fit {
        let mut nearest = self.above.range(..=value.saturating_add(1)).rev().map(|(&from, &to)| (from, to));
        match nearest.next() {
            // It may end the range below, too.
            Some((from, _)) if from > value => Fit::Adjoins,
            Some(range) => fit_to(range, value),
            None => Fit::Apart,
        }
    }

    /// Adds every number from `from` to `to`, both included. Nothing happens if `from` is above `to`.
    pub(crate) fn insert(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        let Some(lowest) = &mut self.lowest else {
            self.lowest = Some((from, to));
            return;
        };
        if to.saturating_add(1) < lowest.0 {
            self.above.insert(lowest.0, lowest.1);
            *lowest = (from, to);
        } else if from <= lowest.1.saturating_add(1) {
            *lowest = (lowest.0.min(from), lowest.1.max(to));
            if self.above.is_empty() {
                return;
            }
            while let Some(next) = self.above.first_entry().filter(|next| *next.key() <= lowest.1.saturating_add(1)) {
                lowest.1 = lowest.1.max(next.remove());
            }
        } else {
            self.insert_above(from, to);
        }
    }

    /// Adds what neither touches the lowest range nor is below it.
    fn insert_above(&mut self, from: u64, to: u64) {
        let below = self.above.range_mut(..=from).next_back();
        let longer = below.filter(|(_, last)| from <= last.saturating_add(1)).map(|(&first, last)| {
            *last = to.max(*last);
            (first, *last)
        });
        let (begin, reached) = longer.unwrap_or((from, to));
        let mut end = reached;
        while let Some((&next, &last)) = self.above.range((Bound::Excluded(begin), Bound::Unbounded)).next()
            && next <= end.saturating_add(1)
        {
            self.above.remove(&next);
            end = end.max(last);
        }
        if longer.is_none() || end > reached {
            self.above.insert(begin, end);
        }
    }

    /// Takes out the lowest range.
    pub(crate) fn remove_lowest_range(&mut self) {
        self.lowest = self.above.pop_first();
    }

    /// Takes out all ranges but the lowest.
    pub(crate) fn keep_lowest_range(&mut self) {
        self.above = BTreeMap::new();
    }
}

fn fit_to((from, to): (u64, u64), value: u64) -> Fit {
    if from <= value && value <= to {
        Fit::Inside
    } else if from <= value.saturating_add(1) && value.saturating_sub(1) <= to {
        Fit::Adjoins
    } else {
        Fit::Apart
    }
}

/// What a tree of so many ranges takes at most.
const fn memory_of(ranges: usize) -> usize {
    if ranges == 0 { 0 } else { NODE - ENTRY + ranges * ENTRY }
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
                let mut probe = set.clone();
                probe.insert(from, from);
                let before = set.iter().count();
                let fit = set.fit(from);
                assert_eq!(fit == Fit::Inside, model.contains(&from));
                assert_eq!(fit == Fit::Apart, probe.iter().count() > before);
                assert_eq!(set.cost(fit), probe.memory().saturating_sub(set.memory()));
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
                    && set.gaps() == ranges.len().saturating_sub(1)
                    && set.above_from(20).eq(ranges.iter().skip(1).copied().filter(|range| range.0 >= 20))
                    && (0..270).all(|value| {
                        set.above_with(value) == ranges.iter().skip(1).copied().find(|r| r.0 <= value && value <= r.1)
                    })
            })
        }
    }

    #[test]
    fn the_lowest_range_can_be_taken_out() {
        let mut set = RangeSet::new();
        for (from, to) in [(1, 1), (5, 6), (9, 9)] {
            set.insert(from, to);
        }
        for left in [&[(5, 6), (9, 9)][..], &[(9, 9)], &[], &[]] {
            set.remove_lowest_range();
            assert_eq!(set.iter().collect::<Vec<_>>(), left);
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
        assert_eq!(set.fit(u64::MAX), Fit::Inside);
        set.insert(5, 4);
        assert_eq!((set.gaps(), set.memory()), (0, 0));
    }
}
