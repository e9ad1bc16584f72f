//! The queue of a flow, as its handle sees it.

use rtmfp_core::{Bytes, Priority};

use super::*;
use crate::endpoint::TrySendError;

/// What a call that is polled once gives.
fn once<T>(poll: impl FnOnce(&mut Context<'_>, &mut Waiter) -> Poll<T>) -> Option<T> {
    match poll(&mut context(), &mut Waiter::default()) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[test]
fn a_message_that_has_no_room_is_given_back() {
    let mut rig = Rig::full();
    assert_eq!((rig.flow.capacity(), rig.flow.buffered()), (QUEUE_BYTES, 0));
    assert_eq!(rig.flow.try_send(vec![7; QUEUE_BYTES - 2]), Ok(()));
    assert_eq!(rig.flow.capacity(), 1);
    // While there is any room a message of any length is taken.
    let receipt = rig.flow.try_send_with(vec![7; 300_000], SendOptions::new()).unwrap();
    assert_eq!((rig.flow.capacity(), rig.flow.buffered()), (0, QUEUE_BYTES + 300_000));
    assert_eq!(rig.flow.try_send("no"), Err(TrySendError::Full(Bytes::from("no"))));
    let refused = rig.flow.try_send_with("no", SendOptions::new()).unwrap_err();
    assert_eq!(refused.into_message(), "no");
    assert_eq!(once(|context, waiter| rig.flow.poll_ready(context, waiter)), None);
    assert_eq!(once(|context, waiter| rig.flow.poll_flush(context, waiter)), None);
    receipt.abandon();
    rig.server.settle();
    assert_eq!(once(|context, waiter| rig.flow.poll_ready(context, waiter)), Some(Ok(())));
    assert_eq!(rig.exchange(), [MUCH, QUEUE_BYTES - 2]);
    assert_eq!(once(|context, waiter| rig.flow.poll_flush(context, waiter)), Some(Ok(())));
    rig.flow.close();
    let refused = rig.flow.try_send("late").unwrap_err();
    assert_eq!(refused, TrySendError::Ended(Bytes::from("late"), Error::Closed));
    assert_eq!(once(|context, waiter| rig.flow.poll_ready(context, waiter)), Some(Err(Error::Closed)));
}

#[test]
fn whoever_waits_for_room_is_woken_when_there_is_some() {
    let mut rig = Rig::full();
    rig.flow.try_send(vec![7; QUEUE_BYTES]).unwrap();
    rig.server.settle();
    let (task, waker) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
    let mut waiters = [Waiter::default(), Waiter::default()];
    let [ready, flushed] = [Waker::from(Arc::clone(&task)), Waker::from(Arc::clone(&waker))];
    assert!(rig.flow.poll_ready(&mut Context::from_waker(&ready), &mut waiters[0]).is_pending());
    assert!(rig.flow.poll_flush(&mut Context::from_waker(&flushed), &mut waiters[1]).is_pending());
    rig.server.settle();
    assert!(!task.is() && !waker.is());
    rig.exchange();
    assert!(task.is() && waker.is());
}

/// It waited for room, however long that took.
#[test]
fn a_message_that_finds_no_room_before_its_deadline_is_abandoned_then() {
    let mut rig = Rig::full();
    rig.flow.try_send(vec![7; QUEUE_BYTES]).unwrap();
    rig.server.settle();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let (mut context, mut waiter) = (Context::from_waker(&waker), Waiter::default());
    let mut pending = rig.flow.begin_send("late", SendOptions::new().deadline(STEP));
    assert!(pending.poll(&mut context, &mut waiter).is_pending());
    rig.server.settle();
    assert_eq!(rig.server.app.next_timeout(), Some(rig.server.now + STEP));
    rig.server.now += STEP;
    rig.server.settle();
    assert!(woken.is());
    let Poll::Ready(Ok(receipt)) = pending.poll(&mut context, &mut waiter) else { panic!("its time is over") };
    assert_eq!((outcome(&receipt), rig.flow.waiting()), (ABANDONED, 0));
    drop(pending);
    assert_eq!(rig.exchange(), [MUCH, QUEUE_BYTES]);
}

#[test]
fn a_message_that_waits_no_more_leaves_no_deadline() {
    let mut rig = Rig::full();
    rig.flow.try_send(vec![7; QUEUE_BYTES]).unwrap();
    rig.server.settle();
    for told in [true, false] {
        let mut pending = rig.flow.begin_send("given up", SendOptions::new().deadline(100 * STEP));
        assert!(pending.poll(&mut context(), &mut Waiter::default()).is_pending());
        if told {
            rig.server.settle();
            assert_eq!(rig.flow.waiting(), 1);
        }
        drop(pending);
        rig.server.settle();
        assert_eq!(rig.flow.waiting(), 0);
    }
    let mut pending = rig.flow.begin_send("sent", SendOptions::new().deadline(1_000 * STEP));
    assert!(pending.poll(&mut context(), &mut Waiter::default()).is_pending());
    while !rig.flow.queued().0.eq(&0) {
        let back = Path::new(InterfaceId(0), rig.client.address);
        rig.server.settle();
        carry(rig.server.now, &mut rig.server.endpoint, &mut rig.client.endpoint, server_path());
        while let Some(event) = rig.client.endpoint.poll_event() {
            if let Event::FlowReadable { flow } = event {
                while rig.client.endpoint.recv_flow_mut(rig.server.now, flow).unwrap().read().is_some() {}
            }
        }
        carry(rig.server.now, &mut rig.client.endpoint, &mut rig.server.endpoint, back);
        rig.server.now += STEP / 10;
    }
    assert_eq!(rig.flow.waiting(), 1);
    assert!(pending.poll(&mut context(), &mut Waiter::default()).is_ready());
    assert_eq!((rig.flow.waiting(), rig.flow.queued().0), (0, 1));
}

#[derive(Default)]
struct Woken(core::sync::atomic::AtomicBool);

impl Woken {
    fn is(&self) -> bool {
        self.0.load(core::sync::atomic::Ordering::SeqCst)
    }
}

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, core::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn a_sender_learns_without_sending_that_the_receiver_has_rejected_the_flow() {
    let mut rig = Rig::new();
    rig.flow.send("x").unwrap();
    assert_eq!(rig.exchange(), [1]);
    assert_eq!(once(|context, waiter| rig.flow.poll_closed(context, waiter)), None);
    rig.client.endpoint.recv_flow_mut(rig.server.now, rig.opened.unwrap()).unwrap().reject(42);
    rig.exchange();
    assert_eq!(once(|context, waiter| rig.flow.poll_closed(context, waiter)), Some(Error::Rejected(42)));
    // It has received all that was sent.
    assert_eq!(once(|context, waiter| rig.flow.poll_finish(context, waiter)), Some(Ok(())));
}

#[test]
fn a_flow_that_this_end_has_closed_is_closed_once_all_is_delivered() {
    let mut rig = Rig::new();
    rig.flow.send("x").unwrap();
    rig.flow.close();
    rig.server.settle();
    assert_eq!(once(|context, waiter| rig.flow.poll_closed(context, waiter)), None);
    rig.exchange();
    assert_eq!(once(|context, waiter| rig.flow.poll_closed(context, waiter)), Some(Error::Closed));
}

#[test]
fn the_priority_and_the_counters_of_a_flow_are_the_endpoints() {
    let mut rig = Rig::new();
    rig.flow.send("x").unwrap();
    rig.flow.set_priority(Priority::Urgent);
    let asked = rig.flow.ask_stats();
    assert_eq!(once(|context, waiter| asked.poll(context, waiter)), None);
    rig.server.settle();
    let stats = once(|context, waiter| asked.poll(context, waiter)).unwrap().unwrap();
    assert_eq!((stats.messages, stats.bytes), (1, 1));
    let handle = rig.flow.id().unwrap();
    assert_eq!(rig.server.endpoint.send_flow(handle).unwrap().priority(), Priority::Urgent);
    rig.flow.session().abort(CloseMode::Abrupt);
    rig.server.settle();
    let asked = rig.flow.ask_stats();
    rig.server.settle();
    assert_eq!(once(|context, waiter| asked.poll(context, waiter)), Some(None), "it has ended");
    let asked = rig.flow.ask_stats();
    drop(rig.server);
    assert_eq!(once(|context, waiter| asked.poll(context, waiter)), Some(None), "the endpoint has");
    rig.flow.set_priority(Priority::Bulk);
}
