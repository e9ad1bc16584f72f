//! Files over the flows of one session: a [`Sender`] and a [`Receiver`], without disk, clock or terminal.
//!
//! They begin when the two have [proved](crate::proof) to each other who they are. An application gives each the events of
//! its session and takes what it has to tell. Any number of them can be held.
//!
//! # The protocol, `rtmfp-files/1`
//!
//! The sender opens a *control flow* with the metadata [`METADATA`]; the receiver answers with a return flow of the same.
//! The sender also opens up to [`MAX_LANES`] *content flows* with the metadata [`CONTENT_METADATA`]. Every message begins
//! with a byte that tells its kind. Numbers are VLUs (RFC 7016 §2.1.2). Hashes are BLAKE3, of 32 bytes. A message that does
//! not follow the syntax, or comes out of place, ends the transfer.
//!
//! | Byte | Flow | Fields | Meaning |
//! |---|---|---|---|
//! | 01 | control | entries, files, bytes, files of unknown length | this is offered |
//! | 02 | control | up to 16 KiB | the next piece of the [manifest](crate::manifest#its-encoding) |
//! | 03 | control | root | the end of the manifest, which does not change from now on |
//! | 04 | control | | every file has its verdict |
//! | 11 | return | (index, bytes, digest) … | the beginnings of these files are here |
//! | 12 | return | (first, count, verdict's byte) … | these entries are not taken |
//! | 13 | return | | all others are |
//! | 14 | return | text | nothing is taken |
//! | 15 | return | (index, verdict's byte, text unless verified) … | what became of these |
//! | 16 | return | | all that was accepted is in its place, but for what was said |
//! | 1f | both | stop's byte, text | the transfer is over |
//! | 21 | content | index, from | a file begins, after so many bytes that the receiver has |
//! | 22 | content | content, chaining values | its next bytes: up to 64 KiB, and 32 bytes for each 16 KiB of them |
//! | 23 | content | groups | so many times 16 KiB of zeros: up to 4 MiB |
//! | 24 | content | size, 0, hash; or size, 1 | the end of the file; or, it has changed |
//! | 25 | content | index, 0, hash, content; or index, 1 | a small file, whole; or, it has changed |
//! | 26 | content | index, text | a file cannot be read, at all or any further |
//! | 29 | content | index | as 21, from 0, before anything was accepted |
//! | 2d | content | as 25 | the same, before anything was accepted |
//! | 2e | content | as 26 | the same, before anything was accepted |
//!
//! A text takes the rest of the message, or has its length in front if more records follow; it is of 512 bytes at most. The
//! bytes of verdicts and stops are those of [`VerdictCode`] and [`StopCode`].
//!
//! **Content is read once.** Nothing is hashed before it is sent, except the beginnings of files that the receiver says it
//! has. A file is cut in groups of 16 KiB. The chaining value of each is checked before the group is stored, and all of them
//! together make the file's ordinary BLAKE3 hash, which its end tells. A file that is no longer what was offered when its
//! end is read is said to have changed, and is never called verified. Every accepted file gets exactly one verdict.
//!
//! **Going on.** What a receiver has from an earlier attempt it hashes again before it accepts: whole groups, or all of the
//! file. The digest is the hash of their chaining values. The sender hashes as much of its own file. If the two are equal, it goes
//! on from there, and otherwise from the beginning. Beginnings are listed in the order of their indexes, each once.
//!
//! **Unasked content.** Right after the offer the sender may send up to 64 KiB of the first file, so that it is there when the
//! receiver accepts. A receiver reads no content before. If it has refused that file, or has its beginning, what came unasked
//! counts for nothing, and the file begins again if it is wanted.

use alloc::collections::VecDeque;

use crate::manifest::Totals;
use crate::storage::StorageError;
use crate::tree::{GROUP, Hash};

use message::BATCH;

mod limit;
#[doc(hidden)]
pub mod message;
mod outbox;
mod outcome;
mod receiver;
mod sender;

pub use outcome::{Failure, Fault, StopCode, Verdict, VerdictCode};
pub use receiver::Receiver;
pub use sender::{Sender, SenderOptions};

/// Metadata of the control flow and its return flow.
pub const METADATA: &[u8] = b"rtmfp-files/1";
/// Metadata of a content flow.
pub const CONTENT_METADATA: &[u8] = b"rtmfp-files/1 content";
/// The most content flows, and files under way.
pub const MAX_LANES: usize = 8;
/// The most content in a message, and the most that is sent unasked, in bytes.
pub const PIECE: usize = 4 * GROUP;
/// The longest file that is sent in one message, in bytes.
pub const SMALL: u64 = 32_768;
/// The most groups of zeros in a message.
pub const MAX_HOLE: u64 = 256;
/// Files of one content flow that wait for their verdict, at most.
const MAX_UNANSWERED: usize = 256;
/// Exception code of a flow that is rejected because the transfer is over, and why: with a [`StopCode`] added to it.
const STOPPED: u64 = 0x100;

/// What a [`Sender`] or [`Receiver`] tells as it goes. Entries are named by their index in the manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TransferEvent {
    /// At the receiver: the whole offer is here, and waits for [`accept`](Receiver::accept) or
    /// [`decline`](Receiver::decline).
    Offered {
        /// What is in it.
        totals: Totals,
        /// The manifest's root.
        root: Hash,
    },
    /// The offer is accepted, and content begins. At the receiver: what is there was hashed.
    Accepted,
    /// So many more bytes of what the receiver has were hashed.
    Hashing {
        /// How many.
        bytes: u64,
    },
    /// A file begins.
    Begun {
        /// Which.
        index: usize,
        /// Bytes at its beginning that the receiver has already.
        from: u64,
    },
    /// So many more bytes of content were handed to the session, or stored.
    Progress {
        /// How many, holes included.
        bytes: u64,
    },
    /// An entry has its verdict. Directories and links have one only if something was wrong with them.
    Finished {
        /// Which.
        index: usize,
        /// What became of it.
        verdict: Verdict,
        /// Its hash, if all of it was sent, or stored.
        hash: Option<Hash>,
    },
    /// At the receiver: something about an entry that has its verdict could not be done, such as setting a file's time.
    Warned {
        /// Which.
        index: usize,
        /// What.
        error: StorageError,
    },
    /// All is over. It is the last event.
    Ended(Result<Summary, Failure>),
}

/// What a transfer that came to its end has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Files that are verified and in their place.
    pub verified: u64,
    /// Entries that were accepted, and are not.
    pub failed: u64,
    /// Entries that were refused.
    pub refused: u64,
}

impl Summary {
    const fn count(&mut self, is_verified: bool) {
        if is_verified {
            self.verified += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// Events that wait to be taken. What only adds up is told once.
#[derive(Debug, Default)]
struct Events {
    queue: VecDeque<TransferEvent>,
}

impl Events {
    fn push(&mut self, event: TransferEvent) {
        match (&event, self.queue.back_mut()) {
            (TransferEvent::Progress { bytes }, Some(TransferEvent::Progress { bytes: sum }))
            | (TransferEvent::Hashing { bytes }, Some(TransferEvent::Hashing { bytes: sum })) => {
                *sum = sum.saturating_add(*bytes);
            }
            _ => self.queue.push_back(event),
        }
    }

    fn pop(&mut self) -> Option<TransferEvent> {
        self.queue.pop_front()
    }
}

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;
