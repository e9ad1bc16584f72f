//! Runs a scenario: builds its world, lets things happen when they should, judges what came of it.

mod act;
mod amplification;
mod cryptography;
mod invariants;
mod log;
mod measure;
mod qlog;
mod role;
mod sample;
mod verdict;
mod watch;
mod worker;

use core::net::IpAddr;
use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use datagram_sim::{Checkpoint, Config, Duration, ExplicitFault, Key, Mode, Node, RunError, Time, World};
use rtmfp_core::congestion::CongestionControl;
use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::wire::{Address, AddressOrigin};
use rtmfp_core::{Endpoint, EndpointConfig, Instant, InterfaceId, Path, SessionConfig, Trace};

pub use cryptography::Crypto;
pub use log::{Delivery, DeliveryLog, RunLog, SessionLog, SharedRunLog};
pub use verdict::{Failure, FoldedVerdict, Verdict, folded, range};
pub use watch::{LaneLog, Seen, Watched};

use amplification::Amplification;
use cryptography::{new_profile, profile};

use crate::rtmfp::{EndpointNode, InvariantChecker, Plaintexts, SimRandom, TappedProfile, ViolationLog};
use crate::scenario::{Action, Congestion, Link, Scenario, ScenarioError, missing};
use qlog::NodeLog;
use worker::{Directory, Peer, Worker};

use crate::scenario::build::{Map, PORT};

/// How to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The seed.
    pub seed: u64,
    /// The cryptography.
    pub crypto: Crypto,
    /// The event queue's tick is 2^this nanoseconds; changes nothing but speed.
    pub tick_log: u32,
    /// Ends the run early.
    pub until: Option<Duration>,
    /// Records every decision that was not to pass.
    pub record_faults: bool,
    /// How many packets to keep for captures and ladders.
    pub packets: usize,
    /// How many times to look at gauges during the run. Default 400.
    pub samples: u64,
    /// Whether nodes that are due at the same time act in another order: each is up to 999 ns late, always the same.
    pub other_order: bool,
    /// Trace records to keep as text, from and to.
    pub window: Option<(u64, u64)>,
    /// Whether each endpoint's own trace is kept as qlog.
    pub qlog: bool,
}

impl RunOptions {
    /// The usual, with this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            crypto: Crypto::Toy,
            tick_log: 14,
            until: None,
            record_faults: false,
            packets: 0,
            samples: 400,
            other_order: false,
            window: None,
            qlog: false,
        }
    }
}

/// A gauge over time: node, name, number of the session.
pub type SeriesKey = (String, &'static str, u64);

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Hash of the whole trace.
    pub hash: u128,
    /// Trace records.
    pub records: u64,
    /// World time at the end.
    pub end: Time,
    /// What went wrong, invariants first.
    pub failures: Vec<Failure>,
    /// Each expectation with what was measured.
    pub measured: Vec<Verdict>,
    /// Decisions that were not to pass, if they were recorded.
    pub faults: Vec<ExplicitFault>,
    /// Hashes along the way.
    pub checkpoints: Vec<Checkpoint>,
    /// Gauges over time.
    pub series: BTreeMap<SeriesKey, Vec<(Time, i64)>>,
    /// Mappings of each NAT over time.
    pub mappings: BTreeMap<String, Vec<(Time, Vec<String>)>>,
    /// What was written and delivered.
    pub log: RunLog,
    /// What the links saw.
    pub watched: Watched,
    /// Plain packets of what was sent, if packets were kept.
    pub plaintexts: Plaintexts,
    /// What each endpoint told of itself, if that was wanted: a qlog file by node.
    pub qlogs: BTreeMap<String, Vec<u8>>,
    /// Names of devices and links by their numbers.
    pub names: Names,
    /// UDP payload bytes that nodes sent.
    pub sent_bytes: u64,
    /// Packets that nodes sent.
    pub sent: u64,
}

/// Names of the places in a trace.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Devices by number.
    pub devices: BTreeMap<u32, String>,
    /// Links by number.
    pub links: BTreeMap<u32, String>,
    /// Which hop has the stages of each link of the scenario.
    pub stages: BTreeMap<String, u32>,
}

impl Outcome {
    /// Whether all went well.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// Whether an invariant was broken.
    #[must_use]
    pub fn broke_invariant(&self) -> bool {
        self.failures.iter().any(|failure| matches!(failure, Failure::Invariant(_)))
    }
}

/// Who a node is, and who watches it.
struct Player {
    profile: Arc<dyn CryptoProfile>,
    checker: InvariantChecker,
    /// Where packets before encryption are kept.
    plaintexts: Option<Plaintexts>,
    qlog: Option<NodeLog>,
}

type Players = BTreeMap<String, Player>;

/// A run on its way.
pub(crate) struct Run<'a> {
    scenario: &'a Scenario,
    world: World,
    map: Map,
    log: SharedRunLog,
    directory: Rc<Directory>,
    players: Players,
    violations: ViolationLog,
    options: &'a RunOptions,
    restarts: u64,
    closing: invariants::Closing,
    /// Where the next check begins, if there are too many nodes for one.
    next_checked: usize,
    /// Nodes that are still for a time, and their clocks with them.
    freezing: BTreeSet<String>,
    /// How each node is configured.
    limits: BTreeMap<String, SessionConfig>,
    series: BTreeMap<SeriesKey, Vec<(Time, i64)>>,
    mappings: BTreeMap<String, Vec<(Time, Vec<String>)>>,
    /// When the last event of the scenario was over.
    last_event: Option<Time>,
    healed: bool,
    /// Links as events have changed them.
    changed: BTreeMap<String, Link>,
}

/// Hellos for somebody else that a redirector keeps in mind at once.
const REDIRECTED: usize = 256;

fn duration(span: Duration) -> core::time::Duration {
    core::time::Duration::from_nanos(span.0)
}

/// The configuration of a node's endpoint.
fn configuration(scenario: &Scenario, name: &str) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    // Whoever is on the public side introduces those that have a session with it.
    config.introduce = true;
    if let Some(node) = scenario.node.get(name) {
        let session = &mut config.session;
        let set = |to: &mut core::time::Duration, from: Option<crate::scenario::Dur>| {
            if let Some(from) = from {
                *to = duration(from.0);
            }
        };
        set(&mut session.keepalive, node.keepalive);
        set(&mut session.retransmit_limit, node.retransmit_limit);
        set(&mut session.idle_limit, node.idle_limit);
        let size = |size: crate::scenario::Size| usize::try_from(size.0).unwrap_or(usize::MAX);
        session.max_datagram = node.max_datagram.map_or(session.max_datagram, size);
        session.recv_buffer = node.recv_buffer.map_or(session.recv_buffer, size);
        session.send_buffer = node.send_buffer.map_or(session.send_buffer, size);
        session.max_rate = node.max_rate.map(|rate| rate.0.0 / 8);
        session.ecn = node.ecn.unwrap_or(session.ecn);
        if let Some(chosen) = node.congestion {
            session.congestion = match chosen {
                Congestion::Rfc7016 => CongestionControl::Rfc7016,
                Congestion::Cubic => CongestionControl::Cubic,
                Congestion::Bbr => CongestionControl::Bbr,
                Congestion::Media => CongestionControl::Media,
            };
        }
        config.accept = node.accept.unwrap_or(config.accept);
        if !node.redirects.is_empty() {
            config.max_unmatched_hellos = REDIRECTED;
        }
        set(&mut config.open_timeout, node.open_timeout);
    }
    config
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, options: &'a RunOptions, plaintexts: &Plaintexts) -> Result<Self, ScenarioError> {
        let mut players = Players::new();
        let violations = ViolationLog::default();
        let well_formed = scenario.node.values().all(|node| node.malforms.is_none());
        for name in scenario.node.keys() {
            let made = profile(scenario, name, options)?;
            let checker = InvariantChecker::new(name, violations.clone(), well_formed);
            let made = Arc::new(TappedProfile::new(made, checker.clone()));
            let plaintexts = (options.packets > 0).then(|| plaintexts.clone());
            let qlog = options.qlog.then(|| NodeLog::new(&scenario.name, name));
            players.insert(name.clone(), Player { profile: made, checker, plaintexts, qlog });
        }
        let log = SharedRunLog::new(&scenario.work);
        let mut config = Config::new(options.seed);
        config.tick_log = options.tick_log;
        config.record_faults = options.record_faults;
        config.mode = if scenario.explicit { Mode::Explicit } else { Mode::Random };
        let mut directory = None;
        let (world, map) = scenario.build(config, |name, map| {
            let directory = directory.get_or_insert_with(|| Rc::new(make_directory(scenario, &players, map)));
            let node = scenario.node.get(name);
            if let Some(role) = node.and_then(|node| node.plays.as_ref()) {
                return role::make(scenario, map, &players, options, (name, role));
            }
            let began = Instant::from_micros(node.map_or(0, |node| node.clock_offset.0.0 / 1_000));
            let worker = Worker::new(name, directory, &log, began, false);
            make_node(scenario, &players, options, name, 0, began, worker)
        })?;
        let directory = directory.unwrap_or_default();
        Ok(Self {
            scenario,
            world,
            map,
            log,
            directory,
            players,
            violations,
            options,
            restarts: 0,
            closing: invariants::Closing::new(),
            next_checked: 0,
            freezing: scenario.at.iter().filter_map(|at| frozen(&at.action)).collect(),
            limits: scenario.node.keys().map(|name| (name.clone(), configuration(scenario, name).session)).collect(),
            series: BTreeMap::new(),
            mappings: BTreeMap::new(),
            last_event: None,
            healed: false,
            changed: BTreeMap::new(),
        })
    }

    /// Judges endpoints whose certificates are of the usual size: larger ones may need more, in small numbers.
    fn amplification(&self) -> Result<Amplification, ScenarioError> {
        let usual = |name: &String| {
            self.scenario.node.get(name).is_some_and(|node| node.plays.is_none() && node.certificate.is_none())
        };
        let mut profiles = BTreeMap::new();
        let mut judged = BTreeMap::new();
        for (name, id) in self.map.nodes.iter().filter(|(name, _)| usual(name)) {
            let crypto = cryptography::of(self.scenario, name, self.options);
            let profile = match profiles.entry(crypto) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(free) => free.insert(new_profile(0, crypto)?),
            };
            judged.insert(id.number(), profile.default_keys());
        }
        Ok(Amplification::new(judged))
    }

    /// Runs to the end, doing the scenario's events on the way.
    fn go(&mut self) -> Result<(), RunError> {
        let end = self.options.until.unwrap_or(self.scenario.duration.0);
        let end = Time(end.0.min(self.scenario.duration.0.0));
        let mut events: Vec<(Time, usize)> =
            self.scenario.at.iter().enumerate().map(|(index, at)| (Time(at.t.0.0), index)).collect();
        events.sort();
        let step = Duration((end.0 / self.options.samples.max(1)).max(1_000_000));
        let mut next_sample = Time::ZERO + step;
        let mut events = events.into_iter().peekable();
        loop {
            let event = events.peek().map_or(Time::NEVER, |&(at, _)| at);
            let to = event.min(next_sample).min(end);
            self.world.run_until(to)?;
            if event == to && to <= end {
                if let Some((_, index)) = events.next() {
                    self.act(index);
                    self.last_event = Some(to);
                }
                continue;
            }
            self.log.with(|log| log.now = to);
            self.sample();
            self.check();
            if to >= end {
                return Ok(());
            }
            next_sample += step;
        }
    }
}

/// The node that an event makes still.
fn frozen(action: &Action) -> Option<String> {
    if let Action::Freeze { node } = action { Some(node.clone()) } else { None }
}

fn make_directory(scenario: &Scenario, players: &Players, map: &Map) -> Directory {
    let mut directory = Directory { works: scenario.work.clone(), ..Directory::default() };
    for (name, Player { profile, checker, .. }) in players {
        directory.checkers.insert(name.clone(), checker.clone());
        let discriminator = profile.canonical_discriminator(profile.certificate());
        let reach = map.reach.get(name).map(|&address| (address, PORT).into());
        let candidates = reach.map(|remote| Path::new(InterfaceId(0), remote));
        directory.peers.insert(name.clone(), Peer { discriminator, candidates: candidates.into_iter().collect() });
    }
    for (name, node) in &scenario.node {
        let reach = |named: &String| map.reach.get(named).copied().or_else(|| named.parse().ok());
        let addresses = node.redirects.iter().filter_map(reach);
        let named = addresses.map(|ip| Address { socket: (ip, PORT).into(), origin: AddressOrigin::Unknown });
        directory.redirects.insert(name.clone(), named.collect());
        if node.address.is_some_and(|address| address.is_ipv6()) && map.reach.get(name).is_some_and(IpAddr::is_ipv4) {
            directory.v6_alone.insert(name.clone());
        }
        if node.malforms.is_some() {
            directory.malforming.insert(name.clone());
        }
    }
    directory
}

fn make_node(
    scenario: &Scenario,
    players: &Players,
    options: &RunOptions,
    name: &str,
    life: u64,
    now: Instant,
    worker: Worker,
) -> Result<Box<dyn Node>, ScenarioError> {
    let player = players.get(name).ok_or_else(|| ScenarioError(format!("there is no node `{name}`")))?;
    let rng = SimRandom::new(Key::mix(options.seed, name, "endpoint").sub(life));
    let endpoint = Endpoint::new(configuration(scenario, name), player.profile.clone(), Box::new(rng), now)
        .map_err(|error| ScenarioError(format!("node `{name}`: {error}")))?;
    let sinks = player.qlog.clone().map(|log| Box::new(log) as Box<dyn Trace>);
    let mut made = EndpointNode::new(endpoint, worker, PORT)
        .checked_by(player.checker.clone())
        .traced(player.plaintexts.as_ref(), sinks.into_iter().collect());
    if options.other_order {
        made = made.late_by(Duration(Key::mix(options.seed, name, "late").decide(0) % 1_000));
    }
    Ok(Box::new(made))
}

/// Runs a scenario.
///
/// # Errors
/// If it cannot be built, or needs what the core cannot do.
pub fn run(scenario: &Scenario, options: &RunOptions) -> Result<Outcome, ScenarioError> {
    let lacking = missing(&scenario.needs);
    if !lacking.is_empty() {
        return Err(ScenarioError(format!("waits for: {}", lacking.join(", "))));
    }
    let plaintexts = Plaintexts::default();
    scenario.check()?;
    let scenario = &*scenario.expanded();
    let mut run = Run::new(scenario, options, &plaintexts)?;
    let watched = Watched { keep: options.packets, window: options.window, ..Watched::default() };
    let watched = Rc::new(RefCell::new(watched));
    let watch = watch::Watch {
        log: run.log.clone(),
        watched: watched.clone(),
        violations: run.violations.clone(),
        amplification: run.amplification()?,
    };
    drop(run.world.observe_with(Box::new(watch)));
    let ended = run.go();
    let mut failures = Vec::new();
    if let Err(error) = ended {
        failures.push(Failure::Invariant(format!("I11, I13: {error}")));
    }
    let watched = watched.take();
    run.final_checks(&watched);
    let log = run.log.with(|log| log.clone());
    failures.extend(run.violations.all().into_iter().map(Failure::Invariant));
    failures.extend(log.violations.iter().cloned().map(Failure::Invariant));
    let measured = if options.until.is_some() { Vec::new() } else { run.judge(&log, &watched) };
    failures.extend(measured.iter().filter(|verdict| !verdict.holds).cloned().map(Failure::Expectation));
    let names = run.names();
    let logs = run.players.iter().filter_map(|(name, player)| Some((name, player.qlog.as_ref()?)));
    let qlogs = logs.map(|(name, log)| (name.clone(), log.file())).collect();
    Ok(Outcome {
        hash: run.world.hash(),
        records: run.world.records(),
        end: run.world.now(),
        failures,
        measured,
        faults: run.world.recorded_faults(),
        checkpoints: run.world.checkpoints().to_vec(),
        series: run.series,
        mappings: run.mappings,
        log,
        watched,
        plaintexts,
        qlogs,
        names,
        sent_bytes: run.world.counters().sent_bytes,
        sent: run.world.counters().sent,
    })
}
