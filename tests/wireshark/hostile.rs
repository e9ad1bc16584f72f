//! What strangers may send to have a capture read slowly, wrongly, or not at all.

use core::net::{Ipv4Addr, SocketAddrV4};

use rtmfp_core::profile::flash::{FlashProfile, Group, Protection};
use rtmfp_core::profile::modern::Cipher;
use rtmfp_core::profile::{CryptoProfile as _, Span};
use rtmfp_core::wire::session_id;
use rtmfp_tests::duo::TestRng;

use super::capture::Capture;
use super::conversation::Conversation;
use super::expected::{COMPARED, Expected};
use super::tshark::{Scratch, dissector, fields, run};
use super::{modern, sealed};

/// What `chunks.lua` puts behind a list that it cuts.
const MORE: &str = " …";

fn chunk(kind: u8, payload: &[&[u8]]) -> Vec<u8> {
    let payload = payload.concat();
    [&[kind][..], &(payload.len() as u16).to_be_bytes(), &payload].concat()
}

fn addresses() -> (SocketAddrV4, SocketAddrV4) {
    let at = |host, port| SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, host), port);
    (at(1, 50_000), at(2, 40_000))
}

fn capture(datagrams: &[Vec<u8>]) -> Capture {
    let (from, to) = addresses();
    let mut capture = Capture::new();
    datagrams.iter().for_each(|datagram| capture.push(from, to, datagram));
    capture
}

fn plain(session: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let packet = [&[1][..], &chunks.concat()].concat();
    [&session_id::scramble(session, &packet)[..], &packet].concat()
}

/// A datagram has room for lists whose display takes minutes.
#[test]
fn lists_end_after_a_thousand_elements_of_a_packet() {
    let ranges = chunk(0x51, &[&[1, 1, 0], &[0; 4_000]]);
    let bitmap = chunk(0x50, &[&[1, 1, 0], &[0x55; 500]]);
    let redirect = chunk(0x71, &[&[0], &[0, 192, 0, 2, 3, 7, 143].repeat(2_000)]);
    let options = chunk(0x10, &[&[0x80, 1, 1, 1], &[1, 5].repeat(2_000), &[0], b"data"]);
    let half = chunk(0x51, &[&[1, 1, 0], &[0; 1_200]]);
    let packets: Vec<Vec<u8>> = [vec![ranges], vec![bitmap], vec![redirect], vec![options], vec![half.clone(), half]]
        .iter()
        .map(|chunks| plain(7, chunks))
        .collect();
    let wanted = ["rtmfp.ack.from", "rtmfp.address", "rtmfp.option.type", "rtmfp.userdata.data", "rtmfp.chunk.summary"];
    let preferences = ["rtmfp.packets:plain (no encryption)", "rtmfp.ports:40000"];
    let Some(shown) = fields(&capture(&packets), &preferences, &wanted) else { return };
    for (at, list) in ["rtmfp.ack.from", "rtmfp.ack.from", "rtmfp.address", "rtmfp.option.type"].iter().enumerate() {
        assert_eq!(shown[at][*list].len(), 1_000, "{list}");
        assert_eq!(shown[at]["rtmfp.chunk.summary"][0].matches(MORE).count(), 1, "{list}");
    }
    // The data is found behind the options that are not shown.
    assert_eq!(shown[3]["rtmfp.userdata.data"], ["64617461"]);
    // All chunks together.
    assert_eq!(shown[4]["rtmfp.ack.from"].len(), 1_000);
    let lines = &shown[4]["rtmfp.chunk.summary"];
    assert!(!lines[0].contains(MORE) && lines[1].ends_with(MORE));
}

/// Of packets in fragments, those are shown that an endpoint takes (RFC 7016 §3.4).
#[test]
fn a_packet_of_fragments_has_a_greatest_size() {
    let packets = |size: usize| -> Vec<Vec<u8>> {
        let whole = [&[1][..], &chunk(0x01, &[&vec![0; 60_000]]), &vec![0xff; size - 60_004]].concat();
        let (a, b) = whole.split_at(40_000);
        vec![plain(7, &[chunk(0x7f, &[&[0x80, 9, 0], a])]), plain(7, &[chunk(0x7f, &[&[0, 9, 1], b])])]
    };
    let preferences = ["rtmfp.packets:plain (no encryption)", "rtmfp.ports:40000"];
    for (size, lines) in [(65_536, 2), (65_537, 1)] {
        let Some(shown) = fields(&capture(&packets(size)), &preferences, &["rtmfp.chunk.summary"]) else { return };
        assert_eq!(shown[1]["rtmfp.chunk.summary"].len(), lines, "{size} bytes");
    }
}

/// Many protocols have small numbers among zeros. Chunk type 0 is padding, and so is 255.
#[test]
fn padding_alone_is_not_taken_for_a_packet() {
    let zeros = vec![0xef, 0xbe, 0xad, 0xde, 1, 0, 0, 0];
    let ones = vec![0xef, 0xbe, 0xad, 0xde, 1, 0xff, 0, 0, 0xff, 0, 0];
    let probe = plain(7, &[chunk(0x18, &[&[2]])]);
    let Some(shown) = fields(&capture(&[zeros, ones, probe]), &[], &["rtmfp.sid"]) else { return };
    assert_eq!(shown.iter().map(|shown| shown.contains_key("rtmfp.sid")).collect::<Vec<_>>(), [false, false, true]);
}

/// A packet with the Default Session Key, which everybody has, that gives an ID to the responder of a made-up session.
fn forged_keying(initiator: u32, responder: u32, number: u8) -> Vec<u8> {
    let keying = chunk(0x78, &[&responder.to_be_bytes(), &[1, number], b"X"]);
    let plain = [&[3][..], &keying].concat();
    let profile = FlashProfile::builder().groups(&[Group::Modp1024]).build(&mut TestRng(1)).unwrap();
    let mut keys = profile.default_keys();
    let front = keys.front_len(0);
    let sealed = keys.sealed_len(front, plain.len());
    let mut bytes = vec![0; sealed];
    bytes[front..front + plain.len()].copy_from_slice(&plain);
    keys.seal(&mut bytes, &[Span { start: 0, front, plain: plain.len(), sealed }]);
    [&session_id::scramble(initiator, &bytes)[..], &bytes].concat()
}

#[test]
fn forged_keyings_do_not_hide_a_session() {
    not_hidden(&sealed::converse(21, Protection::required(), Protection::required(), |builder| builder));
    not_hidden(&modern::converse(21, Cipher::Aes128Gcm));
}

fn not_hidden(conversation: &Conversation) {
    let session = || conversation.datagrams.iter().filter(|datagram| !conversation.is_startup(datagram));
    let id = |end| {
        let datagram = session().find(|datagram| datagram.0 != end).unwrap();
        session_id::unscramble(&datagram.1).unwrap().0
    };
    let (initiator, responder) = (id(0), id(1));
    let forged: Vec<Vec<u8>> = (0..40).map(|number| forged_keying(initiator, responder, number)).collect();
    let real: Vec<Vec<u8>> = session().map(|datagram| datagram.1.clone()).collect();
    let handshake = conversation.datagrams.iter().filter(|datagram| conversation.is_startup(datagram));
    let handshake: Vec<Vec<u8>> = handshake.map(|datagram| datagram.1.clone()).collect();
    let file = Scratch::new(conversation.keys.as_bytes());
    let preferences = [&format!("rtmfp.keylog:{}", file.0.display())[..], "rtmfp.ports:40000"];
    let wanted: Vec<&str> = COMPARED.into_iter().chain(["rtmfp.key"]).collect();
    for before in [forged.clone(), [handshake, forged].concat()] {
        let datagrams = [before.clone(), real.clone()].concat();
        let Some(shown) = fields(&capture(&datagrams), &preferences, &wanted) else { return };
        assert!(shown[..before.len()].iter().all(|shown| shown["rtmfp.key"] == ["Default Session Key"]));
        for (at, (datagram, shown)) in session().zip(&shown[before.len()..]).enumerate() {
            Expected::of(&conversation.plain(datagram)).unwrap().check(shown, &format!("packet {at}"));
        }
    }
}

/// What opened a packet outlives any number of keyings that did not.
#[test]
fn an_id_stands_for_a_limited_number_of_sessions() {
    let script = format!(
        r#"
        local folder = "{}/"
        local function part(name, ...) return assert(loadfile(folder .. name .. ".lua"))(...) end
        local crypto = part("crypto", part)
        local keys = part("keys", crypto.sha256, part("keylog", {{}}), {{}})
        for number = 1, 1000 do
            keys.keying(7, 8, "component " .. number)
            keys.keying(7, 8, "component " .. number)
        end
        local name, known = debug.getupvalue(keys.knows, 1)
        local names = 0
        for _ in pairs(known[7]) do names = names + 1 end
        print(name, #known[7], #known[8], names)
        "#,
        dissector("keys.lua").parent().unwrap().display()
    );
    let file = Scratch::new(script.as_bytes());
    let Some(out) = run(&file.0, &Capture::new(), &[]) else { return };
    // Each is in the list, and by its name.
    assert_eq!(out.trim_end(), "known\t16\t16\t32");
}
