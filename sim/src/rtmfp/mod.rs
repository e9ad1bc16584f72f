//! The core's endpoint as a node of a world.

mod endpoint;
mod random;
mod referee;
mod spoil;
mod spy;
#[cfg(feature = "files")]
mod toy;

pub use endpoint::EndpointNode;
pub use random::SimRandom;
pub use referee::{Referee, RefereedProfile};
pub use spoil::SpoilingProfile;
pub use spy::{Plaintexts, SpyProfile};
#[cfg(feature = "files")]
pub(crate) use toy::ToyProfile;
