//! Properties of a flow over any network and any use.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use quickcheck::{TestResult, quickcheck};

use super::link::{ERTO, Link};
use crate::config::{FlowOptions, ReceiveOrder, SendOptions};
use crate::event::{Event, FlowEnd, MessageOutcome};
use crate::flow::{Message, RecvFlowState, SendFlowState};
use crate::handle::MessageId;

/// What was written, read and reported.
#[derive(Default)]
struct Ledger {
    written: Vec<Vec<u8>>,
    read: Vec<(u64, Message)>,
    outcomes: BTreeMap<u64, MessageOutcome>,
    finished: bool,
    completed: bool,
    readable: bool,
    refused: bool,
}

impl Ledger {
    fn take_events(&mut self, link: &mut Link) {
        for event in link.drain_events() {
            #[expect(clippy::wildcard_enum_match_arm, reason = "any other event is a failure")]
            match event {
                Event::MessageDone { message, outcome, .. } => {
                    assert_eq!(self.outcomes.insert(message.0, outcome), None, "told once");
                }
                Event::FlowReadable { .. } => {
                    assert!(!self.readable);
                    self.readable = true;
                }
                Event::FlowWritable { .. } => {
                    assert!(self.refused, "only after a refusal");
                    self.refused = false;
                }
                Event::FlowFinished { end, .. } => {
                    assert!(!self.finished && end == FlowEnd::Complete);
                    self.finished = true;
                }
                Event::FlowCompleted { .. } => {
                    assert!(!self.completed);
                    self.completed = true;
                }
                // The others are of sessions, or of what these tests do not do.
                _ => panic!("{event:?}"),
            }
        }
    }

    fn write(&mut self, link: &mut Link, value: u16, reliable: bool) {
        let id = self.written.len() as u64;
        // Lengths: empty, small, about a packet, several packets.
        let len = [0, 1, 40, 200, 290, 700, 2_000][usize::from(value % 7)];
        let mut data = Vec::from(id.to_be_bytes());
        data.extend((0..len).map(|index| (index as u64 * 7 + id) as u8));
        // Empty messages cannot be told apart if some may be missing.
        if len == 0 && value.is_multiple_of(2) && reliable {
            data.clear();
        }
        let mut options = SendOptions { receipt: true, ..SendOptions::default() };
        if !reliable {
            let kind = value / 7;
            options.retransmit = !kind.is_multiple_of(3);
            options.start_by = kind.is_multiple_of(5).then(|| link.now + Duration::from_millis(u64::from(kind % 64)));
            options.finish_by = kind.is_multiple_of(7).then(|| link.now + Duration::from_millis(u64::from(kind % 256)));
            options.after = kind.is_multiple_of(4).then(|| MessageId(id.saturating_sub(u64::from(kind % 3))));
        }
        match link.send.write(link.now, data.clone().into(), options, &mut link.events) {
            Ok(message) => {
                assert_eq!(message, MessageId(id));
                self.written.push(data);
            }
            Err(refused) => {
                assert_eq!(refused.data, data);
                self.refused = true;
            }
        }
    }

    /// Reads until nothing is left, or one message.
    fn read(&mut self, link: &mut Link, all: bool) {
        loop {
            let message = link.read();
            self.take_events(link);
            let Some(message) = message else {
                self.readable = false;
                return;
            };
            assert!(self.readable, "told before it can be read");
            // Empty messages have no number in them: they are told by their place.
            let next = self.read.last().map_or(0, |(id, _)| id + 1);
            let id = match message.data.first_chunk::<8>() {
                Some(id) => u64::from_be_bytes(*id),
                None => (next..).find(|&id| self.written[id as usize].is_empty()).unwrap(),
            };
            assert_eq!(self.written[id as usize], message.data);
            self.read.push((id, message));
            if !all {
                return;
            }
        }
    }
}

/// Runs `ops` over a bad network, then lets everything through.
fn run(ops: &[(u8, u16)], reliable: bool, order: ReceiveOrder) -> Ledger {
    let mut ledger = Ledger::default();
    let mut link = Link::new(&FlowOptions::new("name"), 6_000, 4_096);
    for &(op, value) in ops {
        let pick = |count: usize| usize::from(value) % count.max(1);
        match op % 24 {
            0..=3 => ledger.write(&mut link, value, reliable),
            4..=7 => {
                let packet = link.transmit(u64::from(value % 1_000) + 1);
                link.data.extend(packet);
            }
            8..=11 if !link.data.is_empty() => {
                let packet = link.data.remove(pick(link.data.len()));
                link.receive(&packet);
                if let Some(recv) = &mut link.recv {
                    recv.set_order(order, &mut link.budget, &mut link.events);
                }
            }
            12 if !link.data.is_empty() => drop(link.data.remove(pick(link.data.len()))),
            13 if !link.data.is_empty() => link.data.push(link.data[pick(link.data.len())].clone()),
            14 | 15 => {
                let ack = link.acknowledge(value.is_multiple_of(2));
                link.acks.extend(ack);
            }
            16..=18 if !link.acks.is_empty() => {
                let ack = link.acks.remove(pick(link.acks.len()));
                link.process(&ack);
            }
            19 if !link.acks.is_empty() => drop(link.acks.remove(pick(link.acks.len()))),
            20 if !reliable && !ledger.written.is_empty() => {
                let message = MessageId(pick(ledger.written.len()) as u64);
                let known = link.send.abandon(message, &mut link.events);
                ledger.take_events(&mut link);
                assert!(!known || ledger.outcomes.get(&message.0) != Some(&MessageOutcome::Delivered));
            }
            21 => ledger.read(&mut link, value.is_multiple_of(2)),
            22 => {
                link.now += Duration::from_millis(u64::from(value % 40));
                link.send.handle_timeout(link.now, ERTO, &mut link.events);
                assert!(link.send.next_timeout().is_none_or(|at| at > link.now));
                if value.is_multiple_of(8) {
                    link.time_out();
                }
            }
            23 => match (&mut link.recv, value % 2) {
                (Some(recv), 0) => recv.suspend(&mut link.budget),
                (Some(recv), _) => recv.resume(&mut link.budget, &mut link.events),
                _ => {}
            },
            _ => {}
        }
        ledger.take_events(&mut link);
        assert_eq!(link.budget.held(), link.recv.as_ref().map_or(0, crate::flow::RecvFlow::memory));
    }
    run_until_quiet(&mut link, &mut ledger);
    ledger
}

/// Lets everything through: all must be delivered or given up, with nothing left anywhere.
fn run_until_quiet(link: &mut Link, ledger: &mut Ledger) {
    link.send.close(link.now, &mut link.events);
    ledger.refused = false;
    for round in 0.. {
        assert!(round < 5_000, "it does not end: {:?}", link.send);
        while let Some(packet) = link.transmit(u64::MAX) {
            link.receive(&packet);
        }
        if let Some(recv) = &mut link.recv {
            recv.resume(&mut link.budget, &mut link.events);
        }
        ledger.read(link, true);
        let ack = link.acknowledge(true).expect("a closed flow begins at least");
        link.process(&ack);
        ledger.take_events(link);
        link.now += ERTO;
        link.send.handle_timeout(link.now, ERTO, &mut link.events);
        if link.send.state() == SendFlowState::CompleteLinger {
            break;
        }
        link.time_out();
    }
    let recv = link.recv.as_ref().unwrap();
    assert_eq!(recv.state(), RecvFlowState::CompleteLinger);
    assert!(ledger.completed && ledger.finished);
    assert_eq!((link.in_flight.outstanding(), link.send.stats().buffered, link.budget.held()), (0, 0, 0));
    assert_eq!(ledger.outcomes.len(), ledger.written.len(), "each asked for a receipt");
}

quickcheck! {
    fn what_is_read_is_what_was_written_but_for_what_was_abandoned(ops: Vec<(u8, u16)>) -> bool {
        let ledger = run(&ops, false, ReceiveOrder::Queuing);
        let mut expected = 0;
        for (id, message) in &ledger.read {
            assert!(*id >= expected, "in the order of writing");
            assert_eq!(message.gap, *id != expected, "message {id}, expected {expected}");
            expected = id + 1;
        }
        let read: BTreeSet<u64> = ledger.read.iter().map(|(id, _)| *id).collect();
        ledger.outcomes.iter().all(|(id, outcome)| match outcome {
            MessageOutcome::Delivered => read.contains(id),
            MessageOutcome::Abandoned => !read.contains(id),
            MessageOutcome::Unknown => true,
        })
    }

    fn a_reliable_flow_loses_nothing(ops: Vec<(u8, u16)>) -> bool {
        let ledger = run(&ops, true, ReceiveOrder::Queuing);
        ledger.read.iter().map(|(id, _)| *id).eq(0..ledger.written.len() as u64)
            && ledger.read.iter().all(|(_, message)| !message.gap)
            && ledger.outcomes.values().all(|outcome| *outcome == MessageOutcome::Delivered)
    }

    fn in_network_order_too_each_message_is_read_once(ops: Vec<(u8, u16)>) -> TestResult {
        // Empty messages cannot be told apart out of order.
        let ops: Vec<(u8, u16)> =
            ops.into_iter().map(|(op, value)| (op, if op % 24 < 4 { value | 1 } else { value })).collect();
        let ledger = run(&ops, true, ReceiveOrder::Network);
        let read: BTreeSet<u64> = ledger.read.iter().map(|(id, _)| *id).collect();
        TestResult::from_bool(read.len() == ledger.read.len() && read.len() == ledger.written.len())
    }
}
