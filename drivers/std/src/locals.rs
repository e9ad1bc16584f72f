//! The local addresses of an endpoint: its pump writes them, and its handles read them.

use core::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rtmfp_core::InterfaceId;

/// The address of each interface, in their order. None: the interface was removed.
#[derive(Debug, Default)]
pub(crate) struct Locals(Mutex<Vec<Option<SocketAddr>>>);

impl Locals {
    pub(crate) fn new(addresses: Vec<SocketAddr>) -> Self {
        Self(Mutex::new(addresses.into_iter().map(Some).collect()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<SocketAddr>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces all.
    pub(crate) fn set(&self, addresses: impl Iterator<Item = Option<SocketAddr>>) {
        let mut locals = self.lock();
        locals.clear();
        locals.extend(addresses);
    }

    pub(crate) fn get(&self, interface: InterfaceId) -> Option<SocketAddr> {
        self.lock().get(usize::from(interface.0)).copied().flatten()
    }

    /// The interfaces that there are.
    pub(crate) fn list(&self) -> Vec<(InterfaceId, SocketAddr)> {
        let interfaces = (0..=u16::MAX).map(InterfaceId);
        interfaces.zip(&*self.lock()).filter_map(|(id, local)| Some((id, (*local)?))).collect()
    }
}
