//! What waits while nobody runs the endpoint.

use rtmfp_core::wire::{Address, AddressOrigin};
use rtmfp_core::{MessageOutcome, Priority, ReceiveOrder};

use super::*;
use crate::endpoint::{Remote, SendOptions};

const MANY: u16 = 10_000;
/// Half of what is done that often.
const FEW: usize = 5_000;

fn waiting(server: &Server) -> usize {
    lock(&server.app.shared().queue).commands.len()
}

/// Has something done again and again while nobody runs the endpoint.
fn keeps_few(what: &str, server: &Server, mut done: impl FnMut(u16)) {
    (0..MANY).for_each(&mut done);
    assert!(waiting(server) < FEW, "{what}: {}", waiting(server));
}

#[test]
fn what_was_given_up_or_replaced_does_not_pile_up_while_nobody_runs_the_endpoint() {
    let mut server = Server::new(EndpointConfig::default());
    let mut client = server.client();
    let session = server.accept().unwrap();
    let flow = session.open_flow(FlowOptions::new("flow"));
    flow.send("first").unwrap();
    let back = client.open_flow(server.now);
    client.write(server.now, back, b"first".to_vec());
    server.exchange(&mut client);
    let received = accept_flow(&session).unwrap();
    let handle = server.handle.clone();
    let addresses = |n: u16| SocketAddr::from(([192, 0, 2, 1], n));
    keeps_few("sleeps", &server, |_| drop(handle.begin_sleep(Duration::from_secs(1))));
    keeps_few("questions", &server, |_| {
        drop((handle.ask_stats(), session.ask_stats(), session.ask_nonces(), flow.ask_stats(), received.ask_stats()));
    });
    keeps_few("proofs", &server, |_| session.begin_proof());
    keeps_few("pings", &server, |_| session.ping());
    keeps_few("priorities", &server, |_| flow.set_priority(Priority::Bulk));
    keeps_few("introducers", &server, |n| session.add_introducer(addresses(n)).unwrap());
    keeps_few("addresses", &server, |n| {
        session.introduce_at(&[Address { origin: AddressOrigin::Unknown, socket: addresses(n) }]);
    });
    keeps_few("suspensions", &server, |_| {
        received.suspend();
        received.resume();
    });
    keeps_few("orders and windows", &server, |n| {
        received.set_order(ReceiveOrder::Queuing);
        received.set_window(n.into());
    });
    keeps_few("sessions", &server, |n| drop(handle.begin("far", &[addresses(n)])));
    keeps_few("flows", &server, |_| drop(session.open_flow(FlowOptions::new("unused"))));
    keeps_few("sessions with flows", &server, |n| {
        drop(handle.begin("far", &[addresses(n)]).open_flow(FlowOptions::new("unused")));
    });
    keeps_few("registrations", &server, |n| {
        let introducer = Remote::new("far").at(addresses(n));
        drop(handle.register_resolved(&introducer).unwrap());
    });
    keeps_few("closes", &server, |n| session.begin_close(Duration::from_secs(n.into())));
    keeps_few("shutdowns", &server, |n| handle.begin_shutdown(Duration::from_secs(n.into())));
}

#[test]
fn what_a_program_holds_or_has_sent_waits_however_much_is_given_up() {
    let mut server = Server::new(EndpointConfig::default());
    let mut client = server.client();
    let session = server.accept().unwrap();
    let flow = session.open_flow(FlowOptions::new("flow"));
    flow.set_priority(Priority::Urgent);
    let sleep = server.handle.begin_sleep(Duration::ZERO);
    let asked = session.ask_stats();
    let receipt = flow.send_with("message", SendOptions::new()).unwrap();
    let begun = server.handle.begin("far", &[server_path().remote]);
    let mut events = server.handle.begin("far", &[server_path().remote]).events();
    // Sent in a session and on a flow that nobody holds any more.
    let last = session.open_flow(FlowOptions::new("another")).send_with("message", SendOptions::new()).unwrap();
    for _ in 0..MANY {
        flow.set_priority(Priority::High);
        drop(server.handle.begin_sleep(Duration::from_secs(1)));
    }
    let mut waiter = Waiter::default();
    assert!(events.poll_next(&mut context(), &mut waiter).is_ready(), "it was given up");
    server.exchange(&mut client);
    assert!(asked.poll(&mut context(), &mut waiter).is_ready());
    assert!(sleep.poll(&mut context(), &mut waiter).is_ready());
    assert_eq!([receipt.outcome(), last.outcome()], [Some(MessageOutcome::Delivered); 2]);
    let handle = flow.id().unwrap();
    assert_eq!(server.endpoint.send_flow(handle).unwrap().priority(), Priority::High);
    assert!(begun.poll_opened(&mut context(), &mut waiter).is_pending(), "it is under way");
}
