//! A server that sends back what it receives, and a client that calls it by its URI: `cargo run -p rtmfp-smol --example echo`
//!
//! What to look for: the client needs one line to connect. Each question is a flow, and its answer comes in a flow that
//! belongs to it, so that several can be under way at once.

use std::time::Duration;

use futures_lite::StreamExt;
use rtmfp_smol::{Endpoint, Error, FlowOptions, Remote, Session};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Sends back every message of every flow that a client opens, in a return flow.
async fn serve(session: Session) {
    let mut flows = session.incoming_flows();
    while let Some(flow) = flows.next().await {
        smol::spawn(async move {
            let answer = flow.open_return_flow(FlowOptions::new("answer"));
            while let Some(message) = flow.recv().await? {
                println!("server: {} says {}", flow.metadata().escape_ascii(), message.data.escape_ascii());
                answer.send(message.data).await?;
            }
            answer.finish().await
        })
        .detach();
    }
    println!("server: the client has left");
}

/// Asks in a flow of its own, and waits for the answer.
async fn ask(session: &Session, name: &'static str, question: &'static str) -> std::result::Result<(), Error> {
    let flow = session.open_flow(FlowOptions::new(name));
    flow.send(question).await?;
    let answer = session.accept_flow().await?;
    flow.finish().await?;
    while let Some(message) = answer.recv().await? {
        println!("client: the answer is {}", message.data.escape_ascii());
    }
    Ok(())
}

fn main() -> Result<()> {
    smol::block_on(async {
        let builder = Endpoint::builder().server();
        let (server, driver) = builder.bind("127.0.0.1:0".parse()?).build()?;
        let running = smol::spawn(driver);
        let uri = format!("rtmfp://{}/echo", server.local_addrs().first().ok_or("no address")?);
        println!("server: at {uri}");
        let serving = smol::spawn(async move {
            if let Some(session) = server.accept().await {
                serve(session).await;
            }
        });

        let (client, driver) = Endpoint::builder().client().build()?;
        smol::spawn(driver).detach();
        let session = client.connect_to(Remote::uri(&uri)?.timeout(Duration::from_secs(10))).await?;
        ask(&session, "first", "hello").await?;
        ask(&session, "second", "goodbye").await?;
        // All that was sent is delivered before this is ready, or told to be undelivered.
        let undelivered = session.close(Duration::from_secs(5)).await?;
        assert!(undelivered.is_empty());
        serving.await;
        // The server's handles are gone, and with the last its driver ends.
        running.await?;
        Ok(())
    })
}
