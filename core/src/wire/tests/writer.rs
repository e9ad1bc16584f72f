//! The packet writer: never past its limit, and nothing left of what did not fit.

use alloc::vec;
use alloc::vec::Vec;

use quickcheck::{Arbitrary, Gen};

use super::check;
use crate::wire::{Chunks, Mark, Mode, PacketHeader, PacketWriter, Padding, Ping};

const HEADER: PacketHeader = PacketHeader {
    time_critical: false,
    time_critical_reverse: false,
    timestamp: Some(0x0102),
    timestamp_echo: None,
    mode: Mode::Responder,
};

#[derive(Clone, Debug)]
enum Step {
    Header,
    Push(Vec<u8>),
    PushWith(Vec<u8>),
    GiveUp(Vec<u8>),
    TimeCritical,
    TimeCriticalReverse,
    Mark,
    Rollback,
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        match u8::arbitrary(g) % 16 {
            0 => Self::Header,
            1 => Self::TimeCritical,
            2 => Self::TimeCriticalReverse,
            3 | 4 => Self::Mark,
            5 => Self::Rollback,
            6 => Self::GiveUp(Vec::arbitrary(g)),
            7..=10 => Self::PushWith(Vec::arbitrary(g)),
            _ => Self::Push(Vec::arbitrary(g)),
        }
    }
}

/// What the packet should be: its bytes.
#[derive(Clone, Default)]
struct Model {
    bytes: Vec<u8>,
}

impl Model {
    fn header(&mut self, limit: usize) -> bool {
        let fits = self.bytes.is_empty() && limit >= 3;
        if fits {
            self.bytes.extend_from_slice(&[0x0a, 1, 2]);
        }
        fits
    }

    fn push(&mut self, payload: &[u8], limit: usize) -> bool {
        let fits = !self.bytes.is_empty() && self.bytes.len() + 3 + payload.len() <= limit;
        if fits {
            self.bytes.extend_from_slice(&[0x01, 0, payload.len() as u8]);
            self.bytes.extend_from_slice(payload);
        }
        fits
    }

    fn set(&mut self, flag: u8) {
        if let Some(flags) = self.bytes.first_mut() {
            *flags |= flag;
        }
    }
}

#[test]
fn writer_follows_its_model() {
    fn property(prefix: Vec<u8>, limit: u8, steps: Vec<Step>) -> bool {
        let (prefix, limit) = (prefix, usize::from(limit));
        let mut buf = prefix.clone();
        let mut model = Model::default();
        let mut saved: Option<(Mark, Model)> = None;
        let mut writer = PacketWriter::new(&mut buf, limit);
        for step in [Step::Header].into_iter().skip(limit % 2).chain(steps) {
            let agreed = match &step {
                Step::Header => writer.header(&HEADER) == model.header(limit),
                Step::Push(message) => writer.push(&Ping { message }) == model.push(message, limit),
                Step::PushWith(message) => {
                    writer.push_with(0x01, |out| out.extend_from_slice(message)) == model.push(message, limit)
                }
                Step::GiveUp(message) => !writer.try_push_with(0x01, |out| {
                    out.extend_from_slice(message);
                    false
                }),
                Step::TimeCritical => {
                    writer.set_time_critical();
                    model.set(0x80);
                    true
                }
                Step::TimeCriticalReverse => {
                    writer.set_time_critical_reverse();
                    model.set(0x40);
                    true
                }
                Step::Mark => {
                    saved = Some((writer.mark(), model.clone()));
                    true
                }
                Step::Rollback => {
                    // A mark is of use once: what comes before it may be rolled back as well.
                    if let Some((mark, then)) = saved.take() {
                        writer.rollback(mark);
                        model = then;
                    }
                    true
                }
            };
            let length = model.bytes.len();
            let room = if length == 0 { 0 } else { limit.saturating_sub(length + 3) };
            assert!(agreed, "{step:?}");
            assert!(writer.len() <= limit && writer.len() == length && writer.is_empty() == (length == 0));
            assert_eq!(writer.remaining(), room);
            assert_eq!(writer.has_chunks(), length > 3);
        }
        buf == [prefix, model.bytes].concat()
    }
    check(property as fn(Vec<u8>, u8, Vec<Step>) -> bool);
}

#[test]
fn nothing_without_a_header() {
    let mut buf = vec![1, 2];
    let mut writer = PacketWriter::new(&mut buf, 100);
    assert!(!writer.push(&Ping { message: &[] }));
    assert!(!writer.push_with(1, |_| {}));
    writer.set_time_critical();
    assert_eq!((writer.remaining(), writer.len(), writer.has_chunks()), (0, 0, false));
    let mut small = PacketWriter::new(&mut buf, 2);
    assert!(!small.header(&HEADER));
    assert!(!small.push_with(1, |_| {}));
    assert_eq!(buf, [1, 2]);
}

#[test]
fn a_chunk_has_at_most_65535_bytes() {
    let mut buf = Vec::new();
    let mut writer = PacketWriter::new(&mut buf, 200_000);
    assert!(writer.header(&HEADER));
    assert_eq!(writer.remaining(), 65_535);
    assert!(!writer.push(&Padding { length: 65_536 }));
    assert!(!writer.push_with(0, |out| out.resize(out.len() + 65_536, 0)));
    assert_eq!(writer.len(), 3);
    assert!(writer.push(&Padding { length: 65_535 }));
    assert!(writer.push(&Padding { length: 0 }));
    let mut chunks = Chunks::new(&buf[3..]);
    assert_eq!(chunks.next_raw().map(|(kind, payload)| (kind, payload.len())), Some((0, 65_535)));
    assert_eq!(chunks.next_raw(), Some((0, &[][..])));
    assert_eq!(chunks.next_raw(), None);
}

#[test]
fn a_chunk_that_will_not_fit_does_not_make_the_buffer_grow() {
    let mut buf = Vec::with_capacity(64);
    let mut writer = PacketWriter::new(&mut buf, 64);
    assert!(writer.header(&HEADER));
    assert!(!writer.push(&Padding { length: usize::MAX }));
    assert!(!writer.push(&Padding { length: 10_000 }));
    assert!(writer.push(&Padding { length: 64 - 3 - 3 }));
    assert_eq!((writer.remaining(), writer.len()), (0, 64));
    assert_eq!(buf.capacity(), 64);
}

#[test]
fn a_payload_that_shrinks_the_buffer_is_refused() {
    let mut buf = vec![1, 2];
    let mut writer = PacketWriter::new(&mut buf, 100);
    assert!(writer.header(&HEADER));
    assert!(!writer.push_with(1, Vec::clear));
    assert_eq!(writer.len(), 0);
    assert!(!writer.push_with(1, |_| {}), "the header went with it");
    assert_eq!(writer.remaining(), 0);
}
