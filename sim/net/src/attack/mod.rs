//! Attackers: nodes that forge, and taps on the path. What they put into packets is the scenario's to say.

mod nodes;

pub use nodes::{Answer, Flooder, Payload, Redirector, Spoofer};

use crate::arena::Packet;
use crate::ecn::Ecn;
use crate::id::Direction;
use crate::time::{Duration, Time};

use core::any::Any;
use core::fmt;
use core::net::SocketAddr;

/// What a tap does with a packet that passes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TapVerdict {
    /// Lets it pass, with the bytes as it left them.
    Pass,
    /// Swallows it.
    Drop,
    /// Lets it pass after this time.
    Delay(Duration),
}

/// A packet that a tap makes up or plays again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Injected {
    /// Which way: [`Direction::Forward`] is from the tap's port 0 to its port 1.
    pub direction: Direction,
    /// The source it claims.
    pub src: SocketAddr,
    /// Where it goes.
    pub dst: SocketAddr,
    /// Its ECN field.
    pub ecn: Ecn,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What decides in a tap: a man in the middle of a wire.
pub trait TapLogic: Any {
    /// A packet passes. The bytes may be changed.
    fn on_packet(&mut self, now: Time, direction: Direction, packet: &Packet, bytes: &mut Vec<u8>) -> TapVerdict;

    /// The next packet to inject at `now`, if any.
    fn poll_inject(&mut self, now: Time) -> Option<Injected> {
        let _ = now;
        None
    }

    /// When it wants to be asked for packets to inject, in world time.
    fn poll_timeout(&self) -> Option<Time> {
        None
    }
}

impl fmt::Debug for dyn TapLogic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TapLogic")
    }
}

/// A tap at work.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) logic: Box<dyn TapLogic>,
    pub(crate) armed: Option<Time>,
    pub(crate) generation: u32,
}

/// Records every packet that passes and plays it again later, `times` times, `after` and then every `after`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Replayer {
    after: Duration,
    times: u32,
    /// What is still to be played: when, how often more, what.
    pending: std::collections::VecDeque<(Time, u32, Injected)>,
    limit: usize,
}

impl Replayer {
    /// Plays each packet `times` more, every `after`; keeps at most 65,536 packets.
    #[must_use]
    pub fn new(after: Duration, times: u32) -> Self {
        Self { after: Duration(after.0.max(1)), times, pending: std::collections::VecDeque::new(), limit: 65_536 }
    }
}

impl TapLogic for Replayer {
    fn on_packet(&mut self, now: Time, direction: Direction, packet: &Packet, bytes: &mut Vec<u8>) -> TapVerdict {
        if self.times > 0 && self.pending.len() < self.limit {
            let (src, dst, ecn) = (packet.src, packet.dst, packet.ecn);
            let copy = Injected { direction, src, dst, ecn, bytes: bytes.clone() };
            self.pending.push_back((now + self.after, self.times, copy));
        }
        TapVerdict::Pass
    }

    fn poll_inject(&mut self, now: Time) -> Option<Injected> {
        // All wait equally long, so the queue is in order of time.
        if self.pending.front()?.0 > now {
            return None;
        }
        let (at, times, injected) = self.pending.pop_front()?;
        if times > 1 {
            self.pending.push_back((at + self.after, times - 1, injected.clone()));
        }
        Some(injected)
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.pending.front().map(|&(at, _, _)| at)
    }
}

/// Changes every `every`-th packet with the function given; drops it if that says so.
pub struct Mutator<F> {
    every: u64,
    seen: u64,
    change: F,
}

impl<F> fmt::Debug for Mutator<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutator").field("every", &self.every).field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl<F: FnMut(u64, Direction, &mut Vec<u8>) -> TapVerdict + 'static> Mutator<F> {
    /// `change` gets the packet's number among all seen, its direction and its bytes.
    pub const fn new(every: u64, change: F) -> Self {
        Self { every, seen: 0, change }
    }
}

impl<F: FnMut(u64, Direction, &mut Vec<u8>) -> TapVerdict + 'static> TapLogic for Mutator<F> {
    fn on_packet(&mut self, _now: Time, direction: Direction, _packet: &Packet, bytes: &mut Vec<u8>) -> TapVerdict {
        let number = self.seen;
        self.seen += 1;
        if number.is_multiple_of(self.every.max(1)) {
            (self.change)(number, direction, bytes)
        } else {
            TapVerdict::Pass
        }
    }
}
