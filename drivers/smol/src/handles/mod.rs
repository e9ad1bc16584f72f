//! Handles whose calls are futures.

mod builder;
mod endpoint;
mod introduction;
mod receipt;
mod recv;
mod send;
mod session;
mod session_facts;
mod sink;
mod streams;

use core::future::poll_fn;
use core::task::{Context, Poll};

use rtmfp_std::Waiter;

pub use builder::Builder;
pub use endpoint::Endpoint;
pub use introduction::{Introduction, Introductions, Registration, RegistrationEvents};
pub use receipt::Receipt;
pub use recv::RecvFlow;
pub use send::SendFlow;
pub use session::Session;
pub use sink::MessageSink;
pub use streams::{Incoming, IncomingFlows, Messages, SessionEvents};

/// Waits for what a handle polls. The task is forgotten when the future is dropped.
async fn wait<T>(mut poll: impl FnMut(&mut Context<'_>, &mut Waiter) -> Poll<T>) -> T {
    let mut waiter = Waiter::default();
    poll_fn(|context| poll(context, &mut waiter)).await
}
