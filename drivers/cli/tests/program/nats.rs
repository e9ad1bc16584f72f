//! `rtmfp doctor` at a client, with a router of the kernel's between it and the server.
//!
//! Needs root, `ip` and `nft`; where namespaces do not work the tests say that they are skipped.

use core::sync::atomic::{AtomicU32, Ordering};

use super::harness::{Ended, Running, field, start_in};
use super::namespaces::{ip, run};

/// Keeps the inside port, and lets in only what was asked for.
const MASQUERADE: &str =
    "table ip nat { chain post { type nat hook postrouting priority 100; oifname out masquerade; } ; }";
/// Takes another port for each far end.
const RANDOM: &str =
    "table ip nat { chain post { type nat hook postrouting priority 100; oifname out masquerade fully-random; } ; }";
/// Translates nothing.
const FIREWALL: &str = "table ip filter { chain forward { type filter hook forward priority 0; policy drop; \
    iifname in accept; ct state established accept; } ; }";
/// Clears marks of congestion notification.
const BLEACH: &str =
    "table ip mangle { chain forward { type filter hook forward priority -150; ip ecn set not-ect; } ; }";
const BLOCK: &str =
    "table ip filter { chain forward { type filter hook forward priority 0; meta l4proto udp drop; } ; }";

/// A client, a router, and a server with two addresses.
struct World {
    hosts: [String; 3],
}

impl World {
    fn new(rules: &[&str]) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rtmfp-nat-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let world = Self { hosts: ["client", "router", "server"].map(|host| format!("{name}-{host}")) };
        // Whatever fails after the first host is a fault.
        if let Err(why) = ip(&format!("netns add {}", world.hosts[0])) {
            eprintln!("SKIPPED: network namespaces do not work here, so nobody has tried this: {why}");
            return None;
        }
        world.build(rules).unwrap();
        Some(world)
    }

    fn build(&self, rules: &[&str]) -> Result<(), String> {
        let [client, router, server] = &self.hosts;
        [router, server].into_iter().try_for_each(|host| ip(&format!("netns add {host}")))?;
        self.hosts.iter().try_for_each(|host| ip(&format!("-n {host} link set lo up")))?;
        ip(&format!("link add wire netns {client} type veth peer name in netns {router}"))?;
        ip(&format!("link add wire netns {server} type veth peer name out netns {router}"))?;
        for (host, link, address) in [
            (client, "wire", "10.77.0.2/24"),
            (router, "in", "10.77.0.1/24"),
            (router, "out", "198.51.100.1/24"),
            (server, "wire", "198.51.100.2/24"),
            (server, "wire", "198.51.100.3/24"),
        ] {
            ip(&format!("-n {host} addr add {address} dev {link}"))?;
            ip(&format!("-n {host} link set {link} up"))?;
        }
        ip(&format!("-n {client} route add default via 10.77.0.1"))?;
        ip(&format!("-n {server} route add 10.77.0.0/24 via 198.51.100.1"))?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        run("ip", &["netns", "exec", router, "sh", "-c", forward], "")?;
        rules.iter().try_for_each(|rules| run("ip", &["netns", "exec", router, "nft", "-f", "-"], rules))
    }

    fn serve(&self) -> Running {
        let [_, _, server] = &self.hosts;
        let probes = ["--probe-listen", "198.51.100.2:1937", "--probe-listen", "198.51.100.3:1936"];
        let listen = ["serve", "--json", "--listen", "198.51.100.2:1936"];
        let mut running = start_in(Some(server), &[&listen[..], &probes].concat(), None);
        running.wait_for("\"probes\"");
        running.wait_for("\"probes\"");
        running
    }

    fn doctor(&self) -> Ended {
        let [client, ..] = &self.hosts;
        let _server = self.serve();
        let arguments = ["doctor", "--json", "--timeout", "5", "--via", "rtmfp://198.51.100.2/"];
        start_in(Some(client), &arguments, None).end()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for host in &self.hosts {
            let _ = ip(&format!("netns del {host}"));
        }
    }
}

#[test]
fn the_doctor_sees_what_the_kernels_nats_and_firewalls_do() {
    let (independent, dependent) = ("endpoint-independent", "address-and-port-dependent");
    for (rules, mapping, filtering, kept, seen) in [
        ("", independent, independent, true, "10.77.0.2:"),
        (FIREWALL, independent, dependent, true, "10.77.0.2:"),
        (MASQUERADE, independent, dependent, true, "198.51.100.1:"),
        (RANDOM, dependent, dependent, false, "198.51.100.1:"),
    ] {
        let Some(world) = World::new(&[rules]) else { return };
        let ended = world.doctor();
        assert_eq!(ended.code, Some(0), "{rules}: {ended:?}");
        let of = |key| field(&ended.out, key).unwrap_or_default();
        assert_eq!([of("ipv4_mapping"), of("ipv4_filtering")], [mapping, filtering], "{rules}: {ended:?}");
        assert!(ended.out.contains(&format!("\"ipv4_port_preserved\":{kept}")), "{rules}: {ended:?}");
        assert!(of("ipv4_seen").starts_with(seen) && of("ipv4_local").starts_with("10.77.0.2:"), "{rules}: {ended:?}");
        assert!(ended.out.contains("\"ipv4_ecn\":true"), "{rules}: {ended:?}");
        assert!(ended.out.contains("\"ipv4_datagram\":1452"), "{rules}: {ended:?}");
        // This router takes packets to its own address for itself.
        assert_eq!(ended.out.contains("\"ipv4_hairpin\":false"), seen.starts_with("198"), "{rules}: {ended:?}");
    }
}

#[test]
fn the_doctor_sees_small_packets_and_cleared_marks() {
    let Some(world) = World::new(&[BLEACH]) else { return };
    let [_, router, _] = &world.hosts;
    ip(&format!("-n {router} link set out mtu 1300")).unwrap();
    let ended = world.doctor();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("\"ipv4_ecn\":false"), "{ended:?}");
    assert!(ended.out.contains("\"ipv4_datagram\":1252"), "{ended:?}");
}

#[test]
fn where_udp_is_blocked_the_doctor_says_so() {
    let Some(world) = World::new(&[BLOCK]) else { return };
    let ended = world.doctor();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.out.contains("\"report\"") && !ended.out.contains("ipv4"), "{ended:?}");
}
