//! A greeting and its answer between two endpoints in one process: `cargo run -p rtmfp-std --example hello`

use std::error::Error;
use std::sync::Arc;
use std::thread;

use rtmfp_core::profile::flash::{Discriminator, FlashProfile, Group, StaticKeys};
use rtmfp_core::{EndpointConfig, FlowOptions};
use rtmfp_std::{Endpoint, system_rng};

fn main() -> Result<(), Box<dyn Error>> {
    let mut rng = system_rng()?;
    // Whoever knows the fingerprint of static keys is sure to reach the one who has them.
    let keys = StaticKeys::generate(&[Group::Modp2048], &mut *rng);
    let profile = FlashProfile::builder().static_keys(keys).build(&mut *rng)?;
    let name = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
    let server = Endpoint::bind(EndpointConfig::default(), Arc::new(profile), &["127.0.0.1:0".parse()?])?;
    let address = server.local_addrs().to_vec();
    let serving = thread::spawn(move || -> Result<(), rtmfp_std::Error> {
        let Some(session) = server.accept() else { return Ok(()) };
        let flow = session.accept_flow()?;
        let answer = flow.open_return_flow(FlowOptions::new("answer"));
        while let Some(message) = flow.recv()? {
            answer.send([b"hello, ", &message.data[..]].concat())?;
        }
        answer.finish()
    });

    let keys = StaticKeys::generate(&[Group::Modp2048], &mut *rng);
    let profile = FlashProfile::builder().static_keys(keys).build(&mut *rng)?;
    let client = Endpoint::bind(EndpointConfig::default(), Arc::new(profile), &["127.0.0.1:0".parse()?])?;
    let session = client.connect(name, &address)?;
    let greeting = session.open_flow(FlowOptions::new("greeting"));
    greeting.send("world")?;
    let answer = session.accept_flow()?;
    greeting.finish()?;
    while let Some(message) = answer.recv()? {
        println!("{}", String::from_utf8_lossy(&message.data));
    }
    drop((answer, session));
    serving.join().map_err(|_| "the server failed")??;
    Ok(())
}
