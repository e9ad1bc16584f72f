//! The core's endpoint as a node of a world.

mod conduct;
mod endpoint;
mod random;
mod referee;
mod sent;
mod spoil;
mod spy;
mod tap;
#[cfg(feature = "files")]
mod toy;
mod witness;
mod yielding;

pub use endpoint::EndpointNode;
#[cfg(feature = "files")]
pub(crate) use endpoint::time;
pub use random::SimRandom;
pub use referee::Referee;
pub use spoil::Spoiler;
pub use spy::Plaintexts;
pub use tap::{Tap, TappedProfile, Tapper};
#[cfg(feature = "files")]
pub(crate) use toy::ToyProfile;
pub use witness::Witness;

#[cfg(all(test, feature = "files"))]
pub(crate) mod tests;
