//! Sessions with stand-ins for MonaServer2 and librtmfp, which read less than RFC 7016 allows to write; and what a
//! real MonaServer2 sent.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rtmfp_core::profile::flash::{Discriminator, FlashProfile};
use rtmfp_core::wire::{Chunk, Mode, PacketHeader};
use rtmfp_core::{
    CloseMode, Endpoint, EndpointConfig, Event, FlowOptions, Instant, InterfaceId, Path, RecvMeta, SessionHandle,
    Target, TransmitBuf,
};
use rtmfp_tests::duo::TestRng;
use rtmfp_tests::mona::{Part, StandIn, session_chunks, startup_chunk};

/// One way, in milliseconds.
const LATENCY: u64 = 15;

/// An endpoint and a stand-in, and a line between them that loses nothing.
struct Line {
    endpoint: Endpoint,
    stand_in: StandIn,
    now: Instant,
    to_endpoint: VecDeque<(Instant, Vec<u8>)>,
    to_stand_in: VecDeque<(Instant, Vec<u8>)>,
    reads: bool,
    read: Vec<Vec<u8>>,
    closed: bool,
}

impl Line {
    fn new(part: Part, mona: bool) -> Self {
        let mut rng = TestRng(1);
        let builder = match part {
            Part::Server => FlashProfile::builder().for_mona_server(&mut rng),
            Part::Client => FlashProfile::builder().for_mona_clients(),
        };
        let mut config = EndpointConfig::default();
        config.session.mona = mona;
        let now = Instant::from_millis(1_000);
        let profile = Arc::new(builder.build(&mut rng).unwrap());
        Self {
            endpoint: Endpoint::new(config, profile, Box::new(rng), now).unwrap(),
            stand_in: StandIn::new(part, 2),
            now,
            to_endpoint: VecDeque::new(),
            to_stand_in: VecDeque::new(),
            reads: true,
            read: Vec::new(),
            closed: false,
        }
    }

    fn path() -> Path {
        Path::new(InterfaceId(0), SocketAddr::from(([192, 0, 2, 1], 1935)))
    }

    /// The endpoint opens a session.
    fn open(&mut self) -> SessionHandle {
        let name = Discriminator::new().ancillary_data(b"rtmfp://192.0.2.1/live").to_bytes();
        self.endpoint.open(self.now, Target::new(name, Self::path())).unwrap()
    }

    /// The stand-in opens one.
    fn accept(&mut self) -> SessionHandle {
        self.stand_in.hello(self.now.timestamp());
        self.run(200);
        self.endpoint.sessions().next().expect("a session")
    }

    fn run(&mut self, millis: u64) {
        let mut buf = TransmitBuf::new(8);
        for _ in 0..millis {
            self.now += Duration::from_millis(1);
            let now = self.now;
            while self.to_endpoint.front().is_some_and(|(at, _)| *at <= now) {
                let (_, mut datagram) = self.to_endpoint.pop_front().unwrap();
                let _ = self.endpoint.handle_datagram(now, Self::path(), RecvMeta::default(), &mut datagram);
            }
            while self.to_stand_in.front().is_some_and(|(at, _)| *at <= now) {
                let (_, datagram) = self.to_stand_in.pop_front().unwrap();
                self.stand_in.receive(now.timestamp(), &datagram);
            }
            self.endpoint.handle_timeout(now);
            while let Some(event) = self.endpoint.poll_event() {
                self.on_event(&event);
            }
            let later = now + Duration::from_millis(LATENCY);
            while self.endpoint.poll_transmit(now, &mut buf).is_some() {
                self.to_stand_in.extend(buf.datagrams().map(|datagram| (later, datagram.to_vec())));
            }
            self.to_endpoint.extend(self.stand_in.out.drain(..).map(|datagram| (later, datagram)));
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is looked at")]
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::FlowReadable { flow } if self.reads => {
                let mut flow = self.endpoint.recv_flow_mut(self.now, *flow).unwrap();
                self.read.extend(std::iter::from_fn(|| flow.read()).map(|message| message.data.to_vec()));
            }
            Event::SessionClosed { .. } | Event::SessionFailed { .. } => self.closed = true,
            _ => {}
        }
    }

    /// Writes 40 messages of 20 kB, one each 50 ms, as a publisher does. Gives what should arrive.
    fn publish(&mut self, session: SessionHandle) -> Vec<Vec<u8>> {
        let mut handle = self.endpoint.session_mut(self.now, session).unwrap();
        let flow = handle.open_flow(FlowOptions::new(&b"\x00TC\x04\x00"[..])).unwrap();
        let messages: Vec<Vec<u8>> = (0..40_u8).map(|number| vec![number; 20_000]).collect();
        for message in &messages {
            let mut flow = self.endpoint.send_flow_mut(self.now, flow).unwrap();
            // A peer that misreads acknowledges nothing, and the buffer fills.
            let _ = flow.write(message.clone());
            self.run(50);
        }
        self.run(2_000);
        messages
    }
}

/// A session in which both ends say something, are silent for a minute, and part.
fn talk(part: Part) {
    let mut line = Line::new(part, true);
    let session = match part {
        Part::Server => line.open(),
        Part::Client => line.accept(),
    };
    line.run(500);
    assert!(line.stand_in.is_open(), "no session");
    let sent = line.publish(session);
    assert_eq!(line.stand_in.messages.len(), sent.len());
    assert!(line.stand_in.messages == sent);
    for number in 0..20 {
        line.stand_in.write(line.now.timestamp(), &[number; 500]);
        line.run(20);
    }
    line.run(500);
    assert_eq!(line.read.len(), 20);
    line.stand_in.ping(line.now.timestamp());
    line.run(60_000);
    assert_eq!(line.stand_in.pings.1, 1, "its ping was answered");
    assert!(line.stand_in.pings.0 > 0, "no keepalive came");
    assert_eq!((line.stand_in.closed, line.closed), (None, false), "a minute of silence");
    line.endpoint.session_mut(line.now, session).unwrap().close(CloseMode::Orderly);
    line.run(500);
    assert_eq!(line.stand_in.closed, Some("the far end asked for it"));
    assert!(line.closed);
}

#[test]
fn a_client_talks_to_a_mona_server() {
    talk(Part::Server);
}

#[test]
fn a_server_talks_to_a_mona_client() {
    talk(Part::Client);
}

#[test]
fn a_mona_peer_can_end_the_session() {
    for part in [Part::Server, Part::Client] {
        let mut line = Line::new(part, true);
        let _ = if part == Part::Server { line.open() } else { line.accept() };
        line.run(500);
        line.stand_in.close(line.now.timestamp());
        line.run(500);
        assert_eq!((line.stand_in.closed, line.closed), (Some("the far end agreed"), true));
    }
}

/// What the switch is for: the stand-in misreads the second packet of a tick.
#[test]
fn without_the_switch_messages_are_lost() {
    let mut line = Line::new(Part::Server, false);
    let session = line.open();
    line.run(500);
    let sent = line.publish(session);
    assert!(line.stand_in.messages.len() < sent.len());
}

/// The reader does not read: no window of zero is told, and no probe is sent.
#[test]
fn neither_probes_nor_windows_of_zero_are_sent() {
    let mut line = Line::new(Part::Server, true);
    line.open();
    line.run(500);
    line.reads = false;
    for _ in 0..500 {
        line.stand_in.write(line.now.timestamp(), &[7; 1_000]);
        line.run(1);
    }
    line.run(1_000);
    assert_eq!(line.stand_in.closed, None);
}

/// The packets of a real session with MonaServer2, as `(sender is the server, plain packet)`.
fn recorded() -> Vec<(bool, Vec<u8>)> {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let field =
        |line: &str, name: &str| line.split(&format!("\"{name}\": \"")).nth(1)?.split('"').next().map(str::to_owned);
    include_str!("server.jsonl")
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| (field(line, "from").unwrap() == "server", hex(&field(line, "plain").unwrap())))
        .collect()
}

#[test]
#[expect(clippy::wildcard_enum_match_arm, reason = "what is not named is a failure")]
fn what_a_real_server_sends_is_understood() {
    let mut kinds = Vec::new();
    for (_, plain) in recorded().iter().filter(|(server, _)| *server) {
        let (header, chunks) = PacketHeader::parse(plain).unwrap();
        assert!(header.timestamp.is_some() && header.mode != Mode::Initiator);
        for chunk in chunks {
            kinds.push(match chunk.expect("a chunk in order") {
                Chunk::ResponderHello(_) => "RHello",
                Chunk::ResponderKeying(_) => "RIKeying",
                Chunk::AckRanges(ack) if ack.blocks_available > 0 => "ack",
                Chunk::UserData(_) | Chunk::NextUserData(_) => "data",
                Chunk::PingReply(_) => "pong",
                Chunk::CloseAck(_) => "closed",
                other => panic!("{other:?}"),
            });
        }
    }
    assert_eq!(kinds[..3], ["RHello", "RIKeying", "ack"]);
    assert!(kinds.contains(&"data"));
}

/// The stand-in reads what the real server read.
#[test]
fn the_stand_in_reads_what_a_real_client_sent() {
    for (index, (_, plain)) in recorded().iter().enumerate().filter(|(_, (server, _))| !server) {
        match index {
            0 => assert!(matches!(startup_chunk(plain), Some((0x30, _)))),
            2 => assert!(matches!(startup_chunk(plain), Some((0x38, _)))),
            _ => {
                let (_, chunks) = session_chunks(plain).unwrap();
                assert!(chunks.iter().all(|(kind, _)| matches!(kind, 0x00 | 0x01 | 0x10 | 0x4c | 0x51)), "{chunks:x?}");
            }
        }
    }
}
