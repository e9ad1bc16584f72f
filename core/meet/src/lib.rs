//! How programs find each other over RTMFP, without accounts and without addresses.
//!
//! Everything here is a pure state machine, as the transport is: a driver or the simulator runs it.
//!
//! - [`Rendezvous`] is the server's part: a [service](rtmfp_core::Service) that introduces far ends which have a session
//!   with it (RFC 7016 §3.5.1.6), gives out numbers under which they can be met, and tells each the address that it is
//!   seen at. Everything is in memory. A number names nobody: it can be guessed, and it goes to another session ten
//!   minutes after its holder has left, who gets it back before. So the two who meet prove to each other who they are.
//! - [`Guest`] is the other end's part: it is registered with a server, and meets others over the best path there is.
//! - [`Client`] is what that speaks: it writes the messages and reads the answers, over any flows.
//! - [`RelayInterface`] is for two that cannot reach each other: an interface (RFC 7016 §3.3) whose datagrams go through
//!   the server, over [circuits](#circuits). The server relays only if its [`RelayLimits`] say so.
//! - [`mapping`] asks the gateway for a port at which others reach this end (PCP and NAT-PMP).
//! - [`message`] is what travels between the two.
//! - [`probe`] finds out what kind of network an end is in, and says of two ends whether they will meet directly.
//!
//! # The protocol, `rtmfp-meet/1`
//!
//! The client opens a flow whose metadata is [`METADATA`], and the server answers with a return flow of the same metadata.
//! Each message begins with a byte that tells its kind. Numbers are VLUs (RFC 7016 §2.1.2), and lengths too.
//!
//! | Byte | From | Fields | Meaning |
//! |---|---|---|---|
//! | 00 | client | | nothing: the server hears of the flow |
//! | 01 | client | request | give me a number |
//! | 02 | client | number | I need this number no longer |
//! | 03 | client | request, number | who can be met under this number? |
//! | 04 | client | request, discriminator | is this peer here, and may I ask for it? |
//! | 05 | client | request, token | this shows who I am |
//! | 06 | client | request, discriminator | open a circuit to this peer |
//! | 07 | client | circuit | close it |
//! | 08 | client | up to 8 addresses (RFC 7016 §2.1.5) | this end is also there, in place of what it said before |
//! | 09 | client | 0 or 1 | introduce others to this end (1), as at first; or do not (0) |
//! | 11 | server | address (RFC 7016 §2.1.5) | you are seen at this address: at first, and after each change |
//! | 12 | server | request, number | this number is yours until your session ends |
//! | 13 | server | request, discriminator | this peer is here, and may be asked for now |
//! | 14 | server | request | nobody is there |
//! | 15 | server | request, reason, seconds | refused; ask again after these seconds; with 0, not before something changes |
//! | 16 | server | request | the token is accepted |
//! | 17 | server | request, circuit | this circuit leads to the peer |
//! | 18 | server | circuit, discriminator | this peer has opened a circuit to you |
//! | 19 | server | circuit, reason | this circuit has ended, or is not yours |
//!
//! A discriminator is the far end's Canonical Endpoint Discriminator (RFC 7016 §3.2), which takes the rest of the
//! message, as a token does. A message of an unknown kind is ignored, so that kinds can be added. One that does not
//! follow the syntax ends the flow.
//!
//! The addresses that a client adds (08) are told like this. Those whose origin is its own report are its own on its network:
//! they are told to those alone whose hellos come from the same address as its packets (IPv4), or the same /64 (IPv6). Others,
//! such as a port that its gateway forwards, are told to whoever is introduced to it, if they are at the address that its packets
//! come from (IPv4), or in the same /64 (IPv6): others would send to a stranger. A change of these counts as a request, and
//! is left undone if there were too many. To a client that does not want it (09) nobody is introduced: the server tells nobody
//! an address of it, and hands no hello on to it. Circuits lead to it still.
//!
//! A client that has proved who it is, and opens another session, has lost the one before: the server ends that, wherever it
//! was. A number that its client did not give back rests for ten minutes, and is the first that the client is given again.
//!
//! | Reason to refuse (15) | |
//! |---|---|
//! | 1 | asked too often, or for too much |
//! | 2 | the server has no room |
//! | 3 | not allowed |
//! | 4 | the session does not prove who asks |
//! | 5 | nothing is relayed, or there is no flow for it |
//! | 6 | the server asks for a token (05), and none of this client holds |
//!
//! | Reason why a circuit ends (19) | |
//! |---|---|
//! | 1 | one of the two has closed it, or has left |
//! | 2 | idle for too long |
//! | 3 | open for too long |
//! | 4 | one end has sent all that it may |
//! | 5 | it is not known |
//!
//! # Circuits
//!
//! A client that wants to be reached through the server opens a flow with the metadata [`RELAY_METADATA`]. The server
//! answers with a return flow of the same. An empty message means nothing. Any other is a circuit (a VLU of at most
//! 10 bytes) and a datagram of at most 2,048 bytes. It goes on as it is over the flow of the circuit's other end. Without
//! a datagram it goes nowhere, and shows that the circuit is needed still. Both ends order the flow by the network. Each
//! message is sent once, within 250 ms or not at all: a datagram may be lost on any path.
//!
//! What a session may send is limited in a second and in all. So is what its source, and what all sessions together, may
//! send in a second. A datagram counts for 64 bytes more than its message is long. What is above is dropped.
//!
//! The relay goes over sessions. So it answers to no address that is not proved, and nothing can be reflected off it. It
//! follows when an end moves. What it passes on are packets of a session between the two clients, which it cannot read,
//! alter unnoticed or join.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]

extern crate alloc;

mod admit;
mod budget;
mod client;
mod event;
mod failure;
mod guest;
pub mod mapping;
pub mod message;
mod numbers;
mod path;
mod permits;
pub mod probe;
mod rates;
mod relay;
mod relayed;
mod rendezvous;
#[cfg(test)]
mod testing;

pub use admit::{Admit, Asker, Everybody};
pub use client::{Answer, Client};
pub use event::ServerEvent;
pub use failure::{Failure, RelayOutcome};
pub use guest::{Guest, GuestEvent, GuestOptions, Progress, Ticket};
pub use message::{CircuitEnd, METADATA, RELAY_METADATA};
pub use path::{CandidateKind, PathKind, PathPolicy};
pub use rates::Rate;
pub use relay::RelayLimits;
pub use relayed::RelayInterface;
pub use rendezvous::{Limits, Rendezvous};
