//! Moves datagrams between sockets and an endpoint, without blocking and without deciding anything.

use core::net::SocketAddr;
use std::io::{self, IoSliceMut};

use quinn_udp::EcnCodepoint;
use rtmfp_core::{App, Ecn, Endpoint, Instant, InterfaceId, Path, RecvMeta, Transmit, TransmitBuf};

use crate::agreements::Agreements;
use crate::clock::Clock;
use crate::socket::Socket;

/// Buffers for one receive call. Each holds a coalesced run of datagrams, or one alone if its sender did not send a
/// run. The system gives them memory only when they are first filled.
const RECV_BUFFERS: usize = quinn_udp::BATCH_SIZE;
/// The longest run of datagrams that a kernel coalesces.
const RECV_BUFFER_BYTES: usize = 65_536;
/// Receive calls on one socket in a turn, so that a flood does not keep timers and sends waiting.
const RECV_CALLS: usize = 4;
/// Flights sent in a turn, for the same reason.
const SEND_FLIGHTS: usize = 64;
/// Events handled in a row.
const EVENTS: usize = 1_024;
/// The most bytes that one UDP send can carry.
const SEND_MAX: usize = 65_507;
/// Datagrams of a flight: beyond this a segmented send gains little.
const SEGMENTS_MAX: usize = 32;

/// What a [`turn`](Pump::turn) left to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// A budget ran out: call again before waiting.
    pub more: bool,
    /// A socket whose send buffer is full: call again when it is writable.
    pub blocked: Option<InterfaceId>,
    /// Call again then at the latest.
    pub deadline: Option<Instant>,
    /// The application is done and all was sent.
    pub done: bool,
}

/// Counters of a pump.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PumpStats {
    /// Calls that sent a flight, of one datagram or more.
    pub sends: u64,
    /// Calls that received something.
    pub receives: u64,
    /// Flights that the system refused for another reason than a full buffer. They count as lost on the way.
    pub send_errors: u64,
    /// Errors reported while receiving, mostly what ICMP said of an earlier datagram.
    pub receive_errors: u64,
    /// Times that a send buffer was full.
    pub blocked: u64,
}

/// An endpoint, its sockets, and the buffers between them.
#[derive(Debug)]
pub struct Pump {
    endpoint: Endpoint,
    clock: Clock,
    sockets: Vec<Socket>,
    received: Vec<Vec<u8>>,
    flight: TransmitBuf,
    /// The flight in the buffer, as long as a part of it from the given offset on is not sent.
    unsent: Option<(Transmit, usize)>,
    woken: bool,
    segmentation: bool,
    agreements: Option<Agreements>,
    stats: PumpStats,
}

impl Pump {
    /// A pump for an endpoint made with the time of the same clock. The first socket is [`InterfaceId`] 0, the next 1,
    /// and so on.
    #[must_use]
    pub fn new(endpoint: Endpoint, clock: Clock, sockets: Vec<Socket>) -> Self {
        Self {
            endpoint,
            clock,
            sockets,
            received: vec![vec![0; RECV_BUFFER_BYTES]; RECV_BUFFERS],
            // As many without segmentation: packets that are sealed together cost less than one by one.
            flight: TransmitBuf::new(SEGMENTS_MAX),
            unsent: None,
            woken: true,
            segmentation: true,
            agreements: None,
            stats: PumpStats::default(),
        }
    }

    /// The endpoint.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The endpoint, to give it commands. The next [`turn`](Self::turn) acts on them.
    pub const fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Counters.
    #[must_use]
    pub const fn stats(&self) -> PumpStats {
        self.stats
    }

    /// The sockets, to wait on.
    pub fn sockets(&self) -> impl Iterator<Item = (InterfaceId, &Socket)> {
        (0..=u16::MAX).map(InterfaceId).zip(&self.sockets)
    }

    /// The local address of an interface.
    #[must_use]
    pub fn local_addr(&self, interface: InterfaceId) -> Option<SocketAddr> {
        Some(self.sockets.get(usize::from(interface.0))?.local_addr())
    }

    /// Makes the next [`turn`](Self::turn) call [`on_wake`](App::on_wake).
    pub const fn wake(&mut self) {
        self.woken = true;
    }

    /// Whether a run of datagrams may be sent with one system call, if the system can. On unless switched off, which
    /// is for measurements and for networks whose equipment garbles such sends.
    pub const fn set_segmentation(&mut self, on: bool) {
        self.segmentation = on;
    }

    /// Has another thread compute key agreements, and `wake` called there whenever one is done: call
    /// [`turn`](Self::turn) soon then. The drivers call this. Without effect if
    /// [`max_waiting_key_agreements`](rtmfp_core::EndpointConfig::max_waiting_key_agreements) is 0: each is computed in
    /// the turn that needs it then.
    ///
    /// # Errors
    /// As the system tells, if a thread cannot be started.
    pub fn compute_elsewhere(&mut self, wake: impl Fn() + Send + 'static) -> io::Result<()> {
        self.endpoint.offload_key_agreements();
        if self.endpoint.hands_out_key_agreements() && self.agreements.is_none() {
            self.agreements = Some(Agreements::start(wake)?);
        }
        Ok(())
    }

    /// Does what there is to do, within a budget: timers, datagrams in, events, the application, datagrams out.
    ///
    /// # Errors
    /// As the system tells, if a socket fails for good.
    pub fn turn(&mut self, app: &mut dyn App) -> io::Result<Turn> {
        let mut more = self.receive()?;
        let now = self.clock.now();
        // Without the thread, key agreements are computed here, as they are without one from the beginning.
        if self.agreements.as_mut().is_some_and(|agreements| !agreements.collect(now, &mut self.endpoint)) {
            self.agreements = None;
        }
        if self.endpoint.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.endpoint.handle_timeout(now);
        }
        more |= self.events(now, app);
        if core::mem::take(&mut self.woken) || app.next_timeout().is_some_and(|deadline| deadline <= now) {
            app.on_wake(now, &mut self.endpoint);
            more |= self.events(now, app);
        }
        let (unfinished, blocked) = self.send(now);
        more |= unfinished;
        // Sending can end things too (an abandoned message, a close): let the application hear of it before the wait.
        if let Some(event) = self.endpoint.poll_event() {
            app.on_event(now, &mut self.endpoint, event);
            self.events(now, app);
            more = true;
        }
        more |= self.agree();
        let done = app.is_done() && !more && blocked.is_none();
        let deadline = [self.endpoint.poll_timeout(), app.next_timeout()].into_iter().flatten().min();
        Ok(Turn { more, blocked, deadline, done })
    }

    /// Key agreements, behind all that is quickly done. True if one was computed here.
    fn agree(&mut self) -> bool {
        let job = match &mut self.agreements {
            Some(agreements) => agreements.take(&mut self.endpoint),
            None => self.endpoint.poll_key_agreement(),
        };
        let Some(job) = job else { return false };
        let agreed = job.run();
        self.endpoint.handle_key_agreed(self.clock.now(), agreed);
        true
    }

    /// Hands all events to the application. True if the budget ran out first.
    fn events(&mut self, now: Instant, app: &mut dyn App) -> bool {
        for _ in 0..EVENTS {
            let Some(event) = self.endpoint.poll_event() else { return false };
            app.on_event(now, &mut self.endpoint, event);
        }
        true
    }

    /// Hands what has arrived to the endpoint. True if there may be more.
    fn receive(&mut self) -> io::Result<bool> {
        let mut more = false;
        for (index, socket) in (0..=u16::MAX).zip(&self.sockets) {
            let mut calls = RECV_CALLS;
            // What was waiting came at one moment, as far as this end can tell: the endpoint counts acknowledgements
            // of one moment together.
            let mut arrived = None;
            loop {
                if calls == 0 {
                    more = true;
                    break;
                }
                calls -= 1;
                let mut metas = [quinn_udp::RecvMeta::default(); RECV_BUFFERS];
                let count = {
                    let mut buffers = self.received.iter_mut().map(|buffer| IoSliceMut::new(buffer));
                    let mut slices: [IoSliceMut<'_>; RECV_BUFFERS] =
                        core::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
                    match socket.state.recv((&*socket.socket).into(), &mut slices, &mut metas) {
                        Ok(count) => count,
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                        Err(e) if is_passing(&e) => {
                            self.stats.receive_errors += 1;
                            continue;
                        }
                        Err(e) => return Err(e),
                    }
                };
                self.stats.receives += 1;
                let now = *arrived.get_or_insert_with(|| self.clock.now());
                for (meta, buffer) in metas.iter().take(count).zip(&mut self.received) {
                    let path = Path::new(InterfaceId(index), meta.addr);
                    let ecn = meta.ecn.and_then(|mark| Ecn::from_bits(mark as u8));
                    let run = buffer.get_mut(..meta.len).unwrap_or_default();
                    for datagram in run.chunks_mut(meta.stride.max(1)) {
                        // What became of it is counted by the endpoint.
                        let _ = self.endpoint.handle_datagram(now, path, RecvMeta { ecn }, datagram);
                    }
                }
                if count < RECV_BUFFERS {
                    break;
                }
            }
        }
        Ok(more)
    }

    /// Sends what the endpoint has. Whether there may be more, and the socket that is full.
    fn send(&mut self, now: Instant) -> (bool, Option<InterfaceId>) {
        for _ in 0..SEND_FLIGHTS {
            if self.unsent.is_none() {
                self.unsent = self.endpoint.poll_transmit(now, &mut self.flight).map(|transmit| (transmit, 0));
            }
            let Some((transmit, offset)) = self.unsent else { return (false, None) };
            match self.send_flight(&transmit, offset) {
                Ok(()) => self.unsent = None,
                Err(reached) => {
                    self.stats.blocked += 1;
                    self.unsent = Some((transmit, reached));
                    return (false, Some(transmit.path.interface));
                }
            }
        }
        (true, None)
    }

    /// Sends a flight from `offset` on; fails with the offset reached when the socket is full.
    fn send_flight(&mut self, transmit: &Transmit, offset: usize) -> Result<(), usize> {
        let Some(socket) = self.sockets.get(usize::from(transmit.path.interface.0)) else {
            self.stats.send_errors += 1;
            return Ok(());
        };
        let flight = self.flight.as_slice().get(..transmit.len).unwrap_or_default();
        let segment = transmit.segment_size.unwrap_or(transmit.len).max(1);
        let mut offset = offset;
        while let Some(rest) = flight.get(offset..).filter(|rest| !rest.is_empty()) {
            // Asked each time: the first refusal by the kernel lowers it to one.
            let most = if self.segmentation { socket.state.max_gso_segments() } else { 1 };
            let segments = most.min(SEND_MAX / segment).max(1);
            let part = rest.get(..segments * segment).unwrap_or(rest);
            let outgoing = quinn_udp::Transmit {
                destination: transmit.path.remote,
                ecn: transmit.ecn.and_then(|mark| EcnCodepoint::from_bits(mark as u8)),
                contents: part,
                segment_size: (part.len() > segment).then_some(segment),
                src_ip: None,
            };
            match socket.state.try_send((&*socket.socket).into(), &outgoing) {
                Ok(()) => self.stats.sends += 1,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(offset),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) if segments > 1 && socket.state.max_gso_segments() == 1 => continue,
                // No route, too long, refused: for the protocol a datagram lost on the way.
                Err(_) => self.stats.send_errors += 1,
            }
            offset += part.len();
        }
        Ok(())
    }
}

/// Whether a receive error tells of an earlier datagram or a passing shortage, and not of the socket's end.
fn is_passing(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported
    ) && error.raw_os_error() != Some(rustix::io::Errno::BADF.raw_os_error())
}
