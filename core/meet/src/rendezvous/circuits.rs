//! Circuits through the server: who asks for them, and who is told.

use alloc::vec::Vec;

use rtmfp_core::{Endpoint, Instant, RecvFlowHandle, SessionHandle};

use super::{LONGEST_REPLY, MALFORMED, ONE_FLOW, Rendezvous, say};
use crate::admit::{Admit, Asker};
use crate::event::ServerEvent;
use crate::message::{CircuitEnd, MAX_DISCRIMINATOR, RELAY_METADATA, Refusal, Reply};
use crate::relay::Ended;

/// Whether a flow is to carry datagrams.
pub(super) fn is_for_relay(endpoint: &Endpoint, flow: RecvFlowHandle) -> bool {
    endpoint.recv_flow(flow).is_some_and(|flow| flow.metadata() == RELAY_METADATA)
}

impl<A: Admit, O: FnMut(ServerEvent)> Rendezvous<A, O> {
    /// A flow for datagrams has begun. The one for questions may come later: flows are not ordered.
    pub(super) fn join_relay(&mut self, now: Instant, endpoint: &mut Endpoint, inbox: RecvFlowHandle) {
        let relay = self.relay.as_mut();
        if !relay.is_some_and(|relay| relay.join(now, endpoint, inbox)) {
            if let Some(mut flow) = endpoint.recv_flow_mut(now, inbox) {
                flow.reject(ONE_FLOW);
            }
            return;
        }
        self.relay(now, endpoint, inbox.session());
    }

    /// A session has ended its flow for datagrams, or is to: with this code.
    pub(super) fn leave_relay(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle, code: u64) {
        let ended = self.relay.as_mut().map(|relay| relay.leave(now, endpoint, session, code)).unwrap_or_default();
        self.tell_ended(now, endpoint, ended);
    }

    /// Passes on what a session has sent.
    pub(super) fn relay(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let Some(relay) = &mut self.relay else { return };
        let served = relay.serve(now, endpoint, session);
        self.tell_ended(now, endpoint, served.ended);
        if let Some(circuit) = served.unknown {
            self.tell(now, endpoint, session, &Reply::CircuitClosed { circuit, end: CircuitEnd::Unknown });
        }
        if served.malformed {
            self.leave_relay(now, endpoint, session, MALFORMED);
            self.dismiss(now, endpoint, session, MALFORMED);
        }
    }

    /// Opens a circuit. Nobody learns whether a peer is here that may not be found.
    pub(super) fn open_circuit(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        asker: &Asker,
        request: u64,
        discriminator: &[u8],
    ) {
        let session = asker.session;
        let opened = self.try_open_circuit(now, endpoint, asker, discriminator);
        let reply = match opened {
            Err(refused) => return self.refuse(now, endpoint, session, request, refused),
            Ok(None) => Reply::Nobody { request },
            Ok(Some(circuit)) => Reply::Circuit { request, circuit },
        };
        if let Some(registration) = self.registrations.get(&session) {
            say(now, endpoint, registration.outbox, &reply);
        }
    }

    fn try_open_circuit(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        asker: &Asker,
        discriminator: &[u8],
    ) -> Result<Option<u64>, super::Refused> {
        self.take_of_user(now, asker)?;
        if self.relay.is_none() {
            return Err((Refusal::NoRelay, 0));
        }
        // The peer is told who asks.
        if !asker.proved || asker.discriminator.len() > MAX_DISCRIMINATOR {
            return Err((Refusal::Unproved, 0));
        }
        let may = self.is_there(endpoint, discriminator)
            && self.admit.may_find(asker, discriminator)
            && self.admit.may_relay(asker, discriminator);
        let Some(peer) = endpoint.session_named(discriminator).filter(|_| may) else { return Ok(None) };
        // A peer that does not read what it is told is not told of one more circuit.
        let Some(registration) = self.registrations.get(&peer) else { return Ok(None) };
        let outbox = registration.outbox;
        if !endpoint.send_flow_mut(now, outbox).is_some_and(|mut flow| flow.has_room(LONGEST_REPLY)) {
            return Ok(None);
        }
        let Some(relay) = &mut self.relay else { return Ok(None) };
        let wait = |refusal| (refusal, if refusal == Refusal::Full { super::FULL_FOR } else { 0 });
        let Some((circuit, new)) = relay.open(now, asker.session, peer).map_err(wait)? else { return Ok(None) };
        if new {
            say(now, endpoint, outbox, &Reply::CircuitFrom { circuit, discriminator: &asker.discriminator });
            (self.observer)(ServerEvent::CircuitOpened { circuit, ends: [asker.session, peer] });
        }
        Ok(Some(circuit))
    }

    pub(super) fn close_circuit(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        session: SessionHandle,
        circuit: u64,
    ) {
        let ended = self.relay.as_mut().and_then(|relay| relay.close(session, circuit));
        self.tell_ended(now, endpoint, ended.into_iter().collect());
    }

    /// Tells both ends of circuits that have ended.
    pub(super) fn tell_ended(&mut self, now: Instant, endpoint: &mut Endpoint, ended: Vec<Ended>) {
        for Ended { circuit, ends, end, bytes, dropped } in ended {
            for session in ends {
                self.tell(now, endpoint, session, &Reply::CircuitClosed { circuit, end });
            }
            (self.observer)(ServerEvent::CircuitClosed { circuit, end, bytes, dropped });
        }
    }

    /// Tells a client something that it did not ask for, if there is room. A client that missed the end of a circuit
    /// hears of it when it uses the circuit.
    fn tell(&self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle, reply: &Reply<'_>) {
        let Some(registration) = self.registrations.get(&session) else { return };
        let flow = endpoint.send_flow_mut(now, registration.outbox);
        if flow.is_some_and(|mut flow| flow.has_room(LONGEST_REPLY)) {
            say(now, endpoint, registration.outbox, reply);
        }
    }
}
