//! Introducing others, and being introduced (RFC 7016 §3.5.1.4 to §3.5.1.6): redirects and forwarded hellos.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Endpoint;
use super::entry::SessionEntry;
use super::env::Env;
use super::handshake::Handshake;
use super::index::{Identity, Standing};
use super::limits::Asker;
use super::shared::Shared;
use super::sources::SourceCounts;
use super::table::SessionTable;
use crate::config::{EndpointConfig, ForwardedHelloPolicy};
use crate::error::DropReason;
use crate::event::{Event, UnmatchedHello};
use crate::handle::SessionHandle;
use crate::params::TAG_MIN;
use crate::profile::CryptoProfile;
use crate::session::ReceivedForward;
use crate::time::Instant;
use crate::transmit::Path;
use crate::wire::{Address, AddressOrigin, InitiatorHello};

/// The longest discriminator and tag together that the user is told of: events wait in memory.
const MAX_UNMATCHED_LEN: usize = 2_048;

/// Sessions that one far end has begun, and proved, among which its latest is looked for.
const MAX_OF_ONE: usize = 64;

/// What is kept of hellos for others.
#[derive(Debug, Default)]
pub(super) struct Introduction {
    /// UnmatchedHello events that the user has not taken yet.
    unmatched: usize,
    /// Where they come from.
    sources: SourceCounts,
}

impl Introduction {
    /// The user has taken an event.
    pub(super) fn on_taken(&mut self, event: &Event) {
        if let Event::UnmatchedHello { hello } = event {
            self.unmatched -= 1;
            self.sources.remove(hello.path.remote.ip());
        }
    }

    /// §3.5.1.4, §3.5.1.5: a hello that does not select this identity.
    pub(super) fn on_unmatched_hello(
        &mut self,
        env: &mut Env<'_>,
        path: Path,
        hello: &InitiatorHello<'_>,
    ) -> Result<(), DropReason> {
        if env.shared.config.introduce
            && let Some(slot) = env.table.named(env.shared.profile.as_ref(), hello.discriminator)
        {
            return env.introduce(slot, path, hello, Asker::Datagram);
        }
        let EndpointConfig { max_unmatched_hellos: most, max_unmatched_hellos_per_source: share, .. } =
            env.shared.config;
        if most == 0 {
            return Err(DropReason::Unexpected);
        }
        let len = hello.discriminator.len() + hello.tag.len();
        let answered = core::mem::replace(&mut env.shared.asking.answered, true);
        let has_room = self.unmatched < most && self.sources.has_room(path.remote.ip(), share);
        if answered || !has_room || len > MAX_UNMATCHED_LEN {
            return Err(DropReason::OverLimit);
        }
        self.unmatched += 1;
        self.sources.add(path.remote.ip());
        env.shared.events.push(Event::UnmatchedHello {
            hello: UnmatchedHello {
                path,
                discriminator: Bytes::copy_from_slice(hello.discriminator),
                tag: Bytes::copy_from_slice(hello.tag),
                datagram_len: env.shared.asking.len,
            },
        });
        Ok(())
    }
}

impl SessionTable {
    /// The open session whose far end has this Canonical Endpoint Discriminator: one that has shown its keys, if there is
    /// one, for anybody can claim a certificate. Of those that prove who owns it, the latest: a far end that begins another
    /// has lost the one before.
    fn named(&self, profile: &dyn CryptoProfile, canonical_discriminator: &[u8]) -> Option<u32> {
        let identity: Identity = Sha256::digest(canonical_discriminator).into();
        let is_open = |slot: &u32| self.get(*slot).is_some_and(SessionEntry::is_open);
        let owned = |slot: &u32| {
            let entry = self.get(*slot).filter(|entry| entry.is_open())?;
            profile.keys_prove_owner(entry.session.transport().far_certificate()).then(|| (entry.opened(), *slot))
        };
        let proved = self.index.with(identity, Standing::Proved).take(MAX_OF_ONE);
        let latest = proved.filter_map(|slot| owned(&slot)).max().map(|(_, slot)| slot);
        let first = |standing| self.index.with(identity, standing).find(is_open);
        latest
            .or_else(|| first(Standing::Proved))
            .or_else(|| first(Standing::Initiated))
            .or_else(|| first(Standing::Claimed))
    }
}

impl Env<'_> {
    /// §3.5.1.6: tells the initiator where the responder is, and the responder that the initiator calls.
    fn introduce(&mut self, slot: u32, path: Path, hello: &InitiatorHello<'_>, asker: Asker) -> Result<(), DropReason> {
        let entry = self.table.get(slot).ok_or(DropReason::Unexpected)?;
        let observed = entry.session.transport().path().ok_or(DropReason::Unexpected)?.remote;
        let observed = Address { origin: AddressOrigin::Observed, socket: observed };
        let addresses: Vec<Address> = core::iter::once(observed).chain(entry.introduce_at.iter().copied()).collect();
        self.shared.send_redirect(path, hello.tag, &addresses, asker)?;
        if self.forward_hello(slot, hello.discriminator, path.remote, hello.tag) {
            Ok(())
        } else {
            Err(DropReason::OverLimit)
        }
    }

    fn forward_hello(&mut self, slot: u32, discriminator: &[u8], reply_address: SocketAddr, tag: &[u8]) -> bool {
        let queued = self
            .with(slot, |entry, _| entry.is_open() && entry.session.forward_hello(discriminator, reply_address, tag));
        queued.unwrap_or(false)
    }
}

impl Endpoint {
    /// Answers a hello for somebody else with addresses to try (RFC 7016 §3.5.1.4); at most 24 are sent. With none,
    /// the answer is an Implied Redirect: to this endpoint's own address. False if it was not sent, because too many
    /// answers were given in this second already.
    pub fn redirect(&mut self, now: Instant, hello: &UnmatchedHello, addresses: &[Address]) -> bool {
        self.shared.advance(now);
        self.shared.send_redirect(hello.path, &hello.tag, addresses, Asker::Earlier(hello.datagram_len)).is_ok()
    }

    /// Hands a hello on to the far end of an open session (RFC 7016 §3.5.1.5). False if the session is not open, or
    /// too many hellos wait to be handed on over it.
    pub fn forward(&mut self, now: Instant, hello: &UnmatchedHello, session: SessionHandle) -> bool {
        self.shared.advance(now);
        let Some(slot) = self.table.resolve(session) else { return false };
        self.env().forward_hello(slot, &hello.discriminator, hello.path.remote, &hello.tag)
    }

    /// Introduces whoever has sent a hello to the far end that it names, if that has an open session here
    /// (RFC 7016 §3.5.1.6): the hello is answered with that end's addresses, and handed on over the session, as
    /// [`introduce`](crate::EndpointConfig::introduce) has it done by itself. False if there is no such session, or a
    /// limit is reached.
    pub fn introduce(&mut self, now: Instant, hello: &UnmatchedHello) -> bool {
        self.shared.advance(now);
        let Some(slot) = self.table.named(self.shared.profile.as_ref(), &hello.discriminator) else { return false };
        let asker = Asker::Earlier(hello.datagram_len);
        let (path, hello) = (hello.path, InitiatorHello { discriminator: &hello.discriminator, tag: &hello.tag });
        self.env().introduce(slot, path, &hello, asker).is_ok()
    }

    /// The open session whose far end has this Canonical Endpoint Discriminator (RFC 7016 §3.2; in the Flash profile,
    /// RFC 7425 §4.4.4, it names a fingerprint and nothing else). Of several that the far end has begun, and that prove who
    /// it is, the latest.
    #[must_use]
    pub fn session_named(&self, canonical_discriminator: &[u8]) -> Option<SessionHandle> {
        let named = self.table.named(self.shared.profile.as_ref(), canonical_discriminator)?;
        let entry = self.table.get(named)?;
        Some(entry.session.handle())
    }
}

impl Handshake {
    /// Answers the hellos that forwarders have handed on to this end (§3.5.1.1.2).
    #[inline]
    pub(super) fn answer_forwarded(&mut self, shared: &mut Shared) {
        if !shared.forwarded.is_empty() {
            self.on_forwarded_hellos(shared);
        }
    }

    #[cold]
    fn on_forwarded_hellos(&mut self, shared: &mut Shared) {
        while let Some(forward) = shared.forwarded.pop_front() {
            if let Err(reason) = self.on_forwarded_hello(shared, &forward) {
                shared.count(reason);
            }
        }
    }

    fn on_forwarded_hello(&mut self, shared: &mut Shared, forward: &ReceivedForward) -> Result<(), DropReason> {
        let wanted = shared.config.accept && shared.profile.selects_near(&forward.discriminator);
        if !wanted || !is_reachable(forward.reply_address) || forward.tag.len() < TAG_MIN {
            return Err(DropReason::Unexpected);
        }
        let path = forward.via.with_remote(forward.reply_address);
        let asker = Asker::Session(forward.via.remote.ip(), forward.discriminator.len() + forward.tag.len());
        self.forwards.remember(forward.reply_address, forward.via);
        match shared.config.forwarded_hello {
            // After too many long answers, a short one has the initiator ask by itself, with a hello that is padded.
            ForwardedHelloPolicy::Answer => self
                .send_responder_hello(shared, path, &forward.tag, asker)
                .or_else(|_| shared.send_redirect(path, &forward.tag, &[], asker)),
            ForwardedHelloPolicy::ImpliedRedirect => shared.send_redirect(path, &forward.tag, &[], asker),
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
