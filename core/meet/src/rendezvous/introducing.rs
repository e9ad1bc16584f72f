//! Introducing those that want to meet: what addresses a client is told to be at, and to whom.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use rtmfp_core::wire::{Address, AddressOrigin};
use rtmfp_core::{Bytes, Endpoint, Instant, UnmatchedHello};

use super::Rendezvous;
use crate::admit::{Admit, Asker};
use crate::event::ServerEvent;
use crate::message::{Refusal, addresses};
use crate::rates::network_of;

/// Addresses of a client's own network that come ahead of where it is seen: who has a session already tries the first four.
const FIRST_LOCALS: usize = 2;

impl<A: Admit, O: FnMut(ServerEvent)> Rendezvous<A, O> {
    /// A client is at further addresses.
    pub(super) fn set_addresses(&mut self, now: Instant, asker: &Asker, list: &[u8]) {
        let session = asker.session;
        let (local, mapped): (Vec<Address>, Vec<Address>) =
            addresses(list).partition(|address| address.origin == AddressOrigin::Local);
        let Some(registration) = self.registrations.get_mut(&session) else { return };
        registration.local = local;
        if mapped == registration.mapped {
            return;
        }
        if !mapped.is_empty() {
            let taken =
                if asker.proved { self.take(now, asker).map_err(|(why, _)| why) } else { Err(Refusal::Unproved) };
            if let Err(reason) = taken {
                return (self.observer)(ServerEvent::Refused { session, reason });
            }
        }
        if mapped.iter().any(|address| !is_at(address, asker.address)) {
            (self.observer)(ServerEvent::Refused { session, reason: Refusal::NotAllowed });
        }
        self.registrations.get_mut(&session).into_iter().for_each(|registration| registration.mapped = mapped.clone());
    }

    /// Introduces whoever has sent a hello. The peer's own addresses come first, and only for who is in its network: the hello
    /// comes from the same address. An answer to a forged one goes to the peer.
    fn introduce(&mut self, now: Instant, endpoint: &mut Endpoint, hello: &UnmatchedHello) -> bool {
        let named = endpoint.session_named(&hello.discriminator);
        let at = named.and_then(|named| endpoint.session(named)).and_then(|session| session.path());
        let (Some(named), Some(at)) = (named, at.map(|path| path.remote)) else { return false };
        let Some(registration) = self.registrations.get(&named) else {
            // Who has joined the relay alone has more to say: perhaps that it wants nobody introduced.
            let says_more = self.relay.as_ref().is_some_and(|relay| relay.has_joined(named));
            return !says_more && endpoint.introduce(now, hello);
        };
        if registration.is_hidden {
            return false;
        }
        let from = hello.path.remote.ip();
        let local = if is_one_network(at.ip(), from) { &*registration.local } else { &[] };
        // Their own network first: a NAT that sends back to the inside would win by the way that this server saves.
        if !local.is_empty() && self.sent_home.is_first(now, from, &hello.tag) {
            let sent = endpoint.redirect(now, hello, local);
            if sent {
                self.sent_home.add(now, from, &hello.tag);
            }
            return sent;
        }
        let all = in_order(local, at, &registration.mapped);
        endpoint.redirect(now, hello, &all) && endpoint.forward(now, hello, named)
    }

    /// Somebody wants to reach a peer (RFC 7016 §3.5.1.4). There is no answer for a peer that is not here: it would have
    /// to go to an address that is not proved.
    pub(super) fn hello(&mut self, now: Instant, endpoint: &mut Endpoint, hello: &UnmatchedHello) {
        let from = hello.path.remote;
        let may = self.is_there(endpoint, &hello.discriminator)
            && (self.permits.has(now, from.ip(), &hello.discriminator)
                || self.has_circuit(endpoint, from.ip(), &hello.discriminator)
                || self.admit.may_be_introduced_unasked(from, &hello.discriminator));
        let introduced = may && self.introduce(now, endpoint, hello);
        (self.observer)(ServerEvent::Hello { from, introduced });
    }
}

impl<A, O> Rendezvous<A, O> {
    /// Whether somebody at this address has a circuit to this peer. The two are introduced for as long as that lasts, so that
    /// they find a direct path.
    fn has_circuit(&self, endpoint: &Endpoint, from: IpAddr, discriminator: &[u8]) -> bool {
        let (Some(relay), Some(peer)) = (&self.relay, endpoint.session_named(discriminator)) else { return false };
        let at = |session| endpoint.session(session)?.path().map(|path| path.remote.ip().to_canonical());
        relay.connected_to(peer).any(|other| at(other) == Some(from.to_canonical()))
    }
}

/// All addresses to try, the likely ones first.
fn in_order(local: &[Address], at: SocketAddr, mapped: &[Address]) -> Vec<Address> {
    let observed = Address { origin: AddressOrigin::Observed, socket: at };
    let mapped = mapped.iter().copied().filter(|address| is_at(address, at));
    let (first, rest) = local.split_at(local.len().min(FIRST_LOCALS));
    first.iter().copied().chain([observed]).chain(mapped).chain(rest.iter().copied()).collect()
}

/// Whether a peer has a session here that proves who it is: anybody can show a certificate that is not his.
pub(super) fn is_here(endpoint: &Endpoint, discriminator: &[u8]) -> bool {
    let session = endpoint.session_named(discriminator).and_then(|session| endpoint.session(session));
    session.is_some_and(|session| session.far_owner_proved())
}

/// Whether an address may be that of a client which is seen at another: others send hellos to what it is told to be at, and
/// must not send them to a stranger.
fn is_at(address: &Address, seen: SocketAddr) -> bool {
    address.socket.port() != 0 && is_one_network(address.socket.ip(), seen.ip())
}

/// Whether two are in one network, as seen from outside: one address of IPv4, or one /64 of IPv6.
fn is_one_network(one: IpAddr, other: IpAddr) -> bool {
    source_of(one) == source_of(other)
}

fn source_of(address: IpAddr) -> IpAddr {
    network_of(address.to_canonical(), 64)
}

/// Openings of sessions that are remembered at once, because they were sent to their own network first.
const MAX_SENT_HOME: usize = 1_024;
/// The same of one source: an IPv4 address, or a /64 network of IPv6.
const MAX_SENT_HOME_PER_SOURCE: usize = 16;
/// How long they are: as long as a session tries to open at most (RFC 7016 §3.5.1.1.1).
const SENT_HOME_FOR: Duration = Duration::from_secs(95);
/// The longest tag that is kept. Those of this library have 16 bytes.
const MAX_TAG: usize = 64;

/// Tags of hellos that were sent to their own network. None gives way to another before its time: who is not remembered is
/// told everything at once, so nobody can have others be told of their own network again and again.
#[derive(Debug, Default)]
pub(super) struct SentHome {
    tags: BTreeMap<IpAddr, VecDeque<(Instant, Bytes)>>,
    len: usize,
}

impl SentHome {
    /// Whether a hello is the first of its opening. Not if it could not be remembered.
    fn is_first(&mut self, now: Instant, from: IpAddr, tag: &Bytes) -> bool {
        if self.is_full() {
            self.tags.values_mut().for_each(|tags| tags.retain(|(until, _)| *until > now));
            self.tags.retain(|_, tags| !tags.is_empty());
            self.len = self.tags.values().map(VecDeque::len).sum();
        }
        if self.is_full() || tag.len() > MAX_TAG {
            return false;
        }
        let Some(tags) = self.tags.get_mut(&source_of(from)) else { return true };
        while tags.front().is_some_and(|(until, _)| *until <= now) {
            tags.pop_front();
            self.len -= 1;
        }
        tags.len() < MAX_SENT_HOME_PER_SOURCE && tags.iter().all(|(_, known)| known != tag)
    }

    /// Sources whose tags have ended count too.
    fn is_full(&self) -> bool {
        self.len.max(self.tags.len()) >= MAX_SENT_HOME
    }

    fn add(&mut self, now: Instant, from: IpAddr, tag: &Bytes) {
        // The event's buffer may be larger than the tag.
        self.tags.entry(source_of(from)).or_default().push_back((now + SENT_HOME_FOR, Bytes::copy_from_slice(tag)));
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(number: usize) -> Bytes {
        Bytes::copy_from_slice(&number.to_be_bytes())
    }

    /// With enough others, each retransmission was sent to its own network again, and never handed on.
    #[test]
    fn nobody_makes_the_server_forget_who_was_sent_to_their_own_network() {
        let mut sent = SentHome::default();
        let now = Instant::ORIGIN;
        let [home, elsewhere] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let mut hello = |from, tag: Bytes| {
            let first = sent.is_first(now, from, &tag);
            if first {
                sent.add(now, from, &tag);
            }
            first
        };
        assert!(hello(home, tag(0)));
        assert_eq!((1..100).filter(|number| hello(home, tag(*number))).count(), MAX_SENT_HOME_PER_SOURCE - 1);
        assert_eq!((0..100).filter(|number| hello(elsewhere, tag(*number))).count(), MAX_SENT_HOME_PER_SOURCE);
        let all =
            (0..=u8::MAX).flat_map(|last| (0..100).map(move |number| (IpAddr::from([198, 51, 100, last]), number)));
        let known = all.filter(|(from, number)| hello(*from, tag(*number))).count();
        assert_eq!(known, MAX_SENT_HOME - 2 * MAX_SENT_HOME_PER_SOURCE);
        assert!(!hello(home, tag(0)), "it is remembered");
        assert!(!hello(home, Bytes::from(alloc::vec![0; MAX_TAG + 1])));
        assert_eq!((sent.len, sent.tags.len()), (MAX_SENT_HOME, MAX_SENT_HOME / MAX_SENT_HOME_PER_SOURCE));
        let later = now + SENT_HOME_FOR;
        assert!(sent.is_first(later, home, &tag(0)) && sent.len == 0 && sent.tags.is_empty());
    }

    #[test]
    fn where_a_client_is_seen_and_a_port_of_its_gateway_are_among_the_four_that_are_tried() {
        let at = |ip: [u8; 4], port| SocketAddr::from((ip, port));
        let local = |last| Address { origin: AddressOrigin::Local, socket: at([192, 168, 0, last], 1) };
        let told = |port| Address { origin: AddressOrigin::Observed, socket: at([192, 0, 2, 1], port) };
        let stranger = Address { origin: AddressOrigin::Observed, socket: at([192, 0, 2, 2], 53) };
        let order = |locals: &[Address]| in_order(locals, told(9).socket, &[stranger, told(0), told(8)]);
        let [a, b, c, d] = [1, 2, 3, 4].map(local);
        assert_eq!(order(&[a, b, c, d]), [a, b, told(9), told(8), c, d]);
        assert_eq!(order(&[a]), [a, told(9), told(8)]);
        assert_eq!(order(&[]), [told(9), told(8)]);
    }
}
