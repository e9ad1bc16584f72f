//! RTMFP for asynchronous programs: it runs under smol, and under any other executor.
//!
//! [`Endpoint::builder`] gives a handle and a [`Driver`]: a future that owns the endpoint and has to be spawned or
//! polled for anything to happen. Over sockets the driver has a thread of its own, unless it is
//! [built without one](Builder::build_in_task). The handle opens and accepts [`Session`]s, those open and accept [`SendFlow`]s and
//! [`RecvFlow`]s. Handles talk to the driver by a queue, and each waits for what concerns it alone. Every future here
//! may be dropped before it is ready, and nothing is lost by that.
//!
//! ```no_run
//! use rtmfp_smol::{Endpoint, FlowOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! smol::block_on(async {
//!     let (endpoint, driver) = Endpoint::builder().client().build()?;
//!     smol::spawn(driver).detach();
//!     let session = endpoint.connect_uri("rtmfp://192.0.2.1/app").await?;
//!     let flow = session.open_flow(FlowOptions::new("greeting"));
//!     flow.send("hello").await?;
//!     flow.finish().await?;
//!     Ok(())
//! })
//! # }
//! ```
#![deny(missing_docs)]

mod driver;
mod handles;
mod reactor;
mod sockets;
mod thread;

pub use driver::{Driver, run};
pub use handles::{
    Builder, Endpoint, Incoming, IncomingFlows, MessageSink, Messages, Receipt, RecvFlow, SendFlow, Session,
    SessionEvents,
};
pub use handles::{Introduction, Introductions, Meeting, MeetingEvents, Registration, RegistrationEvents};
pub use reactor::Reactor;
/// The transport itself. What programs need most of it is here by its own name too.
pub use rtmfp_std::core;
pub use rtmfp_std::core::{
    Bytes, CloseMode, CloseReason, EndpointConfig, EndpointStats, FlowEnd, FlowOptions, FlowStats, Message,
    MessageOutcome, OpenFailure, Priority, ReceiveOrder, SessionConfig, SessionStats, Undelivered, profile,
};
pub use rtmfp_std::{Candidate, IntroducePolicy, IntroductionRequest, RegistrationEvent, Remote, Uri, UriError};
pub use rtmfp_std::{Deadline, Error, Moved, SendOptions, SessionEvent, TryRecvError, TrySendError, system_rng};
pub use rtmfp_std::{Failure, GuestOptions, MeetingEvent, PathKind, PathPolicy};

/// The guide's snippets are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
