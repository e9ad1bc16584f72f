//! Receive windows that grow with their readers: a sender that lies about round trips, and readers that stop.

use std::time::Duration;

use rtmfp_core::wire::{Chunk, FragmentControl, PacketHeader, PacketWriter};
use rtmfp_core::{CloseMode, Endpoint, EndpointConfig, Event, Instant};
use rtmfp_tests::raw_peer::RawPeer;

use super::memory::{MIB, config, peer, victim};
use super::strangers::{START, data, deliver, named};

/// What the windows begin with.
const INITIAL: usize = 262_144;
/// What the sender says that a round trip takes.
const CLAIMED: Duration = Duration::from_secs(1);
const MESSAGE: &[u8] = &[7; 8_000];

/// A sender whose echoes make round trips as long as it claims.
struct Sender {
    peer: RawPeer,
    next: Vec<u64>,
    /// The window that each flow was last told of, in bytes, and the largest.
    window: Vec<usize>,
    largest: usize,
}

impl Sender {
    fn new(victim: &mut Endpoint, number: u16, flows: usize) -> Self {
        let peer = peer(victim, START, number, true);
        Self { peer, next: vec![1; flows], window: vec![INITIAL; flows], largest: 0 }
    }

    fn send(&mut self, victim: &mut Endpoint, now: Instant, flow: usize) {
        self.send_part(victim, now, flow, FragmentControl::Whole, MESSAGE);
    }

    fn send_part(
        &mut self,
        victim: &mut Endpoint,
        now: Instant,
        flow: usize,
        control: FragmentControl,
        payload: &[u8],
    ) {
        let options = named();
        let echo = (now.as_micros() - CLAIMED.as_micros() as u64) / 4_000;
        let session = self.peer.session.as_mut().unwrap();
        let mut plain = Vec::new();
        let mut packet = PacketWriter::new(&mut plain, 65_000);
        packet.header(&PacketHeader { timestamp_echo: Some(echo as u16), ..PacketHeader::new(session.mode) });
        let mut chunk = data(flow as u64, self.next[flow], Some(&options), payload);
        chunk.control = control;
        Chunk::UserData(chunk).write(&mut packet);
        self.next[flow] += 1;
        let datagram = session.seal(&plain);
        deliver(victim, now, self.peer.address, datagram);
    }

    fn hear(&mut self, victim: &mut Endpoint, now: Instant) {
        for plain in self.peer.talk(victim, now) {
            for chunk in PacketHeader::parse(&plain).unwrap().1.flatten() {
                if let Chunk::AckRanges(ack) = chunk {
                    let window = ack.blocks_available as usize * 1_024;
                    self.window[ack.flow_id as usize] = window;
                    self.largest = self.largest.max(window);
                }
            }
        }
    }

    /// Sends for so many round trips, of each flow twice as much in each, and has all of it read at once.
    fn speed_up(&mut self, victim: &mut Endpoint, now: &mut Instant, round_trips: u32) {
        for step in 0..round_trips {
            for _ in 0..5 << step {
                for flow in 0..self.next.len() {
                    self.send(victim, *now, flow);
                }
                read(victim, *now);
                *now += CLAIMED / (5 << step);
            }
            self.hear(victim, *now);
        }
    }

    /// Sends as much as the windows allow, which nobody reads, or which is no whole message.
    fn fill(&mut self, victim: &mut Endpoint, now: Instant, whole: bool) {
        for flow in 0..self.next.len() {
            while self.window[flow] > MESSAGE.len() {
                for _ in 0..(self.window[flow] / MESSAGE.len()).min(16) {
                    let control = match (whole, self.next[flow]) {
                        (true, _) => FragmentControl::Whole,
                        (false, 1) => FragmentControl::Begin,
                        (false, _) => FragmentControl::Middle,
                    };
                    self.send_part(victim, now, flow, control, MESSAGE);
                }
                self.hear(victim, now);
            }
        }
    }
}

fn read(victim: &mut Endpoint, now: Instant) {
    while let Some(event) = victim.poll_event() {
        if let Event::FlowReadable { flow } = event {
            let mut flow = victim.recv_flow_mut(now, flow).unwrap();
            while flow.read().is_some() {}
        }
    }
}

/// A window that is larger than anybody has a use for costs nothing until it is filled, and then no more than before.
#[test]
fn a_sender_raises_windows_to_what_their_session_shares_and_no_further() {
    for (flows, recv_buffer, most) in [(1, 16 * MIB, 8 * MIB), (8, 16 * MIB, 8 * MIB), (1, MIB, MIB - INITIAL)] {
        let mut config = EndpointConfig::default();
        config.session.recv_buffer = recv_buffer;
        let mut victim = victim(&config);
        let mut sender = Sender::new(&mut victim, 1, flows);
        let mut now = START + Duration::from_secs(10);
        sender.speed_up(&mut victim, &mut now, 9);
        let grown: usize = sender.window.iter().map(|window| window.saturating_sub(INITIAL)).sum();
        assert!(grown <= most, "{grown} of {most} bytes with {flows} flows");
        assert!(grown > most / 3, "{grown} of {most} bytes with {flows} flows: they did not grow");
        assert!(sender.largest <= recv_buffer);
    }
}

/// They have read fast, and stop. As they fill the memory, windows that have grown shrink, so that there is some left.
#[test]
fn readers_that_have_stopped_leave_memory_to_others() {
    let mut config = config();
    config.max_recv_memory = 64 * MIB;
    let mut victim = victim(&config);
    let mut now = START + Duration::from_secs(10);
    let mut senders: Vec<Sender> = (0..40).map(|number| Sender::new(&mut victim, number, 1)).collect();
    read(&mut victim, now);
    for sender in &mut senders {
        sender.speed_up(&mut victim, &mut now, 7);
        assert!(sender.largest > 4 * INITIAL, "{}", sender.largest);
    }
    for sender in &mut senders {
        sender.fill(&mut victim, now, true);
    }
    while victim.poll_event().is_some() {}
    let sessions: Vec<_> = victim.sessions().collect();
    let mut friend = Sender::new(&mut victim, 1_000, 1);
    for _ in 0..100 {
        friend.send(&mut victim, now, 0);
        friend.hear(&mut victim, now);
        assert!(friend.window[0] > INITIAL / 2, "{} bytes", friend.window[0]);
        read(&mut victim, now);
    }
    // When the memory is free again, windows grow.
    for session in sessions {
        victim.session_mut(now, session).unwrap().close(CloseMode::Abrupt);
    }
    friend.speed_up(&mut victim, &mut now, 7);
    assert!(friend.largest > 2 * INITIAL, "{} bytes", friend.largest);
}

/// One message that never ends may take what its session has. Those of many sessions leave something to others.
#[test]
fn long_messages_of_many_sessions_leave_memory_to_others() {
    let mut config = config();
    config.max_recv_memory = 64 * MIB;
    let mut victim = victim(&config);
    let now = START + Duration::from_secs(10);
    let mut senders: Vec<Sender> = (0..40).map(|number| Sender::new(&mut victim, number, 1)).collect();
    for sender in &mut senders {
        sender.fill(&mut victim, now, false);
    }
    assert!(senders[0].largest > 2 * MIB, "{} bytes: the first were no long messages", senders[0].largest);
    while victim.poll_event().is_some() {}
    let mut friend = Sender::new(&mut victim, 1_000, 1);
    for _ in 0..100 {
        friend.send(&mut victim, now, 0);
        friend.hear(&mut victim, now);
        assert!(friend.window[0] > INITIAL / 2, "{} bytes", friend.window[0]);
        read(&mut victim, now);
    }
}

/// What comes of a message of 15.9 MiB, and after it, fills the window while a fragment of it is missing.
#[test]
fn audio_and_new_flows_have_room_beside_a_long_message() {
    let mut victim = victim(&EndpointConfig::default());
    let mut sender = Sender::new(&mut victim, 1, 3);
    let now = START + Duration::from_secs(10);
    sender.send(&mut victim, now, 1);
    let (mut sent, mut round_trips) = (0, 0);
    while sent < 159 * MIB / 10 {
        let mut room = sender.window[0];
        while room > 0 {
            let len = room.min(MESSAGE.len());
            let control = if sent == 0 { FragmentControl::Begin } else { FragmentControl::Middle };
            sender.send_part(&mut victim, now, 0, control, &MESSAGE[..len]);
            (sent, room) = (sent + len, room - len);
            if sent % 64_000 < len {
                sender.send_part(&mut victim, now, 1, FragmentControl::Whole, &MESSAGE[..200]);
                read(&mut victim, now);
                sender.hear(&mut victim, now);
                room = room.min(sender.window[0]);
            }
        }
        sender.send_part(&mut victim, now, 1, FragmentControl::Whole, &MESSAGE[..200]);
        sender.hear(&mut victim, now);
        round_trips += 1;
        assert!(round_trips < 3_000, "{sent} bytes of the message were sent");
    }
    assert_eq!(victim.stats().over_limit, 0);
    assert!(sender.window[1] > 16_384, "{} bytes for audio", sender.window[1]);
    sender.send_part(&mut victim, now, 2, FragmentControl::Whole, &MESSAGE[..200]);
    assert_eq!(victim.stats().over_limit, 0, "a new flow");
    println!("{round_trips} round trips");
}
