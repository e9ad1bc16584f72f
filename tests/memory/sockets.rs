//! What an endpoint keeps while it does nothing, its sockets' buffers in this process included.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{App, Bytes, Endpoint, EndpointConfig, Event, FlowOptions, Instant, InterfaceId, Path, Target};
use rtmfp_std::{Clock, Pump, Socket, system_rng};
use rtmfp_tests::counting::held;

/// Sent by each end.
const MESSAGE: usize = 200_000;
const ENDPOINTS: usize = 10;

/// Reads whatever comes.
#[derive(Debug, Default)]
struct Reader {
    bytes: usize,
}

impl App for Reader {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        if let Event::FlowReadable { flow } = event
            && let Some(mut flow) = endpoint.recv_flow_mut(now, flow)
        {
            self.bytes += core::iter::from_fn(|| flow.read()).map(|message| message.data.len()).sum::<usize>();
        }
    }
}

fn pump(name: &str) -> (Pump, SocketAddr) {
    let (profile, clock) = (Arc::new(PlainProfile::new(name.as_bytes())), Clock::new());
    let endpoint = Endpoint::new(EndpointConfig::default(), profile, system_rng().unwrap(), clock.now()).unwrap();
    let pump = Pump::new(endpoint, clock, vec![Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap()]);
    let address = pump.local_addr(InterfaceId(0)).unwrap();
    (pump, address)
}

/// It sends much to the other and gets much back, all of which is acknowledged in the end.
fn exchange(near: &mut Pump, name: &str, far: &mut Pump, far_address: SocketAddr) {
    let (mut at_near, mut at_far) = (Reader::default(), Reader::default());
    let now = near.clock().now();
    let path = Path::new(InterfaceId(0), far_address);
    let session = near.endpoint_mut().open(now, Target::new(b"far".to_vec(), path)).unwrap();
    let flow = near.endpoint_mut().session_mut(now, session).unwrap().open_flow(FlowOptions::new("x")).unwrap();
    near.endpoint_mut().send_flow_mut(now, flow).unwrap().write(Bytes::from(vec![1; MESSAGE])).unwrap();
    let (end, mut answered) = (now + Duration::from_secs(60), false);
    let idle = |pump: &Pump| {
        let endpoint = pump.endpoint();
        endpoint.sessions().all(|session| endpoint.session(session).unwrap().stats().outstanding == 0)
    };
    loop {
        let more = near.turn(&mut at_near).unwrap().more | far.turn(&mut at_far).unwrap().more;
        if at_far.bytes == MESSAGE && !core::mem::replace(&mut answered, true) {
            let (now, far) = (far.clock().now(), far.endpoint_mut());
            let is_near = |discriminator: &[u8]| discriminator == name.as_bytes();
            let mut sessions = far.sessions();
            let back = sessions.find(|handle| is_near(&far.session(*handle).unwrap().far_canonical_discriminator()));
            drop(sessions);
            let flow = far.session_mut(now, back.unwrap()).unwrap().open_flow(FlowOptions::new("y")).unwrap();
            far.send_flow_mut(now, flow).unwrap().write(Bytes::from(vec![1; MESSAGE])).unwrap();
        } else if at_near.bytes == MESSAGE && !more && idle(near) && idle(far) {
            return;
        }
        assert!(near.clock().now() < end, "it hangs: {} and {}", at_far.bytes, at_near.bytes);
        std::thread::yield_now();
    }
}

/// 2.1 MiB, of which 2 were receive buffers.
#[test]
fn an_endpoint_that_has_become_idle_keeps_less_than_200_kib() {
    let (mut far, address) = pump("far");
    let (mut first, _) = pump("first");
    exchange(&mut first, "first", &mut far, address);
    let before = held();
    let mut idle = Vec::new();
    for number in 0..ENDPOINTS {
        let name = format!("near {number}");
        let (mut near, _) = pump(&name);
        exchange(&mut near, &name, &mut far, address);
        idle.push(near);
    }
    let each = (held() - before) / ENDPOINTS as isize;
    println!("{each} bytes for each idle endpoint, with its session at the far end");
    assert!(each < 200 << 10, "{each}");
    // A fresh one, that has never had a session.
    let before = held();
    let fresh: Vec<Pump> = (0..ENDPOINTS).map(|_| pump("fresh").0).collect();
    let each = (held() - before) / ENDPOINTS as isize;
    println!("{each} bytes for each fresh endpoint");
    assert!(each < 100 << 10, "{each}");
    drop(fresh);
}
