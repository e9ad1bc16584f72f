//! A network of two sessions: a wire with a delay, a filter, and a record of all that was sent.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::convert::Infallible;
use core::net::{Ipv4Addr, SocketAddr};
use core::ops::Range;
use core::time::Duration;

use bytes::Bytes;
use rand_core::{TryCryptoRng, TryRng};

use crate::config::{FlowOptions, SendOptions, SessionConfig};
use crate::error::DropReason;
use crate::event::{Event, EventQueue};
use crate::handle::{RecvFlowHandle, SendFlowHandle, SessionHandle};
use crate::profile::{PacketError, SessionKeys};
use crate::session::{Context, Established, ReceivedForward, Role, Session, TimeCriticalClock};
use crate::stats::EndpointStats;
use crate::time::Instant;
use crate::transmit::{Ecn, InterfaceId, Path, RecvMeta, Span, TransmitBuf};
use crate::wire::{Chunk, PacketHeader, session_id};

/// The two ends.
pub(super) const A: usize = 0;
pub(super) const B: usize = 1;

/// Keys that hide nothing: one byte in front, one behind.
#[derive(Debug)]
pub(super) struct GlassKeys {
    pub(super) authenticates: bool,
}

const FRONT: u8 = 0x5f;
const BACK: u8 = 0x5b;

impl SessionKeys for GlassKeys {
    fn front_len(&self, _ahead: usize) -> usize {
        1
    }
    fn sealed_len(&self, front: usize, plain: usize) -> usize {
        front + plain + 1
    }
    fn plain_capacity(&self, front: usize, room: usize) -> usize {
        room.saturating_sub(front + 1)
    }
    fn seal(&mut self, bytes: &mut [u8], packets: &[Span]) {
        for span in packets {
            assert_eq!(span.sealed, span.front + span.plain + 1);
            bytes[span.start] = FRONT;
            bytes[span.start + span.sealed - 1] = BACK;
        }
    }
    fn open(&mut self, encrypted: &mut [u8]) -> Result<Range<usize>, PacketError> {
        match encrypted {
            [FRONT, plain @ .., BACK] => Ok(1..1 + plain.len()),
            _ => Err(PacketError::NotAuthentic),
        }
    }
    fn near_nonce(&self) -> &[u8] {
        b"near"
    }
    fn far_nonce(&self) -> &[u8] {
        b"far"
    }
    fn authenticates(&self) -> bool {
        self.authenticates
    }
}

/// A generator that counts.
#[derive(Debug)]
pub(super) struct CountingRng(u64);

impl TryRng for CountingRng {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|value| value as u32)
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Ok(self.0)
    }
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for byte in dst {
            *byte = self.try_next_u64()?.to_be_bytes()[0];
        }
        Ok(())
    }
}

impl TryCryptoRng for CountingRng {}

/// What a session's endpoint would hold.
pub(super) struct End {
    pub(super) session: Session,
    pub(super) queue: EventQueue,
    /// Events taken from the queue so far.
    pub(super) events: Vec<Event>,
    pub(super) rng: CountingRng,
    pub(super) time_critical: TimeCriticalClock,
    pub(super) forwarded: VecDeque<ReceivedForward>,
    pub(super) stats: EndpointStats,
    /// The address that its packets come from.
    pub(super) address: SocketAddr,
    /// All bytes read from each flow.
    pub(super) read: Vec<(RecvFlowHandle, Bytes)>,
    pub(super) reads: bool,
}

impl End {
    /// Calls the session with its context.
    pub(super) fn with<T>(&mut self, now: Instant, call: impl FnOnce(&mut Session, &mut Context<'_>) -> T) -> T {
        let mut context = Context {
            now,
            events: &mut self.queue,
            rng: &mut self.rng,
            time_critical: &mut self.time_critical,
            forwarded: &mut self.forwarded,
            stats: &mut self.stats,
        };
        call(&mut self.session, &mut context)
    }

    /// Takes the new events, and reads what can be read.
    fn take_events(&mut self, now: Instant) {
        while let Some(event) = self.queue.pop() {
            if let Event::FlowReadable { flow } = event
                && self.reads
            {
                while let Some(message) =
                    self.with(now, |session, cx| session.command(cx, |delivery, cx| delivery.receiving.read(cx, flow)))
                {
                    self.read.push((flow, message.data));
                }
            }
            self.events.push(event);
        }
    }

    pub(super) fn opened_flow(&self) -> RecvFlowHandle {
        let opened = self
            .events
            .iter()
            .find_map(|event| if let Event::FlowOpened { flow } = event { Some(*flow) } else { None });
        opened.expect("a flow was opened")
    }

    pub(super) fn bytes_read(&self) -> usize {
        self.read.iter().map(|(_, data)| data.len()).sum()
    }
}

/// A packet that was sent, whether it arrived or not.
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) from: usize,
    pub(super) to: Path,
    pub(super) ecn: Option<Ecn>,
    pub(super) plain: Vec<u8>,
    pub(super) datagram_len: usize,
    pub(super) may_fragment: bool,
    /// Its place in its flight.
    pub(super) index: usize,
}

impl Sent {
    pub(super) fn header(&self) -> PacketHeader {
        PacketHeader::parse(&self.plain).unwrap().0
    }
    pub(super) fn chunks(&self) -> Vec<Chunk<'_>> {
        PacketHeader::parse(&self.plain).unwrap().1.map(Result::unwrap).collect()
    }
    /// Type codes of the chunks.
    pub(super) fn kinds(&self) -> Vec<u8> {
        let mut chunks = PacketHeader::parse(&self.plain).unwrap().1;
        core::iter::from_fn(|| chunks.next_raw().map(|(kind, _)| kind)).collect()
    }
    pub(super) fn has(&self, kind: u8) -> bool {
        self.kinds().contains(&kind)
    }
    pub(super) fn has_data(&self) -> bool {
        self.has(USER_DATA)
    }
    pub(super) fn has_ack(&self) -> bool {
        self.has(ACK_RANGES) || self.has(ACK_BITMAP)
    }
    pub(super) fn millis(&self) -> u64 {
        self.at.as_micros() / 1_000
    }
}

pub(super) const PING: u8 = 0x01;
pub(super) const PING_REPLY: u8 = 0x41;
pub(super) const USER_DATA: u8 = 0x10;
pub(super) const NEXT_USER_DATA: u8 = 0x11;
pub(super) const ACK_BITMAP: u8 = 0x50;
pub(super) const ACK_RANGES: u8 = 0x51;
pub(super) const BUFFER_PROBE: u8 = 0x18;
pub(super) const EXCEPTION: u8 = 0x5e;
pub(super) const CLOSE: u8 = 0x0c;
pub(super) const CLOSE_ACK: u8 = 0x4c;
pub(super) const FORWARDED_HELLO: u8 = 0x0f;
pub(super) const ECN_REPORT: u8 = 0xec;

struct Flying {
    to: usize,
    path: Path,
    ecn: Option<Ecn>,
    bytes: Vec<u8>,
}

/// What becomes of a packet on the wire.
pub(super) type Filter = Box<dyn FnMut(&Sent) -> Fate>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Arrives,
    Lost,
    /// Arrives with this mark.
    Marked(Option<Ecn>),
}

pub(super) struct Network {
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    pub(super) delay: Duration,
    pub(super) filter: Filter,
    pub(super) sent: Vec<Sent>,
    pub(super) segments: usize,
    /// Packets that arrive together are all handled before anything is sent.
    pub(super) batched: bool,
    air: BTreeMap<(Instant, u64), Flying>,
    serial: u64,
}

pub(super) fn address(end: usize, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1 + end as u8), port))
}

pub(super) fn path_to(end: usize) -> Path {
    Path::new(InterfaceId(0), address(end, 1_935))
}

pub(super) const START: Instant = Instant::from_millis(1_000_000);

pub(super) fn at(millis: u64) -> Instant {
    START + Duration::from_millis(millis)
}

fn end(index: usize, config: SessionConfig) -> End {
    let role = if index == A { Role::Initiator } else { Role::Responder };
    let handle = SessionHandle { slot: 7, generation: index as u32 };
    End {
        session: Session::new(handle, role, config, START),
        queue: EventQueue::default(),
        events: Vec::new(),
        rng: CountingRng(index as u64),
        time_critical: TimeCriticalClock::default(),
        forwarded: VecDeque::new(),
        stats: EndpointStats::default(),
        address: address(index, 1_935),
        read: Vec::new(),
        reads: true,
    }
}

impl Network {
    /// Two sessions that are opening.
    pub(super) fn opening(config: SessionConfig) -> Self {
        Self {
            now: START,
            ends: [end(A, config.clone()), end(B, config)],
            delay: Duration::from_millis(20),
            filter: Box::new(|_| Fate::Arrives),
            sent: Vec::new(),
            segments: 16,
            batched: false,
            air: BTreeMap::new(),
            serial: 0,
        }
    }

    /// Two open sessions, 20 ms apart, that do not look for larger datagrams than the base.
    pub(super) fn open(config: SessionConfig) -> Self {
        Self::open_discovering(SessionConfig { max_datagram: 0, ..config })
    }

    /// Two open sessions, 20 ms apart.
    pub(super) fn open_discovering(config: SessionConfig) -> Self {
        let mut network = Self::opening(config);
        network.establish(true);
        network
    }

    pub(super) fn establish(&mut self, authenticates: bool) {
        self.establish_over(InterfaceId(0), authenticates);
    }

    pub(super) fn establish_over(&mut self, interface: InterfaceId, authenticates: bool) {
        for end in [A, B] {
            let established = Established {
                keys: Box::new(GlassKeys { authenticates }),
                tx_id: 101 - end as u32,
                path: Path::new(interface, address(1 - end, 1_935)),
                far_certificate: Bytes::from_static(b"certificate"),
            };
            self.with(end, |session, cx| session.establish(cx, established));
        }
    }

    /// A command to one end's session.
    pub(super) fn with<T>(&mut self, end: usize, call: impl FnOnce(&mut Session, &mut Context<'_>) -> T) -> T {
        let now = self.now;
        let result = self.ends[end].with(now, call);
        self.ends[end].take_events(now);
        result
    }

    pub(super) fn open_flow(&mut self, end: usize) -> SendFlowHandle {
        self.open_flow_with(end, FlowOptions::new("test"))
    }

    /// Takes all that its buffer holds at once, sent or not, unless the options limit that.
    pub(super) fn open_flow_with(&mut self, end: usize, mut options: FlowOptions) -> SendFlowHandle {
        options.unsent_limit = options.unsent_limit.or(Some(usize::MAX));
        self.with(end, |session, cx| session.open_flow(cx, options)).unwrap()
    }

    pub(super) fn write(&mut self, end: usize, flow: SendFlowHandle, length: usize) {
        let data = Bytes::from(alloc::vec![b'x'; length]);
        self.with(end, |session, cx| {
            session.command(cx, |delivery, cx| delivery.sending.flows.write(cx, flow, data, SendOptions::default()))
        })
        .unwrap();
    }

    /// Sends all that can be sent now, and checks what is promised of `poll_transmit`.
    pub(super) fn pump(&mut self) {
        for from in [A, B] {
            let mut polls = 0;
            while self.ends[from].session.demand().any() {
                assert!(self.poll(from), "wants_transmit was true, and nothing came");
                polls += 1;
                assert!(polls < 10_000, "polls without end");
            }
            assert!(!self.poll(from), "wants_transmit was false, and something came");
        }
    }

    /// Sends one flight.
    pub(super) fn poll(&mut self, from: usize) -> bool {
        let config = &self.ends[from].session.config;
        let (now, limit) = (self.now, config.max_datagram.max(config.base_datagram));
        let mut buf = TransmitBuf::new(self.segments);
        let Some(transmit) = self.ends[from].with(now, |session, cx| session.poll_transmit(cx, &mut buf)) else {
            return false;
        };
        self.ends[from].take_events(now);
        assert_eq!(transmit.len, buf.as_slice().len());
        let datagrams: Vec<&[u8]> = buf.datagrams().collect();
        assert!(datagrams.len() <= self.segments);
        assert_eq!(transmit.segment_size.is_some(), datagrams.len() > 1);
        assert_eq!(datagrams.concat(), buf.as_slice(), "datagrams stand end to end");
        for (index, datagram) in datagrams.iter().enumerate() {
            assert!(datagram.len() <= limit, "a datagram of {} bytes", datagram.len());
            if let Some(size) = transmit.segment_size {
                let last = index + 1 == datagrams.len();
                assert!(datagram.len() == size || (last && datagram.len() < size), "a flight of uneven lengths");
            }
            let (id, offset) = session_id::unscramble(datagram).unwrap();
            assert_eq!(id, 101 - from as u32);
            let plain = datagram[offset + 1..datagram.len() - 1].to_vec();
            let (to, ecn, datagram_len) = (transmit.path, transmit.ecn, datagram.len());
            let may_fragment = transmit.may_fragment;
            let sent = Sent { at: now, from, to, ecn, plain, datagram_len, may_fragment, index };
            let fate = (self.filter)(&sent);
            self.sent.push(sent);
            let to_end = 1 - from;
            // What is sent to where the other end is not (any more) is lost.
            if fate == Fate::Lost || transmit.path.remote != self.ends[to_end].address {
                continue;
            }
            let ecn = if let Fate::Marked(mark) = fate { mark } else { transmit.ecn };
            let path = Path::new(transmit.path.interface, self.ends[from].address);
            self.inject_at(now + self.delay, to_end, path, ecn, datagram[offset..].to_vec());
        }
        true
    }

    /// Puts an encrypted packet on the wire.
    pub(super) fn inject_at(&mut self, at: Instant, to: usize, path: Path, ecn: Option<Ecn>, bytes: Vec<u8>) {
        self.serial += 1;
        self.air.insert((at, self.serial), Flying { to, path, ecn, bytes });
    }

    /// Hands a plain packet to an end as though the other had sent it from `path`.
    pub(super) fn inject(&mut self, to: usize, path: Path, plain: &[u8]) -> Result<(), DropReason> {
        let mut bytes = [&[FRONT], plain, &[BACK]].concat();
        let handled = self.with(to, |session, cx| session.handle_packet(cx, path, RecvMeta::default(), &mut bytes));
        self.pump();
        handled
    }

    /// Lets `millis` pass.
    pub(super) fn run(&mut self, millis: u64) {
        self.run_until(self.now + Duration::from_millis(millis));
    }

    pub(super) fn run_until(&mut self, end: Instant) {
        loop {
            self.pump();
            let arrival = self.air.first_key_value().map(|(&(at, _), _)| at);
            let timers = self.ends.iter().filter_map(|end| Some(end.session.deadlines().next()?.0)).min();
            let Some(next) = arrival.into_iter().chain(timers).min().filter(|&next| next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.air.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let Flying { to, path, ecn, mut bytes } = entry.remove();
                // What a session refuses is for its endpoint to count.
                let _ = self.with(to, |session, cx| session.handle_packet(cx, path, RecvMeta { ecn }, &mut bytes));
                if !self.batched {
                    self.pump();
                }
            }
            for end in [A, B] {
                self.with(end, |session, cx| session.handle_timeout(cx));
                let later = self.ends[end].session.deadlines().next().is_none_or(|(at, _)| at > self.now);
                assert!(later, "a deadline is left behind: {:?}", self.ends[end].session.deadlines().next());
            }
        }
    }

    /// Packets sent by one end that meet a condition.
    pub(super) fn sent_by(&self, from: usize, meets: impl Fn(&Sent) -> bool) -> Vec<&Sent> {
        self.sent.iter().filter(|sent| sent.from == from && meets(sent)).collect()
    }

    /// When they were sent, in milliseconds after the start.
    pub(super) fn times(&self, from: usize, meets: impl Fn(&Sent) -> bool) -> Vec<u64> {
        self.sent_by(from, meets).iter().map(|sent| sent.millis() - START.as_micros() / 1_000).collect()
    }
}
