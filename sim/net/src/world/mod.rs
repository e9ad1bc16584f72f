//! The world: devices, the links between them, and the one queue of events that moves it all.

mod build;
mod device;
mod forward;
mod mobility;
mod paths;
mod prefetch;
#[cfg(test)]
mod tests;

pub use device::InFlight;

use core::any::Any;
use core::fmt;
use std::collections::BTreeMap;

use crate::arena::Arena;
use crate::counters::Counters;
use crate::engine::{Core, Event};
use crate::fault::{Decision, ExplicitFault, Faults, Mode};
use crate::id::{Direction, LinkId, NodeId};
use crate::link::{Lane, LaneCounters};
use crate::nat::MappingView;
use crate::node::{Node, Sink};
use crate::queue::Effects;
use crate::rng::Key;
use crate::time::Time;
use crate::trace::{Checkpoint, Observer, Trace};
use crate::wheel::Wheel;
use device::{Device, Kind};

/// How a world runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// What every random decision depends on.
    pub seed: u64,
    /// The event queue's tick is 2^this nanoseconds. Changes nothing but speed.
    pub tick_log: u32,
    /// Where decisions about packets come from.
    pub mode: Mode,
    /// Whether to record the decisions that were not to pass.
    pub record_faults: bool,
    /// How often a node may be asked in a row without time moving, before the run fails.
    pub livelock_limit: u32,
}

impl Config {
    /// The usual, with this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, tick_log: 14, mode: Mode::Random, record_faults: false, livelock_limit: 1_000 }
    }
}

/// Why a world cannot go on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RunError {
    /// A node keeps asking to be called, and its time does not move.
    Livelock {
        /// Its name.
        node: String,
        /// World time.
        at: Time,
        /// What it keeps doing.
        what: &'static str,
    },
    /// Packets were lost or made without being counted: a fault of the simulator.
    NotConserved {
        /// World time.
        at: Time,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Livelock { node, at, what } => write!(f, "livelock at {at}: node {node} keeps {what}"),
            Self::NotConserved { at } => write!(f, "packets are not conserved at {at}"),
        }
    }
}

impl core::error::Error for RunError {}

/// A simulated network. See the crate's documentation for an example.
#[derive(Debug)]
pub struct World {
    core: Core,
    config: Config,
    lanes: Vec<Lane>,
    link_names: Vec<String>,
    devices: Vec<Device>,
    by_name: BTreeMap<String, NodeId>,
    link_by_name: BTreeMap<String, LinkId>,
    started: bool,
    failure: Option<RunError>,
    prefetched: prefetch::Prefetched,
}

impl World {
    /// An empty world with the usual configuration.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_config(Config::new(seed))
    }

    /// An empty world.
    #[must_use]
    pub fn with_config(config: Config) -> Self {
        let faults = Faults::new(config.mode, config.record_faults);
        Self {
            core: Core {
                now: Time::ZERO,
                wheel: Wheel::new(config.tick_log),
                arena: Arena::default(),
                faults,
                trace: Trace::default(),
                counters: Counters::default(),
                signals: Vec::new(),
                effects: Effects::default(),
            },
            config,
            lanes: Vec::new(),
            link_names: Vec::new(),
            devices: Vec::new(),
            by_name: BTreeMap::new(),
            link_by_name: BTreeMap::new(),
            started: false,
            failure: None,
            prefetched: prefetch::Prefetched::default(),
        }
    }

    /// World time.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.core.now
    }

    /// How it runs.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The key of random decisions of something called `name` for `purpose`.
    #[must_use]
    pub fn key(&self, name: &str, purpose: &str) -> Key {
        Key::mix(self.config.seed, name, purpose)
    }

    /// The hash of everything that has happened.
    #[must_use]
    pub const fn hash(&self) -> u128 {
        self.core.trace.hash()
    }

    /// How many trace records there are.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.core.trace.records()
    }

    /// The hash after every 1,024 records.
    #[must_use]
    pub fn checkpoints(&self) -> &[Checkpoint] {
        self.core.trace.checkpoints()
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// Packets on links, in queues, taps and the sockets of frozen hosts.
    #[must_use]
    pub fn packets_alive(&self) -> usize {
        self.core.arena.live()
    }

    /// What a link has counted in one direction.
    #[must_use]
    pub fn lane_counters(&self, link: LinkId, direction: Direction) -> LaneCounters {
        self.lane(link, direction).map(Lane::counters).unwrap_or_default()
    }

    /// Packets and bytes that wait in a link's queues in one direction, not counting the packet being sent.
    pub fn queue_depth(&mut self, link: LinkId, direction: Direction) -> (usize, u64) {
        let now = self.core.now;
        self.lanes.get_mut(link.lane(direction) as usize).map_or((0, 0), |lane| lane.backlog(now))
    }

    /// The living mappings of a NAT.
    #[must_use]
    pub fn nat_mappings(&self, nat: NodeId) -> Vec<MappingView> {
        match self.device(nat).map(|device| &device.kind) {
            Some(Kind::Nat(nat)) => nat.mappings(self.core.now).collect(),
            _ => Vec::new(),
        }
    }

    /// Sees every record from now on. Returns the observer that this one replaces.
    pub fn observe_with(&mut self, observer: Box<dyn Observer>) -> Option<Box<dyn Observer>> {
        self.core.trace.observer.replace(observer)
    }

    /// Ends the watching.
    pub fn take_observer(&mut self) -> Option<Box<dyn Observer>> {
        self.core.trace.observer.take()
    }

    /// Adds explicit decisions; those for unknown links are handed back. In [`Mode::Random`] they take the place of
    /// what would have been drawn.
    pub fn add_faults(&mut self, faults: impl IntoIterator<Item = ExplicitFault>) -> Vec<ExplicitFault> {
        let mut unknown = Vec::new();
        for fault in faults {
            let Some(&link) = self.link_by_name.get(&fault.link) else {
                unknown.push(fault);
                continue;
            };
            let ordinal = fault.ordinal | u64::from(fault.copy) << 56;
            let key = crate::fault::fault_key(link.lane(fault.direction), ordinal, fault.stage);
            self.core.faults.give(key, fault.decision);
        }
        unknown
    }

    /// The decisions so far that were not to pass, if they are recorded: enough to play the run again in
    /// [`Mode::Explicit`].
    #[must_use]
    pub fn recorded_faults(&self) -> Vec<ExplicitFault> {
        let faults = self.core.faults.made().map(|&((lane, ordinal, stage), decision)| ExplicitFault {
            link: self.link_names.get((lane / 2) as usize).cloned().unwrap_or_default(),
            direction: if lane % 2 == 0 { Direction::Forward } else { Direction::Backward },
            ordinal: ordinal & ((1 << 56) - 1),
            copy: (ordinal >> 56) as u8,
            stage: stage.checked_sub(1),
            decision,
        });
        faults.filter(|fault| fault.decision != Decision::Pass).collect()
    }

    /// A device by its name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    /// A link by its name.
    #[must_use]
    pub fn find_link(&self, name: &str) -> Option<LinkId> {
        self.link_by_name.get(name).copied()
    }

    /// A device's name.
    #[must_use]
    pub fn name(&self, id: NodeId) -> &str {
        self.device(id).map_or("", |device| &device.wiring.name)
    }

    /// A link's name.
    #[must_use]
    pub fn link_name(&self, id: LinkId) -> &str {
        self.link_names.get(id.0 as usize).map_or("", |name| name)
    }

    /// The state machine of a host, if it is a `T`.
    #[must_use]
    pub fn node<T: Node>(&self, id: NodeId) -> Option<&T> {
        match &self.device(id)?.kind {
            Kind::Host(host) => (&*host.node as &dyn Any).downcast_ref(),
            Kind::Router(_) | Kind::Nat(_) | Kind::Firewall(_) | Kind::Tap(_) => None,
        }
    }

    /// Does something with a host's state machine, from outside, at the present time of its clock; then it may send.
    pub fn with_node<T: Node, R>(&mut self, id: NodeId, act: impl FnOnce(&mut T, Time) -> R) -> Option<R> {
        self.start();
        let now = self.core.now;
        let result = {
            let host = self.host_mut(id)?;
            let local = host.clock.local(now);
            act((&mut *host.node as &mut dyn Any).downcast_mut()?, local)
        };
        self.poll_host(id);
        self.flush_signals();
        Some(result)
    }

    /// Asks a host's state machine for its gauges.
    pub fn observe_node(&self, id: NodeId, sink: &mut dyn Sink) {
        if let Some(Kind::Host(host)) = self.device(id).map(|device| &device.kind) {
            host.node.observe(sink);
        }
    }

    /// When the next event is due.
    pub fn next_event(&mut self) -> Option<Time> {
        self.start();
        self.core.wheel.peek()
    }

    /// Handles one event: its time, or none if nothing is left to happen.
    ///
    /// # Errors
    /// The first failure of the world; it stays failed.
    pub fn step(&mut self) -> Result<Option<Time>, RunError> {
        self.start();
        let event = self.core.wheel.pop();
        if let Some((time, event)) = event {
            self.prefetch();
            self.handle(time, event);
        }
        self.verdict().map(|()| event.map(|(time, _)| time))
    }

    /// Handles all events up to and including `end`, which is then the present.
    ///
    /// # Errors
    /// The first failure of the world; it stays failed.
    pub fn run_until(&mut self, end: Time) -> Result<(), RunError> {
        self.start();
        self.handle_until(end);
        self.core.now = self.core.now.max(end);
        self.verdict()
    }

    /// Runs until nothing is left to happen or `end` has come: true if nothing is left.
    ///
    /// # Errors
    /// The first failure of the world; it stays failed.
    pub fn run_to_quiet(&mut self, end: Time) -> Result<bool, RunError> {
        self.start();
        self.handle_until(end);
        self.verdict().map(|()| self.core.wheel.is_empty())
    }

    fn handle_until(&mut self, end: Time) {
        while let Some((time, event)) = self.core.wheel.pop_until(end) {
            self.prefetch();
            self.handle(time, event);
            if self.failure.is_some() {
                break;
            }
        }
    }

    fn verdict(&self) -> Result<(), RunError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if !self.core.counters.is_conserved(self.core.arena.live() as u64) {
            return Err(RunError::NotConserved { at: self.core.now });
        }
        Ok(())
    }

    fn handle(&mut self, time: Time, event: Event) {
        self.core.now = self.core.now.max(time);
        self.core.counters.events += 1;
        match event {
            Event::Arrive { lane, packet } => {
                if let Some(lane) = self.lanes.get_mut(lane as usize)
                    && lane.on_arrive(&mut self.core, packet)
                {
                    let (device, port) = lane.to;
                    self.arrive(device, port, packet);
                }
            }
            Event::Stage { lane, packet, stage, generation } => {
                if let Some(lane) = self.lanes.get_mut(lane as usize) {
                    lane.on_stage(&mut self.core, packet, stage, generation);
                }
            }
            Event::Dequeue { lane, stage, generation } => {
                if let Some(lane) = self.lanes.get_mut(lane as usize) {
                    lane.on_dequeue(&mut self.core, stage, generation);
                }
            }
            Event::Timer { node, generation } => {
                if let Some(observer) = &mut self.core.trace.observer {
                    observer.on_wake(self.core.now);
                }
                self.on_timer(NodeId(node), generation);
            }
            Event::Release { node, port, packet } => self.leave(NodeId(node), port, packet),
        }
        if !self.core.signals.is_empty() {
            self.flush_signals();
        }
    }

    fn lane(&self, link: LinkId, direction: Direction) -> Option<&Lane> {
        self.lanes.get(link.lane(direction) as usize)
    }

    fn device(&self, id: NodeId) -> Option<&Device> {
        self.devices.get(id.0 as usize)
    }

    fn host_mut(&mut self, id: NodeId) -> Option<&mut device::Host> {
        match &mut self.devices.get_mut(id.0 as usize)?.kind {
            Kind::Host(host) => Some(host),
            Kind::Router(_) | Kind::Nat(_) | Kind::Firewall(_) | Kind::Tap(_) => None,
        }
    }
}
