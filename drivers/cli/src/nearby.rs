//! What the local network offers: a port of the gateway, and far ends that need no server.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, channel};

use rtmfp_core::Instant;
use rtmfp_core::profile::Fingerprint;
use rtmfp_local::{Announcement, LanError, MappedBy, NoMapping, PortChange, PortMapping, Search};
use rtmfp_meet::probe::PortMapping as PortMappingKind;
use rtmfp_std::{Clock, Driver};

use crate::failure::{Code, Failure};
use crate::json::Line;
use crate::net::{Interrupt, local_addresses};
use crate::report::Report;

/// How long a gateway may take before this end goes on without it. Those that know PCP take some milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// Addresses at which somebody is tried who is announced in this network.
const MAX_ADDRESSES: usize = 16;
/// How often an interrupt is looked for, and how long after one announcement another may come.
const TICK: Duration = Duration::from_millis(200);

/// A port that the gateway forwards to this end, as long as this lives.
#[derive(Debug)]
pub struct ForwardedPort {
    _mapping: PortMapping,
    changes: Receiver<PortChange>,
    external: Option<SocketAddr>,
}

impl ForwardedPort {
    /// Asks the gateway for the port of the driver's IPv4 socket, and waits a second for it. What comes later is a
    /// [change](Self::take_change). It is to be done before this end says anything: the gateway uses another port for what began before.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn of(driver: &Driver, report: &mut Report) -> Result<Option<Self>, Failure> {
        let Some(local) = local_addresses(driver).into_iter().find(SocketAddr::is_ipv4) else { return Ok(None) };
        let waker = driver.waker();
        let mut forwarded = Self::begin(local.port(), move || waker.wake())?;
        if let Ok(change) = forwarded.changes.recv_timeout(PATIENCE) {
            show(&change, report);
            forwarded.note(&change);
        }
        Ok(Some(forwarded))
    }

    fn begin(port: u16, wake: impl Fn() + Send + 'static) -> Result<Self, Failure> {
        let (sender, changes) = channel();
        let tell = move |change| {
            // Nobody listens any more if it is not taken.
            let _ = sender.send(change);
            wake();
        };
        let mapping = PortMapping::new(port, tell).map_err(|e| Failure::local("the gateway", e))?;
        Ok(Self { _mapping: mapping, changes, external: None })
    }

    /// The port outside, while there is one. It is for the server to tell others.
    #[must_use]
    pub const fn external(&self) -> Option<SocketAddr> {
        self.external
    }

    /// What has changed since the last call.
    pub fn take_change(&mut self) -> Option<PortChange> {
        let change = self.changes.try_recv().ok()?;
        self.note(&change);
        Some(change)
    }

    const fn note(&mut self, change: &PortChange) {
        self.external = if let PortChange::Mapped { external, .. } = change { Some(*external) } else { None };
    }
}

/// Shows a change.
pub fn show(change: &PortChange, report: &mut Report) {
    match change {
        PortChange::Mapped { external, by } => report.either(
            || Line::new("port").text("external", &external.to_string()).text("by", &by.to_string()),
            || format!("port: the gateway forwards {external} to this end, by {by}"),
        ),
        PortChange::Unmapped(why) => report.either(
            || Line::new("port").text("error", &why.to_string()),
            || format!("port: the gateway forwards none to this end: {why}"),
        ),
        _ => {}
    }
}

/// Whether the gateway forwards ports: it is asked for one that nobody uses, which is given back.
#[derive(Debug)]
pub struct GatewayTest {
    forwarded: ForwardedPort,
    _socket: UdpSocket,
    begun: Instant,
    clock: Clock,
}

/// Who has not answered by then is taken for silent.
const SILENCE: Duration = Duration::from_secs(4);

impl GatewayTest {
    /// Begins to ask.
    ///
    /// # Errors
    /// If the system gives no socket or no thread.
    pub fn begin() -> Result<Self, Failure> {
        let gateway = |e| Failure::local("the gateway", e);
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(gateway)?;
        let forwarded = ForwardedPort::begin(socket.local_addr().map_err(gateway)?.port(), || {})?;
        let clock = Clock::new();
        Ok(Self { forwarded, _socket: socket, begun: clock.now(), clock })
    }

    /// Waits for what the gateway says, four seconds after the beginning at most: one that is there answers in less. `None` if there is none that would
    /// have to forward anything.
    #[must_use]
    pub fn end(self) -> Option<PortMappingKind> {
        let wait = self.clock.until(self.begun + SILENCE);
        match self.forwarded.changes.recv_timeout(wait) {
            Ok(PortChange::Mapped { by, .. }) => match by {
                MappedBy::Pcp => Some(PortMappingKind::Pcp),
                MappedBy::NatPmp => Some(PortMappingKind::NatPmp),
                MappedBy::Upnp => Some(PortMappingKind::Upnp),
                _ => None,
            },
            Ok(PortChange::Unmapped(NoMapping::Refused { .. })) | Err(_) => Some(PortMappingKind::Unavailable),
            Ok(_) => None,
        }
    }
}

/// Announces in this host's networks that whoever has this fingerprint is here, as long as the announcements live.
///
/// # Errors
/// If there is no socket for multicast.
pub fn announce(own: &Fingerprint, driver: &Driver) -> Result<Vec<Announcement>, Failure> {
    announce_topic(own.as_bytes(), driver).map_err(|e| Failure::local("--nearby", e))
}

/// The same of whatever the topic means.
///
/// # Errors
/// If there is no socket for multicast.
pub fn announce_topic(topic: &[u8], driver: &Driver) -> Result<Vec<Announcement>, LanError> {
    let ports: BTreeSet<u16> = local_addresses(driver).iter().map(SocketAddr::port).collect();
    ports.into_iter().map(|port| Announcement::new(topic, port)).collect()
}

/// Where somebody with this fingerprint is, in this host's networks.
///
/// # Errors
/// If nobody answers for so long, or the user interrupts.
pub fn find(whom: &Fingerprint, wait: Duration, driver: &Driver) -> Result<Vec<SocketAddr>, Failure> {
    let search = Search::new(whom.as_bytes()).map_err(|e| Failure::local("--nearby", e))?;
    let interrupted = Interrupt::watch(driver.waker())?;
    let begun = driver.pump().clock().now();
    let mut addresses = Vec::new();
    loop {
        let found = search.next_within(TICK);
        // Whoever heard one announcement can repeat it with addresses of its own, so others are waited for a little.
        if found.is_none() && !addresses.is_empty() || addresses.len() >= MAX_ADDRESSES {
            return Ok(addresses);
        }
        for address in found.into_iter().flat_map(|found| found.addresses) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if interrupted.is_set() {
            return Err(Failure::interrupted());
        }
        if driver.pump().clock().now().saturating_duration_since(begun) >= wait {
            let message = format!(
                "nobody in this network announces {whom}: run `rtmfp echo --nearby` there, or name a server with --via"
            );
            return Err(Failure::new(Code::NotOpened, message));
        }
    }
}
