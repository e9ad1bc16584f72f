//! The application's side: handles whose calls block the calling thread, or can be polled.

mod endpoint;
mod recv;
mod send;
mod session;
mod sleep;

pub(super) use endpoint::handle;
pub use endpoint::{AskedStats, EndpointHandle};
pub use recv::RecvFlow;
pub use send::SendFlow;
pub(crate) use session::Owner;
pub use session::Session;
pub use sleep::Sleep;
