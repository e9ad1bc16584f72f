//! Finding failures, and making them small.

mod shrink;
mod swarm;

use core::fmt;

pub use shrink::{Shrunk, shrink};
pub use swarm::random_scenario;

use crate::run::{Failure, Outcome};

/// What kind of failure a run came to: two runs that fail alike have the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// An invariant was broken, of this name.
    Invariant(String),
    /// An expectation did not hold.
    Expectation {
        /// As it stands in the scenario.
        written: String,
        /// Whether there was a value: what never happened fails otherwise than what was too late.
        measured: bool,
    },
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invariant(name) => f.write_str(name),
            Self::Expectation { written, measured: true } => f.write_str(written),
            Self::Expectation { written, measured: false } => write!(f, "{written}, and there is nothing to measure"),
        }
    }
}

/// The kind of a run's first failure; none if it passed.
#[must_use]
pub fn kind(outcome: &Outcome) -> Option<FailureKind> {
    outcome.failures.first().map(|failure| match failure {
        Failure::Invariant(text) => {
            FailureKind::Invariant(text.split_once(':').map_or(text.as_str(), |(name, _)| name).to_owned())
        }
        Failure::Expectation(verdict) => {
            FailureKind::Expectation { written: verdict.written.clone(), measured: verdict.value.is_some() }
        }
    })
}
