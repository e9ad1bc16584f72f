//! A game server and one client over a narrow line with loss: states with a deadline, voice before all else, and a level
//! that is downloaded with what is left. `cargo run -p rtmfp-smol --example game`
//!
//! What to look for: how old states and voice are when they come, while the download fills the line. Without the
//! priorities they would wait behind it.
#![allow(clippy::disallowed_methods, reason = "it measures time, and plays a line")]

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rtmfp_smol::{CloseMode, Endpoint, Error, FlowOptions, MessageOutcome, Priority, Receipt};
use rtmfp_smol::{RecvFlow, Remote, SendFlow, SendOptions, Session};
use smol::Timer;
use smol::net::UdpSocket;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long the game lasts.
const GAME: Duration = Duration::from_secs(2);
/// What the line carries, in bytes a second.
const RATE: u32 = 500_000;
/// What does not leave the line in this time is lost, and one packet of fifty besides.
const QUEUE: Duration = Duration::from_millis(40);
const DELAY: Duration = Duration::from_millis(20);

fn bind() -> Result<(Endpoint, SocketAddr)> {
    let builder = Endpoint::builder().peer().game();
    let (endpoint, driver) = builder.bind("127.0.0.1:0".parse()?).build()?;
    smol::spawn(driver).detach();
    let address = *endpoint.local_addrs().first().ok_or("no address")?;
    Ok((endpoint, address))
}

/// One direction of the line.
async fn carry(from: UdpSocket, to: UdpSocket) -> std::io::Result<()> {
    let (mut buffer, mut free, mut count) = (vec![0; 65_536], Instant::now(), 0_u32);
    loop {
        let length = from.recv(&mut buffer).await?;
        free = free.max(Instant::now());
        count += 1;
        if count % 50 == 0 || free.duration_since(Instant::now()) > QUEUE {
            continue;
        }
        free += Duration::from_secs(1) * u32::try_from(length).unwrap_or(u32::MAX) / RATE;
        let (packet, to, arrives) = (buffer.get(..length).unwrap_or_default().to_vec(), to.clone(), free + DELAY);
        smol::spawn(async move {
            Timer::at(arrives).await;
            to.send(&packet).await
        })
        .detach();
    }
}

/// A line between two addresses. Returns that of its end at the client.
async fn line(client: SocketAddr, server: SocketAddr) -> Result<SocketAddr> {
    let (near, far) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    near.connect(client).await?;
    far.connect(server).await?;
    let address = near.local_addr()?;
    smol::spawn(carry(near.clone(), far.clone())).detach();
    smol::spawn(carry(far, near)).detach();
    Ok(address)
}

/// When the game began, for both ends: they are on one machine here.
fn clock() -> Duration {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed()
}

/// Sends a message every so often, and tells what became of them.
async fn tick(flow: SendFlow, every: Duration, length: usize, options: SendOptions) -> Result<String> {
    let mut receipts: Vec<Receipt> = Vec::new();
    let mut next = Timer::interval(every);
    while clock() < GAME {
        let mut message = clock().as_micros().to_be_bytes().to_vec();
        message.resize(length, 0);
        receipts.push(flow.send_with(message, options.clone()).await?);
        futures_lite::StreamExt::next(&mut next).await;
    }
    let sent = receipts.len();
    let [mut delivered, mut abandoned, mut unknown] = [0; 3];
    for receipt in receipts {
        match receipt.await {
            MessageOutcome::Delivered => delivered += 1,
            MessageOutcome::Abandoned => abandoned += 1,
            MessageOutcome::Unknown | _ => unknown += 1,
        }
    }
    Ok(format!("sent {sent}: {delivered} delivered, {abandoned} not sent in time, {unknown} lost or late"))
}

/// The server's side.
async fn serve(session: Session) -> Result<()> {
    let state = session.open_flow(FlowOptions::new("state").priority(Priority::High));
    let voice = session.open_flow(FlowOptions::new("voice").priority(Priority::Immediate).time_critical());
    let level = session.open_flow(FlowOptions::new("level").priority(Priority::Bulk));
    // A state that is 80 ms old is of no use: the next one is better.
    let states = tick(state, Duration::from_millis(33), 800, SendOptions::new().deadline(Duration::from_millis(80)));
    // What is lost of a voice would come too late.
    let once = SendOptions::new().no_retransmit().start_by(Duration::from_millis(60));
    let voices = tick(voice, Duration::from_millis(20), 160, once);
    let download = smol::spawn(async move {
        // It waits for room, and ends when the session does.
        while level.send(vec![7; 16_384]).await.is_ok() {}
    });
    let told = futures_lite::future::try_zip(states, voices).await?;
    println!("state: {}\nvoice: {}", told.0, told.1);
    session.abort(CloseMode::Orderly);
    download.await;
    Ok(())
}

/// Reads a flow to its end, and tells how old its messages were.
async fn listen(flow: RecvFlow) -> String {
    let name = String::from_utf8_lossy(flow.metadata()).into_owned();
    let (mut count, mut bytes, mut sum, mut worst) = (0_u32, 0, Duration::ZERO, Duration::ZERO);
    while let Ok(Some(message)) = flow.recv().await {
        (count, bytes) = (count + 1, bytes + message.data.len());
        let sent = message.data.first_chunk().map(|sent| u128::from_be_bytes(*sent)).unwrap_or_default();
        let age = clock().saturating_sub(Duration::from_micros(u64::try_from(sent).unwrap_or(u64::MAX)));
        (sum, worst) = (sum + age, worst.max(age));
    }
    let [mean, worst] = [sum / count.max(1), worst].map(|age| age.as_millis());
    match name.as_str() {
        "level" => format!("level: {} kB received meanwhile", bytes / 1_000),
        _ => format!("{name}: received {count}, {mean} ms old on average, {worst} ms at most"),
    }
}

fn main() -> Result<()> {
    smol::block_on(async {
        let ((server, at), (client, near)) = (bind()?, bind()?);
        let peer_id = server.peer_id().ok_or("no peer ID")?;
        let address = line(near, at).await?;
        let serving = smol::spawn(async move { serve(server.accept().await.ok_or(Error::Stopped)?).await });
        let session = client.connect_to(Remote::peer(peer_id).at(address)).await?;
        let mut listening = Vec::new();
        while let Ok(flow) = session.accept_flow().await {
            listening.push(smol::spawn(listen(flow)));
        }
        serving.await?;
        for flow in listening {
            println!("{}", flow.await);
        }
        Ok(())
    })
}
