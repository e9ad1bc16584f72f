//! Two endpoints and a line that always holds as many bytes as it is told: what a transfer costs by what is in flight.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rtmfp_core::congestion::{CongestionControl, Controller, ControllerFactory, PacketFacts, Reaction, TimeCritical};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::rand_core::Rng as _;
use rtmfp_core::{
    Bytes, Endpoint, EndpointConfig, Event, FlowOptions, Instant, InterfaceId, Path, RecvFlowHandle, RecvMeta,
    SendFlowHandle, Target, TransmitBuf,
};

use crate::duo::{TestRng, home};

/// What a packet takes to arrive; its acknowledgement comes at once.
const DELAY: Duration = Duration::from_millis(100);
/// How far a packet may be late, in packets.
const REACH: usize = 256;

/// What the line does to the packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    /// They all arrive, in order.
    Clean,
    /// One in a hundred is lost.
    Lossy,
    /// Each comes before or after any of the 256 next to it.
    Reordering,
}

/// Keeps the window as it is, whatever happens.
#[derive(Debug)]
struct Fixed(u64);

impl Controller for Fixed {
    fn on_packet(&mut self, _: Instant, _: &PacketFacts, _: TimeCritical) -> Reaction {
        Reaction::Other
    }
    fn on_timeout(&mut self, _: Instant, _: bool) {}
    fn on_path_change(&mut self) {}
    fn window(&self) -> u64 {
        self.0
    }
}

impl ControllerFactory for Fixed {
    fn controller(&self, _: u64) -> Box<dyn Controller> {
        Box::new(Self(self.0))
    }
}

/// See the module. Endpoint 0 sends to endpoint 1 over one flow.
#[derive(Debug)]
pub struct Pipe {
    /// The endpoints.
    pub endpoints: [Endpoint; 2],
    /// Their time.
    pub now: Instant,
    /// Bytes that came back for what arrived.
    pub ack_bytes: u64,
    /// Packets that came back.
    pub acks: u64,
    /// Bytes of messages that were read.
    pub read: u64,
    /// Called around each endpoint's work, with its number: true before, false after.
    pub watch: fn(usize, bool),
    line: Line,
    /// The least time between two that arrive.
    gap: Duration,
    /// Datagrams on their way, and when they arrive.
    wire: VecDeque<(Instant, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    flow: Option<SendFlowHandle>,
    from: Option<RecvFlowHandle>,
    message: Bytes,
    buf: TransmitBuf,
    rng: TestRng,
    sent: u64,
}

impl Pipe {
    /// With `in_flight` bytes on a line, in messages of `message` bytes, after some round trips.
    ///
    /// # Panics
    /// If there is no session, or the line is not filled.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without a session should stop")]
    pub fn new(in_flight: usize, message: usize, line: Line) -> Self {
        let mut config = EndpointConfig::default();
        (config.max_recv_memory, config.max_send_memory) = (4 << 30, 4 << 30);
        (config.session.max_recv_bytes, config.session.max_send_bytes) = (1 << 30, 1 << 30);
        (config.session.recv_buffer, config.session.send_buffer) = (256 << 20, 256 << 20);
        config.session.congestion = CongestionControl::Custom(Arc::new(Fixed(in_flight as u64)));
        let now = Instant::from_millis(1_000);
        let endpoints = ["a", "b"].map(|name| {
            let profile = Arc::new(PlainProfile::new(name.as_bytes()));
            Endpoint::new(config.clone(), profile, Box::new(TestRng(name.len() as u64)), now).expect("valid")
        });
        let mut pipe = Self {
            endpoints,
            now,
            ack_bytes: 0,
            acks: 0,
            read: 0,
            watch: |_, _| {},
            line: Line::Clean,
            gap: Duration::ZERO,
            wire: VecDeque::new(),
            spare: Vec::new(),
            flow: None,
            from: None,
            message: Bytes::from(vec![7; message]),
            buf: TransmitBuf::new(8),
            rng: TestRng(9),
            sent: 0,
        };
        pipe.connect();
        pipe.send();
        // The receiver's window opens by itself.
        let mut steps = 0;
        while pipe.outstanding() < in_flight as u64 * 9 / 10 {
            assert!(steps < 10_000, "{} bytes are in flight, not {in_flight}", pipe.outstanding());
            pipe.packets(100);
            steps += 1;
        }
        pipe.line = line;
        let packets = in_flight as u32 / 1_100;
        let mut round_trips = 3;
        if line == Line::Reordering {
            // How late a packet is can be seen only if time passes between them. The sender learns it in some round trips,
            // and repeats much until then.
            (pipe.gap, round_trips) = (DELAY / packets, (20_000 / u64::from(packets)).clamp(4, 20));
        }
        pipe.packets(u64::from(packets) * round_trips);
        (pipe.ack_bytes, pipe.acks, pipe.read) = (0, 0, 0);
        pipe
    }

    /// Bytes that the sender has in flight.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        let session = self.endpoints[0].sessions().next().and_then(|session| self.endpoints[0].session(session));
        session.map_or(0, |session| session.stats().outstanding)
    }

    #[expect(clippy::expect_used, reason = "a test without a session should stop")]
    fn connect(&mut self) {
        let path = Path::new(InterfaceId(0), home(1));
        let session = self.endpoints[0].open(self.now, Target::new(b"b".to_vec(), path)).expect("room");
        for _ in 0..10 {
            self.send();
            while let Some((_, datagram)) = self.wire.pop_front() {
                self.hand_over(1, datagram);
            }
            self.answer();
        }
        while self.endpoints[0].poll_event().is_some() {}
        let mut session = self.endpoints[0].session_mut(self.now, session).expect("a session");
        self.flow = Some(session.open_flow(FlowOptions::new("bulk")).expect("a flow"));
    }

    /// Lets so many packets arrive, and the sender send what it may in their place.
    pub fn packets(&mut self, count: u64) {
        for _ in 0..count {
            self.now = self.wire.front().map_or(self.now + DELAY, |(at, _)| self.now.max(*at));
            self.arrive();
            self.answer();
            self.send();
            for end in 0..2 {
                (self.watch)(end, true);
                if self.endpoints[end].poll_timeout().is_some_and(|at| at <= self.now) {
                    self.endpoints[end].handle_timeout(self.now);
                }
                (self.watch)(end, false);
            }
        }
    }

    /// The next packet arrives, unless it is lost.
    fn arrive(&mut self) {
        let draw = self.rng.next_u32() as usize;
        if self.line == Line::Reordering && self.wire.len() > REACH {
            // The packets change places, and not their times.
            let place = 1 + draw % (REACH - 1);
            let other = std::mem::take(&mut self.wire[place].1);
            self.wire[place].1 = std::mem::replace(&mut self.wire[0].1, other);
        }
        let Some((_, datagram)) = self.wire.pop_front() else { return };
        if self.line == Line::Lossy && draw.is_multiple_of(100) {
            self.spare.push(datagram);
            return;
        }
        self.hand_over(1, datagram);
        (self.watch)(1, true);
        while let Some(event) = self.endpoints[1].poll_event() {
            if let Event::FlowOpened { flow } = event {
                self.from = Some(flow);
            }
        }
        if let Some(mut flow) = self.from.and_then(|flow| self.endpoints[1].recv_flow_mut(self.now, flow)) {
            while let Some(message) = flow.read() {
                self.read += message.data.len() as u64;
            }
        }
        (self.watch)(1, false);
    }

    fn hand_over(&mut self, to: usize, mut datagram: Vec<u8>) {
        let path = Path::new(InterfaceId(0), home(1 - to));
        (self.watch)(to, true);
        let _ = self.endpoints[to].handle_datagram(self.now, path, RecvMeta::default(), &mut datagram);
        (self.watch)(to, false);
        self.spare.push(datagram);
    }

    /// What the receiver says is heard at once.
    fn answer(&mut self) {
        loop {
            (self.watch)(1, true);
            let transmit = self.endpoints[1].poll_transmit(self.now, &mut self.buf);
            (self.watch)(1, false);
            if transmit.is_none() {
                return;
            }
            let datagrams: Vec<Vec<u8>> = self.buf.datagrams().map(<[u8]>::to_vec).collect();
            for datagram in datagrams {
                self.ack_bytes += datagram.len() as u64;
                self.acks += 1;
                self.hand_over(0, datagram);
            }
        }
    }

    /// The sender writes and sends what it may.
    fn send(&mut self) {
        (self.watch)(0, true);
        while let Some(mut flow) = self.flow.and_then(|flow| self.endpoints[0].send_flow_mut(self.now, flow))
            && flow.write(self.message.clone()).is_ok()
        {}
        while self.endpoints[0].poll_event().is_some() {}
        while self.endpoints[0].poll_transmit(self.now, &mut self.buf).is_some() {
            (self.watch)(0, false);
            for datagram in self.buf.datagrams() {
                let mut bytes = self.spare.pop().unwrap_or_default();
                bytes.clear();
                bytes.extend_from_slice(datagram);
                let at = self.wire.back().map_or(Instant::ORIGIN, |(last, _)| *last + self.gap).max(self.now + DELAY);
                self.wire.push_back((at, bytes));
                self.sent += 1;
            }
            (self.watch)(0, true);
        }
        (self.watch)(0, false);
    }

    /// Bytes of memory that the line itself takes.
    #[must_use]
    pub fn line_memory(&self) -> usize {
        let datagrams = self.wire.iter().map(|(_, bytes)| bytes).chain(&self.spare).map(Vec::capacity).sum::<usize>();
        datagrams + (self.wire.capacity() + self.spare.capacity()) * size_of::<(Instant, Vec<u8>)>()
    }
}
