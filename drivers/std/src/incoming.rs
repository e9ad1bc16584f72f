//! Datagrams, from a socket into the endpoint.

use core::net::IpAddr;
use std::io::{self, IoSliceMut};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use rtmfp_core::{Ecn, Endpoint, InterfaceId, Path, RecvMeta};

use crate::clock::Clock;
use crate::pump::PumpStats;
use crate::socket::{ReceiveErrors, Socket};

/// Buffers for one receive call. Each holds a coalesced run of datagrams, or one alone if its sender did not send a
/// run.
const RECV_BUFFERS: usize = quinn_udp::BATCH_SIZE;
/// The longest run of datagrams that a kernel coalesces.
const RECV_BUFFER_BYTES: usize = 65_536;
/// Receive calls on one socket in a turn, so that a flood does not keep timers and sends waiting.
const RECV_CALLS: usize = 4;

/// Buffers that no endpoint is reading into now. A set is in use for as long as a turn reads. So a process needs no more
/// sets than threads that run at the same time, however many endpoints it has.
static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Sets that are kept when nobody reads: one for each processor.
fn max_spare() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Where datagrams are received, of one socket after the other. Taken for one turn: the buffers are the process's.
#[derive(Debug)]
pub(crate) struct Incoming(Vec<u8>);

impl Incoming {
    /// A set of buffers.
    pub(crate) fn take() -> Self {
        // The lock is not held while a new set is made.
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // One allocation of zeroes: the system gives it memory only where it is first filled.
        Self(spare.unwrap_or_else(|| vec![0; RECV_BUFFERS * RECV_BUFFER_BYTES]))
    }

    /// Hands what has arrived at a socket to the endpoint. True if there may be more.
    ///
    /// # Errors
    /// As the system tells, if the socket fails for good.
    pub(crate) fn receive(
        &mut self,
        interface: InterfaceId,
        socket: &mut Socket,
        clock: &Clock,
        endpoint: &mut Endpoint,
        stats: &mut PumpStats,
    ) -> io::Result<bool> {
        if socket.receive_errors.is_some_and(|errors| errors.retry > clock.now()) {
            // It ends a wait for room to send, too.
            socket.drain_error_queue();
            return Ok(false);
        }
        // What was waiting came at one moment, as far as this end can tell: the endpoint counts acknowledgements of one
        // moment together.
        let mut arrived = None;
        for _ in 0..RECV_CALLS {
            let mut metas = [quinn_udp::RecvMeta::default(); RECV_BUFFERS];
            let count = {
                let mut buffers = self.0.chunks_mut(RECV_BUFFER_BYTES).map(IoSliceMut::new);
                let mut slices: [IoSliceMut<'_>; RECV_BUFFERS] =
                    core::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
                match socket.receive(&mut slices, &mut metas) {
                    Ok(count) => count,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        socket.nothing_received();
                        return Ok(false);
                    }
                    Err(e) => {
                        stats.receive_errors += 1;
                        // What an entry told of is no failure of the socket, whatever it says: anybody can forge ICMP.
                        if socket.drain_error_queue() || is_of_a_datagram(&e) {
                            continue;
                        }
                        let now = clock.now();
                        let errors = socket.receive_errors.get_or_insert(ReceiveErrors::since(now));
                        // One more in this turn would tell nothing new.
                        return if is_final(&e) || errors.add(now) { Err(e) } else { Ok(false) };
                    }
                }
            };
            socket.something_received();
            stats.receives += 1;
            let now = *arrived.get_or_insert_with(|| clock.now());
            for (meta, buffer) in metas.iter().take(count).zip(self.0.chunks_mut(RECV_BUFFER_BYTES)) {
                let local = socket.local_ip(meta.dst_ip);
                if let Some(local) = local {
                    socket.outgoing.heard_at(local);
                }
                let path = Path::new(interface, meta.addr).with_local(local);
                let ecn = meta.ecn.and_then(|mark| Ecn::from_bits(mark as u8));
                let run = buffer.get_mut(..meta.len).unwrap_or_default();
                for datagram in run.chunks_mut(meta.stride.max(1)) {
                    // What became of it is counted by the endpoint.
                    let _ = endpoint.handle_datagram(now, path, RecvMeta { ecn }, datagram);
                }
            }
            if count < RECV_BUFFERS {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < max_spare() {
            spare.push(core::mem::take(&mut self.0));
        }
    }
}

impl Socket {
    fn receive(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [quinn_udp::RecvMeta]) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(kind) = self.failing {
            return Err(kind.into());
        }
        let received = self.state.recv((&*self.socket).into(), buffers, metas);
        #[cfg(test)]
        let received = received.map_err(|e| match self.renamed {
            Some(kind) if e.kind() != io::ErrorKind::WouldBlock => kind.into(),
            _ => e,
        });
        received
    }

    /// The local address that a datagram came to, if it can be sent from: what is sent to a group or to all is sent to
    /// nobody's address.
    fn local_ip(&self, destination: Option<IpAddr>) -> Option<IpAddr> {
        if !self.is_wildcard() {
            return Some(self.local_addr().ip());
        }
        let is_broadcast = |ip: &IpAddr| matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        destination.filter(|ip| !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast(ip))
    }
}

/// Whether a receive error tells what became of an earlier datagram, or of a call that was interrupted. There is one for
/// each datagram at most.
fn is_of_a_datagram(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable};
    // The datagram was too long.
    #[cfg(unix)]
    let code = Some(rustix::io::Errno::MSGSIZE.raw_os_error());
    // WSAENETRESET: its time to live was over (ICMP, time exceeded).
    #[cfg(windows)]
    let code = Some(10_052);
    #[cfg(not(any(unix, windows)))]
    let code = None;
    (code.is_some() && error.raw_os_error() == code)
        || matches!(
            error.kind(),
            ConnectionRefused | ConnectionReset | HostUnreachable | Interrupted | NetworkUnreachable
        )
}

/// Whether a receive error tells of the socket's end. Others may tell of a passing shortage. `PermissionDenied` can be
/// what a firewall on the way says of a datagram (ICMPv6, administratively prohibited).
fn is_final(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, InvalidInput, NotConnected, Unsupported};
    #[cfg(unix)]
    let closed = error.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error());
    #[cfg(not(unix))]
    let closed = false;
    closed || matches!(error.kind(), NotConnected | BrokenPipe | InvalidInput | Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_buffers_are_kept_than_can_be_used_at_once() {
        let taken: Vec<Incoming> = core::iter::repeat_with(Incoming::take).take(max_spare() + 3).collect();
        drop(taken);
        assert!(SPARE.lock().unwrap().len() <= max_spare());
    }
}
