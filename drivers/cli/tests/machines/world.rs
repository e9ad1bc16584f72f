//! Two endpoints in virtual time, as many more as a test wants, and between them a network with delay and loss.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use rtmfp_cli::identity::Identity;
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
    /// The sender, the receiver, and then the crowd.
    ends: Vec<Endpoint>,
    addresses: Vec<SocketAddr>,
    crowd: Vec<Box<dyn App>>,
    /// Nothing that the crowd sends arrives.
    crowd_is_mute: bool,
    /// What is on its way: when it arrives, in which order it was sent, from and to which end.
    wires: BTreeMap<(Instant, u64), (usize, usize, Vec<u8>)>,
    sent: u64,
    chance: u64,
}

/// Where the receiver is.
const RECEIVER: &str = "192.0.2.1:1935";

fn endpoint(name: &str, seed: [u8; 32]) -> Endpoint {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    let identity = Identity { profile, fingerprint: None, mona: false, kept: None };
    let mut config = rtmfp_cli::net::config(&identity, Duration::from_secs(15), true);
    // A crowd calls at one moment.
    config.max_hello_replies_per_source = u32::MAX;
    config.max_excess_reply_bytes = u32::MAX;
    config.max_excess_reply_bytes_per_source = u32::MAX;
    config.max_keying_units_per_second = u32::MAX;
    config.max_keying_units_per_source = u32::MAX;
    let rng = Box::new(ChaCha20Rng::from_seed(seed));
    Endpoint::new(config, identity.profile, rng, Instant::ORIGIN).unwrap()
}

impl World {
    pub(crate) fn new(net: Net) -> Self {
        Self {
            net,
            now: Instant::ORIGIN,
            ends: vec![endpoint("sender", [1; 32]), endpoint("receiver", [2; 32])],
            addresses: vec!["192.0.2.0:1935".parse().unwrap(), RECEIVER.parse().unwrap()],
            crowd: Vec::new(),
            crowd_is_mute: false,
            wires: BTreeMap::new(),
            sent: 0,
            chance: 0x1234_5678_9abc_def1,
        }
    }

    pub(crate) fn open(&mut self) -> SessionHandle {
        self.open_from(0)
    }

    /// A session that sends no more than `rate` bytes a second.
    pub(crate) fn open_slow(&mut self, rate: u64) -> SessionHandle {
        let session = self.open();
        self.ends[0].session_mut(self.now, session).unwrap().set_max_rate(Some(rate));
        session
    }

    fn open_from(&mut self, end: usize) -> SessionHandle {
        let path = Path::new(InterfaceId(0), RECEIVER.parse().unwrap());
        let target = Target { discriminator: "receiver".into(), candidates: vec![(path, Duration::ZERO)] };
        self.ends[end].open(self.now, target).unwrap()
    }

    /// One more endpoint, of a host of 198.51.100.0/24, with a session that opens and an application for it.
    pub(crate) fn join(&mut self, host: u8, app: impl FnOnce(SessionHandle) -> Box<dyn App>) {
        let number = u16::try_from(self.ends.len()).unwrap();
        let mut seed = [3; 32];
        seed[..2].copy_from_slice(&number.to_be_bytes());
        self.ends.push(endpoint(&format!("stranger {number}"), seed));
        self.addresses.push(SocketAddr::from(([198, 51, 100, host], number)));
        let session = self.open_from(usize::from(number));
        self.crowd.push(app(session));
    }

    /// From now on nothing that the crowd sends arrives.
    pub(crate) const fn mute_crowd(&mut self) {
        self.crowd_is_mute = true;
    }

    /// How many sessions the receiver has, lingering ones included.
    pub(crate) fn receiver_sessions(&self) -> usize {
        self.ends[1].sessions().count()
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
        self.run_for(Duration::from_secs(1), first, second);
    }

    fn run_while(&mut self, first: &mut dyn App, second: &mut dyn App, go_on: impl Fn(&dyn App, &dyn App) -> bool) {
        first.on_wake(self.now, &mut self.ends[0]);
        second.on_wake(self.now, &mut self.ends[1]);
        while go_on(first, second) {
            assert!(self.step(first, second), "nothing will ever happen again at {:?}", self.now);
            assert!(self.now < Instant::ORIGIN + END, "not done after {:?}", self.now);
        }
    }

    /// Runs for so long.
    pub(crate) fn run_for(&mut self, time: Duration, first: &mut dyn App, second: &mut dyn App) {
        let until = self.now + time;
        while self.step_until(until, first, second) {}
        self.now = until;
    }

    /// Everything that happens at the next moment at which something does.
    fn step(&mut self, first: &mut dyn App, second: &mut dyn App) -> bool {
        self.step_until(Instant::ORIGIN + 2 * END, first, second)
    }

    /// The same, unless that is later than `until`.
    fn step_until(&mut self, until: Instant, first: &mut dyn App, second: &mut dyn App) -> bool {
        let mut crowd = core::mem::take(&mut self.crowd);
        let mut apps: Vec<&mut dyn App> = vec![first, second];
        apps.extend(crowd.iter_mut().map(|app| &mut **app as &mut dyn App));
        let stepped = self.step_all(until, &mut apps);
        drop(apps);
        self.crowd = crowd;
        stepped
    }

    fn step_all(&mut self, until: Instant, apps: &mut [&mut dyn App]) -> bool {
        for (end, app) in apps.iter_mut().enumerate() {
            self.settle(end, *app);
        }
        let ends = self.ends.iter().filter_map(Endpoint::poll_timeout);
        let due = ends.chain(apps.iter().filter_map(|app| app.next_timeout()));
        let arrival = self.wires.first_key_value().map(|((at, _), _)| *at);
        let Some(next) = due.chain(arrival).min().filter(|next| *next <= until) else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.wires.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (from, to, mut datagram) = entry.remove();
            let path = Path::new(InterfaceId(0), self.addresses[from]);
            let _ = self.ends[to].handle_datagram(self.now, path, RecvMeta::default(), &mut datagram);
        }
        for (end, app) in apps.iter_mut().enumerate() {
            self.serve(end, *app);
        }
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
            let Some(transmit) = self.ends[end].poll_transmit(self.now, &mut flight) else { return };
            let Some(to) = self.addresses.iter().position(|address| *address == transmit.path.remote) else { continue };
            for datagram in flight.datagrams() {
                self.chance ^= self.chance << 13;
                self.chance ^= self.chance >> 7;
                self.chance ^= self.chance << 17;
                let dead = self.net.dead_after.is_some_and(|after| self.now >= Instant::ORIGIN + after);
                let mute = end >= 2 && self.crowd_is_mute;
                if dead || mute || self.chance % 100 < self.net.loss_percent {
                    continue;
                }
                self.sent += 1;
                self.wires.insert((self.now + self.net.delay, self.sent), (end, to, datagram.to_vec()));
            }
        }
    }
}
