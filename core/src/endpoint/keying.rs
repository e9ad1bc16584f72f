//! S_KEYING_SENT (RFC 7016 §3.5.1.1.1): the near half of the key agreement is on its way, and the far half is waited
//! for.
//!
//! [`Env::begin_keying`] enters the state. `drive_opening` repeats the IIKeying; if nothing answers, it asks with a hello
//! first, and `on_repeated_hello` takes the answer. The RIKeying comes to `on_responder_keying`, which has the keys
//! computed, and [`Handshake::on_finished`] opens the session.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::backoff::HelloBackoff;
use super::demux::startup_chunks;
use super::entry::SessionEntry;
use super::env::Env;
use super::handshake::Handshake;
use super::index::Identity;
use super::initiator::MAX_COOKIE;
use super::limits::Bucket;
use super::startup::StartupPacket;
use crate::error::DropReason;
use crate::event::OpenFailure;
use crate::params::{COMPONENT_MAX, DATAGRAM_MAX, EARLY_PACKETS};
use crate::profile::{CryptoProfile, Initiation, KeyingError, PendingKeying, SessionKeys};
use crate::session::{Established, Role};
use crate::time::Instant;
use crate::trace::{KeyAgreementStep, TraceEvent};
use crate::transmit::{Path, RecvMeta};
use crate::wire::{
    Chunk, CookieChange, EncodeChunk as _, InitiatorKeying, Malformed, PacketFragment, ResponderHello, ResponderKeying,
    session_id,
};

/// Answers that cannot be combined, after which no more are tried: each costs a key agreement.
const MAX_FAILED_KEYINGS: u32 = 8;
/// RIKeyings a second whose signatures an opening session looks at. One is wanted. A signature of the modern profile takes
/// some 40 µs. So forgeries take less than a hundredth of a processor for each opening. Among fewer than that, the right
/// one still comes through.
const ANSWERS_PER_SECOND: u32 = 200;

/// IIKeyings to an address that has sent an RHello and nothing else since: its address is not proved.
const MAX_UNANSWERED: usize = 3;
/// So many times the bytes of an RHello may go to such an address in IIKeyings, and one IIKeying in any case. That of a hybrid
/// is up to 13 times as long as the RHello ([`CryptoProfile::min_cookie`] sees to that), so there is one of it.
const UNANSWERED_FACTOR: usize = 12;

/// The state of S_KEYING_SENT.
#[derive(Debug)]
pub(super) struct Keying {
    pub(super) path: Path,
    /// When the far end was chosen.
    pub(super) since: Instant,
    pub(super) far_certificate: Bytes,
    pub(super) component: Vec<u8>,
    /// None while it is away to be combined.
    pub(super) pending: Option<Box<dyn PendingKeying>>,
    pub(super) cookie: Vec<u8>,
    pub(super) cookie_changed: bool,
    /// Answers that could not be combined.
    pub(super) failures: u32,
    /// Answers whose signatures may still be looked at: anybody who has seen the IIKeying can send any number.
    answers: Bucket,
    pub(super) packet: StartupPacket,
    pub(super) attempts: HelloBackoff,
    /// The system refused to send the last IIKeying.
    pub(super) unsent: bool,
    /// IIKeyings that may still be sent before there is another answer.
    credit: u32,
    /// A hello has gone out since the last of them.
    asked_again: bool,
    /// Packets of the session that overtook its RIKeying.
    pub(super) early: Vec<(Path, RecvMeta, Vec<u8>)>,
}

impl Keying {
    /// Whether one more IIKeying may be sent; if not, a hello is sent instead, and its answer gives credit for one.
    pub(super) const fn take_credit(&mut self) -> bool {
        match self.credit.checked_sub(1) {
            Some(credit) => self.credit = credit,
            None => self.asked_again = true,
        }
        !self.asked_again
    }
}

impl Env<'_> {
    /// §3.5.1.1.1, step 2: to S_KEYING_SENT.
    pub(super) fn begin_keying(
        &mut self,
        slot: u32,
        path: Path,
        hello: &ResponderHello<'_>,
        initiation: Initiation,
        identity: Identity,
    ) {
        let rx_id = self.table.give_id(slot, self.shared);
        let packet = keying_packet(
            self.shared.profile.as_ref(),
            hello.certificate,
            path,
            rx_id,
            hello.cookie,
            &initiation.component,
        );
        let affordable = UNANSWERED_FACTOR * hello.payload_len() / packet.plain.len().max(1);
        let credit = affordable.clamp(1, MAX_UNANSWERED) as u32;
        self.with(slot, |entry, shared| {
            let Some(opening) = entry.opening_mut() else { return };
            if opening.introducers.is_empty()
                && opening.candidates.iter().all(|candidate| !candidate.path.matches(&path))
            {
                // Somebody among the candidates handed the hello on (§3.5.1.5, figure 14).
                opening.introducers.extend(opening.candidates.iter().map(|candidate| candidate.path));
            }
            opening.not_sent = None; // the answer says that it gets through
            opening.forget_refusals();
            opening.keying = Some(Box::new(Keying {
                path,
                since: shared.now,
                far_certificate: Bytes::copy_from_slice(hello.certificate),
                component: initiation.component,
                pending: Some(initiation.pending),
                cookie: hello.cookie.to_vec(),
                cookie_changed: false,
                failures: 0,
                answers: Bucket::new(ANSWERS_PER_SECOND, shared.now),
                packet,
                attempts: HelloBackoff::starting(shared.now, &opening.tag),
                unsent: false,
                credit,
                asked_again: false,
                early: Vec::new(),
            }));
            entry.known.identity = Some(identity);
            entry.session.keying_sent();
            entry.drive_opening(shared);
        });
    }

    /// The far end that was chosen answers once more, and may be sent one more IIKeying. It echoes the new cookie: if the
    /// far end has restarted, it does not know the one before. A changed cookie stays: it is for another address of this
    /// end than the hello came from.
    pub(super) fn on_repeated_hello(
        &mut self,
        slot: u32,
        path: Path,
        hello: &ResponderHello<'_>,
    ) -> Result<(), DropReason> {
        let repeated = self.with(slot, |entry, shared| {
            let rx_id = entry.rx_id;
            let keying = entry.keying_mut().ok_or(DropReason::Unexpected)?;
            if !keying.asked_again || !keying.path.matches(&path) || keying.far_certificate != hello.certificate {
                return Err(DropReason::Unexpected);
            }
            if hello.cookie.len() < shared.profile.min_cookie() {
                return Err(DropReason::Malformed);
            }
            if hello.cookie.len() > MAX_COOKIE {
                return Err(DropReason::OverLimit);
            }
            keying.asked_again = false;
            if !keying.cookie_changed {
                keying.cookie = hello.cookie.to_vec();
                let profile = shared.profile.as_ref();
                keying.packet = keying_packet(
                    profile,
                    &keying.far_certificate,
                    keying.path,
                    rx_id,
                    hello.cookie,
                    &keying.component,
                );
            }
            shared.startup.push_own(shared.now, keying.packet.clone());
            Ok(())
        });
        repeated.unwrap_or(Err(DropReason::Unexpected))
    }

    /// §3.5.1.2: takes the new cookie, once.
    fn on_cookie_change(&mut self, slot: u32, change: &CookieChange<'_>) -> Result<(), DropReason> {
        let entry = self.table.get(slot).ok_or(DropReason::Unexpected)?;
        let keying = entry.opening().and_then(|opening| opening.keying.as_ref()).ok_or(DropReason::Unexpected)?;
        if keying.cookie_changed || keying.cookie != change.old_cookie {
            return Err(DropReason::Unexpected);
        }
        if change.new_cookie.len() < self.shared.profile.min_cookie() {
            return Err(DropReason::Malformed);
        }
        if change.new_cookie.len() > MAX_COOKIE {
            return Err(DropReason::OverLimit);
        }
        let profile = self.shared.profile.as_ref();
        let packet = keying_packet(
            profile,
            &keying.far_certificate,
            keying.path,
            entry.rx_id,
            change.new_cookie,
            &keying.component,
        );
        self.with(slot, |entry, shared| {
            if let Some(keying) = entry.keying_mut() {
                keying.cookie_changed = true;
                keying.cookie = change.new_cookie.to_vec();
                keying.packet = packet;
                (keying.asked_again, keying.credit, keying.attempts.next) = (false, keying.credit.max(1), shared.now);
            }
            entry.drive_opening(shared);
        });
        Ok(())
    }

    /// Keeps a packet of the session that overtook its RIKeying.
    fn keep_early(&mut self, slot: u32, path: Path, meta: RecvMeta, encrypted: &[u8]) -> Result<(), DropReason> {
        // A far end that is told to begin with larger datagrams is met by one that is told the same.
        let longest = self.shared.config.session.max_datagram.max(DATAGRAM_MAX);
        let kept = self.with(slot, |entry, shared| {
            let keying = entry.keying_mut()?;
            // The far end has the session ID, so its answer was lost: it is asked for it again.
            if keying.asked_again && keying.path.matches(&path) {
                keying.asked_again = false;
                shared.startup.push_own(shared.now, keying.packet.clone());
            }
            let has_room = keying.early.len() < EARLY_PACKETS && encrypted.len() <= longest;
            if has_room {
                keying.early.push((path, meta, encrypted.to_vec()));
            }
            Some(has_room)
        });
        if kept.flatten().ok_or(DropReason::Unexpected)? { Ok(()) } else { Err(DropReason::OverLimit) }
    }
}

impl Handshake {
    /// A packet for the receive session ID of a session in S_KEYING_SENT: RIKeying or a cookie change under the
    /// Default Session Key, or else data of the session that overtook its RIKeying and is kept until that comes.
    pub(super) fn handle_keying_packet(
        &mut self,
        env: &mut Env<'_>,
        slot: u32,
        path: Path,
        meta: RecvMeta,
        encrypted: &[u8],
    ) -> Result<(), DropReason> {
        let mut copy = encrypted.to_vec();
        let plain = env.shared.default_keys.open(&mut copy).ok();
        let plain = plain.and_then(|plain| copy.get(plain));
        let Some((plain, chunks)) = plain.and_then(|plain| Some((plain, startup_chunks(plain).ok()?))) else {
            return env.keep_early(slot, path, meta, encrypted);
        };
        let (session, size) = (env.table.get(slot).map(SessionEntry::handle), encrypted.len() + session_id::LEN);
        env.shared.trace(session, || TraceEvent::PacketReceived { path, size, ecn: meta.ecn, plain });
        for chunk in chunks {
            let result = match chunk {
                Ok(Chunk::PacketFragment(fragment)) => self.on_keying_fragment(env, slot, path, &fragment),
                chunk => self.handle_keying_chunk(env, slot, chunk),
            };
            if let Err(reason) = result {
                env.shared.count(reason);
            }
        }
        Ok(())
    }

    /// §3.4, for a large RIKeying.
    fn on_keying_fragment(
        &mut self,
        env: &mut Env<'_>,
        slot: u32,
        path: Path,
        chunk: &PacketFragment<'_>,
    ) -> Result<(), DropReason> {
        let rx_id = env.table.get(slot).map_or(0, |entry| entry.rx_id);
        for packet in self.reassemble(env.shared, (path.remote, rx_id, chunk.packet_id), chunk)? {
            let chunks = startup_chunks(&packet).map_err(|reason| env.shared.count(reason));
            for chunk in chunks.into_iter().flatten() {
                if let Err(reason) = self.handle_keying_chunk(env, slot, chunk) {
                    env.shared.count(reason);
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every chunk that is not named is out of place (§2.3)")]
    fn handle_keying_chunk(
        &mut self,
        env: &mut Env<'_>,
        slot: u32,
        chunk: Result<Chunk<'_>, Malformed>,
    ) -> Result<(), DropReason> {
        match chunk.map_err(|_| DropReason::Malformed)? {
            Chunk::ResponderKeying(keying) => self.on_responder_keying(env, slot, &keying),
            Chunk::CookieChange(change) => env.on_cookie_change(slot, &change),
            Chunk::Padding | Chunk::Unknown { .. } => Ok(()),
            _ => Err(DropReason::WrongMode),
        }
    }

    /// §3.5.1.1.1: combines the two halves; to S_OPEN.
    fn on_responder_keying(
        &mut self,
        env: &mut Env<'_>,
        slot: u32,
        chunk: &ResponderKeying<'_>,
    ) -> Result<(), DropReason> {
        // §3.3: 0 is for startup. No session could be told by it.
        if chunk.session_id == 0 {
            return Err(DropReason::Malformed);
        }
        let taken = env.with(slot, |entry, shared| {
            let session = entry.session.handle();
            let keying = entry.keying_mut().ok_or(DropReason::Unexpected)?;
            if keying.failures >= MAX_FAILED_KEYINGS || chunk.component.len() > COMPONENT_MAX {
                return Err(DropReason::OverLimit);
            }
            // One answer at a time: while one is being combined, others are as if they had been lost.
            if keying.pending.is_none() {
                return Err(DropReason::Unexpected);
            }
            if !keying.answers.take(shared.now) {
                return Err(DropReason::OverLimit);
            }
            let signed = [chunk.signed, &keying.component];
            if !shared.profile.verify(Role::Responder, &keying.far_certificate, &signed, chunk.signature) {
                return Err(DropReason::NotAuthentic);
            }
            Ok((session, keying.pending.take().ok_or(DropReason::Unexpected)?))
        });
        let (session, pending) = taken.ok_or(DropReason::Unexpected)??;
        self.finish(env, session, chunk.session_id, pending, chunk.component)
    }

    /// The two halves were combined, for a session that may have come to its end meanwhile.
    pub(super) fn on_finished(
        &mut self,
        env: &mut Env<'_>,
        slot: u32,
        tx_id: u32,
        pending: Option<Box<dyn PendingKeying>>,
        keys: Result<Box<dyn SessionKeys>, KeyingError>,
    ) -> Result<(), DropReason> {
        let early = env.with(slot, |entry, shared| {
            let keying = entry.keying_mut().ok_or(DropReason::Unexpected)?;
            let remote = Some(keying.path.remote);
            shared.events.trace(|| TraceEvent::key_agreement(KeyAgreementStep::Finish, remote, &keys));
            let keys = match keys {
                Ok(keys) => keys,
                Err(error) => {
                    keying.pending = pending;
                    keying.failures += 1;
                    entry.refuse_answer(shared.now, OpenFailure::KeyAgreement);
                    return Err(DropReason::from(error));
                }
            };
            let established =
                Established { keys, tx_id, path: keying.path, far_certificate: keying.far_certificate.clone() };
            let early = core::mem::take(&mut keying.early);
            entry.session.establish(&mut shared.context(), established);
            shared.stats.sessions_opened += 1;
            Ok(early)
        });
        let early = early.ok_or(DropReason::Unexpected)??;
        env.question_claims_to_be(slot);
        for (path, meta, mut packet) in early {
            let size = packet.len() + session_id::LEN;
            let handled = env.handle_packet(slot, path, meta, &mut packet);
            handled.unwrap_or_else(|reason| env.shared.count_datagram(path, size, reason));
        }
        Ok(())
    }
}

impl SessionEntry {
    fn keying_mut(&mut self) -> Option<&mut Keying> {
        self.opening_mut()?.keying.as_deref_mut()
    }
}

fn keying_packet(
    profile: &dyn CryptoProfile,
    far_certificate: &[u8],
    path: Path,
    session_id: u32,
    cookie: &[u8],
    component: &[u8],
) -> StartupPacket {
    let certificate = profile.certificate();
    let signed = InitiatorKeying::signed_parameters(session_id, cookie, certificate, component);
    let signature = profile.sign(Role::Initiator, far_certificate, &[&signed]);
    let keying = InitiatorKeying {
        session_id,
        cookie_echo: cookie,
        certificate,
        component,
        signature: &signature,
        signed: &signed,
    };
    // Again and again, as the routes are then.
    StartupPacket::new(path.with_local(None), 0, &keying)
}
