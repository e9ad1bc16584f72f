//! RTMFP (RFC 7016) as pure state machines: datagrams and timestamps in, datagrams and events out.
//!
//! An [`Endpoint`] is one identity: it owns all its sessions and their flows, which are reached through small
//! handles. Nothing here reads a clock, opens a socket, or draws randomness that it was not given, so the same inputs
//! give the same outputs on every machine.
//!
//! # The words of the protocol
//!
//! A **session** joins two endpoints: it has keys, one congestion window, and survives changes of address. In it each
//! end sends any number of **flows**: one-way sequences of **messages** of any size, each delivered whole, or
//! abandoned as its sender wishes. An endpoint is found by an **endpoint discriminator** and proves itself by a
//! **certificate**, both in the syntax of a [cryptography profile](profile); [`profile::flash`] is the one of
//! RFC 7425.
//!
//! # Driving an endpoint
//!
//! | what happens | call |
//! |---|---|
//! | a datagram came | [`handle_datagram`](Endpoint::handle_datagram) |
//! | [`poll_timeout`](Endpoint::poll_timeout) has come | [`handle_timeout`](Endpoint::handle_timeout) |
//! | the user wants something | [`open`](Endpoint::open), [`session_mut`](Endpoint::session_mut), [`send_flow_mut`](Endpoint::send_flow_mut), [`recv_flow_mut`](Endpoint::recv_flow_mut) |
//! | after any of these | [`poll_transmit`](Endpoint::poll_transmit) and [`poll_event`](Endpoint::poll_event) until both give `None` |
//! | key agreements are not to hold up packets | [`poll_key_agreement`](Endpoint::poll_key_agreement), and [`handle_key_agreement`](Endpoint::handle_key_agreement) with the result |
//!
//! Calls may come in any order and any number; one with nothing to do changes nothing. Events are edges, and message
//! data is pulled with [`read`](RecvFlowMut::read). Here is a whole driver on one standard socket, which prints what
//! arrives (the drivers of this project do the same with batched system calls):
//!
//! ```no_run
//! use std::io::{ErrorKind, Result};
//! use std::net::UdpSocket;
//! use std::time::{Duration, Instant as Clock};
//! use rtmfp_core::{Endpoint, Event, Instant, InterfaceId, Path, RecvMeta, TransmitBuf};
//!
//! fn run(endpoint: &mut Endpoint, socket: &UdpSocket, start: Clock) -> Result<()> {
//!     let now = || Instant::from_micros(start.elapsed().as_micros() as u64);
//!     let (mut flight, mut buffer) = (TransmitBuf::new(1), [0; 65_535]);
//!     loop {
//!         while let Some(transmit) = endpoint.poll_transmit(now(), &mut flight) {
//!             for datagram in flight.datagrams() {
//!                 socket.send_to(datagram, transmit.path.remote)?;
//!             }
//!         }
//!         while let Some(event) = endpoint.poll_event() {
//!             let Event::FlowReadable { flow } = event else { continue };
//!             while let Some(message) = endpoint.recv_flow_mut(now(), flow).and_then(|mut flow| flow.read()) {
//!                 println!("{flow:?}: {:?}", message.data);
//!             }
//!         }
//!         let wait = endpoint.poll_timeout().map(|at| at.saturating_duration_since(now()));
//!         socket.set_read_timeout(wait.map(|wait| wait.max(Duration::from_micros(1))))?;
//!         match socket.recv_from(&mut buffer) {
//!             Ok((len, remote)) => {
//!                 let path = Path::new(InterfaceId(0), remote);
//!                 let _ = endpoint.handle_datagram(now(), path, RecvMeta::default(), &mut buffer[..len]);
//!             }
//!             Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
//!             Err(error) => return Err(error),
//!         }
//!         endpoint.handle_timeout(now());
//!     }
//! }
//! ```
//!
//! # Two endpoints, without a network
//!
//! ```
//! use rtmfp_core::profile::flash::{Discriminator, FlashProfile, Group, StaticKeys};
//! use rtmfp_core::{Endpoint, EndpointConfig, Event, FlowOptions, Instant, InterfaceId, Path, RecvMeta, Target};
//! use rtmfp_core::{TransmitBuf, rand_core::SeedableRng};
//! use chacha20::ChaCha20Rng; // any cryptographic generator will do; programs seed it from the system
//!
//! let mut rng = ChaCha20Rng::from_seed([1; 32]);
//! let mut endpoint = |start| {
//!     // Static keys, so that the fingerprint proves who has them.
//!     let keys = StaticKeys::generate(&[Group::Modp2048], &mut rng);
//!     let profile = FlashProfile::builder().static_keys(keys).build(&mut rng).unwrap();
//!     let name = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
//!     let rng = Box::new(ChaCha20Rng::from_rng(&mut rng));
//!     (Endpoint::new(EndpointConfig::default(), std::sync::Arc::new(profile), rng, start).unwrap(), name)
//! };
//! let mut now = Instant::ORIGIN;
//! let ((mut alice, _), (mut bob, bobs_name)) = (endpoint(now), endpoint(now));
//!
//! let at = |port| Path::new(InterfaceId(0), ([127, 0, 0, 1], port).into());
//! let session = alice.open(now, Target::new(bobs_name, at(2))).unwrap();
//! let flow = alice.session_mut(now, session).unwrap().open_flow(FlowOptions::new("chat")).unwrap();
//! alice.send_flow_mut(now, flow).unwrap().write("hello").unwrap(); // waits for the session to open
//!
//! let mut flight = TransmitBuf::new(8);
//! let mut carry = |from: &mut Endpoint, to: &mut Endpoint, port, now| {
//!     while from.poll_transmit(now, &mut flight).is_some() {
//!         for datagram in flight.datagrams() {
//!             let _ = to.handle_datagram(now, at(port), RecvMeta::default(), &mut datagram.to_vec());
//!         }
//!     }
//! };
//! let heard = loop {
//!     carry(&mut alice, &mut bob, 1, now);
//!     carry(&mut bob, &mut alice, 2, now);
//!     if let Some(Event::FlowReadable { flow }) = bob.poll_event() {
//!         break bob.recv_flow_mut(now, flow).unwrap().read().unwrap().data;
//!     }
//!     now += std::time::Duration::from_millis(1);
//! };
//! assert_eq!(heard, "hello");
//! ```
//!
//! # Tracing
//!
//! What was lost and why, what the window did, which timer fired: [`Endpoint::set_trace`] has a sink told of it, one
//! [`TraceEvent`] at a time. A sink is a [`Trace`]. It costs nothing while there is none, and changes nothing when there
//! is one. The `rtmfp` program writes such a trace as qlog.
//!
//! ```
//! use std::sync::{Arc, mpsc};
//! use rtmfp_core::profile::flash::{Discriminator, FlashProfile};
//! use rtmfp_core::{Endpoint, EndpointConfig, Instant, InterfaceId, Path, Target, TransmitBuf};
//! use rtmfp_core::{SessionHandle, Trace, TraceEvent, rand_core::SeedableRng};
//! use chacha20::ChaCha20Rng;
//!
//! /// Tells another thread what happens.
//! struct Names(mpsc::Sender<&'static str>);
//!
//! impl Trace for Names {
//!     fn event(&mut self, _at: Instant, _session: Option<SessionHandle>, event: &TraceEvent<'_>) {
//!         let _nobody_listens = self.0.send(event.name());
//!     }
//! }
//!
//! let mut rng = ChaCha20Rng::from_seed([1; 32]);
//! let profile = Arc::new(FlashProfile::builder().build(&mut rng).unwrap());
//! let somebody = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
//! let now = Instant::ORIGIN;
//! let mut endpoint = Endpoint::new(EndpointConfig::default(), profile, Box::new(rng), now).unwrap();
//!
//! let (sink, names) = mpsc::channel();
//! endpoint.set_trace(Some(Box::new(Names(sink))));
//! let nowhere = Path::new(InterfaceId(0), ([192, 0, 2, 1], 1935).into());
//! endpoint.open(now, Target::new(somebody, nowhere)).unwrap();
//! endpoint.poll_transmit(now, &mut TransmitBuf::new(1)).unwrap();
//! assert_eq!(names.try_iter().collect::<Vec<_>>(), ["state_changed", "timer_set", "packet_sent"]);
//! ```
//!
//! # Limits
//!
//! Everything that grows by what others send has a limit in [`EndpointConfig`] or [`SessionConfig`], or a fixed one
//! in its module. What is over a limit is dropped and counted in [`EndpointStats`]; nothing that arrives can cause a
//! panic, and no misuse can either: commands return errors, and views of handles that are stale are `None`.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core)]

extern crate alloc;

mod app;
pub mod config;
pub mod congestion;
mod endpoint;
pub mod error;
mod event;
mod flow;
mod handle;
mod invariant;
pub mod params;
pub mod profile;
mod router;
mod session;
mod session_state;
mod slab;
mod stats;
mod time;
mod trace;
mod transmit;
pub mod wire;

pub use bytes::Bytes;
pub use rand_core;

pub use app::App;
pub use config::{
    EndpointConfig, FlowOptions, ForwardedHelloPolicy, Priority, ReceiveOrder, SendOptions, SessionConfig,
};
pub use endpoint::{
    Endpoint, KeyAgreement, KeyAgreementResult, RecvFlowMut, RecvFlowRef, SendFlowMut, SendFlowRef, SessionMut,
    SessionRef, Target,
};
pub use event::{CloseReason, Event, FlowEnd, MessageOutcome, OpenFailure, Undelivered, UnmatchedHello};
pub use flow::Message;
pub use handle::{MessageId, RecvFlowHandle, SendFlowHandle, SessionHandle};
pub use router::{Router, Service};
pub use session::{CloseMode, Role, SessionState};
pub use stats::{EndpointStats, FlowStats, SessionStats};
pub use time::Instant;
pub use trace::{AbandonCause, KeyAgreementOutcome, KeyAgreementStep, LossCause, Trace, TraceEvent};
pub use transmit::{Disposition, Ecn, InterfaceId, Path, RecvMeta, Transmit, TransmitBuf};
