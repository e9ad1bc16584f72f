//! What the `rtmfp` program is made of.
//!
//! [`transfer`], [`echo`] and [`ping`] are applications of the core without sockets or clocks, so that a simulator
//! can run them as well as the program does; the rest is the program.
#![deny(missing_docs)]

mod admission;
pub mod args;
pub mod buffers;
pub mod code;
pub mod commands;
pub mod diagnosis;
pub mod echo;
pub mod explain;
pub mod failure;
pub mod identity;
pub mod json;
pub mod keyring;
pub mod nearby;
pub mod net;
pub mod output;
pub mod ping;
pub mod qr;
pub mod report;
pub mod resume;
#[cfg(test)]
mod scratch;
pub mod settings;
pub mod store;
pub mod text;
mod times;
pub mod trace;
pub mod transfer;
pub mod tree;
pub mod via;
pub mod whom;
