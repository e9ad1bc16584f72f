//! RTMFP over UDP sockets, for programs with threads.
//!
//! Three layers; take the highest that fits:
//!
//! - [`Endpoint`] runs an endpoint on a thread of its own and hands out [`Session`], [`SendFlow`] and [`RecvFlow`], whose
//!   calls block. Nothing of the core's contract need be known.
//! - [`Driver`] runs an [`App`] (a state machine over the core's events and commands) on the calling thread,
//!   blocking until a datagram, a deadline, or a [`Waker`].
//! - [`Pump`] moves datagrams between sockets and an endpoint without ever blocking, for programs with a loop of their
//!   own. The asynchronous driver `rtmfp-smol` is built on it.
//!
//! [`App`]: rtmfp_core::App
#![deny(missing_docs)]

#[cfg(feature = "accelerated")]
mod accelerated;
mod addresses;
mod clock;
mod driver;
mod endpoint;
mod entropy;
mod incoming;
mod key_agreements;
mod key_log;
mod kind;
mod locals;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod notifier;
mod outgoing;
mod places;
mod pump;
mod socket;
mod uri;
mod wait;
mod wake;
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "watch/unsupported.rs")]
mod watch;

#[cfg(feature = "accelerated")]
pub use accelerated::Accelerated;
pub use addresses::{candidates as local_candidates, list as own_addresses};
pub use clock::Clock;
pub use driver::Driver;
pub use endpoint::{
    Asked, Builder, Deadline, Driven, Endpoint, EndpointApp, EndpointHandle, Error, Incoming, IncomingFlows, Messages,
    Moved, Nonces, PendingSend, Receipt, RecvFlow, SendFlow, SendOptions, Session, SessionEvent, SessionEvents, Sleep,
    TryRecvError, TrySendError, Waiter, block_on,
};
pub use endpoint::{Candidate, Remote};
pub use endpoint::{
    IntroducePolicy, Introduction, IntroductionRequest, Introductions, Meeting, MeetingEvent, Registration,
    RegistrationEvent,
};
pub use entropy::system_rng;
pub use key_log::KeyLogFile;
pub use kind::{ProfileKind, peer_id_of};
pub use places::{Admission, Places};
pub use pump::{Pump, PumpStats, Turn};
/// The transport itself. What programs need most of it is here by its own name too.
pub use rtmfp_core as core;
pub use rtmfp_core::{
    Bytes, CloseMode, CloseReason, EndpointConfig, EndpointStats, FlowEnd, FlowOptions, FlowStats, Message,
    MessageOutcome, OpenFailure, Priority, ReceiveOrder, SessionConfig, SessionStats, Undelivered, profile,
};
/// What meetings are made of.
pub use rtmfp_meet::{CandidateKind, Failure, GuestOptions, PathKind, PathPolicy};
pub use socket::Socket;
pub use uri::{DEFAULT_PORT, MODERN_PORT, Uri, UriError};
pub use wake::Waker;

/// The README's example is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
