//! The application's side: handles whose calls block the calling thread, or can be polled.

mod asked;
mod driven;
mod endpoint;
mod events;
mod introduction;
mod iterators;
mod meeting;
mod queueing;
mod receipt;
mod recv;
mod registration;
mod send;
mod send_options;
mod session;
mod session_facts;
mod sleep;

pub use asked::Asked;
pub use driven::Driven;
pub use endpoint::EndpointHandle;
pub(super) use endpoint::handle;
pub use events::{Moved, SessionEvent, SessionEvents};
pub use introduction::{Introduction, Introductions};
pub use iterators::{Incoming, IncomingFlows, Messages};
pub use meeting::Meeting;
pub use queueing::{PendingSend, TrySendError};
pub use receipt::Receipt;
pub use recv::{RecvFlow, TryRecvError};
pub use registration::Registration;
pub use send::SendFlow;
pub use send_options::{Deadline, SendOptions};
pub(crate) use session::Owner;
pub use session::Session;
pub use session_facts::Nonces;
pub use sleep::Sleep;
