//! A greeting and its answer between two endpoints in one process: `cargo run -p rtmfp-std --example hello`

use std::error::Error;
use std::thread;

use rtmfp_std::{Endpoint, FlowOptions, Remote};

fn main() -> Result<(), Box<dyn Error>> {
    // It has a new identity: whoever knows its peer ID is sure to reach it.
    let server = Endpoint::builder().peer().bind("127.0.0.1:0".parse()?).spawn()?;
    let peer_id = server.peer_id().ok_or("no peer ID")?;
    let address = *server.local_addrs().first().ok_or("no address")?;
    let serving = thread::spawn(move || -> Result<(), rtmfp_std::Error> {
        let Some(session) = server.accept() else { return Ok(()) };
        let flow = session.accept_flow()?;
        let answer = flow.open_return_flow(FlowOptions::new("answer"));
        while let Some(message) = flow.recv()? {
            answer.send([b"hello, ", &message.data[..]].concat())?;
        }
        answer.finish()
    });

    let client = Endpoint::builder().client().spawn()?;
    let session = client.connect_to(Remote::peer(peer_id).at(address))?;
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
