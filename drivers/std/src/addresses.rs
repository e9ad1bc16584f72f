//! Which addresses this machine has.
//!
//! On Linux the system lists them. Whether one can be bound does not tell: it can be if somebody has allowed that for
//! addresses that are not there (`net.ipv4.ip_nonlocal_bind`), and a link-local one cannot be without its link. On other
//! systems binding has to do.

use core::net::{IpAddr, SocketAddr};
use std::io;
use std::net::UdpSocket;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod netlink;

/// What the machine has now.
pub(crate) struct Addresses {
    /// None: the system does not tell.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    listed: Option<Vec<netlink::Address>>,
}

/// All addresses that the machine has and may use, of all interfaces. Empty on systems other than Linux.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[must_use]
pub fn list() -> Vec<IpAddr> {
    let listed = netlink::addresses().unwrap_or_default();
    listed.into_iter().filter(|one| one.usable).map(|one| one.ip).collect()
}

/// All addresses that the machine has and may use, of all interfaces. Empty on systems other than Linux.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[must_use]
pub const fn list() -> Vec<IpAddr> {
    Vec::new()
}

/// Where sockets that are bound to these addresses are reached from the networks of a machine with those: not loopback, nor
/// link-local addresses, whose link would have to be named. One that is bound to all addresses has those of its family.
#[must_use]
pub fn candidates(bound: &[SocketAddr], machine: &[IpAddr]) -> Vec<SocketAddr> {
    let is_named = |ip: &IpAddr| {
        let is_link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        !ip.is_loopback() && !ip.is_unspecified() && !is_link_local
    };
    let of_socket = |local: &SocketAddr| {
        let all = machine.iter().filter(|ip| local.ip().is_unspecified() && ip.is_ipv4() == local.is_ipv4());
        let ips: Vec<IpAddr> = all.copied().chain([local.ip()]).filter(is_named).collect();
        ips.into_iter().map(|ip| SocketAddr::new(ip, local.port())).collect::<Vec<_>>()
    };
    bound.iter().flat_map(of_socket).collect()
}

/// What the system said to binding a socket to the address, at any port.
fn try_binding(address: SocketAddr) -> io::Result<UdpSocket> {
    let mut any_port = address;
    any_port.set_port(0);
    UdpSocket::bind(any_port)
}

/// Whether the system has the address, as far as binding tells. Anything else that it says is no reason to doubt it.
fn can_be_bound(address: SocketAddr) -> bool {
    !matches!(try_binding(address), Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Addresses {
    /// Asks the system.
    pub(crate) fn now() -> Self {
        Self { listed: netlink::addresses().ok() }
    }

    /// Whether the machine has the address, and may use it: the system still asks for some whether another host has them.
    /// Without a scope, a link-local address may be of any link.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        let Some(listed) = &self.listed else {
            return can_be_bound(address);
        };
        let scope = if let SocketAddr::V6(address) = address { address.scope_id() } else { 0 };
        let is_it = |one: &&netlink::Address| one.ip == address.ip() && (scope == 0 || one.link == scope);
        let mut found = listed.iter().filter(is_it).peekable();
        if found.peek().is_some() {
            return found.any(|one| one.usable);
        }
        // A whole network may be local, as 127.0.0.0/8 is. Only binding tells then.
        !may_bind_any(address) && !matches!(try_binding(address), Err(error) if is_of_the_address(&error))
    }
}

/// Whether binding failed for the address: it is not there, or its link is not, or none is named.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_of_the_address(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let codes = [Errno::ADDRNOTAVAIL, Errno::INVAL, Errno::NODEV];
    codes.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

/// Whether sockets may be bound to addresses that the machine does not have.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn may_bind_any(address: SocketAddr) -> bool {
    let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
    let setting = std::fs::read(format!("/proc/sys/net/{family}/ip_nonlocal_bind"));
    setting.is_ok_and(|setting| setting.first().is_some_and(|first| *first != b'0'))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Addresses {
    pub(crate) const fn now() -> Self {
        Self {}
    }

    /// Whether the machine has the address.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        can_be_bound(address)
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests;
