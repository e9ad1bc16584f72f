//! A congestion controller of one's own: `cargo run -p rtmfp-smol --example controller`
//!
//! What to look for: a controller gets facts, and gives a window, a rate, and a target for encoders. It knows nothing of packets, timers or flows, and
//! the transport keeps the rest of RFC 7016 §3.5.2 by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rtmfp_core::Instant;
use rtmfp_core::congestion::{CongestionControl, Controller, ControllerFactory, PacketFacts, Reaction, TimeCritical};
use rtmfp_smol::{Endpoint, FlowOptions, Remote};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What is sent: bytes of each message, and how many.
const SIZE: usize = 10_000;
const COUNT: usize = 100;

/// As simple as is allowed: a segment more for each window that came, half of it after a loss, and in a round trip what the
/// window holds.
#[derive(Debug)]
struct Simple {
    segment: u64,
    window: u64,
    /// Acknowledged since the window grew last.
    acked: u64,
    /// Until so many bytes came or were lost, the window was cut for the same losses.
    recovery: u64,
    round_trip: Option<Duration>,
    told: Arc<AtomicU64>,
}

impl Controller for Simple {
    fn on_packet(&mut self, _: Instant, facts: &PacketFacts, time_critical: TimeCritical) -> Reaction {
        self.told.fetch_add(1, Ordering::Relaxed);
        self.round_trip = facts.srtt;
        self.recovery = self.recovery.saturating_sub(facts.acked_bytes + facts.lost_bytes);
        if facts.any_loss && self.recovery == 0 {
            (self.window, self.recovery) = ((self.window / 2).max(2 * self.segment), facts.outstanding);
            return Reaction::Cut;
        }
        // A window of which less than half is used needs no more room (RFC 7661 §4.3), and who yields does not grow
        // (RFC 7016 §3.5.2.1).
        if facts.pre_ack_outstanding >= self.window / 2 && !time_critical.yields() {
            self.acked += facts.acked_bytes;
            if self.acked >= self.window {
                (self.window, self.acked) = (self.window + self.segment, 0);
            }
        }
        Reaction::Other
    }

    fn on_timeout(&mut self, _: Instant, was_loss: bool) {
        if was_loss {
            self.window = self.segment;
        }
    }

    fn on_path_change(&mut self) {
        (self.window, self.acked, self.recovery) = (3 * self.segment, 0, 0);
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self) -> Option<u64> {
        let micros = u64::try_from(self.round_trip?.as_micros()).ok().filter(|micros| *micros > 0)?;
        Some(self.window * 1_250_000 / micros)
    }

    /// What an encoder is told of: without the quarter that the pace has for bursts.
    fn target_rate(&self, srtt: Duration) -> u64 {
        self.window * 1_000_000 / u64::try_from(srtt.as_micros()).unwrap_or(u64::MAX).max(1)
    }

    fn phase(&self) -> &'static str {
        "simple"
    }
}

/// Makes one for each session, and counts what all of them are told.
#[derive(Debug, Default)]
struct Factory {
    made: AtomicU64,
    told: Arc<AtomicU64>,
}

impl ControllerFactory for Factory {
    fn controller(&self, smss: u64) -> Box<dyn Controller> {
        self.made.fetch_add(1, Ordering::Relaxed);
        let segment = smss.max(1);
        // RFC 5681 §3.1 allows three segments of this size to begin with.
        let window = 3 * segment;
        Box::new(Simple { segment, window, acked: 0, recovery: 0, round_trip: None, told: Arc::clone(&self.told) })
    }
}

fn main() -> Result<()> {
    smol::block_on(async {
        let builder = Endpoint::builder().server();
        let (server, driver) = builder.bind("127.0.0.1:0".parse()?).build()?;
        smol::spawn(driver).detach();
        let uri = format!("rtmfp://{}/", server.local_addrs().first().ok_or("no address")?);
        let serving = smol::spawn(async move {
            let session = server.accept().await.ok_or("nobody came")?;
            let flow = session.accept_flow().await?;
            let mut bytes = 0;
            while let Some(message) = flow.recv().await? {
                bytes += message.data.len();
            }
            // The session ends with its last handle, which the client is to see only when it is done.
            Result::Ok((bytes, session))
        });

        let factory = Arc::new(Factory::default());
        let control = CongestionControl::Custom(factory.clone());
        let builder = Endpoint::builder().client();
        let builder = builder.configure(|config| config.session.congestion = control);
        let (client, driver) = builder.build()?;
        smol::spawn(driver).detach();
        let session = client.connect_to(Remote::uri(&uri)?.timeout(Duration::from_secs(10))).await?;
        let flow = session.open_flow(FlowOptions::new("numbers"));
        for _ in 0..COUNT {
            flow.send(vec![7; SIZE]).await?;
        }
        flow.finish().await?;
        let stats = session.stats().await.ok_or("the session is gone")?;
        let (received, at_server) = serving.await?;
        session.close(Duration::from_secs(5)).await?;
        drop(at_server);

        let (made, told) = (factory.made.load(Ordering::Relaxed), factory.told.load(Ordering::Relaxed));
        println!("{received} bytes came; {made} controller was told {told} times; its window is {} bytes", stats.cwnd);
        let right = received == SIZE * COUNT && made == 1 && told > 10 && stats.congestion_phase == "simple";
        let right = right && stats.target_rate.is_some();
        if right { Ok(()) } else { Err("that is not what should have come".into()) }
    })
}
