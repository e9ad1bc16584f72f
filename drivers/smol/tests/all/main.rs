//! The asynchronous handles and driver, over loopback. One program, so that there is one to link: but `memory` measures
//! its process, and `mobility` has threads in network namespaces and measures how long outages take.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod building;
mod cancelling;
mod closing;
mod executors;
mod futures;
mod introducing;
mod meeting;
mod parity;
mod receiving;
mod redirecting;
mod sending;
mod sessions;
mod silence;
