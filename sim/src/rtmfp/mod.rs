//! The core's endpoint as a node of a world.

mod endpoint;
mod invariant_checker;
mod malform;
mod plaintexts;
mod random;
mod sent;
mod session_checker;
mod snapshot;
mod tap;
#[cfg(feature = "files")]
mod toy;
mod violation_log;
mod yielding;

pub use endpoint::EndpointNode;
#[cfg(any(feature = "files", feature = "tasks"))]
pub(crate) use endpoint::time;
#[cfg(feature = "tasks")]
pub(crate) use endpoint::{ecn_out, instant};
pub use invariant_checker::InvariantChecker;
pub use malform::MalformingPeer;
pub use plaintexts::Plaintexts;
pub use random::SimRandom;
pub use tap::{ProfileTap, ProfileTapFactory, TappedProfile};
#[cfg(feature = "files")]
pub(crate) use toy::ToyProfile;
pub use violation_log::ViolationLog;

#[cfg(all(test, feature = "files"))]
pub(crate) mod tests;
