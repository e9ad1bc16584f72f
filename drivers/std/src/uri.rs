//! `rtmfp://HOST[:PORT]/PATH`.
//!
//! Parsed by hand: only host and port are taken apart, with errors that say what to write instead. `url` would bring
//! the tables of international names, percent-encodes the host of a scheme that it does not know, and normalizes text
//! that the endpoint discriminator must carry as it was given.

use core::fmt;
use core::net::{Ipv6Addr, SocketAddr};
use std::io;
use std::net::ToSocketAddrs;

/// The port of the Flash profile, if a URI names none.
pub const DEFAULT_PORT: u16 = 1_935;
/// The port of the modern profile, if a URI names none.
pub const MODERN_PORT: u16 = 1_936;

/// A URI of the form `rtmfp://HOST[:PORT]/PATH`, of a server that is reached by its name or address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uri {
    /// As it was given: an endpoint discriminator carries all of it (RFC 7425 §4.4.2.2).
    pub text: String,
    /// Host name or address, an IPv6 address without its brackets.
    pub host: String,
    /// Port; `None` stands for [that of the profile](crate::ProfileKind::default_port).
    pub port: Option<u16>,
}

/// What is wrong with a URI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UriError {
    /// Another scheme, or none.
    Scheme,
    /// No host.
    NoHost,
    /// Not a port.
    Port,
    /// Brackets around something that is not an IPv6 address, or such an address without brackets.
    Ipv6,
    /// A user name or password: the URI is sent in the clear.
    UserInfo,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "it must begin with rtmfp://, as in rtmfp://192.0.2.1/",
            Self::NoHost => "there is no host, as in rtmfp://192.0.2.1/",
            Self::Port => "the port must be a number from 1 to 65535",
            Self::Ipv6 => "an IPv6 address stands in brackets, as in rtmfp://[2001:db8::1]/",
            Self::UserInfo => "no user or password may stand in it: it is sent in the clear",
        })
    }
}

impl core::error::Error for UriError {}

impl core::str::FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("rtmfp") {
            return Err(UriError::Scheme);
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(UriError::UserInfo);
        }
        let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
            let (host, after) = bracketed.split_once(']').ok_or(UriError::Ipv6)?;
            let address = host.split('%').next().unwrap_or_default();
            address.parse::<Ipv6Addr>().map_err(|_| UriError::Ipv6)?;
            let port = if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(UriError::Port)?) };
            (host, port)
        } else {
            match authority.split_once(':') {
                Some((_, port)) if port.contains(':') => return Err(UriError::Ipv6),
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            }
        };
        if host.is_empty() {
            return Err(UriError::NoHost);
        }
        let port = match port {
            None | Some("") => None,
            Some(port) => Some(port.parse().ok().filter(|port| *port != 0).ok_or(UriError::Port)?),
        };
        Ok(Self { text: text.to_owned(), host: host.to_owned(), port })
    }
}

impl Uri {
    /// All addresses of the host, as the system's resolver gives them, IPv6 and IPv4 in turn (as in RFC 8305 §4). The
    /// calling thread waits for the resolver. `default_port`: if the URI names none.
    ///
    /// # Errors
    /// As the system tells; `NotFound` if it has none.
    pub fn resolve(&self, default_port: u16) -> io::Result<Vec<SocketAddr>> {
        resolve(&self.host, self.port.unwrap_or(default_port))
    }
}

/// All addresses of a host. Of the family that the resolver prefers is the first, and they take turns.
pub(crate) fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in (host, port).to_socket_addrs()? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(in_turn(&addresses)) }
}

fn in_turn(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let of = |is_ipv6| addresses.iter().filter(move |address| address.is_ipv6() == is_ipv6);
    let (mut first, mut second) = (of(preferred), of(!preferred));
    let mut ordered = Vec::with_capacity(addresses.len());
    while ordered.len() < addresses.len() {
        ordered.extend(first.next().into_iter().chain(second.next()));
    }
    ordered
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    fn parse(text: &str) -> Result<(String, Option<u16>), UriError> {
        text.parse::<Uri>().map(|uri| (uri.host, uri.port))
    }

    #[test]
    fn hosts_and_ports_are_found() {
        assert_eq!(parse("rtmfp://example.org/a/b"), Ok(("example.org".into(), None)));
        assert_eq!(parse("RTMFP://10.0.0.1:5"), Ok(("10.0.0.1".into(), Some(5))));
        assert_eq!(parse("rtmfp://[2001:db8::1]:70/x?y#z"), Ok(("2001:db8::1".into(), Some(70))));
        assert_eq!(parse("rtmfp://[::1]"), Ok(("::1".into(), None)));
        assert_eq!(parse("rtmfp://h?x"), Ok(("h".into(), None)));
    }

    #[test]
    fn addresses_of_both_families_take_turns() {
        let parse = |text: &str| text.split(' ').map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        for (given, ordered) in [
            ("[::1]:1 [::2]:1 [::3]:1 1.0.0.1:1", "[::1]:1 1.0.0.1:1 [::2]:1 [::3]:1"),
            ("1.0.0.1:1 1.0.0.2:1 [::1]:1 [::2]:1 [::3]:1", "1.0.0.1:1 [::1]:1 1.0.0.2:1 [::2]:1 [::3]:1"),
            ("1.0.0.2:1 1.0.0.1:1", "1.0.0.2:1 1.0.0.1:1"),
        ] {
            assert_eq!(in_turn(&parse(given)), parse(ordered));
        }
        assert_eq!(resolve("127.0.0.1", 5).unwrap(), parse("127.0.0.1:5"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, error) in [
            ("example.org", UriError::Scheme),
            ("http://example.org/", UriError::Scheme),
            ("rtmfp:///x", UriError::NoHost),
            ("rtmfp://:1935/", UriError::NoHost),
            ("rtmfp://h:0/", UriError::Port),
            ("rtmfp://h:65536/", UriError::Port),
            ("rtmfp://h:x/", UriError::Port),
            ("rtmfp://2001:db8::1/", UriError::Ipv6),
            ("rtmfp://[::1/", UriError::Ipv6),
            ("rtmfp://[h]/", UriError::Ipv6),
            ("rtmfp://[::1]x/", UriError::Port),
            ("rtmfp://me:secret@h/", UriError::UserInfo),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
            // Each profile has its own.
            assert!(!error.to_string().contains("1935"), "{error}");
        }
    }
}
