//! IPv4 addresses for those who have IPv6 alone (RFC 6052 §2.1), as a NAT64 translates them (RFC 6146).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The well-known prefix, 64:ff9b::/96.
const PREFIX: u128 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0).to_bits();

/// How an IPv4 socket looks from the IPv6 side. Others are what they were.
#[must_use]
pub const fn embed(socket: SocketAddr) -> SocketAddr {
    match socket.ip() {
        IpAddr::V4(ip) => {
            let bits = PREFIX | ip.to_bits() as u128;
            SocketAddr::new(IpAddr::V6(Ipv6Addr::from_bits(bits)), socket.port())
        }
        IpAddr::V6(_) => socket,
    }
}

/// The IPv4 socket that an IPv6 one stands for, if it does.
#[must_use]
pub const fn extract(socket: SocketAddr) -> Option<SocketAddr> {
    match socket.ip() {
        IpAddr::V6(ip) if ip.to_bits() >> 32 == PREFIX >> 32 => {
            let ip = Ipv4Addr::from_bits(ip.to_bits() as u32);
            Some(SocketAddr::new(IpAddr::V4(ip), socket.port()))
        }
        IpAddr::V6(_) | IpAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6052 §2.4.
    #[test]
    fn an_address_goes_in_and_comes_out() {
        let v4: SocketAddr = "192.0.2.33:1935".parse().unwrap();
        let v6: SocketAddr = "[64:ff9b::192.0.2.33]:1935".parse().unwrap();
        assert_eq!(embed(v4), v6);
        assert_eq!(extract(v6), Some(v4));
        assert_eq!(embed(v6), v6);
        assert_eq!(extract(v4), None);
        assert_eq!(extract("[2001:db8::1]:1935".parse().unwrap()), None);
    }
}
