//! A port of the gateway, kept by a thread: PCP and NAT-PMP by the state machine of `rtmfp-meet`, and UPnP.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::thread::JoinHandle;

use async_channel::{Receiver, Sender};
use async_io::{Async, Timer};
use blocking::{Task, unblock};
use futures_lite::future;
use rtmfp_core::Instant;
use rtmfp_meet::mapping::{GATEWAY_PORT, MappingEvent, PortMapper, Protocol, Refusal};
use rtmfp_std::Clock;

use crate::gateway::default_gateway;
use crate::upnp::{LEASE, Lease};

/// UPnP begins so long after the others: it is slower, and need not be asked where they work.
const UPNP_DELAY: Duration = Duration::from_millis(1_500);
/// After a failure it is tried again after so long.
const PAUSE: Duration = Duration::from_secs(900);
/// How long giving back a port may take.
const RETURNING: Duration = Duration::from_secs(3);
/// No message of a gateway is longer (RFC 6887 §7).
const LONGEST: usize = 1_100;

/// What mapped a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MappedBy {
    /// The Port Control Protocol (RFC 6887).
    Pcp,
    /// NAT-PMP (RFC 6886).
    NatPmp,
    /// UPnP's Internet Gateway Device.
    Upnp,
}

impl fmt::Display for MappedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        })
    }
}

/// Why the gateway forwards no port.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NoMapping {
    /// The host has no gateway for IPv4.
    NoGateway,
    /// The host's own address can be reached from outside, as far as the address tells: there is nothing to map.
    NotNeeded(Ipv4Addr),
    /// The gateway does not do it.
    Refused {
        /// By PCP and NAT-PMP.
        gateway: Refusal,
        /// By UPnP.
        upnp: String,
    },
    /// The system does not let this program ask.
    System(io::ErrorKind),
}

impl fmt::Display for NoMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGateway => f.write_str("there is no gateway"),
            Self::NotNeeded(own) => write!(f, "the host's address {own} needs no mapping"),
            Self::Refused { gateway, upnp } => write!(f, "{gateway}; UPnP: {upnp}"),
            Self::System(kind) => write!(f, "the gateway could not be asked: {kind}"),
        }
    }
}

/// What has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PortChange {
    /// The port can be reached from outside at this address, as the gateway says.
    Mapped {
        /// The address.
        external: SocketAddr,
        /// What mapped it.
        by: MappedBy,
    },
    /// It cannot, or no longer. It is tried again every quarter of an hour, and after
    /// [`network_changed`](PortMapping::network_changed).
    Unmapped(NoMapping),
}

#[derive(Debug)]
enum Command {
    NetworkChanged,
    End,
}

/// Has the gateway forward a port to this host, for IPv4. It is renewed while this lives, and given back when it is dropped,
/// which takes three seconds at most.
#[must_use = "the port is given back when this is dropped"]
#[derive(Debug)]
pub struct PortMapping {
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl PortMapping {
    /// Asks for the UDP port of a socket that is bound to it. `tell` is called on a thread of this mapping, at first and
    /// after each change. It should return soon.
    ///
    /// # Errors
    /// If the system gives no thread or no randomness.
    pub fn new(port: u16, tell: impl FnMut(PortChange) + Send + 'static) -> io::Result<Self> {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
        let (commands, receiver) = async_channel::bounded(4);
        let keeper = Keeper { port, nonce, clock: Clock::new(), tell: Box::new(tell), told: None };
        let work = move || future::block_on(keeper.run(receiver));
        let thread = std::thread::Builder::new().name("rtmfp-port".to_owned()).spawn(work)?;
        Ok(Self { commands, thread: Some(thread) })
    }

    /// The host has other addresses or another gateway: everything is asked anew.
    pub fn network_changed(&self) {
        // If the queue is full, it is asked anew anyway.
        let _ = self.commands.try_send(Command::NetworkChanged);
    }
}

impl Drop for PortMapping {
    fn drop(&mut self) {
        let _ = self.commands.send_blocking(Command::End);
        if let Some(thread) = self.thread.take() {
            // It has told what it panicked with.
            let _ = thread.join();
        }
    }
}

fn is_end(command: Command) -> bool {
    matches!(command, Command::End)
}

/// What there is to do next.
enum Turn {
    Datagram(usize),
    Time,
    Upnp(Result<Lease, String>),
    Command(Command),
    /// "Port unreachable" of a gateway that knows neither protocol: time tells.
    SocketError,
}

/// What UPnP does.
enum Upnp {
    Waiting(Instant),
    Working(Task<Result<Lease, String>>),
    Held { lease: Lease, renew: Instant },
}

struct Keeper {
    port: u16,
    nonce: [u8; 12],
    clock: Clock,
    tell: Box<dyn FnMut(PortChange) + Send>,
    told: Option<PortChange>,
}

/// What is asked of one gateway.
struct Asking {
    socket: Async<UdpSocket>,
    internal: SocketAddr,
    mapper: PortMapper,
    by_gateway: Option<MappedBy>,
    refusal: Option<Refusal>,
    upnp: Upnp,
    upnp_failure: Option<String>,
}

impl Keeper {
    async fn run(mut self, commands: Receiver<Command>) {
        loop {
            let command = match self.begin() {
                Ok(asking) => self.keep(asking, &commands).await,
                Err(why) => {
                    self.change(PortChange::Unmapped(why));
                    let command = async { commands.recv().await.unwrap_or(Command::End) };
                    let time = async {
                        let _ = Timer::after(PAUSE).await;
                        Command::NetworkChanged
                    };
                    future::or(command, time).await
                }
            };
            // Changes that came meanwhile are one with this.
            if is_end(command) || core::iter::from_fn(|| commands.try_recv().ok()).any(is_end) {
                return;
            }
        }
    }

    fn begin(&self) -> Result<Asking, NoMapping> {
        let gateway = default_gateway().ok_or(NoMapping::NoGateway)?;
        let system = |error: io::Error| NoMapping::System(error.kind());
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(system)?;
        // Connected: the system drops what comes from elsewhere, and tells which address the gateway sees.
        socket.connect((gateway, GATEWAY_PORT)).map_err(system)?;
        let IpAddr::V4(own) = socket.local_addr().map_err(system)?.ip() else { return Err(NoMapping::NoGateway) };
        if !is_inside(own) {
            return Err(NoMapping::NotNeeded(own));
        }
        let socket = Async::new(socket).map_err(system)?;
        let (now, internal) = (self.clock.now(), SocketAddr::new(IpAddr::V4(own), self.port));
        let mapper = PortMapper::new(now, internal, self.nonce);
        let upnp = Upnp::Waiting(now + UPNP_DELAY);
        Ok(Asking { socket, internal, mapper, by_gateway: None, refusal: None, upnp, upnp_failure: None })
    }

    /// Keeps a port until a command ends that.
    async fn keep(&mut self, mut asking: Asking, commands: &Receiver<Command>) -> Command {
        let mut buffer = [0; LONGEST];
        loop {
            // What could not be sent is as good as lost: the mapper asks again, and in the end tells of silence.
            let _ = asking.flush().await;
            self.report(&asking);
            let turn = asking.wait(self.clock, &mut buffer, commands).await;
            let now = self.clock.now();
            match turn {
                Turn::Datagram(length) => asking.mapper.on_datagram(now, buffer.get(..length).unwrap_or_default()),
                Turn::Time => asking.on_time(now),
                Turn::Upnp(result) => asking.on_upnp(now, result),
                Turn::Command(command) => {
                    asking.end().await;
                    return command;
                }
                Turn::SocketError => {}
            }
            asking.read_events();
        }
    }

    fn report(&mut self, asking: &Asking) {
        let held = match &asking.upnp {
            Upnp::Held { lease, .. } => Some((lease.external, MappedBy::Upnp)),
            Upnp::Waiting(_) | Upnp::Working(_) => None,
        };
        let mapped = asking.mapper.external().zip(asking.by_gateway).or(held);
        match (mapped, asking.refusal, &asking.upnp_failure) {
            (Some((external, by)), _, _) => self.change(PortChange::Mapped { external, by }),
            (None, Some(gateway), Some(upnp)) => {
                self.change(PortChange::Unmapped(NoMapping::Refused { gateway, upnp: upnp.clone() }));
            }
            (None, _, _) => {}
        }
    }

    fn change(&mut self, change: PortChange) {
        if self.told.as_ref() != Some(&change) {
            self.told = Some(change.clone());
            (self.tell)(change);
        }
    }
}

impl Asking {
    async fn flush(&mut self) -> io::Result<()> {
        while let Some(message) = self.mapper.poll_transmit() {
            self.socket.send(&message).await?;
        }
        Ok(())
    }

    fn read_events(&mut self) {
        while let Some(event) = self.mapper.poll_event() {
            match event {
                MappingEvent::Mapped { by, .. } => {
                    self.by_gateway = match by {
                        Protocol::Pcp => Some(MappedBy::Pcp),
                        Protocol::NatPmp => Some(MappedBy::NatPmp),
                        _ => None,
                    };
                    self.refusal = None;
                }
                MappingEvent::Unmapped(refusal) => (self.by_gateway, self.refusal) = (None, Some(refusal)),
                _ => {}
            }
        }
    }

    async fn wait(&mut self, clock: Clock, buffer: &mut [u8], commands: &Receiver<Command>) -> Turn {
        let upnp_due = match &self.upnp {
            Upnp::Waiting(until) | Upnp::Held { renew: until, .. } => Some(*until),
            Upnp::Working(_) => None,
        };
        let due = self.mapper.next_timeout().into_iter().chain(upnp_due).min();
        let time = async {
            match due.and_then(|due| clock.to_system(due)) {
                Some(due) => {
                    let _ = Timer::at(due).await;
                }
                None => future::pending().await,
            }
            Turn::Time
        };
        let upnp = async {
            match &mut self.upnp {
                Upnp::Working(task) => Turn::Upnp(task.await),
                Upnp::Waiting(_) | Upnp::Held { .. } => future::pending().await,
            }
        };
        let datagram = async { self.socket.recv(buffer).await.map_or(Turn::SocketError, Turn::Datagram) };
        let command = async { Turn::Command(commands.recv().await.unwrap_or(Command::End)) };
        future::or(command, future::or(future::or(datagram, upnp), time)).await
    }

    fn on_time(&mut self, now: Instant) {
        self.mapper.on_timeout(now);
        let internal = self.internal;
        self.upnp = match core::mem::replace(&mut self.upnp, Upnp::Waiting(now + PAUSE)) {
            Upnp::Waiting(until) if until > now => Upnp::Waiting(until),
            // The gateway has mapped the port: there is nothing for UPnP to do as long as it does.
            Upnp::Waiting(_) if self.mapper.external().is_some() => Upnp::Waiting(now + PAUSE),
            Upnp::Waiting(_) => Upnp::Working(unblock(move || Lease::take(internal))),
            Upnp::Held { lease, renew } if renew <= now => Upnp::Working(unblock(move || lease.renew())),
            other @ (Upnp::Held { .. } | Upnp::Working(_)) => other,
        };
    }

    fn on_upnp(&mut self, now: Instant, result: Result<Lease, String>) {
        self.upnp = match result {
            // The gateway has answered in the meantime, by the protocol that is simpler.
            Ok(lease) if self.mapper.external().is_some() => {
                unblock(move || lease.end()).detach();
                Upnp::Waiting(now + PAUSE)
            }
            Ok(lease) => {
                self.upnp_failure = None;
                Upnp::Held { lease, renew: now + LEASE / 2 }
            }
            Err(failure) => {
                self.upnp_failure = Some(failure);
                Upnp::Waiting(now + PAUSE)
            }
        };
    }

    /// Gives back what is held.
    async fn end(mut self) {
        self.mapper.release();
        // What is not given back ends with its lease.
        let _ = self.flush().await;
        let return_it = async {
            let lease = match self.upnp {
                Upnp::Held { lease, .. } => Some(lease),
                Upnp::Working(task) => task.await.ok(),
                Upnp::Waiting(_) => None,
            };
            if let Some(lease) = lease {
                let _ = unblock(move || lease.end()).await;
            }
        };
        let too_long = async {
            let _ = Timer::after(RETURNING).await;
        };
        future::or(return_it, too_long).await;
    }
}

/// Whether an address is one of a network inside a gateway: private, or shared by a provider's customers (RFC 6598).
fn is_inside(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    ip.is_private() || (first == 100 && second & 0xc0 == 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_are_told_from_those_outside() {
        for inside in [[10, 1, 2, 3], [172, 31, 0, 1], [192, 168, 0, 1], [100, 64, 0, 1], [100, 127, 255, 255]] {
            assert!(is_inside(inside.into()), "{inside:?}");
        }
        for outside in [[100, 128, 0, 1], [100, 63, 0, 1], [8, 8, 8, 8], [127, 0, 0, 1], [169, 254, 0, 1]] {
            assert!(!is_inside(outside.into()), "{outside:?}");
        }
    }
}
