//! Moves datagrams between sockets and an endpoint, without blocking and without deciding anything.

mod interfaces;
mod rebind;

use core::net::SocketAddr;
use std::io;
use std::sync::Arc;

use rtmfp_core::{App, Endpoint, Instant, InterfaceId, Path, Transmit, TransmitBuf};

use crate::clock::Clock;
use crate::incoming::Incoming;
use crate::key_agreements::KeyAgreementThread;
use crate::locals::Locals;
use crate::socket::Socket;
use crate::watch::Watch;

use interfaces::Interface;

/// Flights sent in a turn, so that they do not keep timers and receiving waiting.
const SEND_FLIGHTS: usize = 64;
/// Events handled in a row.
const EVENTS: usize = 1_024;
/// Datagrams of a flight: beyond this a segmented send gains little.
const SEGMENTS_MAX: usize = 32;

/// What a [`turn`](Pump::turn) left to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// A budget ran out: call again before waiting.
    pub more: bool,
    /// The send buffer of a socket is full: call again when one of those that [`is_blocked`](Pump::is_blocked) names is
    /// writable.
    pub blocked: bool,
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
    /// Sockets that failed for good. Each is bound again as soon as that is possible.
    pub socket_failures: u64,
    /// Times that one was bound again.
    pub rebinds: u64,
    /// Those of them at another port: the first was the system's choice, and another program has it now.
    /// [`local_addr`](Pump::local_addr) tells the new one, and far ends of sessions follow.
    pub port_changes: u64,
    /// Flights that left over another interface than the endpoint meant, as that had no socket of the family.
    pub substitutions: u64,
    /// The smallest receive buffer that the system granted to a socket, in bytes; 0 if it does not tell. 4 MiB are asked
    /// for. With less, bursts of a fast path are lost here.
    pub recv_buffer: usize,
    /// The smallest send buffer, likewise.
    pub send_buffer: usize,
}

/// An endpoint, its sockets, and the buffers between them.
#[derive(Debug)]
pub struct Pump {
    endpoint: Endpoint,
    clock: Clock,
    interfaces: Vec<Interface>,
    flight: TransmitBuf,
    woken: bool,
    segmentation: bool,
    key_agreements: Option<KeyAgreementThread>,
    sockets_version: u64,
    /// Whom the addresses of the interfaces are told.
    locals: Option<Arc<Locals>>,
    /// Whether changes of the network are to be noticed.
    watching: bool,
    watch: Option<Watch>,
    #[cfg(test)]
    forbidden: Option<io::ErrorKind>,
    stats: PumpStats,
}

impl Pump {
    /// A pump for an endpoint made with the time of the same clock. The first socket is [`InterfaceId`] 0, the next 1,
    /// and so on.
    #[must_use]
    pub fn new(endpoint: Endpoint, clock: Clock, sockets: Vec<Socket>) -> Self {
        let now = clock.now();
        Self {
            endpoint,
            clock,
            interfaces: sockets.into_iter().map(|socket| Interface::new(now, socket)).collect(),
            // As many without segmentation: packets that are sealed together cost less than one by one.
            flight: TransmitBuf::new(SEGMENTS_MAX),
            woken: true,
            segmentation: true,
            key_agreements: None,
            sockets_version: 0,
            locals: None,
            watching: true,
            watch: None,
            #[cfg(test)]
            forbidden: None,
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
    pub fn stats(&self) -> PumpStats {
        let smallest = |size: fn(&Socket) -> usize| self.sockets().map(|(_, socket)| size(socket)).min().unwrap_or(0);
        PumpStats {
            recv_buffer: smallest(Socket::recv_buffer),
            send_buffer: smallest(Socket::send_buffer),
            ..self.stats
        }
    }

    /// The sockets, to wait on. Interfaces without one are left out: see [`sockets_version`](Self::sockets_version).
    ///
    /// A program with a loop of its own waits until those that are [receiving](Self::is_receiving) are readable, and those
    /// that are [blocked](Self::is_blocked) writable. One that is neither is left out of the wait, which it could end at once.
    pub fn sockets(&self) -> impl Iterator<Item = (InterfaceId, &Socket)> {
        let interfaces = (0..=u16::MAX).map(InterfaceId).zip(&self.interfaces);
        interfaces.filter_map(|(id, interface)| Some((id, interface.socket.as_ref()?)))
    }

    /// The local address of an interface. None if there is no such interface, or it has no socket now.
    #[must_use]
    pub fn local_addr(&self, interface: InterfaceId) -> Option<SocketAddr> {
        Some(self.interfaces.get(usize::from(interface.0))?.socket.as_ref()?.local_addr())
    }

    /// Whether the send buffer of this socket is full, and a part of a flight waits for it.
    #[must_use]
    pub fn is_blocked(&self, interface: InterfaceId) -> bool {
        self.interfaces.get(usize::from(interface.0)).is_some_and(|interface| interface.unsent.is_some())
    }

    /// Whether to wait until something arrives at this socket. False for a while after a receive error, as the system may
    /// call the socket readable all the while. The deadline of the turn says when it is tried again.
    #[must_use]
    pub fn is_receiving(&self, interface: InterfaceId) -> bool {
        let socket = self.interfaces.get(usize::from(interface.0)).and_then(|interface| interface.socket.as_ref());
        socket.is_some_and(|socket| socket.receive_errors.is_none())
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
        if self.endpoint.offloads_key_agreements() && self.key_agreements.is_none() {
            self.key_agreements = Some(KeyAgreementThread::start(wake)?);
        }
        Ok(())
    }

    /// Does what there is to do, within a budget: timers, datagrams in, events, the application, datagrams out.
    ///
    /// A socket that fails for good is bound again as soon as that is possible, and meanwhile the others go on. One that
    /// fails again soon after waits longer each time, up to 10 s. A port that the system chose, and that another program
    /// has taken meanwhile, is given up for another after five trials.
    ///
    /// # Errors
    /// As the system tells, if no socket works, and none can be bound again, or each fails again and again.
    pub fn turn(&mut self, app: &mut dyn App) -> io::Result<Turn> {
        let mut more = self.receive();
        let now = self.clock.now();
        self.rebind_due(now);
        if self.stats.socket_failures > 0
            && let Some(error) = self.hopeless()
        {
            return Err(error);
        }
        // What came to an address that is gone was received before.
        if self.watch.as_ref().is_some_and(Watch::take_change) {
            self.check_interfaces();
        }
        // Without the thread, key agreements are computed here, as they are without one from the beginning.
        if self.key_agreements.as_mut().is_some_and(|key_agreements| !key_agreements.collect(now, &mut self.endpoint)) {
            self.key_agreements = None;
        }
        if self.endpoint.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.endpoint.handle_timeout(now);
        }
        more |= self.events(now, app);
        if core::mem::take(&mut self.woken) || app.next_timeout().is_some_and(|deadline| deadline <= now) {
            app.on_wake(now, &mut self.endpoint);
            more |= self.events(now, app);
        }
        more |= self.send(now, app);
        // Sending can end things too (an abandoned message, a close): let the application hear of it before the wait.
        if let Some(event) = self.endpoint.poll_event() {
            app.on_event(now, &mut self.endpoint, event);
            self.events(now, app);
            more = true;
        }
        more |= self.agree();
        let blocked = self.interfaces.iter().any(|interface| interface.unsent.is_some());
        let done = app.is_done() && !more && !blocked;
        let retry = self.sockets().filter_map(|(_, socket)| Some(socket.receive_errors?.retry)).min();
        let deadlines = [self.endpoint.poll_timeout(), app.next_timeout(), self.next_rebind(), retry];
        let deadline = deadlines.into_iter().flatten().min();
        Ok(Turn { more, blocked, deadline, done })
    }

    /// Key agreements, behind all that is quickly done. True if one was computed here.
    fn agree(&mut self) -> bool {
        let job = match &mut self.key_agreements {
            Some(key_agreements) => key_agreements.take(&mut self.endpoint),
            None => self.endpoint.poll_key_agreement(),
        };
        let Some(job) = job else { return false };
        let result = job.run();
        self.endpoint.handle_key_agreement(self.clock.now(), result);
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
    fn receive(&mut self) -> bool {
        let Self { interfaces, endpoint, clock, stats, .. } = self;
        let mut incoming = Incoming::take();
        let (mut more, mut failed) = (false, Vec::new());
        for (id, interface) in (0..=u16::MAX).map(InterfaceId).zip(interfaces) {
            let Some(socket) = &mut interface.socket else { continue };
            match incoming.receive(id, socket, clock, endpoint, stats) {
                Ok(rest) => more |= rest,
                Err(error) => failed.push((id, error)),
            }
        }
        drop(incoming);
        for (id, error) in failed {
            self.failed(self.clock.now(), id, error);
        }
        more
    }

    /// Sends what the endpoint has, and first what a socket had no room for. True if there may be more. A full socket
    /// holds back only what goes over it.
    fn send(&mut self, now: Instant, app: &mut dyn App) -> bool {
        for index in 0..self.interfaces.len() {
            self.resume(now, index);
        }
        for _ in 0..SEND_FLIGHTS {
            if self.interfaces.iter().all(|interface| interface.unsent.is_some()) {
                return false;
            }
            let Some(mut transmit) = self.endpoint.poll_transmit(now, &mut self.flight) else { return false };
            if app.carries(transmit.path.interface) {
                for datagram in self.flight.datagrams() {
                    app.carry(now, &mut self.endpoint, transmit.path, datagram);
                }
                continue;
            }
            self.substitute(&mut transmit.path);
            let index = usize::from(transmit.path.interface.0);
            let free = |interface: &&mut Interface| interface.socket.is_some() && interface.unsent.is_none();
            match self.interfaces.get_mut(index).filter(free) {
                Some(_) => {
                    let flight = core::mem::replace(&mut self.flight, TransmitBuf::new(SEGMENTS_MAX));
                    self.send_flight(now, index, transmit, 0, flight);
                }
                // There is no such socket. To the endpoint it is lost on the way.
                None => self.stats.send_errors += 1,
            }
        }
        true
    }

    /// Has a flight leave over another interface if its own has no socket, or one of the other family than the far end's
    /// address: a candidate of a redirect, or a reply, goes by the interface that asked for it, which may be gone.
    fn substitute(&mut self, path: &mut Path) {
        let fits = |interface: &Interface| {
            let local = interface.socket.as_ref().map(Socket::local_addr);
            local.is_some_and(|local| local.is_ipv4() == path.remote.is_ipv4())
        };
        if self.interfaces.get(usize::from(path.interface.0)).is_some_and(fits) {
            return;
        }
        let mut others = (0..=u16::MAX).map(InterfaceId).zip(&self.interfaces);
        let free = |other: &Interface| fits(other) && other.is_up() && other.unsent.is_none();
        if let Some((other, _)) = others.find(|(_, other)| free(other)) {
            *path = Path::new(other, path.remote);
            self.stats.substitutions += 1;
        }
    }

    /// Sends what is unsent of a socket's flight.
    fn resume(&mut self, now: Instant, index: usize) {
        let unsent = self.interfaces.get_mut(index).and_then(|interface| interface.unsent.take());
        if let Some((transmit, offset, flight)) = unsent {
            self.send_flight(now, index, transmit, offset, flight);
        }
    }

    /// Sends a flight from `offset` on. The interface keeps it if it is full, else it is the buffer of the next.
    fn send_flight(&mut self, now: Instant, index: usize, transmit: Transmit, offset: usize, flight: TransmitBuf) {
        let Some(interface) = self.interfaces.get_mut(index) else { return };
        let Some(socket) = &mut interface.socket else { return };
        let sent = socket.send(&transmit, flight.as_slice(), offset, self.segmentation);
        self.stats.sends += sent.sends;
        self.stats.send_errors += sent.refused;
        if let Some(code) = sent.error.and_then(|error| error.raw_os_error()) {
            self.endpoint.handle_send_error(now, transmit.path, code);
        }
        match sent.unsent {
            Some(offset) => interface.unsent = Some((transmit, offset, flight)),
            None => self.flight = flight,
        }
        let (was_blocked, is_blocked) = (interface.blocked, interface.unsent.is_some());
        interface.blocked = is_blocked;
        self.stats.blocked += u64::from(is_blocked);
        if was_blocked != is_blocked {
            self.endpoint.set_blocked(now, transmit.path.interface, is_blocked);
        }
    }
}

#[cfg(test)]
mod tests;
