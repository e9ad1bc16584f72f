//! Two hosts and two wires between them, in network namespaces.
//!
//! Needs root and `ip`; where namespaces do not work the tests say that they are skipped.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use rtmfp_core::Instant;
use rtmfp_std::Clock;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
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
    /// When the near host's system last gave notice of a change, in microseconds.
    noticed: Arc<AtomicU64>,
}

fn hardware(wire: u8, host: u8) -> String {
    format!("02:00:00:00:{wire:02}:{host:02}")
}

/// Runs `ip`; what it says.
fn ip(line: &str) -> Result<String, String> {
    let mut command = Command::new("ip");
    command.args(line.split(' ')).stdin(Stdio::null());
    let output = command.output().map_err(|e| format!("ip: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(format!("ip {line}: {}", text(&output.stderr))) }
}

/// Links, and addresses and routes of both families.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// No check of an address takes so long.
const CHECK_MAX: Duration = Duration::from_secs(60);

/// Notes when the system of this thread's namespace gives notice, for ever.
fn listen(clock: Clock, noticed: &AtomicU64) {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS)).unwrap();
    let mut buffer = [0_u8; 8_192];
    while recv(&socket, &mut buffer, RecvFlags::empty()).is_ok() {
        noticed.store(clock.now().as_micros(), Ordering::SeqCst);
    }
}

impl World {
    pub(crate) fn new(family: Family) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rtmfp-m{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (clock, noticed) = (Clock::new(), Arc::default());
        let world = Self { near: format!("{name}-near"), far: format!("{name}-far"), family, clock, noticed };
        match world.build() {
            Ok(()) => {
                let noticed = Arc::clone(&world.noticed);
                Self::on(&world.near, move || thread::spawn(move || listen(clock, &noticed)));
                Some(world)
            }
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
            self.add_address(far, wire, family.address(wire, 2), false)?;
            ip(&format!("-n {far} link set wire{wire} up"))?;
            ip(&format!("-n {near} link set wire{wire} up"))?;
            self.add(wire, 1)?;
        }
        Ok(())
    }

    /// `checked`: of IPv6, only after the system has asked whether another host has it, which takes a second or two.
    fn add_address(&self, host: &str, wire: u8, address: IpAddr, checked: bool) -> Result<(), String> {
        let nodad = if self.family == Family::V6 && !checked { " nodad" } else { "" };
        ip(&format!("-n {host} addr add {address}/{} dev wire{wire}{nodad}", self.family.prefix())).map(drop)
    }

    /// Changes the near host.
    fn change(&self, line: &str) -> Result<(), String> {
        ip(&format!("-n {} {line}", self.near)).map(drop)
    }

    /// When the near host's system gave the last notice of a change.
    pub(crate) fn noticed(&self) -> Instant {
        Instant::ORIGIN + Duration::from_micros(self.noticed.load(Ordering::SeqCst))
    }

    /// Gives the near host an address on a wire, and the way to the service from there.
    pub(crate) fn add(&self, wire: u8, host: u8) -> Result<(), String> {
        self.add_address(&self.near, wire, self.family.address(wire, host), false)?;
        self.add_route(wire, host, true)
    }

    fn add_route(&self, wire: u8, host: u8, from_it: bool) -> Result<(), String> {
        let (near, family) = (&self.near, self.family);
        let (service, source, gateway) = (family.service(), family.address(wire, host), family.address(wire, 2));
        // In its first second Linux asks for neighbours and drops the answers.
        for (from, to, at) in [(near, gateway, 2), (&self.far, source, 1)] {
            ip(&format!("-n {from} neigh replace {to} lladdr {} dev wire{wire} nud permanent", hardware(wire, at)))?;
        }
        let metric = 10 + wire;
        let source = if from_it { format!(" src {source}") } else { String::new() };
        self.change(&format!("route replace {service} via {gateway} dev wire{wire}{source} metric {metric}"))
    }

    /// Takes an address of the near host away, and what led from there.
    pub(crate) fn remove(&self, wire: u8, host: u8) -> Result<(), String> {
        let family = self.family;
        // Before the address, as IPv6 would keep it and send from another.
        self.change(&format!("route del {} dev wire{wire}", family.service()))?;
        self.change(&format!("addr del {}/{} dev wire{wire}", family.address(wire, host), family.prefix()))?;
        Ok(())
    }

    /// Switches the near end of a wire off.
    pub(crate) fn switch_off(&self, wire: u8) -> Result<(), String> {
        self.change(&format!("link set wire{wire} down"))
    }

    /// Switches the near end of a wire on. `checked`: its IPv6 address is checked by the system first.
    pub(crate) fn switch_on(&self, wire: u8, checked: bool) -> Result<(), String> {
        self.change(&format!("link set wire{wire} up"))?;
        // The routes are gone, and of IPv6 the addresses too.
        let _ = self.add_address(&self.near, wire, self.family.address(wire, 1), checked);
        self.add_route(wire, 1, !checked)?;
        let is_tentative =
            || ip(&format!("-n {} addr show dev wire{wire} tentative", self.near)).map(|text| !text.is_empty());
        // Before it is asked: the check may end, and its notice come, while that is done.
        let begun = self.clock.now();
        if checked && is_tentative()? {
            // The notice of the check's end comes after the address is good.
            while is_tentative()? || self.noticed() < begun {
                if self.clock.now() >= begun + CHECK_MAX {
                    return Err(format!("the system has not checked the address of wire{wire}"));
                }
                thread::yield_now();
            }
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
