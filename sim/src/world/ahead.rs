//! Reading ahead: nothing here changes anything but speed.
//!
//! A world of thousands of peers is larger than a processor's caches, and each event would wait for memory several
//! times, one wait after another. When a tick begins, what its events are going to need is read for all of them in
//! turns: the reads of one turn do not depend on each other, and their waits overlap.

use core::hint::black_box;

use crate::arena::{Arena, PacketId};
use crate::link::Lane;
use crate::world::device::{Device, Kind};
use crate::world::{Event, World};

/// Ticks with fewer events are not worth it.
const LEAST: usize = 8;

/// What is going to be needed; kept for its room.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    lanes: Vec<u32>,
    packets: Vec<PacketId>,
}

impl World {
    /// If a tick has just begun, reads what its events will need.
    #[inline]
    pub(super) fn read_ahead(&mut self) {
        if self.core.wheel.is_fresh(LEAST) {
            self.read_tick();
        }
    }

    fn read_tick(&mut self) {
        let Self { core, lanes, devices, ahead, .. } = self;
        let device = |number: u32| devices.get(number as usize);
        let lane = |number: u32| lanes.get(number as usize);
        let events = core.wheel.take_fresh();
        let mut sum = 0_u64;
        for event in events.clone() {
            sum ^= match event {
                Event::Arrive { lane: number, packet } => {
                    lane(number).map_or(0, Lane::touch) ^ core.arena.touch(packet)
                }
                Event::Timer { node, .. } => device(node).map_or(0, Device::touch),
                Event::Stage { .. } | Event::Dequeue { .. } | Event::Release { .. } => 0,
            };
        }
        black_box(sum);
        // The lanes that packets will enter, as far as that is easily told, and the packets that have arrived.
        ahead.lanes.clear();
        ahead.packets.clear();
        for event in events {
            match event {
                Event::Arrive { lane: number, packet } => {
                    let Some(to) = lane(number).and_then(|lane| device(lane.to.0.0)) else { continue };
                    if let Kind::Router(router) = &to.kind {
                        let port = router.routes.lookup(core.arena.get(packet).dst.ip());
                        ahead.lanes.extend(port.and_then(|port| to.wiring.ports.get(usize::from(port))));
                    } else {
                        sum ^= to.touch();
                        ahead.packets.push(packet);
                    }
                }
                Event::Timer { node, .. } => ahead.lanes.extend(device(node).and_then(|device| device.first_lane)),
                Event::Stage { .. } | Event::Dequeue { .. } | Event::Release { .. } => {}
            }
        }
        black_box(sum);
        for read in [Lane::touch, Lane::touch_stages, Lane::touch_queues] {
            sum ^= ahead.lanes.iter().map(|&number| lane(number).map_or(0, read)).fold(0, |sum, word| sum ^ word);
            black_box(sum);
        }
        for read in [Arena::touch_buffer, Arena::touch_bytes] {
            sum ^= ahead.packets.iter().map(|&packet| read(&core.arena, packet)).fold(0, |sum, word| sum ^ word);
            black_box(sum);
        }
    }
}
