//! One flow's sending end: what is in flight, what was lost, when to send.

use core::net::SocketAddr;
use std::collections::VecDeque;

use crate::cross::PACKET;
use crate::cross::control::{AckInfo, Control, Window};
use crate::ecn::Ecn;
use crate::node::Tx;
use crate::time::{Duration, Rate, Serialiser, Time};

/// A packet is declared lost when one sent this many later has arrived (RFC 6675's duplicate threshold).
const LATER: u64 = 3;
const MIN_TIMEOUT: Duration = Duration::millis(200);
/// Number and sending time.
pub(super) const HEADER: usize = 16;

#[derive(Clone, Copy, Debug)]
struct InFlight {
    sent: Time,
    /// Acknowledged or declared lost.
    done: bool,
    /// Bytes delivered when it was sent, and when that was.
    delivered: u64,
    delivered_at: Time,
}

#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) to: SocketAddr,
    port: u16,
    window: Window,
    /// Packets still to be delivered, if not endless.
    left: Option<u64>,
    first: u64,
    packets: VecDeque<InFlight>,
    in_flight: u64,
    highest: Option<u64>,
    /// Losses of packets before this belong to a window that was already cut.
    recovery: u64,
    round_end: u64,
    delivered: u64,
    delivered_at: Time,
    srtt: Duration,
    rttvar: Duration,
    min_rtt: Duration,
    backoff: u32,
    timer: Option<Time>,
    pacer: Serialiser,
    next_send: Time,
    pub(super) lost: u64,
}

impl Flow {
    pub(super) fn new(control: Control, port: u16, to: SocketAddr, packets: Option<u64>) -> Self {
        Self {
            to,
            port,
            window: Window::new(control),
            left: packets,
            first: 0,
            packets: VecDeque::new(),
            in_flight: 0,
            highest: None,
            recovery: 0,
            round_end: 0,
            delivered: 0,
            delivered_at: Time::ZERO,
            srtt: Duration::ZERO,
            rttvar: Duration::ZERO,
            min_rtt: Duration(u64::MAX),
            backoff: 0,
            timer: None,
            pacer: Serialiser::default(),
            next_send: Time::ZERO,
            lost: 0,
        }
    }

    pub(super) const fn cwnd(&self) -> u64 {
        self.window.cwnd
    }

    pub(super) const fn srtt(&self) -> Duration {
        self.srtt
    }

    pub(super) fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    fn timeout(&self) -> Duration {
        // RFC 6298, with Linux's minimum.
        let base = if self.srtt == Duration::ZERO {
            Duration::secs(1)
        } else {
            (self.srtt + Duration(self.rttvar.0 * 4)).max(MIN_TIMEOUT)
        };
        base.scale(1 << self.backoff.min(6), 1)
    }

    fn wants_to_send(&self) -> bool {
        let packet = u64::from(PACKET);
        self.left.is_none_or(|left| left * packet > self.in_flight) && self.in_flight + packet <= self.window.cwnd
    }

    pub(super) fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        if !self.wants_to_send() {
            return None;
        }
        if let Some(rate) = self.window.pacing() {
            if now < self.next_send {
                return None;
            }
            self.next_send = self.pacer.accept(now, PACKET.into(), rate);
        }
        let number = self.first + self.packets.len() as u64;
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&now.0.to_le_bytes());
        if self.in_flight == 0 {
            self.delivered_at = now;
        }
        let (delivered, delivered_at) = (self.delivered, self.delivered_at);
        self.packets.push_back(InFlight { sent: now, done: false, delivered, delivered_at });
        self.in_flight += u64::from(PACKET);
        if self.timer.is_none() {
            self.timer = Some(now + self.timeout());
        }
        let header = crate::arena::header_len(&self.to) + HEADER as u32;
        let padding = PACKET - header;
        Some(Tx { padding, ecn: Ecn::NotEct, ..Tx::new(self.port, self.to) })
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let paced = (self.wants_to_send() && self.window.pacing().is_some()).then_some(self.next_send);
        match (self.timer, paced) {
            (Some(timer), Some(paced)) => Some(timer.min(paced)),
            (timer, paced) => timer.or(paced),
        }
    }

    pub(super) fn on_timeout(&mut self, now: Time) {
        if self.timer.is_none_or(|timer| now < timer) {
            return;
        }
        // All that is in flight is given up.
        self.lost += self.packets.iter().filter(|packet| !packet.done).count() as u64;
        self.first += self.packets.len() as u64;
        self.packets.clear();
        self.in_flight = 0;
        self.recovery = self.first;
        self.window.on_timeout();
        self.backoff += 1;
        self.timer = None;
    }

    /// Ranges of packets have arrived: first and last of each, newest first.
    pub(super) fn on_ack(&mut self, now: Time, echo: Time, received: Time, ranges: impl Iterator<Item = (u64, u64)>) {
        let mut acked = 0;
        let mut newest: Option<InFlight> = None;
        for (low, high) in ranges {
            for number in low.max(self.first)..=high {
                let index = usize::try_from(number - self.first).unwrap_or(usize::MAX);
                let Some(packet) = self.packets.get_mut(index) else { break };
                if !packet.done {
                    packet.done = true;
                    acked += u64::from(PACKET);
                    if newest.is_none_or(|newest| packet.sent >= newest.sent) {
                        newest = Some(*packet);
                    }
                    self.highest = self.highest.max(Some(number));
                }
            }
        }
        let Some(newest) = newest else { return };
        self.in_flight -= acked;
        self.delivered += acked;
        self.delivered_at = now;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(acked / u64::from(PACKET));
        }
        self.backoff = 0;
        self.measure(now.since(echo));
        let round = self.highest.is_some_and(|highest| highest >= self.round_end);
        if round {
            self.round_end = self.first + self.packets.len() as u64;
        }
        // The slower of sending and acknowledging would be truer; the model takes the latter.
        let took = now.since(newest.delivered_at).max(Duration(1));
        let rate = Rate(crate::time::mul_div((self.delivered - newest.delivered) * 8, 1_000_000_000, took.0));
        let one_way = i64::try_from(received.0).unwrap_or(0) - i64::try_from(echo.0).unwrap_or(0);
        let (rtt, min_rtt, in_flight) = (now.since(echo), self.min_rtt, self.in_flight);
        let recovering = self.highest.is_some_and(|highest| highest < self.recovery);
        if !recovering {
            let info = AckInfo { now, acked_bytes: acked, rtt, min_rtt, one_way, rate, round, in_flight };
            self.window.on_ack(&info);
        }
        self.detect_loss();
        while self.packets.front().is_some_and(|packet| packet.done) {
            self.packets.pop_front();
            self.first += 1;
        }
        self.timer = (self.in_flight > 0).then(|| now + self.timeout());
    }

    fn detect_loss(&mut self) {
        let Some(highest) = self.highest else { return };
        let end = usize::try_from((highest + 1).saturating_sub(LATER).saturating_sub(self.first)).unwrap_or(0);
        let mut cut = false;
        for (number, packet) in (self.first..).zip(self.packets.iter_mut().take(end)) {
            if !packet.done {
                packet.done = true;
                self.in_flight -= u64::from(PACKET);
                self.lost += 1;
                cut |= number >= self.recovery;
            }
        }
        if cut {
            self.recovery = self.first + self.packets.len() as u64;
            self.window.on_loss();
        }
    }

    fn measure(&mut self, rtt: Duration) {
        self.min_rtt = self.min_rtt.min(rtt);
        if self.srtt == Duration::ZERO {
            (self.srtt, self.rttvar) = (rtt, Duration(rtt.0 / 2));
        } else {
            self.rttvar = Duration(self.rttvar.0 * 3 / 4 + self.srtt.0.abs_diff(rtt.0) / 4);
            self.srtt = Duration(self.srtt.0 * 7 / 8 + rtt.0 / 8);
        }
    }
}
