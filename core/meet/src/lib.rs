//! How programs find each other over RTMFP, without accounts and without addresses.
//!
//! Everything here is a pure state machine, as the transport is: a driver or the simulator runs it.
//!
//! - [`Rendezvous`] is the server's part: a [service](rtmfp_core::Service) that introduces far ends which have a session
//!   with it (RFC 7016 §3.5.1.6), gives out numbers under which they can be met, and tells each the address that it is
//!   seen at. Everything is in memory. A number names nobody: it can be guessed, and it goes to another session after its
//!   holder has left. So the two who meet prove to each other who they are.
//! - [`Client`] is the other end's part: it writes the messages and reads the answers, over any flows.
//! - [`message`] is what travels between the two.
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
//! | 11 | server | address (RFC 7016 §2.1.5) | you are seen at this address: at first, and after each change |
//! | 12 | server | request, number | this number is yours until your session ends |
//! | 13 | server | request, discriminator | this peer is here, and may be asked for now |
//! | 14 | server | request | nobody is there |
//! | 15 | server | request, reason, seconds | refused; ask again after these seconds; with 0, not before something changes |
//! | 16 | server | request | the token is accepted |
//!
//! A discriminator is the far end's Canonical Endpoint Discriminator (RFC 7016 §3.2), which takes the rest of the
//! message, as a token does. A message of an unknown kind is ignored, so that kinds can be added. One that does not
//! follow the syntax ends the flow.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]

extern crate alloc;

mod admit;
mod client;
mod event;
pub mod message;
mod numbers;
mod permits;
mod rates;
mod rendezvous;
#[cfg(test)]
mod testing;

pub use admit::{Admit, Asker, Everybody};
pub use client::{Answer, Client};
pub use event::ServerEvent;
pub use message::METADATA;
pub use rates::Rate;
pub use rendezvous::{Limits, Rendezvous};
