//! One endpoint under attack, and a friend whose transfers through it must not notice.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::duo::TestRng;
use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::{
    Endpoint, EndpointConfig, Event, FlowOptions, Instant, InterfaceId, Path, RecvFlowHandle, RecvMeta, SendFlowHandle,
    SessionHandle, Target, TransmitBuf,
};

/// Where the endpoint under attack and its friend are.
const VICTIM: usize = 0;
const FRIEND: usize = 1;

/// Where the host with this number is.
#[must_use]
pub fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 1935))
}

fn path(from: SocketAddr) -> Path {
    Path::new(InterfaceId(0), from)
}

/// One of the two honest ends, with a transfer to the other: messages one after the other, each of which says in
/// every byte which one it is.
#[derive(Debug)]
struct Honest {
    endpoint: Endpoint,
    session: Option<SessionHandle>,
    flow: Option<SendFlowHandle>,
    from_friend: Option<RecvFlowHandle>,
    sent: u64,
    next_write: Instant,
    received: u64,
}

fn message(number: u64) -> Vec<u8> {
    // Every 16th is longer than a packet.
    let len = if number.is_multiple_of(16) { 3_000 } else { number.wrapping_mul(0x9e37_79b9) % 300 } as usize;
    (0..len).map(|at| (number as usize * 31 + at) as u8).collect()
}

/// See the module.
#[derive(Debug)]
pub struct World {
    ends: [Honest; 2],
    /// The time of this world.
    pub now: Instant,
    /// Datagrams that the endpoint under attack sent to anybody but its friend.
    pub outgoing: VecDeque<(SocketAddr, Vec<u8>)>,
    /// The last datagrams of the friend, as an eavesdropper has them.
    pub tapped: VecDeque<Vec<u8>>,
    /// Flows that hostile peers have begun, as far as the endpoint was told.
    pub hostile_flows: VecDeque<RecvFlowHandle>,
    /// Sessions with hostile peers.
    pub hostile_sessions: VecDeque<SessionHandle>,
    /// Whether the honest ends have nothing more to write.
    pub idle: bool,
    /// What selects the endpoint under attack, and its friend.
    pub discriminators: [Vec<u8>; 2],
    buf: TransmitBuf,
}

impl World {
    /// The endpoint under attack and its friend, with a session between them.
    pub fn new(seed: u64, config: &EndpointConfig, identities: [(Arc<dyn CryptoProfile>, Vec<u8>); 2]) -> Self {
        let now = Instant::from_millis(5_000);
        let discriminators = identities.each_ref().map(|(_, discriminator)| discriminator.clone());
        let mut index = 0;
        let ends = identities.map(|(profile, _)| {
            index += 1;
            let rng = Box::new(TestRng(seed.wrapping_mul(3) + index));
            let endpoint = Endpoint::new(config.clone(), profile, rng, now).unwrap();
            Honest { endpoint, session: None, flow: None, from_friend: None, sent: 0, next_write: now, received: 0 }
        });
        let mut world = Self {
            ends,
            now,
            outgoing: VecDeque::new(),
            tapped: VecDeque::new(),
            hostile_flows: VecDeque::new(),
            hostile_sessions: VecDeque::new(),
            idle: false,
            discriminators,
            buf: TransmitBuf::new(4),
        };
        let target = Target::new(world.discriminators[VICTIM].clone(), path(address(VICTIM as u8)));
        let friend = &mut world.ends[FRIEND];
        friend.session = Some(friend.endpoint.open(now, target).unwrap());
        world.advance(Duration::from_secs(1));
        assert!(world.ends.iter().all(|end| end.flow.is_some()), "the honest ends have a session");
        world
    }

    /// The endpoint under attack.
    pub fn victim(&mut self) -> &mut Endpoint {
        &mut self.ends[VICTIM].endpoint
    }

    /// Messages that the honest ends have received whole and right.
    pub fn delivered(&self) -> [u64; 2] {
        [self.ends[0].received, self.ends[1].received]
    }

    /// A hostile datagram arrives.
    pub fn attack(&mut self, from: SocketAddr, datagram: &mut [u8]) {
        let _ = self.ends[VICTIM].endpoint.handle_datagram(self.now, path(from), RecvMeta::default(), datagram);
    }

    /// Time goes on, and the honest ends do what they have to do at each moment of it.
    pub fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        loop {
            self.exchange();
            let next = self.ends.iter().filter_map(|end| end.endpoint.poll_timeout()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            turns = if next > self.now { 0 } else { turns + 1 };
            assert!(turns < 1_000, "time stands still");
            self.now = self.now.max(next);
            for honest in &mut self.ends {
                honest.endpoint.handle_timeout(self.now);
                assert!(honest.endpoint.poll_timeout().is_none_or(|at| at > self.now), "a deadline in the past");
            }
        }
        self.now = end;
    }

    /// Everything that can be said now is said, and arrives.
    pub fn exchange(&mut self) {
        self.write_next();
        loop {
            self.use_flows();
            let mut said = false;
            for from in [VICTIM, FRIEND] {
                while let Some(transmit) = self.ends[from].endpoint.poll_transmit(self.now, &mut self.buf) {
                    said = true;
                    let to = transmit.path.remote;
                    for datagram in self.buf.datagrams() {
                        assert!(datagram.len() <= 1_500, "a datagram of {} bytes", datagram.len());
                        let mut datagram = datagram.to_vec();
                        if from == FRIEND {
                            self.tapped.push_back(datagram.clone());
                        }
                        let Some(other) = [VICTIM, FRIEND].into_iter().find(|end| to == address(*end as u8)) else {
                            self.outgoing.push_back((to, datagram));
                            continue;
                        };
                        let path = path(address(from as u8));
                        let endpoint = &mut self.ends[other].endpoint;
                        let _ = endpoint.handle_datagram(self.now, path, RecvMeta::default(), &mut datagram);
                    }
                }
            }
            self.outgoing.drain(..self.outgoing.len().saturating_sub(64));
            self.tapped.drain(..self.tapped.len().saturating_sub(64));
            if !said {
                return;
            }
        }
    }

    fn use_flows(&mut self) {
        for end in [VICTIM, FRIEND] {
            while let Some(event) = self.ends[end].endpoint.poll_event() {
                self.on_event(end, &event);
            }
            let honest = &mut self.ends[end];
            while let Some(flow) = honest.from_friend
                && let Some(mut flow) = honest.endpoint.recv_flow_mut(self.now, flow)
                && let Some(read) = flow.read()
            {
                assert_eq!(read.data, message(honest.received), "the transfer is byte-exact, end {end}");
                assert!(!read.gap, "nothing is lost");
                honest.received += 1;
            }
        }
    }

    /// Not more often than every 10 ms: the wire takes no time, and the siege is what the test is about.
    fn write_next(&mut self) {
        for end in [VICTIM, FRIEND] {
            let arrived = self.ends[1 - end].received;
            let honest = &mut self.ends[end];
            if !self.idle
                && honest.sent == arrived
                && honest.next_write <= self.now
                && let Some(flow) = honest.flow
            {
                let mut flow = honest.endpoint.send_flow_mut(self.now, flow).expect("the flow to the friend is there");
                flow.write(message(honest.sent)).expect("there is room for one message");
                honest.sent += 1;
                honest.next_write = self.now + Duration::from_millis(10);
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what is left says nothing about the friend")]
    fn on_event(&mut self, end: usize, event: &Event) {
        let honest = &mut self.ends[end];
        let from_friend = |endpoint: &Endpoint, session| {
            end == FRIEND
                || endpoint
                    .session(session)
                    .is_some_and(|session| session.path().is_some_and(|path| path.remote == address(FRIEND as u8)))
        };
        match *event {
            Event::SessionOpened { session } if from_friend(&honest.endpoint, session) => {
                assert!(end == FRIEND || honest.session.is_none(), "one session with the friend");
                honest.session = Some(session);
                let mut session = honest.endpoint.session_mut(self.now, session).unwrap();
                honest.flow = Some(session.open_flow(FlowOptions::new("transfer")).unwrap());
            }
            Event::SessionOpened { session } => {
                // Something to acknowledge, to reject and to probe. It may be gone again by now.
                for _ in 0..2 {
                    let opened = honest.endpoint.session_mut(self.now, session);
                    let flow = opened.and_then(|mut opened| opened.open_flow(FlowOptions::new("to a stranger")).ok());
                    if let Some(mut flow) = flow.and_then(|flow| honest.endpoint.send_flow_mut(self.now, flow)) {
                        let _ = flow.write(vec![7; 3_000]);
                    }
                }
                self.hostile_sessions.push_back(session);
                self.hostile_sessions.drain(..self.hostile_sessions.len().saturating_sub(64));
            }
            Event::SessionClosed { session, .. } | Event::SessionFailed { session, .. }
                if Some(session) == honest.session =>
            {
                panic!("the friends' session ended at end {end}: {event:?}")
            }
            Event::FlowRejected { flow, .. } | Event::FlowCompleted { flow, .. } => {
                assert_ne!(Some(flow), honest.flow, "the transfer goes on");
            }
            Event::FlowOpened { flow } if Some(flow.session()) == honest.session => {
                assert!(honest.from_friend.is_none(), "a second flow from the friend");
                honest.from_friend = Some(flow);
            }
            Event::FlowOpened { flow } => {
                self.hostile_flows.push_back(flow);
                self.hostile_flows.drain(..self.hostile_flows.len().saturating_sub(256));
            }
            Event::PathChanged { session, .. } => assert_ne!(Some(session), honest.session, "the friend did not move"),
            _ => {}
        }
    }

    /// The user of the endpoint reads, suspends or rejects what strangers began.
    pub fn use_hostile_flow(&mut self, choice: u64) {
        let Some(flow) = self.hostile_flows.pop_front() else { return };
        let Some(mut handle) = self.ends[VICTIM].endpoint.recv_flow_mut(self.now, flow) else { return };
        match choice % 32 {
            0 => return handle.reject(choice),
            1 => handle.suspend(),
            2 => handle.set_order(rtmfp_core::ReceiveOrder::Network),
            3 => handle.set_window((choice % 10_000) as usize),
            4 => drop(handle.open_return_flow(FlowOptions::new("answer"))),
            _ => {
                handle.resume();
                while handle.read().is_some() {}
            }
        }
        self.hostile_flows.push_back(flow);
    }
}
