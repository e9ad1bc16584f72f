//! The sending end of window-controlled cross traffic: a bulk transfer, or many short ones.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use crate::cross::PACKET;
use crate::cross::control::Control;
use crate::cross::flow::Flow;
use crate::node::{Node, RxMeta, Sink, Tx};
use crate::rng::Stream;
use crate::time::{Duration, Time};

/// Short transfers that begin at random (RFC 8867 §5.7 has such): exponential gaps, exponential sizes.
#[derive(Clone, Debug)]
pub struct ShortFlows {
    /// Where they go.
    pub to: SocketAddr,
    /// Between two beginnings, on average.
    pub mean_gap: Duration,
    /// Their size in packets, on average.
    pub mean_packets: u64,
    /// The congestion control of each.
    pub control: Control,
    /// Where randomness comes from.
    pub stream: Stream,
}

/// Sends to a [`Receiver`](super::Receiver).
#[derive(Clone, Debug)]
pub struct Sender {
    flows: BTreeMap<u16, Flow>,
    start: Time,
    short: Option<ShortFlows>,
    next_port: u16,
    finished: u64,
    lost: u64,
}

/// The most short flows at a time; others wait for their turn by not beginning.
const FLOWS: usize = 4_096;

impl Sender {
    /// One transfer from `port`, beginning at `start`, of so many packets or endless.
    #[must_use]
    pub fn bulk(control: Control, port: u16, to: SocketAddr, start: Time, packets: Option<u64>) -> Self {
        let flows = BTreeMap::from([(port, Flow::new(control, port, to, packets))]);
        Self { flows, start, short: None, next_port: 0, finished: 0, lost: 0 }
    }

    /// Short transfers from `start` on.
    #[must_use]
    pub const fn short(flows: ShortFlows, start: Time) -> Self {
        Self { flows: BTreeMap::new(), start, short: Some(flows), next_port: 10_000, finished: 0, lost: 0 }
    }

    /// Transfers that are complete.
    #[must_use]
    pub const fn finished(&self) -> u64 {
        self.finished
    }

    /// Packets declared lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost + self.flows.values().map(|flow| flow.lost).sum::<u64>()
    }

    fn begin_short(&mut self, now: Time) {
        while let Some(short) = &mut self.short
            && self.start <= now
        {
            self.start += Duration(short.stream.exponential(short.mean_gap.0).max(1));
            let packets = short.stream.exponential(short.mean_packets).max(1);
            if self.flows.len() < FLOWS {
                self.next_port = if self.next_port >= 60_000 { 10_000 } else { self.next_port + 1 };
                let flow = Flow::new(short.control, self.next_port, short.to, Some(packets));
                self.flows.insert(self.next_port, flow);
            }
        }
    }
}

impl Node for Sender {
    fn on_datagram(&mut self, now: Time, meta: &RxMeta, bytes: &mut [u8]) {
        let port = meta.local.port();
        let Some(flow) = self.flows.get_mut(&port).filter(|flow| flow.to == meta.remote) else { return };
        let (words, _) = bytes.as_chunks::<8>();
        let [echo, received, ranges @ ..] = words else { return };
        let (pairs, _) = ranges.as_chunks::<2>();
        let ranges = pairs.iter().map(|[low, high]| (u64::from_le_bytes(*low), u64::from_le_bytes(*high)));
        flow.on_ack(now, Time(u64::from_le_bytes(*echo)), Time(u64::from_le_bytes(*received)), ranges);
        if flow.is_done() {
            self.finished += 1;
            self.lost += flow.lost;
            self.flows.remove(&port);
        }
    }

    fn on_timeout(&mut self, now: Time) {
        self.begin_short(now);
        for flow in self.flows.values_mut() {
            flow.on_timeout(now);
        }
    }

    fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        if self.short.is_none() && now < self.start {
            return None;
        }
        self.flows.values_mut().find_map(|flow| flow.poll_transmit(now, out))
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.short.is_none() && self.flows.values().all(|flow| flow.poll_timeout().is_none()) {
            // Not begun yet, or done.
            return (!self.flows.is_empty() && self.start > Time::ZERO && self.finished == 0).then_some(self.start);
        }
        let flows = self.flows.values().filter_map(Flow::poll_timeout).min();
        let next = self.short.as_ref().map(|_| self.start);
        match (flows, next) {
            (Some(flows), Some(next)) => Some(flows.min(next)),
            (flows, next) => flows.or(next),
        }
    }

    fn observe(&self, sink: &mut dyn Sink) {
        for (&port, flow) in &self.flows {
            sink.gauge("cwnd", port.into(), i64::try_from(flow.cwnd()).unwrap_or(i64::MAX));
            sink.gauge("srtt-ns", port.into(), i64::try_from(flow.srtt().0).unwrap_or(i64::MAX));
        }
        let bytes = self.lost().saturating_mul(u64::from(PACKET));
        sink.gauge("lost-bytes", 0, i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
