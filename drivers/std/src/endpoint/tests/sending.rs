//! Messages with time limits and receipts.

mod queueing;

use rtmfp_core::{MessageOutcome, RecvFlowHandle};

use super::*;
use crate::endpoint::{Receipt, SendFlow, SendOptions};

const STEP: Duration = Duration::from_millis(50);
/// Nothing more has room in the endpoint.
const MUCH: usize = 262_144;

/// An endpoint with a flow to a client, and what has come there.
struct Rig {
    server: Server,
    client: Client,
    flow: SendFlow,
    opened: Option<RecvFlowHandle>,
    received: Vec<usize>,
}

impl Rig {
    fn new() -> Self {
        let mut server = Server::new(EndpointConfig::default());
        let client = server.client();
        let flow = server.accept().unwrap().open_flow(FlowOptions::new("flow"));
        Self { server, client, flow, opened: None, received: Vec::new() }
    }

    /// The same, with a first message that fills the endpoint: what comes after it waits in the handle's queue.
    fn full() -> Self {
        let mut rig = Self::new();
        rig.flow.send(vec![7; MUCH]).unwrap();
        rig.server.settle();
        assert_eq!(rig.flow.queued(), (0, 0), "the endpoint has it");
        rig
    }

    fn send(&self, length: usize, options: SendOptions) -> Receipt {
        self.flow.send_with(vec![7; length], options).unwrap()
    }

    /// One datagram of the endpoint, which is on its way.
    fn transmit(&mut self) -> Vec<u8> {
        self.server.settle();
        let mut flight = TransmitBuf::new(1);
        self.server.endpoint.poll_transmit(self.server.now, &mut flight).unwrap();
        flight.datagrams().next().unwrap().to_vec()
    }

    fn arrive(&mut self, mut datagram: Vec<u8>) {
        let _ =
            self.client.endpoint.handle_datagram(self.server.now, server_path(), RecvMeta::default(), &mut datagram);
        self.read();
    }

    fn advance(&mut self, time: Duration) {
        self.server.now += time;
        if self.server.endpoint.poll_timeout().is_some_and(|at| at <= self.server.now) {
            self.server.endpoint.handle_timeout(self.server.now);
        }
        self.server.settle();
    }

    fn read(&mut self) {
        while let Some(event) = self.client.endpoint.poll_event() {
            if let Event::FlowOpened { flow } = event {
                self.opened = Some(flow);
            }
        }
        let Some(flow) = self.opened else { return };
        while let Some(message) =
            self.client.endpoint.recv_flow_mut(self.server.now, flow).and_then(|mut flow| flow.read())
        {
            self.received.push(message.data.len());
        }
    }

    /// Back and forth, with a reader. Lengths of all that has come so far.
    fn exchange(&mut self) -> &[usize] {
        let back = Path::new(InterfaceId(0), self.client.address);
        for _ in 0..100 {
            loop {
                self.server.settle();
                let there = carry(self.server.now, &mut self.client.endpoint, &mut self.server.endpoint, back);
                self.server.settle();
                let (server, client) = (&mut self.server.endpoint, &mut self.client.endpoint);
                if !carry(self.server.now, server, client, server_path()) && !there {
                    break;
                }
                self.read();
            }
            self.read();
            self.advance(Duration::from_millis(10));
            if self.client.endpoint.poll_timeout().is_some_and(|at| at <= self.server.now) {
                self.client.endpoint.handle_timeout(self.server.now);
            }
        }
        &self.received
    }
}

fn outcome(receipt: &Receipt) -> Option<MessageOutcome> {
    match receipt.poll(&mut context(), &mut Waiter::default()) {
        Poll::Ready(outcome) => {
            assert_eq!(receipt.outcome(), Some(outcome));
            Some(outcome)
        }
        Poll::Pending => None,
    }
}

fn outcomes<const N: usize>(receipts: [&Receipt; N]) -> [Option<MessageOutcome>; N] {
    receipts.map(outcome)
}

const ABANDONED: Option<MessageOutcome> = Some(MessageOutcome::Abandoned);
const DELIVERED: Option<MessageOutcome> = Some(MessageOutcome::Delivered);
const UNKNOWN: Option<MessageOutcome> = Some(MessageOutcome::Unknown);

#[test]
fn a_receipt_tells_that_the_message_was_delivered() {
    let mut rig = Rig::new();
    let receipt = rig.send(100, SendOptions::new());
    rig.server.settle();
    assert_eq!(outcome(&receipt), None);
    assert_eq!(rig.exchange(), [100]);
    assert_eq!(outcome(&receipt), DELIVERED);
}

/// It was told as abandoned, and arrived.
#[test]
fn a_message_that_is_on_its_way_at_its_deadline_is_not_told_as_abandoned() {
    for arrives in [true, false] {
        let mut rig = Rig::new();
        rig.flow.send("x").unwrap();
        rig.exchange();
        let receipt = rig.send(100, SendOptions::new().deadline(STEP / 10));
        let datagram = rig.transmit();
        rig.advance(STEP / 5);
        assert_eq!(outcome(&receipt), None, "it may still arrive");
        if arrives {
            rig.arrive(datagram);
        }
        assert_eq!(rig.exchange().len(), if arrives { 2 } else { 1 });
        assert_eq!(outcome(&receipt), if arrives { DELIVERED } else { UNKNOWN });
        // What depends on it is sent if it is known to be there.
        let child = rig.send(200, SendOptions::new().after(&receipt));
        rig.exchange();
        assert_eq!(outcome(&child), if arrives { DELIVERED } else { ABANDONED });
    }
}

#[test]
fn messages_expire_in_the_queue_of_their_handle_each_in_its_time() {
    let mut rig = Rig::full();
    let start = rig.server.now;
    let [late, first, last] = [3, 1, 2].map(|n| rig.send(10_000, SendOptions::new().deadline(n * STEP)));
    let begun = rig.send(20_000, SendOptions::new().start_by(STEP).deadline(9 * STEP));
    let kept = rig.send(30_000, SendOptions::new());
    rig.server.settle();
    assert_eq!(rig.flow.queued(), (5, 80_005));
    let mut waiter = Waiter::default();
    for (steps, told) in [(1, [ABANDONED, ABANDONED, None, None]), (2, [ABANDONED, ABANDONED, ABANDONED, None])] {
        assert_eq!(rig.server.app.next_timeout(), Some(start + steps * STEP));
        rig.server.now = start + steps * STEP;
        rig.server.settle();
        assert_eq!(outcomes([&first, &begun, &last, &late]), told);
    }
    assert!(late.poll(&mut context(), &mut waiter).is_pending());
    rig.advance(STEP);
    assert_eq!(outcome(&late), ABANDONED);
    assert_eq!((rig.server.app.next_timeout(), rig.flow.queued()), (None, (1, 30_001)));
    assert_eq!(rig.exchange(), [MUCH, 30_000], "the others take nothing of the network");
    assert_eq!(outcome(&kept), DELIVERED);
}

/// What expires leaves its room to whoever waits for it.
#[test]
fn a_deadline_counts_from_the_call_though_the_message_waits_for_room() {
    let mut rig = Rig::full();
    let before = rig.send(QUEUE_BYTES, SendOptions::new().deadline(STEP));
    rig.server.settle();
    let (mut context, mut waiters) = (context(), [Waiter::default(), Waiter::default()]);
    let mut waits_short = rig.flow.begin_send(vec![7; 10], SendOptions::new().deadline(STEP));
    let mut waits_long = rig.flow.begin_send(vec![7; 20], SendOptions::new().deadline(100 * STEP));
    assert!(waits_short.poll(&mut context, &mut waiters[0]).is_pending());
    assert!(waits_long.poll(&mut context, &mut waiters[1]).is_pending());
    rig.server.settle();
    rig.server.now += STEP;
    rig.server.settle();
    assert_eq!(outcome(&before), ABANDONED);
    let Poll::Ready(Ok(short)) = waits_short.poll(&mut context, &mut waiters[0]) else { panic!("there is room") };
    let Poll::Ready(Ok(long)) = waits_long.poll(&mut context, &mut waiters[1]) else { panic!("there is room") };
    drop((waits_short, waits_long));
    rig.server.settle();
    assert_eq!(outcomes([&short, &long]), [ABANDONED, None]);
    assert_eq!(rig.exchange(), [MUCH, 20]);
    assert_eq!(outcome(&long), DELIVERED);
}

#[test]
fn a_message_is_abandoned_wherever_it_is() {
    let mut rig = Rig::full();
    let [queued, kept] = [10, 20].map(|length| rig.send(length, SendOptions::new()));
    rig.server.settle();
    queued.abandon();
    queued.abandon();
    rig.server.settle();
    assert_eq!((outcomes([&queued, &kept]), rig.flow.queued()), ([ABANDONED, None], (1, 21)));
    assert_eq!(rig.exchange(), [MUCH, 20]);
    let in_flight = rig.send(30, SendOptions::new());
    let in_part = rig.send(50_000, SendOptions::new());
    let unsent = rig.send(40, SendOptions::new());
    rig.transmit();
    for receipt in [&in_flight, &in_part, &unsent, &kept] {
        receipt.abandon();
    }
    rig.server.settle();
    rig.server.settle();
    assert_eq!(outcomes([&in_flight, &in_part, &unsent, &kept]), [None, ABANDONED, ABANDONED, DELIVERED]);
    assert_eq!(rig.exchange(), [MUCH, 20]);
    assert_eq!(outcome(&in_flight), UNKNOWN);
}

/// The message before it was handed over in vain, and put back where it had been.
#[test]
fn abandoning_a_message_twice_takes_no_other() {
    let mut rig = Rig::full();
    let [kept, twice] = [10, 20].map(|length| rig.send(length, SendOptions::new()));
    rig.server.settle();
    twice.abandon();
    rig.server.settle();
    twice.abandon();
    rig.server.settle();
    assert_eq!((outcomes([&kept, &twice]), rig.flow.queued()), ([None, ABANDONED], (1, 11)));
    assert_eq!(rig.exchange(), [MUCH, 10]);
    assert_eq!(outcome(&kept), DELIVERED);
}

#[test]
fn a_message_goes_with_the_one_that_it_depends_on() {
    let mut rig = Rig::full();
    let parent = rig.send(10, SendOptions::new().deadline(STEP));
    let child = rig.send(20, SendOptions::new().after(&parent));
    let grandchild = rig.send(30, SendOptions::new().after(&child));
    let other = rig.send(40, SendOptions::new());
    rig.server.settle();
    rig.advance(STEP);
    assert_eq!(rig.exchange(), [MUCH, 40]);
    assert_eq!(outcomes([&parent, &child, &grandchild]), [ABANDONED; 3]);
    // In the endpoint too, and not if it was delivered.
    let parent = rig.send(50_000, SendOptions::new());
    let child = rig.send(60, SendOptions::new().after(&parent));
    let delivered = rig.send(70, SendOptions::new().after(&other));
    rig.server.settle();
    parent.abandon();
    assert_eq!(rig.exchange(), [MUCH, 40, 70]);
    assert_eq!(outcomes([&parent, &child, &delivered]), [ABANDONED, ABANDONED, DELIVERED]);
    // Those of another flow have other numbers.
    let session = rig.flow.session().clone();
    let flow = core::mem::replace(&mut rig.flow, session.open_flow(FlowOptions::new("other")));
    for _ in 0..6 {
        rig.send(50_000, SendOptions::new()).abandon();
    }
    rig.server.settle();
    let independent = rig.send(80, SendOptions::new().after(&parent));
    rig.exchange();
    assert_eq!(outcome(&independent), DELIVERED);
    drop(flow);
}

#[test]
fn a_flow_or_session_that_has_ended_leaves_no_deadline() {
    for rejects in [true, false] {
        let mut rig = Rig::new();
        rig.flow.send("x").unwrap();
        rig.exchange();
        rig.flow.send(vec![7; MUCH]).unwrap();
        rig.server.settle();
        let waiting = rig.send(10_000, SendOptions::new().deadline(Duration::from_secs(3_600)));
        rig.server.settle();
        assert!(rig.server.app.next_timeout().is_some());
        if rejects {
            rig.client.endpoint.recv_flow_mut(rig.server.now, rig.opened.unwrap()).unwrap().reject(7);
            rig.exchange();
        } else {
            rig.flow.session().abort(CloseMode::Abrupt);
            rig.server.settle();
            rig.server.settle();
        }
        assert_eq!((outcome(&waiting), rig.server.app.next_timeout()), (ABANDONED, None));
    }
}

#[test]
fn a_receipt_is_told_when_the_flow_or_the_session_ends() {
    for ends in [
        |rig: &mut Rig| rig.flow.session().abort(CloseMode::Abrupt),
        |rig: &mut Rig| drop(core::mem::replace(&mut rig.server, Server::new(EndpointConfig::default()))),
        |rig: &mut Rig| rig.client.endpoint.recv_flow_mut(rig.server.now, rig.opened.unwrap()).unwrap().reject(7),
    ] {
        let mut rig = Rig::new();
        rig.flow.send("x").unwrap();
        rig.exchange();
        let sent = rig.send(30, SendOptions::new());
        let datagram = rig.transmit();
        let in_part = rig.send(200_000, SendOptions::new());
        let queued = rig.send(100_000, SendOptions::new());
        ends(&mut rig);
        rig.arrive(datagram);
        rig.exchange();
        assert_eq!(outcome(&sent), UNKNOWN);
        // Without its endpoint nobody knows how much of it was sent.
        assert!(outcome(&in_part) == ABANDONED || outcome(&in_part) == UNKNOWN);
        assert_eq!(outcome(&queued), ABANDONED);
    }
}
