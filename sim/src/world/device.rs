//! The things that links connect.

use core::net::IpAddr;
use std::collections::VecDeque;

use crate::arena::PacketId;
use crate::attack::Tap;
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
    pub(crate) started: bool,
    pub(crate) interfaces: Vec<Interface>,
    /// Its only address, on its only interface, which is up; and it has no routes: most hosts are such.
    pub(crate) sole: Option<IpAddr>,
    pub(crate) routes: RouteTable,
    pub(crate) clock: Clock,
    /// May forge.
    pub(crate) raw: bool,
    /// The world time of the timer event that counts, and its generation.
    pub(crate) armed: Option<Time>,
    pub(crate) generation: u32,
    /// What came while it was frozen, and how much of that the socket holds.
    pub(crate) socket: VecDeque<(PacketId, u16)>,
    pub(crate) socket_limit: usize,
    /// Timeouts handled at the same time.
    pub(crate) busy_at: Time,
    pub(crate) busy: u32,
}

impl Host {
    /// Something about its interfaces, addresses or routes is not as before.
    pub(crate) fn rewired(&mut self) {
        self.sole = match &*self.interfaces {
            [Interface { addresses, up: true, .. }] if self.routes.is_empty() => match **addresses {
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

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The lane that leads out of each port.
    pub(crate) ports: Vec<u32>,
    /// Ports behind which there may be more than a host: where news of routes goes.
    pub(crate) transit: Vec<u16>,
}
