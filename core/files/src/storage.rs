//! What a transfer needs of a disk. Implementations are the caller's; the state machines call nothing else.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::manifest::Manifest;

/// Why a disk did not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageError {
    /// What kind of failure it is.
    pub kind: StorageFailure,
    /// For people: which file, and what the system says.
    pub text: String,
}

/// The kinds of failure of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StorageFailure {
    /// It cannot be read.
    Unreadable,
    /// There is something of that name already.
    Exists,
    /// The disk is full, or a quota is reached. What is there stays for another attempt.
    Full,
    /// The name cannot be had on this system.
    BadName,
    /// Anything else.
    Other,
}

impl fmt::Display for StorageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "it cannot be read",
            Self::Exists => "there is something of that name already",
            Self::Full => "the disk is full",
            Self::BadName => "the name cannot be used here",
            Self::Other => "the disk failed",
        })
    }
}

impl core::error::Error for StorageFailure {}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl core::error::Error for StorageError {}

/// What is sent: the files of a manifest.
pub trait Source: fmt::Debug + Send {
    /// Opens the content of a file of the manifest, at its beginning.
    ///
    /// # Errors
    /// If it cannot be read.
    fn open(&mut self, index: usize) -> Result<Box<dyn Content>, StorageError>;
}

/// The content of a file, read from its beginning to its end.
pub trait Content: fmt::Debug + Send {
    /// Fills `buffer` from the current place as far as there is content. Fewer bytes than fit mean the end.
    ///
    /// # Errors
    /// If it cannot be read.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StorageError>;

    /// Whether [`read`](Self::read) gives so many bytes, all that is left, or an error without waiting. Asked before each
    /// read of what is sent. If not, the transfer goes on when its `on_wake` is called.
    fn is_ready(&mut self, bytes: usize) -> bool {
        let _ = bytes;
        true
    }

    /// Bytes from the current place on that are a hole, which reads as zeros; 0 if there is none, or nobody knows.
    fn hole(&mut self) -> u64 {
        0
    }

    /// Goes so many bytes on without reading them.
    ///
    /// # Errors
    /// If it cannot be read.
    fn skip(&mut self, bytes: u64) -> Result<(), StorageError>;

    /// Whether the file is still what it was when it was offered. Asked after its end has been read.
    fn is_unchanged(&mut self) -> bool;
}

/// Where files arrive.
pub trait Store: fmt::Debug + Send {
    /// Which entries are not taken, by their index, and why. Asked before [`prepare`](Self::prepare); writes nothing.
    fn refused(&mut self, manifest: &Manifest) -> Vec<(usize, StorageError)> {
        let _ = manifest;
        Vec::new()
    }

    /// Makes room for what was accepted: directories are created, and free space is compared with what is missing.
    ///
    /// # Errors
    /// If nothing could be stored: [`StorageFailure::Full`] before anything is sent.
    fn prepare(&mut self, manifest: &Manifest) -> Result<(), StorageError>;

    /// What is there of a file from an earlier attempt, to be hashed again. `None` if nothing is.
    fn stored(&mut self, index: usize) -> Option<Box<dyn Content>>;

    /// Begins to write a file, or goes on after the first `from` bytes of what is [`stored`](Self::stored).
    ///
    /// # Errors
    /// If it cannot be written.
    fn create(&mut self, index: usize, from: u64) -> Result<Box<dyn Sink>, StorageError>;

    /// Ends the transfer: all that was accepted is in its place, or has failed. Links and the times of directories come
    /// last. Gives what could not be done, by its index.
    fn conclude(&mut self) -> Vec<(usize, StorageError)>;
}

/// A file that is arriving. Dropped before [`commit`](Self::commit), it leaves what was written for another attempt.
pub trait Sink: fmt::Debug + Send {
    /// Whether it takes more content, or can be committed, without waiting, or has failed and says so at the next call. If
    /// not, the transfer goes on when its `on_wake` is called.
    fn is_ready(&mut self) -> bool {
        true
    }

    /// Adds content.
    ///
    /// # Errors
    /// If it cannot be stored.
    fn write(&mut self, content: &[u8]) -> Result<(), StorageError>;

    /// Adds so many zeros, as a hole if possible.
    ///
    /// # Errors
    /// If it cannot be stored.
    fn hole(&mut self, bytes: u64) -> Result<(), StorageError>;

    /// Puts the verified file in its place, with its mode and time.
    ///
    /// # Errors
    /// If it could not be.
    fn commit(self: Box<Self>) -> Result<(), StorageError>;
}
