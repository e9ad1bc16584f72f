//! Where files come from and where they go, without saying how.

use core::fmt::Debug;
use std::io::{self, Read};

use super::protocol::Verdict;

/// A file to send.
#[derive(Debug)]
pub struct Outgoing {
    /// The name to give it at the far end.
    pub name: String,
    /// Its content.
    pub content: Box<dyn Content>,
}

/// Content that can be read when its turn comes.
pub trait Content: Debug + Send {
    /// Its length in bytes, and a reader from its beginning. Called once.
    ///
    /// # Errors
    /// If it cannot be read.
    fn open(&mut self) -> io::Result<(u64, Box<dyn Read + Send>)>;
}

/// Takes files that arrive.
pub trait Store: Debug + Send {
    /// Begins a file of this name and length.
    ///
    /// # Errors
    /// A verdict that tells why it is refused.
    fn create(&mut self, name: &str, size: u64) -> Result<Box<dyn Incoming>, Verdict>;
}

/// A file that is arriving. Dropped before [`commit`](Self::commit), it leaves nothing behind.
pub trait Incoming: Debug + Send {
    /// Adds content.
    ///
    /// # Errors
    /// If it cannot be stored.
    fn write(&mut self, content: &[u8]) -> io::Result<()>;

    /// Puts the verified file in its place.
    ///
    /// # Errors
    /// A verdict that tells why it could not be; then it leaves nothing behind.
    fn commit(self: Box<Self>) -> Result<(), Verdict>;
}
