//! What receipts tell is what happened: messages with deadlines over a line with loss, over many seeds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use datagram_sim::{
    JitterSpec, LinkSpec, LossSpec, NodeId, Ppb, QueueSpec, Rate, RateSpec, StageSpec, Stream, Time, World,
};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{EndpointConfig, FlowOptions, Instant, MessageOutcome};
use rtmfp_sim::rtmfp::SimRandom;
use rtmfp_sim::tasks::{Spawner, Tasks};
use rtmfp_smol::{Endpoint, Receipt, SendFlow, SendOptions};

const PORT: u16 = 1_935;
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// What came, and what receipts told.
#[derive(Default)]
struct Seen {
    arrived: BTreeSet<u32>,
    outcomes: BTreeMap<u32, MessageOutcome>,
}

impl Seen {
    /// Of those with this outcome, how many have arrived, and how many not.
    fn count(&self, outcome: MessageOutcome) -> [usize; 2] {
        let told = self.outcomes.iter().filter(|(_, told)| **told == outcome);
        let (arrived, lost): (Vec<_>, Vec<_>) = told.partition(|(number, _)| self.arrived.contains(*number));
        [arrived.len(), lost.len()]
    }
}

fn host(world: &mut World, name: &str, begin: impl FnOnce(Endpoint, &Spawner)) -> NodeId {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    let rng = Box::new(SimRandom::new(world.key(name, "endpoint")));
    let endpoint = rtmfp_core::Endpoint::new(EndpointConfig::default(), profile, rng, Instant::ORIGIN).unwrap();
    let local = SocketAddr::new(if name == "far" { FAR } else { NEAR }, PORT);
    world.add_host(name, Tasks::new(endpoint, vec![local], world.key(name, "tasks"), begin))
}

/// What one end sends to the other in two simulated minutes over this line.
fn run<F: Future<Output = ()> + Send + 'static>(
    seed: u64,
    line: Vec<StageSpec>,
    send: impl FnOnce(Endpoint, SendFlow, Stream, Arc<Mutex<Seen>>) -> F + Send + 'static,
) -> Seen {
    let mut world = World::new(seed);
    let seen = Arc::<Mutex<Seen>>::default();
    let choices = world.key("near", "choices").stream();
    let (read, told) = (Arc::clone(&seen), Arc::clone(&seen));
    let server = host(&mut world, "far", |endpoint, spawner| {
        spawner.spawn(async move {
            let session = endpoint.accept().await.unwrap();
            let flow = session.accept_flow().await.unwrap();
            while let Ok(Some(message)) = flow.recv().await {
                let number = u32::from_be_bytes(*message.data.first_chunk().unwrap());
                assert!(read.lock().unwrap().arrived.insert(number), "{number} came twice");
            }
            // The last acknowledgement may be lost.
            endpoint.sleep(Duration::from_secs(20)).await.unwrap();
        });
    });
    let client = host(&mut world, "near", |endpoint, spawner| {
        spawner.spawn(async move {
            let session = endpoint.connect("far", &[SocketAddr::new(FAR, PORT)]).await.unwrap();
            send(endpoint, session.open_flow(FlowOptions::new("states")), choices, told).await;
        });
    });
    world.connect("line", client, server, &LinkSpec::symmetric(line));
    world.add_address(server, 0, FAR, false);
    world.add_address(client, 0, NEAR, false);
    world.run_until(Time(120_000_000_000)).unwrap();
    for node in [client, server] {
        let tasks = world.node::<Tasks>(node).unwrap();
        assert_eq!((tasks.unfinished(), tasks.ran_away()), (0, false), "seed {seed}");
    }
    drop(world);
    Arc::into_inner(seen).unwrap().into_inner().unwrap()
}

fn message(number: u32, length: u64) -> Vec<u8> {
    let mut message = number.to_be_bytes().to_vec();
    message.resize(4 + usize::try_from(length).unwrap(), 0);
    message
}

async fn collect(receipts: impl Iterator<Item = (u32, Receipt)>, seen: &Mutex<Seen>) {
    for (number, receipt) in receipts {
        let outcome = receipt.await;
        seen.lock().unwrap().outcomes.insert(number, outcome);
    }
}

/// A state every 33 ms, worth nothing after 100 ms, over 80 ms and 2 % loss. Those that arrived were told as abandoned.
#[test]
fn states_of_a_game_are_told_as_what_became_of_them() {
    let line = || {
        let delay = datagram_sim::Duration::millis(80);
        vec![StageSpec::Loss(LossSpec::Random(Ppb::percent(2))), StageSpec::Delay(delay)]
    };
    for seed in 0..20 {
        let seen = run(seed, line(), |endpoint, flow, _, seen| async move {
            let mut receipts = Vec::new();
            for number in 0..300 {
                let options = SendOptions::new().deadline(Duration::from_millis(100));
                receipts.push(flow.send_with(message(number, 200), options).await.unwrap());
                endpoint.sleep(Duration::from_millis(33)).await.unwrap();
            }
            collect((0..).zip(receipts), &seen).await;
            flow.finish().await.unwrap();
        });
        let [delivered, unknown] = [MessageOutcome::Delivered, MessageOutcome::Unknown].map(|o| seen.count(o));
        assert_eq!(seen.count(MessageOutcome::Abandoned), [0, 0], "seed {seed}: each was sent at once");
        assert_eq!(delivered[1], 0, "seed {seed}");
        assert!(delivered[0] > 270 && unknown[0] < 10, "seed {seed}: {delivered:?} {unknown:?}");
    }
}

/// All that makes a message be given up, over a narrow line with loss, copies and packets that overtake one another.
#[test]
fn no_receipt_contradicts_what_arrived() {
    let mut counts = BTreeMap::<_, [usize; 2]>::new();
    let mut given_up = 0;
    for seed in 0_u32..if crate::is_long() { 80 } else { 16 } {
        let line = vec![
            StageSpec::Shaper { rate: RateSpec::Fixed(Rate::kbit(800)), queue: QueueSpec::TailBytes(20_000) },
            StageSpec::Loss(LossSpec::Random(Ppb::percent(seed % 8))),
            StageSpec::Duplicate { probability: Ppb::percent(2), copies: 1, late: datagram_sim::Duration::millis(400) },
            StageSpec::Jitter {
                distribution: JitterSpec::Exponential(datagram_sim::Duration::millis(15)),
                reorder: true,
            },
            StageSpec::Delay(datagram_sim::Duration::millis(20)),
        ];
        let seen = run(seed.into(), line, |endpoint, flow, mut choices, seen| async move {
            let (mut numbers, mut receipts) = (Vec::new(), Vec::<Receipt>::new());
            for number in 0..150 {
                let within = Duration::from_millis(choices.below(300));
                let options = SendOptions::new();
                let options = match choices.below(6) {
                    0 => options,
                    1 => options.no_retransmit(),
                    2 => options.start_by(within),
                    3 => receipts.last().map_or(options.clone(), |last| options.after(last)),
                    _ => options.deadline(within),
                };
                // Given up while it waits for room, it was not queued.
                let patience = Duration::from_millis(if choices.below(4) == 0 { 5 } else { 100_000 });
                let sending = flow.send_with(message(number, choices.below(24_000)), options);
                let Some(receipt) = endpoint.timeout(patience, sending).await else { continue };
                numbers.push(number);
                receipts.push(receipt.unwrap());
                if choices.below(8) == 0 {
                    receipts[usize::try_from(choices.below(receipts.len() as u64)).unwrap()].abandon();
                }
                if choices.below(4) == 0 {
                    endpoint.sleep(Duration::from_millis(choices.below(50))).await.unwrap();
                }
            }
            collect(numbers.into_iter().zip(receipts), &seen).await;
            flow.finish().await.unwrap();
        });
        assert!(seen.arrived.iter().all(|number| seen.outcomes.contains_key(number)), "seed {seed}: not queued");
        given_up += 150 - seen.outcomes.len();
        assert_eq!(seen.count(MessageOutcome::Delivered)[1], 0, "seed {seed}: delivered, and did not arrive");
        assert_eq!(seen.count(MessageOutcome::Abandoned)[0], 0, "seed {seed}: abandoned, and arrived");
        for outcome in [MessageOutcome::Delivered, MessageOutcome::Abandoned, MessageOutcome::Unknown] {
            let count = seen.count(outcome);
            let sum = counts.entry(outcome).or_default();
            *sum = [sum[0] + count[0], sum[1] + count[1]];
        }
    }
    // All of these happen.
    assert!(given_up > 0, "{given_up} sends were given up");
    assert!(counts[&MessageOutcome::Delivered][0] > if crate::is_long() { 3_000 } else { 500 }, "{counts:?}");
    assert!(counts[&MessageOutcome::Abandoned][1] > if crate::is_long() { 1_000 } else { 500 }, "{counts:?}");
    assert!(counts[&MessageOutcome::Unknown].iter().all(|count| *count > 0), "{counts:?}");
}
