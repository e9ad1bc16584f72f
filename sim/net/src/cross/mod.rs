//! Cross traffic: models of other senders, to compete with. They carry no content but a number and a time.
//!
//! [`Sender`] and [`Receiver`] are a window-controlled transport with the loss detection of SACK (three later packets)
//! and one of the usual congestion controls; [`Cbr`] sends at a steady or interrupted rate.

mod cbr;
mod control;
mod flow;
mod receiver;
mod sender;
#[cfg(test)]
mod tests;

pub use cbr::Cbr;
pub use control::Control;
pub use receiver::Receiver;
pub use sender::{Sender, ShortFlows};

/// Bytes of a full packet on the wire.
pub const PACKET: u32 = 1_500;
