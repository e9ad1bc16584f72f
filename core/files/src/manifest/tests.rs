#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use alloc::format;
use alloc::vec;

use quickcheck::{Arbitrary, Gen, quickcheck};

use super::*;

fn file(path: &str, size: u64) -> Entry {
    Entry { path: path.into(), kind: EntryKind::File { size: Some(size) }, mode: None, modified: None }
}

impl Arbitrary for Manifest {
    fn arbitrary(g: &mut Gen) -> Self {
        let count = usize::arbitrary(g) % 20;
        let mut entry = |_| {
            let size = u64::arbitrary(g) >> 1;
            let kind = match u8::arbitrary(g) % 5 {
                0 => EntryKind::Directory,
                1 => EntryKind::File { size: Some(size) },
                2 => EntryKind::File { size: None },
                3 => EntryKind::Symlink { target: format!("{}.", String::arbitrary(g)) },
                _ => EntryKind::Text { size },
            };
            let path = format!("{}{}", ["ä", "äb/", "äö/c"].get(size as usize % 3).unwrap(), String::arbitrary(g));
            let time = Time { seconds: i64::arbitrary(g), nanos: u32::arbitrary(g) % 1_000_000_000 };
            let mode = Option::arbitrary(g);
            Entry { path, kind, mode, modified: bool::arbitrary(g).then_some(time) }
        };
        Self { entries: (0..count).map(&mut entry).collect() }
    }
}

fn read(totals: Totals, encoding: &[u8], piece: usize) -> Result<Manifest, ManifestError> {
    let mut reader = ManifestReader::new(totals)?;
    for piece in encoding.chunks(piece) {
        reader.push(piece)?;
    }
    reader.finish(&crate::tree::hash(encoding))
}

quickcheck! {
    fn a_manifest_is_read_as_it_was_written_in_pieces_of_any_length(manifest: Manifest, piece: u8) -> bool {
        let encoding = manifest.encode().unwrap();
        read(manifest.totals(), &encoding, usize::from(piece) + 1) == Ok(manifest)
    }

    fn reading_never_panics(bytes: Vec<u8>, entries: u16, piece: u8) -> bool {
        let totals = Totals { entries: entries.into(), ..Totals::default() };
        let _ = read(totals, &bytes, usize::from(piece) + 1);
        true
    }

    fn a_damaged_manifest_is_none_or_another(manifest: Manifest, at: usize, by: u8) -> bool {
        let mut encoding = manifest.encode().unwrap();
        let root = crate::tree::hash(&encoding);
        let Some(byte) = at.checked_rem(encoding.len()).and_then(|at| encoding.get_mut(at)) else { return true };
        *byte ^= by.max(1);
        let mut reader = ManifestReader::new(manifest.totals()).unwrap();
        reader.push(&encoding).is_err() || reader.finish(&root).is_err()
    }
}

#[test]
fn an_encoding_is_as_described_and_shares_the_beginnings_of_paths() {
    let mut second = file("a/bc", 300);
    second.mode = Some(0o755);
    second.modified = Some(Time { seconds: -2, nanos: 5 });
    let manifest = Manifest { entries: vec![file("a/b", 1), second] };
    let expected = [1, 0, 3, b'a', b'/', b'b', 1, 0x19, 3, 1, b'c', 0x82, 0x2c, 0x83, 0x6d, 3, 5];
    assert_eq!(manifest.encode().unwrap(), expected);
}

#[test]
fn limits_are_kept_at_both_ends() {
    let refused = |entry: Entry, error| {
        let manifest = Manifest { entries: vec![entry] };
        assert_eq!(manifest.encode(), Err(error), "{manifest:?}");
    };
    refused(file("", 1), ManifestError::BadText);
    refused(file(&"x".repeat(MAX_TEXT + 1), 1), ManifestError::BadText);
    refused(file("x", MAX_SIZE + 1), ManifestError::BadNumber);
    let link = |target: &str| Entry { kind: EntryKind::Symlink { target: target.into() }, ..file("x", 1) };
    refused(link(""), ManifestError::BadText);
    refused(link(&"x".repeat(MAX_TEXT + 1)), ManifestError::BadText);
    let time = Some(Time { seconds: 0, nanos: 1_000_000_000 });
    refused(Entry { modified: time, ..file("x", 1) }, ManifestError::BadNumber);

    let totals = Totals { entries: 9, ..Totals::default() };
    let bad = |bytes: &[u8]| read(totals, bytes, 1_000_000).unwrap_err();
    assert_eq!(bad(&[1, 0, 0, 1]), ManifestError::BadText, "an empty path");
    assert_eq!(bad(&[1, 0, 0xa0, 1, b'x']), ManifestError::BadText, "before all of it has come");
    assert_eq!(bad(&[5, 0, 1, b'x']), ManifestError::Malformed, "an unknown kind");
    assert_eq!(bad(&[0x20, 0, 1, b'x']), ManifestError::Malformed, "an unknown flag");
    assert_eq!(bad(&[1, 1, 1, b'x']), ManifestError::Malformed, "it shares with nothing");
    assert_eq!(bad(&[1, 0, 1, 0xff]), ManifestError::Malformed, "no UTF-8");
    assert_eq!(bad(&[0, 0, 2, 0xc3, 0xa4, 0, 1, 1, b'x']), ManifestError::Malformed, "half a character is shared");
    assert_eq!(bad(&[&[1, 0, 1, b'x'][..], &[0x80; 10]].concat()), ManifestError::Malformed, "a number without end");
    assert_eq!(
        bad(&[&[1, 0, 1, b'x'][..], &[0x81], &[0x80; 8], &[0]].concat()),
        ManifestError::BadNumber,
        "too long a file"
    );
}

#[test]
fn paths_that_share_all_and_are_long_in_all_are_limited() {
    let mut reader = ManifestReader::new(Totals { entries: MAX_ENTRIES as u64, ..Totals::default() }).unwrap();
    reader.push(&[&[0, 0, 0xa0, 0][..], &[b'x'; MAX_TEXT]].concat()).unwrap();
    // Four bytes that stand for a path of 4,096.
    let short = [0, 0xa0, 0, 0].repeat(1_000);
    let taken = (0..1_000).take_while(|_| reader.push(&short).is_ok()).count();
    assert_eq!(taken, MAX_MANIFEST / (MAX_TEXT + 64) / 1_000);
    assert_eq!(
        ManifestReader::new(Totals { entries: MAX_ENTRIES as u64 + 1, ..Totals::default() }).err(),
        Some(ManifestError::TooManyEntries)
    );
}
