//! Wakers are called and dropped when nothing is locked.

use std::sync::mpsc;
use std::task::Wake;
use std::thread;

use super::*;
use crate::endpoint::SendOptions;

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
