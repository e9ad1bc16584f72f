//! The program in network namespaces of its own: several local addresses, firewalls, small paths, no routes.
//!
//! Needs root, `ip` and `nft`; where namespaces do not work the tests say that they are skipped.

use core::sync::atomic::{AtomicU32, Ordering};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::harness::{Ended, Running, Scratch, start_in};

/// Lets in only what was asked for, not even from this machine itself.
const ESTABLISHED_ONLY: &str = "table inet filter { chain input { type filter hook input priority 0; policy drop; \
    ct state established accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; } ; }";
/// Drops what this machine sends to itself.
const NO_LOOPBACK: &str = "table inet filter { chain input { type filter hook input priority 0; iif lo drop; } ; }";

/// Two hosts and a wire: `near` has one address of each family, `far` two.
pub(crate) struct World {
    pub(crate) near: String,
    pub(crate) far: String,
}

pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).map_err(|e| e.to_string())?;
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program} {arguments:?}: {said}")) }
}

pub(crate) fn ip(line: &str) -> Result<(), String> {
    run("ip", &line.split(' ').collect::<Vec<_>>(), "")
}

impl World {
    pub(crate) fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rtmfp-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let world = Self { near: format!("{name}-near"), far: format!("{name}-far") };
        // Whatever fails after the first host is a fault.
        if let Err(why) = ip(&format!("netns add {}", world.near)) {
            eprintln!("SKIPPED: network namespaces do not work here, so nobody has tried this: {why}");
            return None;
        }
        world.build().unwrap();
        Some(world)
    }

    fn build(&self) -> Result<(), String> {
        let Self { near, far } = self;
        ip(&format!("netns add {far}"))?;
        ip(&format!("link add wire netns {near} type veth peer name wire netns {far}"))?;
        let addresses = [
            (near, "192.0.2.1/24"),
            (far, "192.0.2.2/24"),
            (far, "192.0.2.3/24"),
            (near, "2001:db8::1/64 nodad"),
            (far, "2001:db8::2/64 nodad"),
            (far, "2001:db8::3/64 nodad"),
        ];
        for (host, address) in addresses {
            let (address, nodad) = address.split_once(' ').map_or((address, ""), |(address, _)| (address, " nodad"));
            ip(&format!("-n {host} addr add {address} dev wire{nodad}"))?;
        }
        for host in [near, far] {
            ip(&format!("-n {host} link set lo up"))?;
            ip(&format!("-n {host} link set wire up"))?;
            // A link-local address that is still being tested holds nobody up, but its packets would be late.
            ip(&format!("-n {host} route show"))?;
        }
        self.firewall(near, "table inet probe { }")
    }

    fn firewall(&self, host: &str, rules: &str) -> Result<(), String> {
        run("ip", &["netns", "exec", host, "nft", "-f", "-"], rules)
    }

    fn mtu(&self, mtu: u32) {
        for host in [&self.near, &self.far] {
            ip(&format!("-n {host} link set wire mtu {mtu}")).unwrap();
        }
    }

    /// A server at the far end on this local address.
    fn serve(&self, arguments: &[&str], listen: &str) -> Running {
        let all: Vec<&str> =
            arguments.iter().copied().chain(["--json", "--listen", listen, "--timeout", "5"]).collect();
        let mut server = start_in(Some(&self.far), &all, None);
        server.wait_for("\"listening\"");
        server
    }

    fn ping(&self, uri: &str) -> Ended {
        start_in(Some(&self.near), &["ping", "--json", "-i", "0", "-c", "3", "--timeout", "5", uri], None).end()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for host in [&self.near, &self.far] {
            let _ = ip(&format!("netns del {host}"));
        }
    }
}

/// It answered from the first address, whichever was asked, and firewalls between let nothing of that through.
#[test]
fn an_endpoint_on_all_addresses_answers_from_the_one_that_was_asked() {
    let Some(world) = World::new() else { return };
    world.firewall(&world.near, ESTABLISHED_ONLY).unwrap();
    let families = [("0.0.0.0:1935", ["192.0.2.2", "192.0.2.3"]), ("[::]:1935", ["[2001:db8::2]", "[2001:db8::3]"])];
    for (listen, addresses) in families {
        let _server = world.serve(&["echo"], listen);
        for address in addresses {
            let ended = world.ping(&format!("rtmfp://{address}:1935/"));
            assert_eq!(ended.code, Some(0), "{address}: {ended:?}");
            assert!(ended.out.contains("\"done\",\"replies\":3"), "{address}: {}", ended.out);
        }
    }
}

/// A thread woke the program by a datagram to itself, and it waited for ever.
#[test]
fn a_firewall_on_loopback_stops_nothing() {
    let Some(world) = World::new() else { return };
    world.firewall(&world.near, NO_LOOPBACK).unwrap();
    world.firewall(&world.far, NO_LOOPBACK).unwrap();
    let _server = world.serve(&["echo"], "0.0.0.0:1935");
    let ended = world.ping("rtmfp://192.0.2.2:1935/");
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// The user was told to look at the firewalls between.
#[test]
fn without_a_route_the_message_says_what_the_system_said() {
    let Some(world) = World::new() else { return };
    for remote in ["198.51.100.1", "[2001:db8:1::1]", "[::ffff:198.51.100.1]"] {
        let uri = format!("rtmfp://{remote}/");
        let ended = start_in(Some(&world.near), &["ping", "--timeout", "1", &uri], None).end();
        assert_eq!(ended.code, Some(3), "{remote}: {ended:?}");
        assert!(ended.errors.contains("Network is unreachable"), "{remote}: {}", ended.errors);
    }
}

/// The handshake got through, the file did not, and pings kept the session open.
#[test]
fn paths_below_the_base_size_carry_files() {
    for mtu in [1_100, 600] {
        let Some(world) = World::new() else { return };
        world.mtu(mtu);
        let scratch = Scratch::new();
        let file = scratch.file("file", 300_000, 1);
        let _receiver = world.serve(&["receive", scratch.directory().to_str().unwrap()], "0.0.0.0:1935");
        let arguments = ["send", "--json", "--timeout", "5", file.to_str().unwrap(), "rtmfp://192.0.2.2:1935/"];
        let ended = start_in(Some(&world.near), &arguments, None).end();
        assert_eq!(ended.code, Some(0), "{mtu}: {ended:?}");
        assert!(fs::read(scratch.directory().join("file")).unwrap() == fs::read(file).unwrap());
    }
}
