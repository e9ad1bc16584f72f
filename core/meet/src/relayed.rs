//! A client's side of circuits: an interface whose datagrams go through a server.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::{Ipv6Addr, SocketAddr};
use core::time::Duration;

use rtmfp_core::error::OpenFlowError;
use rtmfp_core::wire::Cursor;
use rtmfp_core::{
    Bytes, CloseMode, Endpoint, Event, Instant, InterfaceId, Path, ReceiveOrder, RecvFlowHandle, RecvMeta,
    SendFlowHandle, Service, SessionHandle, SessionState,
};

use crate::relay;

/// What a datagram takes beyond its length on its way to the server. That is the headers of a packet and of a chunk, the
/// circuit, and what encryption adds.
const OVERHEAD: usize = 64;
/// The shortest datagrams that sessions send when they know nothing of a path. If these are too long for one packet to the
/// server, they take two.
const SHORTEST: usize = 1_200;
/// How often a circuit is used that a session is on, or would go back to. The server ends those that nobody uses.
const REFRESH: Duration = Duration::from_secs(50);
/// The prefix of addresses that lead nowhere (RFC 6666). No socket has one, and no packet to one leaves by mistake.
const NOWHERE: u128 = 0x0100 << 112;
/// Addresses of circuits have this port. It means nothing.
const PORT: u16 = 1_936;

/// An interface of an endpoint (RFC 7016 §3.3) whose datagrams are messages to a server, which passes them on.
///
/// It is an interface [of last resort](InterfaceId::last_resort). A session that has begun over it moves to a direct path
/// once one is proved: name the server with [`add_introducer`](rtmfp_core::SessionMut::add_introducer) for that. It comes
/// back if that path fails while the circuit is there. Circuits that sessions may need are kept, up to the age that the
/// server allows.
///
/// A session with a peer ends in order only while there is the one with the server: drain both, or close the peer's first.
///
/// It is a [`Service`]: give it to the endpoint's [`Router`](rtmfp_core::Router). Once the [`Client`](crate::Client) has
/// a circuit, [`path`](Self::path) is how the peer is reached. The server can keep a session on the relay, as it can
/// drop whatever helps it off. The datagrams belong to sessions from end to end, so the server sees no more of them than any router.
#[derive(Debug)]
pub struct RelayInterface {
    interface: InterfaceId,
    /// The Canonical Endpoint Discriminator of the server that is joined as soon as there is a session with it.
    server: Option<Bytes>,
    outbox: Option<SendFlowHandle>,
    inbox: Option<RecvFlowHandle>,
    lost: u64,
    /// When circuits are used next, so that they stay.
    refresh: Option<Instant>,
}

impl RelayInterface {
    /// An interface of last resort with this number, that has not joined a server.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        let interface = InterfaceId::last_resort(number);
        Self { interface, server: None, outbox: None, inbox: None, lost: 0, refresh: None }
    }

    /// The same, which [joins](Self::join) whenever a session opens with a server of this Canonical Endpoint
    /// Discriminator. It does not wait for a proof: who poses as the server can drop datagrams, as any router can, and no
    /// more.
    #[must_use]
    pub fn of(mut self, server: impl Into<Bytes>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// The interface.
    #[must_use]
    pub const fn interface(&self) -> InterfaceId {
        self.interface
    }

    /// Uses a server, with which this session is open or opening, from now on.
    ///
    /// # Errors
    /// [`OpenFlowError`]: the session is closing, or has too many flows.
    pub fn join(&mut self, now: Instant, endpoint: &mut Endpoint, server: SessionHandle) -> Result<(), OpenFlowError> {
        let mut session = endpoint.session_mut(now, server).ok_or(OpenFlowError::SessionClosed)?;
        let outbox = session.open_flow(relay::flow_options())?;
        session.carries_last_resort();
        // The server hears of the flow with the first message.
        if let Some(mut flow) = endpoint.send_flow_mut(now, outbox) {
            let _ = flow.write([].as_slice());
        }
        (self.outbox, self.inbox, self.refresh) = (Some(outbox), None, Some(now + REFRESH));
        Ok(())
    }

    /// How the peer at the other end of a circuit is reached.
    #[must_use]
    pub fn path(&self, circuit: u64) -> Path {
        Path::new(self.interface, address(circuit))
    }

    /// Whether a path leads through the server.
    #[must_use]
    pub fn is_relayed(&self, path: &Path) -> bool {
        path.interface == self.interface
    }

    /// Datagrams that could not be sent: there is no server, or what waits to be sent is too much.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Uses no server any more. Ends sessions that wait for an answer which cannot come then.
    pub(crate) fn part(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Some(mut flow) = self.outbox.and_then(|outbox| endpoint.send_flow_mut(now, outbox)) {
            flow.close();
        }
        let had_one = self.outbox.is_some();
        (self.outbox, self.inbox, self.refresh) = (None, None, None);
        if had_one {
            self.give_up_closing(now, endpoint);
        }
    }

    /// Whether a flow is the one over which datagrams come.
    pub(crate) fn receives(&self, flow: RecvFlowHandle) -> bool {
        self.inbox == Some(flow)
    }

    #[cfg(test)]
    pub(crate) const fn outbox(&self) -> Option<SendFlowHandle> {
        self.outbox
    }

    fn is_server(&self, endpoint: &Endpoint, session: SessionHandle) -> bool {
        let session = endpoint.session(session);
        self.server
            .as_ref()
            .zip(session)
            .is_some_and(|(server, session)| session.far_canonical_discriminator() == *server)
    }

    fn on_opened(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let answers = endpoint.recv_flow(flow).is_some_and(|opened| opened.association() == self.outbox);
        if let Some(mut opened) = endpoint.recv_flow_mut(now, flow).filter(|_| answers && self.outbox.is_some()) {
            opened.set_order(ReceiveOrder::Network);
            self.inbox = Some(flow);
            self.receive(now, endpoint);
        }
    }

    /// Hands what has come to the endpoint.
    fn receive(&self, now: Instant, endpoint: &mut Endpoint) {
        let Some(inbox) = self.inbox else { return };
        while let Some(message) = endpoint.recv_flow_mut(now, inbox).and_then(|mut flow| flow.read()) {
            let mut cursor = Cursor::new(&message.data);
            let Ok(circuit) = cursor.vlu() else { continue };
            // It is deciphered in place.
            let mut datagram = cursor.rest().to_vec();
            let _ = endpoint.handle_datagram(now, self.path(circuit), RecvMeta::default(), &mut datagram);
        }
    }

    /// Ends sessions that have closed and wait for the far end to hear of it, which it cannot any more.
    fn give_up_closing(&self, now: Instant, endpoint: &mut Endpoint) {
        let sessions: Vec<SessionHandle> = endpoint.sessions().collect();
        for session in sessions {
            let waits = endpoint.session(session).is_some_and(|session| {
                session.state() == SessionState::NearClose && session.path().is_some_and(|path| self.is_relayed(&path))
            });
            if let Some(mut session) = endpoint.session_mut(now, session).filter(|_| waits) {
                session.close(CloseMode::Abrupt);
            }
        }
    }

    /// Keeps the circuits that sessions are on, or would go back to.
    fn refresh(&self, now: Instant, endpoint: &mut Endpoint) {
        let Some(outbox) = self.outbox else { return };
        let sessions = endpoint.sessions().filter_map(|session| endpoint.session(session));
        let paths = sessions.flat_map(|session| session.path().into_iter().chain(session.fallback()));
        let circuits: BTreeSet<u64> =
            paths.filter(|path| self.is_relayed(path)).filter_map(|path| circuit(path.remote)).collect();
        for circuit in circuits {
            if let Some(mut flow) = endpoint.send_flow_mut(now, outbox) {
                // With no room there is traffic.
                let _ = flow.write(relay::message(circuit, &[]));
            }
        }
    }

    /// The longest datagram that one packet to the server takes, or that has to be taken.
    fn longest(endpoint: &Endpoint, outbox: SendFlowHandle) -> usize {
        let outer = endpoint.session(outbox.session()).map_or(0, |session| session.stats().datagram);
        outer.saturating_sub(OVERHEAD).max(SHORTEST)
    }
}

/// The address of a circuit's other end: one for each circuit.
fn address(circuit: u64) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::from_bits(NOWHERE | u128::from(circuit)), PORT))
}

/// The circuit of an address.
fn circuit(address: SocketAddr) -> Option<u64> {
    let SocketAddr::V6(address) = address else { return None };
    let bits = address.ip().to_bits();
    u64::try_from(bits ^ NOWHERE).ok()
}

impl Service for RelayInterface {
    /// What comes is in return to its own flow.
    fn claims(&self, _metadata: &[u8]) -> bool {
        false
    }

    fn owns(&self, flow: SendFlowHandle) -> bool {
        self.outbox == Some(flow)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a service acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) {
        match event {
            Event::SessionOpened { session } if self.outbox.is_none() && self.is_server(endpoint, *session) => {
                // A session that has just opened has room for a flow, or this end has used it up.
                let _ = self.join(now, endpoint, *session);
            }
            Event::FlowOpened { flow } => self.on_opened(now, endpoint, *flow),
            Event::FlowReadable { flow } if self.inbox == Some(*flow) => self.receive(now, endpoint),
            Event::FlowFinished { flow, .. } if self.inbox == Some(*flow) => self.inbox = None,
            Event::FlowRejected { flow, .. } if self.outbox == Some(*flow) => self.outbox = None,
            Event::SessionClosed { session, .. } | Event::SessionFailed { session, .. }
                if self.outbox.is_some_and(|outbox| outbox.session() == *session) =>
            {
                (self.outbox, self.inbox) = (None, None);
                self.give_up_closing(now, endpoint);
            }
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.refresh.is_some_and(|due| due <= now) {
            self.refresh = self.outbox.map(|_| now + REFRESH);
            self.refresh(now, endpoint);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.refresh
    }

    fn carries(&self, interface: InterfaceId) -> bool {
        self.interface == interface
    }

    fn carry(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        let taken = self.outbox.zip(circuit(path.remote)).is_some_and(|(outbox, circuit)| {
            let fits = datagram.len() <= Self::longest(endpoint, outbox);
            let flow = endpoint.send_flow_mut(now, outbox).filter(|_| fits);
            let message = || relay::message(circuit, datagram);
            flow.is_some_and(|mut flow| flow.write_with(message(), relay::send_options(now)).is_ok())
        });
        self.lost += u64::from(!taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_that_of_its_circuit_alone() {
        for number in [0, 1, 77, u64::MAX] {
            assert_eq!(circuit(address(number)), Some(number));
        }
        for other in ["192.0.2.1:1936", "[2001:db8::1]:1936", "[100:0:0:1::1]:1936", "[::1]:1936"] {
            assert_eq!(circuit(other.parse().unwrap_or_else(|_| address(0))), None, "{other}");
        }
    }
}
