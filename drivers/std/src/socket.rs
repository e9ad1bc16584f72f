//! A bound UDP socket with what the kernel can do for it.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use quinn_udp::UdpSocketState;
use rtmfp_core::Instant;
use socket2::SockRef;

use crate::outgoing::Outgoing;

mod error_queue;
mod options;
mod overflow;

use options::{Options, asked};

/// A socket has failed after receive errors in so many turns in a row, if they have lasted for [`ERRORS_LAST`] too: a
/// shortage of memory may pass. Those that tell of an earlier datagram do not count: they end with what was sent.
const MAX_ERRORS: u32 = 16;
const ERRORS_LAST: Duration = Duration::from_secs(1);

/// After the first of these errors nothing is received for this long, and then for twice as long each time.
const RETRY_MIN: Duration = Duration::from_millis(1);
const RETRY_MAX: Duration = Duration::from_millis(100);

/// A non-blocking UDP socket: segmented sends, coalesced receives and ECN marks where the kernel has them, large
/// buffers.
#[derive(Debug)]
pub struct Socket {
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) state: UdpSocketState,
    pub(crate) outgoing: Outgoing,
    /// Where it is bound, and how it was set when it was taken over.
    binding: Binding,
    /// Receive errors in a row that say nothing of a datagram.
    pub(crate) receive_errors: Option<ReceiveErrors>,
    /// Receive calls in a row that found nothing.
    empty_calls: u32,
    /// What every receive call is to fail with.
    #[cfg(test)]
    pub(crate) failing: Option<io::ErrorKind>,
    /// What the errors of receive calls are told as.
    #[cfg(test)]
    pub(crate) renamed: Option<io::ErrorKind>,
}

/// Where a socket is bound and how it is set: enough to bind another in its place.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) address: SocketAddr,
    /// The system chose the port: another does as well.
    pub(crate) any_port: bool,
    options: Options,
}

impl Binding {
    /// A socket that is bound and set so.
    ///
    /// # Errors
    /// As the system tells.
    pub(crate) fn bind(&self) -> io::Result<Socket> {
        let socket = self.options.bind(self.address)?;
        Socket::new(socket.into(), self.any_port)
    }

    /// The same at a port that the system chooses.
    ///
    /// # Errors
    /// As the system tells.
    pub(crate) fn bind_elsewhere(&self) -> io::Result<Socket> {
        let mut elsewhere = self.clone();
        elsewhere.address.set_port(0);
        elsewhere.bind()
    }
}

/// Receive errors in a row that say nothing of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveErrors {
    in_a_row: u32,
    since: Instant,
    /// Nothing is received before. The system may call the socket readable all the while.
    pub(crate) retry: Instant,
}

impl ReceiveErrors {
    /// None yet.
    pub(crate) const fn since(now: Instant) -> Self {
        Self { in_a_row: 0, since: now, retry: now }
    }

    /// Adds one, and tells whether they are the failure of their socket.
    pub(crate) fn add(&mut self, now: Instant) -> bool {
        let wait = RETRY_MIN.saturating_mul(2_u32.saturating_pow(self.in_a_row));
        self.retry = now + wait.min(RETRY_MAX);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.in_a_row >= MAX_ERRORS && now.saturating_duration_since(self.since) >= ERRORS_LAST
    }
}

impl Socket {
    /// Asked of the system for either direction, if it has given less: 4 MiB. Common defaults (208 KiB) overflow in a burst.
    /// Systems grant no more than they allow.
    pub const BUFFER_BYTES: usize = 4 << 20;

    /// Binds to an address; port 0 lets the system choose. An IPv6 socket carries IPv6 only.
    ///
    /// # Errors
    /// As the system tells: the address is not of this machine, the port is taken or needs privileges.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        // Otherwise IPv4 peers would show up as mapped addresses, which RTMFP would tell to others.
        Binding { address, any_port: address.port() == 0, options: Options::plain() }.bind()
    }

    /// Takes over a bound socket. A buffer of less than 4 MiB is set to that, or to what the system allows. So on Linux one
    /// that a privilege made larger than `net.core.rmem_max` or `wmem_max` allows is made smaller, if it has less than
    /// 4 MiB: give it that much, or set it again through [`std_socket`](Self::std_socket).
    ///
    /// If it fails later, another takes its place: at the same address and port, and set the same as far as the system
    /// tells how the first was set when it is closed. These are kept:
    ///
    /// - the sizes of the buffers, and the hop limit;
    /// - whether an IPv6 socket carries IPv6 only, whether addresses and ports are shared, and whether it may broadcast;
    /// - on Linux its device, its mark, and leave to bind to an address that is not there.
    ///
    /// Packet filters, groups that it has joined, and all other options are not.
    ///
    /// On Linux it may keep a queue of errors (`IP_RECVERR`, `IPV6_RECVERR`). The driver empties that, and does not need what
    /// it says.
    ///
    /// # Errors
    /// As the system tells, if the socket cannot be set up.
    pub fn from_std(socket: UdpSocket) -> io::Result<Self> {
        Self::new(socket, false)
    }

    fn new(socket: UdpSocket, any_port: bool) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        // The socket works with less, only worse: a refusal is no error.
        for bytes in [Self::BUFFER_BYTES, Self::BUFFER_BYTES / 2, Self::BUFFER_BYTES / 8] {
            let enough = state.recv_buffer_size((&socket).into()).is_ok_and(|has| asked(has) >= bytes);
            if enough || state.set_recv_buffer_size((&socket).into(), bytes).is_ok() {
                break;
            }
        }
        for bytes in [Self::BUFFER_BYTES, Self::BUFFER_BYTES / 2, Self::BUFFER_BYTES / 8] {
            let enough = state.send_buffer_size((&socket).into()).is_ok_and(|has| asked(has) >= bytes);
            if enough || state.set_send_buffer_size((&socket).into(), bytes).is_ok() {
                break;
            }
        }
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let options = Options::of(&SockRef::from(&socket), address);
        Ok(Self {
            socket: Arc::new(socket),
            state,
            outgoing: Outgoing::default(),
            binding: Binding { address, any_port, options },
            receive_errors: None,
            empty_calls: 0,
            #[cfg(test)]
            failing: None,
            #[cfg(test)]
            renamed: None,
        })
    }

    /// What it takes to bind another in its place. The program may have set it otherwise since it was taken over.
    pub(crate) fn binding(&self) -> Binding {
        let options = Options::of(&SockRef::from(&*self.socket), self.binding.address);
        // One that is broken tells nothing.
        if options.is_empty() { self.binding.clone() } else { Binding { options, ..self.binding.clone() } }
    }

    /// The address that it is bound to, with the port that the system chose.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.binding.address
    }

    /// The bytes that the system grants now for what is received, of 4 MiB that were asked for; 0 if it does not tell. On
    /// Linux `net.core.rmem_max` limits it.
    #[must_use]
    pub fn recv_buffer(&self) -> usize {
        SockRef::from(&*self.socket).recv_buffer_size().map_or(0, asked)
    }

    /// The bytes that the system grants now for what is sent, of 4 MiB that were asked for; 0 if it does not tell. On Linux
    /// `net.core.wmem_max` limits it.
    #[must_use]
    pub fn send_buffer(&self) -> usize {
        SockRef::from(&*self.socket).send_buffer_size().map_or(0, asked)
    }

    /// Whether it has all addresses of this machine.
    pub(crate) const fn is_wildcard(&self) -> bool {
        self.binding.address.ip().is_unspecified()
    }

    /// The socket itself, to wait on.
    #[must_use]
    pub const fn std_socket(&self) -> &Arc<UdpSocket> {
        &self.socket
    }
}
