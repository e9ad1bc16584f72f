//! Handles whose calls are futures.

mod builder;
mod endpoint;
mod introduction;
mod meeting;
mod receipt;
mod recv;
mod send;
mod session;
mod session_facts;
mod sink;
mod streams;
mod wait;

pub use builder::Builder;
pub use endpoint::Endpoint;
pub use introduction::{Introduction, Introductions, Registration, RegistrationEvents};
pub use meeting::{Meeting, MeetingEvents};
pub use receipt::Receipt;
pub use recv::RecvFlow;
pub use send::SendFlow;
pub use session::Session;
pub use sink::MessageSink;
pub use streams::{Incoming, IncomingFlows, Messages, SessionEvents};
use wait::{Wait, wait};
