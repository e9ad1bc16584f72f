//! Two sessions, back to back in virtual time.

mod closing;
mod data;
mod draining;
mod flights;
mod limits;
mod liveness;
mod losses;
mod mtu;
mod network;
mod packets;
mod path_change;
mod paths;
mod recovery;
mod unread;
mod watch;
