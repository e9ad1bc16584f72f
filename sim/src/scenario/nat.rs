//! NATs and firewalls in a scenario.

use core::net::IpAddr;

use datagram_sim::{Filtering, Hairpin, Mapping, NatSpec, Pooling, Ports};
use serde::{Deserialize, Serialize};

use super::text::Dur;

/// A NAT: a preset, and what is different from it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Nat {
    /// `full-cone`, `address-restricted` (default), `port-restricted`, `symmetric`, or `firewall`, which changes no
    /// address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// `independent`, `address`, `address-and-port` (RFC 4787 §4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    /// `independent`, `address`, `address-and-port` (RFC 4787 §5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filtering: Option<String>,
    /// `preserve`, `preserve-or-random`, `overload`, `sequential`, `random`, `random-parity` (RFC 4787 §4.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// First and last outside port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_range: Option<(u16, u16)>,
    /// `none`, `internal`, `external` (RFC 4787 §6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hairpin: Option<String>,
    /// How long an unused mapping lives (RFC 4787 §4.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Dur>,
    /// Whether packets from outside refresh a mapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbound_refresh: Option<bool>,
    /// How many outside addresses it has. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<u8>,
    /// Whether each mapping gets any of the outside addresses.
    #[serde(skip_serializing_if = "super::is_false")]
    pub arbitrary_pooling: bool,
    /// The most mappings of one inside host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_host: Option<u32>,
    /// Whether its inside has IPv6 alone, and finds IPv4 addresses under 64:ff9b::/96 (RFC 6146).
    #[serde(skip_serializing_if = "super::is_false")]
    pub nat64: bool,
    /// A firewall that loses all UDP.
    #[serde(skip_serializing_if = "super::is_false")]
    pub block_udp: bool,
}

/// What a [`Nat`] without addresses of its own is.
pub type FirewallChoice = datagram_sim::FirewallSpec;

fn choose<T: Copy>(text: Option<&String>, choices: &[(&str, T)], otherwise: T) -> Result<T, String> {
    let Some(text) = text else { return Ok(otherwise) };
    choices.iter().find(|(name, _)| name == text).map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|&(name, _)| name).collect();
        format!("`{text}` is none of: {}", names.join(", "))
    })
}

impl Nat {
    /// A NAT of this preset.
    #[must_use]
    pub fn preset(name: &str) -> Self {
        Self { preset: Some(name.to_owned()), ..Self::default() }
    }

    /// Whether it is a firewall: it changes no address.
    #[must_use]
    pub fn is_firewall(&self) -> bool {
        self.preset.as_deref() == Some("firewall")
    }

    fn filtering(&self, otherwise: Filtering) -> Result<Filtering, String> {
        let choices = [
            ("independent", Filtering::EndpointIndependent),
            ("address", Filtering::AddressDependent),
            ("address-and-port", Filtering::AddressAndPortDependent),
        ];
        choose(self.filtering.as_ref(), &choices, otherwise)
    }

    /// The engine's firewall, if it is one.
    ///
    /// # Errors
    /// A word that is not known.
    pub fn firewall(&self) -> Result<FirewallChoice, String> {
        let base = FirewallChoice::default();
        Ok(FirewallChoice {
            filtering: self.filtering(base.filtering)?,
            timeout: self.timeout.map_or(base.timeout, |timeout| timeout.0),
            inbound_refresh: self.inbound_refresh.unwrap_or(base.inbound_refresh),
            block_udp: self.block_udp,
            ..base
        })
    }

    /// The engine's NAT with these outside addresses, of which the first is sure to be there.
    ///
    /// # Errors
    /// A word that is not known.
    pub fn spec(&self, first: IpAddr, others: &[IpAddr]) -> Result<NatSpec, String> {
        let base = match self.preset.as_deref().unwrap_or("address-restricted") {
            "full-cone" => NatSpec::full_cone(first),
            "address-restricted" => NatSpec::address_restricted(first),
            "port-restricted" => NatSpec::port_restricted(first),
            "symmetric" => NatSpec::symmetric(first),
            other => {
                return Err(format!(
                    "`{other}` is no NAT preset: full-cone, address-restricted, port-restricted, symmetric, firewall"
                ));
            }
        };
        let mappings = [
            ("independent", Mapping::EndpointIndependent),
            ("address", Mapping::AddressDependent),
            ("address-and-port", Mapping::AddressAndPortDependent),
        ];
        let ports = [
            ("preserve", Ports::Preserve),
            ("preserve-or-random", Ports::PreserveOrRandom),
            ("overload", Ports::Overload),
            ("sequential", Ports::Sequential),
            ("random", Ports::Random),
            ("random-parity", Ports::RandomParity),
        ];
        let hairpins =
            [("none", Hairpin::None), ("internal", Hairpin::InternalSource), ("external", Hairpin::ExternalSource)];
        if self.block_udp {
            return Err("block-udp is a firewall's; preset = \"firewall\"".to_owned());
        }
        let mut outside = vec![first];
        outside.extend(others);
        Ok(NatSpec {
            outside,
            mapping: choose(self.mapping.as_ref(), &mappings, base.mapping)?,
            filtering: self.filtering(base.filtering)?,
            ports: choose(self.ports.as_ref(), &ports, base.ports)?,
            port_range: self.port_range.unwrap_or(base.port_range),
            hairpin: choose(self.hairpin.as_ref(), &hairpins, base.hairpin)?,
            timeout: self.timeout.map_or(base.timeout, |timeout| timeout.0),
            inbound_refresh: self.inbound_refresh.unwrap_or(base.inbound_refresh),
            pooling: if self.arbitrary_pooling { Pooling::Arbitrary } else { base.pooling },
            per_host: self.per_host.or(base.per_host),
            nat64: self.nat64,
        })
    }
}
