//! Hosts behind gateways, in network namespaces: the kernel's own address translation, set up with `nft`.
//!
//! All gateways are joined to one router, and so is the server. Needs root, `ip` and `nft`.

use core::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::sites::{Gateway, Site};

/// What gets from outside to the gateway itself, or is not asked for, is dropped, as any router for homes does.
const FIREWALL: &str = "table ip filter {
    chain input { type filter hook input priority 0; iifname \"wan\" drop; }
    chain forward { type filter hook forward priority 0; policy drop;
        ct state established,related accept; ct status dnat accept; iifname != \"wan\" accept; }
}";

/// Namespaces that are deleted at the end.
#[derive(Debug)]
pub(super) struct Namespaces {
    prefix: String,
    names: Vec<String>,
}

fn run(program: &str, arguments: &[&str], input: &str) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).map_err(|e| e.to_string())?;
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program} {arguments:?}: {said}\n{input}")) }
}

/// What is to be done in a namespace, in order.
#[derive(Debug, Default)]
struct Setup {
    ip: String,
    nft: String,
    forwards: bool,
}

impl Setup {
    fn address(&mut self, device: &str, address: &str) {
        writeln!(self.ip, "addr add {address} dev {device}\nlink set {device} up").unwrap();
    }

    fn route(&mut self, gateway: &str) {
        writeln!(self.ip, "route add default via {gateway}").unwrap();
    }
}

impl Namespaces {
    /// The router, the server and all sites.
    ///
    /// # Errors
    /// What does not work here. With `Err(_, true)` namespaces work, and something else does not.
    pub(super) fn new(sites: &[Site]) -> Result<Self, (String, bool)> {
        let prefix = format!("rtmfp-k{}", std::process::id());
        let mut world = Self { prefix, names: Vec::new() };
        world.add("net").map_err(|why| (why, false))?;
        world.build(sites).map_err(|why| (why, true))?;
        Ok(world)
    }

    /// The full name of a namespace.
    pub(super) fn name(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    fn add(&mut self, short: &str) -> Result<(), String> {
        let name = self.name(short);
        run("ip", &["netns", "add", &name], "")?;
        self.names.push(name);
        Ok(())
    }

    /// A wire between two namespaces.
    fn wire(&self, [near, near_device]: [&str; 2], [far, far_device]: [&str; 2]) -> String {
        let (near, far) = (self.name(near), self.name(far));
        format!("link add {near_device} netns {near} type veth peer name {far_device} netns {far}\n")
    }

    fn build(&mut self, sites: &[Site]) -> Result<(), String> {
        self.add("server")?;
        let mut wires = self.wire(["net", "server"], ["server", "wan"]);
        let mut net = Setup { forwards: true, ..Setup::default() };
        net.address("server", "203.0.113.254/24");
        let mut server = Setup::default();
        server.address("wan", "203.0.113.1/24");
        server.route("203.0.113.254");
        let mut setups = vec![("server".to_owned(), server)];
        for (number, site) in sites.iter().enumerate() {
            let device = format!("site{number}");
            net.address(&device, &format!("{}/30", site.uplink()));
            for (name, setup) in self.site(site, &device, &mut wires)? {
                setups.push((name, setup));
            }
        }
        setups.push(("net".to_owned(), net));
        run("ip", &["-batch", "-"], &wires)?;
        for (short, setup) in setups {
            self.apply(&short, &setup)?;
        }
        Ok(())
    }

    /// The namespaces of a site, and what is to be done in each.
    fn site(&mut self, site: &Site, device: &str, wires: &mut String) -> Result<Vec<(String, Setup)>, String> {
        let mut outermost = Setup::default();
        outermost.address("wan", &format!("{}/30", site.outside()));
        outermost.route(&site.uplink().to_string());
        if site.gateway == Gateway::None {
            let host = site.host(0);
            self.add(&host)?;
            *wires += &self.wire(["net", device], [&host, "wan"]);
            return Ok(vec![(host, outermost)]);
        }
        let (outer, inner) = (format!("{}-gw", site.name), format!("{}-gw2", site.name));
        self.add(&outer)?;
        *wires += &self.wire(["net", device], [&outer, "wan"]);
        outermost.forwards = true;
        outermost.nft = format!("{FIREWALL}\n{}", site.translation());
        let mut setups = Vec::new();
        let gateway = if site.gateway == Gateway::Twice {
            self.add(&inner)?;
            *wires += &self.wire([&outer, "lan0"], [&inner, "wan"]);
            outermost.address("lan0", "100.64.0.1/24");
            let mut setup = Setup { forwards: true, nft: outermost.nft.clone(), ..Setup::default() };
            setup.address("wan", "100.64.0.2/24");
            setup.route("100.64.0.1");
            setups.push((outer, outermost));
            (inner, setup)
        } else {
            (outer, outermost)
        };
        let (name, mut setup) = gateway;
        for number in 0..site.hosts {
            let (host, lan) = (site.host(number), format!("lan{number}"));
            self.add(&host)?;
            *wires += &self.wire([&name, &lan], [&host, "lan"]);
            setup.address(&lan, &format!("192.168.{number}.1/24"));
            let mut inside = Setup::default();
            inside.address("lan", &format!("{}/24", Site::inside(number)));
            inside.route(&format!("192.168.{number}.1"));
            setups.push((host, inside));
        }
        setups.push((name, setup));
        Ok(setups)
    }

    fn apply(&self, short: &str, setup: &Setup) -> Result<(), String> {
        let name = self.name(short);
        run("ip", &["-n", &name, "-batch", "-"], &format!("link set lo up\n{}", setup.ip))?;
        if setup.forwards {
            let forward = || fs::write("/proc/sys/net/ipv4/ip_forward", "1").map_err(|e| format!("ip_forward: {e}"));
            on(&name, forward)?;
        }
        if setup.nft.is_empty() { Ok(()) } else { run("ip", &["netns", "exec", &name, "nft", "-f", "-"], &setup.nft) }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        let lines: String = self.names.iter().map(|name| format!("netns del {name}\n")).collect();
        let _ = run("ip", &["-force", "-batch", "-"], &lines);
    }
}

/// Runs something on a thread of a namespace: what it makes has its sockets and threads there.
pub(super) fn on<T: Send>(name: &str, make: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{name}")).unwrap();
    let run = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        make()
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}
