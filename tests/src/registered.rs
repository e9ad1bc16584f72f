//! A rendezvous server at which many peers are registered. Of each only what the server keeps is left: its own end has
//! registered and is gone. For measuring what they cost the server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test whose world is not as it should be stops")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::wire::{Address, AddressOrigin, InitiatorHello};
use rtmfp_core::{
    App as _, Bytes, Endpoint, EndpointConfig, Event, FlowOptions, Instant, InterfaceId, Path, RecvMeta, Router,
    SendFlowHandle, Target, TransmitBuf,
};
use rtmfp_meet::{Answer, Client, Everybody, Limits, METADATA, Rate, Rendezvous};

use crate::duo::TestRng;
use crate::raw_peer::RawPeer;
use crate::siege::Identity;

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1_935);
/// Whoever asks without a session.
const ASKER: [u8; 4] = [198, 51, 100, 7];

/// An identity of the plain profile that others take for proved.
#[must_use]
pub fn authentic(number: u64) -> Identity {
    let name = format!("peer {number}");
    (Arc::new(PlainProfile::new(name.as_bytes()).pretend_authentic(true)), name.into_bytes())
}

/// A peer's own end.
#[derive(Debug)]
pub struct Peer {
    endpoint: Endpoint,
    address: SocketAddr,
    /// Its clock, which is not the server's: it goes on until all that has come is acknowledged.
    now: Instant,
    client: Client,
    outbox: SendFlowHandle,
    answers: Vec<Answer>,
}

/// See the module.
#[derive(Debug)]
pub struct Registered {
    /// The server.
    pub server: Endpoint,
    router: Router,
    identity: fn(u64) -> Identity,
    /// Its time.
    pub now: Instant,
    buf: TransmitBuf,
    asker: RawPeer,
    /// Discriminators and numbers of the peers.
    peers: Vec<(Vec<u8>, u64)>,
    /// The next that is asked for.
    turn: usize,
}

impl Registered {
    /// A server without limits on how often it is asked, and nobody there.
    ///
    /// # Panics
    /// If the configuration is not valid.
    #[must_use]
    pub fn new(identity: fn(u64) -> Identity) -> Self {
        let often = Rate { burst: 1 << 30, every: Duration::from_micros(1) };
        let mut limits = Limits::default();
        (limits.requests, limits.requests_per_source) = (often, often);
        let mut config = EndpointConfig::default();
        config.max_sessions = 1 << 20;
        config.max_hello_replies_per_second = u32::MAX;
        config.max_hello_replies_per_source = u32::MAX;
        config.max_excess_reply_bytes = u32::MAX;
        config.max_excess_reply_bytes_per_source = u32::MAX;
        config.max_keying_units_per_second = u32::MAX;
        config.max_keying_units_per_source = u32::MAX;
        config.max_unmatched_hellos = 64;
        Self::under(identity, config, limits)
    }

    /// A server under these limits, and nobody there.
    ///
    /// # Panics
    /// If the configuration is not valid.
    #[must_use]
    pub fn under(identity: fn(u64) -> Identity, config: EndpointConfig, limits: Limits) -> Self {
        let rendezvous = Rendezvous::new(limits, Everybody, Box::new(TestRng(5)), |_| {});
        let now = Instant::from_millis(5_000);
        Self {
            server: Endpoint::new(config, identity(0).0, Box::new(TestRng(1)), now).unwrap(),
            router: Router::new().with(Box::new(rendezvous)),
            identity,
            now,
            buf: TransmitBuf::new(8),
            asker: RawPeer::new(identity(u64::MAX).0, (ASKER, 1_935).into(), 3),
            peers: Vec::new(),
            turn: 0,
        }
    }

    /// The same with so many peers, each with a number.
    #[must_use]
    pub fn with(identity: fn(u64) -> Identity, peers: u64) -> Self {
        let mut registered = Self::new(identity);
        (0..peers).for_each(|_| drop(registered.register()));
        registered.settle();
        registered
    }

    /// One more peer comes and has a number.
    ///
    /// # Panics
    /// If it does not get one.
    pub fn register(&mut self) -> Peer {
        let number = self.peers.len() + 1;
        self.register_at(([10, (number >> 16) as u8, (number >> 8) as u8, number as u8], 1_935).into())
    }

    /// The same from this address.
    ///
    /// # Panics
    /// If it does not get one.
    pub fn register_at(&mut self, address: SocketAddr) -> Peer {
        let number = self.peers.len() as u64 + 1;
        let (profile, discriminator) = (self.identity)(number);
        let now = Instant::from_millis(1_000);
        let mut endpoint =
            Endpoint::new(EndpointConfig::default(), profile, Box::new(TestRng(number + 7)), now).unwrap();
        let target = Target::new((self.identity)(0).1, Path::new(InterfaceId(0), SERVER));
        let session = endpoint.open(now, target).unwrap();
        let outbox = endpoint.session_mut(now, session).unwrap().open_flow(FlowOptions::new(METADATA)).unwrap();
        let mut peer = Peer { endpoint, address, now, client: Client::new(), outbox, answers: Vec::new() };
        let answer = self.ask(&mut peer, Client::number);
        let Answer::Number { number, .. } = answer else { panic!("{answer:?}") };
        self.peers.push((discriminator, number));
        peer
    }

    /// Lets pass what the server waits with, such as acknowledgements.
    pub fn settle(&mut self) {
        self.now += Duration::from_secs(1);
        self.server.handle_timeout(self.now);
        self.serve(None);
    }

    /// Of the peers one after the other: its discriminator and its number.
    fn next(&mut self) -> (Vec<u8>, u64) {
        self.turn = (self.turn + 1) % self.peers.len();
        self.peers[self.turn].clone()
    }

    /// A peer asks who has a number, and is told. Both ends.
    ///
    /// # Panics
    /// If it is not told.
    pub fn look_up(&mut self, peer: &mut Peer) {
        let (discriminator, number) = self.next();
        let answer = self.ask(peer, |client| client.look_up(number));
        let is_it = matches!(&answer, Answer::Found { discriminator: found, .. } if *found == discriminator);
        assert!(is_it, "{answer:?}");
    }

    /// A hello for one of the peers.
    pub fn hello(&mut self) -> Vec<u8> {
        let (discriminator, _) = self.next();
        self.hello_for(&discriminator)
    }

    /// A hello for this one.
    pub fn hello_for(&mut self, discriminator: &[u8]) -> Vec<u8> {
        let tag = (self.turn as u128).to_be_bytes();
        self.asker.startup(0, &InitiatorHello { discriminator, tag: &tag })
    }

    /// All peers are introduced at as many addresses as can be.
    ///
    /// # Panics
    /// If a session is over.
    pub fn introduce_all_at_23_more(&mut self) {
        let at = |last| Address { origin: AddressOrigin::Local, socket: ([192, 168, 0, last], 1_935).into() };
        let addresses: Vec<Address> = (1..=23).map(at).collect();
        let sessions: Vec<_> = self.server.sessions().collect();
        for session in sessions {
            self.server.session_mut(self.now, session).unwrap().introduce_at(&addresses);
        }
    }

    /// A datagram comes to the server. Gives where datagrams go then, and how long they are.
    pub fn receive(&mut self, from: SocketAddr, mut datagram: Vec<u8>) -> Vec<(SocketAddr, usize)> {
        let path = Path::new(InterfaceId(0), from);
        let _ = self.server.handle_datagram(self.now, path, RecvMeta::default(), &mut datagram);
        let mut sent = Vec::new();
        self.serve_each(|to, datagram| sent.push((to, datagram.len())));
        sent
    }

    /// A hello comes, and the server introduces: it answers, and hands the hello on. What the server does alone.
    ///
    /// # Panics
    /// If it does not.
    pub fn introduce(&mut self, mut hello: Vec<u8>) {
        let path = self.asker.path();
        let _ = self.server.handle_datagram(self.now, path, RecvMeta::default(), &mut hello);
        assert_eq!(self.serve(None), 2, "an answer, and the hello for the peer");
    }

    /// A session opens, of somebody who does not register. Both ends.
    pub fn open(&mut self, profile: Arc<dyn rtmfp_core::profile::CryptoProfile>, number: u64) {
        let address = SocketAddr::from(([10, 200, (number >> 8) as u8, number as u8], 1_935));
        let name = (self.identity)(0).1;
        RawPeer::new(profile, address, number + 1).connect(&mut self.server, self.now, &name);
        while self.server.poll_event().is_some() {}
    }

    /// A peer asks for something. Gives the answer.
    ///
    /// # Panics
    /// If there is none.
    pub fn ask(&mut self, peer: &mut Peer, ask: impl FnOnce(&mut Client) -> (u64, Vec<u8>)) -> Answer {
        // Answers are paced.
        self.now += Duration::from_micros(100);
        self.server.handle_timeout(self.now);
        let (request, message) = ask(&mut peer.client);
        peer.endpoint.send_flow_mut(peer.now, peer.outbox).unwrap().write(message).unwrap();
        self.exchange(peer);
        let found = peer.answers.drain(..).find(|answer| answer.request() == Some(request));
        found.expect("an answer")
    }

    /// Everything is said that a peer and the server have to say to each other.
    fn exchange(&mut self, peer: &mut Peer) {
        let mut buf = TransmitBuf::new(8);
        let path = Path::new(InterfaceId(0), peer.address);
        loop {
            let mut said = 0;
            while peer.endpoint.poll_transmit(peer.now, &mut buf).is_some() {
                for datagram in buf.datagrams() {
                    said += 1;
                    let _ = self.server.handle_datagram(self.now, path, RecvMeta::default(), &mut datagram.to_vec());
                }
            }
            said += self.serve(Some(peer));
            peer.read();
            if said == 0 {
                let Some(due) = peer.endpoint.poll_timeout().filter(|_| !peer.is_at_rest()) else { return };
                peer.now = peer.now.max(due);
                peer.endpoint.handle_timeout(peer.now);
            }
        }
    }

    /// The server does what there is to do. Its datagrams go to this peer, if there is one. Gives how many there were.
    fn serve(&mut self, mut peer: Option<&mut Peer>) -> u32 {
        let mut sent = 0;
        self.serve_each(|to, datagram| {
            sent += 1;
            if let Some(peer) = peer.as_deref_mut().filter(|peer| peer.address == to) {
                let path = Path::new(InterfaceId(0), SERVER);
                let _ = peer.endpoint.handle_datagram(peer.now, path, RecvMeta::default(), &mut datagram.to_vec());
            }
        });
        sent
    }

    /// The same, with each datagram.
    fn serve_each(&mut self, mut each: impl FnMut(SocketAddr, &[u8])) {
        loop {
            while let Some(event) = self.server.poll_event() {
                self.router.on_event(self.now, &mut self.server, event);
            }
            let Some(transmit) = self.server.poll_transmit(self.now, &mut self.buf) else { return };
            self.buf.datagrams().for_each(|datagram| each(transmit.path.remote, datagram));
        }
    }
}

impl Peer {
    fn read(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            let Event::FlowReadable { flow } = event else { continue };
            while let Some(message) = self.endpoint.recv_flow_mut(self.now, flow).and_then(|mut flow| flow.read()) {
                self.answers.extend(self.client.on_message(&Bytes::clone(&message.data)).unwrap());
            }
        }
    }

    /// It waits for nothing, and has acknowledged what has come: that takes a fifth of a second at most.
    fn is_at_rest(&self) -> bool {
        let next = self.endpoint.poll_timeout();
        next.is_none_or(|at| at > self.now + Duration::from_millis(250))
    }
}
