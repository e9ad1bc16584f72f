//! A rendezvous server that lies, and others that make one work for nothing or send to somebody who asked for nothing.
//! What is about its relay is in `core/meet/src/rendezvous/tests/circuits.rs`.

use std::net::SocketAddr;
use std::time::Duration;

use rtmfp_core::wire::{Address, AddressOrigin, Redirect, ResponderHello};
use rtmfp_core::{Endpoint, EndpointConfig, Event, InterfaceId, Path, SessionHandle, Target, TransmitBuf};
use rtmfp_meet::message::Refusal;
use rtmfp_meet::{Answer, Client, Limits};
use rtmfp_tests::raw_peer::RawPeer;
use rtmfp_tests::registered::{Registered, authentic};
use rtmfp_tests::siege::{Identity, address, named_modern};

use super::strangers::{START, deliver, endpoint};

/// Who answers hellos otherwise than it should.
struct Liar {
    peer: RawPeer,
    /// The certificate that it shows, which is not its own.
    shows: Option<Vec<u8>>,
    /// Where it says that the far end is.
    sends_to: Option<SocketAddr>,
}

impl Liar {
    fn new(identity: &Identity, host: u8) -> Self {
        Self { peer: RawPeer::new(identity.0.clone(), address(host), host.into()), shows: None, sends_to: None }
    }

    /// What it answers.
    fn take(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        self.peer.seen_tag.clear();
        let _ = self.peer.receive(datagram);
        let tag = self.peer.seen_tag.clone();
        if !tag.is_empty() {
            if let Some(certificate) = &self.shows {
                let answer = ResponderHello { tag_echo: &tag, cookie: &[7; 64], certificate };
                self.peer.out = [self.peer.startup(0, &answer)].into();
            }
            if let Some(socket) = self.sends_to {
                let addresses = [Address { origin: AddressOrigin::Observed, socket }];
                self.peer.out = [self.peer.startup(0, &Redirect::new(&tag, &addresses))].into();
            }
        }
        self.peer.out.drain(..).collect()
    }
}

/// Runs the endpoint among these until a session has opened or failed, and tells which.
fn opens(ada: &mut Endpoint, session: SessionHandle, others: &mut [Liar]) -> bool {
    let mut now = START;
    let mut buf = TransmitBuf::new(4);
    loop {
        while let Some(transmit) = ada.poll_transmit(now, &mut buf) {
            let sent: Vec<Vec<u8>> = buf.datagrams().map(<[u8]>::to_vec).collect();
            for other in others.iter_mut().filter(|other| other.peer.address == transmit.path.remote) {
                let answers: Vec<_> = sent.iter().flat_map(|datagram| other.take(datagram)).collect();
                answers.into_iter().for_each(|answer| deliver(ada, now, other.peer.address, answer));
            }
        }
        while let Some(event) = ada.poll_event() {
            if event == (Event::SessionOpened { session }) {
                return true;
            }
            if matches!(event, Event::SessionFailed { session: failed, .. } if failed == session) {
                return false;
            }
        }
        now = ada.poll_timeout().expect("an opening session has a deadline");
        assert!(now < START + Duration::from_secs(200), "it neither opens nor fails");
        ada.handle_timeout(now);
    }
}

/// The server leads whoever asks for Ben to Eve, or is Ben itself. Only Ben's own keys open a session with Ben.
#[test]
fn a_server_that_lies_about_who_is_where_gets_nobody_a_session_with_somebody_else() {
    let [ben, eve, server] = ["ben", "eve", "server"].map(named_modern);
    let led_to = |far: Liar| {
        let mut liar = Liar::new(&server, 1);
        liar.sends_to = Some(far.peer.address);
        vec![liar, far]
    };
    let with_certificate = |identity: &Identity, host| {
        let mut liar = Liar::new(identity, host);
        liar.shows = Some(ben.0.certificate().to_vec());
        liar
    };
    let cases = [
        ("Ben, through an honest server", led_to(Liar::new(&ben, 2)), true),
        ("Eve in his place", led_to(Liar::new(&eve, 3)), false),
        ("Eve with a copy of his certificate", led_to(with_certificate(&eve, 3)), false),
        ("the server in his place", vec![Liar::new(&server, 1)], false),
        ("the server with a copy of his certificate", vec![with_certificate(&server, 1)], false),
    ];
    for (what, mut others, is_good) in cases {
        let mut ada = endpoint(&EndpointConfig::default(), &named_modern("ada"));
        let path = Path::new(InterfaceId(0), address(1));
        let session = ada.open(START, Target::new(ben.1.clone(), path)).unwrap();
        assert_eq!(opens(&mut ada, session, &mut others), is_good, "{what}");
        if is_good {
            let far = ada.session(session).unwrap().far_canonical_discriminator();
            assert_eq!(&far[..], ben.0.canonical_discriminator(ben.0.certificate()), "{what}");
        }
    }
}

fn is_refused(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused { reason: Refusal::TooMany, seconds, .. } if *seconds > 0)
}

/// One source has its share of what is asked, over however many sessions, and the others are served.
#[test]
fn a_source_that_floods_a_server_with_requests_leaves_it_to_others() {
    let mut config = EndpointConfig::default();
    config.max_unmatched_hellos = 64;
    let mut registered = Registered::under(authentic, config, Limits::default());
    let mut sessions: Vec<_> =
        (0..8).map(|port| registered.register_at(([203, 0, 113, 5], 2_000 + port).into())).collect();
    // Each registration was one of 20.
    let (mut answered, mut refused) = (0, 0);
    for number in 0..600_u64 {
        let session = &mut sessions[number as usize % 8];
        let ask = |client: &mut Client| match number % 3 {
            0 => client.number(),
            1 => client.look_up(number),
            _ => client.peer(&number.to_be_bytes()),
        };
        let answer = registered.ask(session, ask);
        if is_refused(&answer) { refused += 1 } else { answered += 1 }
    }
    assert!(answered <= 13 && refused >= 587, "{answered} answered, {refused} refused");
    let mut friend = registered.register();
    registered.look_up(&mut friend);
}

/// Seconds of hellos, 2,000 in each.
const SECONDS: u32 = 3;

/// How many bytes come, how many answers go back and their bytes, and how many hellos go to peers.
fn flood(registered: &mut Registered, from: impl Fn(u32) -> SocketAddr) -> (usize, usize, usize, usize) {
    let (mut came, mut answers, mut bytes, mut forwards) = (0, 0, 0, 0);
    for second in 0..SECONDS {
        for number in 0..2_000 {
            let from = from(second * 2_000 + number);
            let hello = registered.hello();
            came += hello.len();
            for (to, len) in registered.receive(from, hello) {
                if to == from {
                    (answers, bytes) = (answers + 1, bytes + len);
                } else {
                    assert_eq!(to.ip().to_string().split('.').next(), Some("10"), "only to peers");
                    forwards += 1;
                }
            }
        }
        registered.settle();
    }
    (came, answers, bytes, forwards)
}

/// Hellos for registered peers are answered to an address that is not proved, and handed on to the peers. One address gets
/// few answers. All together get hardly more bytes than came: nobody is told the many local addresses of a peer.
#[test]
fn a_server_reflects_few_bytes_to_forged_addresses_and_few_hellos_to_its_peers() {
    let one = |number: u32| SocketAddr::from(([203, 0, 113, 5], number as u16 + 1));
    let many = |number: u32| SocketAddr::from(((0xc612_0000 + number).to_be_bytes(), 1_935));
    for (what, is_one) in [("one address", true), ("as many as there are hellos", false)] {
        let mut config = EndpointConfig::default();
        config.max_unmatched_hellos = 64;
        let mut registered = Registered::under(authentic, config, Limits::default());
        (0..5).for_each(|_| drop(registered.register()));
        registered.introduce_all_at_23_more();
        let (came, answers, bytes, forwards) =
            if is_one { flood(&mut registered, one) } else { flood(&mut registered, many) };
        println!("{what}: {answers} answers and {bytes} bytes for {came}, {forwards} handed on");
        assert!(answers > 10, "{what}: hellos are answered");
        assert!(forwards <= answers, "{what}: {forwards} handed on, {answers} answered");
        let bursts = SECONDS as usize + 1;
        assert!(!is_one || answers <= bursts * 50, "{what}: {answers} answers");
        assert!(bytes <= came + came / 10, "{what}: {bytes} bytes, {answers} answers");
        // Nobody is told that a peer is not there.
        let nobody = registered.hello_for(b"nobody");
        assert_eq!(registered.receive(one(1), nobody), []);
    }
}
