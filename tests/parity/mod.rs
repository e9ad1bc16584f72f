//! One script over the blocking handles, the asynchronous ones, and the asynchronous ones in a simulated network: the
//! calls are the same, and so is what it sees, with the plain and the modern profile.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::thread;

use datagram_sim::{LinkSpec, LossSpec, Ppb, StageSpec, Time, World};
use rtmfp_core::{EndpointConfig, Instant};
use rtmfp_sim::rtmfp::SimRandom;
use rtmfp_sim::tasks::{Spawner, Tasks};
use rtmfp_tests::siege::{BOTH, Identity, plain};

/// What one end saw.
type Transcript = Vec<String>;

/// Writes the script once for each way to wait: `[]` for calls that block, `[async] [.await]` for futures.
macro_rules! script {
    ($name:ident, $driver:ident, [$($asynchronous:tt)?], [$($wait:tt)*]) => {
        mod $name {
            use core::net::SocketAddr;
            use core::time::Duration;

            use $driver::{Bytes, Endpoint, Error, FlowOptions};

            use super::Transcript;

            /// Asks, is refused, is answered, and closes.
            pub(super) $($asynchronous)? fn near(
                endpoint: &Endpoint,
                name: Vec<u8>,
                far: SocketAddr,
            ) -> Result<Transcript, Error> {
                let mut seen = Transcript::new();
                let session = endpoint.connect(name, &[far])$($wait)*?;
                let refused = session.open_flow(FlowOptions::new("refused"));
                let refusal = loop {
                    if let Err(error) = refused.send("is anybody there?")$($wait)* {
                        break error;
                    }
                    endpoint.sleep(Duration::from_millis(1))$($wait)*?;
                };
                seen.push(format!("refused: {refusal}"));
                let questions = session.open_flow(FlowOptions::new("questions"));
                for size in [0, 1, 1_000, 70_000, 300_000, 5] {
                    questions.send(Bytes::from(vec![b'x'; size]))$($wait)*?;
                }
                let answers = session.accept_flow()$($wait)*?;
                seen.push(format!("{:?} answers: {}", answers.metadata(), answers.is_return_to(&questions)));
                seen.push(format!("asked: {:?}", questions.finish()$($wait)*));
                while let Some(answer) = answers.recv()$($wait)*? {
                    seen.push(format!("answer: {:?}", answer.data));
                }
                endpoint.sleep(Duration::from_millis(10))$($wait)*?;
                seen.push(format!("closed: {:?}", session.close(Duration::from_secs(20))$($wait)*));
                seen.push(format!("{:?}", session.open_flow(FlowOptions::new("late")).finish()$($wait)*));
                Ok(seen)
            }

            /// Refuses one flow and answers the next.
            pub(super) $($asynchronous)? fn far(endpoint: &Endpoint) -> Result<Transcript, Error> {
                let mut seen = Transcript::new();
                let session = endpoint.accept()$($wait)*.ok_or(Error::Stopped)?;
                let refused = session.accept_flow()$($wait)*?;
                seen.push(format!("refuses {:?}", refused.metadata()));
                refused.reject(7);
                let questions = session.accept_flow()$($wait)*?;
                let answers = questions.open_return_flow(FlowOptions::new("answers"));
                while let Some(question) = questions.recv()$($wait)*? {
                    seen.push(format!("question of {} bytes", question.data.len()));
                    answers.send(format!("that was {}", question.data.len()))$($wait)*?;
                }
                seen.push(format!("answered: {:?}", answers.finish()$($wait)*));
                seen.push(format!("closed: {:?}", session.closed()$($wait)*));
                Ok(seen)
            }
        }
    };
}

script!(blocking, rtmfp_std, [], []);
script!(asynchronous, rtmfp_smol, [async], [.await]);

/// Makes the identity with a name.
type Named = fn(&str) -> Identity;

fn over_std(named: Named) -> [Transcript; 2] {
    let bind = |name| {
        let local = "127.0.0.1:0".parse().unwrap();
        rtmfp_std::Endpoint::bind(EndpointConfig::default(), named(name).0, &[local]).unwrap()
    };
    let (near, far) = (bind("near"), bind("far"));
    let address = far.local_addrs()[0];
    let answering = thread::spawn(move || blocking::far(&far).unwrap());
    [blocking::near(&near, named("far").1, address).unwrap(), answering.join().unwrap()]
}

fn over_smol(named: Named) -> [Transcript; 2] {
    let bind = |name| {
        let local = "127.0.0.1:0".parse().unwrap();
        let (endpoint, driver) =
            rtmfp_smol::Endpoint::bind(EndpointConfig::default(), named(name).0, &[local]).unwrap();
        smol::spawn(driver).detach();
        endpoint
    };
    let (near, far) = (bind("near"), bind("far"));
    let address = far.local_addrs()[0];
    let both = smol::future::try_zip(asynchronous::near(&near, named("far").1, address), asynchronous::far(&far));
    smol::block_on(both).map(Into::into).unwrap()
}

fn simulated(named: Named, seed: u64) -> [Transcript; 2] {
    const PORT: u16 = 1_935;
    const ADDRESSES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))];
    let mut world = World::new(seed);
    let seen = [Arc::<Mutex<Transcript>>::default(), Arc::default()];
    let mut host = |name: &str, address, begin: &dyn Fn(rtmfp_smol::Endpoint, &Spawner)| {
        let rng = Box::new(SimRandom::new(world.key(name, "endpoint")));
        let endpoint =
            rtmfp_core::Endpoint::new(EndpointConfig::default(), named(name).0, rng, Instant::ORIGIN).unwrap();
        let key = world.key(name, "tasks");
        world.add_host(name, Tasks::new(endpoint, vec![SocketAddr::new(address, PORT)], key, begin))
    };
    let [near, far] = [Arc::clone(&seen[0]), Arc::clone(&seen[1])];
    let near = host("near", ADDRESSES[0], &move |endpoint, spawner| {
        let seen = Arc::clone(&near);
        spawner.spawn(async move {
            let far = SocketAddr::new(ADDRESSES[1], PORT);
            *seen.lock().unwrap() = asynchronous::near(&endpoint, named("far").1, far).await.unwrap();
        });
    });
    let far = host("far", ADDRESSES[1], &move |endpoint, spawner| {
        let seen = Arc::clone(&far);
        spawner.spawn(async move { *seen.lock().unwrap() = asynchronous::far(&endpoint).await.unwrap() });
    });
    let loss = StageSpec::Loss(LossSpec::Random(Ppb::percent(2)));
    let delay = StageSpec::Delay(datagram_sim::Duration::millis(30));
    world.connect("line", near, far, &LinkSpec::symmetric(vec![loss, delay]));
    for (node, address) in [near, far].into_iter().zip(ADDRESSES) {
        world.add_address(node, 0, address, false);
    }
    world.run_until(Time(Duration::from_secs(300).as_nanos().try_into().unwrap())).unwrap();
    seen.map(|seen| seen.lock().unwrap().clone())
}

#[test]
fn a_script_sees_the_same_blocking_asynchronous_and_simulated() {
    let [near, far] = over_std(plain);
    assert_eq!((near.len(), far.len()), (11, 9), "{near:#?} {far:#?}");
    for (named, seeds) in BOTH.into_iter().zip([0..20, 0..5]) {
        assert_eq!(over_std(named), [near.clone(), far.clone()]);
        assert_eq!(over_smol(named), [near.clone(), far.clone()]);
        for seed in seeds {
            assert_eq!(simulated(named, seed), [near.clone(), far.clone()], "seed {seed}");
        }
    }
}
