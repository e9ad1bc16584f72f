//! What the core can do by now, and what scenarios wait for.

/// Something that a scenario may need.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability {
    /// Its name in `needs`.
    pub name: &'static str,
    /// Whether it is there.
    pub present: bool,
    /// What it is.
    pub about: &'static str,
}

const fn capability(name: &'static str, present: bool, about: &'static str) -> Capability {
    Capability { name, present, about }
}

/// Everything that can be needed.
pub const CAPABILITIES: [Capability; 16] = [
    capability("introducer", true, "forwarding of hellos and redirects (RFC 7016 §3.5.1.4 to §3.5.1.6)"),
    capability("redirector", true, "a redirector as a party of a scenario (RFC 7016 §3.5.1.4)"),
    capability("reintroduction", true, "an application that finds a lost far end again through an introducer"),
    capability("load-balancer", true, "one endpoint discriminator answered by many (RFC 7016 §3.5.1.4)"),
    capability("path-mtu", true, "discovery of the path MTU (RFC 7016 §3.5.4.3)"),
    capability("handshake-fragments", true, "fragmented startup packets (RFC 7016 §3.4)"),
    capability("interface-change", true, "an application tells of a changed interface (RFC 7016 §3.5.4.1)"),
    capability("multi-interface", true, "several interfaces of a simulated host in one endpoint"),
    capability("ecn-validation", false, "giving up ECN where marked packets vanish"),
    capability("delay-control", false, "a congestion controller that keeps queues short"),
    capability("loss-tolerant-control", false, "a congestion controller for lossy paths"),
    capability("attackers", true, "attackers as parties of a scenario"),
    capability("cross-traffic", true, "cross traffic as parties of a scenario"),
    capability("nat64", true, "translation between address families"),
    capability("mesh", true, "generated topologies with many peers and churn"),
    capability("crypto-mutation", true, "mutation of chunks under valid encryption"),
];

/// Those of `needs` that are not there.
#[must_use]
pub fn missing(needs: &[String]) -> Vec<&str> {
    let present = |need: &str| CAPABILITIES.iter().any(|known| known.name == need && known.present);
    needs.iter().map(String::as_str).filter(|need| !present(need)).collect()
}
