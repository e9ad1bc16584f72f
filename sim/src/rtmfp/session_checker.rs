//! Checks the plain packets of one end of a session, and reports those that it must not send.

use std::collections::BTreeMap;

use datagram_sim::{Duration, Time};
use rtmfp_core::wire::{AckBitmap, AckRanges, Chunk, PacketHeader};

use super::invariant_checker::{Contents, InvariantChecker};
use super::sent::{SentFlows, SentFragment};
use super::tap::ProfileTap;
use super::yielding::LATELY;

/// Data packets that may follow an acknowledgement (RFC 7016 §3.5.2.3).
const BURST: u32 = 6;
/// The most that may follow acknowledgements handled together.
const TOGETHER: u32 = BURST * 32;
/// A retransmission timeout is longer than this (§3.5.2.2), and lets a burst begin anew.
const SURELY_NO_TIMEOUT: Duration = Duration::millis(200);
/// No probe comes sooner after what was sent last.
const MAY_BE_PROBE: Duration = Duration::millis(50);
/// Pings that are surely meant to be answered.
const UNANSWERED: u32 = 4;

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

/// Checks one end of a session.
#[derive(Debug)]
pub(super) struct SessionChecker {
    node: InvariantChecker,
    /// Its number among the ends of its node.
    end: usize,
    /// By flow, what came or is never to come.
    received: BTreeMap<u64, Ranges>,
    sent: SentFlows,
    /// Data packets since the last acknowledgement, and how many there may be.
    data_packets: u32,
    allowed: u32,
    /// What was sent last may be a probe.
    probed: bool,
    last_sent: Time,
    /// Pings since the last reply, a second apart at least, and when the last came.
    pings: u32,
    last_ping: Time,
    /// Pings are answered in S_OPEN only.
    closing: bool,
}

impl ProfileTap for SessionChecker {
    fn sealing(&mut self, plain: &mut [u8]) {
        self.sends(plain);
    }
    fn opened(&mut self, plain: &[u8]) {
        self.receives(plain);
    }
}

impl SessionChecker {
    pub(super) fn new(node: InvariantChecker, nonce: &[u8]) -> Self {
        let end = node.new_end(nonce);
        Self {
            node,
            end,
            received: BTreeMap::new(),
            sent: SentFlows::default(),
            data_packets: 0,
            allowed: 0,
            probed: false,
            last_sent: Time::ZERO,
            pings: 0,
            last_ping: Time::ZERO,
            closing: false,
        }
    }

    fn receives(&mut self, plain: &[u8]) {
        let Ok((header, chunks)) = PacketHeader::parse(plain) else { return };
        let (mut last, mut acknowledges, mut replies, mut new) = (None, false, false, false);
        let mut contents = Contents::default();
        for chunk in chunks {
            if let Ok(chunk) = &chunk {
                self.node.classify(&mut contents, chunk);
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
        self.node.add_contents(contents);
        if header.time_critical && new || header.time_critical_reverse {
            self.node.note(self.end, |end, now| {
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
        let now = self.node.violations().now();
        if now.since(self.last_ping) < Duration::secs(1) {
            return;
        }
        self.last_ping = now;
        self.pings += 1;
        if self.pings == UNANSWERED && !self.closing {
            self.node.report_violation(&format!("I20 (RFC 7016 §3.5.4): {} does not answer Pings", self.node.name()));
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
        let mut fragment: Option<SentFragment<'_>> = None;
        for chunk in chunks {
            match chunk {
                Ok(Chunk::UserData(data)) => fragment = Some(SentFragment::of(&data)),
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
            self.node.note(self.end, |end, now| end.sent_critical = Some(now));
        }
        self.check_asks_to_yield(header.time_critical_reverse);
    }

    fn sends_fragment(&mut self, fragment: &SentFragment<'_>) {
        let expiry = |work, index| self.node.expiry(work, index);
        if let Some(fault) = self.sent.sends(fragment, self.node.clock(), expiry) {
            self.node.report_violation(&format!("{fault}, {}", self.node.name()));
        }
    }

    /// Who gets time critical data asks the others to yield.
    fn check_asks_to_yield(&self, asks: bool) {
        let now = self.node.clock();
        let elsewhere = self.node.time_critical_elsewhere(self.end);
        if !asks && self.node.peers_well_formed() && elsewhere.is_some_and(|at| now.since(at) < LATELY) {
            let name = self.node.name();
            self.node.report_violation(&format!(
                "I15 (RFC 7016 §3.5.2.1): {name} does not ask to yield for the time critical data that it gets"
            ));
        }
    }

    fn acknowledges(&self, flow: u64, cumulative: u64, ranges: impl Iterator<Item = (u64, u64)>) {
        let none = Ranges::default();
        let received = self.received.get(&flow).unwrap_or(&none);
        for (from, to) in core::iter::once((1, cumulative)).filter(|_| cumulative > 0).chain(ranges) {
            if !received.contains(from, to) {
                let name = self.node.name();
                self.node.report_violation(&format!(
                    "I14 (RFC 7016 §3.6.3.4): {name} acknowledges {from} to {to} of flow {flow}, and has not got all"
                ));
            }
        }
    }

    fn sends_data(&mut self) {
        let now = self.node.violations().now();
        if now.since(self.last_sent) >= SURELY_NO_TIMEOUT {
            (self.data_packets, self.allowed) = (0, self.allowed.max(BURST));
        }
        // A probe does not put the timeout off, and comes after a while without anything.
        self.probed = !self.probed && now.since(self.last_sent) >= MAY_BE_PROBE && self.data_packets > 0;
        if !self.probed {
            self.last_sent = now;
        }
        self.data_packets += 1;
        if self.data_packets > self.allowed.max(BURST) {
            let name = self.node.name();
            self.node.report_violation(&format!(
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
