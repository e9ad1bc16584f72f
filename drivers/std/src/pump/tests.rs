use std::sync::Arc;

use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{EndpointConfig, Event, FlowOptions, Path, SendFlowHandle, Target};

use super::*;
use crate::system_rng;

/// Reads whatever comes.
#[derive(Debug, Default)]
struct Reader {
    messages: usize,
}

impl App for Reader {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        if let Event::FlowReadable { flow } = event
            && let Some(mut flow) = endpoint.recv_flow_mut(now, flow)
        {
            self.messages += core::iter::from_fn(|| flow.read()).count();
        }
    }
}

fn pump(name: &str, sockets: usize) -> Pump {
    let (profile, clock) = (Arc::new(PlainProfile::new(name.as_bytes())), Clock::new());
    let endpoint = Endpoint::new(EndpointConfig::default(), profile, system_rng().unwrap(), clock.now()).unwrap();
    let sockets = (0..sockets).map(|_| Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    Pump::new(endpoint, clock, sockets.collect())
}

/// A flow of `near` over one of its interfaces to `far`.
fn flow(near: &mut Pump, interface: u16, far: &Pump, name: &str) -> SendFlowHandle {
    let now = near.clock.now();
    let path = Path::new(InterfaceId(interface), far.local_addr(InterfaceId(0)).unwrap());
    let session = near.endpoint.open(now, Target::new(name.as_bytes().to_vec(), path)).unwrap();
    near.endpoint.session_mut(now, session).unwrap().open_flow(FlowOptions::new("x")).unwrap()
}

fn write(pump: &mut Pump, flow: SendFlowHandle) {
    let now = pump.clock.now();
    pump.endpoint.send_flow_mut(now, flow).unwrap().write("hello").unwrap();
}

/// A full socket stopped all others, and their acknowledgements.
#[test]
fn a_full_socket_keeps_its_flight_and_holds_back_no_other() {
    let (mut near, mut one, mut two) = (pump("near", 2), pump("one", 1), pump("two", 1));
    let (mut idle, mut at_one, mut at_two) = (Reader::default(), Reader::default(), Reader::default());
    let flows = [flow(&mut near, 0, &one, "one"), flow(&mut near, 1, &two, "two")];
    let mut run = |near: &mut Pump, from_one: usize, from_two: usize| {
        let end = near.clock.now() + core::time::Duration::from_secs(60);
        while at_one.messages < from_one || at_two.messages < from_two {
            assert!(near.clock.now() < end, "it hangs: {} and {}", at_one.messages, at_two.messages);
            near.turn(&mut idle).unwrap();
            one.turn(&mut at_one).unwrap();
            two.turn(&mut at_two).unwrap();
            std::thread::yield_now();
        }
        (at_one.messages, at_two.messages)
    };
    flows.iter().for_each(|flow| write(&mut near, *flow));
    assert_eq!(run(&mut near, 1, 1), (1, 1));

    near.interfaces[0].socket.outgoing.full = true;
    flows.iter().for_each(|flow| write(&mut near, *flow));
    assert_eq!(run(&mut near, 1, 2), (1, 2));
    let turn = near.turn(&mut Reader::default()).unwrap();
    assert!(turn.blocked && !turn.done);
    assert!(near.is_blocked(InterfaceId(0)) && !near.is_blocked(InterfaceId(1)));

    near.interfaces[0].socket.outgoing.full = false;
    let sends = near.stats().sends;
    let turn = near.turn(&mut Reader::default()).unwrap();
    assert!(near.stats().sends > sends && !turn.blocked, "the flight was kept");
    assert_eq!(run(&mut near, 2, 2), (2, 2));
    assert_eq!(near.stats().send_errors, 0);
}
