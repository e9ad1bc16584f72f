//! A link for datagrams from outside: what goes in at one end comes out at the other, as the link's stages have it.
//!
//! It has no clock and no socket: the caller passes the time. A proxy between real sockets can be built on it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::VecDeque;

use crate::id::{Direction, LinkId, NodeId};
use crate::link::{LinkSpec, StageSpec};
use crate::node::{Node, RxMeta, Tx};
use crate::time::Time;
use crate::world::{Config, RunError, World};

/// Datagrams that came out and were not taken; more are lost, as in a full socket.
const READY: usize = 4_096;
const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

/// One end: datagrams go in and out by the number of the client that they belong to.
struct End {
    other: IpAddr,
    entering: VecDeque<(u16, Vec<u8>)>,
    left: VecDeque<(u16, Vec<u8>)>,
}

impl Node for End {
    fn on_datagram(&mut self, _now: Time, meta: &RxMeta, bytes: &mut [u8]) {
        if self.left.len() < READY {
            self.left.push_back((meta.local.port(), bytes.to_vec()));
        }
    }

    fn on_timeout(&mut self, _now: Time) {}

    fn poll_transmit(&mut self, _now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        let (client, bytes) = self.entering.pop_front()?;
        out.extend_from_slice(&bytes);
        Some(Tx::new(client, SocketAddr::new(self.other, client)))
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }
}

/// A link with two open ends.
#[derive(Debug)]
pub struct LinkEmulator {
    world: World,
    link: LinkId,
    near: NodeId,
    far: NodeId,
}

impl LinkEmulator {
    /// A link; forward is from the near end to the far end.
    #[must_use]
    pub fn new(seed: u64, spec: &LinkSpec) -> Self {
        let mut world = World::with_config(Config::new(seed));
        let end = |other| End { other, entering: VecDeque::new(), left: VecDeque::new() };
        let (near, far) = (world.add_host("near", end(FAR)), world.add_host("far", end(NEAR)));
        let link = world.connect("link", near, far, spec);
        world.add_address(near, 0, NEAR, false);
        world.add_address(far, 0, FAR, false);
        Self { world, link, near, far }
    }

    /// Lets everything happen that is due.
    ///
    /// # Errors
    /// If the simulated world has broken one of its own invariants; it then stays as it is.
    pub fn run_until(&mut self, now: Time) -> Result<(), RunError> {
        self.world.run_until(now)
    }

    /// A datagram of a client (a number that is not zero) enters at the present time.
    pub fn enter(&mut self, direction: Direction, client: u16, bytes: Vec<u8>) {
        let end = if direction == Direction::Forward { self.near } else { self.far };
        self.world.with_node(end, |end: &mut End, _| end.entering.push_back((client, bytes)));
    }

    /// A datagram that has come out in this direction, with its client.
    pub fn take(&mut self, direction: Direction) -> Option<(u16, Vec<u8>)> {
        let end = if direction == Direction::Forward { self.far } else { self.near };
        self.world.with_node(end, |end: &mut End, _| end.left.pop_front()).flatten()
    }

    /// When something may come out next.
    pub fn next_event(&mut self) -> Option<Time> {
        self.world.next_event()
    }

    /// Takes the link down, with what is on it, or up.
    pub fn set_up(&mut self, up: bool) {
        self.world.set_link(self.link, up, None);
    }

    /// Replaces the stages of a direction.
    pub fn set_stages(&mut self, direction: Direction, stages: &[StageSpec]) {
        self.world.set_stages(self.link, direction, stages);
    }
}

#[test]
fn datagrams_come_out_late_and_with_their_client() {
    let mut emulator = LinkEmulator::new(1, &LinkSpec::delay(crate::time::Duration::millis(20)));
    emulator.run_until(Time(5_000_000)).unwrap();
    emulator.enter(Direction::Forward, 7, b"there".to_vec());
    emulator.enter(Direction::Backward, 8, b"back".to_vec());
    emulator.run_until(Time(24_999_999)).unwrap();
    assert_eq!(emulator.take(Direction::Forward), None);
    assert_eq!(emulator.next_event(), Some(Time(25_000_000)));
    emulator.run_until(Time(25_000_000)).unwrap();
    assert_eq!(emulator.take(Direction::Forward), Some((7, b"there".to_vec())));
    assert_eq!(emulator.take(Direction::Backward), Some((8, b"back".to_vec())));
    emulator.set_up(false);
    emulator.enter(Direction::Forward, 7, b"lost".to_vec());
    emulator.run_until(Time(100_000_000)).unwrap();
    assert_eq!(emulator.take(Direction::Forward), None);
}
