//! Asking the server, and what its answers mean.

use alloc::vec::Vec;
use core::time::Duration;

use rtmfp_core::rand_core::Rng as _;
use rtmfp_core::{Endpoint, Instant};

use super::tracking::Tracked;
use super::wishes::Asked;
use super::{Guest, GuestEvent, Ticket};
use crate::client::{Answer, Client};
use crate::failure::Failure;

/// Messages that found no room, and are kept until there is some. Beyond them, the oldest is dropped.
const MAX_UNSENT: usize = 32;
/// The longest that a server has this end wait before it is asked again.
const LONGEST: u64 = 600;

impl Guest {
    /// Asks for all that is wanted, in a new session.
    pub(super) fn ask_again(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.client = Client::new();
        self.forget_talk();
        let hello = self.client.hello();
        self.tell(now, endpoint, hello);
        if !self.candidates.is_empty() {
            self.tell_candidates(now, endpoint);
        }
        if self.token.is_some() {
            self.wishes.want(Asked::Token, now);
        }
        for (ticket, number) in &mut self.numbers {
            number.until = None;
            self.wishes.want(Asked::Number(*ticket), now);
        }
        self.questions.keys().for_each(|ticket| self.wishes.want(Asked::Find(*ticket), now));
        self.ask_for_peers(now);
        self.ask_due(now, endpoint);
    }

    /// There is no session with the server, or another one.
    pub(super) fn forget_talk(&mut self) {
        self.wishes.clear();
        self.unsent.clear();
        self.circuits.clear();
        self.sessions.values_mut().for_each(Tracked::forget_circuit);
    }

    /// Asks for what is due, as long as the flow has room. Without a session all is asked for when there is one.
    pub(super) fn ask_due(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.server.outbox().is_none() {
            return;
        }
        while let Some((request, asked)) = self.wishes.expire(now) {
            self.client.forget(request);
            let failure = self.no_answer();
            self.refused(now, endpoint, asked, failure);
        }
        while let Some(what) = self.wishes.next(now) {
            let Some((request, message)) = self.message_for(now, endpoint, what) else {
                self.wishes.withdraw(what);
                continue;
            };
            if !self.unsent.is_empty() || !self.write(now, endpoint, message) {
                self.client.forget(request);
                return self.wishes.set_blocked(true);
            }
            // The session may be opening yet, which takes no longer than that.
            let until = now + self.options.connect_timeout.max(self.options.server_timeout);
            self.wishes.asked(now, what, request, until);
        }
    }

    /// The message that asks for something, unless nobody wants it any more.
    fn message_for(&mut self, now: Instant, endpoint: &Endpoint, what: Asked) -> Option<(u64, Vec<u8>)> {
        match what {
            Asked::Token => self.token.as_ref().map(|token| self.client.token(token)),
            Asked::Number(ticket) => {
                let number = self.numbers.get_mut(&ticket)?;
                number.until.get_or_insert(now + self.options.connect_timeout);
                Some(self.client.number())
            }
            Asked::Find(ticket) => Some(self.client.look_up(self.questions.get(&ticket)?.number)),
            Asked::Peer(ticket) => Some(self.client.peer(self.attempts.get(&ticket)?.discriminator())),
            Asked::Circuit(ticket) => Some(self.client.open_circuit(self.attempts.get(&ticket)?.discriminator())),
            Asked::Renewal(session) => {
                let discriminator = self.needs_renewal(endpoint, session)?;
                Some(self.client.open_circuit(&discriminator))
            }
        }
    }

    /// The flow to the server has room again.
    pub(super) fn has_room(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(message) = self.unsent.front() {
            if !self.write(now, endpoint, message.clone()) {
                return;
            }
            self.unsent.pop_front();
        }
        self.wishes.set_blocked(false);
        self.ask_due(now, endpoint);
    }

    /// Tells the server something that it does not answer, when there is room.
    pub(super) fn tell(&mut self, now: Instant, endpoint: &mut Endpoint, message: Vec<u8>) {
        if self.server.outbox().is_none() || self.unsent.is_empty() && self.write(now, endpoint, message.clone()) {
            return;
        }
        if self.unsent.len() >= MAX_UNSENT {
            self.unsent.pop_front();
        }
        self.unsent.push_back(message);
    }

    pub(super) fn write(&self, now: Instant, endpoint: &mut Endpoint, message: Vec<u8>) -> bool {
        let flow = self.server.outbox().and_then(|outbox| endpoint.send_flow_mut(now, outbox));
        flow.is_some_and(|mut flow| flow.write(message).is_ok())
    }

    /// Nobody waits for an answer any more.
    pub(super) fn forget(&mut self, what: Asked) {
        self.wishes.forget(what).into_iter().for_each(|request| self.client.forget(request));
    }

    /// When a server that asks to wait for so many seconds is asked again: up to twice as long, so that those who were
    /// refused at one moment do not come back at one moment.
    fn later(&mut self, now: Instant, seconds: u64) -> Instant {
        let wait = Duration::from_secs(seconds.min(LONGEST));
        now + wait + wait * (self.rng.next_u32() % 1_024) / 1_024
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
        let asked = answer.request().and_then(|request| self.wishes.answered(request));
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
            (Answer::Found { .. }, Some(Asked::Peer(ticket))) => self.attempt_is_known(now, ticket),
            (Answer::Circuit { circuit, .. }, Some(Asked::Circuit(ticket))) => {
                self.circuits.add(now, circuit);
                self.attempt_has_circuit(now, endpoint, ticket, circuit);
            }
            (Answer::Circuit { circuit, .. }, Some(Asked::Renewal(session))) => {
                self.circuits.add(now, circuit);
                self.has_circuit(now, endpoint, session, circuit);
            }
            (Answer::CircuitFrom { circuit, discriminator }, _) => {
                self.has_circuit_from(now, endpoint, &discriminator, circuit);
            }
            (Answer::CircuitClosed { circuit, .. }, _) => {
                self.circuits.remove(circuit);
                self.circuit_closed(now, endpoint, circuit);
            }
            (Answer::Nobody { .. }, Some(asked)) => self.refused(now, endpoint, asked, Failure::NobodyThere),
            (Answer::Refused { reason, seconds, .. }, Some(asked)) => {
                self.refused(now, endpoint, asked, Failure::Refused { reason, seconds });
            }
            _ => {}
        }
        // There is room for another request, or something new to ask for.
        self.ask_due(now, endpoint);
    }

    pub(super) fn has_number(&mut self, now: Instant, endpoint: &mut Endpoint, ticket: Ticket, number: u64) {
        let Some(known) = self.numbers.get_mut(&ticket) else {
            let message = self.client.release(number);
            return self.tell(now, endpoint, message);
        };
        let before = known.given.replace(number).filter(|before| *before != number);
        self.events.push(GuestEvent::Number { ticket, number, before });
    }

    /// Something is not to be had. What is refused for a while only is asked for again.
    pub(super) fn refused(&mut self, now: Instant, endpoint: &mut Endpoint, asked: Asked, failure: Failure) {
        let again = if let Failure::Refused { seconds, .. } = failure
            && seconds > 0
        {
            Some(self.later(now, seconds))
        } else {
            None
        };
        match asked {
            Asked::Token => match again {
                Some(at) => self.wishes.want(asked, at),
                None => self.events.push(GuestEvent::TokenRefused(failure)),
            },
            Asked::Number(ticket) => self.number_refused(now, ticket, failure, again),
            Asked::Find(ticket) => {
                if self.questions.remove(&ticket).is_some() {
                    self.events.push(GuestEvent::Failed { ticket, failure });
                }
            }
            Asked::Peer(ticket) => self.attempt_refused(now, endpoint, ticket, failure, again),
            Asked::Circuit(ticket) => self.attempt_not_relayed(now, endpoint, ticket, failure, again),
            // Else it is asked for again if the session still needs it then.
            Asked::Renewal(_) => again.into_iter().for_each(|at| self.wishes.want(asked, at)),
        }
    }

    fn number_refused(&mut self, now: Instant, ticket: Ticket, failure: Failure, again: Option<Instant>) {
        let Some(number) = self.numbers.get(&ticket) else { return };
        // A server that has not seen the token yet may refuse for the want of it.
        let again = again.or_else(|| self.wishes.is_open(Asked::Token).then_some(now));
        let again = again.filter(|at| number.given.is_some() || number.until.is_none_or(|until| *at <= until));
        if let Some(at) = again {
            return self.wishes.want(Asked::Number(ticket), at);
        }
        self.numbers.remove(&ticket);
        self.events.push(GuestEvent::Failed { ticket, failure });
    }
}
