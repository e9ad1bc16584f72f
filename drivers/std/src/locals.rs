//! The local addresses of an endpoint: its pump writes them, and its handles read them.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rtmfp_core::InterfaceId;

/// What is known of this end's addresses.
#[derive(Debug, Default)]
pub(crate) struct Locals {
    /// The address of each interface, in their order. None: the interface was removed.
    interfaces: Mutex<Vec<Option<SocketAddr>>>,
    /// Those of the machine, as far as the system lists them.
    machine: Mutex<Vec<IpAddr>>,
    version: AtomicU64,
}

impl Locals {
    pub(crate) fn new(addresses: Vec<SocketAddr>) -> Self {
        Self { interfaces: Mutex::new(addresses.into_iter().map(Some).collect()), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<SocketAddr>>> {
        self.interfaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces all.
    pub(crate) fn set(&self, addresses: impl Iterator<Item = Option<SocketAddr>>) {
        let mut locals = self.lock();
        locals.clear();
        locals.extend(addresses);
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// Replaces those of the machine. Whether they are others.
    pub(crate) fn set_machine(&self, addresses: Vec<IpAddr>) -> bool {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *machine != addresses;
        *machine = addresses;
        drop(machine);
        self.version.fetch_add(u64::from(changed), Ordering::Relaxed);
        changed
    }

    /// Changes with each change of addresses.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Where each socket is reached from this network: not on the machine alone, nor by a link that has to be named.
    pub(crate) fn local_candidates(&self) -> Vec<SocketAddr> {
        let bound: Vec<SocketAddr> = self.list().into_iter().map(|(_, local)| local).collect();
        let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        crate::addresses::candidates(&bound, &machine)
    }

    /// The addresses that packets to this end may have: of an interface that has all of the machine's, those.
    pub(crate) fn own(&self) -> Vec<IpAddr> {
        let bound: Vec<SocketAddr> = self.list().into_iter().map(|(_, local)| local).collect();
        let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let of_wildcard = |local: &SocketAddr| {
            let all =
                machine.iter().copied().filter(|ip| local.ip().is_unspecified() && ip.is_ipv4() == local.is_ipv4());
            all.collect::<Vec<_>>()
        };
        let named = bound.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified());
        named.chain(bound.iter().flat_map(of_wildcard)).collect()
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
