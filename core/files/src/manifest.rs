//! What a sender offers: entries of a tree, each with its name, kind and times.
//!
//! # Its encoding
//!
//! One entry after another. Numbers are VLUs (RFC 7016 §2.1.2), and so are the lengths of texts.
//!
//! | Field | |
//! |---|---|
//! | flags | a byte: the kind in the low three bits, 8 if there is a mode, 16 if there is a time |
//! | shared | bytes at the beginning of the path that are as in the entry before |
//! | path | the rest of it, with its length |
//! | size | of kinds 1 and 4 |
//! | target | of kind 3, with its length |
//! | mode | if there is one |
//! | seconds, nanos | if there is a time: seconds doubled, and for a time before 1970 made odd: -1 is 1, -2 is 3 |
//!
//! Kinds: 0 is a directory, 1 a file, 2 a file of unknown length, 3 a symbolic link, 4 a text. A manifest's *root* is the
//! BLAKE3 hash of the encoding.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use reader::ManifestReader;

mod encoding;
mod reader;

/// The most entries of a manifest.
pub const MAX_ENTRIES: usize = 1_000_000;
/// The most bytes of a manifest, with every path written in full.
pub const MAX_MANIFEST: usize = 64 * 1_024 * 1_024;
/// The longest path, and the longest target of a link, in bytes.
pub const MAX_TEXT: usize = 4_096;
/// The longest content of a file that is taken, in bytes: what systems can express.
pub const MAX_SIZE: u64 = i64::MAX as u64;

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

/// What a manifest has in it, all together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Entries of all kinds.
    pub entries: u64,
    /// Of these, files and texts: what has content.
    pub files: u64,
    /// Bytes of content, as far as they are known.
    pub bytes: u64,
    /// Files of unknown length.
    pub unknown: u64,
}

impl Totals {
    /// The same with one more entry.
    #[must_use]
    pub const fn and(mut self, entry: &Entry) -> Self {
        self.entries = self.entries.saturating_add(1);
        let size = match entry.kind {
            EntryKind::Directory | EntryKind::Symlink { .. } => return self,
            EntryKind::File { size: None } => {
                self.unknown = self.unknown.saturating_add(1);
                0
            }
            EntryKind::File { size: Some(size) } | EntryKind::Text { size } => size,
        };
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size);
        self
    }
}

impl Entry {
    /// Whether it has content, which is sent after the offer.
    #[must_use]
    pub const fn has_content(&self) -> bool {
        matches!(self.kind, EntryKind::File { .. } | EntryKind::Text { .. })
    }

    /// Bytes of its content, if it has any and they are known.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        match self.kind {
            EntryKind::File { size } => size,
            EntryKind::Text { size } => Some(size),
            EntryKind::Directory | EntryKind::Symlink { .. } => None,
        }
    }
}

impl Manifest {
    /// What is in it, all together.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.entries.iter().fold(Totals::default(), Totals::and)
    }

    /// Its [encoding](self), whose hash is the manifest's root.
    ///
    /// # Errors
    /// If it is beyond a limit, or has a time that is none. Then no receiver takes it.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        encoding::encode(&self.entries)
    }

    /// Its root.
    ///
    /// # Errors
    /// As for [`encode`](Self::encode).
    pub fn root(&self) -> Result<[u8; 32], ManifestError> {
        self.encode().map(|encoding| crate::tree::hash(&encoding))
    }
}

/// What is wrong with a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ManifestError {
    /// It does not follow the syntax.
    Malformed,
    /// It has more than [`MAX_ENTRIES`], or than were announced.
    TooManyEntries,
    /// It has more than [`MAX_MANIFEST`] bytes.
    TooLong,
    /// A path, or the target of a link, has more than [`MAX_TEXT`] bytes, or nothing in it.
    BadText,
    /// A file is longer than [`MAX_SIZE`], or a time has too many nanoseconds.
    BadNumber,
    /// It is not what was announced before it, or its hash is another.
    NotAsAnnounced,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the list of files does not follow the syntax"),
            Self::TooManyEntries => write!(f, "the list has more entries than were announced, or than {MAX_ENTRIES}"),
            Self::TooLong => write!(f, "the list is longer than {} MiB", MAX_MANIFEST >> 20),
            Self::BadText => write!(f, "a path or link is empty, or longer than {MAX_TEXT} bytes"),
            Self::BadNumber => f.write_str("a file's length or time is beyond what there can be"),
            Self::NotAsAnnounced => f.write_str("the list is not what was announced"),
        }
    }
}

impl core::error::Error for ManifestError {}

#[cfg(test)]
mod tests;
