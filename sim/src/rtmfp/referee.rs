//! Watches the packets of each session's two ends in plain, and says when one does what it must not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use datagram_sim::{Span, Time};
use rtmfp_core::wire::{AckBitmap, AckRanges, Chunk, PacketHeader};

use super::sent::{Fragment, SentFlows};
use super::tap::Tap;
use super::witness::{Held, Witness};
use super::yielding::LATELY;

/// Data packets that may follow an acknowledgement (RFC 7016 §3.5.2.3).
const BURST: u32 = 6;
/// The most that may follow acknowledgements handled together.
const TOGETHER: u32 = BURST * 32;
/// A retransmission timeout is longer than this (§3.5.2.2), and lets a burst begin anew.
const SURELY_NO_TIMEOUT: Span = Span::millis(200);
/// Pings that are surely meant to be answered.
const UNANSWERED: u32 = 4;
/// The most breaches that are kept.
const KEPT: usize = 20;

/// What all ends of a run report to.
#[derive(Clone, Debug, Default)]
pub struct Referee(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    now: AtomicU64,
    breaches: Mutex<Vec<String>>,
    /// Addresses that forwarded hellos named.
    introduced: Mutex<BTreeSet<SocketAddr>>,
}

impl Referee {
    /// Tells what time it is.
    pub fn set_now(&self, now: Time) {
        self.0.now.store(now.0, Ordering::Relaxed);
    }

    fn now(&self) -> Time {
        Time(self.0.now.load(Ordering::Relaxed))
    }

    pub(crate) fn breach(&self, what: &str) {
        if let Ok(mut breaches) = self.0.breaches.lock()
            && breaches.len() < KEPT
        {
            breaches.push(format!("{what} at {}", self.now()));
        }
    }

    /// A forwarded hello named this address, to be answered there.
    pub(super) fn introduce(&self, address: SocketAddr) {
        if let Ok(mut introduced) = self.0.introduced.lock() {
            introduced.insert(address);
        }
    }

    /// Whether a forwarded hello named this address.
    #[must_use]
    pub fn is_introduced(&self, address: SocketAddr) -> bool {
        self.0.introduced.lock().is_ok_and(|introduced| introduced.contains(&address))
    }

    /// What was seen so far.
    #[must_use]
    pub fn breaches(&self) -> Vec<String> {
        self.0.breaches.lock().map(|breaches| breaches.clone()).unwrap_or_default()
    }
}

/// Sequence numbers, as ranges from first to last.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn insert(&mut self, mut from: u64, mut to: u64) {
        // Mostly the last range grows at its end, or nothing is new.
        if let Some((&first, last)) = self.0.range_mut(..=to.saturating_add(1)).next_back()
            && first <= from
            && last.saturating_add(1) >= from
        {
            *last = to.max(*last);
            return;
        }
        while let Some((&first, &last)) = self.0.range(..=to.saturating_add(1)).next_back() {
            if last.saturating_add(1) < from {
                break;
            }
            self.0.remove(&first);
            (from, to) = (from.min(first), to.max(last));
        }
        self.0.insert(from, to);
    }

    fn contains(&self, from: u64, to: u64) -> bool {
        self.0.range(..=from).next_back().is_some_and(|(_, &last)| last >= to)
    }
}

/// What is known of one end of a session.
#[derive(Debug)]
pub(super) struct EndWatch {
    witness: Witness,
    /// Its number among the ends of its node.
    end: usize,
    /// By flow, what came or is never to come.
    received: BTreeMap<u64, Ranges>,
    sent: SentFlows,
    /// Data packets since the last acknowledgement, and how many there may be.
    data_packets: u32,
    allowed: u32,
    last_sent: Time,
    /// Pings since the last reply, a second apart at least, and when the last came.
    pings: u32,
    last_ping: Time,
    /// Pings are answered in S_OPEN only.
    closing: bool,
}

impl Tap for EndWatch {
    fn sealing(&mut self, plain: &mut [u8]) {
        self.sends(plain);
    }
    fn opened(&mut self, plain: &[u8]) {
        self.receives(plain);
    }
}

impl EndWatch {
    pub(super) fn new(witness: Witness, nonce: &[u8]) -> Self {
        let end = witness.new_end(nonce);
        Self {
            witness,
            end,
            received: BTreeMap::new(),
            sent: SentFlows::default(),
            data_packets: 0,
            allowed: 0,
            last_sent: Time::ZERO,
            pings: 0,
            last_ping: Time::ZERO,
            closing: false,
        }
    }

    fn receives(&mut self, plain: &[u8]) {
        let Ok((header, chunks)) = PacketHeader::parse(plain) else { return };
        let (mut last, mut acknowledges, mut replies, mut new) = (None, false, false, false);
        let mut held = Held::default();
        for chunk in chunks {
            if let Ok(chunk) = &chunk {
                self.witness.sees(&mut held, chunk);
            }
            match chunk {
                Ok(Chunk::UserData(data)) => {
                    let fsn = data.forward_sequence_number();
                    new |= self.arrived(data.flow_id, data.sequence_number, fsn);
                    last = Some((data.flow_id, data.sequence_number, fsn));
                }
                Ok(Chunk::NextUserData(_)) => {
                    if let Some((flow, sequence, fsn)) = last {
                        new |= self.arrived(flow, sequence + 1, fsn);
                        last = Some((flow, sequence + 1, fsn));
                    }
                }
                Ok(Chunk::AckBitmap(AckBitmap { flow_id, cumulative_ack, .. }))
                | Ok(Chunk::AckRanges(AckRanges { flow_id, cumulative_ack, .. })) => {
                    acknowledges = true;
                    self.sent.acknowledged(flow_id, cumulative_ack);
                }
                Ok(Chunk::PingReply(_)) => replies = true,
                Ok(Chunk::Ping(_)) => self.pinged(),
                Ok(Chunk::Close(_) | Chunk::CloseAck(_)) => self.closing = true,
                _ => {}
            }
        }
        self.witness.holds(held);
        if header.time_critical && new || header.time_critical_reverse {
            self.witness.note(self.end, |end, now| {
                end.got_critical = if header.time_critical && new { Some(now) } else { end.got_critical };
                end.asked_to_yield = if header.time_critical_reverse { Some(now) } else { end.asked_to_yield };
            });
        }
        if acknowledges || replies {
            // Acknowledgements handled together add up.
            self.allowed = if self.data_packets == 0 { (self.allowed + BURST).min(TOGETHER) } else { BURST };
            self.data_packets = 0;
        }
    }

    fn pinged(&mut self) {
        let now = self.witness.referee().now();
        if now.since(self.last_ping) < Span::secs(1) {
            return;
        }
        self.last_ping = now;
        self.pings += 1;
        if self.pings == UNANSWERED && !self.closing {
            self.witness.breach(&format!("I20 (RFC 7016 §3.5.4): {} does not answer Pings", self.witness.name()));
        }
    }

    /// Notes a fragment, and returns whether it is new.
    fn arrived(&mut self, flow: u64, sequence: u64, fsn: u64) -> bool {
        let received = self.received.entry(flow).or_default();
        let new = !received.contains(sequence, sequence);
        received.insert(0, fsn);
        received.insert(sequence, sequence);
        new
    }

    fn sends(&mut self, plain: &[u8]) {
        let Ok((header, chunks)) = PacketHeader::parse(plain) else { return };
        let mut fragment: Option<Fragment<'_>> = None;
        for chunk in chunks {
            match chunk {
                Ok(Chunk::UserData(data)) => fragment = Some(Fragment::of(&data)),
                Ok(Chunk::NextUserData(data)) => fragment = fragment.map(|fragment| fragment.next(&data)),
                Ok(Chunk::PingReply(_)) => self.pings = 0,
                Ok(Chunk::Close(_) | Chunk::CloseAck(_)) => self.closing = true,
                Ok(Chunk::AckBitmap(ack)) => self.acknowledges(ack.flow_id, ack.cumulative_ack, ack.ranges()),
                Ok(Chunk::AckRanges(ack)) => self.acknowledges(ack.flow_id, ack.cumulative_ack, ack.ranges()),
                _ => {}
            }
            if let (Ok(Chunk::UserData(_) | Chunk::NextUserData(_)), Some(fragment)) = (chunk, fragment) {
                self.sends_fragment(&fragment);
            }
        }
        if fragment.is_some() {
            self.sends_data();
        }
        if header.time_critical {
            self.witness.note(self.end, |end, now| end.sent_critical = Some(now));
        }
        self.check_asks_to_yield(header.time_critical_reverse);
    }

    fn sends_fragment(&mut self, fragment: &Fragment<'_>) {
        let expiry = |work, index| self.witness.expiry(work, index);
        if let Some(fault) = self.sent.sends(fragment, self.witness.clock(), expiry) {
            self.witness.breach(&format!("{fault}, {}", self.witness.name()));
        }
    }

    /// Who gets time critical data asks the others to make way.
    fn check_asks_to_yield(&self, asks: bool) {
        let now = self.witness.clock();
        let elsewhere = self.witness.time_critical_elsewhere(self.end);
        if !asks && self.witness.is_sound() && elsewhere.is_some_and(|at| now.since(at) < LATELY) {
            let name = self.witness.name();
            self.witness.breach(&format!(
                "I15 (RFC 7016 §3.5.2.1): {name} does not ask to make way for the time critical data that it gets"
            ));
        }
    }

    fn acknowledges(&self, flow: u64, cumulative: u64, ranges: impl Iterator<Item = (u64, u64)>) {
        let none = Ranges::default();
        let received = self.received.get(&flow).unwrap_or(&none);
        for (from, to) in core::iter::once((1, cumulative)).filter(|_| cumulative > 0).chain(ranges) {
            if !received.contains(from, to) {
                let name = self.witness.name();
                self.witness.breach(&format!(
                    "I14 (RFC 7016 §3.6.3.4): {name} acknowledges {from} to {to} of flow {flow}, and has not got all"
                ));
            }
        }
    }

    fn sends_data(&mut self) {
        let now = self.witness.referee().now();
        if now.since(self.last_sent) >= SURELY_NO_TIMEOUT {
            (self.data_packets, self.allowed) = (0, self.allowed.max(BURST));
        }
        self.last_sent = now;
        self.data_packets += 1;
        if self.data_packets > self.allowed.max(BURST) {
            let name = self.witness.name();
            self.witness.breach(&format!(
                "I3 (RFC 7016 §3.5.2.3): {name} sends {} data packets between acknowledgements",
                self.data_packets
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_and_know_what_is_in_them() {
        let mut ranges = Ranges::default();
        for (from, to) in [(5, 6), (1, 2), (8, 9), (3, 3), (7, 7)] {
            ranges.insert(from, to);
        }
        assert!(ranges.contains(1, 3) && ranges.contains(5, 9) && !ranges.contains(3, 5) && !ranges.contains(9, 10));
        ranges.insert(0, 20);
        assert_eq!(ranges.0.len(), 1);
    }
}
