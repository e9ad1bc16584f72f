//! Two that know no address of each other: in one network, without a server, and at homes whose gateways forward ports.

use std::fs;
use std::process::{Child, Command, Stdio};

use super::harness::{Running, Scratch, field, start_in};
use super::namespaces::{World, ip, run};

/// Without a route for groups the system asks nobody.
pub(super) fn lead_groups_over_the_wire(world: &World) {
    for host in [&world.near, &world.far] {
        ip(&format!("-n {host} route add 224.0.0.0/4 dev wire")).unwrap();
    }
}

#[test]
fn a_fingerprint_is_found_in_the_network_without_a_server() {
    let Some(world) = World::new() else { return };
    lead_groups_over_the_wire(&world);
    let mut echo = start_in(Some(&world.far), &["echo", "--json", "--nearby", "--listen", "0.0.0.0:0"], None);
    let fingerprint = field(&echo.wait_for("\"listening\""), "fingerprint").unwrap();
    let ended = start_in(Some(&world.near), &["ping", "--json", "-i", "0", "-c", "3", &fingerprint], None).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let path = ended.out.lines().find(|line| line.contains("\"path\"")).unwrap();
    assert_eq!(field(path, "kind").as_deref(), Some("lan"), "{path}");
    assert_eq!(field(path, "fingerprint"), Some(fingerprint));
    assert!(ended.out.contains("\"done\",\"replies\":3"), "{}", ended.out);
}

#[test]
fn nobody_in_the_network_is_told_with_what_to_do() {
    let Some(world) = World::new() else { return };
    lead_groups_over_the_wire(&world);
    // It announces itself, and is somebody else.
    let mut echo = start_in(Some(&world.far), &["echo", "--json", "--nearby", "--listen", "0.0.0.0:0"], None);
    echo.wait_for("\"listening\"");
    let nobody = "0".repeat(64);
    let ended = start_in(Some(&world.near), &["ping", "--timeout", "1", &nobody], None).end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.errors.contains("--nearby") && ended.errors.contains("--via"), "{}", ended.errors);
}

/// What a gateway does: it takes another port for each destination, unless its daemon says otherwise.
const GATEWAY: &str = r#"table inet filter {
    chain miniupnpd { }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
    chain forward { type filter hook forward priority 0; policy drop;
        ct state established,related accept; iifname "inside" accept; jump miniupnpd; }
    chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
    chain postrouting { type nat hook postrouting priority 100;
        oifname "outside" jump postrouting_miniupnpd; oifname "outside" masquerade random,fully-random; }
}"#;

/// What forwards ports at a gateway.
const DAEMON: &str = "/usr/sbin/miniupnpd";

/// Two homes and a server. The addresses outside are such that the daemon takes them for the Internet's.
struct Homes {
    name: String,
    /// The daemons of the gateways.
    daemons: Vec<Child>,
    scratch: Scratch,
}

impl Homes {
    fn new() -> Option<Self> {
        let name = format!("rtmfp-h{}", std::process::id());
        let mut homes = Self { name, daemons: Vec::new(), scratch: Scratch::new() };
        // Whatever fails after these is a fault.
        let middle = ip(&format!("netns add {}", homes.host("middle")));
        if let Err(why) = middle.and_then(|()| fs::metadata(DAEMON).map(drop).map_err(|e| format!("{DAEMON}: {e}"))) {
            eprintln!("SKIPPED: nobody has tried gateways that forward ports: {why}");
            return None;
        }
        homes.build().unwrap();
        Some(homes)
    }

    fn host(&self, host: &str) -> String {
        format!("{}-{host}", self.name)
    }

    fn build(&mut self) -> Result<(), String> {
        let middle = self.host("middle");
        ip(&format!("-n {middle} link add between type bridge"))?;
        ip(&format!("-n {middle} addr add 11.22.33.1/24 dev between"))?;
        ip(&format!("-n {middle} link set between up"))?;
        ip(&format!("-n {middle} link set lo up"))?;
        (1..=2).try_for_each(|home| self.build_home(home, &middle))
    }

    fn build_home(&mut self, home: u8, middle: &str) -> Result<(), String> {
        let (gateway, client) = (self.host(&format!("gateway{home}")), self.host(&format!("client{home}")));
        for host in [&gateway, &client] {
            ip(&format!("netns add {host}"))?;
            ip(&format!("-n {host} link set lo up"))?;
        }
        ip(&format!("link add outside netns {gateway} type veth peer name home{home} netns {middle}"))?;
        ip(&format!("link add inside netns {gateway} type veth peer name lan netns {client}"))?;
        ip(&format!("-n {middle} link set home{home} master between up"))?;
        let outside = format!("11.22.33.{}", 10 + home);
        for (host, link, address) in [
            (&gateway, "outside", format!("{outside}/24")),
            (&gateway, "inside", format!("192.168.{home}.1/24")),
            (&client, "lan", format!("192.168.{home}.2/24")),
        ] {
            ip(&format!("-n {host} addr add {address} dev {link}"))?;
            ip(&format!("-n {host} link set {link} up"))?;
        }
        ip(&format!("-n {client} route add default via 192.168.{home}.1"))?;
        run("ip", &["netns", "exec", &gateway, "sysctl", "-qw", "net.ipv4.ip_forward=1"], "")?;
        run("ip", &["netns", "exec", &gateway, "nft", "-f", "-"], GATEWAY)?;
        let config = self.scratch.source(&format!("gateway{home}"));
        let text = format!(
            "ext_ifname=outside\next_ip={outside}\nlistening_ip=inside\nport=5000\nenable_natpmp=yes\nenable_upnp=no\n\
            secure_mode=yes\nuuid=8f2b6b0e-1f5e-4f62-9a8a-0a5f2b6b0e1f\nallow 1024-65535 192.168.{home}.0/24 1024-65535\n"
        );
        fs::write(&config, text).map_err(|e| e.to_string())?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &gateway, DAEMON, "-d", "-f"]).arg(&config).arg("-P");
        command.arg(config.with_extension("pid")).stdout(Stdio::null()).stderr(Stdio::null());
        self.daemons.push(command.spawn().map_err(|e| e.to_string())?);
        // It answers once its socket is there.
        let is_there = || run("ip", &["netns", "exec", &gateway, "sh", "-c", "ss -lun | grep -q ':5351 '"], "").is_ok();
        // Each try takes some milliseconds.
        if (0..3_000).any(|_| is_there()) { Ok(()) } else { Err(format!("{DAEMON} does not listen")) }
    }

    fn start(&self, host: &str, line: &[&str]) -> Running {
        start_in(Some(&self.host(host)), line, None)
    }
}

impl Drop for Homes {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        for host in ["middle", "gateway1", "client1", "gateway2", "client2"] {
            let _ = ip(&format!("netns del {}", self.host(host)));
        }
    }
}

/// Each gateway uses another port for each destination, so the two meet over the relay. A port that one of the gateways
/// forwards is reached by everybody.
#[test]
fn two_meet_directly_once_a_gateway_forwards_a_port() {
    let Some(homes) = Homes::new() else { return };
    let mut server = homes.start("middle", &["serve", "--json", "--relay", "--listen", "11.22.33.1:1936"]);
    server.wait_for("\"listening\"");
    for (more, kind) in [(&[][..], "relayed"), (&["--map-port"], "direct")] {
        let via = ["--via", "rtmfp://11.22.33.1/"];
        let mut echo = homes.start("client1", &[&["echo", "--json", "--listen", "0.0.0.0:0"], &via[..], more].concat());
        if !more.is_empty() {
            let port = echo.wait_for("\"port\"");
            assert_eq!(field(&port, "by").as_deref(), Some("PCP"), "{port}");
        }
        let fingerprint = field(&echo.wait_for("\"reachable\""), "fingerprint").unwrap();
        let ping = ["ping", "--json", "-i", "0", "-c", "3"];
        let ended = homes.start("client2", &[&ping[..], &via[..], &[&fingerprint]].concat()).end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let path = ended.out.lines().find(|line| line.contains("\"path\"")).unwrap();
        assert_eq!(field(path, "kind").as_deref(), Some(kind), "{}", ended.out);
    }
}
