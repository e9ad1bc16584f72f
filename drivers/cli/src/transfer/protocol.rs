//! The messages: a byte that tells the kind, then its fields, numbers in network order.

use rtmfp_core::Bytes;

use crate::text::shown;

/// Metadata of a file flow and of its return flow.
pub const METADATA: &[u8] = b"rtmfp-file/1";
/// The longest text of a verdict or an abandonment that is read or sent.
const TEXT_MAX: usize = 512;
/// Length of a SHA-256.
pub(crate) const HASH_LEN: usize = 32;

const BEGIN: u8 = b'F';
const DATA: u8 = b'D';
const END: u8 = b'E';
const ABANDON: u8 = b'X';
const ALL_SENT: u8 = b'Z';
const VERDICT: u8 = b'V';

/// What a sender says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ToReceiver<'a> {
    /// A file of this length and name begins.
    Begin { size: u64, name: &'a str },
    /// The next piece of its content.
    Data(&'a [u8]),
    /// Its end, with what all pieces together must be.
    End { size: u64, hash: [u8; HASH_LEN] },
    /// The sender cannot send the rest.
    Abandon { reason: String },
    /// Every file of the session has its verdict; so many were verified.
    AllSent { verified: u64 },
}

impl<'a> ToReceiver<'a> {
    /// `None` if the message does not follow the syntax.
    pub(crate) fn parse(message: &'a [u8]) -> Option<Self> {
        let (kind, rest) = message.split_first()?;
        match *kind {
            BEGIN => {
                let (size, name) = rest.split_first_chunk()?;
                Some(Self::Begin { size: u64::from_be_bytes(*size), name: core::str::from_utf8(name).ok()? })
            }
            DATA => Some(Self::Data(rest)),
            END => {
                let (size, hash) = rest.split_first_chunk()?;
                Some(Self::End { size: u64::from_be_bytes(*size), hash: hash.try_into().ok()? })
            }
            ABANDON => Some(Self::Abandon { reason: printable(rest) }),
            ALL_SENT => Some(Self::AllSent { verified: u64::from_be_bytes(rest.try_into().ok()?) }),
            _ => None,
        }
    }
}

pub(crate) fn begin(size: u64, name: &str) -> Bytes {
    [&[BEGIN][..], &size.to_be_bytes(), name.as_bytes()].concat().into()
}

/// An empty data message with room for a piece: content is read straight behind its first byte.
pub(crate) fn data_buffer(piece: usize) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(piece + 1);
    buffer.push(DATA);
    buffer
}

pub(crate) fn end(size: u64, hash: &[u8; HASH_LEN]) -> Bytes {
    [&[END][..], &size.to_be_bytes(), hash].concat().into()
}

pub(crate) fn abandon(reason: &str) -> Bytes {
    [&[ABANDON][..], clipped(reason)].concat().into()
}

pub(crate) fn all_sent(verified: u64) -> Bytes {
    [&[ALL_SENT][..], &verified.to_be_bytes()].concat().into()
}

/// What became of a file, as the receiver tells the sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The kind of outcome.
    pub code: VerdictCode,
    /// For people; empty if all is well.
    pub text: String,
}

/// The kinds of outcome of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum VerdictCode {
    /// Length and hash are right, and the file is in its place.
    Verified = 0,
    /// The name is not one that the receiver takes.
    BadName = 1,
    /// There is a file of that name.
    Exists = 2,
    /// The receiver could not store it.
    Storage = 3,
    /// Length or hash are not what the sender said.
    Mismatch = 4,
    /// The sender gave it up.
    Abandoned = 5,
    /// The receiver has too much to do.
    Busy = 6,
}

impl Verdict {
    /// The good one.
    #[must_use]
    pub const fn verified() -> Self {
        Self { code: VerdictCode::Verified, text: String::new() }
    }

    /// A bad one, and why.
    #[must_use]
    pub fn new(code: VerdictCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// Whether the file arrived whole and is in its place.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.code == VerdictCode::Verified
    }

    pub(crate) fn parse(message: &[u8]) -> Option<Self> {
        let (&[VERDICT, code], text) = message.split_first_chunk()? else { return None };
        let code = match code {
            0 => VerdictCode::Verified,
            1 => VerdictCode::BadName,
            2 => VerdictCode::Exists,
            3 => VerdictCode::Storage,
            4 => VerdictCode::Mismatch,
            5 => VerdictCode::Abandoned,
            6 => VerdictCode::Busy,
            _ => return None,
        };
        Some(Self { code, text: printable(text) })
    }

    pub(crate) fn encode(&self) -> Bytes {
        [&[VERDICT, self.code as u8][..], clipped(&self.text)].concat().into()
    }
}

/// Text from the far end, made safe to show on a terminal.
pub(crate) fn printable(text: &[u8]) -> String {
    let text = text.get(..text.len().min(TEXT_MAX)).unwrap_or_default();
    shown(&String::from_utf8_lossy(text))
}

/// As much of the beginning of `text` as fits in `max` bytes.
pub(crate) fn clip(text: &str, max: usize) -> &str {
    (0..=max.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

fn clipped(text: &str) -> &[u8] {
    clip(text, TEXT_MAX).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::is_invisible;
    use quickcheck::quickcheck;

    #[test]
    fn every_message_is_read_as_it_was_written() {
        assert_eq!(ToReceiver::parse(&begin(7, "a b")), Some(ToReceiver::Begin { size: 7, name: "a b" }));
        let mut data = data_buffer(2);
        data.extend_from_slice(b"xy");
        assert_eq!(ToReceiver::parse(&data), Some(ToReceiver::Data(b"xy")));
        assert_eq!(ToReceiver::parse(&end(9, &[3; 32])), Some(ToReceiver::End { size: 9, hash: [3; 32] }));
        assert_eq!(ToReceiver::parse(&abandon("no")), Some(ToReceiver::Abandon { reason: "no".into() }));
        assert_eq!(ToReceiver::parse(&all_sent(4)), Some(ToReceiver::AllSent { verified: 4 }));
        for verdict in [Verdict::verified(), Verdict::new(VerdictCode::Storage, "disk full")] {
            assert_eq!(Verdict::parse(&verdict.encode()), Some(verdict));
        }
    }

    #[test]
    fn truncated_and_unknown_messages_are_refused() {
        assert_eq!(ToReceiver::parse(b""), None);
        assert_eq!(ToReceiver::parse(b"F1234567"), None);
        assert_eq!(ToReceiver::parse(b"E12345678short"), None);
        assert_eq!(ToReceiver::parse(b"F12345678\xff"), None);
        assert_eq!(ToReceiver::parse(b"Q"), None);
        assert_eq!(Verdict::parse(b"V"), None);
        assert_eq!(Verdict::parse(b"V\x09"), None);
    }

    #[test]
    fn text_from_the_far_end_cannot_drive_a_terminal() {
        let hostile = "\x1b[2Jgone\r\n\u{202e}cod\u{2028}".as_bytes();
        assert!(!printable(hostile).chars().any(is_invisible));
        assert_eq!(printable(&[b'a'; 2_000]).len(), TEXT_MAX);
    }

    quickcheck! {
        fn parsing_never_panics(bytes: Vec<u8>) -> bool {
            let _ = ToReceiver::parse(&bytes);
            let _ = Verdict::parse(&bytes);
            true
        }
    }
}
