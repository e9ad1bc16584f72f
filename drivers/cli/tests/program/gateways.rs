//! `rtmfp serve --relay`, `echo --via` and `ping --via` behind gateways that translate addresses, in network namespaces.
//!
//! Which pairs meet directly is for `tests/meet/kernel`. Here two pairs show that the program does what its parts do.

use super::harness::{field, start_in};
use super::namespaces::{ip, run};

const SERVER: &str = "203.0.113.1";

/// A router, a server, and two hosts behind a gateway each, which translates like this.
struct Gateways {
    prefix: String,
}

impl Gateways {
    fn new(how: &str) -> Option<Self> {
        let gateways = Self { prefix: format!("rtmfp-g{}-{}", std::process::id(), how.len()) };
        if let Err(why) = ip(&format!("netns add {}", gateways.name("net"))) {
            eprintln!("SKIPPED: network namespaces do not work here, so nobody has tried this: {why}");
            return None;
        }
        gateways.build(how).unwrap();
        Some(gateways)
    }

    fn name(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    /// A wire from a namespace to another, with an address at either end. The second leads all else to the first.
    fn wire(&self, [near, far]: [&str; 2], device: &str, addresses: [&str; 2]) -> Result<(), String> {
        let names = [near, far].map(|short| self.name(short));
        let [a, b] = &names;
        ip(&format!("link add {device} netns {a} type veth peer name wan netns {b}"))?;
        for ((name, device), address) in names.iter().zip([device, "wan"]).zip(addresses) {
            ip(&format!("-n {name} addr add {address}/24 dev {device}"))?;
            ip(&format!("-n {name} link set {device} up"))?;
        }
        ip(&format!("-n {b} route add default via {}", addresses[0]))?;
        run("ip", &["netns", "exec", a, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"], "")
    }

    fn build(&self, how: &str) -> Result<(), String> {
        for short in ["server", "gw0", "gw1", "host0", "host1"] {
            ip(&format!("netns add {}", self.name(short)))?;
        }
        self.wire(["net", "server"], "server", ["203.0.113.254", SERVER])?;
        let rules = format!(
            "table ip nat {{ chain post {{ type nat hook postrouting priority 100; oifname \"wan\" {how}; }}\n}}\n\
             table ip filter {{ chain input {{ type filter hook input priority 0; iifname \"wan\" drop; }}\n}}\n"
        );
        for side in 0..2 {
            let (gateway, host) = (format!("gw{side}"), format!("host{side}"));
            let outside = [254, 1].map(|last| format!("198.51.{side}.{last}"));
            self.wire(["net", &gateway], &format!("site{side}"), [&outside[0], &outside[1]])?;
            self.wire([&gateway, &host], "lan", ["192.168.0.1", "192.168.0.2"])?;
            run("ip", &["netns", "exec", &self.name(&gateway), "nft", "-f", "-"], &rules)?;
        }
        Ok(())
    }
}

impl Drop for Gateways {
    fn drop(&mut self) {
        for short in ["net", "server", "gw0", "gw1", "host0", "host1"] {
            let _ = ip(&format!("netns del {}", self.name(short)));
        }
    }
}

#[test]
fn two_behind_gateways_meet_directly_or_over_the_relay() {
    // What comes with `--direct-only`, and without.
    for (how, directly, kind) in [("masquerade", 0, "direct"), ("masquerade fully-random", 3, "relayed")] {
        let Some(gateways) = Gateways::new(how) else { return };
        let listen = ["--json", "--listen", "0.0.0.0:1935"];
        let mut server = start_in(Some(&gateways.name("server")), &[&["serve", "--relay"], &listen[..]].concat(), None);
        let fingerprint = field(&server.wait_for("\"listening\""), "fingerprint").unwrap();
        let uri = format!("rtmfp://{SERVER}:1935/");
        let via = ["--via", &uri, "--via-fingerprint", &fingerprint];
        let mut echo = start_in(Some(&gateways.name("host1")), &[&["echo"], &listen[..], &via].concat(), None);
        let whom = field(&echo.wait_for("\"reachable\""), "fingerprint").unwrap();
        let ping = |more: &[&str]| {
            let arguments = ["ping", "--json", "-i", "0", "-c", "3", "--timeout", "4"];
            start_in(Some(&gateways.name("host0")), &[&arguments[..], &via, more, &[&whom]].concat(), None).end()
        };
        let ended = ping(&["--direct-only"]);
        assert_eq!(ended.code, Some(directly), "{how}: {ended:?}");
        let more: &[&str] = if directly == 0 { &["--direct-only"] } else { &[] };
        let ended = ping(more);
        assert_eq!(ended.code, Some(0), "{how}: {ended:?}");
        let path = ended.out.lines().find(|line| line.contains("\"path\"")).unwrap();
        assert_eq!(field(path, "kind").as_deref(), Some(kind), "{how}: {path}");
    }
}
