#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;
use alloc::vec;
use quickcheck::quickcheck;

/// Whether what was read, if anything was, passes.
fn passes<T>(parsed: Result<T, Malformed>, check: impl FnOnce(T) -> bool) -> bool {
    parsed.ok().is_none_or(check)
}

fn read_again(bytes: &[u8]) -> bool {
    passes(FromSender::parse(bytes), |message| FromSender::parse(&message.to_bytes()) == Ok(message))
        && passes(FromReceiver::parse(bytes), |message| FromReceiver::parse(&message.to_bytes()) == Ok(message))
        && passes(OfContent::parse(bytes), |message| OfContent::parse(&message.to_bytes()) == Ok(message))
}

fn record_again<T: Record + PartialEq>(bytes: &[u8]) -> bool {
    let mut records = Records::new(bytes);
    while let Ok(Some(record)) = records.read::<T>() {
        let mut written = Vec::new();
        record.encode(&mut written);
        if Records::new(&written).read::<T>() != Ok(Some(record)) {
            return false;
        }
    }
    true
}

quickcheck! {
    fn what_is_read_is_the_same_when_written(kind: u8, bytes: Vec<u8>) -> bool {
        [kind, kind & 0x0f, 0x10 | kind & 0x0f, 0x20 | kind & 0x0f]
            .into_iter()
            .all(|kind| read_again(&[&[kind], &bytes[..]].concat()))
    }

    fn records_are_read_as_they_are_written(bytes: Vec<u8>) -> bool {
        record_again::<Have>(&bytes) && record_again::<Refused>(&bytes) && record_again::<Judged>(&bytes)
    }
}

#[test]
fn messages_are_as_the_table_says() {
    let totals = Totals { entries: 1, files: 2, bytes: 300, unknown: 4 };
    assert_eq!(FromSender::Offer(totals).to_bytes(), [1, 1, 2, 0x82, 0x2c, 4]);
    assert_eq!(FromReceiver::Stop(StopCode::Full, "no".into()).to_bytes(), [0x1f, 1, b'n', b'o']);
    let mut records = Vec::new();
    let verdict = Verdict { code: VerdictCode::Exists, text: "x".into() };
    Judged { index: 200, verdict }.encode(&mut records);
    Judged { index: 3, verdict: Verdict::of(VerdictCode::Verified) }.encode(&mut records);
    let verdicts = FromReceiver::Verdicts(Records::new(&records)).to_bytes();
    assert_eq!(verdicts, [0x15, 0x81, 0x48, 1, 1, b'x', 3, 0]);
    assert_eq!(OfContent::File { index: 5, from: 0, unasked: true }.to_bytes(), [0x29, 5]);
    assert_eq!(OfContent::End { size: 5, root: None }.to_bytes(), [0x24, 5, 1]);
}

#[test]
fn the_length_of_data_tells_its_groups() {
    for bytes in [1_usize, 16_383, 16_384, 16_385, 32_768, 49_153, 65_536] {
        let groups = bytes.div_ceil(GROUP);
        let (content, values) = (vec![7; bytes], vec![8; groups * HASH]);
        let message = OfContent::Data { content: &content, values: &values };
        assert_eq!(OfContent::parse(&message.to_bytes()), Ok(message.clone()), "{bytes}");
    }
    for bytes in [0, 32, 16_384 + 32 + 1, 65_536 + 4 * 32 + 1, 100_000] {
        assert_eq!(OfContent::parse(&[&[DATA], &vec![7; bytes][..]].concat()), Err(Malformed), "{bytes}");
    }
}

#[test]
fn texts_are_short_and_drive_no_terminal() {
    let stop = FromSender::Stop(StopCode::Fault, "é".repeat(300)).to_bytes();
    assert_eq!(FromSender::parse(&stop), Ok(FromSender::Stop(StopCode::Fault, "é".repeat(256))));
    assert_eq!(FromSender::parse(&[&[STOP, 0], &vec![b'x'; MAX_TEXT + 1][..]].concat()), Err(Malformed));
    let hostile = FromReceiver::parse(b"\x14\x1b[2J\xff\xe2\x80\xae.").unwrap();
    assert_eq!(hostile, FromReceiver::Decline(" [2J\u{fffd} .".into()));
}
