//! What a guest is asked for by its user, but for connections.

use alloc::vec::Vec;
use core::net::SocketAddr;

use rtmfp_core::wire::Address;
use rtmfp_core::{Bytes, Endpoint, Instant};

use super::wishes::Asked;
use super::{Guest, GuestEvent, Ticket};
use crate::failure::Failure;
use crate::message::{MAX_ADDRESSES, MAX_TOKEN};
use crate::path::CandidateKind;

/// Numbers that are wanted at once.
const MAX_NUMBERS: usize = 4;
/// Questions for who is under a number that wait at once.
const MAX_QUESTIONS: usize = 64;
/// Of the addresses that the server is told, how many each kind may have if there are more of the other.
const SHARE: usize = MAX_ADDRESSES / 2;

/// A number that is wanted.
#[derive(Debug, Default)]
pub(super) struct Number {
    pub(super) given: Option<u64>,
    /// Until when a first number is waited for, once it was asked for.
    pub(super) until: Option<Instant>,
}

/// A question for who is under a number.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) number: u64,
    pub(super) until: Instant,
}

impl Guest {
    /// Replaces the addresses of this kind at which this end is reached, besides the one that the server sees. The server
    /// tells them to others: see [`CandidateKind`]. Eight of all kinds count, mapped ones first. Of each kind four count
    /// in any case.
    pub fn set_candidates(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        kind: CandidateKind,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) {
        let before = self.candidates.clone();
        self.candidates.retain(|(other, _)| *other != kind);
        self.candidates.extend(addresses.into_iter().take(MAX_ADDRESSES).map(|address| (kind, address)));
        if self.candidates != before {
            self.tell_candidates(now, endpoint);
        }
    }

    pub(super) fn tell_candidates(&mut self, now: Instant, endpoint: &mut Endpoint) {
        // With `RelayOnly`, peers learn no address.
        let is_told = self.options.policy.is_direct();
        let told = if is_told { shared_out(&self.candidates) } else { Vec::new() };
        let message = self.client.addresses(&told);
        self.tell(now, endpoint, message);
    }

    /// Wants a number under which others find this end, as long as the server is reached. With each
    /// [`Number`](GuestEvent::Number) there is one, or another; [`Failed`](GuestEvent::Failed) says that there will be
    /// none: the server refuses, or gives none within [`connect_timeout`](crate::GuestOptions::connect_timeout). A number
    /// that was given once stays wanted if the server only asks to wait. At most four are wanted at once.
    pub fn want_number(&mut self, now: Instant, endpoint: &mut Endpoint) -> Ticket {
        let ticket = self.ticket();
        match self.cannot_begin(self.numbers.len() >= MAX_NUMBERS) {
            Some(failure) => self.events.push(GuestEvent::Failed { ticket, failure }),
            None => {
                self.server.hurry(now);
                let unwanted = |asked| !self.numbers.contains_key(&asked);
                if !self.wishes.take_over(unwanted, ticket) {
                    self.wishes.want(Asked::Number(ticket), now);
                }
                self.numbers.insert(ticket, Number::default());
                self.ask_due(now, endpoint);
            }
        }
        ticket
    }

    /// Asks who can be met under a number. [`Found`](GuestEvent::Found) or [`Failed`](GuestEvent::Failed) follows, within
    /// [`connect_timeout`](crate::GuestOptions::connect_timeout). At most 64 such questions wait at once.
    pub fn find(&mut self, now: Instant, endpoint: &mut Endpoint, number: u64) -> Ticket {
        let ticket = self.ticket();
        match self.cannot_begin(self.questions.len() >= MAX_QUESTIONS) {
            Some(failure) => self.events.push(GuestEvent::Failed { ticket, failure }),
            None => {
                self.questions.insert(ticket, Question { number, until: now + self.options.connect_timeout });
                self.server.hurry(now);
                self.wishes.want(Asked::Find(ticket), now);
                self.ask_due(now, endpoint);
            }
        }
        ticket
    }

    /// Shows the server a token, now and whenever the session with it is opened again. False, and nothing is shown, if it
    /// is longer than [`MAX_TOKEN`].
    pub fn show_token(&mut self, now: Instant, endpoint: &mut Endpoint, token: impl Into<Bytes>) -> bool {
        let token = token.into();
        let fits = token.len() <= MAX_TOKEN;
        if fits {
            self.token = Some(token);
            self.wishes.want_anew(Asked::Token, now);
            self.ask_due(now, endpoint);
        }
        fits
    }

    /// Wants something no more: a number is given back, a question is dropped, and a connection that is being made is
    /// given up.
    pub fn cancel(&mut self, now: Instant, endpoint: &mut Endpoint, ticket: Ticket) {
        if self.questions.remove(&ticket).is_some() {
            self.forget(Asked::Find(ticket));
        }
        self.end_attempt(now, endpoint, ticket);
        // A number that was asked for and comes yet is given back then.
        self.wishes.withdraw(Asked::Number(ticket));
        if let Some(number) = self.numbers.remove(&ticket).and_then(|number| number.given) {
            let message = self.client.release(number);
            self.tell(now, endpoint, message);
        }
        self.ask_due(now, endpoint);
    }

    /// Ends questions that have waited for too long.
    pub(super) fn expire_questions(&mut self, now: Instant) {
        let due = self.questions.iter().filter(|(_, question)| question.until <= now);
        let due: Vec<Ticket> = due.map(|(ticket, _)| *ticket).collect();
        for ticket in due {
            self.questions.remove(&ticket);
            self.forget(Asked::Find(ticket));
            let failure = self.no_answer();
            self.events.push(GuestEvent::Failed { ticket, failure });
        }
    }

    /// Why the server has not answered.
    pub(super) fn no_answer(&self) -> Failure {
        self.server.failure.unwrap_or(Failure::ServerNotReached(rtmfp_core::OpenFailure::TimedOut))
    }
}

/// The addresses that are told, so that none of a kind are left out for too many of the other.
fn shared_out(all: &[(CandidateKind, SocketAddr)]) -> Vec<Address> {
    let of = |kind| all.iter().filter(move |(other, _)| *other == kind);
    let locals = of(CandidateKind::Local).count();
    let mapped = MAX_ADDRESSES.saturating_sub(locals).max(SHARE);
    let first = of(CandidateKind::Mapped).take(mapped);
    let told = first.chain(of(CandidateKind::Local)).take(MAX_ADDRESSES);
    told.map(|(kind, socket)| Address { origin: kind.origin(), socket: *socket }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_addresses_mapped_ones_come_first_and_each_kind_has_a_share() {
        let of = |kind, count: u16| (0..count).map(move |port| (kind, SocketAddr::from(([192, 0, 2, 1], 1 + port))));
        let (local, mapped) = (CandidateKind::Local, CandidateKind::Mapped);
        for (locals, maps, told) in [(8, 1, [1, 7]), (8, 8, [4, 4]), (1, 8, [7, 1]), (0, 9, [8, 0]), (9, 0, [0, 8])] {
            let all: Vec<_> = of(local, locals).chain(of(mapped, maps)).collect();
            let list = shared_out(&all);
            let firsts = list.iter().take_while(|address| address.origin == mapped.origin()).count();
            assert_eq!([firsts, list.len() - firsts], told, "{locals}, {maps}");
        }
    }
}
