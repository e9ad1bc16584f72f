//! A program written against the asynchronous handles, tested in the simulator: `cargo run -p rtmfp-sim --example tasks`
//!
//! [`serve`] and [`ask`] know nothing of a simulation: a program that spawns them beside an `rtmfp_smol::Driver` talks
//! over sockets. Here they run over a line that loses 3 % of all packets and is cut for two minutes, which no session
//! survives. There are a hundred orders of events. Each passes in milliseconds, and a seed that fails will do so again.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use datagram_sim::{LinkSpec, LossSpec, NodeId, Ppb, StageSpec, Time, World};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{EndpointConfig, FlowOptions, Instant};
use rtmfp_sim::rtmfp::SimRandom;
use rtmfp_sim::tasks::{Spawner, Tasks};
use rtmfp_smol::{Endpoint, Error, Session};

const QUESTIONS: u32 = 50;
const PORT: u16 = 1_935;
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// Answers each question with its square.
async fn serve(session: Session) -> Result<(), Error> {
    let questions = session.accept_flow().await?;
    let answers = questions.open_return_flow(FlowOptions::new("answers"));
    while let Some(question) = questions.recv().await? {
        let number = question.data.as_ref().try_into().map(u32::from_be_bytes).unwrap_or_default();
        answers.send((number * number).to_be_bytes().to_vec()).await?;
    }
    answers.finish().await
}

/// Asks from `asked` on, one question every quarter of a second.
async fn ask(endpoint: &Endpoint, asked: &mut u32, sum: &mut u64) -> Result<(), Error> {
    let session = endpoint.connect("server", &[SocketAddr::new(SERVER, PORT)]).await?;
    let questions = session.open_flow(FlowOptions::new("questions"));
    questions.send(asked.to_be_bytes().to_vec()).await?;
    let answers = session.accept_flow().await?;
    while let Some(answer) = answers.recv().await? {
        *sum += u64::from(answer.data.as_ref().try_into().map(u32::from_be_bytes).unwrap_or_default());
        *asked += 1;
        if *asked == QUESTIONS {
            return questions.finish().await;
        }
        endpoint.sleep(Duration::from_millis(250)).await?;
        questions.send(asked.to_be_bytes().to_vec()).await?;
    }
    Ok(())
}

/// Asks until all is answered, in as many sessions as it takes.
async fn persist(endpoint: Endpoint) -> (u64, u32) {
    let (mut asked, mut sum, mut sessions) = (0, 0, 0);
    while asked < QUESTIONS {
        sessions += 1;
        if ask(&endpoint, &mut asked, &mut sum).await.is_err() {
            // The endpoint's clock, which is the simulated one here.
            let _ = endpoint.sleep(Duration::from_secs(1)).await;
        }
    }
    (sum, sessions)
}

fn host(
    world: &mut World,
    name: &str,
    address: IpAddr,
    begin: impl FnOnce(Endpoint, &Spawner),
) -> Result<NodeId, Box<dyn std::error::Error>> {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    let rng = Box::new(SimRandom::new(world.key(name, "endpoint")));
    let endpoint = rtmfp_core::Endpoint::new(EndpointConfig::default(), profile, rng, Instant::ORIGIN)?;
    let tasks = Tasks::new(endpoint, vec![SocketAddr::new(address, PORT)], world.key(name, "tasks"), begin);
    Ok(world.add_host(name, tasks))
}

/// The sum of the answers, and how many sessions it took; `None` if it was not done in time.
type Outcome = Option<(u64, u32)>;

/// What the client had at the end, and the hash of all that happened.
fn run(seed: u64) -> Result<(Outcome, u128), Box<dyn std::error::Error>> {
    let mut world = World::new(seed);
    let server = host(&mut world, "server", SERVER, |endpoint, spawner| {
        let beside = spawner.clone();
        spawner.spawn(async move {
            while let Some(session) = endpoint.accept().await {
                beside.spawn(async move {
                    // A client whose session has ended comes back in another.
                    let _ended = serve(session).await;
                });
            }
        });
    })?;
    let result = Arc::new(Mutex::new(None));
    let client = host(&mut world, "client", CLIENT, |endpoint, spawner| {
        let result = Arc::clone(&result);
        spawner.spawn(async move {
            let got = persist(endpoint).await;
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(got);
        });
    })?;
    let loss = StageSpec::Loss(LossSpec::Random(Ppb::percent(3)));
    let delay = StageSpec::Delay(datagram_sim::Duration::millis(20));
    let line = world.connect("line", client, server, &LinkSpec::symmetric(vec![loss, delay]));
    world.add_address(server, 0, SERVER, false);
    world.add_address(client, 0, CLIENT, false);
    world.run_until(Time(5_000_000_000))?;
    world.set_link(line, false, None);
    world.run_until(Time(125_000_000_000))?;
    world.set_link(line, true, None);
    world.run_until(Time(200_000_000_000))?;
    let got = *result.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((got, world.hash()))
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let expected: u64 = (0..u64::from(QUESTIONS)).map(|number| number * number).sum();
    for seed in 0..100 {
        match run(seed)? {
            (Some((sum, sessions)), hash) if sum == expected => {
                if seed < 3 {
                    println!(
                        "seed {seed}: {QUESTIONS} answers, their sum is {sum}, {sessions} sessions, hash {hash:032x}"
                    );
                }
            }
            (got, hash) => {
                println!("seed {seed}: {got:?} instead of {expected}, hash {hash:032x}");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    let again = (run(7)?, run(7)?);
    if again.0 != again.1 {
        println!("the same seed gave two runs");
        return Ok(ExitCode::FAILURE);
    }
    println!("100 orders of events passed, and the same seed gives the same run");
    Ok(ExitCode::SUCCESS)
}
