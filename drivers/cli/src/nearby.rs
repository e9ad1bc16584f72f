//! What the local network offers: a port of the gateway, and far ends that need no server.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};

use rtmfp_core::profile::Fingerprint;
use rtmfp_local::{Announcement, PortChange, PortMapping, Search};
use rtmfp_std::Driver;

use crate::failure::{Code, Failure};
use crate::json::Line;
use crate::net::{Interrupt, local_addresses};
use crate::report::Report;

/// How long a gateway may take before this end goes on without it. Those that know PCP take some milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often an interrupt is looked for.
const TICK: Duration = Duration::from_millis(200);

/// A port that the gateway forwards to this end, as long as this lives.
#[derive(Debug)]
pub struct ForwardedPort {
    _mapping: PortMapping,
    changes: Receiver<PortChange>,
}

impl ForwardedPort {
    /// Asks the gateway for the port of the driver's IPv4 socket, and waits a second for it. What comes later is [shown]
    /// later. It is to be done before this end says anything: the gateway uses another port for what began before.
    ///
    /// [shown]: Self::show
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn of(driver: &Driver, report: &mut Report) -> Result<Option<Self>, Failure> {
        let Some(local) = local_addresses(driver).into_iter().find(SocketAddr::is_ipv4) else { return Ok(None) };
        let (sender, changes) = channel();
        let tell = move |change| drop(sender.send(change));
        let mapping = PortMapping::new(local.port(), tell).map_err(|e| Failure::local("the gateway", e))?;
        let forwarded = Self { _mapping: mapping, changes };
        if let Ok(change) = forwarded.changes.recv_timeout(PATIENCE) {
            show(&change, report);
        }
        Ok(Some(forwarded))
    }

    /// Shows what has changed.
    pub fn show(&self, report: &mut Report) {
        self.changes.try_iter().for_each(|change| show(&change, report));
    }
}

fn show(change: &PortChange, report: &mut Report) {
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

/// Announces in this host's networks that whoever has this fingerprint is here, as long as the announcements live.
///
/// # Errors
/// If there is no socket for multicast.
pub fn announce(own: &Fingerprint, driver: &Driver) -> Result<Vec<Announcement>, Failure> {
    let ports: BTreeSet<u16> = local_addresses(driver).iter().map(SocketAddr::port).collect();
    let announced = ports.into_iter().map(|port| Announcement::new(own.as_bytes(), port));
    announced.collect::<Result<_, _>>().map_err(|e| Failure::local("--nearby", e))
}

/// Where somebody with this fingerprint is, in this host's networks.
///
/// # Errors
/// If nobody answers for so long, or the user interrupts.
pub fn find(whom: &Fingerprint, wait: Duration, driver: &Driver) -> Result<Vec<SocketAddr>, Failure> {
    let search = Search::new(whom.as_bytes()).map_err(|e| Failure::local("--nearby", e))?;
    let interrupted = Interrupt::watch(driver.waker())?;
    let begun = driver.pump().clock().now();
    loop {
        if let Some(found) = search.next_within(TICK) {
            return Ok(found.addresses);
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
