//! What a doctor comes to.

use core::net::SocketAddr;
use core::time::Duration;

use super::bounds::Bounds;

/// What is known of the network that an end is in, over one family of addresses. What is `None` is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Findings {
    /// Where this end sends from.
    pub local: Option<SocketAddr>,
    /// Where the server sees it.
    pub seen: Option<SocketAddr>,
    /// What the address depends on that others see.
    pub mapping: Option<Bounds>,
    /// Who gets through from outside to an address that this end has used.
    pub filtering: Option<Bounds>,
    /// Whether two sockets here reach each other at the addresses that the server sees them at.
    pub hairpin: Option<bool>,
    /// The round trip to the server.
    pub round_trip: Option<Duration>,
    /// The largest datagram that is known to pass, in bytes of UDP payload.
    pub datagram: Option<usize>,
    /// Whether ECN marks arrive at the server.
    pub ecn: Option<bool>,
    /// For how long a mapping is kept that nobody uses.
    pub kept: Option<KeptFor>,
}

/// For how long a NAT or firewall keeps a mapping that nobody uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeptFor {
    /// At least so long: after this pause a probe came in.
    pub at_least: Duration,
    /// Not so long: after this pause none did.
    pub less_than: Option<Duration>,
}

impl Findings {
    /// Whether something between translates this end's address.
    #[must_use]
    pub fn is_translated(&self) -> Option<bool> {
        let (local, seen) = (self.local?, self.seen?);
        Some(local.ip().to_canonical() != seen.ip().to_canonical() || local.port() != seen.port())
    }

    /// Whether this end's port is the one that others see.
    #[must_use]
    pub fn port_preserved(&self) -> Option<bool> {
        Some(self.local?.port() == self.seen?.port())
    }
}

/// Whether the nearest gateway makes mappings on request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum PortMapping {
    /// No gateway answered.
    Unavailable,
    /// By the Port Control Protocol (RFC 6887).
    Pcp,
    /// By NAT-PMP (RFC 6886).
    NatPmp,
    /// By UPnP.
    Upnp,
}

impl PortMapping {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Pcp => "pcp",
            Self::NatPmp => "nat-pmp",
            Self::Upnp => "upnp",
        }
    }

    /// The one of this [name](Self::name).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Unavailable, Self::Pcp, Self::NatPmp, Self::Upnp].into_iter().find(|known| known.name() == name)
    }
}

/// All that is known of where an end is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Over IPv4; `None` if no server was reached over it.
    pub v4: Option<Findings>,
    /// Over IPv6; `None` if no server was reached over it.
    pub v6: Option<Findings>,
    /// Whether the gateway makes mappings on request; `None` if nobody has asked it.
    pub port_mapping: Option<PortMapping>,
}

impl Report {
    /// What is known over each family by which a server was reached.
    pub fn families(&self) -> impl Iterator<Item = (&'static str, &Findings)> {
        [("IPv4", self.v4.as_ref()), ("IPv6", self.v6.as_ref())]
            .into_iter()
            .filter_map(|(name, findings)| Some((name, findings?)))
    }
}
