//! Receivers that lie to a bulk sender, for every congestion controller. The sender puts hardly more into a line with a
//! queue than for an honest receiver, and holds no more memory.

#![expect(clippy::wildcard_enum_match_arm, reason = "a conduct is honest in all that is not named")]

use std::collections::VecDeque;
use std::time::Duration;

use rtmfp_core::congestion::CongestionControl;
use rtmfp_core::wire::{AckRanges, Chunk, EcnReport, PacketHeader, PacketWriter};
use rtmfp_core::{
    Bytes, CloseReason, Endpoint, EndpointConfig, Event, FlowOptions, Instant, InterfaceId, Path, RecvMeta,
    SendFlowHandle, SendOptions, SessionHandle, TransmitBuf,
};
use rtmfp_tests::counting::held;
use rtmfp_tests::raw_peer::RawPeer;

use super::memory::{MIB, peer, victim};
use super::strangers::START;

/// Bytes a second of the line: 10 Mbit/s.
const RATE: u64 = 1_250_000;
/// One way.
const DELAY: Duration = Duration::from_millis(25);
/// Bytes that wait before the line: those of a round trip.
const QUEUE: u64 = 62_500;
/// With a round trip as short, and next to nothing that waits before the line, the default controller does not fill its
/// window. Less than half of it may be in flight.
const SHORT_DELAY: Duration = Duration::from_millis(5);
const SHORT_QUEUE: u64 = 3_000;
const STEP: Duration = Duration::from_micros(500);
const SECONDS: u64 = 10;

/// What a receiver does with the packets that come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Conduct {
    Honest,
    /// Acknowledges all up to what came last, lost or not.
    Conceals,
    /// Acknowledges what may be on its way, too.
    Guesses,
    /// Acknowledges each packet eight times.
    Repeats,
    /// Acknowledges each fragment in a packet of its own.
    Splits,
    /// Advertises a window without end.
    BoundlessWindow,
    /// Advertises nothing, one block and all in turn.
    WindowGames,
    /// Keeps acknowledgements back for half a second, and then sends all at once.
    Withholds,
    /// Echoes timestamps that make round trips short, or long.
    ShortEchoes,
    LongEchoes,
    /// Reports marks that nobody made.
    ForgesMarks,
    /// Leaves gaps that it fills a moment later, so that losses seem to be none.
    FeignsReordering,
}

use Conduct::{
    BoundlessWindow, Conceals, FeignsReordering, ForgesMarks, Guesses, Honest, LongEchoes, Repeats, ShortEchoes,
    Splits, WindowGames, Withholds,
};

/// The world: a sender, a line, and a receiver.
struct World {
    victim: Endpoint,
    peer: RawPeer,
    session: SessionHandle,
    flow: SendFlowHandle,
    /// Bytes a second of the line.
    rate: u64,
    delay: Duration,
    queue: u64,
    /// Why the sender has ended the session.
    closed: Option<CloseReason>,
    now: Instant,
    /// When the line is free again.
    free: Instant,
    /// Plain packets on their way to the receiver.
    data: VecDeque<(Instant, Vec<u8>)>,
    /// Datagrams on their way back.
    acks: VecDeque<(Instant, Vec<u8>)>,
    receiver: Receiver,
    sent: u64,
    dropped: u64,
    most_held: isize,
    before: isize,
}

#[derive(Default)]
struct Receiver {
    /// What came, as ranges.
    seen: Vec<(u64, u64)>,
    packets: u64,
    /// Sequence numbers that came last, and are not acknowledged yet.
    fresh: Vec<u64>,
    timestamp: Option<u16>,
    released: Option<Instant>,
}

impl Receiver {
    fn see(&mut self, sequence: u64) {
        let at = self.seen.partition_point(|range| range.1 + 1 < sequence);
        match self.seen.get_mut(at) {
            Some(range) if range.0 <= sequence + 1 => *range = (range.0.min(sequence), range.1.max(sequence)),
            _ => self.seen.insert(at, (sequence, sequence)),
        }
        if at + 1 < self.seen.len() && self.seen[at].1 + 1 >= self.seen[at + 1].0 {
            self.seen[at].1 = self.seen[at].1.max(self.seen.remove(at + 1).1);
        }
        self.fresh.push(sequence);
        self.packets += 1;
    }

    /// The cumulative acknowledgement, and the ranges beyond.
    fn honest(&self) -> (u64, Vec<(u64, u64)>) {
        match self.seen.split_first() {
            Some((&(0..=1, last), rest)) => (last, rest.to_vec()),
            _ => (0, self.seen.clone()),
        }
    }

    /// What is told of what came: cumulative acknowledgements with ranges, each for a packet.
    fn tell(&mut self, conduct: Conduct, now: Instant) -> Vec<(u64, Vec<(u64, u64)>)> {
        let fresh = std::mem::take(&mut self.fresh);
        let highest = self.seen.last().map_or(0, |range| range.1);
        let honest = self.honest();
        match conduct {
            Conceals => vec![(highest, Vec::new())],
            Guesses => vec![(highest + self.packets.min(20) / 2, Vec::new())],
            Repeats => vec![honest; 8],
            Splits => fresh.iter().map(|&one| (honest.0.min(one), vec![(one, one)])).collect(),
            Withholds => {
                if now.saturating_duration_since(*self.released.get_or_insert(now)) < Duration::from_millis(500) {
                    return Vec::new();
                }
                self.released = Some(now);
                (0..20).rev().map(|less| (honest.0.saturating_sub(less * 10), Vec::new())).collect()
            }
            FeignsReordering if self.packets % 40 < 20 => {
                let ranges = honest.1.into_iter().chain([(honest.0, honest.0)]).filter(|range| range.0 > 2);
                let mut ranges: Vec<_> = ranges.collect();
                ranges.sort_unstable();
                vec![(honest.0.saturating_sub(2), ranges)]
            }
            FeignsReordering => vec![(highest, Vec::new())],
            _ => vec![honest],
        }
    }

    fn window(&self, conduct: Conduct, now: Instant) -> u64 {
        match conduct {
            BoundlessWindow | Conceals | Guesses => u64::MAX / 2_048,
            WindowGames => [16_384, 0, 1][(now.as_micros() / 50_000 % 3) as usize],
            _ => 16_384,
        }
    }

    fn echo(&self, conduct: Conduct) -> Option<u16> {
        let honest = self.timestamp?;
        Some(match conduct {
            ShortEchoes => honest.wrapping_add(12),
            LongEchoes => honest.wrapping_sub(250),
            _ => honest,
        })
    }
}

impl World {
    fn new(control: CongestionControl) -> Self {
        let mut config = EndpointConfig::default();
        config.session.congestion = control;
        let mut victim = victim(&config);
        let peer = peer(&mut victim, START, 1, true);
        let mut session = None;
        while let Some(event) = victim.poll_event() {
            if let Event::SessionOpened { session: opened } = event {
                session = Some(opened);
            }
        }
        let session = session.unwrap();
        let flow = victim.session_mut(START, session).unwrap().open_flow(FlowOptions::new("bulk")).unwrap();
        Self {
            victim,
            peer,
            session,
            flow,
            rate: RATE,
            delay: DELAY,
            queue: QUEUE,
            closed: None,
            now: START,
            free: START,
            data: VecDeque::new(),
            acks: VecDeque::new(),
            receiver: Receiver::default(),
            sent: 0,
            dropped: 0,
            most_held: 0,
            before: held(),
        }
    }

    /// For so many seconds, or until the session ends.
    fn run(&mut self, conduct: Conduct, seconds: u64) {
        let message = Bytes::from_static(&[7; 4_000]);
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end && self.closed.is_none() {
            self.now += STEP;
            self.deliver(conduct);
            self.victim.handle_timeout(self.now);
            while let Some(mut flow) = self.victim.send_flow_mut(self.now, self.flow)
                && flow.write_with(message.clone(), SendOptions::default()).is_ok()
            {}
            while let Some(event) = self.victim.poll_event() {
                if let Event::SessionClosed { reason, .. } = event {
                    self.closed = Some(reason);
                }
            }
            self.transmit();
            let wire: usize = self.data.iter().chain(&self.acks).map(|(_, bytes)| bytes.capacity()).sum();
            self.most_held = self.most_held.max(held() - self.before - wire as isize);
        }
    }

    /// What the sender has to send goes into the queue, or is dropped.
    fn transmit(&mut self) {
        let mut buf = TransmitBuf::new(6);
        while self.victim.poll_transmit(self.now, &mut buf).is_some() {
            for datagram in buf.datagrams() {
                let len = datagram.len() as u64;
                self.sent += len;
                let waits = self.free.saturating_duration_since(self.now);
                if waits.as_micros() as u64 * self.rate / 1_000_000 + len > self.queue {
                    self.dropped += len;
                    continue;
                }
                self.free = self.free.max(self.now) + Duration::from_micros(len * 1_000_000 / self.rate);
                if let Some((plain, true)) = self.peer.receive(datagram) {
                    self.data.push_back((self.free + self.delay, plain));
                }
            }
        }
    }

    fn deliver(&mut self, conduct: Conduct) {
        while self.data.front().is_some_and(|(at, _)| *at <= self.now) {
            let (_, plain) = self.data.pop_front().unwrap();
            if self.hear(&plain) {
                self.answer(conduct);
            }
        }
        while self.acks.front().is_some_and(|(at, _)| *at <= self.now) {
            let (_, mut datagram) = self.acks.pop_front().unwrap();
            let path = Path::new(InterfaceId(0), self.peer.address);
            let _ = self.victim.handle_datagram(self.now, path, RecvMeta::default(), &mut datagram);
        }
    }

    /// Whether there is something to answer.
    fn hear(&mut self, plain: &[u8]) -> bool {
        let (header, chunks) = PacketHeader::parse(plain).unwrap();
        self.receiver.timestamp = header.timestamp.or(self.receiver.timestamp);
        let (mut next, mut asks) = (0, false);
        for chunk in chunks.flatten() {
            if let Chunk::UserData(data) = chunk {
                next = data.sequence_number;
                self.receiver.see(next);
                asks = true;
            } else if let Chunk::NextUserData(_) = chunk {
                next += 1;
                self.receiver.see(next);
            } else if let Chunk::BufferProbe(_) = chunk {
                asks = true;
            }
        }
        asks
    }

    fn answer(&mut self, conduct: Conduct) {
        let (blocks, echo) = (self.receiver.window(conduct, self.now), self.receiver.echo(conduct));
        for (cumulative, ranges) in self.receiver.tell(conduct, self.now) {
            let session = self.peer.session.as_mut().unwrap();
            let mut plain = Vec::new();
            let mut packet = PacketWriter::new(&mut plain, 1_200);
            packet.header(&PacketHeader { timestamp_echo: echo, ..PacketHeader::new(session.mode) });
            if conduct == ForgesMarks {
                packet.push(&EcnReport { ce_count: (self.receiver.packets * 37) as u8 });
            }
            let most = ranges.len().saturating_sub(200);
            assert!(AckRanges::write(&mut packet, 1, blocks, cumulative, ranges[most..].iter().copied(), true));
            let datagram = session.seal(&plain);
            self.acks.push_back((self.now + self.delay, datagram));
        }
    }
}

const CONTROLS: [CongestionControl; 4] =
    [CongestionControl::Rfc7016, CongestionControl::Cubic, CongestionControl::Bbr, CongestionControl::Media];

#[test]
fn a_receiver_that_lies_makes_a_sender_neither_overfill_the_line_nor_hold_more() {
    let mut found = Vec::new();
    for control in CONTROLS {
        let mut honest = World::new(control.clone());
        honest.run(Honest, SECONDS);
        assert!(honest.sent > RATE * SECONDS / 2, "{control:?}: the line is used: {} bytes", honest.sent);
        for conduct in [
            Conceals,
            Guesses,
            Repeats,
            Splits,
            BoundlessWindow,
            WindowGames,
            Withholds,
            ShortEchoes,
            LongEchoes,
            ForgesMarks,
            FeignsReordering,
        ] {
            let mut world = World::new(control.clone());
            world.run(conduct, SECONDS);
            let (sent, dropped, most) = (world.sent, world.dropped, world.most_held);
            println!("{control:?} {conduct:?}: {sent} sent, {dropped} dropped, {most} held");
            // What a receiver conceals is found out after a while.
            let conceals = matches!(conduct, Conceals | Guesses | FeignsReordering);
            let more = RATE * SECONDS / if conceals { 4 } else { 20 };
            let overfills = dropped > honest.dropped + more;
            if overfills || most > 2 * MIB as isize {
                found.push(format!("{control:?} {conduct:?}: {sent} sent, {dropped} dropped, {most} held"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Sessions were tested only with half of their window in flight. A sender with a rate, by itself or by the user, may never
/// have as much: its receiver could begin to lie after slow start, and was never found out.
#[test]
fn a_receiver_that_conceals_losses_is_found_out_with_less_than_half_a_window_in_flight() {
    for control in CONTROLS {
        let mut world = World::new(control.clone());
        (world.rate, world.delay) = (5 * RATE, SHORT_DELAY);
        world.run(Honest, 2);
        assert_eq!(world.closed, None, "{control:?}");
        world.victim.session_mut(world.now, world.session).unwrap().set_max_rate(Some(2 * RATE));
        (world.rate, world.queue) = (RATE, SHORT_QUEUE);
        let honest = world.now;
        world.run(Conceals, 30);
        println!("{control:?}: {:?} after {:?}", world.closed, world.now.saturating_duration_since(honest));
        assert_eq!(world.closed, Some(CloseReason::PeerAtFault), "{control:?}");
    }
}
