//! One packet at a time: chunks written and read, packets sealed and opened.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use rtmfp_core::profile::flash::Group;
use rtmfp_core::profile::{SessionKeys, Span};
use rtmfp_core::wire::{AckRanges, Chunk, FragmentControl, Mode, PacketHeader, PacketWriter, UserData};
use rtmfp_tests::duo::TestRng;

use crate::Kind;

const DATA: usize = 1_100;
/// What stands before an encrypted packet: the scrambled session ID.
const ID: usize = 4;

fn header() -> PacketHeader {
    PacketHeader {
        time_critical: false,
        time_critical_reverse: false,
        timestamp: Some(5),
        timestamp_echo: Some(9),
        mode: Mode::Initiator,
    }
}

fn user_data(data: &[u8]) -> UserData<'_> {
    UserData {
        control: FragmentControl::Middle,
        abandon: false,
        last: false,
        flow_id: 2,
        sequence_number: 123_456,
        fsn_offset: 200,
        options: None,
        data,
    }
}

fn ranges(count: u64) -> impl Iterator<Item = (u64, u64)> + Clone {
    (1..=count).map(|range| (1_000 + range * 10, 1_003 + range * 10))
}

fn write_data(plain: &mut Vec<u8>, data: &[u8]) {
    let mut writer = PacketWriter::new(plain, 1_400);
    writer.header(&header());
    assert!(writer.push(&user_data(data)));
}

fn write_ack(plain: &mut Vec<u8>, count: u64) {
    let mut writer = PacketWriter::new(plain, 1_400);
    writer.header(&header());
    assert!(AckRanges::write(&mut writer, 2, 256, 1_000, ranges(count), false));
}

fn read(plain: &[u8]) -> u64 {
    let (_, chunks) = PacketHeader::parse(plain).unwrap();
    let value = |chunk: Chunk<'_>| match chunk {
        Chunk::AckRanges(ack) => ack.ranges().map(|(from, to)| from ^ to).sum(),
        Chunk::UserData(data) => data.sequence_number,
        other => panic!("{other}"),
    };
    chunks.map(|chunk| value(chunk.unwrap())).sum()
}

#[divan::bench]
fn encode_user_data(bencher: Bencher<'_, '_>) {
    let (data, mut plain) = ([7; DATA], Vec::with_capacity(1_500));
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        plain.clear();
        write_data(&mut plain, divan::black_box(&data));
        plain.len()
    });
}

#[divan::bench]
fn decode_user_data(bencher: Bencher<'_, '_>) {
    let mut plain = Vec::new();
    write_data(&mut plain, &[7; DATA]);
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| read(divan::black_box(&plain)));
}

#[divan::bench(args = [1, 100])]
fn encode_ack_ranges(bencher: Bencher<'_, '_>, count: u64) {
    let mut plain = Vec::with_capacity(1_500);
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        plain.clear();
        write_ack(&mut plain, divan::black_box(count));
        plain.len()
    });
}

#[divan::bench(args = [1, 100])]
fn decode_ack_ranges(bencher: Bencher<'_, '_>, count: u64) {
    let mut plain = Vec::new();
    write_ack(&mut plain, count);
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| read(divan::black_box(&plain)));
}

/// Both ends' keys of one session.
fn keys(kind: Kind) -> [Box<dyn SessionKeys>; 2] {
    let ([near, far], _) = kind.identities(Group::Modp1024);
    let mut rng = TestRng(5);
    let initiation = near.initiate(far.certificate(), None, &mut rng).unwrap();
    let response = far.respond(near.certificate(), &initiation.component, None, &mut rng).unwrap();
    [initiation.pending.finish(&response.component).unwrap(), response.keys]
}

/// A flight of full packets, ready to be sealed, in `bytes`.
fn lay_out(keys: &dyn SessionKeys, packets: usize, bytes: &mut Vec<u8>) -> Vec<Span> {
    bytes.clear();
    (0..packets)
        .map(|ahead| {
            let (start, front) = (bytes.len() + ID, keys.front_len(ahead));
            bytes.resize(start + front, 0);
            let before = bytes.len();
            write_data(bytes, &[7; DATA]);
            let plain = bytes.len() - before;
            let span = Span { start, front, plain, sealed: keys.sealed_len(front, plain) };
            bytes.resize(start + span.sealed, 0);
            span
        })
        .collect()
}

const KINDS: [Kind; 3] = [Kind::Plain, Kind::Checksum, Kind::Hmac];

fn seal(bencher: Bencher<'_, '_>, kind: Kind, packets: usize) {
    let [mut keys, _] = keys(kind);
    let mut bytes = Vec::new();
    let mut spans = lay_out(keys.as_ref(), packets, &mut bytes);
    bencher.counter(ItemsCount::new(packets)).bench_local(|| {
        // Sequence numbers grow longer now and then: the front must be as long as the keys say.
        if spans.first().is_some_and(|span| span.front != keys.front_len(0))
            || spans.last().is_some_and(|span| span.front != keys.front_len(packets - 1))
        {
            spans = lay_out(keys.as_ref(), packets, &mut bytes);
        }
        keys.seal(divan::black_box(&mut bytes), &spans);
    });
}

#[divan::bench(args = KINDS)]
fn seal_1(bencher: Bencher<'_, '_>, kind: Kind) {
    seal(bencher, kind, 1);
}

#[divan::bench(args = KINDS)]
fn seal_flight_of_8(bencher: Bencher<'_, '_>, kind: Kind) {
    seal(bencher, kind, 8);
}

#[divan::bench(args = KINDS)]
fn open(bencher: Bencher<'_, '_>, kind: Kind) {
    let [mut near, mut far] = keys(kind);
    let mut bytes = Vec::new();
    bencher
        .counter(BytesCount::new(DATA))
        .with_inputs(|| {
            let spans = lay_out(near.as_ref(), 1, &mut bytes);
            near.seal(&mut bytes, &spans);
            bytes[ID..].to_vec()
        })
        .bench_local_refs(|packet| far.open(packet).unwrap());
}
