//! What kind of network an end is in: probes, which a server helps with, and what follows from them.
//!
//! The ideas are those of RFC 5780, and the packets RTMFP's, so that a NAT or a firewall treats them as it treats
//! sessions. A *probe* is one Initiator Hello (RFC 7016 §2.3.2) for nobody: where a fingerprint would be, its Endpoint
//! Discriminator has a [mark, a token and the number of a test](ProbeName). Nobody answers a probe. Who gets one tells
//! over the session in which the token was given.
//!
//! - [`ProbeService`] is the server's part. It has a session, with a flow of the metadata [`METADATA`], with each client
//!   that asks. It sends probes from several of its sockets, and tells of those that come.
//! - [`Doctor`] is the client's part: it comes to [`Findings`] about one family of addresses.
//! - [`Lifetime`] finds out for how long a NAT keeps a mapping that nobody uses.
//! - [`will_meet`] says of two [`Report`]s whether the two meet directly, and why.
//!
//! # The protocol, `rtmfp-probe/1`
//!
//! The client opens a flow whose metadata is [`METADATA`], and the server answers with a return flow of the same metadata.
//! Each message begins with a byte that tells its kind. Numbers are VLUs (RFC 7016 §2.1.2). Addresses are those of RFC
//! 7016 §2.1.5.
//!
//! | Byte | From | Fields | Meaning |
//! |---|---|---|---|
//! | 00 | client | any | nothing: the server hears of the flow |
//! | 01 | client | test, place, padding | send me a probe with this test's number from this place |
//! | 02 | client | test, seconds, padding | send me such a probe after so many seconds, whether or not I am still here |
//! | 11 | server | token (16 bytes), address, addresses of places | names your probes; you are seen at this address |
//! | 12 | server | test, place, address | a probe of yours came to this place from this address |
//! | 13 | server | test | the probe is sent, or will be |
//! | 14 | server | test, reason, seconds | refused, as a rendezvous server refuses ([reasons](crate#the-protocol-rtmfp-meet1)) |
//!
//! Places are numbered from 1 in the order in which message 11 has them. Place 0 is the socket that the session goes
//! through; in message 12 it is also any other socket that is no place. A place whose IP address is unspecified has the
//! server's own, at which the client reached it.
//!
//! A probe goes to the address that the session proves, and nowhere else. Messages 01 and 02 are padded to
//! [`MIN_REQUEST`] bytes, so that no probe is longer than the packet that asks for it. How many
//! there are is limited for each source and in all.

mod bounds;
mod doctor;
mod findings;
mod incomplete;
mod lifetime;
mod meeting;
mod message;
mod name;
mod places;
mod server;
mod waiting;

pub use bounds::{Behaviour, Bounds};
pub use doctor::Doctor;
pub use findings::{Findings, KeptFor, PortMapping, Report};
pub use incomplete::Incomplete;
pub use lifetime::Lifetime;
pub use meeting::{How, Reason, Verdict, will_meet};
pub use message::{METADATA, MIN_REQUEST, ProbeReply, ProbeRequest};
pub use name::{ProbeName, Token, is_probe};
pub use server::{ProbeEvent, ProbeLimits, ProbePlace, ProbeService};
