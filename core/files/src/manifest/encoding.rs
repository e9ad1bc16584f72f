//! The bytes of entries.

use alloc::string::String;
use alloc::vec::Vec;

use rtmfp_core::wire::{Cursor, Malformed, vlu};

use super::{Entry, EntryKind, MAX_ENTRIES, MAX_MANIFEST, MAX_SIZE, MAX_TEXT, ManifestError, Time};

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const UNKNOWN: u8 = 2;
const SYMLINK: u8 = 3;
const TEXT: u8 = 4;
const KIND: u8 = 0x07;
const HAS_MODE: u8 = 0x08;
const HAS_TIME: u8 = 0x10;
const NANOS: u32 = 1_000_000_000;

/// What an entry counts for beside its texts: as many bytes as its fields can take.
pub(super) const COST: usize = 64;

pub(super) fn encode(entries: &[Entry]) -> Result<Vec<u8>, ManifestError> {
    if entries.len() > MAX_ENTRIES {
        return Err(ManifestError::TooManyEntries);
    }
    let (mut out, mut before, mut cost) = (Vec::new(), "", 0_usize);
    for entry in entries {
        check(entry)?;
        cost = cost.saturating_add(cost_of(entry));
        if cost > MAX_MANIFEST {
            return Err(ManifestError::TooLong);
        }
        encode_entry(entry, before, &mut out);
        before = &entry.path;
    }
    Ok(out)
}

/// What an entry takes of [`MAX_MANIFEST`].
pub(super) const fn cost_of(entry: &Entry) -> usize {
    let target = if let EntryKind::Symlink { target } = &entry.kind { target.len() } else { 0 };
    entry.path.len().saturating_add(target).saturating_add(COST)
}

fn check(entry: &Entry) -> Result<(), ManifestError> {
    if entry.path.is_empty() && !matches!(entry.kind, EntryKind::Text { .. }) || entry.path.len() > MAX_TEXT {
        return Err(ManifestError::BadText);
    }
    if let EntryKind::Symlink { target } = &entry.kind
        && (target.is_empty() || target.len() > MAX_TEXT)
    {
        return Err(ManifestError::BadText);
    }
    if entry.size().is_some_and(|size| size > MAX_SIZE) || entry.modified.is_some_and(|time| time.nanos >= NANOS) {
        return Err(ManifestError::BadNumber);
    }
    Ok(())
}

fn encode_entry(entry: &Entry, before: &str, out: &mut Vec<u8>) {
    let kind = match &entry.kind {
        EntryKind::Directory => DIRECTORY,
        EntryKind::File { size: Some(_) } => FILE,
        EntryKind::File { size: None } => UNKNOWN,
        EntryKind::Symlink { .. } => SYMLINK,
        EntryKind::Text { .. } => TEXT,
    };
    let flag = |flag, is_set| if is_set { flag } else { 0 };
    out.push(kind | flag(HAS_MODE, entry.mode.is_some()) | flag(HAS_TIME, entry.modified.is_some()));
    let mut shared = entry.path.bytes().zip(before.bytes()).take_while(|(a, b)| a == b).count();
    while !entry.path.is_char_boundary(shared) {
        shared -= 1;
    }
    vlu::encode(shared as u64, out);
    vlu::encode_sized(entry.path.as_bytes().get(shared..).unwrap_or_default(), out);
    if let Some(size) = entry.size() {
        vlu::encode(size, out);
    }
    if let EntryKind::Symlink { target } = &entry.kind {
        vlu::encode_sized(target.as_bytes(), out);
    }
    if let Some(mode) = entry.mode {
        vlu::encode(mode.into(), out);
    }
    if let Some(time) = entry.modified {
        vlu::encode((time.seconds << 1 ^ time.seconds >> 63).cast_unsigned(), out);
        vlu::encode(time.nanos.into(), out);
    }
}

/// Why no entry was read.
pub(super) enum Unread {
    /// There is not all of it yet.
    Cut,
    Bad(ManifestError),
}

impl From<Malformed> for Unread {
    fn from(_: Malformed) -> Self {
        Self::Cut
    }
}

impl From<ManifestError> for Unread {
    fn from(error: ManifestError) -> Self {
        Self::Bad(error)
    }
}

/// Reads an entry that follows one with this path.
pub(super) fn parse(cursor: &mut Cursor<'_>, before: &str) -> Result<Entry, Unread> {
    let flags = cursor.u8()?;
    if flags & !(KIND | HAS_MODE | HAS_TIME) != 0 || flags & KIND > TEXT {
        return Err(ManifestError::Malformed.into());
    }
    let shared = number(cursor)?;
    let shared =
        usize::try_from(shared).ok().and_then(|shared| before.get(..shared)).ok_or(ManifestError::Malformed)?;
    let rest = text(cursor)?;
    if shared.len() + rest.len() > MAX_TEXT {
        return Err(ManifestError::BadText.into());
    }
    let path = [shared, rest].concat();
    let kind = match flags & KIND {
        DIRECTORY => EntryKind::Directory,
        FILE => EntryKind::File { size: Some(number(cursor)?) },
        UNKNOWN => EntryKind::File { size: None },
        SYMLINK => EntryKind::Symlink { target: String::from(text(cursor)?) },
        _ => EntryKind::Text { size: number(cursor)? },
    };
    let mode = if flags & HAS_MODE == 0 { None } else { Some(small(cursor)?) };
    let modified = if flags & HAS_TIME == 0 { None } else { Some(time(cursor)?) };
    let entry = Entry { path, kind, mode, modified };
    check(&entry)?;
    Ok(entry)
}

/// A VLU that is not longer than it can be.
fn number(cursor: &mut Cursor<'_>) -> Result<u64, Unread> {
    match cursor.vlu() {
        Err(_) if cursor.remaining() >= vlu::MAX_LEN => Err(ManifestError::Malformed.into()),
        number => Ok(number?),
    }
}

fn small(cursor: &mut Cursor<'_>) -> Result<u32, Unread> {
    Ok(u32::try_from(number(cursor)?).map_err(|_| ManifestError::BadNumber)?)
}

fn time(cursor: &mut Cursor<'_>) -> Result<Time, Unread> {
    let folded = number(cursor)?;
    let seconds = (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed();
    Ok(Time { seconds, nanos: small(cursor)? })
}

fn text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Unread> {
    let length = usize::try_from(number(cursor)?).map_err(|_| ManifestError::BadText)?;
    if length > MAX_TEXT {
        return Err(ManifestError::BadText.into());
    }
    Ok(core::str::from_utf8(cursor.bytes(length)?).map_err(|_| ManifestError::Malformed)?)
}
