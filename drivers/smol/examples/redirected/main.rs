//! A server that clients reach through a redirector: `cargo run -p rtmfp-smol --example redirected`
//!
//! What to look for: the client knows the redirector's address alone, and its session is with the server. A server that
//! drains gets no more clients, except those who ask for its peer ID. After a restart of the redirector the server comes
//! back by itself. `server.rs` is what a server needs for that, and `redirector.rs` is the other side.
//!
//! With arguments a redirector that runs elsewhere is used, as rtmfp-cpp's: `-- ADDRESS:PORT HOSTNAME USER PASSWORD`.
//! The server then stays until it is interrupted.

use std::net::SocketAddr;
use std::time::Duration;

use rtmfp_smol::profile::flash::{Discriminator, FlashProfile};
use rtmfp_smol::{Endpoint, Error, FlowOptions, IntroducePolicy, RecvFlow, Remote};
use smol::Task;

use self::server::{Account, BAD_AUTHENTICATION, DRAINING, join, settings};

mod redirector;
mod server;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SOON: Duration = Duration::from_secs(1);
/// So often the client calls while the server drains.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// A redirector of our own, with the task that ends when it is shut down.
fn start_redirector(at: SocketAddr, hostname: &str, account: &Account) -> Result<(Endpoint, Task<()>)> {
    let profile = FlashProfile::builder().hostname(hostname.as_bytes());
    let builder = Endpoint::builder().peer().flash(profile).introduce(IntroducePolicy::Ask);
    let (endpoint, driver) = builder.bind(at).build()?;
    let driving = smol::spawn(driver);
    let redirecting = redirector::run(endpoint.clone(), vec![account.clone()]);
    let running = smol::spawn(async move {
        redirecting.await;
        let _ = driving.await;
    });
    Ok((endpoint, running))
}

/// A server that clients reach by any URI, by the hostname "server" and by its peer ID. It notices within 20 s that a
/// redirector is gone.
fn start_server() -> Result<Endpoint> {
    let profile = FlashProfile::builder().hostname(b"server").accept_ancillary(true);
    let builder = Endpoint::builder().server().flash(profile).new_static_keys();
    let builder = builder.bind("127.0.0.1:0".parse()?).configure(|config| {
        config.session.keepalive = Duration::from_secs(10);
        config.session.retransmit_limit = Duration::from_secs(10);
    });
    let (endpoint, driver) = builder.build()?;
    smol::spawn(driver).detach();
    smol::spawn(serve(endpoint.clone())).detach();
    Ok(endpoint)
}

async fn serve(endpoint: Endpoint) {
    while let Some(session) = endpoint.accept().await {
        smol::spawn(async move {
            while let Ok(flow) = session.accept_flow().await {
                smol::spawn(count(flow)).detach();
            }
        })
        .detach();
    }
}

/// Answers each message with how many there were.
async fn count(flow: RecvFlow) {
    let answers = flow.open_return_flow(FlowOptions::new("count"));
    let mut messages = 0;
    while let Ok(Some(_)) = flow.recv().await {
        messages += 1;
        // Not every client wants answers.
        let _ = answers.send(messages.to_string()).await;
    }
    println!("server: {messages} messages of a client");
}

/// Connects, sends three messages, and waits for their answers. Returns the address of the server.
async fn call(client: &Endpoint, remote: Remote) -> Result<SocketAddr> {
    let session = client.connect_to(remote).await?;
    let reached = session.remote_addr().ok_or("no address")?;
    let flow = session.open_flow(FlowOptions::new("messages"));
    for message in ["one", "two", "three"] {
        flow.send(message).await?;
    }
    let answers = session.accept_flow().await?;
    while answers.recv().await?.ok_or("no answer")?.data != "3" {}
    flow.finish().await?;
    session.close(SOON).await?;
    Ok(reached)
}

/// The redirector does not say when it has read that a server drains. Until then it sends clients there.
async fn until_unanswered(client: &Endpoint, by_uri: &Remote) -> Result<()> {
    let mut answered = None;
    for _ in 0..ATTEMPTS {
        // Within this time the client asks three times.
        match call(client, by_uri.clone().timeout(Duration::from_secs(3))).await {
            Ok(reached) => answered = Some(reached),
            Err(_) => return Ok(()),
        }
        smol::Timer::after(PAUSE).await;
    }
    let who = answered.map(|reached| reached.to_string()).unwrap_or_default();
    Err(format!("{who} still answers while our server drains: has the redirector another server?").into())
}

fn explain(why: Error) -> String {
    let refused = why == Error::Rejected(BAD_AUTHENTICATION);
    if refused { "the redirector refuses this user or password".to_owned() } else { why.to_string() }
}

/// What becomes of a server and its clients at a redirector: one of ours is restarted at the end.
async fn show(at: SocketAddr, hostname: &str, account: &Account, ours: Option<(Endpoint, Task<()>)>) -> Result<()> {
    let redirector = Remote::new(Discriminator::new().hostname(hostname.as_bytes()).to_bytes()).at(at);
    let (client, driver) =
        Endpoint::builder().client().flash(FlashProfile::builder()).bind("127.0.0.1:0".parse()?).build()?;
    smol::spawn(driver).detach();
    let by_uri = Remote::uri(&format!("rtmfp://{at}/app"))?;

    let server = start_server()?;
    let by_peer_id = Remote::peer(server.peer_id().ok_or("no static keys")?).through(at);
    let registration = server.register(redirector.clone()).await?;
    let mut place = join(&registration, account).await.map_err(explain)?;
    println!("server: registered, and seen at {}", place.seen_at().await?.ok_or("nowhere")?);
    println!("client: the URI of the redirector leads to {}", call(&client, by_uri.clone()).await?);

    place.tell([DRAINING]).await?;
    until_unanswered(&client, &by_uri).await?;
    println!("client: with the only server draining, nobody answers");
    println!("client: its peer ID leads to {}", call(&client, by_peer_id).await?);
    place.tell(settings(&[])).await?;
    println!("client: with new settings, the URI leads to {}", call(&client, by_uri.clone()).await?);

    let wrong = Account { user: account.user.clone(), password: "a guess".to_owned() };
    let other = start_server()?.register(redirector).await?;
    let refused = join(&other, &wrong).await.err();
    if refused != Some(Error::Rejected(BAD_AUTHENTICATION)) {
        return Err("a wrong password was not refused".into());
    }
    println!("another server: {}", refused.map(explain).unwrap_or_default());

    let mut restarted = None;
    if let Some((redirector, running)) = ours {
        redirector.shutdown(SOON).await?;
        running.await;
        restarted = Some(start_redirector(at, hostname, account)?);
    }
    loop {
        let why = place.lost().await;
        let Error::SessionClosed(_) = why else { return Err(why.into()) };
        println!("server: the redirector is lost");
        place = join(&registration, account).await.map_err(explain)?;
        println!("server: registered again");
        println!("client: the URI leads to {}", call(&client, by_uri.clone()).await?);
        if restarted.is_some() {
            return Ok(());
        }
    }
}

fn main() -> Result<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    smol::block_on(async {
        match &*given {
            [] => {
                let account = Account { user: "alice".to_owned(), password: "secret".to_owned() };
                let (redirector, running) = start_redirector("127.0.0.1:0".parse()?, "redirector", &account)?;
                let at = *redirector.local_addrs().first().ok_or("no address")?;
                show(at, "redirector", &account, Some((redirector, running))).await
            }
            [at, hostname, user, password] => {
                let account = Account { user: user.clone(), password: password.clone() };
                show(at.parse()?, hostname, &account, None).await
            }
            _ => Err("the arguments are: ADDRESS:PORT HOSTNAME USER PASSWORD".into()),
        }
    })
}
