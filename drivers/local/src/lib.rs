//! What the local network offers to programs that want to be reached.
//!
//! - [`PortMapping`] has the gateway forward a port to this host, as long as the handle lives: by PCP (RFC 6887), NAT-PMP
//!   (RFC 6886) or UPnP, whichever the gateway knows. The address is one more at which peers can try.
//! - [`Announcement`] and [`Search`] let programs of one network find each other by mDNS (RFC 6762), without a server.
//!
//! Both work with either driver: they have threads of their own, and tell by a callback or a future.
#![deny(missing_docs)]

#[cfg(feature = "port-mapping")]
mod gateway;
#[cfg(feature = "lan")]
mod lan;
#[cfg(feature = "port-mapping")]
mod mapping;
#[cfg(feature = "port-mapping")]
#[cfg_attr(not(feature = "upnp"), path = "upnp/absent.rs")]
mod upnp;

#[cfg(feature = "lan")]
pub use lan::{Announcement, Found, LanError, SERVICE, Search};
#[cfg(feature = "port-mapping")]
pub use mapping::{MappedBy, NoMapping, PortChange, PortMapping};
