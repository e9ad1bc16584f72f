//! Wakers are called and dropped, and payloads freed, when nothing is locked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Wake;
use std::thread;

use rtmfp_core::Bytes;

use super::*;
use crate::endpoint::{SendFlow, SendOptions};

/// A task that an executor has forgotten: its waker is the last that holds it, and with it a handle.
struct Forgotten<T>(T);

impl<T: Send + Sync> Wake for Forgotten<T> {
    fn wake(self: Arc<Self>) {}
}

/// A task with a waker, and the waker.
fn forgotten<T: Send + Sync + 'static>(held: T) -> (Arc<Forgotten<T>>, Waker) {
    let task = Arc::new(Forgotten(held));
    (Arc::clone(&task), task.into())
}

/// Whether this ends. What hangs is left behind.
fn ends(call: impl FnOnce() + Send + 'static) -> bool {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        call();
        let _ = done.send(());
    });
    ended.recv_timeout(Duration::from_secs(20)).is_ok()
}

#[test]
fn a_waker_that_drops_the_flow_it_waits_for_does_not_lock_up_the_endpoint() {
    assert!(ends(|| {
        let mut server = Server::new(EndpointConfig::default());
        let mut client = server.client();
        let flow = client.open_flow(server.now);
        client.write(server.now, flow, b"first".to_vec());
        server.exchange(&mut client);
        let received = accept_flow(&server.accept().unwrap()).unwrap();
        assert_eq!(drain(&received), 5);
        let mut waiter = Waiter::default();
        let (task, waker) = forgotten(received);
        assert!(task.0.poll_recv(&mut Context::from_waker(&waker), &mut waiter).is_pending());
        drop((task, waker));
        client.write(server.now, flow, b"second".to_vec());
        server.exchange(&mut client);
    }));
}

/// What becomes of a message is told while its flow is locked.
#[test]
fn a_waker_that_drops_the_flow_whose_receipt_it_waits_for_does_not_lock_up_the_endpoint() {
    assert!(ends(|| {
        let mut server = Server::new(EndpointConfig::default());
        let mut client = server.client();
        let flow = server.accept().unwrap().open_flow(FlowOptions::new("flow"));
        let receipt = flow.send_with("message", SendOptions::new()).unwrap();
        let mut waiter = Waiter::default();
        let waker = forgotten(flow).1;
        assert!(receipt.poll(&mut Context::from_waker(&waker), &mut waiter).is_pending());
        drop(waker);
        server.exchange(&mut client);
        assert!(receipt.outcome().is_some());
    }));
}

#[test]
fn a_waker_that_drops_a_session_does_not_lock_up_the_endpoint() {
    for replaced in [false, true] {
        assert!(ends(move || {
            let mut server = Server::new(EndpointConfig::default());
            server.client();
            let mut waiter = Waiter::default();
            let waker = forgotten(server.accept().unwrap()).1;
            assert!(server.handle.poll_accept(&mut Context::from_waker(&waker), &mut waiter).is_pending());
            drop(waker);
            if replaced {
                assert!(server.handle.poll_accept(&mut context(), &mut waiter).is_pending());
            }
            server.client();
        }));
    }
}

/// The task that waits for one thing turns to another, which it holds.
#[test]
fn a_waiter_that_leaves_one_set_for_another_drops_its_waker_unlocked() {
    assert!(ends(|| {
        let mut server = Server::new(EndpointConfig::default());
        server.client();
        server.client();
        let (first, second) = (server.accept().unwrap(), server.accept().unwrap());
        let mut waiter = Waiter::default();
        let waker = forgotten(first).1;
        assert!(second.poll_closed(&mut Context::from_waker(&waker), &mut waiter).is_pending());
        drop(waker);
        assert!(server.handle.poll_accept(&mut context(), &mut waiter).is_pending());
        server.settle();
    }));
}

/// A payload whose owner uses the flow when it is freed, and counts that.
struct Owned(Arc<SendFlow>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &[7; 1_000]
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = (self.0.try_send("more"), self.0.session().open_flow(FlowOptions::new("another")));
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

/// Has payloads freed in some way: how many are told.
fn frees(payloads: usize, how: impl FnOnce(Server, Client, Arc<SendFlow>, &dyn Fn() -> Bytes) + Send + 'static) {
    assert!(ends(move || {
        let mut server = Server::new(EndpointConfig::default());
        let mut client = server.client();
        let flow = Arc::new(server.accept().unwrap().open_flow(FlowOptions::new("flow")));
        flow.send("first").unwrap();
        server.exchange(&mut client);
        let count = Arc::<AtomicUsize>::default();
        let (freed, owner) = (Arc::clone(&count), Arc::clone(&flow));
        how(server, client, flow, &move || Bytes::from_owner(Owned(Arc::clone(&owner), Arc::clone(&freed))));
        assert_eq!(count.load(Ordering::SeqCst), payloads);
    }));
}

const SOON: Duration = Duration::from_millis(50);

#[test]
fn payloads_of_messages_that_expire_in_the_queue_are_freed_unlocked() {
    frees(1, |mut server, _client, flow, payload| {
        flow.send(vec![7; 262_144]).unwrap();
        server.settle();
        let _receipt = flow.send_with(payload(), SendOptions::new().deadline(SOON)).unwrap();
        server.settle();
        server.now += SOON;
        server.settle();
    });
}

/// The endpoint finds at the next write that it has expired.
#[test]
fn payloads_of_messages_that_expire_in_the_endpoint_are_freed_unlocked() {
    frees(1, |mut server, _client, flow, payload| {
        let _receipt = flow.send_with(payload(), SendOptions::new().deadline(SOON)).unwrap();
        server.settle();
        server.now += SOON;
        flow.send("next").unwrap();
        server.settle();
    });
}

#[test]
fn payloads_of_messages_that_depend_on_abandoned_ones_are_freed_unlocked() {
    frees(2, |mut server, mut client, flow, payload| {
        flow.send(vec![7; 262_144]).unwrap();
        server.settle();
        let parent = flow.send_with(payload(), SendOptions::new()).unwrap();
        let _child = flow.send_with(payload(), SendOptions::new().after(&parent)).unwrap();
        parent.abandon();
        server.exchange(&mut client);
    });
}

#[test]
fn payloads_of_a_flow_that_fails_are_freed_unlocked() {
    for stopped in [false, true] {
        frees(3, move |mut server, _client, flow, payload| {
            flow.send(vec![7; 262_144]).unwrap();
            server.settle();
            for _ in 0..3 {
                flow.send(payload()).unwrap();
            }
            if !stopped {
                flow.session().abort(CloseMode::Abrupt);
                server.settle();
            }
            drop(server);
        });
    }
}

#[test]
fn a_payload_that_waits_for_room_until_its_deadline_is_freed_unlocked() {
    frees(1, |mut server, _client, flow, payload| {
        for _ in 0..2 {
            flow.send(vec![7; 262_144]).unwrap();
            server.settle();
        }
        let mut pending = flow.begin_send(payload(), SendOptions::new().deadline(SOON));
        assert!(pending.poll(&mut context(), &mut Waiter::default()).is_pending());
        server.settle();
        server.now += SOON;
        server.settle();
        assert!(pending.poll(&mut context(), &mut Waiter::default()).is_ready());
    });
}
