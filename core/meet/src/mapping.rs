//! A port of this host at its gateway, so that others can reach it from outside: PCP (RFC 6887) and NAT-PMP (RFC 6886).
//!
//! [`PortMapper`] is the client of both as one state machine. A driver gives it what comes from the gateway's port 5351
//! (and from nowhere else), and sends there what it wants to send. It asks by PCP first. NAT-PMP is for gateways that
//! refuse PCP's version, or do not answer within a second.
//!
//! What a gateway tells is no proof that others reach the port. It is one more address that they can try.

mod nat_pmp;
mod pcp;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use rtmfp_core::Instant;

use nat_pmp::Response;
use pcp::Nonce;

/// The gateway's port (RFC 6886 §3.1, RFC 6887 §19.1).
pub const GATEWAY_PORT: u16 = 5_351;

/// The lifetime that is asked for. A gateway that was restarted has forgotten the mapping until half of it has passed.
const LIFETIME: Duration = Duration::from_secs(3_600);
/// No lifetime is believed to be longer (RFC 6887 §15).
const MAX_LIFETIME: Duration = Duration::from_secs(86_400);
/// After a refusal or silence the gateway is left in peace for so long.
const PAUSE: Duration = Duration::from_secs(900);
/// Renewals have at least this between them (RFC 6887 §11.2.1).
const LEAST_RENEWAL: Duration = Duration::from_secs(4);
/// Messages that wait to be sent. A driver that sends what it is given has two at most.
const MAX_WAITING: usize = 4;

/// When what is sent, in milliseconds after the beginning. PCP is to repeat after 3 s and then twice that (RFC 6887
/// §8.1.1), NAT-PMP after 250 ms and then twice that (RFC 6886 §3.1).
const BOTH: &[(u64, Protocol)] = &[
    (0, Protocol::Pcp),
    (1_000, Protocol::NatPmp),
    (1_250, Protocol::NatPmp),
    (1_750, Protocol::NatPmp),
    (2_750, Protocol::NatPmp),
    (3_000, Protocol::Pcp),
    (4_750, Protocol::NatPmp),
    (9_000, Protocol::Pcp),
];
/// The same once the gateway has said that it does not know PCP.
const NAT_PMP_ONLY: &[(u64, Protocol)] = &[
    (0, Protocol::NatPmp),
    (250, Protocol::NatPmp),
    (750, Protocol::NatPmp),
    (1_750, Protocol::NatPmp),
    (3_750, Protocol::NatPmp),
];
/// NAT-PMP does not know IPv6.
const PCP_ONLY: &[(u64, Protocol)] = &[(0, Protocol::Pcp), (3_000, Protocol::Pcp), (9_000, Protocol::Pcp)];
/// How long the last message may take to be answered.
const LAST_WAIT: u64 = 2_000;

/// How a port was mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Protocol {
    /// The Port Control Protocol (RFC 6887).
    Pcp,
    /// NAT-PMP (RFC 6886).
    NatPmp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
        })
    }
}

/// Why there is no mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The gateway does not answer: it knows neither protocol, or has them switched off.
    Silence,
    /// It answers, and knows neither version.
    Version,
    /// It does not map ports for this host.
    NotAuthorised,
    /// It has no external address itself.
    NoNetwork,
    /// It has no port left, or this host has too many.
    NoRoom,
    /// It gives an address that nobody can send to.
    UselessAddress,
    /// Another result code of the protocol.
    Other(u16),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("the gateway does not answer"),
            Self::Version => f.write_str("the gateway knows neither PCP nor NAT-PMP in a version that is known here"),
            Self::NotAuthorised => f.write_str("the gateway does not map ports for this host"),
            Self::NoNetwork => f.write_str("the gateway has no external address"),
            Self::NoRoom => f.write_str("the gateway has no port left for this host"),
            Self::UselessAddress => f.write_str("the gateway gave an address that nobody can send to"),
            Self::Other(code) => write!(f, "the gateway refused with result {code}"),
        }
    }
}

impl core::error::Error for Refusal {}

/// What has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MappingEvent {
    /// The port can be reached from outside at this address, or at another than before.
    Mapped {
        /// The address outside.
        external: SocketAddr,
        /// The protocol that mapped it.
        by: Protocol,
    },
    /// There is no mapping, or none any more. It is tried again after a quarter of an hour.
    Unmapped(Refusal),
}

/// A mapping that is held.
#[derive(Clone, Copy, Debug)]
struct Held {
    external: SocketAddr,
    by: Protocol,
    until: Instant,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Messages go out by a plan.
    Asking { begun: Instant, plan: &'static [(u64, Protocol)], next: usize },
    /// There is a mapping. It is renewed at this time.
    Held { renew: Instant },
    /// There is none. It is tried again at this time.
    Paused { until: Instant },
    /// It has been given back.
    Released,
}

/// Asks a gateway for one port, renews it, and gives it back.
///
/// Give it datagrams by [`on_datagram`](Self::on_datagram), and call [`on_timeout`](Self::on_timeout) when
/// [`next_timeout`](Self::next_timeout) says so. After each call take what [`poll_transmit`](Self::poll_transmit) and
/// [`poll_event`](Self::poll_event) give. After a change of the network, begin with a new one.
#[derive(Debug)]
pub struct PortMapper {
    internal: SocketAddr,
    nonce: Nonce,
    state: State,
    held: Option<Held>,
    /// What NAT-PMP tells apart from the mapping: the address, and the port with its lifetime's end.
    external_ip: Option<Ipv4Addr>,
    external_port: Option<(u16, Instant)>,
    transmits: VecDeque<Vec<u8>>,
    events: VecDeque<MappingEvent>,
}

impl PortMapper {
    /// Asks for the port of `internal`: the socket's address as the gateway sees it, so no unspecified one. The nonce is
    /// to be unpredictable: a response has to carry it (RFC 6887 §11.2).
    #[must_use]
    pub fn new(now: Instant, internal: SocketAddr, nonce: [u8; 12]) -> Self {
        let mut mapper = Self {
            internal,
            nonce,
            state: State::Released,
            held: None,
            external_ip: None,
            external_port: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        };
        mapper.begin(now);
        mapper.on_timeout(now);
        mapper
    }

    /// The address outside, while there is one.
    #[must_use]
    pub fn external(&self) -> Option<SocketAddr> {
        self.held.map(|held| held.external)
    }

    /// A message for the gateway's port 5351.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// What has changed.
    pub fn poll_event(&mut self) -> Option<MappingEvent> {
        self.events.pop_front()
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do. `None` after the mapping was given back.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Asking { begun, plan, next } => {
                let last = plan.last().map_or(0, |(at, _)| at + LAST_WAIT);
                Some(begun + Duration::from_millis(plan.get(next).map_or(last, |(at, _)| *at)))
            }
            State::Held { renew } => Some(renew),
            State::Paused { until } => Some(until),
            State::Released => None,
        }
    }

    /// Does what is due.
    pub fn on_timeout(&mut self, now: Instant) {
        while self.next_timeout().is_some_and(|due| due <= now) {
            match self.state {
                State::Asking { begun, plan, next } => match plan.get(next) {
                    Some((_, protocol)) => {
                        self.state = State::Asking { begun, plan, next: next + 1 };
                        self.ask(*protocol, LIFETIME);
                    }
                    None => self.fail(now, Refusal::Silence),
                },
                State::Held { .. } => self.renew(now),
                State::Paused { .. } => self.begin(now),
                State::Released => {}
            }
        }
    }

    /// Reads what the gateway sent. What is no answer to a question is ignored.
    pub fn on_datagram(&mut self, now: Instant, datagram: &[u8]) {
        if matches!(self.state, State::Released | State::Paused { .. }) {
            return;
        }
        match pcp::response(datagram, &self.nonce, self.internal.port()) {
            Some(Ok((external, lifetime))) => return self.hold(now, external, lifetime, Protocol::Pcp),
            Some(Err(refusal)) => return self.on_refusal(now, Protocol::Pcp, refusal),
            None => {}
        }
        if self.internal.is_ipv6() || !self.has_asked(Protocol::NatPmp) {
            return;
        }
        match nat_pmp::response(datagram, self.internal.port()) {
            Some(Ok(Response::ExternalAddress(ip))) => self.external_ip = Some(ip),
            Some(Ok(Response::Mapping { external_port, lifetime })) => {
                self.external_port = Some((external_port, now + lifetime.min(MAX_LIFETIME)));
            }
            Some(Err(refusal)) => return self.on_refusal(now, Protocol::NatPmp, refusal),
            None => return,
        }
        if let (Some(ip), Some((port, until))) = (self.external_ip, self.external_port) {
            let lifetime = until.saturating_duration_since(now);
            self.hold(now, SocketAddr::new(IpAddr::V4(ip), port), lifetime, Protocol::NatPmp);
        }
    }

    /// Gives the mapping back. Nothing is asked any more. The message may be lost: the mapping ends with its lifetime.
    pub fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.ask(held.by, Duration::ZERO);
        }
        self.state = State::Released;
    }

    fn begin(&mut self, now: Instant) {
        let plan = if self.internal.is_ipv6() { PCP_ONLY } else { BOTH };
        self.start(now, plan);
    }

    fn start(&mut self, now: Instant, plan: &'static [(u64, Protocol)]) {
        (self.external_ip, self.external_port) = (None, None);
        self.state = State::Asking { begun: now, plan, next: 0 };
    }

    fn ask(&mut self, protocol: Protocol, lifetime: Duration) {
        let before = self.external();
        let mut messages = match protocol {
            Protocol::Pcp => [Some(pcp::request(self.internal, &self.nonce, before, lifetime)), None],
            Protocol::NatPmp => {
                let suggested = before.map_or(self.internal.port(), |external| external.port());
                let address = (!lifetime.is_zero()).then(|| nat_pmp::ASK_EXTERNAL_ADDRESS.to_vec());
                [address, Some(nat_pmp::request(self.internal.port(), suggested, lifetime))]
            }
        };
        for message in messages.iter_mut().filter_map(Option::take) {
            if self.transmits.len() >= MAX_WAITING {
                self.transmits.pop_front();
            }
            self.transmits.push_back(message);
        }
    }

    fn has_asked(&self, protocol: Protocol) -> bool {
        match self.state {
            State::Asking { plan, next, .. } => plan.iter().take(next).any(|(_, asked)| *asked == protocol),
            State::Held { .. } => self.held.is_some_and(|held| held.by == protocol),
            State::Paused { .. } | State::Released => false,
        }
    }

    fn on_refusal(&mut self, now: Instant, from: Protocol, refusal: Refusal) {
        // What is held lasts until its time, and is asked for again before.
        if !self.has_asked(from) || self.held.is_some_and(|held| now < held.until) {
            return;
        }
        let may_know_the_other = self.held.is_none() && self.internal.is_ipv4() && from == Protocol::Pcp;
        if refusal == Refusal::Version && may_know_the_other {
            self.start(now, NAT_PMP_ONLY);
            self.on_timeout(now);
        } else {
            self.fail(now, refusal);
        }
    }

    fn hold(&mut self, now: Instant, external: SocketAddr, lifetime: Duration, by: Protocol) {
        if !self.has_asked(by) {
            return;
        }
        if external.port() == 0 || !is_of_one_host(external.ip()) || lifetime.is_zero() {
            return self.on_refusal(now, by, Refusal::UselessAddress);
        }
        let changed = self.external() != Some(external);
        let until = now + lifetime.min(MAX_LIFETIME);
        self.held = Some(Held { external, by, until });
        self.state = State::Held { renew: self.renewal(now, until) };
        if changed {
            self.tell(MappingEvent::Mapped { external, by });
        }
    }

    /// After half of what is left, and up to an eighth more, so that the hosts of a network do not all come at once
    /// (RFC 6887 §11.2.1).
    fn renewal(&self, now: Instant, until: Instant) -> Instant {
        let [spread, ..] = self.nonce;
        let left = until.saturating_duration_since(now);
        let wait = left / 2 + left / 8 / 256 * u32::from(spread);
        now + wait.max(LEAST_RENEWAL)
    }

    fn renew(&mut self, now: Instant) {
        match self.held {
            Some(held) if now < held.until => {
                (self.external_ip, self.external_port) = (None, None);
                self.state = State::Held { renew: self.renewal(now, held.until).min(held.until) };
                self.ask(held.by, LIFETIME);
            }
            _ => {
                self.lose(Refusal::Silence);
                self.begin(now);
            }
        }
    }

    fn lose(&mut self, refusal: Refusal) {
        self.held = None;
        self.tell(MappingEvent::Unmapped(refusal));
    }

    fn fail(&mut self, now: Instant, refusal: Refusal) {
        self.lose(refusal);
        self.state = State::Paused { until: now + PAUSE };
    }

    fn tell(&mut self, event: MappingEvent) {
        // Only the last matters to one who has not listened.
        if self.events.len() >= MAX_WAITING {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

/// Whether one host can have the address.
const fn is_of_one_host(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_broadcast)
}
