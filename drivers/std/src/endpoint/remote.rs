//! Whom to connect to, where to try, and for how long.

use core::net::SocketAddr;
use core::str::FromStr;
use core::time::Duration;
use std::io;

use rtmfp_core::error::OpenError;
use rtmfp_core::profile::Fingerprint;
use rtmfp_core::{Bytes, InterfaceId, Path};

use super::Error;
use crate::kind::ProfileKind;
use crate::uri::{Uri, UriError, resolve};

/// Between the first hellos to the addresses of one far end (RFC 8305 §5, Connection Attempt Delay).
const CANDIDATE_DELAY: Duration = Duration::from_millis(250);

/// An address to try, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Where to.
    pub remote: SocketAddr,
    /// How long to wait before the first hello.
    pub delay: Duration,
    /// Where from; `None` takes the first interface of the same address family. One that is no socket of the endpoint is
    /// one that a service [carries](rtmfp_core::Service::carries).
    pub interface: Option<InterfaceId>,
}

/// A far end to connect to: who it is, where to try, and for how long.
///
/// All addresses are tried, the next 250 ms after the one before, and the first that answers has the session. A name
/// stands for all its addresses, IPv6 and IPv4 in turn.
///
/// ```
/// use std::time::Duration;
/// use rtmfp_std::Remote;
///
/// # fn main() -> Result<(), rtmfp_std::UriError> {
/// let server: Remote = "rtmfp://server.example.com/app".parse()?;
/// let server = server.timeout(Duration::from_secs(10));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Remote {
    whom: Whom,
    pin: Option<Fingerprint>,
    /// Not resolved yet.
    names: Vec<(String, u16)>,
    addresses: Vec<SocketAddr>,
    candidates: Vec<Candidate>,
    timeout: Option<Duration>,
    through: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Whom {
    Discriminator(Bytes),
    Uri(String),
    Peer,
}

impl Remote {
    const fn to(whom: Whom) -> Self {
        Self {
            whom,
            pin: None,
            names: Vec::new(),
            addresses: Vec::new(),
            candidates: Vec::new(),
            timeout: None,
            through: false,
        }
    }

    /// The endpoint that `discriminator` selects, in the syntax of the profile, at addresses that are still to be given.
    pub fn new(discriminator: impl Into<Bytes>) -> Self {
        Self::to(Whom::Discriminator(discriminator.into()))
    }

    /// The server of a URI, at all addresses of its host. A URI without a port means that of the endpoint's profile.
    ///
    /// # Errors
    /// [`UriError`] if it is none of the form `rtmfp://HOST[:PORT]/PATH`.
    pub fn uri(uri: &str) -> Result<Self, UriError> {
        let Uri { text, host, port } = uri.parse()?;
        Ok(Self::to(Whom::Uri(text)).at_host(host, port.unwrap_or_default()))
    }

    /// The peer with this ID, at addresses that are still to be given.
    pub fn peer(peer_id: Fingerprint) -> Self {
        Self::to(Whom::Peer).pin(peer_id)
    }

    /// Tries this address too. Port 0 stands for the [port](ProfileKind::default_port) of the endpoint's profile.
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Tries all addresses of this host too. Port 0 stands for that of the endpoint's profile.
    pub fn at_host(mut self, host: impl Into<String>, port: u16) -> Self {
        self.names.push((host.into(), port));
        self
    }

    /// Tries this address too, after a delay and from an interface that the caller chooses.
    pub fn at_candidate(mut self, candidate: Candidate) -> Self {
        self.candidates.push(candidate);
        self
    }

    /// Asks an introducer at this address, who knows where the far end is (RFC 7016 §3.5.1.6). If nobody answers, the
    /// reason is [`NotIntroduced`](super::Error::NotIntroduced).
    pub fn through(mut self, introducer: SocketAddr) -> Self {
        self.through = true;
        self.at(introducer)
    }

    pub(super) fn through_all(self, introducers: &[SocketAddr]) -> Self {
        introducers.iter().fold(self, |remote, introducer| remote.through(*introducer))
    }

    /// Requires this peer ID: nobody else is connected to (for the Flash profile, RFC 7425 §4.4.2.3). For
    /// [another discriminator](Self::new) that cannot be checked, and connecting fails: it says itself whom it selects.
    pub const fn pin(mut self, peer_id: Fingerprint) -> Self {
        self.pin = Some(peer_id);
        self
    }

    /// How long to try; otherwise the endpoint's [`open_timeout`](rtmfp_core::EndpointConfig::open_timeout), 95 s by
    /// default.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Whether it has no names whose addresses are unknown.
    #[must_use]
    pub const fn is_resolved(&self) -> bool {
        self.names.is_empty()
    }

    /// Finds the addresses of all names. The calling thread waits for the system's resolver. A name without addresses
    /// is left out if there is another place to try.
    ///
    /// # Errors
    /// As the system tells of the last name, if there is no place to try.
    pub fn resolve(mut self) -> io::Result<Self> {
        let mut failed = None;
        for (name, port) in core::mem::take(&mut self.names) {
            match resolve(&name, port) {
                Ok(addresses) => self.addresses.extend(addresses),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if self.addresses.is_empty() && self.candidates.is_empty() => Err(error),
            _ => Ok(self),
        }
    }

    pub(super) const fn asks_introducer(&self) -> bool {
        self.through
    }

    pub(super) const fn limit(&self) -> Option<Duration> {
        self.timeout
    }

    pub(super) fn has_places(&self) -> bool {
        !(self.addresses.is_empty() && self.candidates.is_empty())
    }

    /// # Errors
    /// A peer ID is required of a discriminator whose syntax is not known here: nothing would check it.
    pub(super) fn discriminator(&self, kind: ProfileKind) -> Result<Bytes, Error> {
        let uri = match &self.whom {
            Whom::Discriminator(_) if self.pin.is_some() => return Err(Error::NotBegun(OpenError::BadDiscriminator)),
            Whom::Discriminator(bytes) => return Ok(bytes.clone()),
            Whom::Uri(text) => Some(&**text),
            Whom::Peer => None,
        };
        Ok(kind.discriminator(uri, self.pin))
    }

    /// The places to try from an endpoint of this kind with these local addresses. Those of another address family are
    /// left out.
    pub(super) fn paths(&self, locals: &[(InterfaceId, SocketAddr)], kind: ProfileKind) -> Vec<(Path, Duration)> {
        let reached = |mut remote: SocketAddr, interface: Option<InterfaceId>| {
            if remote.port() == 0 {
                remote.set_port(kind.default_port());
            }
            // An IPv4 address that is written as one of IPv6 is reached by IPv4 sockets.
            let canonical = remote.ip().to_canonical();
            let remote = if canonical.is_ipv4() { SocketAddr::new(canonical, remote.port()) } else { remote };
            let fits = |(id, local): &&(InterfaceId, SocketAddr)| {
                local.is_ipv4() == remote.is_ipv4() && interface.is_none_or(|interface| interface == *id)
            };
            let is_socket = |interface| locals.iter().any(|(id, _)| *id == interface);
            let carried = interface.filter(|interface| !is_socket(*interface));
            carried.or_else(|| locals.iter().find(fits).map(|(id, _)| *id)).map(|id| Path::new(id, remote))
        };
        let reachable = self.addresses.iter().filter_map(|address| reached(*address, None));
        let delays = (0..).map(|number| CANDIDATE_DELAY * number);
        let chosen = self.candidates.iter();
        let chosen = chosen.filter_map(|one| Some((reached(one.remote, one.interface)?, one.delay)));
        reachable.zip(delays).chain(chosen).collect()
    }
}

impl FromStr for Remote {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::uri(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use rtmfp_core::profile::flash::Discriminator;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_tried_in_turn_from_an_interface_of_their_family() {
        let candidate = |remote, interface| Candidate {
            remote: address(remote),
            delay: Duration::from_secs(1),
            interface: Some(InterfaceId(interface)),
        };
        let remote = Remote::new("far")
            .at(address("[2001:db8::1]:1"))
            .at(address("[::ffff:192.0.2.1]:2"))
            .at(address("192.0.2.2:3"))
            .at_candidate(candidate("192.0.2.3:4", 2))
            .at_candidate(candidate("192.0.2.3:4", 1))
            .at_candidate(candidate("[100::1]:4", 7));
        let [v4, v6, last] =
            [(0, "0.0.0.0:9"), (1, "[::]:9"), (2, "0.0.0.0:9")].map(|(id, local)| (InterfaceId(id), address(local)));
        let path = |interface, remote, millis| {
            (Path::new(InterfaceId(interface), address(remote)), Duration::from_millis(millis))
        };
        let all = [
            path(1, "[2001:db8::1]:1", 0),
            path(0, "192.0.2.1:2", 250),
            path(0, "192.0.2.2:3", 500),
            path(2, "192.0.2.3:4", 1_000),
            path(7, "[100::1]:4", 1_000),
        ];
        assert_eq!(remote.paths(&[v4, v6, last], ProfileKind::Flash), all);
        // What cannot be reached keeps nobody waiting.
        let remote = Remote { candidates: Vec::new(), ..remote };
        assert_eq!(remote.paths(&[v4], ProfileKind::Flash), [path(0, "192.0.2.1:2", 0), path(0, "192.0.2.2:3", 250)]);
        assert_eq!(remote.paths(&[], ProfileKind::Flash), []);
    }

    #[test]
    fn without_a_port_that_of_the_profile_is_tried() {
        let remote = Remote::uri("rtmfp://192.0.2.1/").unwrap().resolve().unwrap();
        let local = [(InterfaceId(0), address("0.0.0.0:9"))];
        for (kind, port) in [(ProfileKind::Flash, 1_935), (ProfileKind::Modern, 1_936)] {
            let paths = remote.paths(&local, kind);
            assert_eq!(paths.first().map(|(path, _)| path.remote.port()), Some(port), "{kind}");
        }
    }

    #[test]
    fn a_name_without_addresses_matters_if_there_is_nothing_else() {
        let remote = Remote::uri("rtmfp://name.invalid/").unwrap();
        assert!(!remote.is_resolved());
        assert!(remote.clone().resolve().is_err());
        let remote = remote.at(address("192.0.2.1:1935")).resolve().unwrap();
        assert_eq!(remote.addresses, [address("192.0.2.1:1935")]);
        assert!(remote.is_resolved());
    }

    #[test]
    fn a_pin_outweighs_a_uri_and_stays_with_it() {
        let peer_id = Fingerprint([7; 32]);
        let named =
            Remote::uri("rtmfp://192.0.2.1/app").unwrap().pin(peer_id).discriminator(ProfileKind::Flash).unwrap();
        let named = Discriminator::parse(&named).unwrap();
        assert_eq!(named.required_fingerprint(), Some(peer_id));
        assert_eq!(named.required_ancillary_data(), Some(&b"rtmfp://192.0.2.1/app"[..]));
        let peer = Remote::peer(peer_id).discriminator(ProfileKind::Flash).unwrap();
        let unchecked = Remote::new("far").pin(peer_id).discriminator(ProfileKind::Flash);
        assert_eq!(unchecked, Err(Error::NotBegun(OpenError::BadDiscriminator)));
        assert_eq!(peer, Discriminator::new().fingerprint(peer_id).to_bytes());
    }
}
