//! Two programs that meet by a number of four digits, and a server that brings them together:
//! `cargo run -p rtmfp-smol --example meet`
//!
//! What to look for: Ben tells Ada nothing but the number. The server finds out the rest, and neither address nor peer ID
//! is typed by anybody. `rtmfp serve` is such a server. `drivers/std/examples/meet_threads.rs` does the same with threads.

use std::time::Duration;

use futures_lite::future;
use rtmfp_meet::{Everybody, Limits, Rendezvous};
use rtmfp_smol::{Builder, Endpoint, FlowOptions, IntroducePolicy, Remote, system_rng};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn bind(builder: Builder) -> Result<Endpoint> {
    let (endpoint, driver) = builder.peer().bind("127.0.0.1:0".parse()?).build()?;
    smol::spawn(driver).detach();
    Ok(endpoint)
}

fn server() -> Result<Endpoint> {
    let meeting = Rendezvous::new(Limits::default(), Everybody, system_rng()?, |_| {});
    // Sessions are kept though nobody holds them: for them the server is there.
    let nobody = IntroducePolicy::authorise(|_| false);
    bind(Endpoint::builder().service(Box::new(meeting)).introduce(nobody))
}

async fn ben(endpoint: Endpoint, server: Remote, tell: smol::channel::Sender<u64>) -> Result<()> {
    let meeting = endpoint.join(server).await?;
    let number = meeting.number().await?;
    println!("Ben's number is {number}");
    tell.send(number).await?;
    let session = endpoint.accept().await.ok_or("stopped")?;
    let flow = session.accept_flow().await?;
    // To its end: dropping the session closes it, and Ada may not have ended the flow yet.
    while let Some(heard) = flow.recv().await? {
        println!("Ben hears: {}", String::from_utf8_lossy(&heard.data));
    }
    Ok(())
}

async fn ada(endpoint: Endpoint, server: Remote, told: smol::channel::Receiver<u64>) -> Result<()> {
    let meeting = endpoint.join(server).await?;
    let peer_id = meeting.find(told.recv().await?).await?;
    let session = meeting.connect(peer_id).await?;
    println!("the path is {}", session.path_kind().ok_or("no path")?);
    let flow = session.open_flow(FlowOptions::new("greeting"));
    flow.send("we have met").await?;
    flow.finish().await?;
    Ok(())
}

fn main() -> Result<()> {
    smol::block_on(async {
        let server = server()?;
        let at = *server.local_addrs().first().ok_or("no address")?;
        let remote = || server.peer_id().map(|id| Remote::peer(id).at(at)).ok_or("no peer ID");
        let (tell, told) = smol::channel::bounded(1);
        let (one, other) = (bind(Endpoint::builder())?, bind(Endpoint::builder())?);
        future::try_zip(ben(one, remote()?, tell), ada(other, remote()?, told)).await?;
        server.shutdown(Duration::from_secs(5)).await?;
        Ok(())
    })
}
