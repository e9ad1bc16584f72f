//! An encoder that is set to the rate that the session tells it, over a line whose capacity changes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use datagram_sim::cross::{Control, Receiver, Sender};
use datagram_sim::{LinkSpec, NodeId, QueueSpec, Rate, RateSpec, StageSpec, Time, World};
use futures_lite::StreamExt;
use rtmfp_core::congestion::CongestionControl;
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{EndpointConfig, FlowOptions, Instant};
use rtmfp_sim::rtmfp::SimRandom;
use rtmfp_sim::tasks::{Spawner, Tasks};
use rtmfp_smol::{Endpoint, SendOptions, Session};
use rtmfp_std::SessionEvent;

const PORT: u16 = 1_935;
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
/// Of a bulk transfer.
const FAR_TOO: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));
const NEAR_TOO: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 4));

/// The capacity of a line in kbit/s, for 15 s each.
type Steps = [u32; 3];
const STEPS: Steps = [4_000, 1_000, 3_000];
const STEP: Duration = Duration::from_secs(15);
/// How much of each step is measured, up to its end.
const MEASURED: Duration = Duration::from_secs(7);
/// Bytes a second until it is told of another rate.
const FIRST_RATE: u64 = 30_000;
/// Frames a second, and how long each is worth sending: what was made for a faster line is not to be waited for.
const FRAMES: u64 = 30;
const WORTH: Duration = Duration::from_millis(250);

/// Which rate the encoder is set to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Follow {
    /// What [`SessionEvent::TargetRate`] told last.
    Target,
    /// The first one, for ever.
    Nothing,
    /// What was delivered in the last half second.
    Delivered,
}

/// The line: its capacity in each step, for how many milliseconds of packets there is room, and whose bulk transfer shares it.
#[derive(Clone, Copy, Debug)]
struct Line {
    steps: Steps,
    queue: u64,
    beside: Option<Control>,
}

impl Line {
    const fn alone(steps: Steps, queue: u64) -> Self {
        Self { steps, queue, beside: None }
    }
}

/// A frame that has come.
#[derive(Clone, Copy)]
struct Frame {
    sent: Instant,
    came: Instant,
    length: u64,
}

/// Of one step: kbit/s of the frames that came, how many these were, and how long 95 % of them took at most.
#[derive(Clone, Copy, Debug)]
struct Measured {
    kbit: u64,
    frames: u64,
    p95: Duration,
}

fn host(world: &mut World, name: &str, control: &CongestionControl, begin: impl FnOnce(Endpoint, &Spawner)) -> NodeId {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    let rng = Box::new(SimRandom::new(world.key(name, "endpoint")));
    let mut config = EndpointConfig::default();
    config.session.congestion = control.clone();
    let endpoint = rtmfp_core::Endpoint::new(config, profile, rng, Instant::ORIGIN).unwrap();
    let local = SocketAddr::new(if name == "far" { FAR } else { NEAR }, PORT);
    world.add_host(name, Tasks::new(endpoint, vec![local], world.key(name, "tasks"), begin))
}

/// Sends frames of the size that `rate` gives them. One for which there is no room is skipped.
async fn encode(endpoint: Endpoint, spawner: Spawner, session: Session, rate: impl Fn(Instant) -> u64) {
    let flow = session.open_flow(FlowOptions::new("video"));
    loop {
        let now = spawner.now();
        let mut frame = now.as_micros().to_be_bytes().to_vec();
        frame.resize(usize::try_from(rate(now) / FRAMES).unwrap().max(100), 7);
        let _ = flow.try_send_with(frame, SendOptions::new().deadline(WORTH));
        endpoint.sleep(Duration::from_micros(1_000_000 / FRAMES)).await.unwrap();
    }
}

fn delivered(frames: &[Frame], now: Instant) -> u64 {
    let lately = frames.iter().rev().take_while(|frame| frame.came + Duration::from_millis(500) > now);
    2 * lately.map(|frame| frame.length).sum::<u64>()
}

/// What came of an encoder in each step.
fn run(control: &CongestionControl, follow: Follow, line: Line) -> Vec<Measured> {
    let mut world = World::new(7);
    let frames = Arc::<Mutex<Vec<Frame>>>::default();
    let (read, seen) = (Arc::clone(&frames), Arc::clone(&frames));
    let server = host(&mut world, "far", control, |endpoint, spawner| {
        let clock = spawner.clone();
        spawner.spawn(async move {
            let session = endpoint.accept().await.unwrap();
            let flow = session.accept_flow().await.unwrap();
            while let Ok(Some(message)) = flow.recv().await {
                let sent = Instant::from_micros(u64::from_be_bytes(*message.data.first_chunk().unwrap()));
                let frame = Frame { sent, came: clock.now(), length: message.data.len() as u64 };
                read.lock().unwrap().push(frame);
            }
        });
    });
    let client = host(&mut world, "near", control, |endpoint, spawner| {
        let spawner_too = spawner.clone();
        spawner.spawn(async move {
            let session = endpoint.connect("far", &[SocketAddr::new(FAR, PORT)]).await.unwrap();
            let target = Arc::new(AtomicU64::new(FIRST_RATE));
            let (mut events, set) = (session.events(), Arc::clone(&target));
            spawner_too.spawn(async move {
                while let Some(event) = events.next().await {
                    if let SessionEvent::TargetRate(rate) = event {
                        set.store(rate, Ordering::Relaxed);
                    }
                }
            });
            let rate = move |now| match follow {
                Follow::Target => target.load(Ordering::Relaxed),
                Follow::Nothing => FIRST_RATE,
                Follow::Delivered => delivered(&seen.lock().unwrap(), now).max(FIRST_RATE),
            };
            encode(endpoint, spawner_too, session, rate).await;
        });
    });
    connect(&mut world, line, client, server);
    world.run_until(Time(line.steps.len() as u64 * STEP.as_nanos() as u64)).unwrap();
    let frames = frames.lock().unwrap();
    (1..).take(line.steps.len()).map(|step| measure(&frames, Instant::ORIGIN + STEP * step)).collect()
}

fn connect(world: &mut World, line: Line, client: NodeId, server: NodeId) {
    let capacity = (0..).zip(line.steps).map(|(at, kbit)| (Time(at * STEP.as_nanos() as u64), Rate::kbit(kbit.into())));
    let rate = RateSpec::Steps(capacity.collect());
    let queue = QueueSpec::TailTime(datagram_sim::Duration::millis(line.queue));
    let forward = vec![StageSpec::Shaper { rate, queue }, delay()];
    let (near, far) = (world.add_router("near router"), world.add_router("far router"));
    world.connect("line", near, far, &LinkSpec { forward, backward: vec![delay()] });
    let mut hosts = vec![("near line", client, near, NEAR), ("far line", server, far, FAR)];
    if let Some(control) = line.beside {
        let start = Time(STEP.as_nanos() as u64 / 3);
        let bulk = Sender::bulk(control, PORT, SocketAddr::new(FAR_TOO, PORT), start, None);
        hosts.push(("bulk line", world.add_host("bulk", bulk), near, NEAR_TOO));
        hosts.push(("sink line", world.add_host("sink", Receiver::new()), far, FAR_TOO));
    }
    for (name, host, router, address) in hosts {
        world.connect(name, host, router, &LinkSpec::delay(datagram_sim::Duration::micros(1)));
        world.add_address(host, 0, address, false);
    }
}

fn delay() -> StageSpec {
    StageSpec::Delay(datagram_sim::Duration::millis(25))
}

fn measure(frames: &[Frame], end: Instant) -> Measured {
    let during = |frame: &&Frame| frame.came <= end && frame.came + MEASURED > end;
    let frames: Vec<_> = frames.iter().filter(during).collect();
    let bytes = frames.iter().map(|frame| frame.length).sum::<u64>();
    let mut delays: Vec<_> = frames.iter().map(|frame| frame.came.saturating_duration_since(frame.sent)).collect();
    delays.sort_unstable();
    let p95 = delays.get(delays.len() * 95 / 100).copied().unwrap_or(Duration::MAX);
    Measured { kbit: bytes * 8 / MEASURED.as_millis() as u64, frames: delays.len() as u64, p95 }
}

/// Whether the encoder used so many per cent of the line in each step, and its frames took no longer than that. Headers take
/// about 5 %. Nine of ten frames must have come.
fn keeps_up(measured: &[Measured], steps: Steps, share: u64, delay: Duration) -> bool {
    measured.iter().zip(steps).all(|(step, kbit)| {
        let most_came = step.frames * 10 >= MEASURED.as_secs() * FRAMES * 9;
        step.kbit * 100 >= u64::from(kbit) * share && step.p95 <= delay && most_came
    })
}

/// Packets hardly wait, though 300 ms of them would have room. A frame is spread over the 33 ms to the next one.
#[test]
fn with_the_controller_for_media_an_encoder_uses_the_line_and_its_frames_hardly_wait() {
    let steps = run(&CongestionControl::Media, Follow::Target, Line::alone(STEPS, 300));
    assert!(keeps_up(&steps, STEPS, 85, Duration::from_millis(85)), "{steps:?}");
}

/// After the line had lost seven eighths of its rate, the sender's own queue was taken for somebody else's. It competed with
/// it for 20 s, and next to no frame came in time.
#[test]
fn with_the_controller_for_media_an_encoder_follows_a_line_that_becomes_much_slower() {
    for steps in [[8_000, 1_000, 4_000], [4_000, 500, 3_000], [3_000, 300, 2_000]] {
        for queue in [300, 1_000] {
            let measured = run(&CongestionControl::Media, Follow::Target, Line::alone(steps, queue));
            assert!(keeps_up(&measured, steps, 80, Duration::from_millis(130)), "{steps:?} {queue}: {measured:?}");
        }
    }
}

/// What an encoder sends, as little as it is told, was taken for what the line takes: it yielded to the queue of the other one
/// until less than a twentieth of the line was left to it.
#[test]
fn with_the_controller_for_media_an_encoder_keeps_a_part_of_a_line_whose_queue_another_one_fills() {
    for (kbit, queue, least) in [(10_000, 50, 2_500), (10_000, 100, 1_200), (20_000, 100, 2_000)] {
        let line = Line { steps: [kbit; 3], queue, beside: Some(Control::Cubic) };
        let steps = run(&CongestionControl::Media, Follow::Target, line);
        assert!(steps.iter().all(|step| step.kbit >= least), "{kbit} kbit/s, {queue} ms: {steps:?}");
    }
}

/// Those that heed only loss fill the queue of 100 ms, and the default one does nearly so while it tries for more.
#[test]
fn with_other_controllers_an_encoder_uses_the_line_and_its_frames_wait_in_the_queue() {
    for (control, delays) in [
        (CongestionControl::Rfc7016, [215, 325, 240]),
        (CongestionControl::Cubic, [210, 290, 240]),
        (CongestionControl::Bbr, [220, 190, 195]),
    ] {
        let steps = run(&control, Follow::Target, Line::alone(STEPS, 100));
        let in_time = steps.iter().zip(delays).all(|(step, delay)| step.p95 <= Duration::from_millis(delay));
        assert!(keeps_up(&steps, STEPS, 88, Duration::MAX) && in_time, "{control:?}: {steps:?}");
    }
}

/// The rate that was told was that of delivery in effect: an encoder that sends little was never told that it may send more.
#[test]
fn an_encoder_that_is_set_to_what_was_delivered_never_learns_of_more() {
    for control in [CongestionControl::Media, CongestionControl::Rfc7016] {
        for follow in [Follow::Nothing, Follow::Delivered] {
            let steps = run(&control, follow, Line::alone(STEPS, 300));
            assert!(
                !keeps_up(&steps, STEPS, 30, WORTH) && keeps_up(&steps, STEPS, 5, WORTH),
                "{control:?} {follow:?}: {steps:?}"
            );
        }
    }
}
