//! Plain packets: every chunk, well-formed and not.

use core::net::{Ipv4Addr, SocketAddrV4};
use std::collections::BTreeSet;

use rtmfp_core::wire::session_id;
use rtmfp_tests::duo::TestRng;

use crate::capture::Capture;
use crate::draw::Draw;
use crate::expected::{COMPARED, Expected};
use crate::tshark::{Scratch, dissector, fields, run};

const PLAIN: &str = "rtmfp.packets:plain (no encryption)";

fn near() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 1935)
}

fn far() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 2), 50_000)
}

fn capture(session: u32, packets: &[Vec<u8>]) -> Capture {
    let mut capture = Capture::new();
    for plain in packets {
        capture.push(far(), near(), &[&session_id::scramble(session, plain)[..], plain].concat());
    }
    capture
}

/// What the dissector shows of plain packets.
fn shown(packets: &[Vec<u8>]) -> Option<Vec<crate::tshark::Fields>> {
    let wanted: Vec<&str> = COMPARED.into_iter().chain(["rtmfp.sid", "_ws.expert.message"]).collect();
    let shown = fields(&capture(0x0102_0304, packets), &[PLAIN], &wanted)?;
    assert_eq!(shown.len(), packets.len());
    Some(shown)
}

#[test]
fn every_chunk_is_read_as_we_read_it() {
    let mut draw = Draw(TestRng(1));
    let packets: Vec<Vec<u8>> = (0..400).map(|_| draw.packet()).collect();
    let Some(shown) = shown(&packets) else { return };
    let mut types = BTreeSet::new();
    for (at, (plain, shown)) in packets.iter().zip(&shown).enumerate() {
        let expected = Expected::of(plain).unwrap();
        assert!(!expected.malformed);
        expected.check(shown, &format!("packet {at}"));
        assert_eq!(shown["rtmfp.sid"], ["0x01020304"]);
        assert!(!shown.contains_key("_ws.expert.message"), "{shown:#?}");
        types.extend(shown["rtmfp.chunk.type"].clone());
    }
    assert_eq!(types.len(), 19, "{types:?}");
}

#[test]
fn noise_is_read_as_we_read_it_and_never_a_lua_error() {
    let mut draw = Draw(TestRng(2));
    let packets: Vec<Vec<u8>> = (0..3_000).map(|_| draw.noise()).collect();
    let Some(shown) = shown(&packets) else { return };
    let mut malformed = 0;
    for (at, (plain, shown)) in packets.iter().zip(&shown).enumerate() {
        let told = shown.get("_ws.expert.message").map_or(String::new(), |lines| lines.join("\n"));
        let Some(expected) = Expected::of(plain) else {
            assert!(told.contains(if plain.is_empty() { "nothing behind" } else { "no valid header" }), "{shown:#?}");
            continue;
        };
        if shown["rtmfp.mode"].len() > 1 {
            // A fragment that is a whole packet by itself is shown with what it holds.
            assert!(expected.fields.contains_key("rtmfp.packet_fragment.number"));
            continue;
        }
        expected.check(shown, &format!("packet {at}"));
        assert_eq!(told.contains("does not follow its syntax"), expected.malformed, "{shown:#?}");
        malformed += usize::from(expected.malformed);
    }
    assert!(malformed > 200, "{malformed}");
}

/// The packet of the last fragment shows what all of them are.
#[test]
fn fragments_of_a_packet_are_joined() {
    let mut draw = Draw(TestRng(3));
    let whole = draw.packet();
    let piece = |number: u8, more: bool, bytes: &[u8]| {
        let mut packet = vec![3, 0x7f, 0, (3 + bytes.len()) as u8];
        packet.extend([u8::from(more) << 7, 9, number]);
        packet.extend(bytes);
        packet
    };
    let (a, b) = whole.split_at(whole.len() / 2);
    // Out of order, and one of them twice.
    let packets = [piece(1, false, b), piece(1, false, b), piece(0, true, a)];
    let Some(shown) = shown(&packets) else { return };
    let inside = &Expected::of(&whole).unwrap().fields["rtmfp.chunk.summary"];
    assert_eq!(shown[1]["rtmfp.chunk.summary"].len(), 1);
    let last = &shown[2]["rtmfp.chunk.summary"];
    assert!(inside.iter().all(|line| last.contains(line)) && last.len() == inside.len() + 1, "{last:?} {inside:?}");
}

/// On any port, with any content: what is not RTMFP is left to others, and nothing is a Lua error.
#[test]
fn random_datagrams_are_no_lua_error() {
    let mut draw = Draw(TestRng(4));
    let mut capture = Capture::new();
    for round in 0..3_000 {
        let packet = if draw.below(2) == 0 { draw.packet() } else { draw.noise() };
        let bytes = [&session_id::scramble(round % 3, &packet)[..], &packet].concat();
        let to = if draw.below(2) == 0 { near() } else { SocketAddrV4::new(*near().ip(), 40_000) };
        let cut = if draw.below(4) == 0 { draw.below(bytes.len()) } else { bytes.len() };
        match draw.below(3) {
            0 => capture.push_cut(far(), to, &bytes, cut),
            _ => capture.push(far(), to, &bytes[..cut]),
        }
    }
    // As a user runs it, with everything decoded and shown.
    let Some(out) = run(&dissector("rtmfp.lua"), &capture, &["-V".to_owned()]) else { return };
    assert!(out.contains("cut") || out.contains("beginning"), "some were cut short");
    assert!(out.matches("Secure Real-Time Media Flow Protocol").count() > 1_000);
}

/// The vectors of FIPS 197 §C.1 and NIST SP 800-38A §F.2.2 (its first block is under another IV), FIPS 180-4 and RFC 4231.
#[test]
fn the_ciphers_agree_with_published_vectors() {
    let script = format!(
        r#"
        local crypto = dofile("{}")
        local function raw(hex) return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)) end
        local function hex(raw) return (raw:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
        local function aes(key, sealed) return hex(crypto.cbc_decrypt(crypto.aes_key(raw(key)), raw(sealed))) end
        print("aes", aes("000102030405060708090a0b0c0d0e0f", "69c4e0d86a7b0430d8cdb78070b4c55a"))
        print("cbc", aes("2b7e151628aed2a6abf7158809cf4f3c",
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"):sub(33))
        print("sha", hex(crypto.sha256("abc")), hex(crypto.sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")))
        print("mac", hex(crypto.hmac_sha256("Jefe", "what do ya want for nothing?")))
        print("sum", crypto.checksum(raw("0001f203f4f5f6f7")), crypto.checksum(raw("010203")))
        "#,
        dissector("crypto.lua").display()
    );
    let file = Scratch::new(script.as_bytes());
    let Some(out) = run(&file.0, &Capture::new(), &[]) else { return };
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines[0], ["aes", "00112233445566778899aabbccddeeff"]);
    assert_eq!(lines[1], ["cbc", "ae2d8a571e03ac9c9eb76fac45af8e51"]);
    let long = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
    assert_eq!(lines[2], ["sha", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", long]);
    assert_eq!(lines[3], ["mac", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"]);
    assert_eq!(lines[4], ["sum", "8717", "65274"]);
}
