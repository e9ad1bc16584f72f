//! Whole endpoints: transfers, handshakes, and how much it costs to have nothing to do.

use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use rtmfp_core::profile::flash::Group;
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{Bytes, Endpoint, EndpointConfig, Instant, TransmitBuf};
use rtmfp_tests::back_to_back::BackToBack;
use rtmfp_tests::duo::TestRng;
use rtmfp_tests::raw_peer::RawPeer;

use crate::Kind;

const TRANSFER: u64 = 4 << 20;

fn transfer(bencher: Bencher<'_, '_>, kind: Kind, message: usize) {
    let (profiles, discriminator) = kind.identities(Group::Modp1024);
    let mut pair = BackToBack::new(&EndpointConfig::default(), profiles);
    pair.connect(&discriminator);
    let message = Bytes::from(vec![7; message]);
    pair.transfer(2 * TRANSFER, &message);
    bencher.counter(BytesCount::new(TRANSFER)).bench_local(|| pair.transfer(TRANSFER, &message));
}

/// Both ends together, in one thread.
#[divan::bench(args = [Kind::Plain, Kind::Checksum, Kind::Hmac], sample_size = 1, sample_count = 40)]
fn transfer_16_kib_messages(bencher: Bencher<'_, '_>, kind: Kind) {
    transfer(bencher, kind, 16_384);
}

/// Both ends together, in one thread.
#[divan::bench(args = [Kind::Plain, Kind::Checksum, Kind::Hmac], sample_size = 1, sample_count = 40)]
fn transfer_200_byte_messages(bencher: Bencher<'_, '_>, kind: Kind) {
    transfer(bencher, kind, 200);
}

/// Both ends together, in one thread: two key agreements.
#[divan::bench(args = [Group::Modp1024, Group::Modp1536, Group::Modp2048, Group::Modp4096], sample_size = 1, sample_count = 40)]
fn handshake(bencher: Bencher<'_, '_>, group: Group) {
    let (profiles, discriminator) = Kind::Hmac.identities(group);
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| BackToBack::new(&EndpointConfig::default(), profiles.clone()))
        .bench_local_values(|mut pair| {
            pair.connect(&discriminator);
            pair
        });
}

/// What a responder computes for an IIKeying in group 14, with a key that was made ahead or without.
#[divan::bench(args = [false, true], sample_size = 1, sample_count = 100)]
fn respond(bencher: Bencher<'_, '_>, prepared: bool) {
    let (profiles, _) = Kind::Hmac.identities(Group::Modp2048);
    let [near, far] = &profiles;
    let mut rng = TestRng(2);
    let initiation = far.initiate(near.certificate(), None, &mut rng).unwrap();
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| if prepared { near.prepare(&mut TestRng(3)) } else { None })
        .bench_local_values(|key| {
            near.respond(far.certificate(), &initiation.component, key, &mut rng).map(|response| response.component)
        });
}

/// A turn of a driver's loop in which nothing happens.
#[divan::bench(args = [1, 100, 10_000])]
fn idle_poll(bencher: Bencher<'_, '_>, sessions: u32) {
    let start = Instant::from_millis(1_000);
    let mut config = EndpointConfig::default();
    config.max_keying_units_per_second = u32::MAX;
    config.max_keying_units_per_source = u32::MAX;
    config.max_hello_replies_per_second = u32::MAX;
    let mut endpoint =
        Endpoint::new(config, Arc::new(PlainProfile::new(b"server")), Box::new(TestRng(1)), start).unwrap();
    for number in 0..sessions {
        let address = ([198, 51, (number >> 8) as u8, number as u8], 1_935).into();
        let profile = Arc::new(PlainProfile::new(format!("client {number}").as_bytes()));
        RawPeer::new(profile, address, number.into()).connect(&mut endpoint, start, b"server");
    }
    while endpoint.poll_event().is_some() {}
    let mut buf = TransmitBuf::new(8);
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        endpoint.handle_timeout(start);
        let transmit = endpoint.poll_transmit(start, &mut buf);
        assert!(transmit.is_none());
        (endpoint.poll_event(), endpoint.poll_timeout())
    });
}
