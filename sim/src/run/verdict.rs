//! What a run comes to: expectations that hold or do not, and invariants that were broken.

use core::fmt;

use crate::scenario::Expect;
use crate::scenario::units::{Dimension, show};

/// Of the members of a crowd for which an expectation does not hold, so many are named.
const NAMED: usize = 5;

/// An expectation, what was measured, and whether it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The expectation; of one member, if it was written for a crowd.
    pub expectation: String,
    /// The expectation as it stands in the scenario.
    pub written: String,
    /// Whether it holds.
    pub holds: bool,
    /// What was measured, in billionths of the base unit; none if what it measures never happened.
    pub value: Option<i128>,
    dimension: Dimension,
}

impl Verdict {
    pub(super) fn new(expect: &Expect, value: Option<i128>, holds: bool) -> Self {
        let expectation = expect.to_string();
        let written = expect.written_for_crowd.clone().unwrap_or_else(|| expectation.clone());
        Self { expectation, written, holds, value, dimension: expect.dimension() }
    }

    /// What was measured, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(self.dimension, self.value)
    }
}

fn shown(dimension: Dimension, value: Option<i128>) -> String {
    value.map_or_else(|| "nothing: it never happened".to_owned(), |value| show(dimension, value))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = if self.holds { "and" } else { "but" };
        write!(f, "{}, {join} it is {}", self.expectation, self.shown())
    }
}

/// What was measured for one expectation, for people: a value, or the least and the greatest.
#[must_use]
pub fn range<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> Option<String> {
    let mut verdicts = verdicts.into_iter();
    let first = verdicts.next()?;
    let (least, greatest) = verdicts.fold((first.value, first.value), |(least, greatest), verdict| {
        (least.min(verdict.value), greatest.max(verdict.value))
    });
    let mut text = shown(first.dimension, least);
    if least != greatest {
        text.push_str(" to ");
        text.push_str(&shown(first.dimension, greatest));
    }
    Some(text)
}

/// Verdicts that say the same of several members of a crowd, or a single one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoldedVerdict {
    /// The expectation: of the member if there is one, else as it stands in the scenario.
    pub expectation: String,
    /// What was measured, for people: a value, or the least and the greatest.
    pub shown: String,
    /// Whether it holds.
    pub holds: bool,
    /// How many verdicts this is.
    pub count: usize,
}

impl FoldedVerdict {
    fn of(group: &[&Verdict]) -> Option<Self> {
        let first = group.first()?;
        let shown = range(group.iter().copied())?;
        let expectation = if group.len() == 1 { &first.expectation } else { &first.written };
        Some(Self { expectation: expectation.clone(), shown, holds: first.holds, count: group.len() })
    }
}

impl fmt::Display for FoldedVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.holds { "ok " } else { "NOT" };
        write!(f, "{word} {}   ({}", self.expectation, self.shown)?;
        if self.count > 1 {
            write!(f, "; {} times", self.count)?;
        }
        f.write_str(")")
    }
}

/// Verdicts in their order, where one line stands for all members of a crowd for which an expectation holds. Of those for
/// which it does not, the first few have lines of their own.
#[must_use]
pub fn folded(verdicts: &[Verdict]) -> Vec<FoldedVerdict> {
    let mut lines = Vec::new();
    for group in verdicts.chunk_by(|a, b| a.written == b.written) {
        let (hold, broken): (Vec<&Verdict>, Vec<&Verdict>) = group.iter().partition(|verdict| verdict.holds);
        let (named, rest) = broken.split_at(broken.len().min(NAMED));
        lines.extend(FoldedVerdict::of(&hold));
        lines.extend(named.iter().filter_map(|verdict| FoldedVerdict::of(&[verdict])));
        lines.extend(FoldedVerdict::of(rest));
    }
    lines
}

/// What went wrong in a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// An expectation did not hold.
    Expectation(Verdict),
    /// An invariant was broken.
    Invariant(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expectation(verdict) => write!(f, "expected {verdict}"),
            Self::Invariant(text) => write!(f, "invariant {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(member: u32, value: Option<i128>, holds: bool) -> Verdict {
        let written = "opens(peer->i) == 1".to_owned();
        let expectation = format!("opens(peer{member}->i) == 1");
        Verdict { expectation, written, holds, value, dimension: Dimension::Count }
    }

    #[test]
    fn equal_verdicts_of_a_crowd_are_one_line() {
        let one = Some(1_000_000_000);
        let all: Vec<Verdict> = (1..=500).map(|member| verdict(member, one, true)).collect();
        let lines: Vec<String> = folded(&all).iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["ok  opens(peer->i) == 1   (1; 500 times)"]);
        assert_eq!(folded(&all[..1])[0].to_string(), "ok  opens(peer1->i) == 1   (1)");
    }

    #[test]
    fn of_those_that_do_not_hold_the_first_few_are_named() {
        let value = |member| (member % 10 != 0).then_some(i128::from(member % 7) * 1_000_000_000);
        let all: Vec<Verdict> = (1..=100).map(|member| verdict(member, value(member), member > 60)).collect();
        let lines: Vec<String> = folded(&all).iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 1 + NAMED + 1, "{lines:?}");
        assert_eq!(lines[0], "ok  opens(peer->i) == 1   (nothing: it never happened to 6; 40 times)");
        assert_eq!(lines[1], "NOT opens(peer1->i) == 1   (1)");
        assert_eq!(lines[6], "NOT opens(peer->i) == 1   (nothing: it never happened to 6; 55 times)");
    }
}
