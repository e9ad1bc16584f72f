//! Messages in fragments that arrive in any order, twice or never, some of them abandoned: what is read is what was
//! written, in order and once, and a gap is told where there is one and nowhere else.
#![expect(clippy::indexing_slicing, clippy::expect_used, reason = "a fuzz target stops at what should not be")]

use std::time::Duration;

use rtmfp_core::wire::{Chunk, FragmentControl, PacketHeader, PingReply, UserData, encode_option};
use rtmfp_core::{Endpoint, EndpointConfig, Event, Instant, ReceiveOrder, RecvFlowHandle};

use crate::duo::TestRng;
use crate::raw_peer::RawPeer;
use crate::siege::{Draw, address, plain};

/// The most steps of one run, to keep runs short.
const MOST_STEPS: usize = 600;

/// One fragment as its sender has it.
struct Fragment {
    message: usize,
    control: FragmentControl,
    data: Vec<u8>,
    sent: bool,
}

struct World {
    victim: Endpoint,
    peer: RawPeer,
    now: Instant,
    draw: Draw,
    options: Vec<u8>,
    /// Those of sequence number 1 and on.
    fragments: Vec<Fragment>,
    /// Sequence number of the first fragment of each message, and the one behind its last.
    bounds: Vec<(u64, u64)>,
    /// The sender will never send what is up to here.
    fsn: u64,
    flow: Option<RecvFlowHandle>,
    /// Messages in network order may come in any; whether each was read.
    read: Vec<bool>,
    /// The message after the last that was read in order.
    next: usize,
    in_order: bool,
    always_in_order: bool,
    suspended: bool,
}

pub(super) fn run(data: &[u8]) {
    let mut world = World::new(Draw::from_bytes(data));
    for _ in 0..MOST_STEPS {
        if world.draw.is_over() {
            break;
        }
        world.step();
    }
    world.end();
}

fn content(message: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (message * 31 + at * 7) as u8).collect()
}

impl World {
    fn new(mut draw: Draw) -> Self {
        let now = Instant::from_millis(5_000);
        let mut config = EndpointConfig::default();
        if draw.one_in(4) {
            config.session.recv_buffer = 8_192;
        }
        let rng = Box::new(TestRng(5));
        let mut victim = Endpoint::new(config, plain("victim").0, rng, now).expect("a valid configuration");
        let mut peer = RawPeer::new(plain("peer").0, address(9), 9);
        peer.connect(&mut victim, now, b"victim");
        while victim.poll_event().is_some() {}
        let mut options = Vec::new();
        encode_option(0, b"name", &mut options);
        let (mut fragments, mut bounds) = (Vec::new(), Vec::new());
        for message in 0..1 + draw.below(24) as usize {
            let count = 1 + draw.below(6) as usize;
            let len = if draw.one_in(6) { 1_000 } else { draw.below(40) as usize };
            let first = fragments.len() as u64 + 1;
            for index in 0..count {
                let control = match (index, count) {
                    (_, 1) => FragmentControl::Whole,
                    (0, _) => FragmentControl::Begin,
                    (index, count) if index + 1 == count => FragmentControl::End,
                    _ => FragmentControl::Middle,
                };
                let data = content(message + index * 100, len);
                fragments.push(Fragment { message, control, data, sent: false });
            }
            bounds.push((first, fragments.len() as u64 + 1));
        }
        let read = vec![false; bounds.len()];
        let (flow, fsn, next) = (None, 0, 0);
        Self {
            victim,
            peer,
            now,
            draw,
            options,
            fragments,
            bounds,
            fsn,
            flow,
            read,
            next,
            in_order: true,
            always_in_order: true,
            suspended: false,
        }
    }

    /// The fragment with this sequence number arrives, again if it did before.
    fn send(&mut self, sequence: u64) {
        let fragment = &mut self.fragments[sequence as usize - 1];
        if sequence <= self.fsn && !fragment.sent {
            // Abandoned before it was ever sent: its sender sends no data for it any more.
            return;
        }
        fragment.sent = true;
        let chunk = UserData {
            control: fragment.control,
            abandon: false,
            last: false,
            flow_id: 3,
            sequence_number: sequence,
            fsn_offset: sequence.saturating_sub(self.fsn.min(sequence)),
            options: Some(&self.options),
            data: &fragment.data,
        };
        self.peer.send(&mut self.victim, self.now, &[Chunk::UserData(chunk)]);
    }

    /// The sender gives up everything up to the end of a message: an abandoned fragment without data says so.
    fn abandon(&mut self, message: usize) {
        let end = self.bounds[message].1 - 1;
        self.fsn = self.fsn.max(end);
        let chunk = UserData {
            control: FragmentControl::Whole,
            abandon: true,
            last: false,
            flow_id: 3,
            sequence_number: end,
            fsn_offset: end - self.fsn.min(end),
            options: Some(&self.options),
            data: &[],
        };
        if self.fsn == end {
            self.peer.send(&mut self.victim, self.now, &[Chunk::UserData(chunk)]);
        }
    }

    fn step(&mut self) {
        let count = self.fragments.len() as u64;
        match self.draw.below(16) {
            0..9 => {
                let sequence = 1 + self.draw.below(count);
                self.send(sequence);
            }
            9 => {
                // The next few, as they would come without trouble.
                let from = 1 + self.draw.below(count);
                for sequence in from..(from + 6).min(count + 1) {
                    self.send(sequence);
                }
            }
            10 => {
                let message = self.draw.below(self.bounds.len() as u64) as usize;
                if self.draw.one_in(3) {
                    self.abandon(message);
                }
            }
            11 => self.now += Duration::from_millis(self.draw.below(300)),
            12 if self.draw.one_in(4) => {
                self.in_order = !self.in_order;
                self.always_in_order = false;
                let order = if self.in_order { ReceiveOrder::Queuing } else { ReceiveOrder::Network };
                self.with_flow(|flow| flow.set_order(order));
            }
            13 => {
                self.suspended = !self.suspended;
                let suspended = self.suspended;
                self.with_flow(|flow| if suspended { flow.suspend() } else { flow.resume() });
            }
            _ => self.read(),
        }
        self.victim.handle_timeout(self.now);
        self.look();
    }

    /// Else the session would end after a long silence, and rightly.
    fn answer_pings(&mut self, plain: &[u8]) {
        let Ok((_, chunks)) = PacketHeader::parse(plain) else { return };
        for chunk in chunks {
            if let Ok(Chunk::Ping(ping)) = chunk {
                let reply = Chunk::PingReply(PingReply { message: ping.message });
                self.peer.send(&mut self.victim, self.now, &[reply]);
            }
        }
    }

    fn look(&mut self) {
        for plain in self.peer.talk(&mut self.victim, self.now) {
            self.answer_pings(&plain);
        }
        while let Some(event) = self.victim.poll_event() {
            let ended = matches!(event, Event::SessionClosed { .. });
            assert!(!ended, "an honest sender's session ended: {event:?} at {:?}", self.now);
            if let Event::FlowOpened { flow } = event {
                self.flow = Some(flow);
            }
        }
    }

    fn with_flow(&mut self, change: impl FnOnce(&mut rtmfp_core::RecvFlowMut<'_>)) {
        if let Some(mut flow) = self.flow.and_then(|flow| self.victim.recv_flow_mut(self.now, flow)) {
            change(&mut flow);
        }
    }

    fn read(&mut self) {
        while let Some(message) = self.flow.and_then(|flow| self.victim.recv_flow_mut(self.now, flow)?.read()) {
            let index = self.bounds.iter().position(|(first, _)| *first == message.sequence);
            let index = index.expect("a message begins where one was written");
            let (first, end) = self.bounds[index];
            let fragments = &self.fragments[first as usize - 1..end as usize - 1];
            assert!(fragments.iter().all(|fragment| fragment.message == index && fragment.sent), "not all was sent");
            let written: Vec<u8> = fragments.iter().flat_map(|fragment| fragment.data.iter().copied()).collect();
            assert_eq!(message.data, written, "the bytes are those written");
            assert!(!std::mem::replace(&mut self.read[index], true), "a message came twice");
            if self.always_in_order {
                assert!(index >= self.next, "order");
                assert_eq!(message.gap, index > self.next, "a gap is told where there is one");
                self.next = index + 1;
            }
        }
    }

    /// Everything that can still arrive does: then everything that is whole has been read.
    fn end(mut self) {
        self.suspended = false;
        self.with_flow(|flow| flow.resume());
        for sequence in 1..=self.fragments.len() as u64 {
            if !self.fragments[sequence as usize - 1].sent && sequence <= self.fsn {
                continue;
            }
            self.send(sequence);
            self.look();
            self.read();
        }
        for (index, (first, _)) in self.bounds.iter().enumerate() {
            if *first > self.fsn {
                assert!(self.read[index], "message {index} was not abandoned, and never came");
            }
        }
    }
}
