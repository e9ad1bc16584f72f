//! What a socket was set to, to set another the same.

use core::net::SocketAddr;
use std::io;

use socket2::{Domain, Protocol, SockRef, Type};

/// Options of a socket. What the system did not tell is left as it is in a new one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Options {
    only_v6: Option<bool>,
    reuse_address: Option<bool>,
    broadcast: Option<bool>,
    /// In what [`set`](Self::set) is given, which is half of what Linux tells.
    recv_buffer: Option<usize>,
    send_buffer: Option<usize>,
    hops: Option<u32>,
    reuse_port: Option<bool>,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    linux: Linux,
}

/// Those that only Linux has.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Linux {
    /// The name of the device that it is bound to.
    device: Option<Vec<u8>>,
    mark: Option<u32>,
    /// It may be bound to an address that the machine does not have.
    freebind: Option<bool>,
}

/// What was asked for, of the bytes of a buffer that the system tells: Linux doubles them.
pub(super) const fn asked(bytes: usize) -> usize {
    if cfg!(any(target_os = "linux", target_os = "android")) { bytes / 2 } else { bytes }
}

impl Options {
    /// Asks a socket that is bound to `local`.
    pub(crate) fn of(socket: &SockRef<'_>, local: SocketAddr) -> Self {
        let v6 = local.is_ipv6();
        Self {
            only_v6: if v6 { socket.only_v6().ok() } else { None },
            reuse_address: socket.reuse_address().ok(),
            broadcast: if v6 { None } else { socket.broadcast().ok() },
            recv_buffer: socket.recv_buffer_size().ok().map(asked),
            send_buffer: socket.send_buffer_size().ok().map(asked),
            hops: if v6 { socket.unicast_hops_v6() } else { socket.ttl_v4() }.ok(),
            reuse_port: ports::is_shared(socket),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            linux: Linux::of(socket, v6),
        }
    }

    /// Of a socket that carries one family, and nothing else.
    pub(crate) fn plain() -> Self {
        Self { only_v6: Some(true), ..Self::default() }
    }

    /// The system told nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A new socket, bound and set.
    ///
    /// # Errors
    /// As the system tells, if the socket cannot be made, bound, or set to what decides whose datagrams it gets
    /// and which way it sends: `PermissionDenied` for a mark without its privilege. What else the system refuses (a
    /// buffer's size) is left as it is.
    pub(crate) fn bind(&self, address: SocketAddr) -> io::Result<socket2::Socket> {
        let v6 = address.is_ipv6();
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if v6 && let Some(only) = self.only_v6 {
            socket.set_only_v6(only)?;
        }
        if let Some(reuse) = self.reuse_address {
            socket.set_reuse_address(reuse)?;
        }
        if self.reuse_port == Some(true) {
            ports::share(&socket)?;
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        self.linux.set(&socket, v6)?;
        socket.bind(&address.into())?;
        // The socket works with other buffers too, only worse, and without the rest almost as well.
        let _ = self.broadcast.map(|broadcast| socket.set_broadcast(broadcast));
        let _ = self.recv_buffer.map(|bytes| socket.set_recv_buffer_size(bytes));
        let _ = self.send_buffer.map(|bytes| socket.set_send_buffer_size(bytes));
        let _ = self.hops.map(|hops| if v6 { socket.set_unicast_hops_v6(hops) } else { socket.set_ttl_v4(hops) });
        Ok(socket)
    }
}

/// Several sockets at one port.
#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin", target_os = "nuttx"))))]
mod ports {
    use std::io;

    use socket2::{SockRef, Socket};

    pub(super) fn is_shared(socket: &SockRef<'_>) -> Option<bool> {
        socket.reuse_port().ok()
    }

    pub(super) fn share(socket: &Socket) -> io::Result<()> {
        socket.set_reuse_port(true)
    }
}

/// Systems without that.
#[cfg(not(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin", target_os = "nuttx"))
)))]
mod ports {
    use std::io;

    use socket2::{SockRef, Socket};

    pub(super) const fn is_shared(_socket: &SockRef<'_>) -> Option<bool> {
        None
    }

    pub(super) const fn share(_socket: &Socket) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Linux {
    fn of(socket: &SockRef<'_>, v6: bool) -> Self {
        Self {
            device: socket.device().ok().flatten(),
            mark: socket.mark().ok(),
            freebind: if v6 { socket.freebind_v6() } else { socket.freebind_v4() }.ok(),
        }
    }

    fn set(&self, socket: &socket2::Socket, v6: bool) -> io::Result<()> {
        if let Some(device) = &self.device {
            socket.bind_device(Some(device))?;
        }
        if self.freebind == Some(true) {
            if v6 { socket.set_freebind_v6(true)? } else { socket.set_freebind_v4(true)? }
        }
        if let Some(mark) = self.mark.filter(|mark| *mark != 0) {
            socket.set_mark(mark)?;
        }
        Ok(())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that was bound again could be bound no more beside another of the program's, or got IPv4 no more.
    #[test]
    fn a_socket_that_is_bound_again_is_set_as_it_was() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let address: SocketAddr = address.parse().unwrap();
            let first = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).unwrap();
            if address.is_ipv6() {
                first.set_only_v6(false).unwrap();
                first.set_unicast_hops_v6(7).unwrap();
                first.set_freebind_v6(true).unwrap();
            } else {
                first.set_broadcast(true).unwrap();
                first.set_ttl_v4(7).unwrap();
                first.set_freebind_v4(true).unwrap();
            }
            first.set_reuse_address(true).unwrap();
            first.set_reuse_port(true).unwrap();
            first.set_recv_buffer_size(50_000).unwrap();
            first.set_send_buffer_size(60_000).unwrap();
            first.bind_device(Some(b"lo")).unwrap();
            first.bind(&address.into()).unwrap();
            let local = first.local_addr().unwrap().as_socket().unwrap();
            let options = Options::of(&SockRef::from(&first), local);
            // Beside the first, as both are set to share the port.
            let again = options.bind(local).unwrap();
            assert_eq!(Options::of(&SockRef::from(&again), local), options);
            assert_ne!(options, Options::of(&SockRef::from(&Options::plain().bind(address).unwrap()), address));
            assert_eq!(again.recv_buffer_size().unwrap(), 100_000);
            assert_eq!(again.device().unwrap().unwrap(), b"lo");
        }
    }
}
