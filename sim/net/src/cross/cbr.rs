//! Traffic that heeds nothing: a constant rate, all the time or on and off.

use core::net::SocketAddr;

use crate::arena::header_len;
use crate::node::{Node, RxMeta, Tx};
use crate::rng::Stream;
use crate::time::{Duration, Rate, Serialiser, Time};

/// Sends packets of one size at a constant rate.
#[derive(Clone, Debug)]
pub struct Cbr {
    port: u16,
    to: SocketAddr,
    rate: Rate,
    wire_len: u32,
    pacer: Serialiser,
    next: Time,
    until: Time,
    /// How long it is on and off, on average; both are exponential.
    on_off: Option<(Duration, Duration, Stream)>,
    off_at: Time,
    sent: u64,
}

impl Cbr {
    /// At `rate`, headers included, in packets of `wire_len` bytes on the wire, between two times.
    #[must_use]
    pub const fn new(port: u16, to: SocketAddr, rate: Rate, wire_len: u32, (from, until): (Time, Time)) -> Self {
        let pacer = Serialiser::new();
        Self { port, to, rate, wire_len, pacer, next: from, until, on_off: None, off_at: Time::NEVER, sent: 0 }
    }

    /// Only for spans of `on` on average, with pauses of `off` on average between them.
    #[must_use]
    pub fn on_off(mut self, on: Duration, off: Duration, mut stream: Stream) -> Self {
        self.off_at = self.next + Duration(stream.exponential(on.0));
        self.on_off = Some((on, off, stream));
        self
    }

    /// Packets sent.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }
}

impl Node for Cbr {
    fn on_datagram(&mut self, _now: Time, _meta: &RxMeta, _bytes: &mut [u8]) {}

    fn on_timeout(&mut self, _now: Time) {}

    fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        if now < self.next || self.next >= self.until {
            return None;
        }
        out.extend_from_slice(&self.sent.to_le_bytes());
        self.sent += 1;
        self.next = self.pacer.accept(now, self.wire_len.into(), self.rate);
        if let Some((on, off, stream)) = &mut self.on_off
            && self.next >= self.off_at
        {
            self.next += Duration(stream.exponential(off.0));
            self.off_at = self.next + Duration(stream.exponential(on.0));
        }
        let padding = self.wire_len.saturating_sub(header_len(&self.to) + 8);
        Some(Tx { padding, ..Tx::new(self.port, self.to) })
    }

    fn poll_timeout(&self) -> Option<Time> {
        (self.next < self.until).then_some(self.next)
    }
}
