//! This program is built without UPnP.

use core::net::SocketAddr;
use core::time::Duration;

pub(crate) const LEASE: Duration = Duration::from_secs(3_600);

/// A port that is held: never.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) external: SocketAddr,
}

impl Lease {
    pub(crate) fn take(_: SocketAddr) -> Result<Self, String> {
        Err("this program is built without it".to_owned())
    }

    pub(crate) fn renew(self) -> Result<Self, String> {
        Ok(self)
    }

    pub(crate) fn end(self) -> Result<(), String> {
        Ok(())
    }
}
