//! The core's endpoint as a node of a world.

mod endpoint;
mod random;
mod referee;
mod spoil;
mod spy;
mod tap;
#[cfg(feature = "files")]
mod toy;

pub use endpoint::EndpointNode;
pub use random::SimRandom;
pub use referee::{Referee, Refereed};
pub use spoil::Spoiler;
pub use spy::Plaintexts;
pub use tap::{Tap, TappedProfile, Tapper};
#[cfg(feature = "files")]
pub(crate) use toy::ToyProfile;
