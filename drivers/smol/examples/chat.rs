//! One server that passes on what each client says to all the others, and three clients, in one process:
//! `cargo run -p rtmfp-smol --example chat`

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rtmfp_smol::profile::Fingerprint;
use rtmfp_smol::{Bytes, Endpoint, Error, FlowOptions, Remote, SendFlow, Session};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
/// A flow to each client, the one to the speaker left out.
type Room = Arc<Mutex<Vec<Arc<SendFlow>>>>;

/// An endpoint with a new identity. Whoever is reached by its peer ID is its owner.
fn bind() -> Result<(Endpoint, Fingerprint)> {
    let (endpoint, driver) = Endpoint::builder().peer().bind("127.0.0.1:0".parse()?).build()?;
    smol::spawn(driver).detach();
    let peer_id = endpoint.peer_id().ok_or("no peer ID")?;
    Ok((endpoint, peer_id))
}

/// Passes on what a client says until it goes away.
async fn listen_to(session: Session, room: Room) -> std::result::Result<(), Error> {
    let flow = session.accept_flow().await?;
    let to_client = Arc::new(flow.open_return_flow(FlowOptions::new("others")));
    room.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&to_client));
    to_client.send("welcome").await?;
    while let Some(message) = flow.recv().await? {
        let others: Vec<_> = room.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for other in others.iter().filter(|other| !Arc::ptr_eq(other, &to_client)) {
            // One who has left is no reason not to tell the others.
            let _ = other.send(message.data.clone()).await;
        }
    }
    room.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, &to_client));
    Ok(())
}

/// Joins, waits to be welcomed, says one thing, and hears two.
async fn client(
    name: &'static str,
    server: SocketAddr,
    fingerprint: Fingerprint,
    ready: smol::channel::Sender<()>,
    go: smol::channel::Receiver<()>,
) -> Result<()> {
    let (endpoint, _) = bind()?;
    let session = endpoint.connect_to(Remote::peer(fingerprint).at(server)).await?;
    let speaking = session.open_flow(FlowOptions::new("speaking"));
    speaking.send(Bytes::new()).await?;
    let hearing = session.accept_flow().await?;
    hearing.recv().await?;
    ready.send(()).await?;
    // Closed when everybody has been welcomed.
    let _ = go.recv().await;
    speaking.send(format!("{name}: good morning")).await?;
    let mut heard = 0;
    while heard < 2 {
        let Some(message) = hearing.recv().await? else { break };
        if !message.data.is_empty() {
            heard += 1;
            println!("{name} hears {}", String::from_utf8_lossy(&message.data));
        }
    }
    speaking.finish().await?;
    Ok(())
}

fn main() -> Result<()> {
    smol::block_on(async {
        let (server, fingerprint) = bind()?;
        let address = server.local_addrs().first().copied().ok_or("no address")?;
        let room = Room::default();
        smol::spawn(async move {
            while let Some(session) = server.accept().await {
                smol::spawn(listen_to(session, Arc::clone(&room))).detach();
            }
        })
        .detach();
        let (ready, welcomed) = smol::channel::unbounded();
        let (start, go) = smol::channel::bounded::<()>(1);
        let join = |name| smol::spawn(client(name, address, fingerprint, ready.clone(), go.clone()));
        let clients = ["Ada", "Ben", "Cleo"].map(join);
        for _ in &clients {
            welcomed.recv().await?;
        }
        drop(start);
        for client in clients {
            client.await?;
        }
        Ok(())
    })
}
