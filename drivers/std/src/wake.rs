//! Wakes a blocked driver from another thread.

use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

/// Makes a [`Driver`](crate::Driver) call [`on_wake`](rtmfp_core::App::on_wake) soon, from any thread. Wake-ups that
/// come before the driver has acted on the last are one.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pending: AtomicBool,
    /// Connected to itself, so that the kernel lets nobody else's datagrams in.
    socket: UdpSocket,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(socket.local_addr()?)?;
        socket.set_nonblocking(true)?;
        Ok(Self(Arc::new(Inner { pending: AtomicBool::new(false), socket })))
    }

    /// Wakes the driver.
    pub fn wake(&self) {
        if !self.0.pending.swap(true, Ordering::SeqCst) {
            // At most one byte is ever under way, so that the socket's buffer cannot be full.
            let _ = self.0.socket.send(&[0]);
        }
    }

    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.0.socket
    }

    /// Whether there was a wake-up since the last call.
    pub(crate) fn take(&self) -> bool {
        if !self.0.pending.load(Ordering::SeqCst) {
            return false;
        }
        let mut byte = [0];
        while self.0.socket.recv(&mut byte).is_ok() {}
        self.0.pending.swap(false, Ordering::SeqCst)
    }
}
