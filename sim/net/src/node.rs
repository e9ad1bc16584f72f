//! What plugs into a host: a sans-IO state machine.
//!
//! It is given datagrams, time and news of its network, and is asked for datagrams and its next deadline.

use core::any::Any;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::ecn::Ecn;
use crate::time::{Duration, Time};

/// What a node learns of a received datagram besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RxMeta {
    /// The host's interface that it came in on.
    pub interface: u16,
    /// The address and port that it was sent to.
    pub local: SocketAddr,
    /// The address and port that it claims to be from, after any translation on the way.
    pub remote: SocketAddr,
    /// Its ECN field.
    pub ecn: Ecn,
}

/// What a node says of a datagram that it sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tx {
    /// The interface to leave by; the host's routes decide if there is none.
    pub interface: Option<u16>,
    /// The source port.
    pub port: u16,
    /// Where it goes.
    pub dst: SocketAddr,
    /// Its ECN field.
    pub ecn: Ecn,
    /// Whether it must not be fragmented: if it is too big for a link it is lost.
    pub dont_fragment: bool,
    /// Bytes that count on the wire but carry nothing, for models that need no content.
    pub padding: u32,
    /// A forged source. Heeded only on hosts that may send raw packets, see `World::allow_raw`.
    pub forged: Option<Forged>,
}

impl Tx {
    /// An ordinary datagram from `port` to `dst`: not ECN-capable, not to be fragmented.
    #[must_use]
    pub const fn new(port: u16, dst: SocketAddr) -> Self {
        Self { interface: None, port, dst, ecn: Ecn::NotEct, dont_fragment: true, padding: 0, forged: None }
    }
}

/// What an attacker may put into a packet that an honest host may not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forged {
    /// The source address and port to claim.
    pub src: SocketAddr,
    /// Claims to be a "packet too big" signal with this MTU instead of a datagram.
    pub too_big: Option<u32>,
}

/// News of the network for a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NetChange {
    /// An interface can be used (again), or has a new address.
    InterfaceUp {
        /// Which.
        interface: u16,
        /// Its first address.
        address: IpAddr,
    },
    /// An interface cannot be used any more.
    InterfaceDown {
        /// Which.
        interface: u16,
    },
    /// A router says that a packet to `remote` was too big (RFC 1191, RFC 8201). May be forged.
    TooBig {
        /// Where the packet went.
        remote: SocketAddr,
        /// The largest IP packet, headers included, that would have passed.
        mtu: u32,
    },
}

/// Takes what a node tells of its inner state.
pub trait Sink {
    /// A number that has a value at any time, such as a window in bytes. `index` tells many of a kind apart (sessions).
    fn gauge(&mut self, name: &'static str, index: u64, value: i64);
}

/// A sans-IO state machine under simulation.
///
/// Times are those of the node's own clock (see [`Clock`](crate::Clock)), which may drift, jump and stand still.
/// After each call the world takes transmits until there is none, then asks for the deadline.
pub trait Node: Any {
    /// The world starts, or the node was switched on.
    fn on_start(&mut self, now: Time) {
        let _ = now;
    }

    /// A datagram came in. The buffer is the node's to change.
    fn on_datagram(&mut self, now: Time, meta: &RxMeta, bytes: &mut [u8]);

    /// The deadline of [`poll_timeout`](Self::poll_timeout) has come.
    fn on_timeout(&mut self, now: Time);

    /// Something about the network changed that a driver would notice.
    fn on_network_change(&mut self, now: Time, change: NetChange) {
        let _ = (now, change);
    }

    /// The next datagram to send: its bytes are appended to `out`, which is empty.
    fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Tx>;

    /// When the node wants [`on_timeout`](Self::on_timeout), by its own clock.
    fn poll_timeout(&self) -> Option<Time>;

    /// Tells its state, for pictures and expectations.
    fn observe(&self, sink: &mut dyn Sink) {
        let _ = sink;
    }
}

impl fmt::Debug for dyn Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Node")
    }
}

/// A node that does nothing and hears nothing: a place that packets go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Silent {
    /// Datagrams received.
    pub received: u64,
}

impl Node for Silent {
    fn on_datagram(&mut self, _now: Time, _meta: &RxMeta, _bytes: &mut [u8]) {
        self.received += 1;
    }
    fn on_timeout(&mut self, _now: Time) {}
    fn poll_transmit(&mut self, _now: Time, _out: &mut Vec<u8>) -> Option<Tx> {
        None
    }
    fn poll_timeout(&self) -> Option<Time> {
        None
    }
}

/// A node's clock: what it shows as a function of the world's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Clock {
    /// At this world time …
    world: u64,
    /// … the clock showed this.
    local: u64,
    /// Parts per billion that it runs fast (or slow, if negative).
    drift_ppb: i32,
    frozen: bool,
}

impl Clock {
    /// A clock that shows `offset` at the beginning and runs fast by `drift_ppb` parts per billion.
    #[must_use]
    pub const fn new(offset: Duration, drift_ppb: i32) -> Self {
        Self { world: 0, local: offset.0, drift_ppb, frozen: false }
    }

    /// Nanoseconds of local time per second of world time. A clock never runs backwards.
    fn speed(&self) -> u64 {
        u64::try_from(1_000_000_000 + i64::from(self.drift_ppb)).unwrap_or(0).max(1)
    }

    /// What the clock shows at a world time.
    #[must_use]
    pub fn local(&self, world: Time) -> Time {
        if self.frozen {
            return Time(self.local);
        }
        let passed = world.0.saturating_sub(self.world);
        if self.drift_ppb == 0 {
            return Time(self.local.saturating_add(passed));
        }
        Time(self.local.saturating_add(crate::time::mul_div(passed, self.speed(), 1_000_000_000)))
    }

    /// The first world time at which the clock shows `local` or later; none while it is frozen before that.
    #[must_use]
    pub fn world(&self, local: Time) -> Option<Time> {
        let ahead = local.0.saturating_sub(self.local);
        if ahead == 0 {
            return Some(Time(self.world));
        }
        if self.frozen {
            return None;
        }
        if self.drift_ppb == 0 {
            return Some(Time(self.world.saturating_add(ahead)));
        }
        let passed = (u128::from(ahead) * 1_000_000_000).div_ceil(u128::from(self.speed()));
        Some(Time(self.world.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))))
    }

    fn rebase(&mut self, now: Time) {
        self.local = self.local(now).0;
        self.world = now.0;
    }

    /// Sets the clock forwards or backwards by `nanos`.
    pub fn step(&mut self, now: Time, nanos: i64) {
        self.rebase(now);
        self.local = self.local.saturating_add_signed(nanos);
    }

    /// Changes how fast it runs from now on.
    pub fn set_drift(&mut self, now: Time, drift_ppb: i32) {
        self.rebase(now);
        self.drift_ppb = drift_ppb;
    }

    /// Stops it.
    pub fn freeze(&mut self, now: Time) {
        self.rebase(now);
        self.frozen = true;
    }

    /// Lets it run again, `jump` ahead of where it stopped: a monotonic clock may or may not count a suspend.
    pub fn thaw(&mut self, now: Time, jump: Duration) {
        self.rebase(now);
        self.frozen = false;
        self.local = self.local.saturating_add(jump.0);
    }

    /// Whether it stands still.
    #[must_use]
    pub const fn is_frozen(&self) -> bool {
        self.frozen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        /// `world` is the inverse of `local`: not a nanosecond early, not one late.
        fn clocks_invert(offset: u32, drift: i16, ahead: u32) -> bool {
            let clock = Clock::new(Duration(offset.into()), i32::from(drift) * 1_000);
            let target = Time(u64::from(offset) + u64::from(ahead));
            let Some(at) = clock.world(target) else { return false };
            clock.local(at) >= target && (at.0 == 0 || clock.local(Time(at.0 - 1)) < target)
        }
    }

    #[test]
    fn steps_and_freezes() {
        let mut clock = Clock::new(Duration::secs(5), 1_000);
        assert_eq!(clock.local(Time(1_000_000_000)), Time(6_000_001_000));
        clock.step(Time(1_000_000_000), -1_000);
        assert_eq!(clock.local(Time(1_000_000_000)), Time(6_000_000_000));
        clock.freeze(Time(1_000_000_000));
        assert_eq!(clock.local(Time(9_000_000_000)), Time(6_000_000_000));
        assert_eq!(clock.world(Time(6_000_000_001)), None);
        clock.thaw(Time(9_000_000_000), Duration(7));
        assert_eq!(clock.local(Time(9_000_000_000)), Time(6_000_000_007));
    }
}
