//! What became of messages, as receipts tell it.

use super::*;

#[test]
fn one_deadline_for_both_still_ends_a_message_that_was_begun() {
    let mut link = link(1 << 16);
    let later = link.now + Duration::from_millis(100);
    let options =
        SendOptions { receipt: true, start_by: Some(later), finish_by: Some(later), ..SendOptions::default() };
    let a = write(&mut link, "a", options);
    link.transmit(FULL).unwrap();
    assert_eq!(link.send.next_timeout(), Some(later));
    link.now = later;
    link.send.handle_timeout(link.now, ERTO, &mut link.events);
    assert_eq!(link.drain_events(), [], "it may still arrive");
    link.time_out();
    let outcome = MessageOutcome::Unknown;
    assert_eq!(link.drain_events(), [Event::MessageDone { flow: SEND, message: a, outcome }]);
}

/// Of a message in several fragments that is abandoned on its way, all must be acknowledged, and one loss leaves it open.
#[test]
fn the_receipt_of_a_message_abandoned_in_flight_waits_for_each_fragment() {
    for loses in [false, true] {
        let mut link = link(1 << 16);
        let options = SendOptions { receipt: true, ..SendOptions::default() };
        let data = vec![7; 600].into();
        let message = link.send.write(link.now, data, options, &mut link.events).unwrap();
        while link.transmit(FULL).is_some() {}
        let last = link.send.queue.highest_sent();
        assert!(last > 2, "several fragments");
        assert!(link.send.abandon(message, &mut link.events));
        assert!(!link.send.abandon(message, &mut link.events), "known to be abandoned");
        ack(&mut link, last - 1, 64);
        assert_eq!(link.drain_events(), []);
        if loses {
            link.time_out();
        }
        let lost = core::mem::take(&mut link.events);
        ack(&mut link, last, 64);
        let outcome = if loses { MessageOutcome::Unknown } else { MessageOutcome::Delivered };
        let mut events = if loses { lost } else { core::mem::take(&mut link.events) };
        assert_eq!(events.pop(), Some(Event::MessageDone { flow: SEND, message, outcome }));
        assert_eq!((events.pop(), link.drain_events()), (None, Vec::new()), "told once");
    }
}

/// One fragment of it was lost before: that it has arrived after all cannot be told from that it was forwarded over.
#[test]
fn the_receipt_of_a_message_abandoned_after_a_loss_is_open() {
    let mut link = link(1 << 16);
    let message = write(&mut link, "a", SendOptions { receipt: true, ..SendOptions::default() });
    link.transmit(FULL).unwrap();
    link.time_out();
    assert!(link.send.abandon(message, &mut link.events));
    let outcome = MessageOutcome::Unknown;
    assert_eq!(link.drain_events(), [Event::MessageDone { flow: SEND, message, outcome }]);
    link.transmit(FULL).unwrap();
    ack(&mut link, 1, 64);
    assert_eq!(link.drain_events(), [], "told once");
}

#[test]
fn the_end_of_the_session_settles_receipts() {
    let mut link = link(1 << 16);
    let options = SendOptions { receipt: true, ..SendOptions::default() };
    let [a, b] = ["a", "b"].map(|data| write(&mut link, data, options));
    link.transmit(FULL).unwrap();
    assert!(link.send.abandon(b, &mut link.events));
    let c = write(&mut link, "c", options);
    link.send.session_ended(&mut link.events);
    let done = |message, outcome| Event::MessageDone { flow: SEND, message, outcome };
    let expected = [(c, MessageOutcome::Abandoned), (a, MessageOutcome::Unknown), (b, MessageOutcome::Unknown)];
    assert_eq!(link.drain_events(), expected.map(|(message, outcome)| done(message, outcome)));
    assert!(!link.send.is_ready() && link.send.next_timeout().is_none());
    assert_eq!((link.send.state(), link.send.stats().buffered), (SendFlowState::Closed, 0));
}
