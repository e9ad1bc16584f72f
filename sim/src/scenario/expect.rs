//! Expectations: `stall(a->b) <= 2rtt + 4ms`. A closed grammar: metric, comparison, quantity.

use core::fmt;
use core::str::FromStr;

use super::units::{Dimension, Quantity};

/// Every metric: name, what it measures, what it takes, and what it means.
pub const METRICS: [(&str, Dimension, Subject, &str); 37] = [
    ("opened", Dimension::Time, Subject::Pair, "when the session from a to b was open at a, from its start"),
    ("accepted", Dimension::Time, Subject::Pair, "when the session from a to b was open at b, from its start"),
    ("failed", Dimension::Time, Subject::Pair, "when the opening of the session from a to b failed, from its start"),
    ("opens", Dimension::Count, Subject::Pair, "sessions between a and b that opened, as a saw it"),
    ("failures", Dimension::Count, Subject::Pair, "sessions from a to b that failed to open"),
    (
        "closed",
        Dimension::Count,
        Subject::Pair,
        "sessions between a and b that closed after they were open, as a saw it",
    ),
    ("agrees", Dimension::Count, Subject::Pair, "1 if a session opened exactly if a direct path is possible, else 0"),
    ("path-changes", Dimension::Count, Subject::Node, "verified changes of a far address seen by the node"),
    ("sessions", Dimension::Count, Subject::Node, "sessions that are open at the node in the end"),
    ("sessions-opened", Dimension::Count, Subject::Node, "sessions that were opened at the node"),
    ("state", Dimension::Count, Subject::Node, "sessions that the node has in any state in the end"),
    ("first-byte", Dimension::Time, Subject::Work, "when the first message was delivered, from the work's start"),
    ("finished", Dimension::Time, Subject::Work, "when the last message was delivered, from the work's start"),
    ("delivered", Dimension::Bytes, Subject::Work, "bytes of messages delivered"),
    ("messages", Dimension::Count, Subject::Work, "messages delivered"),
    ("written", Dimension::Count, Subject::Work, "messages written"),
    ("lost", Dimension::Count, Subject::Work, "messages written and not delivered"),
    ("late", Dimension::Count, Subject::Work, "messages delivered after their lifetime"),
    ("on-time", Dimension::Ratio, Subject::Work, "share of the messages written that were delivered in their lifetime"),
    (
        "stall",
        Dimension::Time,
        Subject::Work,
        "the longest time between two deliveries, or from the last one to the end if more was to come",
    ),
    ("stall-after", Dimension::Time, Subject::Work, "time from the end of the last event to the next delivery"),
    (
        "goodput",
        Dimension::Rate,
        Subject::Work,
        "bits delivered over the time from the work's start to its last delivery",
    ),
    ("latency-mean", Dimension::Time, Subject::Work, "mean time from write to delivery"),
    ("latency-p50", Dimension::Time, Subject::Work, "median time from write to delivery"),
    ("latency-p95", Dimension::Time, Subject::Work, "95th percentile of the time from write to delivery"),
    ("latency-p99", Dimension::Time, Subject::Work, "99th percentile of the time from write to delivery"),
    ("latency-max", Dimension::Time, Subject::Work, "longest time from write to delivery"),
    ("timeouts", Dimension::Count, Subject::Node, "retransmission timeouts of the node's open sessions"),
    ("repeated", Dimension::Count, Subject::Node, "fragments that the node's open sessions found lost"),
    ("received", Dimension::Bytes, Subject::Node, "bytes of cross traffic that the sink received, each packet once"),
    ("packets", Dimension::Count, Subject::Lane, "packets that entered the lane"),
    ("dropped", Dimension::Count, Subject::Lane, "packets that the lane lost"),
    (
        "utilisation",
        Dimension::Ratio,
        Subject::Lane,
        "share of the lane's rate that was used from first to last packet",
    ),
    (
        "queue-p95",
        Dimension::Time,
        Subject::Lane,
        "95th percentile of the time packets waited and were sent in the lane",
    ),
    ("queue-mean", Dimension::Time, Subject::Lane, "mean time that packets waited and were sent in the lane"),
    ("largest", Dimension::Bytes, Subject::Lane, "the largest IP packet that entered the lane"),
    ("fairness", Dimension::Ratio, Subject::All, "Jain's index of the goodput of all bulk works"),
];

/// What a metric takes in its parentheses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// `a->b`, or the name of the work that opens the session.
    Pair,
    /// The name of a work, or `a->b` if only one work has these ends.
    Work,
    /// A node.
    Node,
    /// A direction of a link: `wan.up` or `wan.down`.
    Lane,
    /// Nothing.
    All,
}

impl Subject {
    /// A word for listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Work => "work",
            Self::Node => "node",
            Self::Lane => "lane",
            Self::All => "all",
        }
    }
}

/// How a metric and a quantity compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
    /// `>=`
    AtLeast,
    /// `>`
    More,
}

const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<", Comparison::Less),
    (">", Comparison::More),
];

impl Comparison {
    /// Whether it holds.
    #[must_use]
    pub const fn holds(self, left: i128, right: i128) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Equal => left == right,
            Self::Unequal => left != right,
            Self::AtLeast => left >= right,
            Self::More => left > right,
        }
    }
}

/// One expectation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expect {
    /// The metric's place in [`METRICS`].
    metric: usize,
    /// What it is about, as written; empty for [`Subject::All`].
    pub subject: String,
    /// How it compares.
    pub comparison: Comparison,
    /// With what.
    pub quantity: Quantity,
    /// The expectation of a crowd that this is for one member.
    pub written_for_crowd: Option<String>,
}

impl Expect {
    /// The metric's name.
    #[must_use]
    pub fn metric(&self) -> &'static str {
        METRICS.get(self.metric).map_or("", |(name, ..)| name)
    }

    /// What the metric measures.
    #[must_use]
    pub const fn dimension(&self) -> Dimension {
        self.quantity.dimension
    }

    /// What its parentheses hold.
    #[must_use]
    pub fn takes(&self) -> Subject {
        METRICS.get(self.metric).map_or(Subject::All, |(_, _, subject, _)| *subject)
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric())?;
        if self.takes() != Subject::All {
            write!(f, "({})", self.subject)?;
        }
        let sign =
            COMPARISONS.iter().find(|(_, comparison)| *comparison == self.comparison).map_or("", |(sign, _)| sign);
        write!(f, " {sign} {}", self.quantity)
    }
}

impl FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The arrow of `a->b` is no comparison.
        let search_from = text.find(')').unwrap_or(0);
        let (head, tail) = text.split_at_checked(search_from).unwrap_or(("", text));
        let (sign_at, sign, comparison) = COMPARISONS
            .iter()
            .filter_map(|&(sign, comparison)| tail.find(sign).map(|at| (at, sign, comparison)))
            .min_by_key(|&(at, sign, _)| (at, core::cmp::Reverse(sign.len())))
            .ok_or_else(|| format!("`{text}` compares nothing: <, <=, ==, !=, >=, >"))?;
        let (middle, quantity) = tail.split_at_checked(sign_at).unwrap_or((tail, ""));
        let quantity: Quantity = quantity.strip_prefix(sign).unwrap_or(quantity).parse()?;
        let left = format!("{head}{middle}");
        let left = left.trim();
        let (name, subject) = match left.split_once('(') {
            Some((name, rest)) => (name.trim(), rest.strip_suffix(')').ok_or("a `)` is missing")?.trim()),
            None => (left, ""),
        };
        let Some(metric) = METRICS.iter().position(|(known, ..)| *known == name) else {
            return Err(format!("`{name}` is no metric; `rtmfp-sim show metrics` lists them"));
        };
        let this = Self { metric, subject: subject.to_owned(), comparison, quantity, written_for_crowd: None };
        let dimension = METRICS.get(metric).map_or(Dimension::Count, |(_, dimension, ..)| *dimension);
        if dimension != quantity.dimension {
            return Err(format!("`{name}` is {dimension}, and `{quantity}` is {}", quantity.dimension));
        }
        if (this.takes() == Subject::All) != subject.is_empty() {
            return Err(format!("`{left}`: what is in parentheses does not fit"));
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_round_trip() {
        for text in [
            "stall(a->b) <= 2rtt + 4ms",
            "delivered(a->b) == 20MB",
            "on-time(film) > 99.9%",
            "fairness >= 95%",
            "packets(wan.up) < 5",
            "opened(a->b) != 0s",
        ] {
            assert_eq!(text.parse::<Expect>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("stall(a->b) <= 5MB", "a time"),
            ("stal(a->b) <= 5ms", "stal"),
            ("stall(a->b)", "compares"),
            ("stall <= 5ms", "parentheses"),
            ("fairness(a) >= 95%", "parentheses"),
            ("delivered(a->b) == 20 parsec", "parsec"),
        ] {
            let error = text.parse::<Expect>().expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
