//! Startup as responder (RFC 7016 §3.5.1.1.2): nothing is remembered of a stranger until its keying has proved
//! its address.

use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Endpoint;
use super::cookie::CookieCheck;
use super::glare::Glare;
use super::index::{Identity, Standing, identity_of};
use super::limits::Asker;
use super::slots::Occupant;
use super::startup::StartupPacket;
use crate::error::DropReason;
use crate::event::CloseReason;
use crate::params::{CERTIFICATE_MAX, COMPONENT_MAX, TAG_MIN};
use crate::profile::{KeyingError, Response};
use crate::session::{Established, Role, Session, SessionState};
use crate::time::Instant;
use crate::transmit::Path;
use crate::wire::{CookieChange, InitiatorHello, InitiatorKeying, ResponderHello, ResponderKeying};

/// How an IIKeying was answered.
#[derive(Debug)]
pub(super) struct Answered {
    /// Of the IIKeying's session ID, certificate and component: another with the same is a retransmission.
    digest: [u8; 32],
    /// The RIKeying, until the initiator has shown that it got it.
    reply: Option<Vec<u8>>,
    /// When the cookie was made that the session's address was last proved with.
    cookie_made: Instant,
}

/// An IIKeying whose cookie and signature are good, and that has no answer yet.
struct Checked {
    digest: [u8; 32],
    cookie_made: Instant,
}

/// Where the session of an IIKeying is to be.
struct Place {
    /// The far identity that it claims.
    identity: Identity,
    /// The opening session that becomes this one, in glare.
    yielded: Option<u32>,
    /// The session has to prove its keys soon, because it opens beside another one.
    is_doubtful: bool,
}

impl Endpoint {
    /// §3.5.1.1.2: answers a hello for this identity, statelessly.
    pub(super) fn on_initiator_hello(&mut self, path: Path, hello: &InitiatorHello<'_>) -> Result<(), DropReason> {
        if hello.tag.len() < TAG_MIN {
            return Err(DropReason::Malformed);
        }
        if !self.profile.selects_near(hello.discriminator) {
            return self.on_unmatched_hello(path, hello);
        }
        if !self.config.accept {
            return Err(DropReason::Unexpected);
        }
        self.send_responder_hello(path, hello.tag, Asker::Datagram)
    }

    pub(super) fn send_responder_hello(&mut self, path: Path, tag: &[u8], asker: Asker) -> Result<(), DropReason> {
        self.admit_stranger(path, asker)?;
        let cookie = self.cookies.issue(self.now, path.remote, &mut self.private_rng);
        let certificate = self.profile.certificate();
        let hello = ResponderHello { tag_echo: tag, cookie: &cookie, certificate };
        self.answer_stranger(StartupPacket::new(path, 0, &hello), asker)
    }

    /// Whether one more reply may go to an address that has proved nothing.
    pub(super) fn admit_stranger(&mut self, path: Path, asker: Asker) -> Result<(), DropReason> {
        let (now, remote) = (self.now, path.remote.ip());
        let admitted = match asker {
            Asker::Datagram => !self.asking.answered && self.reply_limits.admit(now, remote),
            Asker::Earlier(_) => self.reply_limits.admit(now, remote),
            // Both: an introducer may name anybody, and many introducers may name the same one.
            Asker::Session(via, _) => {
                self.reply_limits.admit(now, via) && (via == remote || self.reply_limits.admit(now, remote))
            }
        };
        self.asking.answered |= matches!(asker, Asker::Datagram);
        if admitted { Ok(()) } else { Err(DropReason::OverLimit) }
    }

    /// Queues a reply to an address that has proved nothing, unless it is too much larger than what asks for it.
    pub(super) fn answer_stranger(&mut self, packet: StartupPacket, asker: Asker) -> Result<(), DropReason> {
        let size = packet.wire_len(self.default_keys.as_ref());
        let (source, asked) = match asker {
            Asker::Datagram => (packet.path.remote.ip(), self.asking.len),
            Asker::Earlier(len) => (packet.path.remote.ip(), len),
            Asker::Session(via, len) => (via, len),
        };
        let sent =
            self.reply_limits.admit_size(self.now, source, asked, size) && self.startup.push_reply(self.now, packet);
        if sent { Ok(()) } else { Err(DropReason::OverLimit) }
    }

    /// §3.5.1.1.2: an IIKeying whose cookie proves the address gets a session.
    pub(super) fn on_initiator_keying(&mut self, path: Path, keying: &InitiatorKeying<'_>) -> Result<(), DropReason> {
        let Some(checked) = self.check_keying(path, keying)? else { return Ok(()) };
        if self.hands_out_key_agreements() {
            self.admit_job(path, &checked.digest)?;
        }
        let cost = self.profile.respond_cost(keying.certificate, keying.component);
        if !self.keying_limits.take_many(self.now, path.remote.ip(), cost) {
            return Err(DropReason::OverLimit);
        }
        let place = self.place_keying(path, keying, &checked)?;
        if self.hands_out_key_agreements() {
            self.hand_out_response(path, checked.digest, keying);
            return Ok(());
        }
        let response = self.profile.respond(keying.certificate, keying.component, None, &mut self.private_rng);
        self.accept_keying(path, keying, &checked, &place, response)
    }

    /// The response was computed elsewhere. Whether the IIKeying still is to have it is seen anew.
    pub(super) fn response_agreed(
        &mut self,
        path: Path,
        keying: &InitiatorKeying<'_>,
        response: Result<Response, KeyingError>,
    ) -> Result<(), DropReason> {
        let Some(checked) = self.check_keying(path, keying)? else { return Ok(()) };
        let place = self.place_keying(path, keying, &checked)?;
        self.accept_keying(path, keying, &checked, &place, response)
    }

    /// What can be told of an IIKeying without looking at other sessions. `None`: it has its answer already.
    fn check_keying(&mut self, path: Path, keying: &InitiatorKeying<'_>) -> Result<Option<Checked>, DropReason> {
        if !self.config.accept {
            return Err(DropReason::Unexpected);
        }
        let cookie_made = match self.cookies.check(self.now, path.remote, keying.cookie_echo) {
            CookieCheck::Invalid => return Err(DropReason::NotAuthentic),
            CookieCheck::OtherAddress => return self.send_cookie_change(path, keying).map(|()| None),
            CookieCheck::Valid(made) => made,
        };
        if keying.session_id == 0 || !self.profile.is_authentic(keying.certificate) {
            return Err(DropReason::NotAuthentic);
        }
        let longest = keying.component.len().max(keying.signature.len());
        if keying.certificate.len() > CERTIFICATE_MAX || longest > COMPONENT_MAX {
            return Err(DropReason::OverLimit);
        }
        let digest = digest_of(keying);
        if let Some(slot) = self.answered_slot(&digest) {
            return self.repeat_reply(slot, path, keying, cookie_made).map(|()| None);
        }
        if !self.profile.verify(keying.certificate, &[keying.signed], keying.signature) {
            return Err(DropReason::NotAuthentic);
        }
        Ok(Some(Checked { digest, cookie_made }))
    }

    /// What there is at the address already, and of this identity, and whether one more session may be.
    ///
    /// Otherwise than §3.5.1.1.2 says, an IIKeying from the address of an open session neither closes that (step 2.3) nor is
    /// ignored for its sake (step 2.2): it is a claim yet, and anybody who reads what is sent to an address can make it.
    fn place_keying(
        &mut self,
        path: Path,
        keying: &InitiatorKeying<'_>,
        checked: &Checked,
    ) -> Result<Place, DropReason> {
        let identity = identity_of(self.profile.as_ref(), keying.certificate);
        if self.has_become_another(keying.session_id, identity) {
            return Err(DropReason::Unexpected);
        }
        match self.resolve_glare(path, keying.certificate, identity) {
            Glare::None => {}
            Glare::FarPrevails(slot) => return Ok(Place { identity, yielded: Some(slot), is_doubtful: false }),
            Glare::NearPrevails => return Err(DropReason::Unexpected),
        }
        let established = [Standing::Proved, Standing::Begun].into_iter();
        let there = established.flat_map(|standing| self.index.at(path.remote, standing));
        let there: Vec<u32> = there.take(self.config.max_sessions_per_address).collect();
        if there.iter().any(|slot| self.is_older_keying_of(*slot, keying.certificate, checked.cookie_made)) {
            return Err(DropReason::Unexpected);
        }
        if there.len() >= self.config.max_sessions_per_address || self.slots.len() >= self.config.max_sessions {
            return Err(DropReason::OverLimit);
        }
        let most = self.config.max_unproved_per_identity;
        let is_doubtful = !there.is_empty()
            || self.index.at(path.remote, Standing::Claimed).next().is_some()
            || self.index.with(identity, Standing::Proved).next().is_some()
            || self.index.with(identity, Standing::Begun).next().is_some()
            || self.index.with(identity, Standing::Claimed).take(most).count() >= most;
        Ok(Place { identity, yielded: None, is_doubtful })
    }

    fn accept_keying(
        &mut self,
        path: Path,
        keying: &InitiatorKeying<'_>,
        checked: &Checked,
        place: &Place,
        response: Result<Response, KeyingError>,
    ) -> Result<(), DropReason> {
        let response = response.map_err(|_| DropReason::NotAuthentic)?;
        let answered = Answered { digest: checked.digest, reply: None, cookie_made: checked.cookie_made };
        self.accept(path, keying, answered, response, place);
        Ok(())
    }

    /// Whether an IIKeying with such a cookie is a late duplicate of one that led to an earlier session than this one, or a
    /// recording of it. An endpoint that has lost its session says hello anew, so its cookie is younger.
    fn is_older_keying_of(&self, slot: u32, certificate: &[u8], cookie_made: Instant) -> bool {
        // Of a certificate that anybody can use, the session may be somebody else's.
        self.profile.keys_prove_owner(certificate)
            && self.slots.get(slot).is_some_and(|occupant| {
                occupant.opened.is_some_and(|opened| cookie_made < opened)
                    && self.profile.overrides(certificate, occupant.session.far_certificate())
            })
    }

    /// The open session that answered exactly this IIKeying, from whatever address it came then.
    fn answered_slot(&self, digest: &[u8; 32]) -> Option<u32> {
        let slot = *self.by_keying.get(digest)?;
        self.slots.get(slot).filter(|occupant| occupant.session.state() == SessionState::Open).map(|_| slot)
    }

    /// Whether the initiator's session is open already as one that was begun from here: it gave way in glare, and the
    /// IIKeying is late. It may come from an address that the session is not known to be at yet.
    pub(super) fn has_become_another(&self, session_id: u32, identity: Identity) -> bool {
        // One that was answered here proves nothing: anybody may have named this certificate and this ID.
        self.index.with(identity, Standing::Begun).filter_map(|slot| self.slots.get(slot)).any(|occupant| {
            occupant.session.state() == SessionState::Open && occupant.session.tx_id() == Some(session_id)
        })
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
    fn repeat_reply(
        &mut self,
        slot: u32,
        path: Path,
        keying: &InitiatorKeying<'_>,
        cookie_made: Instant,
    ) -> Result<(), DropReason> {
        let occupant = self.slots.get(slot).ok_or(DropReason::Unexpected)?;
        let answered = occupant.answered.as_ref().ok_or(DropReason::Unexpected)?;
        let (Some(plain), Some(session_id)) = (answered.reply.clone(), occupant.session.tx_id()) else {
            return Err(DropReason::Unexpected);
        };
        if occupant.session.path().is_none_or(|known| !known.matches(&path)) && cookie_made >= answered.cookie_made {
            if !self.profile.verify(keying.certificate, &[keying.signed], keying.signature) {
                return Err(DropReason::NotAuthentic);
            }
            self.with_session(slot, |session, cx| session.move_to_claimed(cx, path));
            if let Some(answered) = self.slots.get_mut(slot).and_then(|occupant| occupant.answered.as_mut()) {
                answered.cookie_made = cookie_made;
            }
            self.settle(slot);
        }
        let sent = self.startup.push_reply(self.now, StartupPacket { path, session_id, plain });
        if sent { Ok(()) } else { Err(DropReason::OverLimit) }
    }

    /// A packet came under the keys of the session. If it is the first that proves them, the far end is who it claims to be,
    /// as far as its certificate can prove that. As an initiator, it will not ask for the RIKeying again.
    pub(super) fn on_keys_used(&mut self, slot: u32) {
        let unproved = self.slots.get_mut(slot).filter(|occupant| !occupant.proved);
        let Some(occupant) = unproved.filter(|occupant| occupant.session.keys_are_proved()) else { return };
        occupant.proved = true;
        let begun_here = occupant.answered.is_none();
        if let Some(answered) = occupant.answered.as_mut() {
            answered.reply = None;
        }
        self.settle(slot);
        if !begun_here {
            self.end_duplicates_of(slot);
        }
        self.end_sessions_before(slot, begun_here);
    }

    /// Ends earlier sessions in favour of one that the same far end has proved the keys of (§3.5.1.1.2, step 2.3): at its
    /// address if it began that, else those that only claim to be the same far end.
    fn end_sessions_before(&mut self, slot: u32, begun_here: bool) {
        let Some(occupant) = self.slots.get(slot) else { return };
        let (certificate, opened) = (occupant.session.far_certificate(), occupant.opened);
        if !self.profile.keys_prove_owner(certificate) {
            return;
        }
        let others = match (begun_here, occupant.session.path()) {
            (false, Some(path)) => self.sessions_at(path.remote),
            (true, _) | (_, None) => self.claims_to_be(slot),
        };
        let is_stale = |other: &u32| {
            *other != slot
                && self.slots.get(*other).is_some_and(|other| {
                    other.opened < opened && self.profile.overrides(certificate, other.session.far_certificate())
                })
        };
        let stale: Vec<u32> = others.into_iter().filter(is_stale).collect();
        for other in stale {
            self.with_session(other, |session, cx| session.abort(cx, CloseReason::Overridden));
            self.settle(other);
        }
    }

    /// Open sessions at an address, of each standing as many as may be there.
    fn sessions_at(&self, address: SocketAddr) -> Vec<u32> {
        let most = self.config.max_sessions_per_address;
        let standings = [Standing::Proved, Standing::Begun, Standing::Claimed].into_iter();
        standings.flat_map(|standing| self.index.at(address, standing).take(most)).collect()
    }

    /// §3.5.1.2: the cookie was made here, but for another address.
    fn send_cookie_change(&mut self, path: Path, keying: &InitiatorKeying<'_>) -> Result<(), DropReason> {
        self.admit_stranger(path, Asker::Datagram)?;
        let new_cookie = self.cookies.issue(self.now, path.remote, &mut self.private_rng);
        let change = CookieChange { old_cookie: keying.cookie_echo, new_cookie: &new_cookie };
        self.answer_stranger(StartupPacket::new(path, keying.session_id, &change), Asker::Datagram)
    }

    /// §3.5.1.1.2, step 3: creates the session, in S_OPEN, and sends the RIKeying. In glare that the far end won,
    /// the session that was being opened from here becomes this one, so that nothing written to it is lost.
    fn accept(
        &mut self,
        path: Path,
        keying: &InitiatorKeying<'_>,
        mut answered: Answered,
        response: Response,
        place: &Place,
    ) {
        let slot = place.yielded.unwrap_or_else(|| {
            let handle = self.slots.next_handle();
            let session = Session::new(handle, Role::Responder, self.config.session.clone(), self.now);
            self.slots.insert(Occupant::new(session, None))
        });
        let rx_id = match self.slots.get(slot).map(|occupant| occupant.rx_id) {
            Some(rx_id) if rx_id != 0 => rx_id,
            _ => self.ids.allocate(slot, &mut self.public_rng),
        };
        let signed = ResponderKeying::signed_parameters(rx_id, &response.component);
        let signature = self.profile.sign(&[&signed, keying.component]);
        let chunk = ResponderKeying {
            session_id: rx_id,
            component: &response.component,
            signature: &signature,
            signed: &signed,
        };
        let packet = StartupPacket::new(path, keying.session_id, &chunk);
        if let Some(occupant) = self.slots.get_mut(slot) {
            occupant.rx_id = rx_id;
            answered.reply = Some(packet.plain.clone());
            if let Some(before) = occupant.answered.take() {
                self.by_keying.remove(&before.digest);
            }
            self.by_keying.insert(answered.digest, slot);
            occupant.answered = Some(answered);
            occupant.session.become_responder();
        }
        self.identify(slot, place.identity);
        self.startup.push_reply(self.now, packet);
        let established = Established {
            keys: response.keys,
            tx_id: keying.session_id,
            path,
            far_certificate: Bytes::copy_from_slice(keying.certificate),
        };
        self.with_session(slot, |session, cx| {
            session.establish(cx, established);
            if place.is_doubtful {
                session.demand_proof(cx.now);
            }
        });
        if let Some(introducer) = self.forwards.introducer_of(path.remote) {
            self.learn_introducer(slot, introducer);
        }
        self.stats.sessions_opened += 1;
        self.settle(slot);
    }
}

impl Answered {
    /// What the session is found by when the IIKeying comes again.
    pub(super) const fn digest(&self) -> &[u8; 32] {
        &self.digest
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
