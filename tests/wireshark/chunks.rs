//! Plain packets: every chunk, well-formed and not.

use core::net::{Ipv4Addr, SocketAddrV4};
use std::collections::BTreeSet;
use std::process::Command;

use rtmfp_core::wire::{AckBitmap, AckRanges, Mode, PacketHeader, PacketWriter, session_id, vlu};
use rtmfp_tests::duo::TestRng;

use super::capture::Capture;
use super::draw::Draw;
use super::expected::{COMPARED, Expected};
use super::tshark::{Scratch, dissector, fields, run};

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
fn shown(packets: &[Vec<u8>]) -> Option<Vec<super::tshark::Fields>> {
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

/// Where adding goes beyond 2^64 - 1.
#[test]
fn the_largest_numbers_are_read_as_we_read_them() {
    let mut packets = Vec::new();
    for cumulative_ack in [0, 1, 2, 3, 10, 19, 20].map(|below| u64::MAX - below) {
        let mut packet = Vec::new();
        let mut writer = PacketWriter::new(&mut packet, 1_000);
        assert!(writer.header(&PacketHeader::new(Mode::Initiator)));
        let (flow_id, blocks_available) = (u64::MAX, u64::MAX);
        let bits = &[0b1011_0111, 0, 0xff];
        assert!(writer.push(&AckBitmap { flow_id, blocks_available, cumulative_ack, bits }));
        for encoded in [&[0, 0, 1, 1, 2, 3, 9, 9][..], &[0, 0, 1, 0x80], &[0x81; 12]] {
            assert!(writer.push(&AckRanges { flow_id, blocks_available, cumulative_ack, encoded }));
        }
        for run in [u64::MAX, u64::MAX - 1, 1] {
            let mut encoded = vec![0];
            vlu::encode(run, &mut encoded);
            assert!(writer.push(&AckRanges { flow_id, blocks_available, cumulative_ack, encoded: &encoded }));
            assert!(writer.push(&AckRanges { flow_id, blocks_available, cumulative_ack: 7, encoded: &encoded }));
        }
        packets.push(packet);
    }
    let Some(shown) = shown(&packets) else { return };
    for (at, (plain, shown)) in packets.iter().zip(&shown).enumerate() {
        Expected::of(plain).unwrap().check(shown, &format!("packet {at}"));
    }
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

/// It may have been the User Data that the next chunk counts from (RFC 7016 §2.3.12).
#[test]
fn behind_a_malformed_chunk_next_user_data_has_no_numbers() {
    let user_data = [0x10, 0, 4, 0, 2, 5, 1];
    let (probe, next) = ([0x18, 0, 1, 2], [0x11, 0, 1, 0]);
    let malformed = [0x18, 0, 0];
    let packets = [[&[1][..], &user_data, &probe, &next].concat(), [&[1][..], &user_data, &malformed, &next].concat()];
    let Some(shown) = shown(&packets) else { return };
    assert_eq!(shown[0]["rtmfp.seq"], ["5", "6"]);
    assert_eq!(shown[1]["rtmfp.seq"], ["5"]);
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
    // In order, the first is not all of it.
    let Some(shown) = self::shown(&[piece(0, true, a), piece(1, false, b)]) else { return };
    assert_eq!(shown[0]["rtmfp.chunk.summary"].len(), 1);
    assert_eq!(shown[1]["rtmfp.chunk.summary"].len(), inside.len() + 1);
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

/// As the README has it installed. Wireshark runs every file of the folder by itself then.
#[test]
fn the_folder_is_a_plugin() {
    let home = std::env::temp_dir().join(format!("rtmfp-wireshark-home-{}", std::process::id()));
    let plugins = home.join(".local/lib/wireshark/plugins/rtmfp");
    std::fs::create_dir_all(&plugins).unwrap();
    for entry in std::fs::read_dir(dissector("rtmfp.lua").parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, plugins.join(path.file_name().unwrap())).unwrap();
    }
    let packets = [Draw(TestRng(5)).packet()];
    let file = Scratch::new(capture(1, &packets).bytes());
    let ran = Command::new("tshark").env("HOME", &home).args(["-n", "-o", PLAIN, "-r"]).arg(&file.0).output();
    std::fs::remove_dir_all(&home).unwrap();
    let Ok(ran) = ran else {
        eprintln!("SKIPPED: tshark is not installed, so the dissector was not tried");
        return;
    };
    let (out, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(out.contains("RTMFP") && !errors.contains("Lua"), "{out}{errors}");
}
