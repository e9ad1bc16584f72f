//! Attackers that are hosts of their own, off the path. Their hosts must be allowed to send raw packets.

use core::fmt;
use core::net::SocketAddr;

use crate::node::{Forged, Node, RxMeta, Tx};
use crate::rng::Stream;
use crate::time::{Duration, Rate, Time};

/// Makes the bytes of an attacker's `n`-th packet.
pub type Payload = Box<dyn FnMut(u64, &mut Stream, &mut Vec<u8>)>;

/// Sends packets with a forged source to a victim at a steady pace: an off-path spoofer.
pub struct Spoofer {
    claims: SocketAddr,
    victim: SocketAddr,
    every: Duration,
    left: u64,
    next: Time,
    sent: u64,
    payload: Payload,
    stream: Stream,
    too_big: Option<u32>,
}

impl fmt::Debug for Spoofer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spoofer").field("claims", &self.claims).field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl Spoofer {
    /// `count` packets from `start` on, one every `every`, that claim to be from `claims`.
    #[must_use]
    pub const fn new(
        (claims, victim): (SocketAddr, SocketAddr),
        start: Time,
        every: Duration,
        count: u64,
        stream: Stream,
        payload: Payload,
    ) -> Self {
        let every = Duration(if every.0 == 0 { 1 } else { every.0 });
        Self { claims, victim, every, left: count, next: start, sent: 0, payload, stream, too_big: None }
    }

    /// Sends forged "packet too big" signals with this MTU instead of datagrams.
    #[must_use]
    pub fn too_big(self, mtu: u32) -> Self {
        Self { too_big: Some(mtu), ..self }
    }
}

impl Node for Spoofer {
    fn on_datagram(&mut self, _now: Time, _meta: &RxMeta, _bytes: &mut [u8]) {}

    fn on_timeout(&mut self, _now: Time) {}

    fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        if self.left == 0 || now < self.next {
            return None;
        }
        self.left -= 1;
        self.next += self.every;
        (self.payload)(self.sent, &mut self.stream, out);
        self.sent += 1;
        let forged = Some(Forged { src: self.claims, too_big: self.too_big });
        Some(Tx { forged, ..Tx::new(self.claims.port(), self.victim) })
    }

    fn poll_timeout(&self) -> Option<Time> {
        (self.left > 0).then_some(self.next)
    }
}

/// Sends as much as it can to a victim, from any number of forged sources.
pub struct Flooder {
    victim: SocketAddr,
    /// Base of the forged sources; the port, then the address, count up from here.
    base: SocketAddr,
    sources: u32,
    gap: Duration,
    next: Time,
    until: Time,
    sent: u64,
    payload: Payload,
    stream: Stream,
}

impl fmt::Debug for Flooder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flooder").field("victim", &self.victim).field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl Flooder {
    /// `per_second` packets a second between two times, from `sources` ports of `base`'s address (none: its own).
    #[must_use]
    pub const fn new(
        victim: SocketAddr,
        (base, sources): (SocketAddr, u32),
        per_second: u32,
        (from, until): (Time, Time),
        stream: Stream,
        payload: Payload,
    ) -> Self {
        let gap = Duration(1_000_000_000 / if per_second == 0 { 1 } else { per_second as u64 });
        Self { victim, base, sources, gap, next: from, until, sent: 0, payload, stream }
    }
}

impl Node for Flooder {
    fn on_datagram(&mut self, _now: Time, _meta: &RxMeta, _bytes: &mut [u8]) {}

    fn on_timeout(&mut self, _now: Time) {}

    fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        if now < self.next || self.next >= self.until {
            return None;
        }
        self.next += Duration(self.gap.0.max(1));
        (self.payload)(self.sent, &mut self.stream, out);
        self.sent += 1;
        let mut tx = Tx::new(self.base.port(), self.victim);
        if self.sources > 0 {
            let mut src = self.base;
            let source = self.stream.below(self.sources.into()) as u32;
            src.set_port(self.base.port().wrapping_add((source & 0xffff) as u16).max(1));
            tx.forged = Some(Forged { src, too_big: None });
        }
        Some(tx)
    }

    fn poll_timeout(&self) -> Option<Time> {
        (self.next < self.until).then_some(self.next)
    }
}

/// What a redirector answers: to whom (a source to claim, if forged), and the bytes.
pub type Answer = Box<dyn FnMut(&RxMeta, &[u8], &mut Vec<u8>) -> Option<SocketAddr>>;

/// Answers each datagram with what a function makes of it: a rogue introducer, a reflector, an echo.
pub struct Redirector {
    answer: Answer,
    /// Ready answers: source port, destination, bytes.
    ready: std::collections::VecDeque<(u16, SocketAddr, Vec<u8>)>,
    /// Each datagram is answered so many times.
    amplify: u32,
    /// How much it sends at most.
    gap: Duration,
    next: Time,
}

impl fmt::Debug for Redirector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirector").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

impl Redirector {
    /// Answers `amplify` times, at no more than `limit` for packets of 1,500 bytes. The function appends the bytes of
    /// an answer and says where it goes.
    #[must_use]
    pub fn new(amplify: u32, limit: Rate, answer: Answer) -> Self {
        let gap = if limit.0 == 0 { Duration::ZERO } else { limit.time_for(1_500) };
        Self { answer, ready: std::collections::VecDeque::new(), amplify, gap, next: Time::ZERO }
    }
}

impl Node for Redirector {
    fn on_datagram(&mut self, _now: Time, meta: &RxMeta, bytes: &mut [u8]) {
        for _ in 0..self.amplify {
            if self.ready.len() >= 65_536 {
                return;
            }
            let mut out = Vec::new();
            if let Some(to) = (self.answer)(meta, bytes, &mut out) {
                self.ready.push_back((meta.local.port(), to, out));
            }
        }
    }

    fn on_timeout(&mut self, _now: Time) {}

    fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        if now < self.next {
            return None;
        }
        let (port, to, bytes) = self.ready.pop_front()?;
        out.extend_from_slice(&bytes);
        self.next = now + self.gap;
        Some(Tx::new(port, to))
    }

    fn poll_timeout(&self) -> Option<Time> {
        (!self.ready.is_empty()).then_some(self.next)
    }
}
