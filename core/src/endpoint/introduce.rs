//! Introducing others, and being introduced (RFC 7016 §3.5.1.4 to §3.5.1.6): redirects and forwarded hellos.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Endpoint;
use super::index::{Identity, Standing};
use super::limits::Asker;
use super::startup::StartupPacket;
use crate::config::ForwardedHelloPolicy;
use crate::error::DropReason;
use crate::event::{Event, UnmatchedHello};
use crate::handle::SessionHandle;
use crate::params::{REDIRECT_THRESHOLD, TAG_MIN};
use crate::session::{ReceivedForward, SessionState};
use crate::time::Instant;
use crate::transmit::Path;
use crate::wire::{Address, AddressOrigin, InitiatorHello, Redirect};

/// The longest discriminator and tag together that the user is told of: events wait in memory.
const MAX_UNMATCHED_LEN: usize = 2_048;

impl Endpoint {
    /// Answers a hello for somebody else with addresses to try (RFC 7016 §3.5.1.4); at most 24 are sent. With none,
    /// the answer is an Implied Redirect: to this endpoint's own address. False if it was not sent, because too many
    /// answers were given in this second already.
    pub fn redirect(&mut self, now: Instant, hello: &UnmatchedHello, addresses: &[Address]) -> bool {
        self.advance(now);
        self.send_redirect(hello.path, &hello.tag, addresses, Asker::Earlier(hello.datagram_len)).is_ok()
    }

    /// Hands a hello on to the far end of an open session (RFC 7016 §3.5.1.5). False if the session is not open, or
    /// too many hellos wait to be handed on over it.
    pub fn forward(&mut self, now: Instant, hello: &UnmatchedHello, session: SessionHandle) -> bool {
        self.advance(now);
        let Some(slot) = self.slots.resolve(session) else { return false };
        self.forward_hello(slot, &hello.discriminator, hello.path.remote, &hello.tag)
    }

    /// The open session whose far end has this Canonical Endpoint Discriminator (RFC 7016 §3.2; in the Flash profile,
    /// RFC 7425 §4.4.4, it names a fingerprint and nothing else).
    #[must_use]
    pub fn session_named(&self, canonical_discriminator: &[u8]) -> Option<SessionHandle> {
        let occupant = self.slots.get(self.slot_named(canonical_discriminator)?)?;
        Some(occupant.session.handle())
    }

    /// One that has shown its keys, if there is one: anybody can claim a certificate.
    fn slot_named(&self, canonical_discriminator: &[u8]) -> Option<u32> {
        let identity: Identity = Sha256::digest(canonical_discriminator).into();
        let is_open =
            |slot: &u32| self.slots.get(*slot).is_some_and(|occupant| occupant.session.state() == SessionState::Open);
        let first = |standing| self.index.with(identity, standing).find(is_open);
        first(Standing::Proved).or_else(|| first(Standing::Begun)).or_else(|| first(Standing::Claimed))
    }

    /// §3.5.1.4, §3.5.1.5: a hello that does not select this identity.
    pub(super) fn on_unmatched_hello(&mut self, path: Path, hello: &InitiatorHello<'_>) -> Result<(), DropReason> {
        if self.config.introduce
            && let Some(slot) = self.slot_named(hello.discriminator)
        {
            return self.introduce(slot, path, hello);
        }
        if self.config.max_unmatched_hellos == 0 {
            return Err(DropReason::Unexpected);
        }
        let len = hello.discriminator.len() + hello.tag.len();
        let answered = core::mem::replace(&mut self.asking.answered, true);
        if answered || self.unmatched >= self.config.max_unmatched_hellos || len > MAX_UNMATCHED_LEN {
            return Err(DropReason::OverLimit);
        }
        self.unmatched += 1;
        self.events.push(Event::UnmatchedHello {
            hello: UnmatchedHello {
                path,
                discriminator: Bytes::copy_from_slice(hello.discriminator),
                tag: Bytes::copy_from_slice(hello.tag),
                datagram_len: self.asking.len,
            },
        });
        Ok(())
    }

    /// §3.5.1.6: tells the initiator where the responder is, and the responder that the initiator calls.
    fn introduce(&mut self, slot: u32, path: Path, hello: &InitiatorHello<'_>) -> Result<(), DropReason> {
        let occupant = self.slots.get(slot).ok_or(DropReason::Unexpected)?;
        let observed = occupant.session.path().ok_or(DropReason::Unexpected)?.remote;
        let observed = Address { origin: AddressOrigin::Observed, socket: observed };
        let addresses: Vec<Address> = core::iter::once(observed).chain(occupant.introduce_at.iter().copied()).collect();
        self.send_redirect(path, hello.tag, &addresses, Asker::Datagram)?;
        if self.forward_hello(slot, hello.discriminator, path.remote, hello.tag) {
            Ok(())
        } else {
            Err(DropReason::OverLimit)
        }
    }

    fn send_redirect(&mut self, path: Path, tag: &[u8], addresses: &[Address], asker: Asker) -> Result<(), DropReason> {
        self.admit_stranger(path, asker)?;
        let addresses = addresses.get(..REDIRECT_THRESHOLD).unwrap_or(addresses);
        self.answer_stranger(StartupPacket::new(path, 0, &Redirect::new(tag, addresses)), asker)
    }

    fn forward_hello(&mut self, slot: u32, discriminator: &[u8], reply_address: SocketAddr, tag: &[u8]) -> bool {
        let open = self.slots.get(slot).is_some_and(|occupant| occupant.session.state() == SessionState::Open);
        let queued = self
            .with_session(slot, |session, _| open && session.forward_hello(discriminator, reply_address, tag))
            .unwrap_or(false);
        self.settle(slot);
        queued
    }

    /// Answers the hellos that forwarders have handed on to this end (§3.5.1.1.2).
    pub(super) fn answer_forwarded(&mut self) {
        while let Some(forward) = self.forwarded.pop_front() {
            if let Err(reason) = self.answer_one_forwarded(&forward) {
                self.count(reason);
            }
        }
    }

    fn answer_one_forwarded(&mut self, forward: &ReceivedForward) -> Result<(), DropReason> {
        let wanted = self.config.accept && self.profile.selects_near(&forward.discriminator);
        if !wanted || !is_reachable(forward.reply_address) || forward.tag.len() < TAG_MIN {
            return Err(DropReason::Unexpected);
        }
        let path = forward.via.with_remote(forward.reply_address);
        let asker = Asker::Session(forward.via.remote.ip(), forward.discriminator.len() + forward.tag.len());
        self.forwards.remember(forward.reply_address, forward.via);
        match self.config.forwarded_hello {
            ForwardedHelloPolicy::Answer => self.send_responder_hello(path, &forward.tag, asker),
            ForwardedHelloPolicy::ImpliedRedirect => self.send_redirect(path, &forward.tag, &[], asker),
            ForwardedHelloPolicy::Ignore => Ok(()),
        }
    }
}

/// Whether a hello can sensibly be sent to an address that somebody else named.
pub(super) fn is_reachable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}
