//! A packet of the far end, from its keys to its chunks (RFC 7016 §3.5.2.2, §3.5.4, §3.6.2.4, §3.6.3.2).
//!
//! A [`Receiver`] hands chunks to the parts of the session that they are for. What is for the session as a whole, such as
//! its end, it leaves to the session.

use super::Session;
use super::context::{Context, ReceivedForward};
use super::control::liveness::Liveness;
use super::control::{Control, OffPathProbe};
use super::delivery::Delivery;
use super::lifecycle::Ending;
use super::path_change::MoveBasis;
use super::transport::{Transport, mobility};
use crate::config::SessionConfig;
use crate::congestion::PacketFacts;
use crate::error::DropReason;
use crate::event::CloseReason;
use crate::flow::{Acknowledgement, Fragment};
use crate::invariant::cannot_happen;
use crate::params::UNPROVED_IDLE_LIMIT;
use crate::time::Instant;
use crate::trace::TraceEvent;
use crate::transmit::{Path, RecvMeta};
use crate::wire::{Chunk, Chunks, ForwardedHello, PacketHeader, session_id};

/// Forwarded hellos that may wait for the endpoint; more are dropped.
pub(super) const MAX_FORWARDED: usize = 32;

/// What is known of a packet while its chunks are processed.
pub(super) struct Incoming {
    path: Path,
    /// Flow ID, sequence number and FSN of the last User Data or Next User Data chunk.
    last_data: Option<(u64, u64, u64)>,
    any_data: bool,
    /// A Ping was answered over another path than the session's.
    answered_off_path: bool,
    /// When the probe was sent that it answers.
    probed: Option<Instant>,
    facts: PacketFacts,
    /// The ECN report it held.
    report: Option<u8>,
}

/// What a chunk has for the session as a whole.
enum Step {
    End(Ending),
    /// The far end has proved to be there.
    MoveTo(Path),
}

impl Incoming {
    const fn new(path: Path, facts: PacketFacts) -> Self {
        Self { path, last_data: None, any_data: false, answered_off_path: false, probed: None, facts, report: None }
    }

    /// The fragment that a User Data or Next User Data chunk brings, and its flow's ID. None: there was nothing that it
    /// could be next to.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others have no fragments")]
    fn fragment<'a>(&mut self, chunk: &Chunk<'a>) -> Option<(u64, Fragment<'a>)> {
        let (flow_id, fragment) = match chunk {
            Chunk::UserData(data) => {
                let fragment = Fragment {
                    sequence: data.sequence_number,
                    fsn: data.sequence_number.saturating_sub(data.fsn_offset),
                    control: data.control,
                    abandon: data.abandon,
                    last: data.last,
                    options: data.options,
                    data: data.data,
                };
                (data.flow_id, fragment)
            }
            Chunk::NextUserData(data) => {
                // RFC 7016 §2.3.12: the same flow and FSN, and the next sequence number.
                let (flow_id, sequence, fsn) = self.last_data?;
                let fragment = Fragment {
                    sequence: sequence.checked_add(1)?,
                    fsn,
                    control: data.control,
                    abandon: data.abandon,
                    last: data.last,
                    options: data.options,
                    data: data.data,
                };
                (flow_id, fragment)
            }
            _ => return None,
        };
        self.last_data = Some((flow_id, fragment.sequence, fragment.fsn));
        self.any_data = true;
        Some((flow_id, fragment))
    }
}

/// Counts a chunk that was not used.
fn count(cx: &mut Context<'_>, reason: DropReason) {
    let counter = match reason {
        DropReason::OverLimit => &mut cx.stats.over_limit,
        DropReason::Malformed => &mut cx.stats.malformed,
        DropReason::TooShort
        | DropReason::UnknownSession
        | DropReason::NotAuthentic
        | DropReason::ProtectionRefused
        | DropReason::Replayed
        | DropReason::WrongMode
        | DropReason::Unexpected => &mut cx.stats.unexpected,
    };
    *counter += 1;
    cx.events.trace(|| TraceEvent::ChunkDropped { reason });
}

/// What takes the chunks of packets. It borrows the parts of a session for one call.
struct Receiver<'a> {
    config: &'a SessionConfig,
    /// In S_OPEN.
    open: bool,
    transport: &'a mut Transport,
    delivery: &'a mut Delivery,
    control: &'a mut Control,
    liveness: &'a mut Liveness,
}

impl Receiver<'_> {
    /// Takes chunks until one has something for the session, or none is left.
    fn take(&mut self, cx: &mut Context<'_>, incoming: &mut Incoming, chunks: &mut Chunks<'_>) -> Option<Step> {
        chunks.find_map(|chunk| match chunk {
            Ok(chunk) => self.on_chunk(cx, incoming, &chunk),
            Err(_) => {
                // A Next User Data chunk after it may belong to it: better no context than a wrong one.
                incoming.last_data = None;
                count(cx, DropReason::Malformed);
                None
            }
        })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not for an open session is all alike")]
    fn on_chunk(&mut self, cx: &mut Context<'_>, incoming: &mut Incoming, chunk: &Chunk<'_>) -> Option<Step> {
        match chunk {
            Chunk::Close(_) => return Some(Step::End(Ending::Requested)),
            Chunk::CloseAck(_) => return Some(Step::End(Ending::Acknowledged)),
            // RFC 7016 §2.3: chunks of unknown type are ignored.
            Chunk::Unknown { .. } | Chunk::Padding => {}
            // "Flows only exist in S_OPEN sessions" (RFC 7016 §3.5.5), and pings are answered only there (§3.5.4).
            _ if !self.open => count(cx, DropReason::Unexpected),
            Chunk::UserData(_) | Chunk::NextUserData(_) => match incoming.fragment(chunk) {
                Some((flow_id, fragment)) => {
                    let taken = self.delivery.on_fragment(cx, self.config, flow_id, &fragment);
                    taken.unwrap_or_else(|reason| count(cx, reason));
                }
                None => count(cx, DropReason::Malformed),
            },
            Chunk::AckBitmap(ack) => return self.on_ack(cx, incoming, ack.flow_id, Acknowledgement::Bitmap(ack)),
            Chunk::AckRanges(ack) => return self.on_ack(cx, incoming, ack.flow_id, Acknowledgement::Ranges(ack)),
            Chunk::BufferProbe(probe) => {
                self.delivery.receiving.on_buffer_probe(cx.now, self.transport.rtt.round_trip(), probe.flow_id);
            }
            Chunk::FlowException(exception) => self.delivery.sending.flows.on_exception(cx, *exception),
            Chunk::EcnReport(report) => incoming.report = Some(report.ce_count),
            Chunk::Ping(ping) => self.on_ping(cx, incoming, ping.message),
            Chunk::PingReply(reply) => return self.on_ping_reply(cx, incoming, reply.message),
            Chunk::ForwardedHello(_) if self.control.ignores_forwarded => {}
            Chunk::ForwardedHello(hello) => on_forwarded_hello(cx, incoming.path, hello),
            // Startup chunks travel under other keys, and fragments of packets are for startup packets only.
            _ => count(cx, DropReason::Unexpected),
        }
        None
    }

    fn on_ack(
        &mut self,
        cx: &mut Context<'_>,
        incoming: &mut Incoming,
        flow_id: u64,
        ack: Acknowledgement<'_>,
    ) -> Option<Step> {
        if self.delivery.on_ack(cx, &mut incoming.facts, flow_id, ack) {
            return None;
        }
        count(cx, DropReason::Unexpected);
        // RFC 7016 §5 asks to "abort sessions that appear abusive". No accident makes a far end acknowledge what was never
        // sent: it hopes to be sent more than the network can take. One is enough, if it is known to be the far end's own.
        self.transport.authenticates().then_some(Step::End(Ending::Abrupt(CloseReason::PeerAtFault)))
    }

    /// RFC 7016 §3.5.4. A Ping longer than a packet can answer is ignored.
    fn on_ping(&mut self, cx: &mut Context<'_>, incoming: &mut Incoming, message: &[u8]) {
        let path = incoming.path;
        let fits = message.len() <= self.transport.single_chunk_room(self.delivery.sending.window());
        if !fits {
            return count(cx, DropReason::OverLimit);
        }
        let Some(own) = self.transport.path() else {
            return cannot_happen!((), "an open session has a path");
        };
        // The far end may be testing whether this end has come to another interface or local address: the answer goes
        // from there. To another address than the proved one it answers only when nothing is heard from there any
        // more, as both ends may have moved: else whoever stands between the two could pass for the far end. On a path of
        // last resort somebody stands between them anyway, so any other path is answered.
        let proved = path.remote == own.remote;
        let relayed = own.interface.is_last_resort();
        let elsewhere = proved || relayed || self.transport.is_struggling();
        let queued = if !path.matches(&own) && elsewhere && self.transport.may_move_to(path) {
            // Each takes a datagram of its own, so one is for all that came in one.
            let first = !core::mem::replace(&mut incoming.answered_off_path, true);
            first && self.control.queue_off_path(OffPathProbe { path, message: message.into(), reply: true })
        } else {
            self.control.reply(message)
        };
        if !queued {
            count(cx, DropReason::OverLimit);
        }
    }

    fn on_ping_reply(&mut self, cx: &Context<'_>, incoming: &mut Incoming, message: &[u8]) -> Option<Step> {
        if mobility::is_check(message) {
            let path = incoming.path;
            return self.transport.proves(cx.now, path, message).then_some(Step::MoveTo(path));
        }
        incoming.probed = self.liveness.take_probe(cx.now, &self.transport.rtt);
        self.transport.on_ping_reply(cx.now, message);
        self.liveness.answered(cx.now, self.delivery.sending.has_in_flight());
        None
    }

    /// After the last chunk, if the session is open still.
    fn finish(&mut self, cx: &mut Context<'_>, incoming: &mut Incoming) -> Option<Ending> {
        if incoming.any_data {
            self.delivery.receiving.acks.on_data_packet();
        }
        let sending = &mut self.delivery.sending;
        sending.finish_acks(cx, self.transport, &mut incoming.facts, incoming.report);
        if incoming.facts.any_acks {
            self.liveness.answered(cx.now, sending.has_in_flight());
        }
        let after_change = core::mem::take(&mut self.liveness.network_changed);
        if self.liveness.heard(cx.now, self.transport) || after_change {
            if after_change {
                sending.restart(cx, self.transport);
            } else {
                sending.revive(cx, self.transport);
            }
            self.liveness.revive_ping(cx.now, &mut self.transport.rtt);
        }
        if let Some(probed) = incoming.probed {
            sending.on_probe_answered(cx, self.transport, probed);
        }
        let path = incoming.path;
        if let Some(message) = self.transport.question(cx.now, cx.rng, path) {
            self.control.queue_off_path(OffPathProbe { path, message, reply: false });
        }
        let unrepaired = self.delivery.receiving.has_unrepaired_gaps(cx.now, self.config);
        unrepaired.then_some(Ending::Abrupt(CloseReason::UnrepairedGaps))
    }
}

impl Session {
    /// An encrypted packet (after the scrambled session ID) for this session, in any state from S_OPEN on. Counts
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
        let datagram_len = encrypted.len() + session_id::LEN;
        if self.state().is_closed() {
            return Err(DropReason::Unexpected);
        }
        let plain = self.transport.open(encrypted)?;
        let (header, mut chunks) = PacketHeader::parse(plain)?;
        // RFC 7016 §2.2.4: an end ignores packets that bear its own mark, and startup packets have other keys.
        if header.mode != self.transport.far_mode() {
            return Err(DropReason::WrongMode);
        }
        let was_unproved = self.transport.is_unproved();
        self.transport.received(datagram_len);
        cx.events.trace(|| TraceEvent::PacketReceived { path, size: datagram_len, ecn: meta.ecn, plain });
        if self.lifecycle.is_open() {
            self.transport.on_header(cx.now, &header, meta);
            self.delivery.on_header(cx, &header, &self.transport.rtt);
        }
        let outstanding = self.delivery.sending.recovery.in_flight.outstanding();
        let facts = PacketFacts { pre_ack_outstanding: outstanding, ..Default::default() };
        let mut incoming = Incoming::new(path, facts);
        let acks = &mut self.delivery.receiving.acks;
        acks.allowance.received(datagram_len, self.transport.mtu.datagram());
        if acks.is_full() {
            self.packetizer().encode_acks();
        }
        while let Some(step) = self.receiver().take(cx, &mut incoming, &mut chunks) {
            match step {
                Step::End(ending) => self.end(cx, ending),
                Step::MoveTo(path) => {
                    self.move_to(cx, path, MoveBasis::Proved);
                }
            }
        }
        if self.lifecycle.is_open()
            && let Some(ending) = self.receiver().finish(cx, &mut incoming)
        {
            self.end(cx, ending);
        }
        if was_unproved && !self.transport.is_unproved() && self.config.idle_limit > UNPROVED_IDLE_LIMIT {
            // It may be longer now.
            self.lifecycle.restart_idle();
        }
        self.update_timers(cx);
        Ok(())
    }

    /// What hands chunks to the parts.
    fn receiver(&mut self) -> Receiver<'_> {
        Receiver {
            config: &self.config,
            open: self.lifecycle.is_open(),
            transport: &mut self.transport,
            delivery: &mut self.delivery,
            control: &mut self.control,
            liveness: &mut self.liveness,
        }
    }
}

/// RFC 7016 §3.5.1.5: for the endpoint to answer.
fn on_forwarded_hello(cx: &mut Context<'_>, path: Path, hello: &ForwardedHello<'_>) {
    if cx.forwarded.len() >= MAX_FORWARDED {
        return count(cx, DropReason::OverLimit);
    }
    cx.forwarded.push_back(ReceivedForward {
        discriminator: hello.discriminator.into(),
        reply_address: hello.reply_address.socket,
        tag: hello.tag.into(),
        via: path,
    });
}
