//! Two programs that meet by a number of four digits, and a server that brings them together:
//! `cargo run -p rtmfp-smol --example meet`
//!
//! What to look for: Ben tells Ada nothing but the number. The server finds out the rest, and neither address nor peer ID
//! is typed by anybody. `rtmfp serve` is such a server.

use std::net::SocketAddr;
use std::time::Duration;

use futures_lite::future;
use rtmfp_meet::{Answer, Client, Everybody, Limits, METADATA, Rendezvous};
use rtmfp_smol::profile::modern::Discriminator;
use rtmfp_smol::{Builder, Endpoint, FlowOptions, IntroducePolicy, RecvFlow, Remote, SendFlow, Session, system_rng};

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

/// A program's talk with the server.
struct Guest {
    _session: Session,
    to: SendFlow,
    from: RecvFlow,
    client: Client,
}

impl Guest {
    async fn join(endpoint: &Endpoint, server: Remote) -> Result<Self> {
        let session = endpoint.connect_to(server).await?;
        let to = session.open_flow(FlowOptions::new(METADATA));
        let client = Client::new();
        to.send(client.hello()).await?;
        let from = session.accept_flow().await?;
        Ok(Self { _session: session, to, from, client })
    }

    async fn ask(&mut self, (request, message): (u64, Vec<u8>)) -> Result<Answer> {
        self.to.send(message).await?;
        loop {
            let message = self.from.recv().await?.ok_or("the server has ended the flow")?;
            match self.client.on_message(&message.data)? {
                Some(Answer::Seen(address)) => println!("the server sees one of the two at {}", address.socket),
                Some(answer) if answer.request() == Some(request) => return Ok(answer),
                _ => {}
            }
        }
    }
}

async fn ben(endpoint: Endpoint, server: Remote, tell: smol::channel::Sender<u64>) -> Result<()> {
    let mut guest = Guest::join(&endpoint, server).await?;
    let wish = guest.client.number();
    let Answer::Number { number, .. } = guest.ask(wish).await? else { return Err("no number".into()) };
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

async fn ada(endpoint: Endpoint, server: Remote, at: SocketAddr, told: smol::channel::Receiver<u64>) -> Result<()> {
    let mut guest = Guest::join(&endpoint, server).await?;
    let question = guest.client.look_up(told.recv().await?);
    let Answer::Found { discriminator, .. } = guest.ask(question).await? else { return Err("nobody is there".into()) };
    let whom = Discriminator::parse(&discriminator)?.required_peer_id().ok_or("not a peer ID")?;
    let session = endpoint.connect_through(whom, &[at]).await?;
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
        future::try_zip(ben(one, remote()?, tell), ada(other, remote()?, at, told)).await?;
        server.shutdown(Duration::from_secs(5)).await?;
        Ok(())
    })
}
