//! Asking the server, and what its answers mean.

use alloc::vec::Vec;

use rtmfp_core::{Endpoint, Instant};

use super::{Asked, Guest, GuestEvent, Ticket};
use crate::client::{Answer, Client};
use crate::failure::Failure;
use crate::message::Refusal;

impl Guest {
    /// Asks for all that is wanted, in a new session.
    pub(super) fn ask_again(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.client = Client::new();
        self.asked.clear();
        let hello = self.client.hello();
        self.write(now, endpoint, hello);
        self.ask_token(now, endpoint);
        if !self.candidates.is_empty() {
            self.tell_candidates(now, endpoint);
        }
        let numbers: Vec<Ticket> = self.numbers.keys().copied().collect();
        numbers.into_iter().for_each(|ticket| self.ask_number(now, endpoint, ticket));
        let questions: Vec<Ticket> = self.questions.keys().copied().collect();
        questions.into_iter().for_each(|ticket| self.ask_who(now, endpoint, ticket));
        self.ask_for_peers(now, endpoint);
    }

    pub(super) fn ask_token(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Some(token) = &self.token {
            let message = self.client.token(token);
            self.ask(now, endpoint, message, Asked::Token);
        }
    }

    pub(super) fn ask_number(&mut self, now: Instant, endpoint: &mut Endpoint, ticket: Ticket) {
        let message = self.client.number();
        self.ask(now, endpoint, message, Asked::Number(ticket));
    }

    pub(super) fn ask_who(&mut self, now: Instant, endpoint: &mut Endpoint, ticket: Ticket) {
        if let Some(number) = self.questions.get(&ticket) {
            let message = self.client.look_up(*number);
            self.ask(now, endpoint, message, Asked::Find(ticket));
        }
    }

    /// Without a session it is asked again when there is one.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        (request, message): (u64, Vec<u8>),
        what: Asked,
    ) {
        if self.write(now, endpoint, message) {
            self.asked.insert(request, what);
        }
    }

    /// What waits is limited, and short of the flow's buffer: so what does not fit is asked again with the next session.
    pub(super) fn write(&self, now: Instant, endpoint: &mut Endpoint, message: Vec<u8>) -> bool {
        let flow = self.server.outbox().and_then(|outbox| endpoint.send_flow_mut(now, outbox));
        flow.is_some_and(|mut flow| flow.write(message).is_ok())
    }

    /// Reads what the server says.
    pub(super) fn read(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(inbox) = self.server.inbox() {
            let Some(message) = endpoint.recv_flow_mut(now, inbox).and_then(|mut flow| flow.read()) else { return };
            let Ok(answer) = self.client.on_message(&message.data) else {
                return self.server_lost(now, endpoint, Failure::NoRendezvous);
            };
            if self.server.heard(now) {
                self.events.push(GuestEvent::Registered);
                self.rely_on_server(now, endpoint);
            }
            if let Some(answer) = answer {
                self.on_answer(now, endpoint, answer);
            }
        }
    }

    pub(super) fn on_answer(&mut self, now: Instant, endpoint: &mut Endpoint, answer: Answer) {
        let asked = answer.request().and_then(|request| self.asked.remove(&request));
        match (answer, asked) {
            (Answer::Seen(address), _) => {
                self.seen = Some(address.socket);
                self.events.push(GuestEvent::Seen(address.socket));
            }
            (Answer::Number { number, .. }, Some(Asked::Number(ticket))) => {
                self.has_number(now, endpoint, ticket, number)
            }
            (Answer::Found { discriminator, .. }, Some(Asked::Find(ticket))) => {
                // Unless nobody wants to know any more.
                let found = self.questions.remove(&ticket).map(|_| GuestEvent::Found { ticket, discriminator });
                found.into_iter().for_each(|found| self.events.push(found));
            }
            (Answer::Found { .. }, Some(Asked::Peer(ticket))) => self.attempt_is_known(ticket),
            (Answer::Circuit { circuit, .. }, Some(Asked::Circuit(ticket))) => {
                self.attempt_has_circuit(now, endpoint, ticket, circuit);
            }
            (Answer::Circuit { circuit, .. }, Some(Asked::Renewal(session))) => {
                self.has_circuit(now, endpoint, session, circuit);
            }
            (Answer::CircuitFrom { circuit, discriminator }, _) => {
                self.has_circuit_from(now, endpoint, &discriminator, circuit);
            }
            (Answer::CircuitClosed { circuit, .. }, _) => self.circuit_closed(now, endpoint, circuit),
            (Answer::Nobody { .. }, Some(asked)) => self.refused(now, endpoint, asked, Failure::NobodyThere),
            (Answer::Refused { reason, seconds, .. }, Some(asked)) => {
                self.refused(now, endpoint, asked, Failure::Refused { reason, seconds });
            }
            _ => {}
        }
    }

    pub(super) fn has_number(&mut self, now: Instant, endpoint: &mut Endpoint, ticket: Ticket, number: u64) {
        let Some(known) = self.numbers.get_mut(&ticket) else {
            let message = self.client.release(number);
            self.write(now, endpoint, message);
            return;
        };
        let before = known.replace(number).filter(|before| *before != number);
        self.events.push(GuestEvent::Number { ticket, number, before });
    }

    pub(super) fn refused(&mut self, now: Instant, endpoint: &mut Endpoint, asked: Asked, failure: Failure) {
        match asked {
            Asked::Token => self.events.push(GuestEvent::TokenRefused(failure)),
            Asked::Number(ticket) => {
                if self.numbers.remove(&ticket).is_some() {
                    self.events.push(GuestEvent::Failed { ticket, failure });
                }
            }
            Asked::Find(ticket) => {
                if self.questions.remove(&ticket).is_some() {
                    self.events.push(GuestEvent::Failed { ticket, failure });
                }
            }
            Asked::Peer(ticket) => self.attempt_failed(now, endpoint, ticket, failure),
            Asked::Circuit(ticket) => {
                if let Failure::Refused {
                    reason: reason @ (Refusal::NoRelay | Refusal::Full | Refusal::Other(_)),
                    ..
                } = failure
                {
                    self.attempt_not_relayed(now, endpoint, ticket, reason);
                } else {
                    self.attempt_failed(now, endpoint, ticket, failure);
                }
            }
            // It is asked again, if the session still needs it then.
            Asked::Renewal(_) => {}
        }
    }
}
