//! Watches the packets of each session's two ends in plain, and says when one does what it must not.

use core::ops::Range;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rtmfp_core::error::DropReason;
use rtmfp_core::profile::{CryptoProfile, Initiation, KeyingError, PendingKeying, Response, SessionKeys};
use rtmfp_core::rand_core::CryptoRng;
use rtmfp_core::wire::{Chunk, PacketHeader};

use crate::time::{Span, Time};

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
}

impl Referee {
    /// Tells what time it is.
    pub fn set_now(&self, now: Time) {
        self.0.now.store(now.0, Ordering::Relaxed);
    }

    fn now(&self) -> Time {
        Time(self.0.now.load(Ordering::Relaxed))
    }

    fn breach(&self, what: &str) {
        if let Ok(mut breaches) = self.0.breaches.lock()
            && breaches.len() < KEPT
        {
            breaches.push(format!("{what} at {}", self.now()));
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn breaches(&self) -> Vec<String> {
        self.0.breaches.lock().map(|breaches| breaches.clone()).unwrap_or_default()
    }
}

/// A profile like another, whose sessions are watched.
#[derive(Debug)]
pub struct RefereedProfile {
    inner: Arc<dyn CryptoProfile>,
    name: Arc<str>,
    referee: Referee,
}

impl RefereedProfile {
    /// Watches the sessions of `inner`, which is the identity of the node `name`.
    #[must_use]
    pub fn new(inner: Arc<dyn CryptoProfile>, name: &str, referee: Referee) -> Self {
        Self { inner, name: name.into(), referee }
    }
}

fn watched(inner: Box<dyn SessionKeys>, name: &Arc<str>, referee: &Referee) -> Box<dyn SessionKeys> {
    let watch = EndWatch { name: name.clone(), referee: referee.clone(), ..EndWatch::default() };
    Box::new(RefereedKeys { inner, watch })
}

impl CryptoProfile for RefereedProfile {
    fn certificate(&self) -> &[u8] {
        self.inner.certificate()
    }
    fn is_authentic(&self, certificate: &[u8]) -> bool {
        self.inner.is_authentic(certificate)
    }
    fn selects(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        self.inner.selects(discriminator, certificate)
    }
    fn selects_near(&self, discriminator: &[u8]) -> bool {
        self.inner.selects_near(discriminator)
    }
    fn canonical_discriminator(&self, certificate: &[u8]) -> Vec<u8> {
        self.inner.canonical_discriminator(certificate)
    }
    fn sign(&self, message: &[&[u8]]) -> Vec<u8> {
        self.inner.sign(message)
    }
    fn verify(&self, certificate: &[u8], message: &[&[u8]], signature: &[u8]) -> bool {
        self.inner.verify(certificate, message, signature)
    }
    fn prevails(&self, far_certificate: &[u8]) -> bool {
        self.inner.prevails(far_certificate)
    }
    fn overrides(&self, new: &[u8], existing: &[u8]) -> bool {
        self.inner.overrides(new, existing)
    }
    fn default_keys(&self) -> Box<dyn SessionKeys> {
        self.inner.default_keys()
    }
    fn initiate(&self, far_certificate: &[u8], rng: &mut dyn CryptoRng) -> Result<Initiation, KeyingError> {
        let Initiation { component, pending } = self.inner.initiate(far_certificate, rng)?;
        let pending = RefereedPending { inner: pending, name: self.name.clone(), referee: self.referee.clone() };
        Ok(Initiation { component, pending: Box::new(pending) })
    }
    fn respond(
        &self,
        far_certificate: &[u8],
        initiator_component: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Response, KeyingError> {
        let Response { component, keys } = self.inner.respond(far_certificate, initiator_component, rng)?;
        Ok(Response { component, keys: watched(keys, &self.name, &self.referee) })
    }
}

#[derive(Debug)]
struct RefereedPending {
    inner: Box<dyn PendingKeying>,
    name: Arc<str>,
    referee: Referee,
}

impl PendingKeying for RefereedPending {
    fn finish(&self, responder_component: &[u8]) -> Result<Box<dyn SessionKeys>, KeyingError> {
        Ok(watched(self.inner.finish(responder_component)?, &self.name, &self.referee))
    }
}

#[derive(Debug)]
struct RefereedKeys {
    inner: Box<dyn SessionKeys>,
    watch: EndWatch,
}

impl SessionKeys for RefereedKeys {
    fn front_len(&self, ahead: usize) -> usize {
        self.inner.front_len(ahead)
    }
    fn sealed_len(&self, front: usize, plain: usize) -> usize {
        self.inner.sealed_len(front, plain)
    }
    fn plain_capacity(&self, front: usize, room: usize) -> usize {
        self.inner.plain_capacity(front, room)
    }
    fn seal(&mut self, bytes: &mut [u8], packets: &[rtmfp_core::profile::Span]) {
        for span in packets {
            let from = span.start + span.front;
            self.watch.sends(bytes.get(from..from + span.plain).unwrap_or_default());
        }
        self.inner.seal(bytes, packets);
    }
    fn open(&mut self, encrypted: &mut [u8]) -> Result<Range<usize>, DropReason> {
        let range = self.inner.open(encrypted)?;
        self.watch.receives(encrypted.get(range.clone()).unwrap_or_default());
        Ok(range)
    }
    fn near_nonce(&self) -> &[u8] {
        self.inner.near_nonce()
    }
    fn far_nonce(&self) -> &[u8] {
        self.inner.far_nonce()
    }
    fn authenticates(&self) -> bool {
        self.inner.authenticates()
    }
}

/// Sequence numbers, as ranges from first to last.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn insert(&mut self, mut from: u64, mut to: u64) {
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
#[derive(Debug, Default)]
struct EndWatch {
    name: Arc<str>,
    referee: Referee,
    /// By flow, what came or is never to come.
    received: BTreeMap<u64, Ranges>,
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

impl EndWatch {
    fn receives(&mut self, plain: &[u8]) {
        let Ok((_, chunks)) = PacketHeader::parse(plain) else { return };
        let (mut last, mut acknowledges, mut proves) = (None, false, false);
        for chunk in chunks {
            match chunk {
                Ok(Chunk::UserData(data)) => {
                    let fsn = data.forward_sequence_number();
                    self.arrived(data.flow_id, data.sequence_number, fsn);
                    last = Some((data.flow_id, data.sequence_number, fsn));
                }
                Ok(Chunk::NextUserData(_)) => {
                    if let Some((flow, sequence, fsn)) = last {
                        self.arrived(flow, sequence + 1, fsn);
                        last = Some((flow, sequence + 1, fsn));
                    }
                }
                Ok(Chunk::AckBitmap(_) | Chunk::AckRanges(_)) => acknowledges = true,
                Ok(Chunk::PingReply(_)) => proves = true,
                Ok(Chunk::Ping(_)) => self.pinged(),
                Ok(Chunk::Close(_) | Chunk::CloseAck(_)) => self.closing = true,
                _ => {}
            }
        }
        if acknowledges || proves {
            // Acknowledgements handled together add up.
            self.allowed = if self.data_packets == 0 { (self.allowed + BURST).min(TOGETHER) } else { BURST };
            self.data_packets = 0;
        }
    }

    fn pinged(&mut self) {
        let now = self.referee.now();
        if now.since(self.last_ping) < Span::secs(1) {
            return;
        }
        self.last_ping = now;
        self.pings += 1;
        if self.pings == UNANSWERED && !self.closing {
            self.referee.breach(&format!("I20 (RFC 7016 §3.5.4): {} does not answer Pings", self.name));
        }
    }

    fn arrived(&mut self, flow: u64, sequence: u64, fsn: u64) {
        let received = self.received.entry(flow).or_default();
        received.insert(0, fsn);
        received.insert(sequence, sequence);
    }

    fn sends(&mut self, plain: &[u8]) {
        let Ok((_, chunks)) = PacketHeader::parse(plain) else { return };
        let mut data = false;
        for chunk in chunks {
            match chunk {
                Ok(Chunk::UserData(_)) => data = true,
                Ok(Chunk::PingReply(_)) => self.pings = 0,
                Ok(Chunk::Close(_) | Chunk::CloseAck(_)) => self.closing = true,
                Ok(Chunk::AckBitmap(ack)) => self.acknowledges(ack.flow_id, ack.cumulative_ack, ack.ranges()),
                Ok(Chunk::AckRanges(ack)) => self.acknowledges(ack.flow_id, ack.cumulative_ack, ack.ranges()),
                _ => {}
            }
        }
        if data {
            self.sends_data();
        }
    }

    fn acknowledges(&self, flow: u64, cumulative: u64, ranges: impl Iterator<Item = (u64, u64)>) {
        let none = Ranges::default();
        let received = self.received.get(&flow).unwrap_or(&none);
        for (from, to) in core::iter::once((1, cumulative)).filter(|_| cumulative > 0).chain(ranges) {
            if !received.contains(from, to) {
                let name = &self.name;
                self.referee.breach(&format!(
                    "I14 (RFC 7016 §3.6.3.4): {name} acknowledges {from} to {to} of flow {flow}, and has not got all"
                ));
            }
        }
    }

    fn sends_data(&mut self) {
        let now = self.referee.now();
        if now.since(self.last_sent) >= SURELY_NO_TIMEOUT {
            (self.data_packets, self.allowed) = (0, self.allowed.max(BURST));
        }
        self.last_sent = now;
        self.data_packets += 1;
        if self.data_packets > self.allowed.max(BURST) {
            let name = &self.name;
            self.referee.breach(&format!(
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
