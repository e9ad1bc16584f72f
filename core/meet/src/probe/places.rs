//! Which of a server's places a client tests with.

use alloc::vec::Vec;
use core::net::SocketAddr;

use rtmfp_core::wire::Address;

/// A place: its number, and how it is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) at: SocketAddr,
}

/// Another port of the server's address, and another address, if the server has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Places {
    pub(super) other_port: Option<Place>,
    pub(super) other_address: Option<Place>,
}

impl Places {
    /// Chooses from what the server tells. `server` is where it is reached.
    pub(super) fn of(server: SocketAddr, told: &[Address]) -> Self {
        let server_ip = server.ip().to_canonical();
        let reached = |(number, address): (u64, &Address)| {
            let ip = address.socket.ip().to_canonical();
            let ip = if ip.is_unspecified() && ip.is_ipv4() == server_ip.is_ipv4() { server_ip } else { ip };
            Place { number, at: SocketAddr::new(ip, address.socket.port()) }
        };
        let usable = |place: &Place| {
            let ip = place.at.ip();
            ip.is_ipv4() == server_ip.is_ipv4() && !ip.is_unspecified() && !ip.is_multicast() && place.at.port() != 0
        };
        let places: Vec<Place> = (1..).zip(told).map(reached).filter(usable).collect();
        let find = |fits: &dyn Fn(&Place) -> bool| places.iter().copied().find(fits);
        Self {
            other_port: find(&|place| place.at.ip() == server_ip && place.at.port() != server.port()),
            other_address: find(&|place| place.at.ip() != server_ip),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtmfp_core::wire::AddressOrigin;

    #[test]
    fn another_port_and_another_address_of_the_same_family_are_chosen() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap_or_else(|error| unreachable!("{error}"));
        let told = ["[2001:db8::2]:1937", "192.0.2.1:1936", "0.0.0.0:1937", "192.0.2.2:1937", "192.0.2.3:1"];
        let told = told.map(|text| Address { origin: AddressOrigin::Local, socket: at(text) });
        let places = Places::of(at("192.0.2.1:1936"), &told);
        assert_eq!(places.other_port, Some(Place { number: 3, at: at("192.0.2.1:1937") }));
        assert_eq!(places.other_address, Some(Place { number: 4, at: at("192.0.2.2:1937") }));
        let places = Places::of(at("[2001:db8::1]:1936"), &told);
        assert_eq!((places.other_port, places.other_address.map(|place| place.number)), (None, Some(1)));
        assert_eq!(Places::of(at("192.0.2.1:1936"), &[]), Places::default());
    }
}
