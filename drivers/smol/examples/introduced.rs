//! Two peers that know of each other no more than their peer IDs, and a third who introduces them:
//! `cargo run -p rtmfp-smol --example introduced`
//!
//! What to look for: the introducer is asked once, and is gone before the two begin to talk. What they say goes from one
//! to the other. Behind NATs it would be the same: both ends send at the same moment, which opens the way.

use std::net::SocketAddr;
use std::time::Duration;

use futures_lite::{StreamExt, future};
use rtmfp_smol::profile::Fingerprint;
use rtmfp_smol::{Endpoint, FlowOptions, IntroducePolicy, RecvFlow, Remote, SendFlow, Session};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Who somebody is, for others to call.
fn id(endpoint: &Endpoint) -> Result<Fingerprint> {
    Ok(endpoint.peer_id().ok_or("no peer ID")?)
}

/// A fingerprint is long. Its beginning will do to read.
fn short(id: Option<Fingerprint>) -> String {
    id.map_or_else(|| "somebody".to_owned(), |id| id.to_string().chars().take(8).collect())
}

/// Introduces whoever is registered to whoever asks, and says so.
async fn introduce(introducer: Endpoint) {
    let mut requests = introducer.introductions();
    while let Some(request) = requests.next().await {
        let known = request.introduce().await;
        let known = if known { "registered here" } else { "unknown" };
        println!("introducer: {} asks for {}, who is {known}", request.from(), short(request.peer_id()));
    }
}

fn peer() -> Result<Endpoint> {
    let (endpoint, driver) = Endpoint::builder().peer().bind("127.0.0.1:0".parse()?).build()?;
    smol::spawn(driver).detach();
    Ok(endpoint)
}

/// Says one line after another, each after one of the other's.
async fn talk(name: &str, to: &SendFlow, from: &RecvFlow, lines: &[&'static str]) -> Result<()> {
    for line in lines {
        to.send(*line).await?;
        let Some(heard) = from.recv().await? else { break };
        println!("{name} hears: {}", String::from_utf8_lossy(&heard.data));
    }
    Ok(())
}

/// Ben waits to be called.
async fn ben(endpoint: Endpoint) -> Result<()> {
    let session = endpoint.accept().await.ok_or("stopped")?;
    let hearing = session.accept_flow().await?;
    let speaking = hearing.open_return_flow(FlowOptions::new("chat"));
    talk("Ben", &speaking, &hearing, &["Hello, who is there?", "Nice to meet you"]).await?;
    speaking.finish().await?;
    // Dropping the session closes it. Ada may not have ended her flow yet, so Ben reads it to its end first.
    while hearing.recv().await?.is_some() {}
    Ok(())
}

/// Ada calls.
async fn ada(session: &Session) -> Result<()> {
    let speaking = session.open_flow(FlowOptions::new("chat"));
    speaking.send("(Ada calls)").await?;
    let hearing = session.accept_flow().await?;
    talk("Ada", &speaking, &hearing, &["It is Ada"]).await?;
    while let Some(heard) = hearing.recv().await? {
        println!("Ada hears: {}", String::from_utf8_lossy(&heard.data));
    }
    speaking.finish().await?;
    Ok(())
}

fn main() -> Result<()> {
    smol::block_on(async {
        let builder = Endpoint::builder().peer().introduce(IntroducePolicy::Ask);
        let (introducer, driver) = builder.bind("127.0.0.1:0".parse()?).build()?;
        let running = smol::spawn(driver);
        let introducer_id = id(&introducer)?;
        let at: SocketAddr = *introducer.local_addrs().first().ok_or("no address")?;
        let stop = introducer.clone();
        let introducing = smol::spawn(introduce(introducer));

        let (calling, called) = (peer()?, peer()?);
        let called_id = id(&called)?;
        let registration = called.register(Remote::peer(introducer_id).at(at)).await?;
        registration.wait_registered().await?;
        println!("Ben is registered as {}", short(Some(called_id)));

        let unknown = Remote::peer(Fingerprint([0; 32])).through(at).timeout(Duration::from_secs(1));
        if let Err(error) = calling.connect_to(unknown).await {
            println!("Ada calls nobody: {error}");
        }
        let session = calling.connect_through(called_id, &[at]).await?;
        println!("Ada has reached {}", session.remote_addr().ok_or("no address")?);

        // From here on the introducer is not needed.
        drop(registration);
        stop.shutdown(Duration::from_secs(5)).await?;
        introducing.await;
        running.await?;
        println!("The introducer has left");
        future::try_zip(ben(called), ada(&session)).await?;
        Ok(())
    })
}
