//! The blocking handles, over loopback. One program, so that there is one to link; but `mobility` has threads in
//! network namespaces, and measures how long outages take.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod building;
mod closing;
mod connecting;
mod endpoint;
mod introducing;
mod meeting;
mod services;
mod silence;
