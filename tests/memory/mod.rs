//! What an endpoint keeps: of sessions and flows that do nothing, and at the worst moment of each attack. The figures of
//! `README.md` beside this file are compared with what is measured; `RTMFP_TABLES=renew` writes them.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod attacks;
mod handshakes;
mod registered;
mod sockets;

use std::fmt::Write as _;
use std::path::Path;

use rtmfp_core::wire::{Chunk, FragmentControl, UserData, encode_option};
use rtmfp_core::{Endpoint, EndpointConfig, Event, FlowOptions, Instant};
use rtmfp_tests::counting::held;
use rtmfp_tests::duo::TestRng;
use rtmfp_tests::raw_peer::RawPeer;
use rtmfp_tests::registered::authentic;
use rtmfp_tests::siege::{Identity, address, flash, modern, plain};

pub(crate) const START: Instant = Instant::from_millis(5_000);

/// An endpoint with this identity.
pub(crate) fn endpoint(config: &EndpointConfig, identity: &Identity) -> Endpoint {
    Endpoint::new(config.clone(), identity.0.clone(), Box::new(TestRng(1)), START).unwrap()
}

/// A fragment that is a whole message.
pub(crate) fn data<'a>(flow_id: u64, sequence_number: u64, options: &'a [u8], data: &'a [u8]) -> UserData<'a> {
    UserData {
        control: FragmentControl::Whole,
        abandon: false,
        last: false,
        flow_id,
        sequence_number,
        fsn_offset: sequence_number,
        options: Some(options),
        data,
    }
}

pub(crate) fn named() -> Vec<u8> {
    let mut options = Vec::new();
    encode_option(0, b"name", &mut options);
    options
}

/// What each of so many idle sessions takes at the end that accepted them.
fn session(count: u64, victim: &Identity, peer: &Identity) -> isize {
    let mut config = EndpointConfig::default();
    config.max_sessions = 1 << 20;
    config.max_hello_replies_per_second = u32::MAX;
    config.max_hello_replies_per_source = u32::MAX;
    config.max_excess_reply_bytes = u32::MAX;
    config.max_excess_reply_bytes_per_source = u32::MAX;
    config.max_keying_units_per_second = u32::MAX;
    config.max_keying_units_per_source = u32::MAX;
    let mut endpoint = endpoint(&config, victim);
    let before = held();
    for number in 0..count {
        let from = std::net::SocketAddr::from(([10, (number >> 16) as u8, (number >> 8) as u8, number as u8], 1_935));
        RawPeer::new(peer.0.clone(), from, number).connect(&mut endpoint, START, &victim.1);
        while endpoint.poll_event().is_some() {}
    }
    assert_eq!(endpoint.sessions().count() as u64, count);
    (held() - before) / count as isize
}

/// What each of many idle flows takes, of those that are received and of those that are sent.
fn flows() -> [isize; 2] {
    const COUNT: u64 = 1_000;
    let mut endpoint = endpoint(&EndpointConfig::default(), &plain("victim"));
    let mut peer = RawPeer::new(plain("peer").0, address(9), 9);
    peer.connect(&mut endpoint, START, b"victim");
    let Some(Event::SessionOpened { session }) = endpoint.poll_event() else { panic!("no session") };
    let (before, options) = (held(), named());
    for flow in 0..COUNT {
        peer.send(&mut endpoint, START, &[Chunk::UserData(data(flow, 1, &options, b"hello"))]);
        while let Some(event) = endpoint.poll_event() {
            if let Event::FlowReadable { flow } = event {
                let _ = endpoint.recv_flow_mut(START, flow).unwrap().read().unwrap();
            }
        }
        peer.talk(&mut endpoint, START);
    }
    let received = (held() - before) / COUNT as isize;
    let before = held();
    for _ in 0..COUNT {
        let flow = endpoint.session_mut(START, session).unwrap().open_flow(FlowOptions::new("name")).unwrap();
        endpoint.send_flow_mut(START, flow).unwrap().write("hello").unwrap();
        acknowledge(&mut endpoint, &mut peer);
    }
    [received, (held() - before) / COUNT as isize]
}

/// Acknowledges every message that the endpoint sends.
fn acknowledge(endpoint: &mut Endpoint, peer: &mut RawPeer) {
    for plain in peer.talk(endpoint, START) {
        let (_, chunks) = rtmfp_core::wire::PacketHeader::parse(&plain).unwrap();
        let flows: Vec<u64> = chunks
            .flatten()
            .filter_map(|chunk| if let Chunk::UserData(data) = chunk { Some(data.flow_id) } else { None })
            .collect();
        for flow_id in flows {
            let ack = rtmfp_core::wire::AckRanges { flow_id, blocks_available: 100, cumulative_ack: 1, encoded: &[] };
            peer.send(endpoint, START, &[Chunk::AckRanges(ack)]);
        }
    }
    while endpoint.poll_event().is_some() {}
}

/// The same within a tenth: the allocator's and the maps' own sizes differ a little from one compiler to the next.
fn alike(kept: &str, made: &str) -> bool {
    let numbers = |text: &str| -> Vec<f64> {
        text.split(|c: char| !c.is_ascii_digit() && c != ',')
            .filter_map(|word| word.replace(',', "").parse().ok())
            .collect()
    };
    let (kept, made) = (numbers(kept), numbers(made));
    kept.len() == made.len() && kept.iter().zip(&made).all(|(kept, made)| (kept - made).abs() <= 0.1 * made.max(10.0))
}

/// With a comma between thousands.
fn grouped(number: isize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[test]
fn what_is_kept_is_what_the_table_says() {
    let mut text = String::from(
        "# Memory\n\nBytes that an endpoint has allocated, counted by the allocator, on a machine of 64 bits.\n\n\
         ```sh\nRTMFP_TABLES=renew cargo test -p rtmfp-tests --test measured memory\n```\n\n\
         ## Idle\n\nA session after its handshake, at the end that accepted it, and a flow of which one message was sent, \
         delivered and read.\nA peer that is registered at a \
         rendezvous server is its session, the flow to ask over, the flow of answers, and a number.\n\n| | bytes each |\n|---|--:|\n",
    );
    let plain_session = session(2_000, &plain("victim"), &plain("peer"));
    let flash_session = session(100, &flash(1), &flash(2));
    let modern_session = session(2_000, &modern(1), &modern(2));
    // A quarter of 10,000: tables that double are as full with either.
    let plain_peer = registered::peer(2_500, authentic);
    let modern_peer = registered::peer(2_500, modern);
    if std::env::var_os("RTMFP_LONG").is_some() {
        let many = registered::peer(10_000, modern);
        assert!((many - modern_peer).abs() * 20 <= modern_peer, "{many} bytes each of 10,000, {modern_peer} of 2,500");
    }
    let [received, sent] = flows();
    for (what, bytes, most) in [
        ("session, plain profile, of 2,000", plain_session, 8_192),
        ("session, Flash profile, of 100", flash_session, 8_192),
        ("session, modern profile, of 2,000", modern_session, 8_192),
        ("peer registered at a server, plain profile, of 2,500", plain_peer, 16_384),
        ("peer registered at a server, modern profile, of 2,500", modern_peer, 16_384),
        ("flow, received", received, 2_048),
        ("flow, sent", sent, 2_048),
    ] {
        assert!(bytes > 0 && bytes <= most, "{what}: {bytes} bytes");
        let _ = writeln!(text, "| {what} | {} |", grouped(bytes));
    }
    text.push_str(
        "\n## Under attack\n\nThe most that is held at any moment of it, beyond what was held before; the limit that \
         kept it there; and what was\nturned away. Afterwards a stranger still gets a session, and a message through.\n\n\
         | attack | held at most | limit | turned away |\n|---|--:|---|--:|\n",
    );
    for attack in attacks::ALL {
        let outcome = (attack.run)();
        assert!(outcome.held <= attack.most, "{}: {} bytes, at most {}", attack.name, outcome.held, attack.most);
        assert!(outcome.refused > 0, "{}: the limit was not reached", attack.name);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            attack.name,
            grouped(outcome.held),
            attack.limit,
            grouped(outcome.refused)
        );
    }
    text.push_str(include_str!("mended.md"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("memory/README.md");
    if std::env::var("RTMFP_TABLES").is_ok_and(|what| what == "renew") {
        std::fs::write(&file, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(alike(&kept, &text), "memory/README.md is not what is measured any more:\n\n{text}");
}
