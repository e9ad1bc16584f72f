//! RTMFP over UDP sockets, for programs with threads.
//!
//! Two layers; take the highest that fits:
//!
//! - [`Driver`] runs an [`App`] (a state machine over the core's events and commands) on the calling thread,
//!   blocking until a datagram, a deadline, or a [`Waker`].
//! - [`Pump`] moves datagrams between sockets and an endpoint without ever blocking, for programs with a loop of their
//!   own. The asynchronous driver `rtmfp-smol` is built on it.
//!
//! [`App`]: rtmfp_core::App
#![deny(missing_docs)]

mod clock;
mod driver;
mod entropy;
mod pump;
mod socket;
mod wake;

pub use clock::Clock;
pub use driver::Driver;
pub use entropy::system_rng;
pub use pump::{Pump, PumpStats, Turn};
pub use rtmfp_core as core;
pub use socket::Socket;
pub use wake::Waker;
