//! The same crate inside a tokio program: drivers, sessions and requests are tokio's tasks, and tokio's timers end waits.
//! `cargo run -p rtmfp-smol --example tokio`

use std::error::Error;
use std::time::Duration;

use futures_lite::StreamExt as _;
use rtmfp_smol::{Bytes, Endpoint, FlowOptions, Remote, Session};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// An endpoint whose driver is a task of tokio's.
fn bind() -> Result<Endpoint> {
    let (endpoint, driver) = Endpoint::builder().peer().bind("127.0.0.1:0".parse()?).build()?;
    tokio::spawn(driver);
    Ok(endpoint)
}

/// Answers each message of each flow with the number of its words, on a flow in return.
async fn serve(session: Session) -> Result<()> {
    let mut flows = session.incoming_flows();
    while let Some(flow) = flows.next().await {
        tokio::spawn(async move {
            let answers = flow.open_return_flow(FlowOptions::new("counts"));
            let mut messages = flow.messages();
            while let Some(message) = messages.try_next().await? {
                let words = message.data.split(u8::is_ascii_whitespace).count();
                answers.send(words.to_string()).await?;
            }
            answers.finish().await
        });
    }
    Ok(())
}

/// Asks for the number of words of each text.
async fn ask(session: Session, texts: &[&'static str]) -> Result<()> {
    let questions = session.open_flow(FlowOptions::new("texts"));
    for text in texts {
        questions.send(Bytes::from(*text)).await?;
    }
    let answers = session.accept_flow().await?;
    for text in texts {
        let answer = answers.recv().await?.ok_or("the server has closed the flow")?;
        println!("{} words: {text}", String::from_utf8_lossy(&answer.data));
    }
    // A wait that tokio ends loses nothing: the next one gets what this one would have.
    let waited = tokio::time::timeout(Duration::from_millis(50), answers.recv()).await;
    println!("another answer without a question: {}", if waited.is_err() { "none within 50 ms" } else { "one" });
    questions.send("one more").await?;
    let answer = answers.recv().await?.ok_or("the server has closed the flow")?;
    println!("{} words: one more", String::from_utf8_lossy(&answer.data));
    questions.finish().await?;
    Ok(())
}

async fn run() -> Result<()> {
    let (server, client) = (bind()?, bind()?);
    let peer_id = server.peer_id().ok_or("the server has no peer ID")?;
    let address = *server.local_addrs().first().ok_or("the server has no address")?;
    let serving = tokio::spawn(async move {
        let mut sessions = server.incoming();
        while let Some(session) = sessions.next().await {
            tokio::spawn(serve(session));
        }
    });
    let session = client.connect_to(Remote::peer(peer_id).at(address)).await?;
    ask(session.clone(), &["to be or not to be", "hello", "the quick brown fox"]).await?;
    let undelivered = session.close(Duration::from_secs(5)).await?;
    println!("closed; messages that were not delivered: {}", undelivered.messages);
    serving.abort();
    Ok(())
}

fn main() -> Result<()> {
    // The driver waits for its sockets with a thread of async-io's; of tokio's features it needs none.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    runtime.block_on(run())
}
