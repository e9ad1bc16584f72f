//! Peers in the same network, by mDNS (RFC 6762) and DNS service discovery (RFC 6763).
//!
//! What is announced shows neither who it is nor the name of the host. All names are random and last as long as the
//! announcement. The *topic* is what both sides know: a number that one told the other, or a peer ID. It is announced
//! as a hash with a salt, so only who knows or guesses the topic can tell what is announced. A number of four digits is
//! guessed at once. So the two prove to each other who they are, as they do after any other introduction.

use core::fmt::{self, Write as _};
use core::net::{IpAddr, SocketAddr, SocketAddrV6};
use core::time::Duration;

use mdns_sd::{Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use rtmfp_std::Clock;
use sha2::{Digest as _, Sha256};

/// The service's type.
pub const SERVICE: &str = "_rtmfp._udp.local.";

/// The version of what the TXT record holds.
const VERSION: &str = "1";
/// Addresses of one announcement that are told. A host has a few; whoever announces more wants to be tried often.
const MAX_ADDRESSES: usize = 8;
/// Bytes of the hash that are announced: two topics are never taken for each other.
const TAG: usize = 16;
const SALT: usize = 16;

/// Why nothing can be announced or found.
#[derive(Debug)]
pub struct LanError(String);

impl fmt::Display for LanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peers in this network cannot be found by mDNS: {}", self.0)
    }
}

impl std::error::Error for LanError {}

impl From<mdns_sd::Error> for LanError {
    fn from(error: mdns_sd::Error) -> Self {
        Self(error.to_string())
    }
}

/// Announces a port of this host in its networks, until it is dropped.
#[must_use = "it is announced until this is dropped"]
pub struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

impl Announcement {
    /// Announces that what `topic` means is here, at this UDP port of all addresses of the host.
    ///
    /// # Errors
    /// If there is no randomness, or no socket for multicast.
    pub fn new(topic: &[u8], port: u16) -> Result<Self, LanError> {
        let salt = random::<SALT>()?;
        let (name, host) = (hex(&random::<8>()?), hex(&random::<8>()?));
        let properties = [("v", VERSION.to_owned()), ("s", hex(&salt)), ("t", hex(&tag(&salt, topic)))];
        let host = format!("{host}.local.");
        let mut service = ServiceInfo::new(SERVICE, &name, &host, "", port, &properties[..])?.enable_addr_auto();
        // The names are random: there is nobody to ask whether they are taken, which would take 750 ms.
        service.set_requires_probe(false);
        let name = service.get_fullname().to_owned();
        let daemon = ServiceDaemon::new()?;
        let announcement = Self { daemon, name };
        announcement.daemon.register(service)?;
        Ok(announcement)
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // The daemon does both in order. It tells by channels when it has, and if it has ended before, both are done.
        let _ = self.daemon.unregister(&self.name);
        let _ = self.daemon.shutdown();
    }
}

impl fmt::Debug for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcement").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One that announces the topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Where it can be tried, at most eight addresses. Loopback ones are last.
    pub addresses: Vec<SocketAddr>,
}

/// Looks for those who announce a topic, until it is dropped.
#[must_use = "it looks until it is dropped"]
pub struct Search {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
    topic: Vec<u8>,
}

impl Search {
    /// Looks for `topic`. The question is for all programs of this kind, and shows nothing of it.
    ///
    /// # Errors
    /// If there is no socket for multicast.
    pub fn new(topic: &[u8]) -> Result<Self, LanError> {
        let daemon = ServiceDaemon::new()?;
        let events = daemon.browse(SERVICE)?;
        Ok(Self { daemon, events, topic: topic.to_vec() })
    }

    /// The next that is found. The same may come again with other addresses. `None` if the search has ended by itself.
    pub async fn next(&self) -> Option<Found> {
        loop {
            let event = self.events.recv_async().await.ok()?;
            if let Some(found) = self.read(event) {
                return Some(found);
            }
        }
    }

    /// The same for a thread that waits: `None` after `wait` too.
    #[must_use]
    pub fn next_within(&self, wait: Duration) -> Option<Found> {
        let clock = Clock::new();
        let until = clock.now() + wait;
        loop {
            let event = self.events.recv_timeout(clock.until(until)).ok()?;
            if let Some(found) = self.read(event) {
                return Some(found);
            }
        }
    }

    fn read(&self, event: ServiceEvent) -> Option<Found> {
        let ServiceEvent::ServiceResolved(service) = event else { return None };
        let addresses = announced(&service, &self.topic)?;
        (!addresses.is_empty()).then_some(Found { addresses })
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        // It fails if the daemon has ended before.
        let _ = self.daemon.shutdown();
    }
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search").finish_non_exhaustive()
    }
}

/// The addresses of a service that announces the topic.
fn announced(service: &ResolvedService, topic: &[u8]) -> Option<Vec<SocketAddr>> {
    let value = |key| service.get_property_val_str(key);
    if value("v") != Some(VERSION) || service.port == 0 {
        return None;
    }
    let salt = from_hex::<SALT>(value("s")?)?;
    if from_hex::<TAG>(value("t")?)? != tag(&salt, topic) {
        return None;
    }
    let mut addresses: Vec<_> = service.addresses.iter().map(|ip| socket_address(ip, service.port)).collect();
    addresses.retain(|address| !address.ip().is_unspecified() && !address.ip().is_multicast());
    // In the same order each time, those of other hosts first.
    addresses.sort_by_key(|address| (address.ip().is_loopback(), *address));
    addresses.truncate(MAX_ADDRESSES);
    Some(addresses)
}

/// Link-local addresses are of the link on which they were heard.
fn socket_address(ip: &ScopedIp, port: u16) -> SocketAddr {
    match (ip, ip.to_ip_addr()) {
        (ScopedIp::V6(scoped), IpAddr::V6(ip)) if ip.is_unicast_link_local() => {
            SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scoped.scope_id().index))
        }
        (_, ip) => SocketAddr::new(ip, port),
    }
}

fn tag(salt: &[u8; SALT], topic: &[u8]) -> [u8; TAG] {
    let hash =
        Sha256::new().chain_update(b"rtmfp in this network, 1").chain_update(salt).chain_update(topic).finalize();
    let mut tag = [0; TAG];
    tag.iter_mut().zip(hash).for_each(|(place, byte)| *place = byte);
    tag
}

fn random<const COUNT: usize>() -> Result<[u8; COUNT], LanError> {
    let mut bytes = [0; COUNT];
    getrandom::fill(&mut bytes).map_err(|error| LanError(format!("the system gave no randomness: {error}")))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex<const COUNT: usize>(text: &str) -> Option<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    let mut digits = text.chars().map(|digit| digit.to_digit(16));
    for byte in &mut bytes {
        *byte = u8::try_from(digits.next()?? << 4 | digits.next()??).ok()?;
    }
    digits.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    fn service(properties: &[(&str, String)], port: u16) -> ResolvedService {
        let addresses = "192.0.2.1,127.0.0.1,0.0.0.0,2001:db8::1";
        ServiceInfo::new(SERVICE, "name", "host.local.", addresses, port, properties).unwrap().as_resolved_service()
    }

    fn properties(topic: &[u8]) -> [(&'static str, String); 3] {
        let salt = [7; SALT];
        [("v", "1".to_owned()), ("s", hex(&salt)), ("t", hex(&tag(&salt, topic)))]
    }

    #[test]
    fn who_knows_the_topic_finds_the_addresses() {
        let found = announced(&service(&properties(b"7214"), 1_936), b"7214").unwrap();
        let expected = ["192.0.2.1:1936", "[2001:db8::1]:1936", "127.0.0.1:1936"];
        assert_eq!(found, expected.map(|address| address.parse().unwrap()));
        assert_eq!(announced(&service(&properties(b"7215"), 1_936), b"7214"), None);
    }

    #[test]
    fn what_is_not_understood_is_not_found() {
        assert_eq!(announced(&service(&properties(b"7214"), 0), b"7214"), None, "no port");
        let spoilt = |place: usize, value: &str| {
            let mut properties = properties(b"7214");
            if let Some((_, text)) = properties.get_mut(place) {
                value.clone_into(text);
            }
            announced(&service(&properties, 1_936), b"7214")
        };
        for (place, value) in [(0, "2"), (1, ""), (1, "zz"), (1, "0707"), (2, ""), (2, "ab"), (2, "äöü")] {
            assert_eq!(spoilt(place, value), None, "{value:?} in place {place}");
        }
        let (long, _) = (hex(&[7; SALT + 1]), ());
        assert_eq!(spoilt(1, &long), None);
    }

    #[test]
    fn a_host_that_announces_many_addresses_is_tried_at_some() {
        let addresses: Vec<_> = (1..=200).map(|host| format!("192.0.2.{host}")).collect();
        let info =
            ServiceInfo::new(SERVICE, "name", "h.local.", addresses.join(",").as_str(), 1, &properties(b"x")[..]);
        assert_eq!(announced(&info.unwrap().as_resolved_service(), b"x").unwrap().len(), MAX_ADDRESSES);
    }
}
