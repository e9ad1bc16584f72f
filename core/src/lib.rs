//! RTMFP (RFC 7016) as pure state machines: datagrams and timestamps in, datagrams and events out.
//!
//! [`Endpoint`] owns everything; sessions and flows are reached through small handles. Nothing here reads a
//! clock, opens a socket, or draws randomness that it was not given.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core)]

extern crate alloc;

mod app;
pub mod config;
mod congestion;
mod endpoint;
pub mod error;
mod event;
mod flow;
mod handle;
pub mod params;
pub mod profile;
mod session;
mod stats;
mod time;
mod transmit;
pub mod wire;

pub use bytes::Bytes;
pub use rand_core;

pub use app::App;
pub use config::{
    EndpointConfig, FlowOptions, ForwardedHelloPolicy, Priority, ReceiveOrder, SendOptions, SessionConfig,
};
pub use endpoint::{Endpoint, RecvFlowMut, RecvFlowRef, SendFlowMut, SendFlowRef, SessionMut, SessionRef, Target};
pub use event::{CloseReason, Event, FlowEnd, MessageOutcome, OpenFailure, UnmatchedHello};
pub use flow::Message;
pub use handle::{MessageId, RecvFlowHandle, SendFlowHandle, SessionHandle};
pub use session::{CloseMode, Role, SessionState};
pub use stats::{EndpointStats, FlowStats, SessionStats};
pub use time::Instant;
pub use transmit::{Disposition, Ecn, InterfaceId, Path, RecvMeta, Transmit, TransmitBuf};
