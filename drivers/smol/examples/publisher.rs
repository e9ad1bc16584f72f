//! A publisher with a thousand subscribers, who are all sent the same buffer. `cargo run -p rtmfp-smol --example publisher`
//!
//! The publisher has ten endpoints, which share the work, and a hundred viewers subscribe at each of them. Two endpoints
//! have one session with each other, so that is a thousand sessions. What is sent is stored once, and encrypted for each of
//! them: that takes most of the time, and much less with `--release`.

use std::sync::atomic::{AtomicUsize, Ordering};

use rtmfp_smol::{Bytes, Endpoint, Error, FlowOptions, Remote, SendFlow, TrySendError};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const ENDPOINTS: usize = 10;
const VIEWERS: usize = 100;
const SUBSCRIBERS: usize = ENDPOINTS * VIEWERS;
const UPDATES: usize = 10;
/// Bytes of an update.
const SIZE: usize = 2_048;

/// How many there are now, and were ever.
static BUFFERS: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// A buffer that is counted.
struct Payload(Vec<u8>);

impl Payload {
    fn bytes(number: usize) -> Bytes {
        for count in &BUFFERS {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let content = number.to_be_bytes().into_iter().cycle().take(SIZE);
        Bytes::from_owner(Self(content.collect()))
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        BUFFERS[0].fetch_sub(1, Ordering::Relaxed);
    }
}

fn bind() -> Result<Endpoint> {
    let builder = Endpoint::builder().bind("127.0.0.1:0".parse()?).configure(|config| {
        // All viewers call from one address here, and at once.
        config.max_sessions_per_address = VIEWERS;
        config.max_hello_replies_per_source = 10_000;
        config.max_keying_units_per_source = 10_000;
        config.max_keying_units_per_second = 10_000;
    });
    let (endpoint, driver) = builder.build()?;
    smol::spawn(driver).detach();
    Ok(endpoint)
}

/// Subscribers as they come: who opens a flow is answered with the updates.
async fn admit(endpoint: Endpoint, subscribers: smol::channel::Sender<SendFlow>) {
    while let Some(session) = endpoint.accept().await {
        let subscribers = subscribers.clone();
        smol::spawn(async move {
            let request = session.accept_flow().await?;
            // Nobody takes it any more when there are enough.
            let _ = subscribers.send(request.open_return_flow(FlowOptions::new("updates"))).await;
            // Kept open: a flow that is dropped before its end is rejected.
            while request.recv().await?.is_some() {}
            Ok::<_, Error>(())
        })
        .detach();
    }
}

/// Subscribes at one endpoint of the publisher, and counts what comes.
async fn subscribe(viewer: Endpoint, publisher: Endpoint) -> Result<(usize, usize)> {
    let peer_id = publisher.peer_id().ok_or("no peer ID")?;
    let address = *publisher.local_addrs().first().ok_or("no address")?;
    let session = viewer.connect_to(Remote::peer(peer_id).at(address)).await?;
    let request = session.open_flow(FlowOptions::new("subscribe"));
    request.send("news").await?;
    let updates = session.accept_flow().await?;
    let mut received = (0, 0);
    while let Some(message) = updates.recv().await? {
        received = (received.0 + 1, received.1 + message.data.len());
    }
    request.finish().await?;
    Ok(received)
}

fn main() -> Result<()> {
    smol::block_on(async {
        let (sender, admitted) = smol::channel::unbounded();
        let publishers = (0..ENDPOINTS).map(|_| bind()).collect::<Result<Vec<_>>>()?;
        let mut subscribing = Vec::new();
        for publisher in &publishers {
            smol::spawn(admit(publisher.clone(), sender.clone())).detach();
        }
        for _ in 0..VIEWERS {
            let viewer = bind()?;
            for publisher in &publishers {
                subscribing.push(smol::spawn(subscribe(viewer.clone(), publisher.clone())));
            }
        }
        let mut subscribers = Vec::new();
        while subscribers.len() < SUBSCRIBERS {
            subscribers.push(admitted.recv().await?);
        }
        println!("{SUBSCRIBERS} subscribers");

        let mut most = 0;
        let mut skipped = 0;
        for number in 0..UPDATES {
            let update = Payload::bytes(number);
            for subscriber in &subscribers {
                match subscriber.try_send(update.clone()) {
                    Ok(()) => {}
                    // One who reads too slowly misses this update, and holds up nobody.
                    Err(TrySendError::Full(_)) => skipped += 1,
                    Err(TrySendError::Ended(_, why)) => return Err(why.into()),
                }
            }
            most = BUFFERS[0].load(Ordering::Relaxed).max(most);
        }
        for subscriber in subscribers {
            subscriber.finish().await?;
        }
        let (mut messages, mut bytes) = (0, 0);
        for subscriber in subscribing {
            let received = subscriber.await?;
            (messages, bytes) = (messages + received.0, bytes + received.1);
        }
        println!("{messages} messages received, {skipped} skipped, {} kB in all", bytes / 1_000);
        let [left, made] = BUFFERS.each_ref().map(|count| count.load(Ordering::Relaxed));
        println!("{made} buffers of {SIZE} bytes were made for them, {most} at once at most, and {left} are left");
        Ok(())
    })
}
