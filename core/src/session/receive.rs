//! A packet of the far end, from its keys to its chunks (RFC 7016 §3.5.2.2, §3.5.4, §3.6.2.4, §3.6.3.2).

use core::time::Duration;

use super::control::Aside;
use super::mobility::{self, Mobility};
use super::timers::Timer;
use super::{Context, Link, MAX_FORWARDED, ReceivedForward, Role, Session, SessionState, flows};
use crate::config::SessionConfig;
use crate::congestion::PacketFacts;
use crate::error::DropReason;
use crate::event::{CloseReason, Event};
use crate::flow::{Acknowledgement, Fragment, RecvFlow, SendFlowState, parse_startup_options};
use crate::handle::RecvFlowHandle;
use crate::params::DELAYED_ACK;
use crate::stats::EndpointStats;
use crate::time::Instant;
use crate::transmit::{Path, RecvMeta};
use crate::wire::{Chunk, ForwardedHello, Mode, PacketHeader};

/// Buffer Probes of a flow are answered at most this often: their senders wait for a timeout of at least 250 ms (RFC 7016
/// §3.6.2.9.1).
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How long messages that fill all the memory of a session may be without progress before a flow is rejected.
const DEADLOCK: Duration = Duration::from_secs(1);
/// The same if the endpoint grants less than the session may take by itself. By default it closes the session that needs
/// most after 10 s, which may help the others.
const DEADLOCK_WHEN_SCARCE: Duration = Duration::from_secs(20);

/// What is known of a packet while its chunks are processed.
pub(super) struct Incoming {
    path: Path,
    /// Flow ID, sequence number and FSN of the last User Data or Next User Data chunk.
    last_data: Option<(u64, u64, u64)>,
    any_data: bool,
    /// A Ping was answered over another path than the session's.
    answered_aside: bool,
    pub(super) facts: PacketFacts,
    /// The ECN report it held.
    pub(super) report: Option<u8>,
}

/// Counts a chunk that was not used.
fn count(stats: &mut EndpointStats, reason: DropReason) {
    let counter = match reason {
        DropReason::OverLimit => &mut stats.over_limit,
        DropReason::Malformed => &mut stats.malformed,
        DropReason::TooShort
        | DropReason::UnknownSession
        | DropReason::NotAuthentic
        | DropReason::Replayed
        | DropReason::WrongMode
        | DropReason::Unexpected => &mut stats.unexpected,
    };
    *counter += 1;
}

impl Session {
    /// An encrypted packet (behind the scrambled session ID) for this session, in any state from S_OPEN on. Counts
    /// what is wrong with its chunks; what is wrong with the whole packet is for the caller to count.
    ///
    /// # Errors
    /// The reason why the whole packet was dropped. Nothing has changed then.
    pub(crate) fn handle_packet(
        &mut self,
        cx: &mut Context<'_>,
        path: Path,
        meta: RecvMeta,
        encrypted: &mut [u8],
    ) -> Result<(), DropReason> {
        let datagram_len = encrypted.len() as u64 + 4;
        let Some(link) = self.link.as_mut().filter(|_| !self.state.get().is_closed()) else {
            return Err(DropReason::Unexpected);
        };
        let range = link.keys.open(encrypted)?;
        let plain = encrypted.get(range).ok_or(DropReason::Malformed)?;
        let (header, chunks) = PacketHeader::parse(plain)?;
        // RFC 7016 §2.2.4: an end ignores packets that bear its own mark, and startup packets have other keys.
        let expected = match self.role {
            Role::Initiator => Mode::Responder,
            Role::Responder => Mode::Initiator,
        };
        if header.mode != expected {
            return Err(DropReason::WrongMode);
        }
        if !self.keys_proved && link.keys.authenticates() {
            self.prove_keys();
        }
        self.packets_received += 1;
        self.bytes_received += datagram_len;
        if self.state.is_open() {
            self.on_header(cx, &header, meta);
        }
        let facts = PacketFacts { pre_ack_outstanding: self.recovery.in_flight.outstanding(), ..Default::default() };
        let mut incoming =
            Incoming { path, last_data: None, any_data: false, answered_aside: false, facts, report: None };
        self.acks.allowance.received(usize::try_from(datagram_len).unwrap_or(usize::MAX), self.mtu.datagram());
        if self.acks.is_full() {
            self.encode_acks();
        }
        for chunk in chunks {
            match chunk {
                Ok(chunk) => self.on_chunk(cx, &mut incoming, &chunk),
                Err(_) => {
                    // A Next User Data chunk behind it may belong to it: better no context than a wrong one.
                    incoming.last_data = None;
                    count(cx.stats, DropReason::Malformed);
                }
            }
        }
        if self.state.is_open() {
            self.after_chunks(cx, &mut incoming);
        }
        self.settle(cx.now);
        Ok(())
    }

    fn on_header(&mut self, cx: &mut Context<'_>, header: &PacketHeader, meta: RecvMeta) {
        self.rtt.received(cx.now, header.timestamp, header.timestamp_echo);
        self.recovery.in_flight.set_min_rtt(self.rtt.min_rtt());
        if header.time_critical {
            cx.time_critical.received(self.handle, cx.now);
        }
        if header.time_critical_reverse {
            self.recovery.on_reverse_notification(cx.now);
        }
        self.ecn.on_packet(meta.ecn);
    }

    fn after_chunks(&mut self, cx: &mut Context<'_>, incoming: &mut Incoming) {
        if incoming.any_data {
            self.acks.on_data_packet();
        }
        self.finish_acks(cx, incoming);
        self.heard(cx);
        self.check_keys(cx, incoming.path);
        self.check_mobility(cx, incoming.path);
        self.check_gaps(cx);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what needs an open session is all alike")]
    fn on_chunk(&mut self, cx: &mut Context<'_>, incoming: &mut Incoming, chunk: &Chunk<'_>) {
        match chunk {
            Chunk::Close(_) => self.on_close_request(cx),
            Chunk::CloseAck(_) => self.on_close_ack(cx),
            // RFC 7016 §2.3: chunks of unknown type are ignored.
            Chunk::Unknown { .. } | Chunk::Padding => {}
            _ if self.state.is_open() => self.on_open_chunk(cx, incoming, chunk),
            // "Flows only exist in S_OPEN sessions" (RFC 7016 §3.5.5), and pings are answered only there (§3.5.4).
            _ => count(cx.stats, DropReason::Unexpected),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not for an open session is all alike")]
    fn on_open_chunk(&mut self, cx: &mut Context<'_>, incoming: &mut Incoming, chunk: &Chunk<'_>) {
        match chunk {
            Chunk::UserData(data) => {
                let fsn = data.sequence_number.saturating_sub(data.fsn_offset);
                let fragment = Fragment {
                    sequence: data.sequence_number,
                    fsn,
                    control: data.control,
                    abandon: data.abandon,
                    last: data.last,
                    options: data.options,
                    data: data.data,
                };
                self.on_fragment(cx, incoming, data.flow_id, &fragment);
            }
            Chunk::NextUserData(data) => {
                // RFC 7016 §2.3.12: the same flow and FSN, and the next sequence number.
                let next =
                    incoming.last_data.and_then(|(flow, sequence, fsn)| Some((flow, sequence.checked_add(1)?, fsn)));
                let Some((flow_id, sequence, fsn)) = next else {
                    return count(cx.stats, DropReason::Malformed);
                };
                let fragment = Fragment {
                    sequence,
                    fsn,
                    control: data.control,
                    abandon: data.abandon,
                    last: data.last,
                    options: data.options,
                    data: data.data,
                };
                self.on_fragment(cx, incoming, flow_id, &fragment);
            }
            Chunk::AckBitmap(ack) => {
                self.peer_sends_bitmaps = true;
                self.on_ack(cx, incoming, ack.flow_id, Acknowledgement::Bitmap(ack));
            }
            Chunk::AckRanges(ack) => self.on_ack(cx, incoming, ack.flow_id, Acknowledgement::Ranges(ack)),
            Chunk::BufferProbe(probe) => {
                if let Some(slot) = self.flows.recv_slot_by_id(probe.flow_id)
                    && let Some(flow) = self.flows.recv.get_mut(slot)
                {
                    let round_trip = self.rtt.srtt().unwrap_or(self.rtt.mrto()).max(PROBE_INTERVAL);
                    if flow.on_buffer_probe(cx.now, round_trip, &self.flows.budget) {
                        self.flows.touch_recv(slot);
                        self.acks.set_now();
                    }
                }
            }
            Chunk::FlowException(exception) => {
                if let Some(slot) = flows::slot_of(exception.flow_id)
                    && let Some(flow) = self.flows.send.get_mut(slot)
                {
                    flow.on_exception(cx.now, exception.code, cx.events);
                    self.flows.touch_send(slot);
                }
            }
            Chunk::EcnReport(report) => incoming.report = Some(report.ce_count),
            Chunk::Ping(ping) => self.on_ping(cx, incoming, ping.message),
            Chunk::PingReply(reply) => self.on_ping_reply(cx, incoming.path, reply.message),
            Chunk::ForwardedHello(hello) => self.on_forwarded_hello(cx, incoming.path, hello),
            // Startup chunks travel under other keys, and fragments of packets are for startup packets only.
            _ => count(cx.stats, DropReason::Unexpected),
        }
    }

    /// RFC 7016 §3.6.3.2.
    fn on_fragment(&mut self, cx: &mut Context<'_>, incoming: &mut Incoming, flow_id: u64, fragment: &Fragment<'_>) {
        incoming.last_data = Some((flow_id, fragment.sequence, fragment.fsn));
        incoming.any_data = true;
        let known = self.flows.recv_slot_by_id(flow_id);
        let Some(slot) = known.or_else(|| self.start_recv_flow(cx, flow_id, fragment.options)) else {
            return count(cx.stats, DropReason::OverLimit);
        };
        let Some(flow) = self.flows.recv.get_mut(slot) else {
            return;
        };
        let before = self.flows.budget.buffered();
        let taken = flow.on_fragment(cx.now, fragment, &mut self.flows.budget, cx.events);
        self.recv_stall.moved(self.flows.budget.buffered().abs_diff(before) as u64);
        match taken {
            Ok(true) => self.acks.set_now(),
            Ok(false) => self.timers.arm_if_unset(Timer::DelayedAck, cx.now + DELAYED_ACK),
            Err(reason) => {
                count(cx.stats, reason);
                if reason == DropReason::OverLimit && self.is_deadlocked(cx.now) {
                    self.reject_for_memory(cx, slot);
                }
            }
        }
        self.flows.touch_recv(slot);
    }

    /// Messages that are not complete fill the memory, and none of them makes progress: each waits for what another
    /// holds.
    fn is_deadlocked(&self, now: Instant) -> bool {
        let patience = if self.flows.budget.is_granted_less() { DEADLOCK_WHEN_SCARCE } else { DEADLOCK };
        self.recv_stall.since().is_some_and(|since| since + patience <= now)
    }

    /// One flow gives way to the others.
    fn reject_for_memory(&mut self, cx: &mut Context<'_>, slot: u32) {
        if let Some(flow) = self.flows.recv.get_mut(slot) {
            flow.reject(cx.now, 0, &mut self.flows.budget, cx.events);
            self.acks.set_now();
        }
    }

    /// RFC 7016 §3.6.3.1. None: there are as many receiving flows as the configuration allows, or no memory for another.
    fn start_recv_flow(&mut self, cx: &mut Context<'_>, flow_id: u64, options: Option<&[u8]>) -> Option<u32> {
        let SessionConfig { max_recv_flows, recv_buffer, mona, .. } = self.config;
        if self.flows.recv.len() >= max_recv_flows {
            return None;
        }
        let startup = parse_startup_options(options);
        let cost = flows::RECV_FLOW + startup.metadata.as_ref().map_or(0, |metadata| metadata.len());
        if self.flows.budget.room() < cost {
            return None;
        }
        // Steps 6 and 7: the flow that it answers must exist and be F_OPEN.
        let association = startup.association.map(|id| {
            let flow = flows::slot_of(id).and_then(|slot| self.flows.send.get(slot));
            flow.filter(|flow| flow.state() == SendFlowState::Open).map(|flow| flow.handle())
        });
        let session = self.handle;
        // Step 5: a flow without metadata is rejected.
        let accepted = startup.metadata.filter(|_| !startup.unacceptable && association != Some(None));
        let slot = self.flows.insert_recv(flow_id, |slot, generation| {
            let handle = RecvFlowHandle { session, slot, generation };
            let mut flow = match accepted {
                Some(metadata) => {
                    cx.events.push(Event::FlowOpened { flow: handle });
                    RecvFlow::new(handle, flow_id, metadata, association.flatten(), recv_buffer)
                }
                None => RecvFlow::new_rejected(handle, flow_id),
            };
            if mona {
                flow.never_advertise_zero();
            }
            flow
        });
        self.acks.set_now();
        Some(slot)
    }

    /// RFC 7016 §3.6.2.4.
    fn on_ack(&mut self, cx: &mut Context<'_>, incoming: &mut Incoming, flow_id: u64, ack: Acknowledgement<'_>) {
        let Some(slot) = flows::slot_of(flow_id) else {
            return;
        };
        let Some(flow) = self.flows.send.get_mut(slot) else {
            return;
        };
        let outcome = flow.on_ack(cx.now, ack, &mut self.recovery.in_flight, cx.events);
        incoming.facts.any_acks = true;
        incoming.facts.acked_bytes += outcome.acked_bytes;
        self.flows.touch_send(slot);
        if outcome.impossible {
            count(cx.stats, DropReason::Unexpected);
            // RFC 7016 §5 asks to "abort sessions that appear abusive". No accident makes a far end acknowledge
            // what was never sent: it hopes to be sent more than the network can take. One is enough, if it is
            // known to be the far end's own.
            if self.link.as_ref().is_some_and(|link| link.keys.authenticates()) {
                self.end_abruptly(cx, CloseReason::PeerAtFault);
            }
        }
    }

    /// A far end that leaves more gaps than losses make does not mean to close them.
    fn check_gaps(&mut self, cx: &mut Context<'_>) {
        let SessionConfig { max_recv_bytes, base_datagram, gap_limit, .. } = self.config;
        let (gaps, gaps_closed) = self.flows.budget.gaps();
        let most = max_recv_bytes / (2 * base_datagram);
        if self.state.is_open() && self.gaps.check(cx.now, gaps, gaps_closed, most, gap_limit) {
            self.end_abruptly(cx, CloseReason::UnrepairedGaps);
        }
    }

    /// RFC 7016 §3.5.4. A Ping longer than a packet can answer is ignored.
    fn on_ping(&mut self, cx: &mut Context<'_>, incoming: &mut Incoming, message: &[u8]) {
        let path = incoming.path;
        let Some(link) = self.link.as_ref().filter(|_| message.len() <= self.single_chunk_room()) else {
            return count(cx.stats, DropReason::OverLimit);
        };
        // The far end may be testing whether this end has come to another interface or local address: the answer goes
        // from there. To
        // another address than the proved one it answers only when nothing is heard from there any more, as both
        // ends may have moved: else whoever stands between the two could have itself taken for the far end.
        let proved = path.remote == link.path.remote;
        let queued = if !path.matches(&link.path) && (proved || self.is_struggling()) {
            // Each takes a datagram of its own, so one is for all that came in one.
            let first = !core::mem::replace(&mut incoming.answered_aside, true);
            first && self.control.aside(Aside { path, message: message.into(), reply: true })
        } else {
            self.control.reply(message)
        };
        if !queued {
            count(cx.stats, DropReason::OverLimit);
        }
    }

    fn on_ping_reply(&mut self, cx: &mut Context<'_>, path: Path, message: &[u8]) {
        if mobility::is_check(message) {
            if self.mobility.as_mut().is_some_and(|mobility| mobility.proves(cx.now, path, message)) {
                self.prove_keys();
                let authenticates = self.link.as_ref().is_some_and(|link| link.keys.authenticates());
                if authenticates || self.first_path.take().is_some_and(|first| first.matches(&path)) {
                    self.move_to(cx, path);
                }
            }
        } else {
            self.mtu.on_reply(cx.now, message);
            self.mtu.on_answer();
            self.answered(cx.now);
        }
    }

    /// Packets that are not authenticated say nothing of who sent them: one of 65,536 that are made up passes for good.
    /// So this end asks whether the far end can read what is sent to it.
    fn check_keys(&mut self, cx: &mut Context<'_>, path: Path) {
        let asks = self.role == Role::Responder && self.state.get() == SessionState::Open && !self.keys_proved;
        let at_first = self.first_path.is_some_and(|first| first.matches(&path));
        let is_known = |link: &Link| link.path.matches(&path) || at_first;
        if !asks || !self.link.as_ref().is_some_and(is_known) {
            return;
        }
        let mobility = self.mobility.get_or_insert_with(|| alloc::boxed::Box::new(Mobility::new(cx.rng)));
        if let Some(message) = mobility.check(cx.now, path) {
            self.control.aside(Aside { path, message, reply: false });
        }
    }

    /// RFC 7016 §3.5.4.2: a valid packet from elsewhere makes this end ask whether the far end is there now.
    fn check_mobility(&mut self, cx: &mut Context<'_>, path: Path) {
        let Some(link) = self.link.as_ref() else {
            return;
        };
        // RFC 7016 §5: without authenticated packets this would be "session hijacking support".
        if self.state.get() != SessionState::Open || path.matches(&link.path) || !link.keys.authenticates() {
            return;
        }
        let mobility = self.mobility.get_or_insert_with(|| alloc::boxed::Box::new(Mobility::new(cx.rng)));
        if let Some(message) = mobility.check(cx.now, path) {
            self.control.aside(Aside { path, message, reply: false });
        }
    }

    /// The far end claims to be at `path`, with its IIKeying again, before it has used the session. If its packets are not
    /// authenticated, nor its signatures, anybody may have said so: it is heard still where it was first.
    pub(crate) fn move_to_claimed(&mut self, cx: &mut Context<'_>, path: Path) {
        if !self.keys_proved {
            self.first_path = self.first_path.or_else(|| self.path());
        }
        self.move_to(cx, path);
    }

    /// The far end is proved to be at `path`. What was learned of the old path says nothing of the new, and what
    /// was in flight on it does not arrive; nor does what was acknowledged there lately, so that is said again.
    pub(crate) fn move_to(&mut self, cx: &mut Context<'_>, path: Path) {
        let Some(link) = self.link.as_mut().filter(|link| !link.path.matches(&path)) else {
            return;
        };
        link.path = path;
        self.rtt.on_path_change();
        self.recovery.controller.on_path_change();
        self.ecn.on_path_change();
        self.lose_all_on_the_old_path(cx);
        // After the losses, which are none of the new path's.
        self.mtu.on_path_change();
        self.answered(cx.now);
        self.acknowledge_again();
        cx.events.push(Event::PathChanged { session: self.handle, path });
        self.settle(cx.now);
    }

    /// Acknowledges all flows, whether anything new came or not: a far end that moves has its window in flight, and
    /// would wait for its timeout if what it sent last is never acknowledged where it is now.
    fn acknowledge_again(&mut self) {
        for slot in self.flows.recv.slots() {
            if let Some(flow) = self.flows.recv.get_mut(slot) {
                flow.acknowledge_again();
                self.flows.touch_recv(slot);
            }
        }
        if self.flows.acks_due() {
            self.acks.set_now();
        }
    }

    /// RFC 7016 §3.5.1.5: for the endpoint to answer.
    fn on_forwarded_hello(&mut self, cx: &mut Context<'_>, path: Path, hello: &ForwardedHello<'_>) {
        if cx.forwarded.len() >= MAX_FORWARDED {
            return count(cx.stats, DropReason::OverLimit);
        }
        cx.forwarded.push_back(ReceivedForward {
            discriminator: hello.discriminator.into(),
            reply_address: hello.reply_address.socket,
            tag: hello.tag.into(),
            via: path,
        });
    }
}
