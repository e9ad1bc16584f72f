//! What has been signed, what has arrived, and what the endpoint may therefore believe. Signatures are not verified here:
//! a message is authentic only if its owner has signed exactly that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rtmfp_core::profile::modern::{Discriminator, ModernProfile};
use rtmfp_core::profile::{CryptoProfile, SessionKeys};
use rtmfp_core::wire::{Chunk, InitiatorKeying, PacketHeader, session_id};
use rtmfp_core::{Endpoint, Event, Role, SessionHandle};

/// What a signature is over, but for the certificate of the signer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Signed {
    role: Role,
    far_certificate: Vec<u8>,
    message: Vec<u8>,
}

impl Signed {
    pub(super) fn new(role: Role, far_certificate: &[u8], parts: &[&[u8]]) -> Self {
        Self { role, far_certificate: far_certificate.to_vec(), message: parts.concat() }
    }
}

pub(super) struct Oracle {
    near: Arc<ModernProfile>,
    default_keys: Box<dyn SessionKeys>,
    /// A session may open later than its signature comes.
    offloads: bool,
    /// What was signed: under which certificate, what, and the signature.
    signed: BTreeSet<(Vec<u8>, Signed, Vec<u8>)>,
    /// What has arrived and may open a session now.
    arrived: Vec<(Signed, Vec<u8>)>,
    /// IIKeyings of the endpoint: their components, by session ID.
    asked: BTreeMap<u32, Vec<u8>>,
    /// What the endpoint's own openings are to.
    targets: BTreeMap<SessionHandle, Vec<u8>>,
    /// The certificate that was signed with last.
    pub(super) far_certificate: Vec<u8>,
}

impl Oracle {
    pub(super) fn new(near: Arc<ModernProfile>, offloads: bool) -> Self {
        Self {
            default_keys: near.default_keys(),
            far_certificate: near.certificate().to_vec(),
            near,
            offloads,
            signed: BTreeSet::new(),
            arrived: Vec::new(),
            asked: BTreeMap::new(),
            targets: BTreeMap::new(),
        }
    }

    /// Signs with this identity.
    pub(super) fn sign(&mut self, signer: &ModernProfile, what: Signed) -> Vec<u8> {
        let signature = signer.sign(what.role, &what.far_certificate, &[&what.message]);
        self.far_certificate = signer.certificate().to_vec();
        self.signed.insert((self.far_certificate.clone(), what, signature.clone()));
        signature
    }

    /// The endpoint opens a session.
    pub(super) fn opening(&mut self, session: SessionHandle, discriminator: Vec<u8>) {
        self.targets.insert(session, discriminator);
    }

    /// The endpoint has sent an IIKeying.
    pub(super) fn asked(&mut self, keying: &InitiatorKeying<'_>) {
        self.asked.insert(keying.session_id, keying.component.to_vec());
    }

    /// This is about to arrive.
    pub(super) fn arriving(&mut self, datagram: &[u8]) {
        if !self.offloads {
            self.arrived.clear();
        }
        let Some((id, offset)) = session_id::unscramble(datagram) else { return };
        let mut bytes = datagram.get(offset..).unwrap_or_default().to_vec();
        let Ok(plain) = self.default_keys.open(&mut bytes) else { return };
        let Ok((_, chunks)) = PacketHeader::parse(bytes.get(plain).unwrap_or_default()) else { return };
        for chunk in chunks.flatten() {
            self.on_chunk(id, &chunk);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is signed")]
    fn on_chunk(&mut self, id: u32, chunk: &Chunk<'_>) {
        let near = self.near.certificate();
        match chunk {
            Chunk::InitiatorKeying(keying) => {
                let what = Signed::new(Role::Initiator, near, &[keying.signed]);
                self.arrived.push((what, keying.signature.to_vec()));
            }
            Chunk::ResponderKeying(keying) => {
                if let Some(skic) = self.asked.get(&id) {
                    let what = Signed::new(Role::Responder, near, &[keying.signed, skic]);
                    self.arrived.push((what, keying.signature.to_vec()));
                }
            }
            _ => {}
        }
    }

    /// What the endpoint tells, and holds, is what it may. `used` is in how many sessions a packet was sent to it.
    pub(super) fn look(&mut self, victim: &mut Endpoint, used: usize) {
        while let Some(event) = victim.poll_event() {
            if let Event::SessionOpened { session } = event {
                self.opened(victim, session);
            }
        }
        let proved = victim
            .sessions()
            .filter_map(|session| victim.session(session))
            .filter(|session| session.role() == Role::Responder && session.far_keys_proved());
        assert!(proved.count() <= used, "a session is proved in which nothing was sent");
    }

    fn opened(&self, victim: &Endpoint, session: SessionHandle) {
        let Some(view) = victim.session(session) else { return };
        let certificate = view.far_certificate();
        let signer = if view.role() == Role::Initiator { Role::Responder } else { Role::Initiator };
        let authentic = self.arrived.iter().any(|(what, signature)| {
            what.role == signer && self.signed.contains(&(certificate.to_vec(), what.clone(), signature.clone()))
        });
        assert!(authentic, "a session is open without a signature of its far end");
        if let Some(target) = self.targets.get(&session) {
            // In glare after an RHello, it is enough that both certificates are of one owner.
            let by_owner = view.role() == Role::Responder
                && Discriminator::parse(target).is_ok_and(|target| target.required_peer_id().is_none());
            let leads_there = by_owner || self.near.selects(target, certificate);
            assert!(leads_there, "a session is not with whom it was opened to");
        }
    }
}
