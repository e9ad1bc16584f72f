//! Building flights: what goes into the packets of one session, and in which order.
//!
//! A packet holds, as far as it has room: closes, ping replies and pings; acknowledgements, with an ECN report before
//! the first; buffer probes; forwarded hellos; and user data while the budget allows. Whatever is not user data is
//! never held back by the congestion window. The datagrams of a flight are of one length but the last, so only
//! packets filled with user data are sent in number.

use alloc::vec::Vec;

use super::context::Context;
use super::control::liveness::Liveness;
use super::control::{Control, OffPathProbe};
use super::delivery::Delivery;
use super::lifecycle::Lifecycle;
use super::transport::{GROWTH_RESERVE, Transport, mtu};
use crate::config::Priority;
use crate::handle::SessionHandle;
use crate::invariant::cannot_happen;
use crate::time::Instant;
use crate::trace::TraceEvent;
use crate::transmit::{Path, Span, Transmit, TransmitBuf};
use crate::wire::{CHUNK_HEADER_LEN, Chunks, PacketHeader, PacketWriter, Padding, Ping, PingReply, session_id};

/// Padding for a first packet with room left: sequence numbers take a little more space in the packets after it.
const FIRST_PADDING: usize = 24;
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

/// What there is to send. It looks at the parts of a session.
#[derive(Clone, Copy)]
pub(crate) struct Demand<'a> {
    pub(super) lifecycle: &'a Lifecycle,
    pub(super) transport: &'a Transport,
    pub(super) delivery: &'a Delivery,
    pub(super) control: &'a Control,
    pub(super) liveness: &'a Liveness,
}

impl Demand<'_> {
    /// Anything.
    #[inline]
    pub(crate) fn any(self) -> bool {
        self.transport.link.is_some()
            && (self.control.is_off_path_due() || self.probe().is_some() || self.for_own_path())
    }

    /// The priority of the most urgent user data: None for control only. The endpoint serves sessions in this order.
    #[inline]
    pub(crate) fn priority(self) -> Option<Priority> {
        self.delivery.sending.flows.scheduler.highest().filter(|_| self.for_data())
    }

    /// Over which path the next flight goes.
    pub(crate) fn next_path(self) -> Option<Path> {
        self.control.next_off_path().or_else(|| self.transport.path())
    }

    /// Anything for the session's own path but a probe.
    fn for_own_path(self) -> bool {
        self.for_control() || self.for_data()
    }

    /// Anything but user data and a probe for the session's own path.
    fn for_control(self) -> bool {
        self.lifecycle.is_due() || self.liveness.is_ping_due() || self.control.is_due() || self.delivery.has_control()
    }

    /// User data that may be sent.
    fn for_data(self) -> bool {
        self.lifecycle.is_open() && self.delivery.sending.may_send()
    }

    /// The size of the datagram to probe the path with, and its Ping's message: only while data is sent, since
    /// nothing else needs large datagrams, only with a round-trip time to judge the wait by, and not while nothing is
    /// answered: that would prove nothing of the size.
    fn probe(self) -> Option<(usize, [u8; mtu::MESSAGE_LEN])> {
        let recovery = &self.delivery.sending.recovery;
        let wanted = self.lifecycle.is_open()
            && !recovery.in_flight.is_empty()
            && !recovery.is_backed_off()
            && self.transport.rtt.srtt().is_some();
        self.transport.mtu.probe_due().filter(|_| wanted)
    }
}

/// What packets are built from. It borrows the parts of a session for one call.
pub(super) struct Packetizer<'a> {
    pub(super) session: SessionHandle,
    pub(super) lifecycle: &'a mut Lifecycle,
    pub(super) transport: &'a mut Transport,
    pub(super) delivery: &'a mut Delivery,
    pub(super) control: &'a mut Control,
    pub(super) liveness: &'a mut Liveness,
}

impl Packetizer<'_> {
    fn demand(&self) -> Demand<'_> {
        let Self { lifecycle, transport, delivery, control, liveness, .. } = self;
        Demand { lifecycle, transport, delivery, control, liveness }
    }

    /// The most bytes of a datagram after the scrambled session ID.
    fn packet_room(&self) -> usize {
        self.transport.packet_room(self.delivery.sending.window())
    }

    fn outgoing_path(&self) -> Option<Path> {
        self.transport.outgoing_path(self.lifecycle.is_open())
    }

    /// Fills a flight: scrambled session IDs, plain packets, sealed. None: nothing to send.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, buf: &mut TransmitBuf) -> Option<Transmit> {
        buf.clear();
        let max_segments = buf.max_segments();
        let (bytes, spans) = buf.parts_mut();
        // Nothing is known of another path, and a probe that arrives in fragments proves nothing.
        let (path, may_fragment, data) = match self.build_off_path(cx.now, bytes, spans) {
            Some(path) => (path, true, false),
            None if self.build_probe(cx.now, bytes, spans) => (self.outgoing_path()?, false, false),
            None => {
                let data = self.build_flight(cx, bytes, spans, max_segments);
                (self.outgoing_path()?, self.transport.mtu.may_fragment(), data)
            }
        };
        trace_sent(cx, path, bytes, spans);
        let transmit = self.transport.seal(path, data, bytes, spans);
        transmit.map(|transmit| Transmit { may_fragment, ..transmit })
    }

    /// A Ping or Ping Reply for a path that is not (yet) the session's, alone in its packet. It bears no timestamps,
    /// as they would measure that path, unless the far end reads one in every packet.
    fn build_off_path(&mut self, now: Instant, bytes: &mut Vec<u8>, spans: &mut Vec<Span>) -> Option<Path> {
        let OffPathProbe { path, message, reply } = self.control.take_off_path()?;
        let (mut span, capacity) = self.transport.begin(bytes, 0, self.packet_room())?;
        let mut packet = PacketWriter::new(bytes, capacity);
        packet.header(&self.transport.bare_header(now));
        let fits = match reply {
            true => packet.push(&PingReply { message: &message }),
            false => packet.push(&Ping { message: &message }),
        };
        span.plain = packet.len();
        if !fits {
            bytes.clear();
            return None;
        }
        self.transport.finish(bytes, &mut span);
        spans.push(span);
        Some(path)
    }

    /// A path MTU probe (RFC 7016 §3.5.4.3): the Ping behind the Padding, so that a datagram that arrives cut short
    /// proves nothing.
    fn build_probe(&mut self, now: Instant, bytes: &mut Vec<u8>, spans: &mut Vec<Span>) -> bool {
        let Some((size, message)) = self.demand().probe() else {
            return false;
        };
        self.transport.mtu.probe_sent(now, self.transport.rtt.erto());
        let Some((mut span, capacity)) = self.transport.begin(bytes, 0, size - session_id::LEN) else {
            return cannot_happen!(false, "an open session has keys");
        };
        let mut packet = PacketWriter::new(bytes, capacity);
        packet.header(&self.transport.bare_header(now));
        let length = packet.remaining().saturating_sub(CHUNK_HEADER_LEN + message.len());
        packet.push(&Padding { length });
        packet.push(&Ping { message: &message });
        span.plain = packet.len();
        self.transport.finish(bytes, &mut span);
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
        let alone = !first.data || !fitting || !self.demand().for_data() || self.demand().for_control();
        if !alone && max_segments > 1 {
            let size = full.min(first.span.sealed + FIRST_PADDING);
            self.pad_data(bytes, &mut first.span, size);
        }
        let size = first.span.sealed;
        spans.push(first.span);
        if alone {
            return first.data;
        }
        while spans.len() < max_segments
            && bytes.len() + size < MAX_FLIGHT
            && self.demand().for_data()
            && !self.demand().for_control()
        {
            let Some(mut next) = self.build(cx, bytes, spans.len(), size) else {
                break;
            };
            self.pad_data(bytes, &mut next.span, size);
            spans.push(next.span);
            if next.span.sealed < size {
                break;
            }
        }
        true
    }

    /// Brings the last packet, which holds user data, to the length `sealed`, if little is missing. Its loss says something
    /// of that size.
    fn pad_data(&mut self, bytes: &mut Vec<u8>, span: &mut Span, sealed: usize) {
        self.transport.pad(bytes, span, sealed);
        self.delivery.sending.recovery.in_flight.mark_packet(span.plain);
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
            && let Some(chunks) = self.delivery.receiving.acks.first_encoded()
            && let base = bytes.len()
            && let Some((mut span, capacity)) = self.transport.begin(bytes, spans.len(), room)
        {
            let fields = self.transport.rtt.fields(cx.now);
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
            self.transport.finish(bytes, &mut span);
            self.delivery.receiving.acks.encoded_sent();
            self.transport.rtt.sent(fields);
            if spans.is_empty() {
                room = span.sealed;
            } else {
                self.transport.pad(bytes, &mut span, room);
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
        let mut bytes = self.delivery.receiving.acks.take_scratch();
        let chunks = self.chunks_of_acks(&mut bytes);
        if !chunks.is_empty() {
            self.delivery.receiving.acks.queue_encoded(chunks);
        }
        self.delivery.receiving.acks.give_scratch_back(bytes);
    }

    /// Has all that has arrived and is not lost with the session acknowledged once more, along with the request to close
    /// it.
    pub(super) fn encode_farewell(&mut self) {
        self.delivery.receiving.acknowledge_kept();
        let mut bytes = Vec::new();
        let chunks = self.chunks_of_acks(&mut bytes);
        self.lifecycle.set_farewell(chunks);
    }

    /// As many acknowledgements of those that are due as one packet holds. `bytes`: where they are put together.
    fn chunks_of_acks<'b>(&mut self, bytes: &'b mut Vec<u8>) -> &'b [u8] {
        let header = PacketHeader::new(self.transport.mode());
        let room = self.transport.single_chunk_room(self.delivery.sending.window());
        let mut packet = PacketWriter::new(bytes, header.encoded_len() + CHUNK_HEADER_LEN + room);
        packet.header(&header);
        self.write_acks(&mut packet);
        bytes.get(header.encoded_len()..).unwrap_or_default()
    }

    /// Acknowledgements, as far as they are allowed.
    fn write_acks(&mut self, packet: &mut PacketWriter<'_>) {
        let receiving = &mut self.delivery.receiving;
        if receiving.flows.is_ack_due() {
            let overhead = self.transport.overhead(self.delivery.sending.window());
            receiving.acks.write(&mut receiving.flows, packet, &mut self.transport.ecn, overhead);
        } else {
            receiving.acks.all_sent();
        }
    }

    /// The header of a packet for the session's path.
    fn header(&self, cx: &Context<'_>, fields: (Option<u16>, Option<u16>)) -> PacketHeader {
        PacketHeader {
            // RFC 7016 §2.2.4: told to this far end if another is sending time critical data.
            time_critical_reverse: cx.time_critical.received_lately_by_another(self.session, cx.now),
            timestamp: fields.0,
            timestamp_echo: fields.1,
            ..PacketHeader::new(self.transport.mode())
        }
    }

    /// Builds one packet of at most `room` bytes behind the session ID. None: nothing could be sent.
    fn build(&mut self, cx: &mut Context<'_>, bytes: &mut Vec<u8>, ahead: usize, room: usize) -> Option<Built> {
        let base = bytes.len();
        if let Some(built) = self.build_as(cx, bytes, ahead, room, Layout::Reserve) {
            return Some(built);
        }
        bytes.truncate(base);
        if self.demand().for_own_path() { self.build_tighter(cx, bytes, ahead, room) } else { None }
    }

    /// There is something to send that does not fit a packet with room to spare.
    #[cold]
    fn build_tighter(&mut self, cx: &mut Context<'_>, bytes: &mut Vec<u8>, ahead: usize, room: usize) -> Option<Built> {
        let base = bytes.len();
        // A fragment that was cut for the base size may have to be sent on a path that carries less, or so it seems.
        let full = self.packet_room();
        // Only at the head of a flight, as the others are not longer than the first.
        let may_be_last_resort = ahead == 0 && room == full;
        let larger = may_be_last_resort.then(|| self.transport.base_room()).filter(|base| *base > full);
        let may_be_bare = !self.transport.rtt.stamps_every_packet();
        let layouts = |room| [Layout::Reserve, Layout::Full, Layout::Bare].map(|layout| (room, layout));
        let larger = larger.map(layouts).into_iter().flatten();
        let tighter = layouts(room).into_iter().skip(1).chain(larger);
        for (room, layout) in tighter.filter(|&(_, layout)| may_be_bare || layout != Layout::Bare) {
            if let Some(built) = self.build_as(cx, bytes, ahead, room, layout) {
                return Some(built);
            }
            bytes.truncate(base);
            if !self.demand().for_own_path() {
                return None;
            }
        }
        // A flow that is ready but whose next fragment fits no packet would make every poll a vain one.
        if may_be_last_resort && let Some((slot, _)) = self.delivery.sending.flows.scheduler.peek() {
            self.delivery.sending.flows.scheduler.remove(slot);
        }
        None
    }

    fn build_as(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut Vec<u8>,
        ahead: usize,
        room: usize,
        layout: Layout,
    ) -> Option<Built> {
        let (mut span, capacity) = self.transport.begin(bytes, ahead, room)?;
        let fields = match layout {
            // Timestamps belong to S_OPEN (RFC 7016 §3.5.2.2).
            Layout::Reserve | Layout::Full if self.lifecycle.is_open() || self.transport.rtt.stamps_every_packet() => {
                self.transport.rtt.fields(cx.now)
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
        self.lifecycle.write(&mut packet);
        if self.control.write_replies(&mut packet) {
            self.liveness.write_ping(&mut packet);
        }
        if self.delivery.receiving.acks.is_now() || self.demand().for_data() {
            self.write_acks(&mut packet);
        }
        let erto = self.transport.rtt.erto();
        self.delivery.sending.flows.write_probes(cx.now, &mut packet, erto);
        self.control.write_forwards(&mut packet);
        let data = self.demand().for_data() && {
            let base = self.transport.fragment_limit(span.front);
            self.delivery.sending.write_data(cx, &mut packet, base, erto)
        };
        if data {
            self.liveness.await_answer(cx.now);
        }
        span.plain = packet.len();
        if !packet.has_chunks() {
            return None;
        }
        self.transport.finish(bytes, &mut span);
        self.transport.rtt.sent(fields);
        Some(Built { span, data })
    }
}

/// Tells of the packets of a flight, which are not sealed yet.
fn trace_sent(cx: &mut Context<'_>, path: Path, bytes: &[u8], spans: &[Span]) {
    if cx.events.tracer.is_on() {
        for span in spans {
            let plain = bytes.get(span.start + span.front..).and_then(|rest| rest.get(..span.plain));
            let plain = plain.unwrap_or_else(|| cannot_happen!(&[], "a span is within the flight"));
            cx.events.trace(|| TraceEvent::PacketSent { path, size: span.sealed + session_id::LEN, plain });
        }
    }
}
