//! Two hosts and two wires between them, in network namespaces.
//!
//! Needs root and `ip`; where namespaces do not work the tests say that they are skipped.

use core::cell::Cell;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::thread;

use rtmfp_core::Instant;
use rtmfp_std::Clock;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A family of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// The address of the near (1) or far (2) host, or another of the near one (3), on a wire.
    pub(crate) fn address(self, wire: u8, host: u8) -> IpAddr {
        match self {
            Self::V4 => [10, 7, wire, host].into(),
            Self::V6 => [0x2001, 0xdb8, 7, wire.into(), 0, 0, 0, host.into()].into(),
        }
    }

    /// The far host's address that both wires lead to.
    pub(crate) fn service(self) -> IpAddr {
        match self {
            Self::V4 => [198, 51, 100, 1].into(),
            Self::V6 => [0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1].into(),
        }
    }

    pub(crate) fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => [127, 0, 0, 1].into(),
            Self::V6 => [0, 0, 0, 0, 0, 0, 0, 1].into(),
        }
    }

    pub(crate) fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => [0; 4].into(),
            Self::V6 => [0_u16; 8].into(),
        }
    }

    const fn prefix(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }
}

/// `near` has an address on each wire, of which the first is preferred.
pub(crate) struct World {
    pub(crate) near: String,
    pub(crate) far: String,
    family: Family,
    pub(crate) clock: Clock,
    /// When the last change began.
    changed: Cell<Instant>,
}

fn hardware(wire: u8, host: u8) -> String {
    format!("02:00:00:00:{wire:02}:{host:02}")
}

fn ip(line: &str) -> Result<(), String> {
    let mut command = Command::new("ip");
    command.args(line.split(' ')).stdin(Stdio::null());
    let output = command.output().map_err(|e| format!("ip: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("ip {line}: {said}")) }
}

impl World {
    pub(crate) fn new(family: Family) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rtmfp-m{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (clock, changed) = (Clock::new(), Cell::new(Instant::ORIGIN));
        let world = Self { near: format!("{name}-near"), far: format!("{name}-far"), family, clock, changed };
        match world.build() {
            Ok(()) => Some(world),
            Err(why) => {
                eprintln!("SKIPPED: network namespaces do not work here, so nobody has tried this: {why}");
                None
            }
        }
    }

    fn build(&self) -> Result<(), String> {
        let Self { near, far, family, .. } = self;
        for host in [near, far] {
            ip(&format!("netns add {host}"))?;
            ip(&format!("-n {host} link set lo up"))?;
        }
        ip(&format!("-n {far} addr add {} dev lo", family.service()))?;
        for wire in 0..2 {
            let [a, b] = [1, 2].map(|host| hardware(wire, host));
            let there = format!("type veth peer name wire{wire} address {b} netns {far}");
            ip(&format!("link add wire{wire} address {a} netns {near} {there}"))?;
            for host in [near, far] {
                ip(&format!("-n {host} link set wire{wire} addrgenmode none"))?;
            }
            self.add_address(far, wire, family.address(wire, 2))?;
            ip(&format!("-n {far} link set wire{wire} up"))?;
            ip(&format!("-n {near} link set wire{wire} up"))?;
            self.add(wire, 1)?;
        }
        Ok(())
    }

    fn add_address(&self, host: &str, wire: u8, address: IpAddr) -> Result<(), String> {
        let nodad = if self.family == Family::V6 { " nodad" } else { "" };
        ip(&format!("-n {host} addr add {address}/{} dev wire{wire}{nodad}", self.family.prefix()))
    }

    /// Changes the near host.
    fn change(&self, line: &str) -> Result<(), String> {
        self.changed.set(self.clock.now());
        ip(&format!("-n {} {line}", self.near))
    }

    /// When the last change began: the system gives notice a little later.
    pub(crate) fn changed(&self) -> Instant {
        self.changed.get()
    }

    /// Gives the near host an address on a wire, and the way to the service from there.
    pub(crate) fn add(&self, wire: u8, host: u8) -> Result<(), String> {
        self.add_address(&self.near, wire, self.family.address(wire, host))?;
        self.add_route(wire, host)
    }

    fn add_route(&self, wire: u8, host: u8) -> Result<(), String> {
        let (near, family) = (&self.near, self.family);
        let (service, source, gateway) = (family.service(), family.address(wire, host), family.address(wire, 2));
        // In its first second Linux asks for neighbours and drops the answers.
        for (from, to, at) in [(near, gateway, 2), (&self.far, source, 1)] {
            ip(&format!("-n {from} neigh replace {to} lladdr {} dev wire{wire} nud permanent", hardware(wire, at)))?;
        }
        let metric = 10 + wire;
        self.change(&format!("route replace {service} via {gateway} dev wire{wire} src {source} metric {metric}"))
    }

    /// Takes an address of the near host away, and what led from there.
    pub(crate) fn remove(&self, wire: u8, host: u8) -> Result<(), String> {
        let family = self.family;
        // Before the address, as IPv6 would keep it and send from another.
        self.change(&format!("route del {} dev wire{wire}", family.service()))?;
        self.change(&format!("addr del {}/{} dev wire{wire}", family.address(wire, host), family.prefix()))?;
        Ok(())
    }

    /// Switches the near end of a wire.
    pub(crate) fn switch(&self, wire: u8, up: bool) -> Result<(), String> {
        ip(&format!("-n {} link set wire{wire} {}", self.near, if up { "up" } else { "down" }))?;
        if up {
            // The routes are gone, and of IPv6 the addresses too.
            let _ = self.add_address(&self.near, wire, self.family.address(wire, 1));
            self.add_route(wire, 1)?;
        }
        Ok(())
    }

    /// Runs `make` on a thread of a host: what it makes has its sockets and threads there.
    pub(crate) fn on<T: Send + 'static>(host: &str, make: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = File::open(format!("/run/netns/{host}")).unwrap();
        let run = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            make()
        };
        thread::spawn(run).join().unwrap()
    }

    /// The service's address with a port.
    pub(crate) fn service(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.family.service(), port)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for host in [&self.near, &self.far] {
            let _ = ip(&format!("netns del {host}"));
        }
    }
}
