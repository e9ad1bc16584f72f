//! The same application over the blocking and the asynchronous driver: what it sees must be the same.

use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::thread;

use rtmfp_cli::echo::{Echo, EchoEvent};
use rtmfp_cli::ping::{Ping, PingEvent, PingOptions};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{App, Bytes, Endpoint, EndpointConfig, Event, Instant, InterfaceId, Path, SessionHandle, Target};
use rtmfp_std::{Clock, Driver, Pump, Socket, system_rng};

type Transcript = Arc<Mutex<Vec<String>>>;

fn pump(name: &str) -> Pump {
    let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let clock = Clock::new();
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    let endpoint = Endpoint::new(EndpointConfig::default(), profile, system_rng().unwrap(), clock.now()).unwrap();
    Pump::new(endpoint, clock, vec![socket])
}

/// The end that asks, its session opening, and what it will have seen.
fn asker(far: &Pump) -> (Pump, impl App + Send + use<>, Transcript) {
    let mut pump = pump("asker");
    let now = pump.clock().now();
    let path = Path::new(InterfaceId(0), far.local_addr(InterfaceId(0)).unwrap());
    let target = Target { discriminator: "echo".into(), candidates: vec![(path, Duration::ZERO)] };
    let session: SessionHandle = pump.endpoint_mut().open(now, target).unwrap();
    let transcript = Transcript::default();
    let seen = Arc::clone(&transcript);
    let options = PingOptions {
        metadata: Bytes::from_static(b"parity"),
        flows: 1,
        count: 40,
        size: 30_000,
        interval: Duration::ZERO,
        flood: true,
        one_way: false,
    };
    let app = Ping::new(session, options, move |event| {
        let line = if let PingEvent::Answered { flow, sequence, .. } = event {
            format!("answered {flow} {sequence}")
        } else {
            format!("{event:?}")
        };
        seen.lock().unwrap().push(line);
    });
    (pump, app, transcript)
}

/// The end that answers, until the session is closed.
struct Answerer<A> {
    echo: A,
    closed: bool,
}

impl<A: App> App for Answerer<A> {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        self.closed |= matches!(event, Event::SessionClosed { .. });
        self.echo.on_event(now, endpoint, event);
    }

    fn is_done(&self) -> bool {
        self.closed
    }
}

fn answerer() -> (Answerer<impl App + Send>, Transcript) {
    let transcript = Transcript::default();
    let seen = Arc::clone(&transcript);
    let echo = Echo::new(move |event: EchoEvent| seen.lock().unwrap().push(format!("{event:?}")));
    (Answerer { echo, closed: false }, transcript)
}

fn lines(transcript: &Transcript) -> Vec<String> {
    transcript.lock().unwrap().clone()
}

fn over_std() -> [Vec<String>; 2] {
    let far = pump("echo");
    let (near, mut asking, asked) = asker(&far);
    let (mut answering, answered) = answerer();
    let thread = thread::spawn(move || Driver::new(far).unwrap().run(&mut answering).unwrap());
    Driver::new(near).unwrap().run(&mut asking).unwrap();
    thread.join().unwrap();
    [lines(&asked), lines(&answered)]
}

fn over_smol() -> [Vec<String>; 2] {
    let far = pump("echo");
    let (near, mut asking, asked) = asker(&far);
    let (mut answering, answered) = answerer();
    smol::block_on(futures_lite::future::try_zip(
        rtmfp_smol::run(near, &mut asking),
        rtmfp_smol::run(far, &mut answering),
    ))
    .unwrap();
    [lines(&asked), lines(&answered)]
}

#[test]
fn an_application_sees_the_same_over_both_drivers() {
    let (first, second) = (over_std(), over_smol());
    assert_eq!(first[0].len(), 41, "{first:?}");
    assert_eq!(first, second);
}
