//! NATs as data, in the words of RFC 4787.

use core::net::IpAddr;

use crate::time::Duration;

/// When two packets from the same inside address and port share a mapping (RFC 4787 §4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mapping {
    /// Endpoint-independent: always.
    EndpointIndependent,
    /// Address-dependent: if they go to the same outside address.
    AddressDependent,
    /// Address-and-port-dependent ("symmetric"): if they go to the same outside address and port.
    AddressAndPortDependent,
}

/// Whose packets a mapping lets in (RFC 4787 §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Filtering {
    /// Endpoint-independent: anybody's.
    EndpointIndependent,
    /// Address-dependent: from addresses that the mapping has sent to.
    AddressDependent,
    /// Address-and-port-dependent: from addresses and ports that the mapping has sent to.
    AddressAndPortDependent,
}

/// Which outside port a new mapping gets (RFC 4787 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Ports {
    /// The inside port; if it is taken, none, and the packet is lost.
    Preserve,
    /// The inside port; if it is taken, a random one.
    PreserveOrRandom,
    /// The inside port even if another host has it: the newer mapping takes it over ("port overloading", forbidden by
    /// REQ-3).
    Overload,
    /// One after the other.
    Sequential,
    /// Any.
    Random,
    /// Any of the same parity as the inside port (§4.2.2).
    RandomParity,
}

/// What becomes of packets from inside to a mapping of the same NAT (RFC 4787 §6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hairpin {
    /// They are lost.
    None,
    /// They come back in with their inside source address and port.
    InternalSource,
    /// They come back in with their outside source address and port (REQ-9).
    ExternalSource,
}

/// Which outside address a new mapping gets, if there are several (RFC 4787 §4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Pooling {
    /// The same for all mappings of an inside address (REQ-2).
    Paired,
    /// Any.
    Arbitrary,
}

/// A NAT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NatSpec {
    /// Its outside addresses.
    pub outside: Vec<IpAddr>,
    /// How mappings are made.
    pub mapping: Mapping,
    /// Who may use them from outside.
    pub filtering: Filtering,
    /// Which port they get.
    pub ports: Ports,
    /// The ports there are, first and last, for each outside address.
    pub port_range: (u16, u16),
    /// What becomes of packets to itself.
    pub hairpin: Hairpin,
    /// How long an unused mapping lives (REQ-5: at least two minutes, five recommended).
    pub timeout: Duration,
    /// Whether packets from outside refresh a mapping (§4.3); those from inside always do.
    pub inbound_refresh: bool,
    /// How outside addresses are chosen.
    pub pooling: Pooling,
    /// The most mappings that one inside address may have, if limited.
    pub per_host: Option<u32>,
    /// Whether its inside has IPv6 alone, and finds IPv4 addresses under 64:ff9b::/96 (RFC 6146).
    pub nat64: bool,
}

impl NatSpec {
    /// A NAT as RFC 4787 wants it: endpoint-independent mapping, address-dependent filtering, hairpinning with the
    /// outside source, five minutes.
    #[must_use]
    pub fn new(outside: IpAddr) -> Self {
        Self {
            outside: vec![outside],
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::AddressDependent,
            ports: Ports::PreserveOrRandom,
            port_range: (1_024, 65_535),
            hairpin: Hairpin::ExternalSource,
            timeout: Duration::secs(300),
            inbound_refresh: true,
            pooling: Pooling::Paired,
            per_host: None,
            nat64: false,
        }
    }

    /// "Full cone".
    #[must_use]
    pub fn full_cone(outside: IpAddr) -> Self {
        Self { filtering: Filtering::EndpointIndependent, ..Self::new(outside) }
    }

    /// "Address-restricted cone".
    #[must_use]
    pub fn address_restricted(outside: IpAddr) -> Self {
        Self::new(outside)
    }

    /// "Port-restricted cone".
    #[must_use]
    pub fn port_restricted(outside: IpAddr) -> Self {
        Self { filtering: Filtering::AddressAndPortDependent, ..Self::new(outside) }
    }

    /// "Symmetric": a mapping for each destination, random ports, no hairpinning.
    #[must_use]
    pub fn symmetric(outside: IpAddr) -> Self {
        Self {
            mapping: Mapping::AddressAndPortDependent,
            filtering: Filtering::AddressAndPortDependent,
            ports: Ports::Random,
            hairpin: Hairpin::None,
            ..Self::new(outside)
        }
    }
}

/// A firewall between its inside and its outside: it changes no address, and lets in what was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirewallSpec {
    /// Whose packets come in once a host inside has sent something.
    pub filtering: Filtering,
    /// How long that is remembered.
    pub timeout: Duration,
    /// Whether packets from outside refresh it.
    pub inbound_refresh: bool,
    /// Loses all UDP, both ways.
    pub block_udp: bool,
    /// Loses "packet too big" signals.
    pub block_too_big: bool,
}

impl Default for FirewallSpec {
    /// Address and port, two minutes, refreshed by both sides.
    fn default() -> Self {
        Self {
            filtering: Filtering::AddressAndPortDependent,
            timeout: Duration::secs(120),
            inbound_refresh: true,
            block_udp: false,
            block_too_big: false,
        }
    }
}
