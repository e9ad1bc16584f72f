//! Places by name: one form of each, whichever way it was written.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use rtmfp_std::MODERN_PORT;

/// The one form of a place, under which it is pinned and looked for: an address as `SocketAddr` shows it (IPv6 in
/// brackets), a host name in lower case and without its final dot. `host`: with or without brackets.
#[must_use]
pub fn place(host: &str, port: u16) -> String {
    let bare = without_brackets(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return SocketAddr::new(address.to_canonical(), port).to_string();
    }
    if let Some((address, zone)) = bare.split_once('%')
        && let Ok(address) = address.parse::<Ipv6Addr>()
    {
        return format!("[{address}%{zone}]:{port}");
    }
    format!("{}:{port}", host_name(host))
}

/// The one form of a name in the file: of a place, if it is one, or of whatever the user has chosen. An address without
/// a port has that of a URI without one.
pub(super) fn canonical(name: &str) -> String {
    if let Some((host, port)) = name.rsplit_once(':')
        && let Ok(port) = port.parse()
        && (host.starts_with('[') || !host.contains(':'))
    {
        return place(host, port);
    }
    let bare = without_brackets(name);
    if bare.parse::<IpAddr>().is_ok() || is_ipv6(bare) { place(bare, MODERN_PORT) } else { host_name(name) }
}

/// Whether it is an IPv6 address without brackets, with or without a port: which of both nobody can tell.
pub(super) fn lacks_brackets(name: &str) -> bool {
    is_ipv6(name) || name.rsplit_once(':').is_some_and(|(host, _)| is_ipv6(host))
}

/// With or without its zone.
fn is_ipv6(text: &str) -> bool {
    text.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn host_name(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}
