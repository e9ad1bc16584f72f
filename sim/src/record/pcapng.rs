//! Captures that Wireshark and tshark open: pcapng (draft-ietf-opsawg-pcapng), an interface for each node.
//!
//! Written by hand: what is used of the format is a block and an option, forty lines, which `pcap-file` with its
//! dependencies would not make shorter. A test opens the result with tshark.

use core::net::{IpAddr, SocketAddr};

use datagram_sim::RecordKind;
use rtmfp_core::wire::session_id;

use super::plain::chunks;
use crate::run::{Outcome, Seen};

/// What is captured of each packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layer {
    /// The UDP payload as it was sent.
    Sent,
    /// The plain packet (RFC 7016 §2.2.4) after the session ID, scrambled as if the packet were encrypted so (§2.2.2).
    /// Packets that no node sealed are left out.
    Plain,
}

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
/// Raw IP.
const LINKTYPE: u32 = 101;
const OPT_COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let total = u32::try_from(body.len().next_multiple_of(4) + 12).unwrap_or(u32::MAX);
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&total.to_le_bytes());
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(&total.to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..value.len().min(65_000)).unwrap_or_default();
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The ones' complement sum of RFC 1071.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            let word = u16::from_be_bytes([pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)]);
            sum += u32::from(word);
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A datagram in an IP packet.
fn ip(src: SocketAddr, dst: SocketAddr, ecn: u8, payload: &[u8]) -> Vec<u8> {
    let udp_len = (payload.len() + 8) as u16;
    let mut udp = Vec::with_capacity(payload.len() + 48);
    udp.extend_from_slice(&src.port().to_be_bytes());
    udp.extend_from_slice(&dst.port().to_be_bytes());
    udp.extend_from_slice(&udp_len.to_be_bytes());
    udp.extend_from_slice(&[0, 0]);
    udp.extend_from_slice(payload);
    let mut packet = match (src.ip(), dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header = vec![0x45, ecn];
            header.extend_from_slice(&udp_len.saturating_add(20).to_be_bytes());
            header.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
            header.extend_from_slice(&src.octets());
            header.extend_from_slice(&dst.octets());
            let sum = checksum(&[&header]).to_be_bytes();
            header.splice(10..12, sum);
            header
        }
        (src, dst) => {
            let v6 = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            let pseudo = [&v6(src)[..], &v6(dst)[..], &[0, 0], &udp_len.to_be_bytes(), &[0, 0, 0, 17]].concat();
            let sum = checksum(&[&pseudo, &udp]).to_be_bytes();
            udp.splice(6..8, sum);
            let mut header = vec![0x60, ecn << 4, 0, 0];
            header.extend_from_slice(&udp_len.to_be_bytes());
            header.extend_from_slice(&[17, 64]);
            header.extend_from_slice(&v6(src));
            header.extend_from_slice(&v6(dst));
            header
        }
    };
    packet.append(&mut udp);
    packet
}

fn packet(out: &mut Vec<u8>, interface: u32, seen: &Seen, payload: &[u8], comment: &str) {
    let data = ip(seen.src, seen.dst, seen.ecn as u8, payload);
    let mut body = Vec::with_capacity(data.len() + 64);
    body.extend_from_slice(&interface.to_le_bytes());
    body.extend_from_slice(&((seen.time.0 >> 32) as u32).to_le_bytes());
    body.extend_from_slice(&(seen.time.0 as u32).to_le_bytes());
    let len = (data.len() as u32).to_le_bytes();
    body.extend_from_slice(&len);
    body.extend_from_slice(&len);
    body.extend_from_slice(&data);
    body.resize(body.len().next_multiple_of(4), 0);
    // Inbound or outbound.
    let flags: u32 = if seen.kind == RecordKind::Sent { 2 } else { 1 };
    option(&mut body, EPB_FLAGS, &flags.to_le_bytes());
    if !comment.is_empty() {
        option(&mut body, OPT_COMMENT, comment.as_bytes());
    }
    body.extend_from_slice(&[0; 4]);
    block(out, PACKET, &body);
}

/// A capture of what each node sent and got. Every packet's comment tells its chunks.
#[must_use]
pub fn capture(outcome: &Outcome, layer: Layer) -> Vec<u8> {
    let mut out = Vec::new();
    let mut section = vec![0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0];
    section.extend_from_slice(&[0xff; 8]);
    block(&mut out, SECTION, &section);
    let mut interfaces = std::collections::BTreeMap::new();
    for (index, (number, name)) in (0_u32..).zip(&outcome.names.devices) {
        interfaces.insert(*number, index);
        let mut body = LINKTYPE.to_le_bytes().to_vec();
        body.extend_from_slice(&0_u32.to_le_bytes());
        option(&mut body, IF_NAME, name.as_bytes());
        option(&mut body, IF_TSRESOL, &[9]);
        body.extend_from_slice(&[0; 4]);
        block(&mut out, INTERFACE, &body);
    }
    let wanted = |seen: &&Seen| !seen.on_link && matches!(seen.kind, RecordKind::Sent | RecordKind::Delivered);
    for seen in outcome.watched.packets.iter().filter(wanted) {
        let Some(&interface) = interfaces.get(&seen.place) else { continue };
        let comment = chunks(&outcome.plaintexts, &seen.bytes).map(|lines| lines.join("\n")).unwrap_or_default();
        match layer {
            Layer::Sent => packet(&mut out, interface, seen, &seen.bytes, &comment),
            Layer::Plain => {
                let plain = outcome.plaintexts.of(&seen.bytes);
                if let Some((plain, (id, _))) = plain.zip(session_id::unscramble(&seen.bytes)) {
                    let id = session_id::scramble(id, &plain);
                    packet(&mut out, interface, seen, &[&id, plain.as_slice()].concat(), &comment);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
