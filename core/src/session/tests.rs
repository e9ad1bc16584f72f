//! Two sessions, back to back in virtual time.

mod closing;
mod data;
mod limits;
mod liveness;
mod mtu;
mod network;
mod packets;
mod paths;
mod recovery;
