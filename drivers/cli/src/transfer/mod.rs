//! Files over flows, as two state machines without sockets, clocks or (but for [`disk`]) files.
//!
//! The [`Sender`] opens a session, and in it up to [`MAX_FILE_FLOWS`] file flows. Their metadata is [`METADATA`]. A file
//! flow carries one file after another: a begin, the content in pieces, an end with length and SHA-256.
//!
//! The [`Receiver`] opens a return flow for each file flow. It answers every file that was begun with exactly one verdict,
//! in order: at once if it refuses the file, or after it has checked the hash and put the file in its place. When all
//! verdicts are in, the sender says so on its first file flow, closes the file flows and then the session.
//!
//! File flows are kept for the whole session, because a completed flow occupies its flow ID for two minutes (RFC 7016
//! §3.6.2.11): with a flow for each file, thousands of small files would need thousands of flows.

pub mod disk;
pub mod name;
mod protocol;
mod receiver;
mod sender;
mod senders;
pub mod store;
mod storing;

pub use protocol::{METADATA, Verdict, VerdictCode};
pub use receiver::{Received, Receiver, ReceiverEvent};
pub use sender::{SendFailure, Sender, SenderEvent};
pub use senders::ReceiverLimits;

/// The most flows that files are sent on at once, and the most files under way.
pub const MAX_FILE_FLOWS: usize = 16;
/// Content bytes in one message.
pub const PIECE: usize = 65_536;
/// Files on one file flow whose verdict is outstanding, so that neither end queues without bound.
const UNANSWERED: usize = 32;
/// Exception code for a flow that is none of this protocol's (RFC 7016 §2.3.16; the code is ours to choose).
pub const NOT_FILES: u64 = 1;
/// Exception code for a flow that breaks this protocol.
pub const MALFORMED: u64 = 2;
/// Exception code for a file flow too many.
pub const TOO_MANY_FLOWS: u64 = 3;
/// Exception code for a flow of a far end that there is no place for.
pub const BUSY: u64 = crate::echo::BUSY;
