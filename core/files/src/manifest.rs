//! What a sender offers: entries of a tree, each with its name, kind and times.

use alloc::string::String;
use alloc::vec::Vec;

/// All that is offered, in the order in which it is sent. A directory comes before what is in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manifest {
    /// The entries. Messages name them by their index here.
    pub entries: Vec<Entry>,
}

/// One file, directory or symbolic link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where it goes: names separated by `/`, relative to what the receiver chooses.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its permission bits, as in `chmod`; `None` if the sender's system has none.
    pub mode: Option<u32>,
    /// When its content was last changed.
    pub modified: Option<Time>,
}

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A file with its length in bytes; `None` if it is known only at the end, as of a pipe.
    File {
        /// Bytes.
        size: Option<u64>,
    },
    /// A symbolic link, and what it points to.
    Symlink {
        /// As it stands in the link.
        target: String,
    },
    /// A text that is shown and not stored.
    Text {
        /// Bytes.
        size: u64,
    },
}

/// A point in time, since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Time {
    /// Whole seconds; negative before 1970.
    pub seconds: i64,
    /// The rest, below 1,000,000,000.
    pub nanos: u32,
}
