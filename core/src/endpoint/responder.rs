//! Startup as responder (RFC 7016 §3.5.1.1.2): nothing is remembered of a stranger until its keying has proved
//! its address.

use alloc::vec::Vec;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Endpoint;
use super::cookie::CookieCheck;
use super::glare::Glare;
use super::index::identity_of;
use super::slots::Occupant;
use super::startup::StartupPacket;
use crate::error::DropReason;
use crate::event::CloseReason;
use crate::params::{CERTIFICATE_MAX, COMPONENT_MAX};
use crate::profile::{KeyingError, Response};
use crate::session::{Established, Role, Session, SessionState};
use crate::time::Instant;
use crate::transmit::Path;
use crate::wire::{CookieChange, EncodeChunk as _, InitiatorHello, InitiatorKeying, ResponderHello, ResponderKeying};

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

/// An IIKeying that is worth a key agreement.
struct Admitted {
    digest: [u8; 32],
    cookie_made: Instant,
    /// Sessions whose place the new one takes.
    stale: Vec<u32>,
    /// The opening session that becomes this one, in glare.
    yielded: Option<u32>,
}

impl Endpoint {
    /// §3.5.1.1.2: answers a hello for this identity, statelessly.
    pub(super) fn on_initiator_hello(&mut self, path: Path, hello: &InitiatorHello<'_>) -> Result<(), DropReason> {
        if !self.profile.selects_near(hello.discriminator) {
            return self.on_unmatched_hello(path, hello);
        }
        if !self.config.accept {
            return Err(DropReason::Unexpected);
        }
        self.send_responder_hello(path, hello.tag, hello.payload_len())
    }

    /// `asked`: bytes of the chunk that asks for it.
    pub(super) fn send_responder_hello(&mut self, path: Path, tag: &[u8], asked: usize) -> Result<(), DropReason> {
        self.admit_stranger(path)?;
        let cookie = self.cookies.issue(self.now, path.remote, &mut self.private_rng);
        let certificate = self.profile.certificate();
        let hello = ResponderHello { tag_echo: tag, cookie: &cookie, certificate };
        self.answer_stranger(StartupPacket::new(path, 0, &hello), asked)
    }

    /// Whether one more reply may go to an address that has proved nothing.
    pub(super) fn admit_stranger(&mut self, path: Path) -> Result<(), DropReason> {
        let admitted = self.reply_limits.admit(self.now, path.remote.ip());
        if admitted { Ok(()) } else { Err(DropReason::OverLimit) }
    }

    /// Queues a reply to an address that has proved nothing, unless it is too much larger than what asks for it.
    pub(super) fn answer_stranger(&mut self, packet: StartupPacket, asked: usize) -> Result<(), DropReason> {
        let size = packet.wire_len(self.default_keys.as_ref());
        let sent = self.reply_limits.admit_size(self.now, asked, size) && self.startup.push_reply(self.now, packet);
        if sent { Ok(()) } else { Err(DropReason::OverLimit) }
    }

    /// §3.5.1.1.2: an IIKeying whose cookie proves the address gets a session.
    pub(super) fn on_initiator_keying(&mut self, path: Path, keying: &InitiatorKeying<'_>) -> Result<(), DropReason> {
        let Some(admitted) = self.admit_keying(path, keying)? else { return Ok(()) };
        if self.hands_out_key_agreements() {
            self.admit_job(path, &admitted.digest)?;
        }
        if !self.keying_limits.take(self.now, path.remote.ip()) {
            return Err(DropReason::OverLimit);
        }
        if self.hands_out_key_agreements() {
            self.hand_out_response(path, admitted.digest, keying);
            return Ok(());
        }
        let response = self.profile.respond(keying.certificate, keying.component, None, &mut self.private_rng);
        self.accept_keying(path, keying, admitted, response)
    }

    /// The response was computed elsewhere. Whether the IIKeying still is to have it is seen anew.
    pub(super) fn response_agreed(
        &mut self,
        path: Path,
        keying: &InitiatorKeying<'_>,
        response: Result<Response, KeyingError>,
    ) -> Result<(), DropReason> {
        let Some(admitted) = self.admit_keying(path, keying)? else { return Ok(()) };
        self.accept_keying(path, keying, admitted, response)
    }

    /// Everything that does not cost a key agreement. `None`: it has its answer already.
    fn admit_keying(&mut self, path: Path, keying: &InitiatorKeying<'_>) -> Result<Option<Admitted>, DropReason> {
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
        if self.has_become_another(keying) {
            return Err(DropReason::Unexpected);
        }
        let yielded = match self.resolve_glare(path, keying.certificate) {
            Glare::None => None,
            Glare::FarPrevails(slot) => Some(slot),
            Glare::NearPrevails => return Err(DropReason::Unexpected),
        };
        let stale = self.stale_sessions(path, keying.certificate, cookie_made)?;
        if yielded.is_none() && stale.is_empty() && self.slots.len() >= self.config.max_sessions {
            return Err(DropReason::OverLimit);
        }
        Ok(Some(Admitted { digest, cookie_made, stale, yielded }))
    }

    fn accept_keying(
        &mut self,
        path: Path,
        keying: &InitiatorKeying<'_>,
        admitted: Admitted,
        response: Result<Response, KeyingError>,
    ) -> Result<(), DropReason> {
        let response = response.map_err(|_| DropReason::NotAuthentic)?;
        // Only now that the new session is sure to exist: a keying that comes to nothing closes nothing.
        for slot in admitted.stale {
            self.with_session(slot, |session, cx| session.abort(cx, CloseReason::Overridden));
            self.settle(slot);
        }
        let answered = Answered { digest: admitted.digest, reply: None, cookie_made: admitted.cookie_made };
        self.accept(path, keying, answered, response, admitted.yielded);
        Ok(())
    }

    /// The open session that answered exactly this IIKeying, from whatever address it came then.
    fn answered_slot(&self, digest: &[u8; 32]) -> Option<u32> {
        let slot = *self.by_keying.get(digest)?;
        self.slots.get(slot).filter(|occupant| occupant.session.state() == SessionState::Open).map(|_| slot)
    }

    /// Whether the initiator's session is open already as one that was begun from here: it gave way in glare, and the
    /// IIKeying is late. It may come from an address that the session is not known to be at yet.
    pub(super) fn has_become_another(&self, keying: &InitiatorKeying<'_>) -> bool {
        let identity = identity_of(self.profile.as_ref(), keying.certificate);
        self.slots_with(identity).filter_map(|slot| self.slots.get(slot)).any(|occupant| {
            let session = &occupant.session;
            // One that was answered here proves nothing: anybody may have named this certificate and this ID.
            let begun_here = occupant.answered.is_none();
            begun_here && session.state() == SessionState::Open && session.tx_id() == Some(keying.session_id)
        })
    }

    /// Sessions, opening or open, with this far address.
    pub(super) fn slots_at(&self, path: Path) -> impl Iterator<Item = u32> + '_ {
        self.by_address.range((path.remote, 0)..=(path.remote, u32::MAX)).map(|(_, slot)| *slot)
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

    /// The far end uses the keys of the session: as an initiator, it will not ask for the RIKeying again, and is whom
    /// its certificate names.
    pub(super) fn keys_proved(&mut self, slot: u32) {
        let proved = self.slots.get_mut(slot).filter(|occupant| occupant.session.keys_are_proved());
        let answered = proved.and_then(|occupant| occupant.answered.as_mut());
        if answered.is_some_and(|answered| answered.reply.take().is_some()) {
            self.end_duplicates_of(slot);
        }
    }

    /// Whether a session is more than an initiator's claim to have a certificate, which is no secret.
    pub(super) fn is_proved(&self, slot: u32) -> bool {
        let answered = self.slots.get(slot).and_then(|occupant| occupant.answered.as_ref());
        answered.is_none_or(|answered| answered.reply.is_none())
    }

    /// §3.5.1.2: the cookie was made here, but for another address.
    fn send_cookie_change(&mut self, path: Path, keying: &InitiatorKeying<'_>) -> Result<(), DropReason> {
        self.admit_stranger(path)?;
        let new_cookie = self.cookies.issue(self.now, path.remote, &mut self.private_rng);
        let change = CookieChange { old_cookie: keying.cookie_echo, new_cookie: &new_cookie };
        let asked = keying.cookie_echo.len() + keying.certificate.len() + keying.component.len();
        self.answer_stranger(StartupPacket::new(path, keying.session_id, &change), asked)
    }

    /// The open sessions at this address, which a new session of the same endpoint takes the place of
    /// (§3.5.1.1.2, step 2.3). If one of them is not overridden, the keying is to be ignored (step 2.2).
    ///
    /// An endpoint that has lost its session says hello anew, so its cookie is younger than the session. With an
    /// older one, the IIKeying is a late duplicate of one that led to an earlier session, or a recording of it, and
    /// must not close the one that is alive.
    fn stale_sessions(&self, path: Path, certificate: &[u8], cookie_made: Instant) -> Result<Vec<u32>, DropReason> {
        let mut stale = Vec::new();
        for slot in self.slots_at(path) {
            let Some(occupant) = self.slots.get(slot) else { continue };
            if occupant.session.state() != SessionState::Open {
                continue;
            }
            let overridden = self.profile.overrides(certificate, occupant.session.far_certificate());
            if !overridden || occupant.opened.is_none_or(|opened| cookie_made < opened) {
                return Err(DropReason::Unexpected);
            }
            stale.push(slot);
        }
        Ok(stale)
    }

    /// §3.5.1.1.2, step 3: creates the session, in S_OPEN, and sends the RIKeying. In glare that the far end won,
    /// the session that was being opened from here becomes this one, so that nothing written to it is lost.
    fn accept(
        &mut self,
        path: Path,
        keying: &InitiatorKeying<'_>,
        mut answered: Answered,
        response: Response,
        yielded: Option<u32>,
    ) {
        let slot = yielded.unwrap_or_else(|| {
            let handle = self.slots.next_handle();
            let session = Session::new(handle, Role::Responder, self.config.session.clone(), self.now);
            self.slots.insert(Occupant {
                session,
                opening: None,
                answered: None,
                rx_id: 0,
                opened: None,
                address: None,
                identity: None,
                introduce_at: Vec::new(),
                introducers: Vec::new(),
                reintroduction: None,
            })
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
        self.startup.push_reply(self.now, packet);
        let established = Established {
            keys: response.keys,
            tx_id: keying.session_id,
            path,
            far_certificate: Bytes::copy_from_slice(keying.certificate),
        };
        self.with_session(slot, |session, cx| session.establish(cx, established));
        if let Some(introducer) = self.forwards.introducer_of(path.remote) {
            self.learn_introducer(slot, introducer);
        }
        self.stats.sessions_opened += 1;
        self.settle(slot);
        if yielded.is_none() {
            self.ask_instead_of_opening(slot);
        }
    }

    /// A session is being opened from here to the one who has just opened this, from an address that was not chosen: whether
    /// it is the same far end is known once it uses the keys, so it is asked to, and ends what is being opened then.
    fn ask_instead_of_opening(&mut self, slot: u32) {
        let identity = self.slots.get(slot).and_then(|occupant| occupant.identity);
        if identity.is_some_and(|identity| self.slots_with(identity).any(|other| self.is_opening(other))) {
            self.with_session(slot, |session, cx| session.ping(cx.now));
            self.settle(slot);
        }
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
