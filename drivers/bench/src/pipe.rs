//! The bare encrypted pipe: packets of a session, sealed, sent, received and opened, and nothing else. No flows, no
//! acknowledgements, no timers; a window of packets, so that none is lost. What no protocol over the same system calls and
//! the same cryptography can be faster than.
//!
//! Its ends are two threads, where those of the other measurements are processes, and it counts all that it opens, where the
//! others count messages only: of 16 KiB messages that is two percent more.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io::{self, IoSliceMut};
use std::net::UdpSocket;
use std::thread;

use quinn_udp::{RecvMeta, Transmit};
use rtmfp_core::profile::{SessionKeys, Span};
use rtmfp_std::{Socket, system_rng};

use super::args::BenchCommon;
use super::ends;
use super::usage::{self, thread_time, wall_time};
use rtmfp_cli::failure::{Code, Failure};

/// Packets on their way at most.
const WINDOW: u64 = 1_024;
/// The receiver tells how many have come after so many.
const CREDIT_EVERY: u64 = 32;
/// Receive buffers a system call, as the drivers have them, and how long each is: what a coalesced receive can fill.
const BUFFERS: usize = 32;
const BUFFER: usize = 65_536;
/// The four bytes of the session ID.
const ID: usize = 4;
/// The sender gives up after so long without news, and the receiver after twice as long.
const SILENCE: Duration = Duration::from_secs(5);

/// What one run took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piped {
    /// Plain bytes that were opened at the other end.
    pub(super) bytes: u64,
    pub(super) packets: u64,
    pub(super) took: Duration,
    /// Processor time of the two threads.
    pub(super) sender: Duration,
    pub(super) receiver: Duration,
}

/// Moves at least so many bytes, `segments` datagrams a system call, each as long as `common` says.
pub(super) fn run(common: &BenchCommon, bytes: u64, segments: usize) -> Result<Piped, Failure> {
    let [near, far] = keys(common)?;
    let data = Socket::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let (news, credit) = (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?, UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
    credit.connect(news.local_addr()?)?;
    news.set_read_timeout(Some(SILENCE))?;
    let mut sender = Sender::new(near, data.local_addr(), usize::from(common.datagram), segments)?;
    let flights = bytes.div_ceil(least_bytes(common) * segments as u64).max(1);
    let packets = flights * segments as u64;
    let receiver = thread::spawn(move || {
        usage::pin_beside();
        receive(&data, &credit, far, packets)
    });
    let (began, cpu) = (wall_time(), thread_time());
    let sent = sender.run(&news, packets);
    let (took, used) = (wall_time().saturating_sub(began), thread_time().saturating_sub(cpu));
    let received = receiver.join().map_err(|_| Failure::new(Code::Local, "the receiver failed"))?;
    // Without a receiver the sender only sees that nothing comes back: what the receiver says is why.
    let (opened, receiver) = received?;
    sent?;
    Ok(Piped { bytes: opened, packets, took, sender: used, receiver })
}

/// The fewest plain bytes of a packet: what the profile puts around them grows with the sequence numbers.
fn least_bytes(common: &BenchCommon) -> u64 {
    u64::from(common.datagram) - 64
}

/// The keys of both ends of a session.
fn keys(common: &BenchCommon) -> Result<[Box<dyn SessionKeys>; 2], Failure> {
    let mut rng = system_rng()?;
    let (near, far) = (ends::profile(common, false)?, ends::profile(common, true)?);
    let failed = |error| Failure::local("key agreement", error);
    let initiation = near.initiate(far.certificate(), None, &mut *rng).map_err(failed)?;
    let response = far.respond(near.certificate(), &initiation.component, None, &mut *rng).map_err(failed)?;
    Ok([initiation.pending.finish(&response.component).map_err(failed)?, response.keys])
}

struct Sender {
    keys: Box<dyn SessionKeys>,
    socket: Socket,
    to: SocketAddr,
    datagram: usize,
    segments: usize,
    content: Vec<u8>,
    flight: Vec<u8>,
    spans: Vec<Span>,
}

impl Sender {
    fn new(keys: Box<dyn SessionKeys>, to: SocketAddr, datagram: usize, segments: usize) -> Result<Self, Failure> {
        let socket = Socket::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let content = vec![7; datagram];
        Ok(Self { keys, socket, to, datagram, segments, content, flight: Vec::new(), spans: Vec::new() })
    }

    fn run(&mut self, news: &UdpSocket, packets: u64) -> Result<(), Failure> {
        let state = quinn_udp::UdpSocketState::new((&**self.socket.std_socket()).into())?;
        let (mut sent, mut come) = (0, 0);
        while come < packets {
            while sent < packets && sent + self.segments as u64 <= come + WINDOW.max(self.segments as u64) {
                self.seal();
                self.send(&state)?;
                sent += self.segments as u64;
            }
            let mut count = [0; 8];
            news.recv(&mut count)
                .map_err(|_| Failure::new(Code::Lost, "a datagram of the bare pipe was lost: run it again"))?;
            come = u64::from_be_bytes(count);
        }
        Ok(())
    }

    /// Fills and seals a flight.
    fn seal(&mut self) {
        self.flight.clear();
        self.spans.clear();
        for ahead in 0..self.segments {
            let start = self.flight.len() + ID;
            let front = self.keys.front_len(ahead);
            let plain = self.keys.plain_capacity(front, self.datagram - ID);
            self.flight.resize(start + front, 0);
            self.flight.extend_from_slice(self.content.get(..plain).unwrap_or_default());
            let sealed = self.keys.sealed_len(front, plain);
            self.flight.resize(start + sealed, 0);
            self.spans.push(Span { start, front, plain, sealed });
        }
        self.keys.seal(&mut self.flight, &self.spans);
    }

    fn send(&self, state: &quinn_udp::UdpSocketState) -> io::Result<()> {
        let length = self.flight.len() / self.segments;
        let most = state.max_gso_segments().clamp(1, BUFFER / length);
        for part in self.flight.chunks(most * length) {
            let segment_size = (part.len() > length).then_some(length);
            let transmit = Transmit { destination: self.to, ecn: None, contents: part, segment_size, src_ip: None };
            while let Err(error) = state.try_send((&**self.socket.std_socket()).into(), &transmit) {
                if error.kind() != io::ErrorKind::WouldBlock {
                    return Err(error);
                }
                thread::yield_now();
            }
        }
        Ok(())
    }
}

/// Opens so many packets: their plain bytes, and what processor time that took.
fn receive(
    socket: &Socket,
    credit: &UdpSocket,
    mut keys: Box<dyn SessionKeys>,
    packets: u64,
) -> Result<(u64, Duration), Failure> {
    let state = quinn_udp::UdpSocketState::new((&**socket.std_socket()).into())?;
    let cpu = thread_time();
    let mut buffers = vec![vec![0; BUFFER]; BUFFERS];
    let (mut come, mut told, mut bytes) = (0, 0, 0);
    let mut since = wall_time();
    while come < packets {
        let mut metas = [RecvMeta::default(); BUFFERS];
        let mut slices: Vec<IoSliceMut<'_>> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        let count = match state.recv((&**socket.std_socket()).into(), &mut slices, &mut metas) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if wall_time().saturating_sub(since) > 2 * SILENCE {
                    return Err(Failure::new(Code::Lost, "a datagram of the bare pipe was lost: run it again"));
                }
                usage::wait_readable(socket.std_socket());
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        since = wall_time();
        for (meta, buffer) in metas.iter().take(count).zip(&mut buffers) {
            for datagram in buffer.get_mut(..meta.len).unwrap_or_default().chunks_mut(meta.stride.max(1)) {
                let opened = keys.open(datagram.get_mut(ID..).unwrap_or_default());
                bytes += opened.map_err(|reason| Failure::local("opening a packet", reason))?.len();
                come += 1;
            }
        }
        if come - told >= CREDIT_EVERY || come >= packets {
            told = come;
            credit.send(&come.to_be_bytes())?;
        }
    }
    Ok((bytes as u64, thread_time().saturating_sub(cpu)))
}
