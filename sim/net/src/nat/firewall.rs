//! A stateful firewall: it rewrites nothing.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use crate::arena::PacketKind;
use crate::fault::DropCause;
use crate::nat::Permits;
use crate::nat::spec::FirewallSpec;
use crate::time::Time;

/// Inside sockets remembered at most; packets of others are lost until the firewall is flushed.
pub(crate) const SOCKETS: usize = 65_536;

/// A firewall at work. Port 0 of the device is the outside, port 1 the inside.
#[derive(Clone, Debug)]
pub(crate) struct Firewall {
    pub(crate) spec: FirewallSpec,
    permits: BTreeMap<SocketAddr, Permits>,
}

impl Firewall {
    pub(crate) const fn new(spec: FirewallSpec) -> Self {
        Self { spec, permits: BTreeMap::new() }
    }

    pub(crate) fn flush(&mut self) {
        self.permits.clear();
    }

    /// Whether a packet may pass.
    ///
    /// # Errors
    /// Why it is lost.
    pub(crate) fn pass(
        &mut self,
        now: Time,
        from_inside: bool,
        (src, dst): (SocketAddr, SocketAddr),
        kind: PacketKind,
    ) -> Result<(), DropCause> {
        if let PacketKind::TooBig { .. } = kind {
            return if self.spec.block_too_big { Err(DropCause::Filtered) } else { Ok(()) };
        }
        if self.spec.block_udp {
            return Err(DropCause::Filtered);
        }
        let until = now + self.spec.timeout;
        let filtering = self.spec.filtering;
        if from_inside {
            if self.permits.len() >= SOCKETS && !self.permits.contains_key(&src) {
                return Err(DropCause::PortsExhausted);
            }
            self.permits.entry(src).or_default().open(now, filtering, dst, until);
            return Ok(());
        }
        let permits = self.permits.get_mut(&dst).ok_or(DropCause::Filtered)?;
        if !permits.is_open(now, filtering, src) {
            return Err(DropCause::Filtered);
        }
        if self.spec.inbound_refresh {
            permits.open(now, filtering, src, until);
        }
        Ok(())
    }
}
