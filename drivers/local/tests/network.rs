//! A gateway that forwards ports, and two hosts of one network, in network namespaces.
//!
//! Needs root, `ip`, `nft` and `miniupnpd`; where namespaces do not work the tests say that they are skipped.
#![cfg(all(target_os = "linux", feature = "lan", feature = "upnp"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Forwards what is answered, and what the daemon asks for.
const RULES: &str = r#"table inet filter {
    chain miniupnpd { }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
    chain forward { type filter hook forward priority 0; policy drop;
        ct state established,related accept; iifname "inside" accept; jump miniupnpd; }
    chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
    chain postrouting { type nat hook postrouting priority 100;
        oifname "outside" jump postrouting_miniupnpd; oifname "outside" masquerade; }
}"#;

/// How often it is looked whether the daemon is there: each takes some milliseconds.
const TRIES: usize = 3_000;

fn run(program: &str, arguments: &str, input: &str) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments.split(' ')).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).map_err(|error| error.to_string())?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program} {arguments}: {said}")) }
}

fn ip(arguments: &str) -> Result<(), String> {
    run("ip", arguments, "")
}

/// Hosts, of which each is a namespace of its own.
struct World {
    name: String,
    hosts: &'static [&'static str],
}

impl World {
    fn new(hosts: &'static [&'static str]) -> Option<Self> {
        let world = Self { name: format!("rtmfp-l{}-{}", std::process::id(), hosts.len()), hosts };
        // Whatever fails after the first host is a fault.
        if let Err(why) = ip(&format!("netns add {}", world.host(hosts.first()?))) {
            eprintln!("SKIPPED: network namespaces do not work here, so nobody has tried this: {why}");
            return None;
        }
        world.add_hosts().unwrap();
        Some(world)
    }

    fn host(&self, host: &str) -> String {
        format!("{}-{host}", self.name)
    }

    fn add_hosts(&self) -> Result<(), String> {
        self.hosts.iter().skip(1).try_for_each(|host| ip(&format!("netns add {}", self.host(host))))?;
        self.hosts.iter().try_for_each(|host| ip(&format!("-n {} link set lo up", self.host(host))))
    }

    /// A wire between two hosts, each with its name and address there.
    fn wire(&self, [a, b]: [(&str, &str, &str); 2]) {
        let (first, second) = (self.host(a.0), self.host(b.0));
        ip(&format!("link add {} netns {first} type veth peer name {} netns {second}", a.1, b.1)).unwrap();
        for (host, name, address) in [a, b] {
            ip(&format!("-n {} addr add {address} dev {name}", self.host(host))).unwrap();
            ip(&format!("-n {} link set {name} up", self.host(host))).unwrap();
        }
    }

    fn start(&self, host: &str, program: &Path, arguments: &[&str]) -> Program {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.host(host)]).arg(program).args(arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Program { child, lines }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for host in self.hosts {
            let _ = ip(&format!("netns del {}", self.host(host)));
        }
    }
}

struct Program {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Program {
    /// The next line with this text. Fails if the program ends before.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "it ended without saying {text:?}");
            if line.contains(text) {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Ends its input.
    fn finish(&mut self) {
        drop(self.child.stdin.take());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An example of this package, which is built with all its tests, and not with this file alone.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(program.exists(), "{}: build it with `cargo build -p rtmfp-local --examples`", program.display());
    program
}

/// A home with its gateway, which knows these protocols, and a host outside. `None` if it cannot be made here.
fn home(by_pcp: bool, by_upnp: bool) -> Option<(World, Program)> {
    // The number of hosts tells the two worlds apart.
    let world = World::new(if by_pcp { &["o", "g", "c"] } else { &["o", "g", "c", "unused"] })?;
    world.wire([("g", "inside", "192.168.77.1/24"), ("c", "lan", "192.168.77.2/24")]);
    // The daemon wants an address that can be outside. It stays in here.
    world.wire([("g", "outside", "11.22.33.44/24"), ("o", "wan", "11.22.33.1/24")]);
    ip(&format!("-n {} route add default via 192.168.77.1", world.host("c"))).unwrap();
    ip(&format!("netns exec {} sysctl -qw net.ipv4.ip_forward=1", world.host("g"))).unwrap();
    run("ip", &format!("netns exec {} nft -f -", world.host("g")), RULES).unwrap();
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&world.name);
    fs::create_dir_all(&scratch).unwrap();
    let (config, pid) = (scratch.join("conf"), scratch.join("pid"));
    let yes = |yes| if yes { "yes" } else { "no" };
    let (pcp, upnp) = (yes(by_pcp), yes(by_upnp));
    let text = format!(
        "ext_ifname=outside\next_ip=11.22.33.44\nlistening_ip=inside\nport=5000\nenable_natpmp={pcp}\n\
        enable_upnp={upnp}\nsecure_mode=yes\nuuid=8f2b6b0e-1f5e-4f62-9a8a-0a5f2b6b0e1f\n\
        allow 1024-65535 192.168.77.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
    );
    fs::write(&config, text).unwrap();
    let daemon = Path::new("/usr/sbin/miniupnpd");
    if !daemon.exists() {
        eprintln!("SKIPPED: miniupnpd is not installed, so no gateway was asked");
        return None;
    }
    let arguments = ["-d", "-f", config.to_str().unwrap(), "-P", pid.to_str().unwrap()];
    let gateway = world.start("g", daemon, &arguments);
    // It answers once its socket is there: that of NAT-PMP and PCP, or that of UPnP's search.
    let port = if by_pcp { ":5351 " } else { ":1900 " };
    let is_there = (0..TRIES).any(|_| sockets(&world.host("g")).contains(port));
    assert!(is_there, "the daemon does not listen at{port}");
    Some((world, gateway))
}

/// The UDP sockets of a host, as the system lists them.
fn sockets(host: &str) -> String {
    let output = Command::new("ip").args(["netns", "exec", host, "ss", "-lun"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A datagram from outside comes through the port, and the port is given back.
fn port_is_forwarded(world: &World, by: &str) {
    let mut program = world.start("c", &example("port"), &["1936"]);
    assert_eq!(program.wait_for("mapped"), format!("mapped 11.22.33.44:1936 by {by}"));
    let outside = world.host("o");
    let there = ["netns", "exec", &outside, "bash", "-c", "echo -n hello > /dev/udp/11.22.33.44/1936"];
    assert!(Command::new("ip").args(there).status().unwrap().success());
    assert!(program.wait_for("bytes").starts_with("5 bytes from 11.22.33.1:"));
    program.finish();
    program.wait_for("given back");
    // The gateway is told, and nobody waits for what it says.
    let list = ["netns", "exec", &world.host("g"), "nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd"];
    let is_gone = |_| {
        let rules = Command::new("ip").args(list).output().unwrap();
        assert!(rules.status.success());
        !String::from_utf8_lossy(&rules.stdout).contains("1936")
    };
    assert!((0..TRIES).any(is_gone), "it is still forwarded");
}

#[test]
fn a_gateway_forwards_a_port_by_pcp_and_takes_it_back() {
    let Some((world, _gateway)) = home(true, false) else { return };
    port_is_forwarded(&world, "PCP");
}

#[test]
fn a_gateway_that_knows_upnp_alone_forwards_a_port_and_takes_it_back() {
    let Some((world, _gateway)) = home(false, true) else { return };
    port_is_forwarded(&world, "UPnP");
}

#[test]
fn two_hosts_of_a_network_find_each_other_without_a_server() {
    let Some(world) = World::new(&["a", "b"]) else { return };
    world.wire([("a", "lan", "10.7.0.1/24"), ("b", "lan", "10.7.0.2/24")]);
    for host in ["a", "b"] {
        ip(&format!("-n {} route add 224.0.0.0/4 dev lan", world.host(host))).unwrap();
    }
    let nearby = example("nearby");
    let mut other = world.start("a", &nearby, &["announce", "4711", "1999"]);
    let mut announced = world.start("a", &nearby, &["announce", "7214", "1936"]);
    other.wait_for("announced");
    announced.wait_for("announced");
    let mut search = world.start("b", &nearby, &["find", "7214"]);
    let found = search.wait_for("found");
    assert!(found.ends_with(":1936"), "{found}");
    assert!(found.contains("10.7.0.1") || found.contains("fe80::"), "{found}");
    announced.finish();
}
