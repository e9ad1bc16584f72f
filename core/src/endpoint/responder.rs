//! Startup as responder (RFC 7016 §3.5.1.1.2): nothing is remembered of a stranger until its keying has proved
//! its address.
//!
//! A hello is answered with a cookie. An IIKeying is judged by itself (`check_keying`), and then beside the sessions that
//! there are (`place_keying`). If there is a place for it, the response is computed. When that is done both are asked
//! again, because much may have happened meanwhile, and `open_as_responder` makes the session.

use alloc::vec::Vec;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::cookie::CookieCheck;
use super::entry::{Phase, SessionEntry};
use super::env::Env;
use super::glare::Glare;
use super::handshake::Handshake;
use super::index::{Identity, Standing, identity_of};
use super::limits::Asker;
use super::shared::Shared;
use super::startup::StartupPacket;
use crate::error::DropReason;
use crate::params::{CERTIFICATE_MAX, COMPONENT_MAX};
use crate::profile::{KeyingError, Response};
use crate::session::{Established, MoveBasis, Role, Session};
use crate::time::Instant;
use crate::trace::{KeyAgreementStep, TraceEvent};
use crate::transmit::Path;
use crate::wire::{CookieChange, InitiatorHello, InitiatorKeying, ResponderHello, ResponderKeying};

/// How an IIKeying was answered.
#[derive(Debug)]
pub(super) struct RespondedKeying {
    /// Of the IIKeying's session ID, certificate and component: another with the same is a retransmission.
    pub(super) digest: [u8; 32],
    /// The RIKeying, until the initiator has shown that it got it.
    pub(super) reply: Option<Vec<u8>>,
    /// When the cookie was made that the session's address was last proved with.
    cookie_made: Instant,
    pub(super) opened: Instant,
}

/// An IIKeying whose cookie and signature are good, and that has no answer yet.
struct Checked {
    digest: [u8; 32],
    cookie_made: Instant,
}

/// Where the session of an IIKeying is to be.
struct Placement {
    /// The far identity that it claims.
    identity: Identity,
    /// The opening session that becomes this one, in glare.
    yielded: Option<u32>,
    /// The session has to prove its keys soon, because it opens beside another one.
    is_doubtful: bool,
}

impl Handshake {
    /// §3.5.1.1.2: answers a hello for this identity, statelessly.
    pub(super) fn on_initiator_hello(
        &mut self,
        shared: &mut Shared,
        path: Path,
        hello: &InitiatorHello<'_>,
    ) -> Result<(), DropReason> {
        if !shared.config.accept {
            return Err(DropReason::Unexpected);
        }
        self.send_responder_hello(shared, path, hello.tag, Asker::Datagram)
    }

    pub(super) fn send_responder_hello(
        &mut self,
        shared: &mut Shared,
        path: Path,
        tag: &[u8],
        asker: Asker,
    ) -> Result<(), DropReason> {
        shared.allow_reply(path, asker)?;
        let cookie = self.cookies.issue(shared.now, path.remote, &mut shared.private_rng);
        let hello = ResponderHello { tag_echo: tag, cookie: &cookie, certificate: shared.profile.certificate() };
        let packet = StartupPacket::new(path, 0, &hello);
        shared.send_reply(packet, asker)
    }

    /// §3.5.1.1.2: an IIKeying whose cookie proves the address gets a session.
    pub(super) fn on_initiator_keying(
        &mut self,
        env: &mut Env<'_>,
        path: Path,
        keying: &InitiatorKeying<'_>,
    ) -> Result<(), DropReason> {
        let Some(checked) = self.check_keying(env, path, keying)? else { return Ok(()) };
        if env.shared.asking.answered {
            return Err(DropReason::OverLimit);
        }
        if env.shared.offloads() {
            self.agreements.allow_response(env, path, &checked.digest)?;
        }
        // Within the limits, since it may cost as much as a key agreement, and only here: not again when that is done.
        if !self.keying_limits.take(env.shared.now, path.remote.ip()) {
            return Err(DropReason::OverLimit);
        }
        if !env.shared.profile.verify(Role::Initiator, keying.certificate, &[keying.signed], keying.signature) {
            return Err(DropReason::NotAuthentic);
        }
        // Nothing is computed for what has no place.
        env.place_keying(path, keying, &checked)?;
        // The rest is taken only if the signature is good: forgeries would use up twice as much of what the source has.
        let cost = env.shared.profile.respond_cost(keying.certificate, keying.component);
        let rest = self.keying_limits.affordable(cost) - 1;
        if rest > 0 && !self.keying_limits.take_rest(env.shared.now, path.remote.ip(), rest) {
            return Err(DropReason::OverLimit);
        }
        env.shared.asking.answered = true;
        self.respond(env, path, checked.digest, keying)
    }

    /// The response was computed. Whether the IIKeying still is to have it is seen anew.
    pub(super) fn on_responded(
        &mut self,
        env: &mut Env<'_>,
        path: Path,
        keying: &InitiatorKeying<'_>,
        response: Result<Response, KeyingError>,
    ) -> Result<(), DropReason> {
        let Some(checked) = self.check_keying(env, path, keying)? else { return Ok(()) };
        let placement = env.place_keying(path, keying, &checked)?;
        self.open_as_responder(env, path, keying, &checked, &placement, response)
    }

    /// What can be told of an IIKeying without looking at other sessions. `None`: it has its answer already.
    fn check_keying(
        &mut self,
        env: &mut Env<'_>,
        path: Path,
        keying: &InitiatorKeying<'_>,
    ) -> Result<Option<Checked>, DropReason> {
        if !env.shared.config.accept {
            return Err(DropReason::Unexpected);
        }
        let cookie_made = match self.cookies.check(env.shared.now, path.remote, keying.cookie_echo) {
            CookieCheck::Invalid => return Err(DropReason::NotAuthentic),
            CookieCheck::OtherAddress => return self.send_cookie_change(env.shared, path, keying).map(|()| None),
            CookieCheck::Valid(made) => made,
        };
        if keying.session_id == 0 || !env.shared.profile.is_authentic(keying.certificate) {
            return Err(DropReason::NotAuthentic);
        }
        let longest = keying.component.len().max(keying.signature.len());
        if keying.certificate.len() > CERTIFICATE_MAX || longest > COMPONENT_MAX {
            return Err(DropReason::OverLimit);
        }
        let digest = digest_of(keying);
        let known = env.table.by_keying(&digest);
        if let Some(slot) = known.filter(|slot| env.table.get(*slot).is_some_and(SessionEntry::is_open)) {
            // To move the session takes the proof of a signature, which costs as much as a key agreement may.
            let moves = env.is_from_elsewhere(slot, path, cookie_made);
            if moves && !self.keying_limits.take_many(env.shared.now, path.remote.ip(), 1) {
                return Err(DropReason::OverLimit);
            }
            return env.repeat_reply(slot, path, keying, cookie_made).map(|()| None);
        }
        // Its session was used and has ended: this is late, or a recording, with whose keys nobody could do anything.
        if env.shared.used_keyings.contains(env.shared.now, &digest) {
            return Err(DropReason::Replayed);
        }
        Ok(Some(Checked { digest, cookie_made }))
    }

    /// §3.5.1.2: the cookie was made here, but for another address.
    fn send_cookie_change(
        &mut self,
        shared: &mut Shared,
        path: Path,
        keying: &InitiatorKeying<'_>,
    ) -> Result<(), DropReason> {
        shared.allow_reply(path, Asker::Datagram)?;
        let new_cookie = self.cookies.issue(shared.now, path.remote, &mut shared.private_rng);
        let change = CookieChange { old_cookie: keying.cookie_echo, new_cookie: &new_cookie };
        shared.send_reply(StartupPacket::new(path, keying.session_id, &change), Asker::Datagram)
    }

    /// §3.5.1.1.2, step 3: creates the session, in S_OPEN, and sends the RIKeying. In glare that the far end won,
    /// the session that was being opened from here becomes this one, so that nothing written to it is lost.
    fn open_as_responder(
        &mut self,
        env: &mut Env<'_>,
        path: Path,
        keying: &InitiatorKeying<'_>,
        checked: &Checked,
        placement: &Placement,
        response: Result<Response, KeyingError>,
    ) -> Result<(), DropReason> {
        let remote = Some(path.remote);
        env.shared.trace(None, || TraceEvent::key_agreement(KeyAgreementStep::Respond, remote, &response));
        let Response { component, keys } = response?;
        let slot = placement.yielded.unwrap_or_else(|| env.insert_responder(checked));
        let rx_id = env.table.give_id(slot, env.shared);
        let signed = ResponderKeying::signed_parameters(rx_id, &component);
        let signature = env.shared.profile.sign(Role::Responder, keying.certificate, &[&signed, keying.component]);
        let chunk =
            ResponderKeying { session_id: rx_id, component: &component, signature: &signature, signed: &signed };
        let packet = StartupPacket::new(path, keying.session_id, &chunk);
        let responded = RespondedKeying { reply: Some(packet.plain.clone()), ..checked.responded(env.shared.now) };
        env.shared.startup.push_reply(env.shared.now, packet);
        let established = Established {
            keys,
            tx_id: keying.session_id,
            path,
            far_certificate: Bytes::copy_from_slice(keying.certificate),
        };
        env.with(slot, |entry, shared| {
            entry.known.identity = Some(placement.identity);
            entry.session.become_responder();
            let mut cx = shared.context();
            entry.session.establish(&mut cx, established);
            if placement.is_doubtful {
                entry.session.demand_proof(cx.now);
            }
            shared.stats.sessions_opened += 1;
        });
        // Not before the table has ended what was being opened from here.
        let introducer = self.forwards.introducer_of(path.remote);
        env.with(slot, |entry, _| {
            entry.known.phase = Phase::Responded(responded);
            introducer.into_iter().for_each(|introducer| entry.learn_introducer(introducer));
        });
        Ok(())
    }
}

impl Env<'_> {
    /// What there is at the address already, and of this identity, and whether one more session may be.
    ///
    /// Otherwise than §3.5.1.1.2 says, an IIKeying from the address of an open session neither closes that (step 2.3) nor is
    /// ignored for its sake (step 2.2): it is a claim yet, and anybody who reads what is sent to an address can make it.
    fn place_keying(
        &mut self,
        path: Path,
        keying: &InitiatorKeying<'_>,
        checked: &Checked,
    ) -> Result<Placement, DropReason> {
        let identity = identity_of(self.shared.profile.as_ref(), keying.certificate);
        if self.has_become_another(keying.session_id, identity) {
            return Err(DropReason::Unexpected);
        }
        match self.resolve_glare(path, keying.certificate, identity) {
            Glare::None => {}
            Glare::FarPrevails(slot) => return Ok(Placement { identity, yielded: Some(slot), is_doubtful: false }),
            Glare::NearPrevails => return Err(DropReason::Unexpected),
        }
        let established = [Standing::Proved, Standing::Initiated].into_iter();
        let there = established.flat_map(|standing| self.table.index.at(path.remote, standing));
        let there: Vec<u32> = there.take(self.shared.config.max_sessions_per_address).collect();
        if there.iter().any(|slot| self.is_older_keying_of(*slot, keying.certificate, checked.cookie_made)) {
            return Err(DropReason::Unexpected);
        }
        let has_room = self.table.has_room(self.shared) && self.table.has_share(path.remote.ip(), self.shared);
        if there.len() >= self.shared.config.max_sessions_per_address || !has_room {
            return Err(DropReason::OverLimit);
        }
        let most = self.shared.config.max_unproved_per_identity;
        let is_doubtful = self.table.len() >= self.shared.config.max_sessions / 2
            || !there.is_empty()
            || self.table.index.at(path.remote, Standing::Claimed).next().is_some()
            || self.table.index.with(identity, Standing::Proved).next().is_some()
            || self.table.index.with(identity, Standing::Initiated).next().is_some()
            || self.table.index.with(identity, Standing::Claimed).take(most).count() >= most;
        Ok(Placement { identity, yielded: None, is_doubtful })
    }

    /// §3.5.1.1.2, step 2.1: a retransmitted IIKeying gets the same answer.
    ///
    /// An initiator that comes to another address while it repeats its keying cannot use the session yet, and so
    /// cannot prove the address in it (§3.5.4.2). Its new cookie proves the address (§3.5.1.2), and its signature
    /// over the cookie that the keying is its own: the session goes there. A second one would have the same keys'
    /// component, and leave the first open with nobody at its other end.
    ///
    /// With an older cookie it is late, from where the initiator was before, or it is the initiator's and the younger
    /// one was a copy's, in a profile whose signatures say nothing: then it has the answer all the same, with which
    /// only the owner of the keys can do anything, and the session stays where it is until they are used elsewhere.
    ///
    /// One datagram has one answer, though it may complete many packets: signatures are not in the digest, and fragments
    /// of them can be disputed.
    fn repeat_reply(
        &mut self,
        slot: u32,
        path: Path,
        keying: &InitiatorKeying<'_>,
        cookie_made: Instant,
    ) -> Result<(), DropReason> {
        let entry = self.table.get(slot).ok_or(DropReason::Unexpected)?;
        let responded = entry.responded().ok_or(DropReason::Unexpected)?;
        let (Some(plain), Some(session_id)) = (responded.reply.clone(), entry.session.transport().tx_id()) else {
            return Err(DropReason::Unexpected);
        };
        if self.is_from_elsewhere(slot, path, cookie_made) {
            if !self.shared.profile.verify(Role::Initiator, keying.certificate, &[keying.signed], keying.signature) {
                return Err(DropReason::NotAuthentic);
            }
            if self.shared.asking.answered {
                return Err(DropReason::OverLimit);
            }
            self.with(slot, |entry, shared| {
                entry.session.move_to(&mut shared.context(), path, MoveBasis::Claimed);
                if let Phase::Responded(responded) = &mut entry.known.phase {
                    responded.cookie_made = cookie_made;
                }
            });
        }
        if core::mem::replace(&mut self.shared.asking.answered, true) {
            return Err(DropReason::OverLimit);
        }
        self.shared.send_reply(StartupPacket { path, session_id, plain }, Asker::Datagram)
    }

    /// Whether a repeated IIKeying, with a cookie that is no older than the last, comes from another address than the
    /// session's.
    fn is_from_elsewhere(&self, slot: u32, path: Path, cookie_made: Instant) -> bool {
        self.table.get(slot).is_some_and(|entry| {
            entry.session.transport().path().is_none_or(|known| !known.matches(&path))
                && entry.responded().is_some_and(|responded| cookie_made >= responded.cookie_made)
        })
    }

    /// A session that a peer begins.
    fn insert_responder(&mut self, checked: &Checked) -> u32 {
        let Shared { config, now, .. } = &*self.shared;
        let (config, now) = (config.session.clone(), *now);
        let phase = Phase::Responded(checked.responded(now));
        let make = |handle| SessionEntry::new(Session::new(handle, Role::Responder, config, now), phase);
        // Only now: what nobody has read yet is not to go for a keying that fails.
        self.table.make_room(self.shared);
        self.table.insert(self.shared, make, |_, _| {})
    }
}

impl Checked {
    const fn responded(&self, now: Instant) -> RespondedKeying {
        RespondedKeying { digest: self.digest, reply: None, cookie_made: self.cookie_made, opened: now }
    }
}

/// What makes two IIKeyings the same but for their cookies (§3.5.1.1.2, step 2.1).
fn digest_of(keying: &InitiatorKeying<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(keying.session_id.to_be_bytes());
    hash.update((keying.certificate.len() as u64).to_be_bytes());
    hash.update(keying.certificate);
    hash.update(keying.component);
    hash.finalize().into()
}
