//! The asynchronous handles under many orders of events: futures that are dropped half-way, ends that come at any moment.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use datagram_sim::{LinkSpec, LossSpec, NodeId, Ppb, QueueSpec, Rate, RateSpec, StageSpec, Stream, Time, World};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{EndpointConfig, FlowOptions, Instant};
use rtmfp_sim::rtmfp::SimRandom;
use rtmfp_sim::tasks::{Spawner, Tasks};
use rtmfp_smol::{Endpoint, RecvFlow};

const PORT: u16 = 1_935;
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

type Heard = Arc<Mutex<Vec<String>>>;

fn host(world: &mut World, name: &str, address: IpAddr, begin: impl FnOnce(Endpoint, &Spawner)) -> NodeId {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    let rng = Box::new(SimRandom::new(world.key(name, "endpoint")));
    let endpoint = rtmfp_core::Endpoint::new(EndpointConfig::default(), profile, rng, Instant::ORIGIN).unwrap();
    let tasks = Tasks::new(endpoint, vec![SocketAddr::new(address, PORT)], world.key(name, "tasks"), begin);
    world.add_host(name, tasks)
}

/// Runs two programs over a line with loss for five simulated minutes, and tells what `heard` was told.
fn run(
    seed: u64,
    near: impl FnOnce(Endpoint, &Spawner, Stream),
    far: impl FnOnce(Endpoint, &Spawner, Stream, Heard),
) -> Vec<String> {
    let mut world = World::new(seed);
    let heard = Heard::default();
    let choices = [world.key("near", "choices").stream(), world.key("far", "choices").stream()];
    let [near_choices, far_choices] = choices;
    let told = Arc::clone(&heard);
    let server = host(&mut world, "far", FAR, |endpoint, spawner| far(endpoint, spawner, far_choices, told));
    let client = host(&mut world, "near", NEAR, |endpoint, spawner| near(endpoint, spawner, near_choices));
    let loss = StageSpec::Loss(LossSpec::Random(Ppb::percent(2)));
    let delay = StageSpec::Delay(datagram_sim::Duration::millis(10));
    world.connect("line", client, server, &LinkSpec::symmetric(vec![loss, delay]));
    world.add_address(server, 0, FAR, false);
    world.add_address(client, 0, NEAR, false);
    world.run_until(Time(300_000_000_000)).unwrap();
    for node in [client, server] {
        let tasks = world.node::<Tasks>(node).unwrap();
        // The driver ends when the last handle is gone.
        assert_eq!((tasks.unfinished(), tasks.ran_away()), (0, false), "seed {seed}");
    }
    drop(world);
    Arc::into_inner(heard).unwrap().into_inner().unwrap()
}

/// Nothing is lost, and nothing comes twice, though every wait is given up again and again.
#[test]
fn waits_that_are_given_up_lose_nothing() {
    const MESSAGES: u32 = 60;
    for seed in 0..60 {
        let heard = run(
            seed,
            |endpoint, spawner, mut choices| {
                spawner.spawn(async move {
                    let session = endpoint.connect("far", &[SocketAddr::new(FAR, PORT)]).await.unwrap();
                    let flow = session.open_flow(FlowOptions::new("numbers"));
                    for number in 0..MESSAGES {
                        let size = usize::try_from(choices.below(60_000)).unwrap();
                        let mut message = number.to_be_bytes().to_vec();
                        message.resize(4 + size, 0);
                        let patience = Duration::from_micros(choices.below(30_000));
                        if choices.below(3) == 0 {
                            flow.send(message).await.unwrap();
                            continue;
                        }
                        // Given up, it was not queued.
                        while endpoint.timeout(patience, flow.send(message.clone())).await.is_none() {}
                    }
                    flow.finish().await.unwrap();
                });
            },
            |endpoint, spawner, mut choices, heard| {
                spawner.spawn(async move {
                    let session = endpoint.accept().await.unwrap();
                    let flow: RecvFlow = session.accept_flow().await.unwrap();
                    loop {
                        let for_ever = choices.below(3) == 0;
                        let patience = Duration::from_micros(if for_ever { u64::MAX } else { choices.below(20_000) });
                        match endpoint.timeout(patience, flow.recv()).await {
                            None => {}
                            Some(Ok(None)) => break,
                            Some(message) => {
                                let number = message.unwrap().unwrap().data[..4].try_into().map(u32::from_be_bytes);
                                heard.lock().unwrap().push(number.unwrap().to_string());
                            }
                        }
                        if choices.below(4) == 0 {
                            endpoint.sleep(Duration::from_micros(choices.below(50_000))).await.unwrap();
                        }
                    }
                });
            },
        );
        let expected: Vec<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
        assert_eq!(heard, expected, "seed {seed}");
    }
}

/// What `finish` has promised can be read, whoever closes or drops what, and when.
#[test]
fn what_was_finished_is_read_whenever_the_session_ends() {
    for seed in 0..if crate::is_long() { 200 } else { 40 } {
        let heard = run(
            seed,
            |endpoint, spawner, mut choices| {
                spawner.spawn(async move {
                    let session = endpoint.connect("far", &[SocketAddr::new(FAR, PORT)]).await.unwrap();
                    let flow = session.open_flow(FlowOptions::new("numbers"));
                    for number in 0..20 {
                        flow.send(number.to_string()).await.unwrap();
                    }
                    let pause = Duration::from_micros(choices.below(60_000));
                    match choices.below(4) {
                        // Dropped in one order or the other.
                        0 => drop(flow),
                        1 => drop(session),
                        2 => assert!(session.close(Duration::from_secs(20)).await.unwrap().is_empty()),
                        _ => {
                            endpoint.sleep(pause).await.unwrap();
                            flow.finish().await.unwrap();
                        }
                    }
                });
            },
            |endpoint, spawner, mut choices, heard| {
                spawner.spawn(async move {
                    let session = endpoint.accept().await.unwrap();
                    let flow = session.accept_flow().await.unwrap();
                    drop(session);
                    endpoint.sleep(Duration::from_micros(choices.below(200_000))).await.unwrap();
                    while let Some(message) = flow.recv().await.unwrap() {
                        heard.lock().unwrap().push(String::from_utf8_lossy(&message.data).into_owned());
                    }
                });
            },
        );
        let expected: Vec<_> = (0..20).map(|number| number.to_string()).collect();
        assert_eq!(heard, expected, "seed {seed}");
    }
}

/// One flow keeps a line of 100 Mbit/s with a round trip of 100 ms busy. Beyond what the endpoint has not sent yet
/// (`unsent_limit`), no more waits than the handle's queue holds.
#[test]
fn one_flow_of_handles_fills_a_long_line() {
    const MESSAGE: usize = 16_384;
    let mut world = World::new(1);
    let (heard, most) = (Arc::new(Mutex::new(0_usize)), Arc::new(Mutex::new(0_usize)));
    let (told, waited) = (Arc::clone(&heard), Arc::clone(&most));
    let server = host(&mut world, "far", FAR, |endpoint, spawner| {
        spawner.spawn(async move {
            let session = endpoint.accept().await.unwrap();
            let flow = session.accept_flow().await.unwrap();
            while let Some(message) = flow.recv().await.unwrap() {
                *told.lock().unwrap() += message.data.len();
            }
        });
    });
    let client = host(&mut world, "near", NEAR, |endpoint, spawner| {
        spawner.spawn(async move {
            let session = endpoint.connect("far", &[SocketAddr::new(FAR, PORT)]).await.unwrap();
            let flow = session.open_flow(FlowOptions::new("bulk"));
            loop {
                flow.send(vec![7; MESSAGE]).await.unwrap();
                let mut most = waited.lock().unwrap();
                *most = (*most).max(flow.buffered());
            }
        });
    });
    let queue = QueueSpec::TailTime(datagram_sim::Duration::millis(100));
    let rate = StageSpec::Shaper { rate: RateSpec::Fixed(Rate::mbit(100)), queue };
    let delay = StageSpec::Delay(datagram_sim::Duration::millis(50));
    world.connect("line", client, server, &LinkSpec::symmetric(vec![rate, delay]));
    world.add_address(server, 0, FAR, false);
    world.add_address(client, 0, NEAR, false);
    world.run_until(Time(11_000_000_000)).unwrap();
    let (heard, most) = (*heard.lock().unwrap(), *most.lock().unwrap());
    println!("{heard} bytes, {most} waited");
    assert!(heard > 75_000_000, "{heard} bytes in 11 s");
    assert!((1..=262_144 + MESSAGE).contains(&most), "{most} bytes waited in the handle");
}
