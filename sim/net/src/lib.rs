//! A deterministic simulator of UDP networks, for protocols that do no I/O themselves.
//!
//! A [`World`] holds hosts, routers, NATs, firewalls and taps, connected by links, and one queue of events. A host
//! runs a [`Node`]: a state machine that takes datagrams and time, and is asked for datagrams and its next deadline.
//!
//! All that happens is a function of the seed. There is one thread, one total order of events (time, then sequence),
//! and no floating point. Every random decision depends on the seed, the name of what decides, and the packet. The
//! [hash](World::hash) of the trace tells whether two runs were the same, and [checkpoints](World::checkpoints) tell
//! where they parted.
//!
//! ```
//! use datagram_sim::{LinkSpec, Node, RxMeta, Duration, Time, Tx, World};
//!
//! /// Sends a datagram at the start and counts what comes; answers if it is the server.
//! struct Ping { send: Vec<Tx>, answer: bool, got: u32 }
//!
//! impl Node for Ping {
//!     fn on_datagram(&mut self, _now: Time, meta: &RxMeta, bytes: &mut [u8]) {
//!         assert_eq!(bytes, b"hello");
//!         self.got += 1;
//!         if self.answer {
//!             self.send.push(Tx::new(meta.local.port(), meta.remote));
//!         }
//!     }
//!     fn on_timeout(&mut self, _now: Time) {}
//!     fn poll_transmit(&mut self, _now: Time, out: &mut Vec<u8>) -> Option<Tx> {
//!         out.extend_from_slice(b"hello");
//!         self.send.pop()
//!     }
//!     fn poll_timeout(&self) -> Option<Time> { None }
//! }
//!
//! let mut world = World::new(42);
//! let to = "10.0.0.2:1935".parse().unwrap();
//! let a = world.add_host("a", Ping { send: vec![Tx::new(4000, to)], answer: false, got: 0 });
//! let b = world.add_host("b", Ping { send: vec![], answer: true, got: 0 });
//! world.connect("wan", a, b, &LinkSpec::delay(Duration::millis(25)));
//! world.add_address(a, 0, "10.0.0.1".parse().unwrap(), false);
//! world.add_address(b, 0, "10.0.0.2".parse().unwrap(), false);
//! world.run_until(Time(50_000_000)).unwrap();
//! assert_eq!(world.node::<Ping>(a).unwrap().got, 1);
//! assert_eq!(world.counters().delivered, 2);
//! ```
#![forbid(unsafe_code)]

mod arena;
pub mod attack;
mod counters;
pub mod cross;
mod digest;
mod ecn;
mod emulator;
mod engine;
mod fault;
mod id;
mod link;
mod nat;
mod node;
mod queue;
pub mod rng;
mod route;
pub mod time;
mod trace;
mod wheel;
mod world;

pub use arena::{Packet, PacketId, PacketKind, header_len};
pub use counters::Counters;
pub use digest::digest;
pub use ecn::Ecn;
pub use emulator::LinkEmulator;
pub use fault::{Decision, DropCause, Edit, ExplicitFault, Mode};
pub use id::{Direction, LinkId, NodeId};
pub use link::{
    CorruptSpec, EcnSpec, JitterSpec, LaneCounters, LinkSpec, LossSpec, RateSpec, StageSpec, TraceRate, TraceRateError,
};
pub use nat::{Filtering, FirewallSpec, Hairpin, Mapping, MappingView, NatSpec, Pooling, Ports, nat64};
pub use node::{Clock, Forged, NetChange, Node, RxMeta, Silent, Sink, Tx};
pub use queue::{CodelSpec, FqCodelSpec, PieSpec, QueueSpec, RedSpec};
pub use rng::{Key, Ppb, Stream};
pub use route::Prefix;
pub use time::{Duration, Rate, Time};
pub use trace::{
    CHECKPOINT_EVERY, Checkpoint, Observer, Record, RecordKind, TRACE_VERSION, TraceHash, first_difference,
};
pub use wheel::Wheel;
pub use world::{Config, InFlight, RunError, World};

// The example in the README is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
