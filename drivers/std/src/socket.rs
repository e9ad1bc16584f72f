//! A bound UDP socket with what the kernel can do for it.

use core::net::SocketAddr;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use quinn_udp::UdpSocketState;
use socket2::{Domain, Protocol, Type};

use crate::outgoing::Outgoing;

/// Asked of the kernel for either direction. Common defaults (208 KiB) overflow in a burst; kernels cap this at what
/// they allow.
const BUFFER_BYTES: usize = 4 << 20;

/// A non-blocking UDP socket: segmented sends, coalesced receives and ECN marks where the kernel has them, large
/// buffers.
#[derive(Debug)]
pub struct Socket {
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) state: UdpSocketState,
    local: SocketAddr,
    pub(crate) outgoing: Outgoing,
    /// Pretends that it has failed.
    #[cfg(test)]
    pub(crate) failing: bool,
}

impl Socket {
    /// Binds to an address; port 0 lets the system choose. An IPv6 socket carries IPv6 only.
    ///
    /// # Errors
    /// As the system tells: the address is not of this machine, the port is taken or needs privileges.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // Otherwise IPv4 peers would show up as mapped addresses, which RTMFP would tell to others.
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        Self::from_std(socket.into())
    }

    /// Takes over a bound socket.
    ///
    /// # Errors
    /// As the system tells, if the socket cannot be set up.
    pub fn from_std(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        // The socket works with less, only worse: a refusal is no error.
        for bytes in [BUFFER_BYTES, BUFFER_BYTES / 2, BUFFER_BYTES / 8] {
            if state.set_recv_buffer_size((&socket).into(), bytes).is_ok() {
                break;
            }
        }
        for bytes in [BUFFER_BYTES, BUFFER_BYTES / 2, BUFFER_BYTES / 8] {
            if state.set_send_buffer_size((&socket).into(), bytes).is_ok() {
                break;
            }
        }
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        Ok(Self {
            socket: Arc::new(socket),
            state,
            local,
            outgoing: Outgoing::default(),
            #[cfg(test)]
            failing: false,
        })
    }

    /// The address that it is bound to, with the port that the system chose.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Whether it has all addresses of this machine.
    pub(crate) const fn is_wildcard(&self) -> bool {
        self.local.ip().is_unspecified()
    }

    /// The socket itself, to wait on.
    #[must_use]
    pub const fn std_socket(&self) -> &Arc<UdpSocket> {
        &self.socket
    }
}
