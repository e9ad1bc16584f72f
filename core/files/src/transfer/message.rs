//! The messages, as the table of [`transfer`](super) has them. Parsing takes any bytes.

use alloc::string::String;
use alloc::vec::Vec;

use rtmfp_core::wire::{Cursor, Malformed, vlu};

use super::PIECE;
use super::outcome::{StopCode, Verdict, VerdictCode};
use crate::manifest::Totals;
use crate::tree::{GROUP, HASH, Hash};

/// The longest text of a message that is sent or read, in bytes.
const MAX_TEXT: usize = 512;
/// Bytes of a list of records, beyond which a message takes no more of them.
pub(crate) const BATCH: usize = 8_192;

const OFFER: u8 = 0x01;
const ENTRIES: u8 = 0x02;
const OFFER_END: u8 = 0x03;
const DONE: u8 = 0x04;
const HAVE: u8 = 0x11;
const REFUSE: u8 = 0x12;
const ACCEPT: u8 = 0x13;
const DECLINE: u8 = 0x14;
const VERDICTS: u8 = 0x15;
const FINISHED: u8 = 0x16;
const STOP: u8 = 0x1f;
const FILE: u8 = 0x21;
const DATA: u8 = 0x22;
const HOLE: u8 = 0x23;
const END: u8 = 0x24;
const WHOLE: u8 = 0x25;
const UNREADABLE: u8 = 0x26;
const UNASKED_FILE: u8 = 0x29;
const UNASKED_WHOLE: u8 = 0x2d;
const UNASKED_UNREADABLE: u8 = 0x2e;

const UNCHANGED: u8 = 0;
const CHANGED: u8 = 1;

/// What a sender says on its control flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FromSender<'a> {
    /// What is to come.
    Offer(Totals),
    /// The next piece of the manifest.
    Entries(&'a [u8]),
    /// The manifest's end, with its root.
    OfferEnd(Hash),
    /// Every file has its verdict.
    Done,
    /// The transfer is over.
    Stop(StopCode, String),
}

impl<'a> FromSender<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(message);
        let parsed = match cursor.u8()? {
            OFFER => Self::Offer(Totals {
                entries: cursor.vlu()?,
                files: cursor.vlu()?,
                bytes: cursor.vlu()?,
                unknown: cursor.vlu()?,
            }),
            ENTRIES => Self::Entries(some(cursor.rest())?),
            OFFER_END => Self::OfferEnd(cursor.array()?),
            DONE => Self::Done,
            STOP => stop(&mut cursor).map(|(code, text)| Self::Stop(code, text))?,
            _ => return Err(Malformed),
        };
        if cursor.is_empty() { Ok(parsed) } else { Err(Malformed) }
    }

    /// The message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Offer(totals) => {
                let mut out = Vec::from([OFFER]);
                let numbers = [totals.entries, totals.files, totals.bytes, totals.unknown];
                numbers.into_iter().for_each(|number| vlu::encode(number, &mut out));
                out
            }
            Self::Entries(piece) => [&[ENTRIES], *piece].concat(),
            Self::OfferEnd(root) => [&[OFFER_END], &root[..]].concat(),
            Self::Done => [DONE].into(),
            Self::Stop(code, text) => stopped(*code, text),
        }
    }
}

/// What a receiver says on the return flow. Lists have records, which are read one by one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FromReceiver<'a> {
    /// Beginnings of files that are there.
    Have(Records<'a>),
    /// Entries that are not taken.
    Refuse(Records<'a>),
    /// All other entries are taken.
    Accept,
    /// Nothing is taken.
    Decline(String),
    /// What became of files.
    Verdicts(Records<'a>),
    /// All is in its place.
    Finished,
    /// The transfer is over.
    Stop(StopCode, String),
}

impl<'a> FromReceiver<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(message);
        let parsed = match cursor.u8()? {
            HAVE => Self::Have(Records(Cursor::new(some(cursor.rest())?))),
            REFUSE => Self::Refuse(Records(Cursor::new(some(cursor.rest())?))),
            ACCEPT => Self::Accept,
            DECLINE => Self::Decline(text(cursor.rest())?),
            VERDICTS => Self::Verdicts(Records(Cursor::new(some(cursor.rest())?))),
            FINISHED => Self::Finished,
            STOP => stop(&mut cursor).map(|(code, text)| Self::Stop(code, text))?,
            _ => return Err(Malformed),
        };
        if cursor.is_empty() { Ok(parsed) } else { Err(Malformed) }
    }

    /// The message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let list = |kind: u8, records: &Records<'_>| [&[kind], records.0.as_slice()].concat();
        match self {
            Self::Have(records) => list(HAVE, records),
            Self::Refuse(records) => list(REFUSE, records),
            Self::Accept => [ACCEPT].into(),
            Self::Decline(text) => [&[DECLINE], clipped(text)].concat(),
            Self::Verdicts(records) => list(VERDICTS, records),
            Self::Finished => [FINISHED].into(),
            Self::Stop(code, text) => stopped(*code, text),
        }
    }
}

/// Records of a list that are not read yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Records<'a>(Cursor<'a>);

impl<'a> Records<'a> {
    /// Reads records that were written one after another.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(Cursor::new(bytes))
    }

    /// The next record; `None` after the last.
    ///
    /// # Errors
    /// If it is none.
    pub fn read<T: Record>(&mut self) -> Result<Option<T>, Malformed> {
        if self.0.is_empty() { Ok(None) } else { T::parse(&mut self.0).map(Some) }
    }
}

/// One of a list.
pub trait Record: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// If it is none.
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Malformed>;

    /// Appends it.
    fn encode(&self, out: &mut Vec<u8>);
}

/// The beginning of a file is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Have {
    /// The file.
    pub index: u64,
    /// Bytes of it: whole groups, or all of the file.
    pub bytes: u64,
    /// BLAKE3 over the chaining values of its groups.
    pub digest: Hash,
}

impl Record for Have {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Ok(Self { index: cursor.vlu()?, bytes: cursor.vlu()?, digest: cursor.array()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        vlu::encode(self.index, out);
        vlu::encode(self.bytes, out);
        out.extend_from_slice(&self.digest);
    }
}

/// Entries, one after another, that are not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Why.
    pub code: VerdictCode,
}

impl Record for Refused {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let (first, count) = (cursor.vlu()?, cursor.vlu()?);
        Ok(Self { first, count, code: VerdictCode::from_byte(cursor.u8()?).ok_or(Malformed)? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        vlu::encode(self.first, out);
        vlu::encode(self.count, out);
        out.push(self.code as u8);
    }
}

/// What became of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// The entry.
    pub index: u64,
    /// What became of it.
    pub verdict: Verdict,
}

impl Record for Judged {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let index = cursor.vlu()?;
        let code = VerdictCode::from_byte(cursor.u8()?).ok_or(Malformed)?;
        let text = if code == VerdictCode::Verified { String::new() } else { text(cursor.sized_bytes()?)? };
        Ok(Self { index, verdict: Verdict { code, text } })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        vlu::encode(self.index, out);
        out.push(self.verdict.code as u8);
        if self.verdict.code != VerdictCode::Verified {
            vlu::encode_sized(clipped(&self.verdict.text), out);
        }
    }
}

/// What a content flow carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OfContent<'a> {
    /// A file begins, after so many bytes that the receiver has.
    File {
        /// The file.
        index: u64,
        /// Bytes that are left out.
        from: u64,
        /// Before the receiver has accepted anything.
        unasked: bool,
    },
    /// The next bytes of it, and the chaining value of each of their groups.
    Data {
        /// At most [`PIECE`] bytes.
        content: &'a [u8],
        /// One after another.
        values: &'a [u8],
    },
    /// So many groups of zeros.
    Hole {
        /// At most [`MAX_HOLE`](super::MAX_HOLE).
        groups: u64,
    },
    /// The file's end.
    End {
        /// Bytes of all of it.
        size: u64,
        /// Its hash; `None` if it has changed while it was sent.
        root: Option<Hash>,
    },
    /// A small file, all of it; `None` if it has changed.
    Whole {
        /// The file.
        index: u64,
        /// Its hash and content.
        content: Option<(Hash, &'a [u8])>,
        /// Before the receiver has accepted anything.
        unasked: bool,
    },
    /// A file cannot be read, to its end or at all.
    Unreadable {
        /// The file.
        index: u64,
        /// Why not.
        text: String,
        /// Before the receiver has accepted anything.
        unasked: bool,
    },
}

impl<'a> OfContent<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(message);
        let kind = cursor.u8()?;
        let parsed = match kind {
            FILE => Self::File { index: cursor.vlu()?, from: cursor.vlu()?, unasked: false },
            UNASKED_FILE => Self::File { index: cursor.vlu()?, from: 0, unasked: true },
            DATA => return data(cursor.rest()),
            HOLE => Self::Hole { groups: cursor.vlu()? },
            END => {
                let size = cursor.vlu()?;
                Self::End { size, root: root(&mut cursor)? }
            }
            WHOLE | UNASKED_WHOLE => {
                let (index, root) = (cursor.vlu()?, root(&mut cursor)?);
                let content = root.map(|root| (root, cursor.rest()));
                Self::Whole { index, content, unasked: kind == UNASKED_WHOLE }
            }
            UNREADABLE | UNASKED_UNREADABLE => {
                let (index, text) = (cursor.vlu()?, text(cursor.rest())?);
                Self::Unreadable { index, text, unasked: kind == UNASKED_UNREADABLE }
            }
            _ => return Err(Malformed),
        };
        if cursor.is_empty() { Ok(parsed) } else { Err(Malformed) }
    }

    /// The message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::File { index, from: _, unasked: true } => number(UNASKED_FILE, *index, &mut out),
            Self::File { index, from, unasked: false } => {
                number(FILE, *index, &mut out);
                vlu::encode(*from, &mut out);
            }
            Self::Data { content, values } => return [&[DATA], *content, *values].concat(),
            Self::Hole { groups } => number(HOLE, *groups, &mut out),
            Self::End { size, root } => {
                number(END, *size, &mut out);
                put_root(root.as_ref(), &mut out);
            }
            Self::Whole { index, content, unasked } => {
                number(if *unasked { UNASKED_WHOLE } else { WHOLE }, *index, &mut out);
                put_root(content.as_ref().map(|(root, _)| root), &mut out);
                out.extend_from_slice(content.map_or(&[], |(_, content)| content));
            }
            Self::Unreadable { index, text, unasked } => {
                number(if *unasked { UNASKED_UNREADABLE } else { UNREADABLE }, *index, &mut out);
                out.extend_from_slice(clipped(text));
            }
        }
        out
    }
}

/// Where the content of a data message begins: it is read there from the disk.
pub(crate) const DATA_START: usize = 1;

/// An empty data message with room for so much content, which stands at [`DATA_START`], and its chaining values.
pub(crate) fn data_buffer(bytes: usize) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(DATA_START + bytes + HASH * bytes.div_ceil(GROUP));
    buffer.resize(DATA_START + bytes, 0);
    if let Some(kind) = buffer.first_mut() {
        *kind = DATA;
    }
    buffer
}

/// Divides what is behind the kind: the last group is the only one that can be short, so that the length tells all.
fn data(rest: &[u8]) -> Result<OfContent<'_>, Malformed> {
    let groups = rest.len().div_ceil(GROUP + HASH);
    let bytes = rest.len().checked_sub(HASH * groups).ok_or(Malformed)?;
    if bytes == 0 || bytes > PIECE || bytes.div_ceil(GROUP) != groups {
        return Err(Malformed);
    }
    let (content, values) = rest.split_at_checked(bytes).ok_or(Malformed)?;
    Ok(OfContent::Data { content, values })
}

fn root(cursor: &mut Cursor<'_>) -> Result<Option<Hash>, Malformed> {
    match cursor.u8()? {
        UNCHANGED => cursor.array().map(Some),
        CHANGED => Ok(None),
        _ => Err(Malformed),
    }
}

fn put_root(root: Option<&Hash>, out: &mut Vec<u8>) {
    match root {
        Some(root) => {
            out.push(UNCHANGED);
            out.extend_from_slice(root);
        }
        None => out.push(CHANGED),
    }
}

fn number(kind: u8, number: u64, out: &mut Vec<u8>) {
    out.push(kind);
    vlu::encode(number, out);
}

fn stopped(code: StopCode, text: &str) -> Vec<u8> {
    [&[STOP, code as u8], clipped(text)].concat()
}

fn stop(cursor: &mut Cursor<'_>) -> Result<(StopCode, String), Malformed> {
    let code = StopCode::from_number(cursor.u8()?.into()).ok_or(Malformed)?;
    Ok((code, text(cursor.rest())?))
}

fn some(bytes: &[u8]) -> Result<&[u8], Malformed> {
    if bytes.is_empty() { Err(Malformed) } else { Ok(bytes) }
}

/// A text of the far end, which is shown to people: nothing in it drives a terminal.
fn text(bytes: &[u8]) -> Result<String, Malformed> {
    if bytes.len() > MAX_TEXT {
        return Err(Malformed);
    }
    let text = String::from_utf8_lossy(bytes);
    Ok(text.chars().map(|c| if crate::name::is_invisible(c) { ' ' } else { c }).collect())
}

/// As much of a text as is sent.
fn clipped(text: &str) -> &[u8] {
    (0..=MAX_TEXT.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default().as_bytes()
}

#[cfg(test)]
mod tests;
