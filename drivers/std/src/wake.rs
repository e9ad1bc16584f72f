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
            // Few bytes are ever under way, so that the socket's buffer cannot be full.
            let _ = self.0.socket.send(&[0]);
        }
    }

    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.0.socket
    }

    /// Whether there was a wake-up since the last call.
    pub(crate) fn take(&self) -> bool {
        self.0.pending.swap(false, Ordering::SeqCst)
    }

    /// Takes out the bytes that made the socket readable. Apart from [`take`](Self::take), because a byte may come
    /// after its wake-up was taken: left there, it would let no wait last any more.
    pub(crate) fn drain(&self) {
        let mut byte = [0];
        while self.0.socket.recv(&mut byte).is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wake-up that comes while the last one is being drained is not lost, and its byte does not stay.
    #[test]
    fn every_wake_up_is_taken_once_and_leaves_no_byte() {
        let waker = Waker::new().unwrap();
        let readable = |waker: &Waker| {
            waker.socket().set_nonblocking(true).unwrap();
            waker.socket().peek(&mut [0]).is_ok()
        };
        // Taken before the byte was sent, as when the driver runs between the two halves of `wake`.
        waker.0.pending.store(true, Ordering::SeqCst);
        assert!(waker.take());
        waker.0.socket.send(&[0]).unwrap();
        assert!(readable(&waker), "a wait would end at once");
        waker.drain();
        assert!(!readable(&waker) && !waker.take());
        waker.wake();
        assert!(readable(&waker) && waker.take());
    }
}
