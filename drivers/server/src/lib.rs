//! A server that introduces programs to each other over RTMFP, as `rtmfp serve` runs it.
//!
//! [`Server`] runs [`Rendezvous`](rtmfp_meet::Rendezvous) on a driver and counts what it does. [`Config`] is what a file
//! of settings can say. [`Tokens`] are of those who may use a server that is not for everybody. [`Http`] shows the counts to Prometheus, and tells whether the server is well.
//!
//! Data goes one way: the server publishes a [`Snapshot`] to [`Status`], several times a second. Threads that serve HTTP
//! read it, and nothing that they are asked for waits in the server's loop or holds it up.

#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]

mod config;
mod http;
mod metrics;
mod probes;
mod server;
mod status;
mod tokens;

pub use config::{Config, ConfigError};
pub use http::Http;
pub use probes::{NotAProbeAddress, ProbeAddress};
pub use server::Server;
pub use status::{Health, Snapshot, Status, Totals};
pub use tokens::{Tokens, TokensError};
