//! How files, and the transfer, end.

use alloc::string::String;
use core::fmt;

use rtmfp_core::CloseReason;

use crate::manifest::ManifestError;
use crate::storage::{StorageError, StorageFailure};

/// What became of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The kind of outcome.
    pub code: VerdictCode,
    /// For people: what else is to be said. Often empty.
    pub text: String,
}

/// The kinds of outcome of an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum VerdictCode {
    /// Its hash is right, and it is in its place.
    Verified = 0,
    /// There is something of that name already.
    Exists = 1,
    /// The name is not one that the receiver takes.
    BadName = 2,
    /// The receiver could not store it.
    Storage = 3,
    /// The receiver's disk is full.
    Full = 4,
    /// Its hash is another than the sender says.
    Mismatch = 5,
    /// It has changed while it was sent, or since it was offered.
    Changed = 6,
    /// The sender could not read it.
    Unreadable = 7,
    /// The receiver does not want it.
    Unwanted = 8,
}

impl VerdictCode {
    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Verified,
            1 => Self::Exists,
            2 => Self::BadName,
            3 => Self::Storage,
            4 => Self::Full,
            5 => Self::Mismatch,
            6 => Self::Changed,
            7 => Self::Unreadable,
            8 => Self::Unwanted,
            _ => return None,
        })
    }
}

impl fmt::Display for VerdictCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verified => "verified",
            Self::Exists => "there is something of that name already",
            Self::BadName => "the name is not one that the receiver takes",
            Self::Storage => "the receiver could not store it",
            Self::Full => "the receiver's disk is full",
            Self::Mismatch => "what arrived is not what was sent",
            Self::Changed => "it has changed while it was sent",
            Self::Unreadable => "the sender could not read it",
            Self::Unwanted => "the receiver does not want it",
        })
    }
}

impl Verdict {
    /// A verdict without a text.
    #[must_use]
    pub const fn of(code: VerdictCode) -> Self {
        Self { code, text: String::new() }
    }

    /// Whether the entry arrived whole and is in its place.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.code == VerdictCode::Verified
    }

    pub(crate) fn storage(error: StorageError) -> Self {
        Self { code: storage_code(error.kind), text: error.text }
    }
}

pub(crate) const fn storage_code(kind: StorageFailure) -> VerdictCode {
    match kind {
        StorageFailure::Exists => VerdictCode::Exists,
        StorageFailure::Full => VerdictCode::Full,
        StorageFailure::BadName => VerdictCode::BadName,
        StorageFailure::Unreadable | StorageFailure::Other => VerdictCode::Storage,
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.text.is_empty() { "" } else { ": " };
        write!(f, "{}{separator}{}", self.code, self.text)
    }
}

/// Why an end has stopped a transfer, as it tells the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum StopCode {
    /// Its user wanted it so.
    Cancelled = 0,
    /// Its disk is full. It can go on later.
    Full = 1,
    /// Its disk failed.
    Storage = 2,
    /// The other end did not keep to the protocol.
    Fault = 3,
}

impl StopCode {
    pub(crate) const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Cancelled,
            1 => Self::Full,
            2 => Self::Storage,
            3 => Self::Fault,
            _ => return None,
        })
    }
}

impl fmt::Display for StopCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "it was cancelled there",
            Self::Full => "the disk is full there",
            Self::Storage => "the disk failed there",
            Self::Fault => "it says that this end does not keep to the protocol",
        })
    }
}

/// How the far end broke the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// A message does not follow the syntax, or one is missing.
    Malformed,
    /// A message came when it has no meaning.
    OutOfPlace,
    /// There is something wrong with the manifest.
    Manifest(ManifestError),
    /// There are more flows than there may be.
    TooManyFlows,
    /// A flow ended before all was said.
    FlowEnded,
    /// An index is of no entry with content, or of one that was refused.
    NoSuchFile,
    /// A file came twice, or got two verdicts.
    Twice,
    /// More content came than the manifest says.
    TooMuch,
    /// Less content came than the sender says.
    TooLittle,
    /// A group is not what its chaining value says.
    WrongGroup,
    /// A file goes on after a place that nobody has asked for.
    NoSuchPrefix,
    /// A file is said to be verified that was not all sent.
    EarlyVerdict,
}

impl core::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a message does not follow the syntax",
            Self::OutOfPlace => "a message came when it has no meaning",
            Self::Manifest(error) => return error.fmt(f),
            Self::TooManyFlows => "it has opened too many flows",
            Self::FlowEnded => "a flow ended before all was said",
            Self::NoSuchFile => "it speaks of a file that is not in the list",
            Self::Twice => "it speaks of a file twice",
            Self::TooMuch => "more content came than the list says",
            Self::TooLittle => "less content came than it says",
            Self::WrongGroup => "content is not what its hash says",
            Self::NoSuchPrefix => "it goes on at a place that is not there",
            Self::EarlyVerdict => "it says that a file is verified that was not all sent",
        })
    }
}

/// Why a transfer ended before its end.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The session ended.
    Lost(CloseReason),
    /// The far end does not take files: it rejected a flow with this exception code.
    Rejected(u64),
    /// The session has no room for a flow.
    NoFlow,
    /// The receiver does not want what is offered. The text is its own.
    Declined(String),
    /// The far end has stopped. The text is its own.
    Stopped(StopCode, String),
    /// This end was told to stop.
    Cancelled,
    /// This end cannot store what it is sent.
    Storage(StorageError),
    /// The far end broke the protocol.
    Fault(Fault),
}

impl core::error::Error for Failure {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Lost(why) => Some(why),
            Self::Storage(why) => Some(why),
            Self::Fault(why) => Some(why),
            Self::Rejected(_) | Self::NoFlow | Self::Declined(_) | Self::Stopped(..) | Self::Cancelled => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |f: &mut fmt::Formatter<'_>, text: &str| {
            if text.is_empty() { Ok(()) } else { write!(f, " ({text})") }
        };
        match self {
            Self::Lost(_) => f.write_str("the session ended early"),
            Self::Rejected(code) => write!(f, "the far end takes no files (exception code {code})"),
            Self::NoFlow => f.write_str("the session has no room for another flow"),
            Self::Declined(text) => {
                f.write_str("the receiver does not want what is offered")?;
                said(f, text)
            }
            Self::Stopped(code, text) => {
                write!(f, "the far end has stopped: {code}")?;
                said(f, text)
            }
            Self::Cancelled => f.write_str("cancelled"),
            Self::Storage(_) => f.write_str("the files cannot be stored"),
            Self::Fault(_) => f.write_str("the far end does not keep to the protocol"),
        }
    }
}
