//! What kinds of paths there are, and which may be used.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtmfp_core::Path;
use rtmfp_core::wire::AddressOrigin;

/// How a session reaches its far end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum PathKind {
    /// Straight to an address of the far end, or of the NAT before it.
    Direct,
    /// Straight, on one network: see [`PathKind::of`].
    Lan,
    /// Through a server that passes datagrams on.
    Relayed,
    /// There is no path now that answers: others are tried.
    Searching,
}

impl PathKind {
    /// The kind of a path, for an end that has these addresses.
    ///
    /// A path over an interface [of last resort](rtmfp_core::InterfaceId::last_resort) is relayed. One is on one network
    /// ([`Lan`](Self::Lan)) if one of these holds for the far address:
    ///
    /// - it is a loopback or link-local address, or one of this end's own;
    /// - it is private (RFC 1918), and this end has an address in the same /24;
    /// - it is of IPv6, and this end has an address in the same /64.
    ///
    /// Any other is direct. Which bits name a network is not known here, so in larger ones some hosts count as direct.
    #[must_use]
    pub fn of(path: &Path, own: &[IpAddr]) -> Self {
        if path.interface.is_last_resort() {
            return Self::Relayed;
        }
        let far = path.remote.ip().to_canonical();
        let own = own.iter().copied().chain(path.local).map(|own| own.to_canonical());
        let is_local = match far {
            IpAddr::V4(far) => far.is_loopback() || far.is_link_local(),
            IpAddr::V6(far) => far.is_loopback() || far.is_unicast_link_local(),
        };
        if is_local || own.into_iter().any(|own| is_neighbor(own, far)) { Self::Lan } else { Self::Direct }
    }
}

impl fmt::Display for PathKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Lan => "lan",
            Self::Relayed => "relayed",
            Self::Searching => "searching",
        })
    }
}

/// Whether an address of another host is in the network of one of this end's.
fn is_neighbor(own: IpAddr, far: IpAddr) -> bool {
    match (own, far) {
        (IpAddr::V4(own), IpAddr::V4(far)) => own == far || far.is_private() && network_v4(own) == network_v4(far),
        (IpAddr::V6(own), IpAddr::V6(far)) => !far.is_unspecified() && network_v6(own) == network_v6(far),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

const fn network_v4(address: Ipv4Addr) -> u32 {
    address.to_bits() >> 8
}

const fn network_v6(address: Ipv6Addr) -> u128 {
    address.to_bits() >> 64
}

/// Where an address of this end comes from, and so who is told of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum CandidateKind {
    /// One of this end's own. The server tells it to those alone that it sees at the same address as this end (IPv4), or in
    /// the same /64 (IPv6): to them it is a path on their network.
    Local,
    /// One that a gateway forwards to this end. The server tells it to whoever it introduces to this end.
    Mapped,
}

impl CandidateKind {
    pub(crate) const fn origin(self) -> AddressOrigin {
        match self {
            Self::Local => AddressOrigin::Local,
            Self::Mapped => AddressOrigin::Observed,
        }
    }
}

/// Which paths a connection may take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum PathPolicy {
    /// The best that there is.
    #[default]
    Any,
    /// Never through the relay.
    DirectOnly,
    /// Only through the relay: this end sends nothing to addresses of the far end.
    RelayOnly,
    /// Only on one network, as [`PathKind::of`] tells it.
    LanOnly,
}

impl PathPolicy {
    /// Whether the relay may be used.
    #[must_use]
    pub const fn relays(self) -> bool {
        match self {
            Self::Any | Self::RelayOnly => true,
            Self::DirectOnly | Self::LanOnly => false,
        }
    }

    /// Whether the far end's addresses may be tried.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        match self {
            Self::Any | Self::DirectOnly | Self::LanOnly => true,
            Self::RelayOnly => false,
        }
    }

    /// Whether a path of this kind is good enough.
    #[must_use]
    pub fn allows(self, kind: PathKind) -> bool {
        match self {
            Self::Any => true,
            Self::DirectOnly => kind != PathKind::Relayed,
            Self::RelayOnly => kind == PathKind::Relayed,
            Self::LanOnly => kind == PathKind::Lan,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtmfp_core::InterfaceId;

    fn kind(far: &str, own: &[&str]) -> Option<PathKind> {
        let own: Option<alloc::vec::Vec<IpAddr>> = own.iter().map(|own| own.parse().ok()).collect();
        Some(PathKind::of(&Path::new(InterfaceId(0), far.parse().ok()?), &own?))
    }

    #[test]
    fn a_path_is_of_the_local_network_if_an_own_address_is() {
        for (far, own) in [
            ("127.0.0.1:1", &[][..]),
            ("[::1]:1", &[]),
            ("169.254.3.4:1", &[]),
            ("[fe80::1]:1", &[]),
            ("192.168.1.7:1", &["10.0.0.1", "192.168.1.9"]),
            ("[::ffff:192.168.1.7]:1", &["192.168.1.9"]),
            ("203.0.113.1:1", &["203.0.113.1"]),
            ("[2001:db8:0:7::1]:1", &["2001:db8:0:7::2"]),
            ("[fd00::1]:1", &["fd00::2"]),
        ] {
            assert_eq!(kind(far, own), Some(PathKind::Lan), "{far}, {own:?}");
        }
        for (far, own) in [
            ("192.168.1.7:1", &["192.168.2.9"][..]),
            ("192.168.1.7:1", &[]),
            ("203.0.113.1:1", &["203.0.113.2"]),
            ("[2001:db8:0:7::1]:1", &["2001:db8:0:8::2"]),
            ("[::ffff:203.0.113.1]:1", &["::ffff:203.0.113.9"]),
        ] {
            assert_eq!(kind(far, own), Some(PathKind::Direct), "{far}, {own:?}");
        }
        let relayed = Path::new(InterfaceId::last_resort(0), ([127, 0, 0, 1], 1).into());
        assert_eq!(PathKind::of(&relayed, &[]), PathKind::Relayed);
    }

    #[test]
    fn a_policy_allows_its_paths_alone() {
        let kinds = [PathKind::Direct, PathKind::Lan, PathKind::Relayed];
        for (policy, allowed) in [
            (PathPolicy::Any, [true, true, true]),
            (PathPolicy::DirectOnly, [true, true, false]),
            (PathPolicy::RelayOnly, [false, false, true]),
            (PathPolicy::LanOnly, [false, true, false]),
        ] {
            assert_eq!(kinds.map(|kind| policy.allows(kind)), allowed, "{policy:?}");
            assert_eq!((policy.relays(), policy.is_direct()), (allowed[2], allowed[1]), "{policy:?}");
        }
    }
}
