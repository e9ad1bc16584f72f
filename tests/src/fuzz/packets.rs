//! Bytes as they are, given to everything that takes bytes off the wire or from the user: nothing panics, and what
//! was understood means the same once it is written again.
#![expect(clippy::expect_used, reason = "a fuzz target stops at what should not be")]

use std::sync::Arc;

use rtmfp_core::profile::flash::{Certificate, Discriminator, FlashProfile, StaticKeys};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::profile::{CryptoProfile, SessionKeys};
use rtmfp_core::wire::{Address, Chunk, Cursor, Mode, Options, PacketHeader, PacketWriter, session_id, vlu};
use rtmfp_core::{Endpoint, EndpointConfig, Instant, InterfaceId, Path, RecvMeta};

use crate::duo::{TestRng, home};
use crate::raw_peer::seal;

/// The first byte says what the others are.
pub(super) fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 8 {
        0 | 1 => plain_packet(data),
        2 => elements(data),
        3 => discriminator(data),
        4 => certificate(data),
        5 => datagram(&profile(*kind), data),
        6 => sealed(&profile(*kind), data),
        _ => keys(data),
    }
}

fn profile(kind: u8) -> Arc<dyn CryptoProfile> {
    if kind < 128 {
        return Arc::new(PlainProfile::new(b"victim"));
    }
    // No key is made before a session is.
    Arc::new(FlashProfile::builder().accept_ancillary(true).build(&mut TestRng(1)).expect("a valid profile"))
}

/// Parsed, written and parsed again, a packet is the same.
fn plain_packet(data: &[u8]) {
    let Ok((header, chunks)) = PacketHeader::parse(data) else { return };
    let known = |chunk: &Chunk<'_>| !matches!(chunk, Chunk::Unknown { .. });
    let chunks: Vec<Chunk<'_>> = chunks.flatten().filter(known).collect();
    let mut again = Vec::new();
    let mut writer = PacketWriter::new(&mut again, 1 << 20);
    assert!(writer.header(&header), "a header fits");
    for chunk in &chunks {
        assert!(chunk.write(&mut writer), "a chunk fits");
        // Every line that a log shows.
        let _ = format!("{chunk}");
    }
    let (header_again, chunks_again) = PacketHeader::parse(&again).expect("what was written can be read");
    let chunks_again: Vec<Chunk<'_>> = chunks_again.map(|chunk| chunk.expect("a chunk as written")).collect();
    assert_eq!((header, &chunks), (header_again, &chunks_again));
    for chunk in &chunks {
        look_into(chunk);
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others are plain values")]
fn look_into(chunk: &Chunk<'_>) {
    match chunk {
        Chunk::AckRanges(ack) => ranges(ack.cumulative_ack, ack.ranges()),
        Chunk::AckBitmap(ack) => ranges(ack.cumulative_ack, ack.ranges()),
        Chunk::Redirect(redirect) => drop(redirect.destinations.iter().count()),
        Chunk::UserData(data) => drop(data.options.map(|options| Options::new(options).count())),
        _ => {}
    }
}

/// What is acknowledged beyond the cumulative acknowledgement lies beyond it, in order and apart.
fn ranges(cumulative_ack: u64, ranges: impl Iterator<Item = (u64, u64)>) {
    let mut end = cumulative_ack;
    for (first, last) in ranges {
        assert!(first > end && last >= first, "{first} to {last} after {end}");
        end = last;
    }
}

fn elements(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    while let Ok(value) = cursor.vlu() {
        let mut again = Vec::new();
        vlu::encode(value, &mut again);
        assert_eq!(Cursor::new(&again).vlu(), Ok(value));
    }
    let _ = Options::new(data).count();
    if let Ok(address) = Address::parse(&mut Cursor::new(data)) {
        let mut again = Vec::new();
        address.encode(&mut again);
        assert_eq!(Address::parse(&mut Cursor::new(&again)), Ok(address));
    }
    if let Some((id, offset)) = session_id::unscramble(data) {
        let again = session_id::scramble(id, data.get(offset..).unwrap_or_default());
        assert_eq!(data.get(..offset), Some(&again[..]));
    }
}

fn discriminator(data: &[u8]) {
    let Ok(parsed) = Discriminator::parse(data) else { return };
    let bytes = parsed.to_bytes();
    let again = Discriminator::parse(&bytes).expect("what was written can be read");
    assert_eq!(again.to_bytes(), bytes);
    // A name and certificate together.
    let split = data.len() / 2;
    if let (Ok(name), Ok(certificate)) = (
        Discriminator::parse(data.get(..split).unwrap_or_default()),
        Certificate::parse(data.get(split..).unwrap_or_default()),
    ) {
        let _ = name.selects(&certificate);
    }
}

fn certificate(data: &[u8]) {
    let profile = profile(255);
    let _ = profile.initiate(data, None, &mut TestRng(2)).is_ok();
    let Ok(certificate) = Certificate::parse(data) else { return };
    let _ = (certificate.fingerprint(), certificate.groups().count(), certificate.static_key(14));
}

/// As it came, from one who has no key but the one that everybody has.
fn datagram(profile: &Arc<dyn CryptoProfile>, data: &[u8]) {
    let now = Instant::from_millis(1_000);
    let mut config = EndpointConfig::default();
    config.introduce = true;
    let rng = Box::new(TestRng(3));
    let mut endpoint = Endpoint::new(config, Arc::clone(profile), rng, now).expect("a valid configuration");
    let path = Path::new(InterfaceId(0), home(1));
    let _ = endpoint.handle_datagram(now, path, RecvMeta::default(), &mut data.to_vec());
    assert_eq!(endpoint.sessions().count(), 0, "a session from one datagram of a stranger");
}

/// Sealed with the key that everybody has: whatever was sealed comes out, and then goes the way of any startup packet.
fn sealed(profile: &Arc<dyn CryptoProfile>, data: &[u8]) {
    let mut keys = profile.default_keys();
    let datagram_of = |keys: &mut dyn SessionKeys, plain: &[u8]| seal(keys, 0, plain);
    let mut plain = Vec::new();
    PacketHeader::new(Mode::Startup).encode(&mut plain);
    plain.extend_from_slice(data);
    let sealed = datagram_of(keys.as_mut(), &plain);
    let mut bytes = sealed.get(session_id::LEN..).unwrap_or_default().to_vec();
    let opened = profile.default_keys().open(&mut bytes).expect("what was sealed opens");
    assert_eq!(bytes.get(opened).and_then(|opened| opened.get(..plain.len())), Some(&plain[..]));
    datagram(profile, &sealed);
}

fn keys(data: &[u8]) {
    // Reading keys is for files of the user: the public keys are computed, which is dear, so only short ones.
    if data.len() < 64 {
        let _ = StaticKeys::from_bytes(data).is_ok();
    }
}
