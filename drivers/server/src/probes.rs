//! Addresses of probes, as the settings have them.

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// One more socket, for probes: `ADDR:PORT`, or `ADDR:PORT=PUBLIC:PORT` if others reach it at another address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeAddress {
    /// The local address.
    pub listen: SocketAddr,
    /// Where others reach it. Without one, at its local address. If that is no address in particular, at that of the
    /// server.
    pub public: Option<SocketAddr>,
}

/// Text that is no [`ProbeAddress`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAProbeAddress;

impl core::error::Error for NotAProbeAddress {}

impl fmt::Display for NotAProbeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be ADDR:PORT, or ADDR:PORT=PUBLIC:PORT with two addresses of the same family")
    }
}

impl FromStr for ProbeAddress {
    type Err = NotAProbeAddress;

    fn from_str(text: &str) -> Result<Self, NotAProbeAddress> {
        let (listen, public) = text.split_once('=').map_or((text, None), |(listen, public)| (listen, Some(public)));
        let address = |text: &str| text.parse::<SocketAddr>().map_err(|_| NotAProbeAddress);
        let (listen, public) = (address(listen)?, public.map(address).transpose()?);
        if public.is_some_and(|public| public.is_ipv4() != listen.is_ipv4() || public.port() == 0) {
            return Err(NotAProbeAddress);
        }
        Ok(Self { listen, public })
    }
}

impl<'de> Deserialize<'de> for ProbeAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_another_one_outside() {
        let both: ProbeAddress = "10.0.0.1:1936=192.0.2.1:7000".parse().unwrap();
        assert_eq!((both.listen.port(), both.public.map(|public| public.port())), (1936, Some(7000)));
        assert_eq!("[::]:0".parse::<ProbeAddress>().map(|one| one.public), Ok(None));
        for wrong in ["", "1937", "10.0.0.1", "10.0.0.1:1=", "10.0.0.1:1=[::1]:2", "10.0.0.1:1=192.0.2.1:0"] {
            assert_eq!(wrong.parse::<ProbeAddress>(), Err(NotAProbeAddress), "{wrong}");
        }
    }
}
