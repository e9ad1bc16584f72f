//! Two endpoints in virtual time, and between them a network with delay and loss.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{App, Endpoint, Instant, InterfaceId, Path, RecvMeta, SessionHandle, Target, TransmitBuf};

/// A network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Net {
    pub(crate) delay: Duration,
    pub(crate) loss_percent: u64,
    /// When to stop delivering anything.
    pub(crate) dead_after: Option<Duration>,
}

impl Default for Net {
    fn default() -> Self {
        Self { delay: Duration::from_millis(5), loss_percent: 0, dead_after: None }
    }
}

/// No run takes longer, in virtual time.
const END: Duration = Duration::from_secs(600);

pub(crate) struct World {
    net: Net,
    now: Instant,
    ends: [Endpoint; 2],
    /// What is on its way: when it arrives, in which order it was sent, to which end.
    wires: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sent: u64,
    chance: u64,
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, u8::try_from(end).unwrap()], 1_935))
}

impl World {
    pub(crate) fn new(net: Net) -> Self {
        let end = |name: &[u8], seed| {
            let config = rtmfp_cli::net::config(Duration::from_secs(15), true);
            let rng = Box::new(ChaCha20Rng::from_seed([seed; 32]));
            Endpoint::new(config, Arc::new(PlainProfile::new(name)), rng, Instant::ORIGIN).unwrap()
        };
        let ends = [end(b"sender", 1), end(b"receiver", 2)];
        Self { net, now: Instant::ORIGIN, ends, wires: BTreeMap::new(), sent: 0, chance: 0x1234_5678_9abc_def1 }
    }

    pub(crate) fn open(&mut self) -> SessionHandle {
        let path = Path::new(InterfaceId(0), address(1));
        let target = Target { discriminator: "receiver".into(), candidates: vec![(path, Duration::ZERO)] };
        self.ends[0].open(self.now, target).unwrap()
    }

    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    /// Runs until both are done.
    pub(crate) fn run(&mut self, first: &mut dyn App, second: &mut dyn App) {
        self.run_while(first, second, |first, second| !(first.is_done() && second.is_done()));
    }

    /// Runs until the first is done, and a second longer.
    pub(crate) fn run_first(&mut self, first: &mut dyn App, second: &mut dyn App) {
        self.run_while(first, second, |first, _| !first.is_done());
        let until = self.now + Duration::from_secs(1);
        while self.now < until && self.step(first, second) {}
    }

    fn run_while(&mut self, first: &mut dyn App, second: &mut dyn App, go_on: impl Fn(&dyn App, &dyn App) -> bool) {
        first.on_wake(self.now, &mut self.ends[0]);
        second.on_wake(self.now, &mut self.ends[1]);
        while go_on(first, second) {
            assert!(self.step(first, second), "nothing will ever happen again at {:?}", self.now);
            assert!(self.now < Instant::ORIGIN + END, "not done after {:?}", self.now);
        }
    }

    /// Everything that happens at the next moment at which something does.
    fn step(&mut self, first: &mut dyn App, second: &mut dyn App) -> bool {
        self.settle(0, first);
        self.settle(1, second);
        let due =
            [self.ends[0].poll_timeout(), self.ends[1].poll_timeout(), first.next_timeout(), second.next_timeout()];
        let arrival = self.wires.first_key_value().map(|((at, _), _)| *at);
        let Some(next) = due.into_iter().flatten().chain(arrival).min() else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.wires.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (end, mut datagram) = entry.remove();
            let path = Path::new(InterfaceId(0), address(1 - end));
            let _ = self.ends[end].handle_datagram(self.now, path, RecvMeta::default(), &mut datagram);
        }
        self.serve(0, first);
        self.serve(1, second);
        true
    }

    /// The deadlines of one end.
    fn serve(&mut self, end: usize, app: &mut dyn App) {
        if self.ends[end].poll_timeout().is_some_and(|at| at <= self.now) {
            self.ends[end].handle_timeout(self.now);
        }
        if app.next_timeout().is_some_and(|at| at <= self.now) {
            app.on_wake(self.now, &mut self.ends[end]);
            assert!(app.next_timeout().is_none_or(|at| at > self.now), "a deadline that was served remains");
        }
        self.settle(end, app);
    }

    /// Events to the application, datagrams to the network, until there are none.
    fn settle(&mut self, end: usize, app: &mut dyn App) {
        let mut flight = TransmitBuf::new(8);
        loop {
            while let Some(event) = self.ends[end].poll_event() {
                app.on_event(self.now, &mut self.ends[end], event);
            }
            if self.ends[end].poll_transmit(self.now, &mut flight).is_none() {
                return;
            }
            for datagram in flight.datagrams() {
                self.chance ^= self.chance << 13;
                self.chance ^= self.chance >> 7;
                self.chance ^= self.chance << 17;
                let dead = self.net.dead_after.is_some_and(|after| self.now >= Instant::ORIGIN + after);
                if dead || self.chance % 100 < self.net.loss_percent {
                    continue;
                }
                self.sent += 1;
                self.wires.insert((self.now + self.net.delay, self.sent), (1 - end, datagram.to_vec()));
            }
        }
    }
}
