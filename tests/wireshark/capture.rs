//! Captures in the classic format (draft-ietf-opsawg-pcap), of UDP in IPv4 without link layer.

use std::net::SocketAddrV4;

const MAGIC: u32 = 0xa1b2_c3d4;
/// Raw IP.
const LINKTYPE: u32 = 101;

/// A capture being made.
pub(crate) struct Capture(Vec<u8>);

impl Capture {
    pub(crate) fn new() -> Self {
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend([2, 0, 4, 0]);
        bytes.extend([0; 8]);
        bytes.extend(65_535_u32.to_le_bytes());
        bytes.extend(LINKTYPE.to_le_bytes());
        Self(bytes)
    }

    /// Adds a datagram, of which the capture has at most `snap` bytes.
    pub(crate) fn push_cut(&mut self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8], snap: usize) {
        let udp_len = (payload.len() + 8) as u16;
        let mut packet = vec![0x45, 0];
        packet.extend((udp_len + 20).to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        packet.extend(from.ip().octets());
        packet.extend(to.ip().octets());
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend(udp_len.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        self.0.extend([0; 8]);
        self.0.extend((packet.len().min(28 + snap) as u32).to_le_bytes());
        self.0.extend((packet.len() as u32).to_le_bytes());
        packet.truncate(28 + snap);
        self.0.extend(packet);
    }

    pub(crate) fn push(&mut self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        self.push_cut(from, to, payload, usize::MAX - 28);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
