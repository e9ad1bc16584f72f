//! Two programs that meet by a number of four digits, and a server that brings them together, with threads:
//! `cargo run -p rtmfp-std --example meet_threads`
//!
//! What to look for: Ben tells Ada nothing but the number.

use std::error::Error;
use std::sync::mpsc;
use std::thread;

use rtmfp_meet::{Everybody, Limits, Rendezvous};
use rtmfp_std::{Builder, Endpoint, FlowOptions, IntroducePolicy, Remote, system_rng};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn spawn(builder: Builder) -> Result<Endpoint> {
    Ok(builder.peer().bind("127.0.0.1:0".parse()?).spawn()?)
}

fn server() -> Result<Endpoint> {
    let meeting = Rendezvous::new(Limits::default(), Everybody, system_rng()?, |_| {});
    spawn(Endpoint::builder().service(Box::new(meeting)).introduce(IntroducePolicy::authorise(|_| false)))
}

fn ben(server: Remote, tell: &mpsc::Sender<u64>) -> Result<()> {
    let endpoint = spawn(Endpoint::builder())?;
    let meeting = endpoint.join(server)?;
    let number = meeting.number()?;
    println!("Ben's number is {number}");
    tell.send(number)?;
    let session = endpoint.accept().ok_or("stopped")?;
    let flow = session.accept_flow()?;
    while let Some(heard) = flow.recv()? {
        println!("Ben hears: {}", String::from_utf8_lossy(&heard.data));
    }
    Ok(())
}

fn main() -> Result<()> {
    let server = server()?;
    let at = *server.local_addrs().first().ok_or("no address")?;
    let remote = Remote::peer(server.peer_id().ok_or("no peer ID")?).at(at);
    let (tell, told) = mpsc::channel();
    let to_ben = remote.clone();
    let ben = thread::spawn(move || ben(to_ben, &tell));
    let endpoint = spawn(Endpoint::builder())?;
    let meeting = endpoint.join(remote)?;
    let session = meeting.connect(meeting.find(told.recv()?)?)?;
    println!("the path is {}", session.path_kind().ok_or("no path")?);
    let flow = session.open_flow(FlowOptions::new("greeting"));
    flow.send("we have met")?;
    flow.finish()?;
    ben.join().map_err(|_| "Ben has panicked")?
}
