#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed, and acts on the events that it knows of"
)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use core::net::SocketAddr;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng as _;
use rtmfp_core::profile::modern::{Discriminator, ModernProfile};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{
    CloseMode, EndpointConfig, Event, FlowOptions, InterfaceId, Path, RecvMeta, SendFlowHandle, Target, TransmitBuf,
};

use super::*;
use crate::pake;
use crate::{Secret, Shared, Words};

/// Of the end that made the code, and of those that claim it.
const MAKER: usize = 0;
const ADA: usize = 1;
const EVE: usize = 2;

fn rng(seed: u8) -> Box<ChaCha20Rng> {
    Box::new(ChaCha20Rng::from_seed([seed; 32]))
}

fn secret(seed: u8) -> Secret {
    Secret::from(&Words::random(2, &mut *rng(seed)))
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, u8::try_from(node).unwrap()], 1_936))
}

struct Node {
    endpoint: Endpoint,
    claimers: Vec<Claimer>,
    maker: Option<Maker>,
    /// Events that neither has taken.
    others: Vec<Event>,
}

/// Endpoints whose datagrams arrive at once.
struct World {
    now: Instant,
    nodes: Vec<Node>,
}

impl World {
    fn new() -> Self {
        Self::with(|node| {
            let builder = ModernProfile::builder().accept_ancillary(true);
            Arc::new(builder.build(&mut *rng(node)).unwrap())
        })
    }

    fn with(profile: impl Fn(u8) -> Arc<dyn rtmfp_core::profile::CryptoProfile>) -> Self {
        let node = |node: u8| {
            let config = EndpointConfig::default();
            let endpoint = Endpoint::new(config, profile(node), rng(node + 100), Instant::ORIGIN).unwrap();
            Node { endpoint, claimers: Vec::new(), maker: None, others: Vec::new() }
        };
        let mut world = Self { now: Instant::ORIGIN, nodes: (0..3).map(node).collect() };
        world.nodes[MAKER].maker = Some(Maker::new(secret(1), rng(50)));
        world
    }

    /// A session from one node to another.
    fn open(&mut self, from: usize, to: usize) -> SessionHandle {
        let discriminator = Discriminator::new().ancillary_data(b"rtmfp:").to_bytes().into();
        let candidates = vec![(Path::new(InterfaceId(0), address(to)), Duration::ZERO)];
        let session = self.nodes[from].endpoint.open(self.now, Target { discriminator, candidates }).unwrap();
        self.settle();
        assert!(self.nodes[from].others.contains(&Event::SessionOpened { session }), "{:?}", self.nodes[from].others);
        session
    }

    /// Begins to claim; gives the number of the claim at its node.
    fn claim(&mut self, node: usize, session: SessionHandle, secret: &Secret) -> usize {
        let Node { endpoint, claimers, .. } = &mut self.nodes[node];
        claimers.push(Claimer::new(self.now, endpoint, session, secret, rng(60)));
        claimers.len() - 1
    }

    fn settle(&mut self) {
        loop {
            let mut leaving = Vec::new();
            for (from, node) in self.nodes.iter_mut().enumerate() {
                let mut buf = TransmitBuf::new(4);
                while let Some(transmit) = node.endpoint.poll_transmit(self.now, &mut buf) {
                    leaving.extend(buf.datagrams().map(|bytes| (from, transmit.path.remote, bytes.to_vec())));
                }
            }
            let nothing = leaving.is_empty();
            for (from, to, mut bytes) in leaving {
                let to = (0..self.nodes.len()).find(|node| address(*node) == to).unwrap();
                let path = Path::new(InterfaceId(0), address(from));
                let _ = self.nodes[to].endpoint.handle_datagram(self.now, path, RecvMeta::default(), &mut bytes);
            }
            self.nodes.iter_mut().for_each(|node| node.take_events(self.now));
            if nothing {
                return;
            }
        }
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let due = self.nodes.iter().filter_map(Node::next_timeout).min().filter(|due| *due <= end);
            self.now = due.unwrap_or(end).max(self.now);
            if due.is_none() {
                return;
            }
            for node in &mut self.nodes {
                node.endpoint.handle_timeout(self.now);
                node.wake(self.now);
            }
        }
    }

    fn outcome(&mut self, node: usize, claim: usize) -> Option<Result<Shared, ClaimFailure>> {
        self.nodes[node].claimers[claim].outcome()
    }

    fn failure(&mut self, node: usize, claim: usize) -> Option<ClaimFailure> {
        self.outcome(node, claim).and_then(Result::err)
    }

    fn made(&mut self) -> Option<Made> {
        self.maker().outcome()
    }

    fn maker(&mut self) -> &mut Maker {
        self.nodes[MAKER].maker.as_mut().unwrap()
    }

    /// A flow that says what the test wants.
    fn raw(&mut self, node: usize, session: SessionHandle, messages: &[&[u8]]) -> SendFlowHandle {
        let now = self.now;
        let endpoint = &mut self.nodes[node].endpoint;
        let flow = endpoint.session_mut(now, session).unwrap().open_flow(FlowOptions::new(METADATA)).unwrap();
        self.say(node, flow, messages);
        flow
    }

    fn say(&mut self, node: usize, flow: SendFlowHandle, messages: &[&[u8]]) {
        for message in messages {
            let mut flow = self.nodes[node].endpoint.send_flow_mut(self.now, flow).unwrap();
            flow.write(message.to_vec()).unwrap();
        }
        self.settle();
    }

    /// What a flow of the test's own was rejected with.
    fn rejection(&self, node: usize, of: SendFlowHandle) -> Option<Refusal> {
        self.nodes[node].others.iter().find_map(|event| match event {
            Event::FlowRejected { flow, code, .. } if *flow == of => Refusal::from_code(*code),
            _ => None,
        })
    }

    /// What a flow of the test's own is answered with.
    fn answers(&mut self, node: usize, to: SendFlowHandle) -> Vec<Vec<u8>> {
        let Node { endpoint, others, .. } = &mut self.nodes[node];
        let opened = others.iter().find_map(|event| match event {
            Event::FlowOpened { flow } if endpoint.recv_flow(*flow).unwrap().association() == Some(to) => Some(*flow),
            _ => None,
        });
        let mut flow = endpoint.recv_flow_mut(self.now, opened.unwrap()).unwrap();
        core::iter::from_fn(|| flow.read()).map(|message| message.data.to_vec()).collect()
    }
}

impl Node {
    fn take_events(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            let by_maker = self.maker.as_mut().is_some_and(|maker| maker.offer(now, &mut self.endpoint, &event));
            let taken = self.claimers.iter_mut().any(|claimer| claimer.offer(now, &mut self.endpoint, &event));
            if !taken && !by_maker {
                self.others.push(event);
            }
        }
    }

    fn wake(&mut self, now: Instant) {
        self.maker.iter_mut().for_each(|maker| maker.on_wake(now, &mut self.endpoint));
        self.claimers.iter_mut().for_each(|claimer| claimer.on_wake(now, &mut self.endpoint));
    }

    fn next_timeout(&self) -> Option<Instant> {
        let claims = self.claimers.iter().filter_map(Claimer::next_timeout);
        let maker = self.maker.as_ref().and_then(Maker::next_timeout);
        claims.chain(maker).chain(self.endpoint.poll_timeout()).min()
    }
}

#[test]
fn who_knows_the_code_and_who_made_it_have_a_secret_in_common_afterwards() {
    let mut world = World::new();
    let session = world.open(ADA, MAKER);
    let claim = world.claim(ADA, session, &secret(1));
    world.settle();
    let ours = world.outcome(ADA, claim).unwrap().unwrap();
    let Some(Made::Proved { session: at, shared }) = world.made() else { panic!("not proved") };
    assert_eq!(ours.secret(b"resume"), shared.secret(b"resume"));
    assert!(world.nodes[MAKER].endpoint.session(at).is_some());
    assert!(world.outcome(ADA, claim).is_none() && world.made().is_none(), "each is told once");
    assert_eq!((world.maker().next_timeout(), world.nodes[ADA].claimers[claim].next_timeout()), (None, None));
}

#[test]
fn a_wrong_code_is_told_to_both_at_once_and_burns_the_right_one() {
    let mut world = World::new();
    let session = world.open(EVE, MAKER);
    let claim = world.claim(EVE, session, &secret(9));
    world.settle();
    let wrong = ClaimFailure::Refused { why: Refusal::Wrong, spent: true };
    assert_eq!(world.failure(EVE, claim), Some(wrong));
    assert!(wrong.is_spent());
    assert!(matches!(world.made(), Some(Made::Burnt { .. })));
    let session = world.open(ADA, MAKER);
    let claim = world.claim(ADA, session, &secret(1));
    world.settle();
    assert_eq!(world.failure(ADA, claim), Some(ClaimFailure::Refused { why: Refusal::Spent, spent: false }));
    assert!(world.made().is_none());
}

#[test]
fn one_claim_is_answered_at_a_time_and_one_in_all() {
    let mut world = World::new();
    let (ada, eve) = (world.open(ADA, MAKER), world.open(EVE, MAKER));
    let (_, share) = (0, pake::claim(&secret(9), b"none", &mut *rng(3)).unwrap().0);
    world.raw(EVE, eve, &[&message(CLAIM_SHARE, &share)]);
    let claim = world.claim(ADA, ada, &secret(1));
    world.settle();
    assert_eq!(world.failure(ADA, claim), Some(ClaimFailure::Refused { why: Refusal::Busy, spent: false }));
    // Nothing was guessed, by either: the code is as good as before.
    world.nodes[EVE].endpoint.session_mut(world.now, eve).unwrap().close(CloseMode::Abrupt);
    world.pass(Duration::from_secs(1));
    let claim = world.claim(ADA, ada, &secret(1));
    world.settle();
    assert!(world.outcome(ADA, claim).unwrap().is_ok());
    assert!(matches!(world.made(), Some(Made::Proved { .. })));
    let claim = world.claim(ADA, ada, &secret(1));
    world.settle();
    assert_eq!(world.failure(ADA, claim), Some(ClaimFailure::Refused { why: Refusal::Spent, spent: false }));
}

#[test]
fn guesses_in_parallel_are_one_guess() {
    let mut world = World::new();
    let session = world.open(EVE, MAKER);
    let claims: Vec<usize> = (0..64).map(|guess| world.claim(EVE, session, &secret(100 + guess))).collect();
    world.settle();
    let failures: Vec<_> = claims.into_iter().filter_map(|claim| world.failure(EVE, claim)).collect();
    assert_eq!(failures.len(), 64);
    let wrong = failures.iter().filter(|why| matches!(why, ClaimFailure::Refused { why: Refusal::Wrong, .. }));
    assert_eq!((wrong.count(), failures.iter().filter(|why| why.is_spent()).count()), (1, 1));
}

#[test]
fn a_claim_that_goes_silent_after_its_share_has_guessed_nothing_and_burns_nothing() {
    let mut world = World::new();
    let session = world.open(EVE, MAKER);
    let (share, _) = pake::claim(&secret(9), b"none", &mut *rng(3)).unwrap();
    let silent = world.raw(EVE, session, &[&message(CLAIM_SHARE, &share)]);
    let mute = world.raw(EVE, session, &[]);
    world.pass(STEP_LIMIT + Duration::from_secs(1));
    assert_eq!((world.rejection(EVE, silent), world.rejection(EVE, mute)), (Some(Refusal::Late), None));
    assert_eq!((world.maker().fruitless(), world.maker().is_open()), (1, true));
    // One that waits without a word has no place.
    let ada = world.open(ADA, MAKER);
    let claim = world.claim(ADA, ada, &secret(1));
    world.settle();
    assert!(world.outcome(ADA, claim).unwrap().is_ok());
}

#[test]
fn garbage_in_the_place_of_a_confirmation_is_a_guess_and_anything_else_is_none() {
    let share = pake::claim(&secret(9), b"none", &mut *rng(3)).unwrap().0;
    let claim = message(CLAIM_SHARE, &share);
    for (garbage, why) in [
        (&[&[][..]][..], Refusal::Malformed),
        (&[&[7; 33]], Refusal::Malformed),
        (&[&[CLAIM_SHARE; 32]], Refusal::Malformed),
        (&[&[CLAIM_SHARE; 34]], Refusal::Malformed),
        (&[&message(CLAIM_SHARE, &[0; 32])], Refusal::Malformed),
        (&[&message(CLAIM_CONFIRMATION, &[0; 32])], Refusal::Malformed),
        (&[&claim, &claim], Refusal::Malformed),
        (&[&claim, &[]], Refusal::Malformed),
        (&[&claim, &[CLAIM_CONFIRMATION]], Refusal::Wrong),
        (&[&claim, &[CLAIM_CONFIRMATION; 34]], Refusal::Wrong),
    ] {
        let mut world = World::new();
        let session = world.open(EVE, MAKER);
        let flow = world.raw(EVE, session, garbage);
        assert_eq!(world.rejection(EVE, flow), Some(why), "{garbage:?}");
        assert_eq!(world.maker().is_open(), why != Refusal::Wrong, "{garbage:?}");
        assert_eq!(world.made().is_some(), why == Refusal::Wrong, "{garbage:?}");
        assert_eq!(world.maker().next_timeout(), None, "{garbage:?}");
    }
}

/// The claiming end against one that answers as the test says; gives what comes of it.
fn answered_with(answers: &[&[u8]]) -> Option<ClaimFailure> {
    let mut world = World::new();
    world.nodes[MAKER].maker = None;
    let session = world.open(ADA, MAKER);
    let claim = world.claim(ADA, session, &secret(1));
    world.settle();
    let asked = world.nodes[MAKER].others.iter().find_map(|event| match event {
        Event::FlowOpened { flow } => Some(*flow),
        _ => None,
    });
    let now = world.now;
    let mut asked = world.nodes[MAKER].endpoint.recv_flow_mut(now, asked.unwrap()).unwrap();
    let flow = asked.open_return_flow(FlowOptions::new(METADATA)).unwrap();
    world.say(MAKER, flow, answers);
    world.pass(STEP_LIMIT + Duration::from_secs(1));
    world.failure(ADA, claim)
}

#[test]
fn a_claiming_end_believes_nothing_that_it_cannot_check() {
    let share = pake::claim(&secret(9), b"none", &mut *rng(3)).unwrap().0;
    let share = message(ANSWER_SHARE, &share);
    assert_eq!(answered_with(&[]), Some(ClaimFailure::Silent { spent: false }));
    assert_eq!(answered_with(&[&[]]), Some(ClaimFailure::Malformed { spent: false }));
    assert_eq!(answered_with(&[&message(ANSWER_SHARE, &[0xff; 32])]), Some(ClaimFailure::Malformed { spent: false }));
    assert_eq!(
        answered_with(&[&message(ANSWER_CONFIRMATION, &[1; 32])]),
        Some(ClaimFailure::Malformed { spent: false })
    );
    assert_eq!(answered_with(&[&share]), Some(ClaimFailure::Silent { spent: true }), "it has shown its guess");
    assert_eq!(answered_with(&[&share, &share]), Some(ClaimFailure::Malformed { spent: true }));
    let wrong = message(ANSWER_CONFIRMATION, &[1; 32]);
    assert_eq!(answered_with(&[&share, &wrong]), Some(ClaimFailure::Deceived));
    assert_eq!(answered_with(&[&share, &wrong[..20]]), Some(ClaimFailure::Deceived));
}

/// An active server: it has a session with each, and hands on what they say.
#[test]
fn one_between_two_sessions_gets_nothing_and_both_are_told() {
    let mut world = World::new();
    // Eve answers in the maker's place, and has a session with the maker.
    let to_eve = world.open(ADA, EVE);
    let to_maker = world.open(EVE, MAKER);
    let claim = world.claim(ADA, to_eve, &secret(1));
    world.settle();
    let now = world.now;
    let asked = world.nodes[EVE].others.iter().find_map(|event| match event {
        Event::FlowOpened { flow } => Some(*flow),
        _ => None,
    });
    let asked = asked.unwrap();
    let read = |world: &mut World| world.nodes[EVE].endpoint.recv_flow_mut(now, asked).unwrap().read().unwrap().data;
    let first = read(&mut world);
    let handed_on = world.raw(EVE, to_maker, &[&first]);
    let second = world.answers(EVE, handed_on).pop().unwrap();
    let mut flow = world.nodes[EVE].endpoint.recv_flow_mut(now, asked).unwrap();
    let back = flow.open_return_flow(FlowOptions::new(METADATA)).unwrap();
    world.say(EVE, back, &[&second]);
    let third = read(&mut world);
    assert_eq!(third.first(), Some(&CLAIM_CONFIRMATION));
    world.say(EVE, handed_on, &[&third]);
    assert_eq!(world.rejection(EVE, handed_on), Some(Refusal::Wrong), "the sessions are different");
    assert!(matches!(world.made(), Some(Made::Burnt { .. })));
    world.pass(STEP_LIMIT + Duration::from_secs(1));
    assert_eq!(world.failure(ADA, claim), Some(ClaimFailure::Silent { spent: true }));
}

#[test]
fn what_was_said_in_one_session_is_of_no_use_in_another() {
    let mut world = World::new();
    world.nodes[MAKER].maker = None;
    // Recorded from an exchange that succeeded.
    let session = world.open(ADA, MAKER);
    let bound = binding(&world.nodes[ADA].endpoint, session).unwrap();
    let (share, claimed) = pake::claim(&secret(1), &bound, &mut *rng(3)).unwrap();
    let (answer, _) = pake::answer(&secret(1), &bound, &share, &mut *rng(4)).unwrap();
    let (confirmation, _) = claimed.on_share(&answer).unwrap();
    world.nodes[MAKER].maker = Some(Maker::new(secret(1), rng(4)));
    let session = world.open(EVE, MAKER);
    let messages = [message(CLAIM_SHARE, &share), message(CLAIM_CONFIRMATION, &confirmation)];
    let flow = world.raw(EVE, session, &[&messages[0], &messages[1]]);
    assert_eq!(world.rejection(EVE, flow), Some(Refusal::Wrong));
}

#[test]
fn the_binding_is_the_same_at_both_ends_and_another_in_each_session() {
    let mut world = World::new();
    let (ada, eve) = (world.open(ADA, MAKER), world.open(EVE, MAKER));
    let bindings = [(ADA, ada), (EVE, eve)].map(|(node, session)| binding(&world.nodes[node].endpoint, session));
    let theirs: Vec<_> = world.nodes[MAKER].endpoint.sessions().collect();
    let mut theirs: Vec<_> = theirs.into_iter().map(|it| binding(&world.nodes[MAKER].endpoint, it)).collect();
    assert!(bindings.iter().all(|binding| binding.as_ref().is_some_and(|bytes| bytes.len() >= 8 + 64)));
    assert_ne!(bindings[0], bindings[1]);
    theirs.sort();
    let mut ours = bindings.to_vec();
    ours.sort();
    assert_eq!(ours, theirs);
}

#[test]
fn a_session_without_secrets_of_its_own_proves_nothing() {
    let mut world = World::with(|_| Arc::new(PlainProfile::new(b"anybody")));
    let candidates = vec![(Path::new(InterfaceId(0), address(MAKER)), Duration::ZERO)];
    let target = Target { discriminator: rtmfp_core::Bytes::from_static(b"anybody"), candidates };
    let session = world.nodes[ADA].endpoint.open(world.now, target).unwrap();
    world.settle();
    let claim = world.claim(ADA, session, &secret(1));
    assert_eq!(world.failure(ADA, claim), Some(ClaimFailure::NotBegun));
    let share = pake::claim(&secret(1), b"", &mut *rng(3)).unwrap().0;
    let flow = world.raw(ADA, session, &[&message(CLAIM_SHARE, &share)]);
    assert_eq!(world.rejection(ADA, flow), Some(Refusal::Unbound));
    assert!(world.maker().is_open());
}

#[test]
fn an_expired_code_is_refused_to_those_who_are_at_it_and_to_those_who_come_later() {
    let mut world = World::new();
    let session = world.open(ADA, MAKER);
    let share = pake::claim(&secret(1), b"", &mut *rng(3)).unwrap().0;
    let flow = world.raw(ADA, session, &[&message(CLAIM_SHARE, &share)]);
    let Node { endpoint, maker, .. } = &mut world.nodes[MAKER];
    maker.as_mut().unwrap().expire(world.now, endpoint);
    world.settle();
    assert_eq!(world.rejection(ADA, flow), Some(Refusal::Expired));
    let claim = world.claim(ADA, session, &secret(1));
    world.settle();
    assert_eq!(world.failure(ADA, claim), Some(ClaimFailure::Refused { why: Refusal::Expired, spent: false }));
}

#[test]
fn the_end_of_the_session_is_told_with_whether_the_code_is_spent() {
    let mut world = World::new();
    let session = world.open(ADA, MAKER);
    let claim = world.claim(ADA, session, &secret(1));
    let theirs = world.nodes[MAKER].endpoint.sessions().next().unwrap();
    world.nodes[MAKER].endpoint.session_mut(world.now, theirs).unwrap().close(CloseMode::Abrupt);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.failure(ADA, claim), Some(ClaimFailure::Lost { spent: false }));
}

#[test]
fn an_end_that_expects_no_code_is_told_from_one_that_refuses_it() {
    let mut world = World::new();
    world.nodes[MAKER].maker = None;
    let session = world.open(ADA, MAKER);
    let claim = world.claim(ADA, session, &secret(1));
    world.settle();
    let asked = world.nodes[MAKER].others.iter().find_map(|event| match event {
        Event::FlowOpened { flow } => Some(*flow),
        _ => None,
    });
    world.nodes[MAKER].endpoint.recv_flow_mut(world.now, asked.unwrap()).unwrap().reject(1);
    world.settle();
    assert_eq!(world.failure(ADA, claim), Some(ClaimFailure::NotThere));
}

#[test]
fn each_refusal_has_a_code_of_its_own() {
    let codes: alloc::collections::BTreeSet<u64> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
    assert_eq!(codes.len(), Refusal::ALL.len());
    assert!(Refusal::ALL.iter().all(|refusal| Refusal::from_code(refusal.code()) == Some(*refusal)));
    assert_eq!(Refusal::from_code(0), None);
}

/// Of two codes at one maker, a wrong guess at one leaves the other as it was.
#[test]
fn each_of_several_codes_is_claimed_and_burnt_by_itself() {
    let mut world = World::new();
    let [first, second] = [1, 2].map(NonZeroU8::new);
    world.nodes[MAKER].maker = Some(Maker::new(secret(1), rng(50)).with_slot(first));
    let mut beside = Maker::new(secret(2), rng(51)).with_slot(second);
    let session = world.open(EVE, MAKER);
    let mut claims = Vec::new();
    for (slot, seed) in [(None, 1), (second, 1), (first, 9), (first, 1)] {
        let Node { endpoint, claimers, .. } = &mut world.nodes[EVE];
        claimers.push(Claimer::of_slot(world.now, endpoint, session, slot, &secret(seed), rng(60)));
        claims.push(claimers.len() - 1);
        world.settle();
    }
    let Node { endpoint, others, .. } = &mut world.nodes[MAKER];
    let opened = others.iter().filter(|event| matches!(event, Event::FlowOpened { .. }));
    let taken = opened.filter(|event| beside.offer(world.now, endpoint, event)).count();
    assert_eq!(taken, 1, "the first maker leaves alone what is not its own, and so does the second");
    assert!(beside.is_open());
    let failures: Vec<_> = claims.into_iter().map(|claim| world.failure(EVE, claim)).collect();
    let refused = |why, spent| Some(ClaimFailure::Refused { why, spent });
    assert_eq!(failures, [None, None, refused(Refusal::Wrong, true), refused(Refusal::Spent, false)]);
}
