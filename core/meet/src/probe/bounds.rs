//! How a NAT or firewall behaves towards different destinations, as far as that is known.

use core::fmt;

/// What a mapping or a filter depends on (RFC 4787 §4.1 and §5). A later one is more restrictive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Behaviour {
    /// Neither on the far end's address nor on its port. So it is where nothing translates or filters.
    EndpointIndependent,
    /// On the far end's address.
    AddressDependent,
    /// On the far end's address and port.
    AddressAndPortDependent,
}

impl Behaviour {
    /// All, from the least restrictive.
    pub const ALL: [Self; 3] = [Self::EndpointIndependent, Self::AddressDependent, Self::AddressAndPortDependent];

    /// The name in RFC 4787 and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        }
    }

    /// The behaviour of this [name](Self::name).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|behaviour| behaviour.name() == name)
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A behaviour that may be known in part: it is one from `least` to `most`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bounds {
    /// The least restrictive that it can be.
    pub least: Behaviour,
    /// The most restrictive that it can be.
    pub most: Behaviour,
}

impl Bounds {
    /// Any at all.
    pub const UNKNOWN: Self = Self { least: Behaviour::EndpointIndependent, most: Behaviour::AddressAndPortDependent };

    /// This one.
    #[must_use]
    pub const fn exactly(behaviour: Behaviour) -> Self {
        Self { least: behaviour, most: behaviour }
    }

    /// The behaviour, if it is known.
    #[must_use]
    pub fn known(self) -> Option<Behaviour> {
        (self.least == self.most).then_some(self.least)
    }

    /// From whether the same thing was seen as at the first place: of another port of the same address, and of another
    /// address.
    #[must_use]
    pub(super) const fn of(other_port: Option<bool>, other_address: Option<bool>) -> Self {
        use Behaviour::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
        match (other_port, other_address) {
            (_, Some(true)) => Self::exactly(EndpointIndependent),
            (Some(false), _) => Self::exactly(AddressAndPortDependent),
            (Some(true), Some(false)) => Self::exactly(AddressDependent),
            (None, Some(false)) => Self { least: AddressDependent, most: AddressAndPortDependent },
            (Some(true), None) => Self { least: EndpointIndependent, most: AddressDependent },
            (None, None) => Self::UNKNOWN,
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(behaviour) => behaviour.fmt(f),
            None if *self == Self::UNKNOWN => f.write_str("unknown"),
            None => write!(f, "{} or {}", self.least, self.most),
        }
    }
}
