//! The examples of RFC 7016 §3.6.2.8 and §3.6.3.4.7, line by line.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::link::{Link, chunks, fragments, packet};
use crate::config::{FlowOptions, SendOptions};
use crate::event::EventQueue;
use crate::flow::{Fragment, RecvBudget, RecvFlow};
use crate::time::Instant;
use crate::wire::{AckRanges, FragmentControl};

/// A flow with `count` messages of one fragment queued; those in `once` are not sent again.
fn sender(count: u64, once: &[u64]) -> Link {
    let mut link = Link::new(&FlowOptions::new("x"), 1 << 20, 1 << 20);
    for sequence in 1..=count {
        let options = SendOptions { retransmit: !once.contains(&sequence), ..SendOptions::default() };
        link.send.write(link.now, "m".into(), options, &mut link.events).unwrap();
    }
    link
}

/// Sends one fragment in a packet of its own: sequence number, fsnOffset, ABN.
fn data(link: &mut Link) -> Option<(u64, u64, bool)> {
    let bytes = link.transmit(1)?;
    let sent: Vec<_> =
        fragments(&bytes).iter().map(|data| (data.sequence_number, data.fsn_offset, data.abandon)).collect();
    assert_eq!(sent.len(), 1);
    sent.first().copied()
}

fn ack(link: &mut Link, cumulative: u64, ranges: &[(u64, u64)]) {
    let bytes =
        packet(300, |writer| assert!(AckRanges::write(writer, 3, 64, cumulative, ranges.iter().copied(), false)));
    link.process(&bytes);
}

#[test]
fn figure_20_a_flow_without_loss() {
    let mut link = sender(28, &[]);
    for sequence in 1..=24 {
        assert_eq!(data(&mut link), Some((sequence, sequence, false)));
    }
    ack(&mut link, 16, &[]);
    assert_eq!(data(&mut link), Some((25, 9, false)));
    assert_eq!(data(&mut link), Some((26, 10, false)));
    ack(&mut link, 18, &[]);
    assert_eq!(data(&mut link), Some((27, 9, false)));
    assert_eq!(data(&mut link), Some((28, 10, false)));
}

#[test]
fn figure_21_a_flow_with_loss() {
    let mut link = sender(64, &[31, 60]);
    for sequence in 1..=44 {
        assert_eq!(data(&mut link), Some((sequence, sequence, false)));
    }
    ack(&mut link, 30, &[]);
    assert_eq!(data(&mut link), Some((45, 15, false)));
    ack(&mut link, 30, &[(32, 32)]);
    assert_eq!(data(&mut link), Some((46, 16, false)));
    ack(&mut link, 30, &[(32, 32), (34, 34)]);
    ack(&mut link, 30, &[(32, 32), (34, 35)]);
    assert_eq!(data(&mut link), Some((47, 15, false)), "31 is abandoned");
    ack(&mut link, 30, &[(32, 32), (34, 36)]);
    assert_eq!(data(&mut link), Some((33, 1, false)), "33 is sent again");
    ack(&mut link, 30, &[(32, 32), (34, 37)]);
    for sequence in 48..=60 {
        assert_eq!(data(&mut link), Some((sequence, sequence - 32, false)));
    }
    ack(&mut link, 30, &[(34, 46)]);
    assert_eq!(data(&mut link), Some((61, 29, false)));
    ack(&mut link, 32, &[(34, 47)]);
    assert_eq!(data(&mut link), Some((62, 30, false)));
    ack(&mut link, 47, &[]);
    assert_eq!(data(&mut link), Some((63, 16, false)));
    ack(&mut link, 49, &[]);
    assert_eq!(data(&mut link), Some((64, 15, false)));
    ack(&mut link, 59, &[]);
    ack(&mut link, 59, &[(61, 61)]);
    ack(&mut link, 59, &[(61, 62)]);
    assert_eq!(data(&mut link), None, "60 has two negative acknowledgements");
    ack(&mut link, 59, &[(61, 63)]);
    assert_eq!(data(&mut link), Some((60, 0, true)), "a Forward Sequence Number Update");
    ack(&mut link, 59, &[(61, 64)]);
    assert_eq!(data(&mut link), None);
    ack(&mut link, 64, &[]);
    assert_eq!(link.send.stats().buffered, 0);
}

#[test]
fn figure_23_a_receiver_with_loss() {
    let now = Instant::from_millis(1);
    let mut flow = RecvFlow::new(super::link::RECV, 3, "x".into(), None, 127 * 1_024);
    let mut events = EventQueue::default();
    let mut budget = RecvBudget::new(1 << 20);
    let mut data = |flow: &mut RecvFlow, sequence: u64, offset: u64| {
        let fragment = Fragment {
            sequence,
            fsn: sequence - offset,
            control: FragmentControl::Whole,
            abandon: false,
            last: false,
            options: None,
            data: b"",
        };
        let ack_now = flow.on_fragment(now, &fragment, &mut budget, &mut events).unwrap();
        while flow.read(now, &mut budget, &mut events).is_some() {}
        ack_now
    };
    let ack = |flow: &mut RecvFlow| -> String {
        let bytes = packet(300, |writer| assert!(flow.write_ack(writer, false, true)));
        chunks(&bytes).iter().map(ToString::to_string).collect()
    };
    let expected = |set: &str| String::from("AckRanges flow=3 blocks=127 ") + set;
    for sequence in 1..=28 {
        data(&mut flow, sequence, sequence);
    }
    data(&mut flow, 29, 11);
    assert!(!data(&mut flow, 30, 12), "in order, an acknowledgement can wait");
    assert_eq!(ack(&mut flow), expected("cum=30"));
    assert!(data(&mut flow, 32, 12));
    assert_eq!(ack(&mut flow), expected("cum=30 32"));
    assert!(data(&mut flow, 34, 12));
    assert_eq!(ack(&mut flow), expected("cum=30 32 34"));
    for sequence in 35..=45 {
        assert!(data(&mut flow, sequence, sequence - 30));
    }
    assert!(data(&mut flow, 46, 16));
    assert_eq!(ack(&mut flow), expected("cum=30 32 34-46"));
    assert!(data(&mut flow, 47, 15));
    assert_eq!(ack(&mut flow), expected("cum=32 34-47"));
    assert!(data(&mut flow, 33, 1));
    assert_eq!(ack(&mut flow), expected("cum=47"));
    assert!(!data(&mut flow, 48, 16));
    assert!(!data(&mut flow, 49, 17));
    assert_eq!(ack(&mut flow), expected("cum=49"));
}
