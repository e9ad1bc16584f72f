//! What crosses the border between an endpoint and its driver: where a datagram came from or goes to, how it is
//! marked, and the buffer that outgoing flights are built in.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// Names one of the endpoint's interfaces (RFC 7016 §3.3), usually a UDP socket. The driver chooses the numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct InterfaceId(pub u16);

impl InterfaceId {
    /// Interfaces from this number on are of last resort.
    const LAST_RESORT: u16 = 1 << 15;

    /// An interface of last resort, such as one of a relay. A session leaves it as soon as it is proved that the far end
    /// is reached over another interface. While that works, packets that still come over it move nothing back. The
    /// highest bit of `number` is not used: these interfaces have the numbers from 32,768 up.
    #[must_use]
    pub const fn last_resort(number: u16) -> Self {
        Self(Self::LAST_RESORT | number)
    }

    /// Whether it is of [last resort](Self::last_resort).
    #[must_use]
    pub const fn is_last_resort(self) -> bool {
        self.0 >= Self::LAST_RESORT
    }
}

/// The two ends of a datagram's way: our interface, its local address if known, and the far socket address.
///
/// One interface can have several local addresses, for example a socket that is bound to the wildcard address. The far
/// end knows only the one that it sends to, and so may the firewalls and NATs between. Comparison with `==` is exact.
/// Where a driver may know less of one path than of the other, compare with [`matches`](Self::matches).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub struct Path {
    /// The near end.
    pub interface: InterfaceId,
    /// On a received datagram: the local address that it was sent to. On one to be sent: the address to send it from.
    /// `None` if the driver does not know it, or if the system is to choose.
    pub local: Option<IpAddr>,
    /// The far end's transport address as seen from here.
    pub remote: SocketAddr,
}

impl Path {
    /// A path whose local address is not known, or left to the system.
    #[must_use]
    pub const fn new(interface: InterfaceId, remote: SocketAddr) -> Self {
        Self { interface, local: None, remote }
    }

    /// The same path with this local address.
    #[must_use]
    pub const fn with_local(self, local: Option<IpAddr>) -> Self {
        Self { local, ..self }
    }

    /// The path to another far address over the same interface. Its local address is left to the system: the one that
    /// reaches this far end may not reach that one.
    #[must_use]
    pub const fn with_remote(self, remote: SocketAddr) -> Self {
        Self::new(self.interface, remote)
    }

    /// Whether both can be the same path: an unknown local address may be any. This relation is not transitive.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let local = match (self.local, other.local) {
            (Some(one), Some(another)) => one == another,
            (None, _) | (_, None) => true,
        };
        local && self.interface == other.interface && self.remote == other.remote
    }
}

/// Explicit Congestion Notification code points of a marked IP packet (RFC 3168).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Ecn {
    /// ECT(1).
    Ect1 = 0b01,
    /// ECT(0), the one this library sends.
    Ect0 = 0b10,
    /// Congestion Experienced.
    Ce = 0b11,
}

impl Ecn {
    /// From the two low bits of the traffic class; `None` for Not-ECT.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits & 0b11 {
            0b01 => Some(Self::Ect1),
            0b10 => Some(Self::Ect0),
            0b11 => Some(Self::Ce),
            _ => None,
        }
    }
}

/// What a driver knows of a received datagram beside its path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecvMeta {
    /// The packet's ECN mark, if the driver can see it.
    pub ecn: Option<Ecn>,
}

/// What became of a datagram handed to [`handle_datagram`](crate::Endpoint::handle_datagram). Counted in
/// [`EndpointStats`](crate::EndpointStats) too; drivers need not look at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Disposition {
    /// It belonged to a session, or to the startup of one, and was processed.
    Processed,
    /// It was dropped: too short, not decipherable, a duplicate, for nobody here, or over a limit.
    Dropped,
}

/// One or more datagrams for one path, as left in the [`TransmitBuf`] by
/// [`poll_transmit`](crate::Endpoint::poll_transmit).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Transmit {
    /// Where they go.
    pub path: Path,
    /// How they are to be marked.
    pub ecn: Option<Ecn>,
    /// Bytes in the buffer, all datagrams together.
    pub len: usize,
    /// The length of every datagram but the last, which may be shorter, if there is more than one.
    pub segment_size: Option<usize>,
    /// The network may fragment them: IPv4 packets do not carry the don't-fragment bit. It is not known yet, or not
    /// any more, whether the path carries this size. Without it the bit is to be set, as path MTU discovery needs.
    pub may_fragment: bool,
}

/// Where an outgoing flight is built: datagrams of one session, end to end, all of one length but the last.
///
/// Make one and hand it to every [`poll_transmit`](crate::Endpoint::poll_transmit); it clears itself.
#[derive(Debug)]
pub struct TransmitBuf {
    bytes: Vec<u8>,
    max_segments: usize,
    pub(crate) packets: Vec<Span>,
}

/// One packet within a [`TransmitBuf`], before and after sealing. See
/// [`SessionKeys`](crate::profile::SessionKeys) for the layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Offset of the encrypted packet in the buffer: the scrambled session ID stands in the four bytes before.
    pub start: usize,
    /// Bytes that the profile puts before the plain packet.
    pub front: usize,
    /// Length of the plain packet (RFC 7016 §2.2.4), which stands right behind the front.
    pub plain: usize,
    /// Length of the whole encrypted packet, so that the packet ends at `start + sealed`.
    pub sealed: usize,
}

impl TransmitBuf {
    /// A buffer for flights of at most `max_segments` datagrams (at least one).
    #[must_use]
    pub fn new(max_segments: usize) -> Self {
        Self { bytes: Vec::new(), max_segments: max_segments.max(1), packets: Vec::new() }
    }

    /// The most datagrams that one flight may have.
    #[must_use]
    pub const fn max_segments(&self) -> usize {
        self.max_segments
    }

    /// The bytes of the flight, all datagrams end to end.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Each datagram of the flight by itself.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.packets.iter().filter_map(|span| self.bytes.get(span.start.checked_sub(4)?..span.start + span.sealed))
    }

    /// Forgets what was built.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
    }

    /// The bytes and the packets in them, for sealing.
    pub(crate) fn parts_mut(&mut self) -> (&mut Vec<u8>, &mut Vec<Span>) {
        (&mut self.bytes, &mut self.packets)
    }
}
