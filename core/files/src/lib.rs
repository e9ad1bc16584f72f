//! Files from one person to another by a code, such as `7214-castle-river`.
//!
//! Everything here is a pure state machine or a format, as the transport is: disk and terminal are the caller's.
//!
//! - [`Code`] is what one person tells the other: a number that a server or the network knows, and words that only the two
//!   know.
//! - [`manifest`] is what is offered, and [`storage`] what is needed of a disk to send and to store it.
//! - [`name`] says which names of a manifest a receiver takes.
//! - [`pake`] proves to each of the two that the other knows the words, over a session that anybody can have opened.
//! - [`transfer`] sends and receives what a manifest lists, over the flows of a session.
//! - [`proof`] is that exchange over the flows of a session: a [`Claimer`](proof::Claimer) and a [`Maker`](proof::Maker).

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]

extern crate alloc;

mod code;
pub mod manifest;
pub mod name;
pub mod pake;
pub mod proof;
pub mod storage;
pub mod transfer;
mod tree;

pub use code::{Code, CodeError, DEFAULT_WORDS, MAX_WORDS, Words};
pub use pake::{Secret, Shared};
pub use tree::{GROUP, HASH, Hash, hash};
