//! A port of the gateway by UPnP, whose library blocks: every call here is for a thread that may wait.

use core::net::SocketAddr;
use core::time::Duration;

use igd_next::{AddPortError, Gateway, PortMappingProtocol, SearchOptions, search_gateway};

/// How long a gateway may take to answer. Those that know UPnP do within a second.
const SEARCH: Duration = Duration::from_secs(4);
/// What is asked for.
pub(crate) const LEASE: Duration = Duration::from_secs(3_600);
/// What the gateway's page shows for the port.
const DESCRIPTION: &str = "rtmfp";

/// A port that is held.
#[derive(Debug)]
pub(crate) struct Lease {
    gateway: Box<Gateway>,
    internal: SocketAddr,
    pub(crate) external: SocketAddr,
}

impl Lease {
    /// Looks for a gateway, and asks it for a port: the same as the own, or else any.
    pub(crate) fn take(internal: SocketAddr) -> Result<Self, String> {
        let mut options = SearchOptions::default();
        (options.timeout, options.single_search_timeout) = (Some(SEARCH), Some(SEARCH));
        options.bind_addr = SocketAddr::new(internal.ip(), 0);
        let gateway = search_gateway(options).map_err(|error| error.to_string())?;
        let ip = gateway.get_external_ip().map_err(|error| error.to_string())?;
        if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
            return Err(format!("the gateway has no address outside: it says {ip}"));
        }
        let port = match add(&gateway, internal.port(), internal) {
            Ok(()) => internal.port(),
            Err(_) => gateway
                .add_any_port(PortMappingProtocol::UDP, internal, seconds(LEASE), DESCRIPTION)
                .map_err(|error| error.to_string())?,
        };
        Ok(Self { gateway: Box::new(gateway), internal, external: SocketAddr::new(ip, port) })
    }

    /// Asks for the same again, and for the address, which may have changed.
    pub(crate) fn renew(mut self) -> Result<Self, String> {
        let renewed = add(&self.gateway, self.external.port(), self.internal).map_err(|error| error.to_string());
        let ip = renewed.and_then(|()| self.gateway.get_external_ip().map_err(|error| error.to_string()));
        match ip {
            Ok(ip) => {
                self.external.set_ip(ip);
                Ok(self)
            }
            Err(failure) => {
                // Some gateways keep ports for ever: what is not held any more is given back.
                let _ = self.end();
                Err(failure)
            }
        }
    }

    /// Gives it back.
    pub(crate) fn end(self) -> Result<(), String> {
        self.gateway.remove_port(PortMappingProtocol::UDP, self.external.port()).map_err(|error| error.to_string())
    }
}

fn add(gateway: &Gateway, port: u16, internal: SocketAddr) -> Result<(), AddPortError> {
    let add = |lease| gateway.add_port(PortMappingProtocol::UDP, port, internal, lease, DESCRIPTION);
    match add(seconds(LEASE)) {
        // Some keep ports until they are given back, and refuse anything else.
        Err(AddPortError::OnlyPermanentLeasesSupported) => add(0),
        other => other,
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
