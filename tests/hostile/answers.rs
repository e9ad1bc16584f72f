//! Answers are bounded by what asks for them: no packet of an authenticated peer brings out many times its bytes.

use std::time::Duration;

use rtmfp_core::wire::{BufferProbe, Chunk, Ping, UserData};
use rtmfp_core::{CloseReason, Endpoint, EndpointConfig, Event, Instant};
use rtmfp_tests::raw_peer::RawPeer;

use super::strangers::{START, connected, data, deliver, named, sent};

/// A round trip pays for one datagram, and none counts for less than 50 ms.
const PAID_A_SECOND: usize = 20;
const DATAGRAM: usize = 1_452;
/// Two for one, one that a round trip pays for, and a question once a second: whether the peer has the keys.
const MOST_AT_ONCE: usize = 4;

/// Datagrams and their bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Count {
    datagrams: usize,
    bytes: usize,
}

/// A peer that asks, and what it gets for it.
struct Asker {
    victim: Endpoint,
    peer: RawPeer,
    now: Instant,
    asked: Count,
    answered: Count,
}

impl Asker {
    fn new(config: &EndpointConfig) -> Self {
        let (victim, peer) = connected(config);
        Self { victim, peer, now: START, asked: Count::default(), answered: Count::default() }
    }

    /// Sends a packet of these chunks; returns what comes back at once.
    fn ask(&mut self, chunks: &[Chunk<'_>]) -> Count {
        let datagram = self.peer.session.as_mut().unwrap().chunks(chunks);
        self.asked.datagrams += 1;
        self.asked.bytes += datagram.len();
        deliver(&mut self.victim, self.now, self.peer.address, datagram);
        self.collect()
    }

    fn collect(&mut self) -> Count {
        let (datagrams, bytes) = sent(&mut self.victim, self.now);
        self.answered.datagrams += datagrams;
        self.answered.bytes += bytes;
        Count { datagrams, bytes }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.victim.poll_timeout().filter(|&at| at <= end) {
            self.now = at;
            self.victim.handle_timeout(at);
            self.collect();
        }
        self.now = end;
    }

    /// Begins flows, and leaves a gap before every message of each. Flows with odd numbers have no name, so they are
    /// rejected.
    fn leave_gaps(&mut self, flows: u64, gaps: u64) {
        let name = named();
        for flow in 0..flows {
            let numbers: Vec<u64> = (0..gaps).map(|gap| 3 + 2 * gap).collect();
            self.ask(&[Chunk::UserData(data(flow, 1, (flow % 2 == 0).then_some(&name), b""))]);
            for numbers in numbers.chunks(50) {
                let chunks = numbers.iter().map(|&number| Chunk::UserData(data(flow, number, None, b"")));
                self.ask(&chunks.collect::<Vec<_>>());
            }
        }
    }

    /// What two bytes for one, and a datagram for each round trip, allow.
    fn allowed(&self, time: Duration) -> usize {
        2 * self.asked.bytes + (PAID_A_SECOND * time.as_secs() as usize + 1) * DATAGRAM
    }

    fn close_reason(&mut self) -> Option<CloseReason> {
        std::iter::from_fn(|| self.victim.poll_event())
            .find_map(|event| if let Event::SessionClosed { reason, .. } = event { Some(reason) } else { None })
    }
}

/// One message to each of 60 flows, received before.
fn touch(flows: u64) -> Vec<UserData<'static>> {
    (0..flows).map(|flow| data(flow, 3, None, b"")).collect()
}

fn as_chunks<'a>(chunks: &'a [UserData<'a>]) -> Vec<Chunk<'a>> {
    chunks.iter().map(|chunk| Chunk::UserData(*chunk)).collect()
}

/// 60 flows with 1,000 gaps each, some of them rejected; then 8 s of packets that touch all of them. Each packet was
/// answered with as many full datagrams as there are flows: 146 MB for 1.24 MB.
#[test]
fn many_flows_with_many_gaps_bring_out_twice_the_bytes_that_come_in() {
    let mut asker = Asker::new(&EndpointConfig::default());
    asker.leave_gaps(60, 1_000);
    let chunks = touch(60);
    let chunks = as_chunks(&chunks);
    let (packets, time) = (2_400, Duration::from_secs(8));
    for _ in 0..packets {
        let answer = asker.ask(&chunks);
        assert!(answer.datagrams <= MOST_AT_ONCE, "{answer:?}");
        asker.pass(time / packets);
    }
    println!("asked {:?}, answered {:?}", asker.asked, asker.answered);
    assert!(asker.answered.bytes <= asker.allowed(time), "{:?} for {:?}", asker.answered, asker.asked);
    assert!(asker.answered.bytes > asker.asked.bytes / 2, "it is acknowledged all the same");
    assert_eq!(asker.close_reason(), None, "it lasts for 8 s only");
}

/// Honest gaps are closed. The session ends after 10 s in which nothing is.
#[test]
fn gaps_that_no_losses_explain_end_the_session() {
    for (gaps, closed) in [(1_000, Some(CloseReason::UnrepairedGaps)), (200, None)] {
        let mut asker = Asker::new(&EndpointConfig::default());
        asker.leave_gaps(60, gaps);
        let chunks = touch(60);
        for _ in 0..120 {
            asker.ask(&as_chunks(&chunks));
            asker.pass(Duration::from_millis(100));
        }
        assert_eq!(asker.close_reason(), closed, "{gaps} gaps");
    }
    // The limit is the user's to choose.
    let mut config = EndpointConfig::default();
    config.session.gap_limit = Duration::from_secs(30);
    let mut asker = Asker::new(&config);
    asker.leave_gaps(60, 1_000);
    for second in 0..40 {
        (0..10).for_each(|_| {
            asker.ask(&as_chunks(&touch(60)));
            asker.pass(Duration::from_millis(100));
        });
        let closed = (second == 30).then_some(CloseReason::UnrepairedGaps);
        assert_eq!(asker.close_reason(), closed.filter(|_| second == 30), "after {second} s");
    }
}

/// A packet of 263 bytes was answered with 60 full datagrams.
#[test]
fn a_packet_of_buffer_probes_is_answered_with_two_datagrams_and_once_a_round_trip() {
    let mut asker = Asker::new(&EndpointConfig::default());
    asker.leave_gaps(60, 1_000);
    asker.pass(Duration::from_secs(2));
    let probes: Vec<Chunk<'_>> = (0..60).map(|flow_id| Chunk::BufferProbe(BufferProbe { flow_id })).collect();
    let answer = asker.ask(&probes);
    println!("one packet is answered with {answer:?}");
    assert!(answer.datagrams <= MOST_AT_ONCE && answer.bytes <= 3 * DATAGRAM, "{answer:?}");
    // Without end.
    let (before, asked) = (asker.answered, asker.asked);
    for _ in 0..1_000 {
        let answer = asker.ask(&probes);
        assert!(answer.datagrams <= MOST_AT_ONCE, "{answer:?}");
        asker.pass(Duration::from_millis(2));
    }
    let (bytes, answered) = (asker.asked.bytes - asked.bytes, asker.answered.bytes - before.bytes);
    println!("{bytes} bytes are answered with {answered}");
    assert!(answered <= 2 * bytes + 2 * PAID_A_SECOND * DATAGRAM);
}

/// Flows without a name, each of which is answered with an exception report as well.
#[test]
fn flows_that_are_rejected_bring_out_twice_their_bytes() {
    let mut asker = Asker::new(&EndpointConfig::default());
    for packet in 0..10 {
        let chunks: Vec<UserData<'_>> = (0..100).map(|flow| data(packet * 100 + flow, 1, None, b"")).collect();
        asker.ask(&as_chunks(&chunks));
    }
    for _ in 0..1_000 {
        let chunks: Vec<UserData<'_>> = (0..100).map(|flow| data(flow, 1, None, b"")).collect();
        let answer = asker.ask(&as_chunks(&chunks));
        assert!(answer.datagrams <= MOST_AT_ONCE, "{answer:?}");
        asker.pass(Duration::from_millis(2));
    }
    assert!(asker.answered.bytes <= asker.allowed(Duration::from_secs(2)), "{:?}", asker.answered);
}

#[test]
fn pings_are_answered_with_no_more_bytes_than_they_have() {
    for message in [&b""[..], b"x", &[7; 500]] {
        let mut asker = Asker::new(&EndpointConfig::default());
        let pings = vec![Chunk::Ping(Ping { message }); 1_300 / (message.len() + 3)];
        for _ in 0..100 {
            let answer = asker.ask(&pings);
            assert!(answer.datagrams <= MOST_AT_ONCE && answer.bytes > 0, "{answer:?}");
        }
        assert!(asker.answered.bytes <= asker.asked.bytes + 100 * 32, "{:?} {:?}", asker.asked, asker.answered);
    }
}
