//! Messages of a transfer, and manifests in pieces: nothing panics, and what was understood means the same once it is
//! written again.
#![expect(clippy::expect_used, reason = "a fuzz target stops at what should not be")]

use rtmfp_files::hash;
use rtmfp_files::manifest::{ManifestReader, Totals};
use rtmfp_files::transfer::message::{FromReceiver, FromSender, Have, Judged, OfContent, Record, Records, Refused};

/// The first byte says what the others are.
pub(super) fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 8 {
        0 => from_sender(data),
        1 => from_receiver(data),
        2 | 3 => of_content(data),
        4 => records::<Have>(data),
        5 => records::<Refused>(data),
        6 => records::<Judged>(data),
        _ => manifest(data),
    }
}

fn from_sender(data: &[u8]) {
    if let Ok(message) = FromSender::parse(data) {
        assert_eq!(FromSender::parse(&message.to_bytes()), Ok(message));
    }
}

fn from_receiver(data: &[u8]) {
    if let Ok(message) = FromReceiver::parse(data) {
        assert_eq!(FromReceiver::parse(&message.to_bytes()), Ok(message));
    }
}

fn of_content(data: &[u8]) {
    if let Ok(message) = OfContent::parse(data) {
        assert_eq!(OfContent::parse(&message.to_bytes()), Ok(message));
    }
}

fn records<T: Record + PartialEq + core::fmt::Debug>(data: &[u8]) {
    let mut left = Records::new(data);
    while let Ok(Some(record)) = left.read::<T>() {
        let mut written = Vec::new();
        record.encode(&mut written);
        assert_eq!(Records::new(&written).read(), Ok(Some(record)));
    }
}

/// The second byte is the length of a piece. What is wrong does not depend on it, and what is right is written again.
fn manifest(data: &[u8]) {
    let Some((piece, data)) = data.split_first() else { return };
    let totals = Totals { entries: 1_000, ..Totals::default() };
    let read = |piece: usize| {
        let mut reader = ManifestReader::new(totals).expect("that many entries are allowed");
        data.chunks(piece).try_for_each(|piece| reader.push(piece)).map(|()| reader.so_far())
    };
    let (whole, in_pieces) = (read(usize::MAX), read(usize::from(*piece) + 1));
    assert_eq!(whole, in_pieces);
    let Ok(totals) = whole else { return };
    let mut reader = ManifestReader::new(totals).expect("that many entries are allowed");
    reader.push(data).expect("it was read before");
    if let Ok(manifest) = reader.finish(&hash(data)) {
        let encoding = manifest.encode().expect("what is read can be written");
        let mut reader = ManifestReader::new(totals).expect("that many entries are allowed");
        reader.push(&encoding).expect("what is written can be read");
        assert_eq!(reader.finish(&hash(&encoding)), Ok(manifest));
    }
}
