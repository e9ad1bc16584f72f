//! Finding failures, and making them small.

mod shrink;
mod swarm;

pub use shrink::{Shrunk, shrink};
pub use swarm::random_scenario;

use crate::run::{Failure, Outcome};

/// What kind of failure a run came to: the invariant's name, or the expectation; none if it passed.
#[must_use]
pub fn kind(outcome: &Outcome) -> Option<String> {
    outcome.failures.first().map(|failure| match failure {
        Failure::Invariant(text) => text.split_once(':').map_or(text.as_str(), |(name, _)| name).to_owned(),
        Failure::Expectation(text) => text.split_once(", but").map_or(text.as_str(), |(name, _)| name).to_owned(),
    })
}
