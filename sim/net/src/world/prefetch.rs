//! Prefetching: nothing here changes anything but speed.
//!
//! A world of thousands of peers is larger than a processor's caches. Each event would wait for memory several times,
//! one wait after another. When a tick begins, this loads what all its events are going to need, in turns. The reads
//! of one turn do not depend on each other, so their waits overlap.

use core::hint::black_box;

use crate::arena::{Arena, PacketId};
use crate::engine::Event;
use crate::link::Lane;
use crate::world::World;
use crate::world::device::{Device, Kind};

/// Ticks with fewer events are not worth it.
const MIN_EVENTS: usize = 8;

/// What is going to be needed; kept for its room.
#[derive(Debug, Default)]
pub(super) struct Prefetched {
    lanes: Vec<u32>,
    packets: Vec<PacketId>,
}

impl World {
    /// If a tick has just begun, reads what its events will need.
    #[inline]
    pub(super) fn prefetch(&mut self) {
        if self.core.wheel.is_fresh(MIN_EVENTS) {
            self.prefetch_tick();
        }
    }

    fn prefetch_tick(&mut self) {
        let Self { core, lanes, devices, prefetched, .. } = self;
        let device = |number: u32| devices.get(number as usize);
        let lane = |number: u32| lanes.get(number as usize);
        let events = core.wheel.take_fresh();
        let mut sum = 0_u64;
        for event in events.clone() {
            sum ^= match event {
                Event::Arrive { lane: number, packet } => {
                    lane(number).map_or(0, Lane::prefetch) ^ core.arena.prefetch(packet)
                }
                Event::Timer { node, .. } => device(node).map_or(0, Device::prefetch),
                Event::Stage { .. } | Event::Dequeue { .. } | Event::Release { .. } => 0,
            };
        }
        black_box(sum);
        // The lanes that packets will enter, as far as that is easily told, and the packets that have arrived.
        prefetched.lanes.clear();
        prefetched.packets.clear();
        for event in events {
            match event {
                Event::Arrive { lane: number, packet } => {
                    let Some(to) = lane(number).and_then(|lane| device(lane.to.0.0)) else { continue };
                    if let Kind::Router(router) = &to.kind {
                        let port = router.routes.lookup(core.arena.get(packet).dst.ip());
                        prefetched.lanes.extend(port.and_then(|port| to.wiring.ports.get(usize::from(port))));
                    } else {
                        sum ^= to.prefetch();
                        prefetched.packets.push(packet);
                    }
                }
                Event::Timer { node, .. } => prefetched.lanes.extend(device(node).and_then(|device| device.first_lane)),
                Event::Stage { .. } | Event::Dequeue { .. } | Event::Release { .. } => {}
            }
        }
        black_box(sum);
        for read in [Lane::prefetch, Lane::prefetch_stages, Lane::prefetch_queues] {
            sum ^= prefetched.lanes.iter().map(|&number| lane(number).map_or(0, read)).fold(0, |sum, word| sum ^ word);
            black_box(sum);
        }
        for read in [Arena::prefetch_buffer, Arena::prefetch_bytes] {
            sum ^= prefetched.packets.iter().map(|&packet| read(&core.arena, packet)).fold(0, |sum, word| sum ^ word);
            black_box(sum);
        }
    }
}
