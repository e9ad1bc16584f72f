//! Building flights: what goes into the packets of one session, and in which order.
//!
//! A packet holds, as far as it has room: closes, ping replies and pings; acknowledgements, with an ECN report before
//! the first; buffer probes; forwarded hellos; and user data while the budget allows. Whatever is not user data is
//! never held back by the congestion window. The datagrams of a flight are of one length but the last, so only
//! packets filled with user data are sent in number.

use alloc::vec::Vec;

use super::control::Aside;
use super::timers::Timer;
use super::{Context, Link, Role, Session, mtu};
use crate::config::Priority;
use crate::time::Instant;
use crate::transmit::{Path, Span, Transmit, TransmitBuf};
use crate::wire::{
    BufferProbe, CHUNK_HEADER_LEN, Chunks, EcnReport, Mode, PacketHeader, PacketWriter, Padding, Ping, PingReply,
    session_id,
};

/// Room left free when fragments are cut: the profile's front (a sequence number) may grow by as much until one is
/// sent again, and then it must still fit. Room for the longest header is left by the flow.
const GROWTH_RESERVE: usize = 4;
/// The most padding that brings a packet to the length of the flight it is part of.
const MAX_PADDING: usize = 64;
/// Padding for a first packet with room left: sequence numbers take a little more space in the packets behind it.
const FIRST_PADDING: usize = 24;
/// What padding consists of (RFC 7016 §2.2.4).
const PADDING: u8 = 0xff;

/// The most bytes of a flight: what one segmented system call takes.
const MAX_FLIGHT: usize = 65_000;

/// How a packet is laid out, in the order in which layouts are tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// With room to spare, so that a fragment that fits now fits later.
    Reserve,
    /// All the room, for a fragment that was cut for it.
    Full,
    /// Without timestamps.
    Bare,
}

/// A packet that was built.
struct Built {
    span: Span,
    data: bool,
}

impl Session {
    /// Whether `poll_transmit` has something to send now.
    pub(crate) fn wants_transmit(&self) -> bool {
        self.link.is_some()
            && (self.control.is_aside_due() || self.probe_due().is_some() || self.has_control() || self.may_send_data())
    }

    /// The most urgent thing to send: None for control only. The endpoint serves sessions in this order.
    pub(crate) fn transmit_priority(&self) -> Option<Priority> {
        self.flows.scheduler.highest().filter(|_| self.may_send_data())
    }

    /// Anything but user data for the session's own path.
    fn has_control(&self) -> bool {
        let acks = self.acks.is_encoded() || (self.acks.is_now() && self.acks.is_allowed(self.ack_overhead()));
        self.control.is_due() || acks || self.flows.probes_due()
    }

    /// Bytes of a datagram that are no chunks.
    pub(super) fn ack_overhead(&self) -> usize {
        let room = self.packet_room();
        room + session_id::LEN - usize::try_from(self.segment()).unwrap_or(room).min(room)
    }

    /// User data waits, and the budget allows it (RFC 7016 §3.6.2.3).
    fn may_send_data(&self) -> bool {
        self.state.is_open() && !self.flows.scheduler.is_empty() && self.recovery.budget() > 0
    }

    /// Payload bytes of one chunk alone in a packet with the longest header.
    pub(super) fn single_chunk_room(&self) -> usize {
        let Some(link) = &self.link else {
            return 0;
        };
        let capacity = link.keys.plain_capacity(link.keys.front_len(0), self.packet_room());
        capacity.saturating_sub(PacketHeader::MAX_LEN + CHUNK_HEADER_LEN + GROWTH_RESERVE)
    }

    /// Bytes of a datagram behind the scrambled session ID.
    ///
    /// A large datagram is not used before the congestion window holds three of them: a single one in flight would
    /// wait for a delayed acknowledgement each time.
    fn packet_room(&self) -> usize {
        let share = usize::try_from(self.recovery.controller.window() / 3).unwrap_or(usize::MAX);
        self.mtu.datagram().min(share.max(self.config.base_datagram)) - session_id::LEN
    }

    /// The most bytes of chunks that a packet carries now; 0 before there are keys.
    pub(super) fn segment(&self) -> u64 {
        let room = self.packet_room();
        let capacity = self.link.as_ref().map_or(0, |link| link.keys.plain_capacity(link.keys.front_len(0), room));
        capacity.saturating_sub(PacketHeader::MAX_LEN) as u64
    }

    /// The longest plain packet that a datagram of the base size carries behind a front of `front` bytes, less what
    /// must be left for growth: what fragments are cut for.
    fn fragment_limit(&self, front: usize) -> usize {
        let room = self.mtu.fragment_datagram() - session_id::LEN;
        let capacity = self.link.as_ref().map_or(0, |link| link.keys.plain_capacity(front, room));
        capacity.saturating_sub(GROWTH_RESERVE)
    }

    /// The longest plain packet that a datagram of this size carries.
    pub(super) fn plain_limit(&self, datagram: usize) -> usize {
        let keys = self.link.as_ref().map(|link| &link.keys);
        keys.map_or(0, |keys| keys.plain_capacity(keys.front_len(0), datagram - session_id::LEN))
    }

    /// The size of the datagram to probe the path with, and its Ping's message: only while data is sent, since
    /// nothing else needs large datagrams, only with a round-trip time to judge the wait by, and not while nothing is
    /// answered: that would prove nothing of the size.
    fn probe_due(&self) -> Option<(usize, [u8; mtu::MESSAGE_LEN])> {
        let wanted = self.state.is_open()
            && !self.recovery.in_flight.is_empty()
            && !self.recovery.is_backed_off()
            && self.rtt.srtt().is_some();
        self.mtu.probe_due().filter(|_| wanted)
    }

    /// Fills a flight: scrambled session IDs, plain packets, sealed. None: nothing to send.
    pub(crate) fn poll_transmit(&mut self, cx: &mut Context<'_>, buf: &mut TransmitBuf) -> Option<Transmit> {
        buf.clear();
        let max_segments = buf.max_segments();
        let (bytes, spans) = buf.parts_mut();
        // Nothing is known of another path, and a probe that arrives in fragments proves nothing.
        let (path, may_fragment, data) = match self.build_aside(cx.now, bytes, spans) {
            Some(path) => (path, true, false),
            None if self.build_probe(cx.now, bytes, spans) => (self.outgoing_path()?, false, false),
            None => {
                let data = self.build_flight(cx, bytes, spans, max_segments);
                (self.outgoing_path()?, self.mtu.may_fragment(), data)
            }
        };
        let transmit = self.seal(path, data, bytes, spans);
        self.settle(cx.now);
        transmit.map(|transmit| Transmit { may_fragment, ..transmit })
    }

    /// The session's path with the local address to send from.
    ///
    /// A responder answers from the address that was asked: firewalls on the way know no other. An initiator leaves
    /// the choice to the system, which follows the routes when this end moves to another network. A responder that
    /// gets no answers any more may have moved too, so it tries both in turn.
    fn outgoing_path(&self) -> Option<Path> {
        let path = self.path()?;
        let free = self.role == Role::Initiator || (self.is_struggling() && self.packets_sent % 2 == 1);
        Some(if free { path.with_local(None) } else { path })
    }

    /// Over which path the next flight goes.
    pub(crate) fn next_path(&self) -> Option<Path> {
        self.control.next_aside().or_else(|| self.path())
    }

    /// Seals what was built.
    fn seal(&mut self, path: Path, data: bool, bytes: &mut [u8], spans: &[Span]) -> Option<Transmit> {
        let Link { keys, tx_id, .. } = self.link.as_mut()?;
        let first = spans.first()?;
        let segment_size = (spans.len() > 1).then_some(first.sealed + session_id::LEN);
        keys.seal(bytes, spans);
        for span in spans.iter() {
            let Some((front, packet)) = bytes.split_at_mut_checked(span.start) else {
                continue;
            };
            if let Some(id) = front.last_chunk_mut::<{ session_id::LEN }>() {
                *id = session_id::scramble(*tx_id, packet.get(..span.sealed).unwrap_or(packet));
            }
        }
        self.packets_sent += spans.len() as u64;
        self.bytes_sent += bytes.len() as u64;
        let ecn = if data { self.ecn.mark() } else { None };
        Some(Transmit { path, ecn, len: bytes.len(), segment_size, may_fragment: false })
    }

    /// A Ping or Ping Reply for a path that is not (yet) the session's, alone in its packet. It bears no timestamps,
    /// as they would measure that path, unless the far end reads one in every packet.
    fn build_aside(&mut self, now: Instant, bytes: &mut Vec<u8>, spans: &mut Vec<Span>) -> Option<Path> {
        let Aside { path, message, reply } = self.control.take_aside()?;
        let (mut span, capacity) = self.begin(bytes, 0, self.packet_room())?;
        let mut packet = PacketWriter::new(bytes, capacity);
        packet.header(&self.bare_header(now));
        let fits = match reply {
            true => packet.push(&PingReply { message: &message }),
            false => packet.push(&Ping { message: &message }),
        };
        span.plain = packet.len();
        if !fits {
            bytes.clear();
            return None;
        }
        self.finish(bytes, &mut span);
        spans.push(span);
        Some(path)
    }

    /// A path MTU probe (RFC 7016 §3.5.4.3): the Ping behind the Padding, so that a datagram that arrives cut short
    /// proves nothing.
    fn build_probe(&mut self, now: Instant, bytes: &mut Vec<u8>, spans: &mut Vec<Span>) -> bool {
        let Some((size, message)) = self.probe_due() else {
            return false;
        };
        self.mtu.probe_sent(now, self.rtt.erto());
        let Some((mut span, capacity)) = self.begin(bytes, 0, size - session_id::LEN) else {
            return false;
        };
        let mut packet = PacketWriter::new(bytes, capacity);
        packet.header(&self.bare_header(now));
        let length = packet.remaining().saturating_sub(CHUNK_HEADER_LEN + message.len());
        packet.push(&Padding { length });
        packet.push(&Ping { message: &message });
        span.plain = packet.len();
        self.finish(bytes, &mut span);
        spans.push(span);
        true
    }

    /// Packets for the session's path. Whether they hold user data: all do, or none.
    fn build_flight(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut Vec<u8>,
        spans: &mut Vec<Span>,
        max_segments: usize,
    ) -> bool {
        let full = self.packet_room();
        if self.build_encoded(cx, bytes, spans, max_segments) {
            return false;
        }
        let Some(mut first) = self.build(cx, bytes, 0, full) else {
            return false;
        };
        // What waits behind a packet that is not even half full wants a larger one.
        let fitting = first.span.sealed * 2 >= full && first.span.sealed <= full;
        let alone = !first.data || !fitting || !self.may_send_data() || self.has_control();
        if !alone && max_segments > 1 {
            let size = full.min(first.span.sealed + FIRST_PADDING);
            self.pad(bytes, &mut first.span, size);
        }
        let size = first.span.sealed;
        spans.push(first.span);
        if alone {
            return first.data;
        }
        while spans.len() < max_segments
            && bytes.len() + size < MAX_FLIGHT
            && self.may_send_data()
            && !self.has_control()
        {
            let Some(mut next) = self.build(cx, bytes, spans.len(), size) else {
                break;
            };
            self.pad(bytes, &mut next.span, size);
            spans.push(next.span);
            if next.span.sealed < size {
                break;
            }
        }
        true
    }

    /// Acknowledgements that are encoded already, each in a packet of its own. Whether there are any.
    fn build_encoded(
        &mut self,
        cx: &Context<'_>,
        bytes: &mut Vec<u8>,
        spans: &mut Vec<Span>,
        max_segments: usize,
    ) -> bool {
        let mut room = self.packet_room();
        while spans.len() < max_segments
            && let Some(chunks) = self.acks.first_encoded()
            && let base = bytes.len()
            && let Some((mut span, capacity)) = self.begin(bytes, spans.len(), room)
        {
            let fields = self.rtt.fields(cx.now);
            let mut packet = PacketWriter::new(bytes, capacity);
            packet.header(&self.header(cx, fields));
            let mut chunks = Chunks::new(chunks);
            let fits = core::iter::from_fn(|| chunks.next_raw())
                .all(|(kind, payload)| packet.push_with(kind, |out| out.extend_from_slice(payload)));
            span.plain = packet.len();
            if !fits && !spans.is_empty() {
                // It is longer than the first of the flight, and begins another.
                bytes.truncate(base);
                break;
            }
            self.finish(bytes, &mut span);
            self.acks.encoded_sent();
            self.rtt.sent(fields);
            if spans.is_empty() {
                room = span.sealed;
            } else {
                self.pad(bytes, &mut span, room);
            }
            spans.push(span);
            if span.sealed < room {
                break;
            }
        }
        !spans.is_empty()
    }

    /// Encodes the acknowledgements that are due, as far as one packet holds them.
    pub(super) fn encode_acks(&mut self) {
        let header = PacketHeader::new(self.mode());
        let limit = header.encoded_len() + CHUNK_HEADER_LEN + self.single_chunk_room();
        let mut bytes = self.acks.take_scratch();
        let mut packet = PacketWriter::new(&mut bytes, limit);
        packet.header(&header);
        self.write_acks(&mut packet);
        if packet.has_chunks()
            && let Some(chunks) = bytes.get(header.encoded_len()..)
        {
            self.acks.queue_encoded(chunks);
        }
        self.acks.give_scratch_back(bytes);
    }

    /// The header of a packet for the session's path.
    fn header(&self, cx: &Context<'_>, fields: (Option<u16>, Option<u16>)) -> PacketHeader {
        PacketHeader {
            // RFC 7016 §2.2.4: told to this far end if another is sending time critical data.
            time_critical_reverse: cx.time_critical.received_lately_by_another(self.handle, cx.now),
            timestamp: fields.0,
            timestamp_echo: fields.1,
            ..PacketHeader::new(self.mode())
        }
    }

    /// The header of a packet that is not to measure the path.
    fn bare_header(&self, now: Instant) -> PacketHeader {
        PacketHeader { timestamp: self.rtt.obligatory_timestamp(now), ..PacketHeader::new(self.mode()) }
    }

    fn mode(&self) -> Mode {
        match self.role {
            Role::Initiator => Mode::Initiator,
            Role::Responder => Mode::Responder,
        }
    }

    /// Leaves room for the session ID and the profile's front; returns a span, and how long the packet may be.
    fn begin(&self, bytes: &mut Vec<u8>, ahead: usize, room: usize) -> Option<(Span, usize)> {
        let link = self.link.as_ref()?;
        let start = bytes.len() + session_id::LEN;
        let front = link.keys.front_len(ahead);
        bytes.resize(start + front, 0);
        Some((Span { start, front, plain: 0, sealed: 0 }, link.keys.plain_capacity(front, room)))
    }

    /// Leaves room for the profile's padding and back.
    fn finish(&self, bytes: &mut Vec<u8>, span: &mut Span) {
        if let Some(link) = &self.link {
            span.sealed = link.keys.sealed_len(span.front, span.plain);
            bytes.resize(span.start + span.sealed, 0);
        }
    }

    /// Brings the last packet to the length `sealed`, if little is missing.
    fn pad(&self, bytes: &mut Vec<u8>, span: &mut Span, sealed: usize) {
        let Some(link) = self.link.as_ref().filter(|_| span.sealed < sealed) else {
            return;
        };
        let plain = link.keys.plain_capacity(span.front, sealed);
        if plain > span.plain && plain - span.plain <= MAX_PADDING {
            let begin = span.start + span.front;
            bytes.truncate(begin + span.plain);
            bytes.resize(begin + plain, PADDING);
            span.plain = plain;
            self.finish(bytes, span);
        }
    }

    /// Builds one packet of at most `room` bytes behind the session ID. None: nothing could be sent.
    fn build(&mut self, cx: &mut Context<'_>, bytes: &mut Vec<u8>, ahead: usize, room: usize) -> Option<Built> {
        let base = bytes.len();
        // A fragment that was cut for the base size may have to be sent on a path that carries less, or so it seems.
        let full = self.packet_room();
        // Only at the head of a flight, as the others are not longer than the first.
        let may_be_last_resort = ahead == 0 && room == full;
        let larger =
            may_be_last_resort.then(|| self.config.base_datagram - session_id::LEN).filter(|base| *base > full);
        let layouts = [Layout::Reserve, Layout::Full, Layout::Bare];
        let may_be_bare = !self.rtt.stamps_every_packet();
        for room in [Some(room), larger].into_iter().flatten() {
            for layout in layouts.into_iter().filter(|layout| may_be_bare || *layout != Layout::Bare) {
                if let Some(built) = self.build_as(cx, bytes, ahead, room, layout) {
                    return Some(built);
                }
                bytes.truncate(base);
                if !self.wants_own_path() {
                    return None;
                }
            }
        }
        // A flow that is ready but whose next fragment fits no packet would make every poll a vain one.
        if may_be_last_resort && let Some((slot, _)) = self.flows.scheduler.peek() {
            self.flows.scheduler.remove(slot);
        }
        None
    }

    fn wants_own_path(&self) -> bool {
        self.has_control() || self.may_send_data()
    }

    fn build_as(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut Vec<u8>,
        ahead: usize,
        room: usize,
        layout: Layout,
    ) -> Option<Built> {
        let (mut span, capacity) = self.begin(bytes, ahead, room)?;
        let fields = match layout {
            // Timestamps belong to S_OPEN (RFC 7016 §3.5.2.2).
            Layout::Reserve | Layout::Full if self.state.is_open() || self.rtt.stamps_every_packet() => {
                self.rtt.fields(cx.now)
            }
            Layout::Reserve | Layout::Full | Layout::Bare => (None, None),
        };
        let header = self.header(cx, fields);
        let reserve = match layout {
            Layout::Reserve => GROWTH_RESERVE,
            Layout::Full | Layout::Bare => 0,
        };
        let mut packet = PacketWriter::new(bytes, capacity.saturating_sub(reserve));
        packet.header(&header);
        self.control.write(&mut packet);
        if self.acks.is_now() || self.may_send_data() {
            self.write_acks(&mut packet);
        }
        self.write_probes(cx.now, &mut packet);
        self.control.write_forwards(&mut packet);
        let base = self.fragment_limit(span.front);
        let data = self.write_data(cx, &mut packet, base);
        span.plain = packet.len();
        if !packet.has_chunks() {
            return None;
        }
        self.finish(bytes, &mut span);
        self.rtt.sent(fields);
        Some(Built { span, data })
    }

    /// Acknowledgements, as far as they are allowed.
    fn write_acks(&mut self, packet: &mut PacketWriter<'_>) {
        if !self.flows.acks_due() {
            self.acks.all_sent();
            self.timers.clear(Timer::DelayedAck);
            return;
        }
        let overhead = self.ack_overhead();
        if self.acks.is_allowed(overhead) {
            let before = packet.len();
            let limit = packet.limit_to(self.acks.allowance.bytes() - overhead);
            self.write_due_acks(packet);
            packet.set_limit(limit);
            if packet.len() > before {
                self.acks.allowance.spend(packet.len() - before + overhead);
            }
        }
    }

    /// RFC 7016 §3.6.3.4.5 and §3.6.3.4.6: with ACK_NOW the first is cut to fit; others come along if they fit whole.
    fn write_due_acks(&mut self, packet: &mut PacketWriter<'_>) {
        let mut truncate = self.acks.is_now();
        let mut report = self.ecn.report();
        while let Some(slot) = self.flows.first_ack() {
            let mark = packet.mark();
            // Immediately before the first acknowledgement.
            let reported = report.is_none_or(|ce_count| packet.push(&EcnReport { ce_count }));
            let flow = self.flows.recv.get_mut(slot).filter(|_| reported);
            if !flow.is_some_and(|flow| flow.write_ack(packet, truncate, !self.peer_sends_bitmaps)) {
                packet.rollback(mark);
                return;
            }
            if report.take().is_some() {
                self.ecn.report_sent();
            }
            truncate = false;
            self.flows.touch_recv(slot);
        }
        self.acks.all_sent();
        self.timers.clear(Timer::DelayedAck);
    }

    /// RFC 7016 §3.6.2.9.1.
    fn write_probes(&mut self, now: Instant, packet: &mut PacketWriter<'_>) {
        while let Some(slot) = self.flows.first_probe()
            && let Some(flow) = self.flows.send.get_mut(slot)
            && packet.push(&BufferProbe { flow_id: flow.flow_id() })
        {
            flow.probe_sent(now, self.rtt.erto());
            self.flows.touch_send(slot);
        }
    }

    /// Fragments of the ready flows, the most urgent first, cut for plain packets of `base` bytes. Whether there are
    /// any.
    fn write_data(&mut self, cx: &mut Context<'_>, packet: &mut PacketWriter<'_>, base: usize) -> bool {
        let (mut any, mut time_critical) = (false, false);
        while self.may_send_data()
            && let Some((slot, _)) = self.flows.scheduler.peek()
            && let Some(flow) = self.flows.send.get_mut(slot)
        {
            let budget = self.recovery.budget();
            let assembled = flow.assemble(cx.now, packet, &mut self.recovery.in_flight, budget, base);
            any |= assembled.fragments > 0;
            time_critical |= assembled.time_critical;
            let still_ready = flow.is_ready();
            self.flows.touch_send(slot);
            if still_ready {
                // The packet is full, or the budget spent.
                if assembled.fragments > 0 {
                    self.flows.scheduler.rotate(slot);
                }
                break;
            }
        }
        if any {
            if time_critical {
                packet.set_time_critical();
                cx.time_critical.sent(cx.now);
            }
            self.recovery.on_data_sent(cx.now, time_critical);
            // RFC 7016 §3.6.2.6.
            self.timers.arm(Timer::Timeout, cx.now + self.rtt.erto());
            self.await_answer(cx.now);
        }
        any
    }
}
