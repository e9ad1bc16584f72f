//! Key agreement in all four combinations of static and ephemeral keys (RFC 7425 §4.6.1).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rand_core::CryptoRng;

use super::FlashProfile;
use super::certificate::{Certificate, KeyKind};
use super::component::{Component, put_ephemeral_key, put_group_select, put_offers, put_randomness};
use super::derive::Derived;
use super::dh::{PrivateKey, PublicKey};
use super::groups::Group;
use super::key_log::{self, NearEnd};
use super::keys::Keys;
use super::negotiation::{Negotiated, Offers, Rules};
use super::seal::FlashKeys;
use crate::profile::{Initiation, KeyLog, KeyingError, PendingKeying, PreparedKey, Response, SessionKeys};
use crate::wire::Malformed;

/// Bytes of extra randomness that salt the keys of a session with a static key: the most that RFC 7425 §4.5.2.2
/// advises, and what some implementations insist on.
const SALT: usize = 64;

/// An initiator between IIKeying and RIKeying.
#[derive(Debug)]
struct Pending {
    private: PrivateKey,
    /// The responder's key, if its certificate has one for the group.
    static_key: Option<PublicKey>,
    component: Vec<u8>,
    offers: Offers,
    rules: Rules,
    key_log: Option<Arc<dyn KeyLog>>,
}

pub(super) fn initiate(
    profile: &FlashProfile,
    far_certificate: &[u8],
    prepared: Option<PreparedKey>,
    rng: &mut dyn CryptoRng,
) -> Result<Initiation, KeyingError> {
    let far = read_certificate(far_certificate)?;
    // The responder's order: its list says what costs it least, and it pays for every stranger that knows its address.
    let mut known = far.groups().filter_map(Group::from_id);
    let group = known.find(|group| profile.keys.groups().contains(group)).ok_or(KeyingError::NothingInCommon)?;
    let static_key = far.static_key(group.id()).map(|key| PublicKey::accept(group, key)).transpose()?;
    let mut component = Vec::new();
    let private = match &profile.keys {
        Keys::Ephemeral(generators) => {
            let (private, public) = generators.key(group, prepared, rng).ok_or(KeyingError::NothingInCommon)?;
            put_ephemeral_key(group.id(), &public, &mut component);
            private
        }
        Keys::Static(keys) => {
            put_group_select(group.id(), &mut component);
            put_salt(rng, &mut component);
            keys.private(group).cloned().ok_or(KeyingError::NothingInCommon)?
        }
    };
    let offers = profile.rules.offers(None);
    put_offers(&offers, &mut component);
    let pending = Pending {
        private,
        static_key,
        component: component.clone(),
        offers,
        rules: profile.rules,
        key_log: profile.key_log.clone(),
    };
    Ok(Initiation { component, pending: Box::new(pending) })
}

impl PendingKeying for Pending {
    fn finish(&self, responder_component: &[u8]) -> Result<Box<dyn SessionKeys>, KeyingError> {
        let far = Component::parse(responder_component)?;
        self.rules.admit(&far.offers)?;
        let group = self.private.group();
        let ephemeral_key;
        let far_key = match (&self.static_key, far.ephemeral_key) {
            (Some(key), None) => key,
            (None, Some((id, key))) if id == group.id() => {
                ephemeral_key = PublicKey::accept(group, key)?;
                &ephemeral_key
            }
            // RFC 7425 §4.5.2.1: an ephemeral key if and only if the certificate has no static one, and §4.6.1.1: in
            // the group that the initiator chose.
            _ => return Err(KeyingError::Malformed),
        };
        let secret = self.private.agree(far_key)?;
        let derived = Derived::new(&secret, &self.component, responder_component);
        let negotiated = Negotiated::new(&self.offers, &far.offers);
        if let Some(log) = &self.key_log {
            log.log(&key_log::line(NearEnd::Initiator, responder_component, &derived, negotiated));
        }
        Ok(Box::new(FlashKeys::new(&derived, negotiated)))
    }
}

pub(super) fn respond(
    profile: &FlashProfile,
    far_certificate: &[u8],
    initiator_component: &[u8],
    prepared: Option<PreparedKey>,
    rng: &mut dyn CryptoRng,
) -> Result<Response, KeyingError> {
    let certificate = read_certificate(far_certificate)?;
    let far = Component::parse(initiator_component)?;
    profile.rules.admit(&far.offers)?;
    let (group_id, far_key) = match (certificate.key_kind(), far.ephemeral_key, far.group_select) {
        (None, ..) => return Err(KeyingError::NothingInCommon),
        (Some(KeyKind::Ephemeral), Some((id, key)), None) => (id, key),
        (Some(KeyKind::Static), None, Some(id)) => {
            (id, certificate.static_key(id).ok_or(KeyingError::NothingInCommon)?)
        }
        // RFC 7425 §4.5.2.1 and §4.5.2.3: the certificate decides which of the two there must be.
        _ => return Err(KeyingError::Malformed),
    };
    let group = Group::from_id(group_id).ok_or(KeyingError::NothingInCommon)?;
    // RFC 7425 §4.6.1: from among those supported by both.
    if !profile.keys.groups().contains(&group) || !certificate.groups().any(|id| id == group_id) {
        return Err(KeyingError::NothingInCommon);
    }
    let far_key = PublicKey::accept(group, far_key)?;
    let offers = profile.rules.offers(Some(&far.offers));
    // The order of the options is the one that byte-exact implementations look for.
    let mut component = Vec::new();
    put_offers(&offers, &mut component);
    let secret = match &profile.keys {
        Keys::Ephemeral(generators) => {
            let (private, public) = generators.key(group, prepared, rng).ok_or(KeyingError::NothingInCommon)?;
            put_ephemeral_key(group_id, &public, &mut component);
            private.agree(&far_key)?
        }
        Keys::Static(keys) => {
            put_salt(rng, &mut component);
            keys.private(group).ok_or(KeyingError::NothingInCommon)?.agree(&far_key)?
        }
    };
    let derived = Derived::new(&secret, &component, initiator_component);
    let negotiated = Negotiated::new(&offers, &far.offers);
    if let Some(log) = &profile.key_log {
        log.log(&key_log::line(NearEnd::Responder, &component, &derived, negotiated));
    }
    Ok(Response { component, keys: Box::new(FlashKeys::new(&derived, negotiated)) })
}

/// The group of an initiator's component, if it names one that is known here.
pub(super) fn group_of(initiator_component: &[u8]) -> Option<Group> {
    let component = Component::parse(initiator_component).ok()?;
    Group::from_id(component.ephemeral_key.map_or(component.group_select, |(id, _)| Some(id))?)
}

fn read_certificate(bytes: &[u8]) -> Result<Certificate<'_>, KeyingError> {
    Certificate::parse(bytes).map_err(|Malformed| KeyingError::Malformed)
}

fn put_salt(rng: &mut dyn CryptoRng, component: &mut Vec<u8>) {
    let mut salt = [0; SALT];
    rng.fill_bytes(&mut salt);
    put_randomness(&salt, component);
}
