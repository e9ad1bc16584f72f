//! The things that links connect.

use core::net::IpAddr;
use std::collections::VecDeque;

use crate::arena::PacketId;
use crate::attack::Tap;
use crate::fault::DropCause;
use crate::nat::{Firewall, Nat};
use crate::node::{Clock, Node};
use crate::route::RouteTable;
use crate::time::Time;

/// What a host does with packets that were on their way to an address that it gave up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InFlight {
    /// They are lost.
    Lost,
    /// They still come in, until this time.
    DeliveredUntil(Time),
}

/// A host's interface.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub(crate) addresses: Vec<IpAddr>,
    /// Given up, but still heard until then.
    pub(crate) former: Vec<(IpAddr, Time)>,
    pub(crate) up: bool,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) node: Box<dyn Node>,
    /// Its only address, on its only interface, which is up; and it has no routes: most hosts are such.
    pub(crate) sole: Option<IpAddr>,
    pub(crate) started: bool,
    /// The generation of the timer event that counts.
    pub(crate) generation: u32,
    /// The world time of that event; [`Time::NEVER`] if there is none.
    pub(crate) armed: Time,
    pub(crate) clock: Clock,
    /// Timeouts handled at the same time.
    pub(crate) busy_at: Time,
    pub(crate) busy: u32,
    pub(crate) cold: Box<HostColdState>,
}

/// What a host with one address seldom needs.
#[derive(Debug)]
pub(crate) struct HostColdState {
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) routes: RouteTable,
    /// May forge.
    pub(crate) raw: bool,
    /// What came while it was frozen, and how much of that the socket holds.
    pub(crate) socket: VecDeque<(PacketId, u16)>,
    pub(crate) socket_limit: usize,
}

impl Host {
    /// Something about its interfaces, addresses or routes is not as before.
    pub(crate) fn rewired(&mut self) {
        self.sole = match &*self.cold.interfaces {
            [Interface { addresses, up: true, .. }] if self.cold.routes.is_empty() => match **addresses {
                [address] => Some(address),
                _ => None,
            },
            _ => None,
        };
    }
}

#[derive(Debug, Default)]
pub(crate) struct Router {
    pub(crate) routes: RouteTable,
}

#[derive(Debug)]
/// Hosts are not boxed: nearly all devices are hosts, and a box would cost a cache miss a packet.
pub(crate) enum Kind {
    Host(Host),
    Router(Box<Router>),
    Nat(Box<Nat>),
    Firewall(Box<Firewall>),
    Tap(Box<Tap>),
}

impl HostColdState {
    /// Why a packet that has come by an interface, for an address, is not for this host: none if it is.
    pub(crate) fn refusal(&self, interface: u16, to: IpAddr, now: Time) -> Option<DropCause> {
        let Some(interface) = self.interfaces.get(usize::from(interface)) else { return Some(DropCause::NoSuchHost) };
        if !interface.up {
            return Some(DropCause::InterfaceDown);
        }
        let former = interface.former.iter().any(|&(address, until)| address == to && now < until);
        (!former && !interface.addresses.contains(&to)).then_some(DropCause::NoSuchHost)
    }
}

// Two cache lines and no more: see the test below.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Device {
    pub(crate) kind: Kind,
    /// The lane that leads out of port 0, where there is one: without a look at the wiring.
    pub(crate) first_lane: Option<u32>,
    pub(crate) wiring: Box<Wiring>,
}

impl Device {
    /// Loads both of its cache lines into the cache.
    pub(crate) fn prefetch(&self) -> u64 {
        let armed = if let Kind::Host(host) = &self.kind { host.armed.0 } else { 0 };
        armed ^ u64::from(self.first_lane.unwrap_or(0))
    }
}

/// A device's name and what is connected to it.
#[derive(Debug)]
pub(crate) struct Wiring {
    pub(crate) name: String,
    /// The lane that leads out of each port.
    pub(crate) ports: Vec<u32>,
    /// Ports behind which there may be more than a host: where news of routes goes.
    pub(crate) transit: Vec<u16>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_two_cache_lines() {
        assert_eq!(size_of::<Device>(), 128);
    }
}
