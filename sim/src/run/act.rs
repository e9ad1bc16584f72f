//! Lets a scenario's events happen.

use datagram_sim::{Direction, Duration, InFlight as EngineInFlight, NodeId, StageSpec, Time};
use rtmfp_core::{CloseMode, Instant};

use super::worker::Worker;
use super::{Run, make_node};
use crate::rtmfp::EndpointNode;
use crate::scenario::{Action, InFlight};

/// How long a host still hears an address that it gave up with packets on the way.
const LATE: Duration = Duration::secs(1);

impl Run<'_> {
    fn at_node(&mut self, node: &str, act: impl FnOnce(&mut Worker, &mut rtmfp_core::Endpoint, Instant)) {
        if let Some(&id) = self.map.nodes.get(node) {
            self.world.with_node(id, |node: &mut EndpointNode<Worker>, now| node.act(now, act));
        }
    }

    pub(super) fn act(&mut self, index: usize) {
        let now = self.world.now();
        self.log.with(|log| log.now = now);
        let Some(at) = self.scenario.at.get(index) else { return };
        match &at.action {
            Action::Rebind { node, address, in_flight, silent } => {
                let fresh = address.or_else(|| self.map.fresh_address(node));
                if let (Some(&id), Some(fresh)) = (self.map.nodes.get(node), fresh) {
                    let fate = match in_flight {
                        InFlight::Lost => EngineInFlight::Lost,
                        InFlight::Late => EngineInFlight::DeliveredUntil(now + LATE),
                    };
                    self.world.rebind(id, 0, fresh, fate, !silent);
                }
            }
            Action::LinkDown { link } => self.set_link(link, false),
            Action::LinkUp { link, hint } => {
                self.set_link(link, true);
                if *hint {
                    self.hint(link);
                }
            }
            Action::LinkChange { link, .. } => self.change_link(link, &at.action),
            Action::NatFlush { nat } => {
                if let Some(&id) = self.map.nats.get(nat) {
                    self.world.flush_nat(id, true);
                }
            }
            Action::Freeze { node } => self.on_host(node, |world, id| world.freeze(id)),
            Action::Thaw { node, jump } => self.on_host(node, |world, id| world.thaw(id, jump.0)),
            Action::ClockStep { node, by_ms } => {
                self.on_host(node, |world, id| world.step_clock(id, by_ms.saturating_mul(1_000_000)));
            }
            Action::Restart { node } => self.restart(node, now),
            Action::Close { node, abrupt } => {
                let mode = if *abrupt { CloseMode::Abrupt } else { CloseMode::Orderly };
                self.at_node(node, |worker, endpoint, now| worker.close(now, endpoint, mode));
            }
            Action::Suspend { node } => self.at_node(node, |worker, endpoint, now| worker.suspend(now, endpoint, true)),
            Action::Resume { node } => self.at_node(node, |worker, endpoint, now| worker.suspend(now, endpoint, false)),
            Action::Heal => self.heal(),
        }
    }

    fn on_host(&mut self, node: &str, act: impl FnOnce(&mut datagram_sim::World, NodeId)) {
        if let Some(&id) = self.map.nodes.get(node) {
            act(&mut self.world, id);
        }
    }

    fn set_link(&mut self, link: &str, up: bool) {
        if let Some(&id) = self.map.links.get(link) {
            self.world.set_link(id, up, None);
        }
    }

    fn change_link(&mut self, name: &str, change: &Action) {
        let old = self.changed.get(name).or_else(|| self.scenario.link.get(name));
        let Some((new, directions)) = old.and_then(|old| change.changed(old)) else { return };
        let (Some(&id), Ok(spec)) = (self.map.links.get(name), new.spec()) else { return };
        for direction in directions {
            let stages = match direction {
                Direction::Forward => &spec.forward,
                Direction::Backward => &spec.backward,
            };
            self.world.set_stages(id, direction, stages);
        }
        self.changed.insert(name.to_owned(), new);
    }

    /// The drivers at both ends of a link notice that it works again.
    fn hint(&mut self, link: &str) {
        let ends = self.scenario.link.get(link).map(|link| link.path.clone()).unwrap_or_default();
        for end in [ends.first(), ends.last()].into_iter().flatten() {
            self.at_node(end, |_, endpoint, now| endpoint.interface_changed(now, rtmfp_core::InterfaceId(0)));
        }
    }

    fn restart(&mut self, node: &str, now: Time) {
        self.restarts += 1;
        let Some(&id) = self.map.nodes.get(node) else { return };
        let offset = self.scenario.node.get(node).map_or(0, |node| node.clock_offset.0.0);
        let local = Instant::from_micros((now.0 + offset) / 1_000);
        let worker = Worker::restarted(node, &self.directory, &self.log, local);
        let made = make_node(self.scenario, &self.players, self.options, node, self.restarts, local, worker);
        if let Ok(made) = made {
            self.world.replace_node(id, made);
        }
    }

    /// All links are up, and lose, change and hold back nothing any more: shapers and delays stay.
    fn heal(&mut self) {
        self.healed = true;
        for (name, link) in &self.scenario.link {
            let (Some(&id), Ok(spec)) = (self.map.links.get(name), link.spec()) else { continue };
            let calm = |stages: &[StageSpec]| -> Vec<StageSpec> {
                let stays = |stage: &&StageSpec| matches!(stage, StageSpec::Shaper { .. } | StageSpec::Delay(_));
                stages.iter().filter(stays).cloned().collect()
            };
            self.world.set_link(id, true, None);
            self.world.set_stages(id, Direction::Forward, &calm(&spec.forward));
            self.world.set_stages(id, Direction::Backward, &calm(&spec.backward));
        }
    }
}
