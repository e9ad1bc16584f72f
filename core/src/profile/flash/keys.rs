//! The near end's Diffie-Hellman keys: made for each session, or static.

use alloc::vec::Vec;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::comb::Comb;
use super::dh::PrivateKey;
use super::groups::Group;
use crate::profile::PreparedKey;
use crate::wire::Malformed;
use crate::wire::option::{Options, RawOption, encode_option};

/// Where the near end's keys come from, with the groups in order of preference.
#[derive(Debug)]
pub(super) enum Keys {
    /// A fresh key for each session.
    Ephemeral(Generators),
    /// The keys in the certificate.
    Static(StaticKeys),
}

impl Keys {
    pub(super) fn groups(&self) -> &[Group] {
        match self {
            Self::Ephemeral(generators) => &generators.groups,
            Self::Static(keys) => &keys.groups,
        }
    }

    /// A fresh key ahead of time, in the group that is preferred.
    pub(super) fn prepare(&self, rng: &mut dyn CryptoRng) -> Option<PreparedKey> {
        let Self::Ephemeral(generators) = self else { return None };
        let group = *generators.groups.first()?;
        let (private, public) = generators.generate(group, rng)?;
        Some(PreparedKey { kind: group.id(), private: private.to_bytes(), public })
    }
}

/// Makes fresh keys in each of some groups.
#[derive(Debug)]
pub(super) struct Generators {
    groups: Vec<Group>,
    /// One of each group.
    combs: Vec<Comb>,
}

impl Generators {
    pub(super) fn new(groups: Vec<Group>) -> Self {
        let combs = groups.iter().map(|group| Comb::new(*group)).collect();
        Self { groups, combs }
    }

    /// A private key and its public key, those that were prepared if they are of this group; none if the group is not one
    /// of these.
    pub(super) fn key(
        &self,
        group: Group,
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Option<(PrivateKey, Vec<u8>)> {
        let prepared = prepared.filter(|key| key.kind == group.id());
        let restored = prepared.and_then(|key| Some((PrivateKey::restore(group, &key.private)?, key.public)));
        restored.or_else(|| self.generate(group, rng))
    }

    fn generate(&self, group: Group, rng: &mut dyn CryptoRng) -> Option<(PrivateKey, Vec<u8>)> {
        let at = self.groups.iter().position(|known| *known == group)?;
        let private = PrivateKey::generate(group, rng);
        let public = private.public_key_by(self.combs.get(at)?);
        Some((private, public))
    }
}

/// The private keys behind a certificate with static keys, at most one in a group. They are the identity: whoever
/// has them is this endpoint (RFC 7425 §4.3.4). Wiped when dropped.
#[derive(Clone, Debug)]
pub struct StaticKeys {
    groups: Vec<Group>,
    keys: Vec<PrivateKey>,
}

impl StaticKeys {
    /// New keys, one in each of the groups, which are given in order of preference. A group given twice counts once.
    #[must_use]
    pub fn generate(groups: &[Group], rng: &mut dyn CryptoRng) -> Self {
        let mut keys: Vec<PrivateKey> = Vec::new();
        for group in groups {
            if !keys.iter().any(|key| key.group() == *group) {
                keys.push(PrivateKey::generate(*group, rng));
            }
        }
        Self::new(keys)
    }

    fn new(keys: Vec<PrivateKey>) -> Self {
        Self { groups: keys.iter().map(PrivateKey::group).collect(), keys }
    }

    /// The secret bytes to save, for [`from_bytes`](Self::from_bytes). They are wiped when dropped.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Reserved at once, so that growing leaves no copy behind.
        let mut out = Zeroizing::new(Vec::with_capacity(self.keys.len() * 64));
        for key in &self.keys {
            encode_option(key.group().id(), &key.to_bytes(), &mut out);
        }
        out
    }

    /// Keys that were saved by [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// The bytes do not come from there.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut keys: Vec<PrivateKey> = Vec::new();
        for option in Options::new(bytes) {
            let RawOption::Option { kind, value } = option? else { return Err(Malformed) };
            let group = Group::from_id(kind).ok_or(Malformed)?;
            if keys.iter().any(|key| key.group() == group) {
                return Err(Malformed);
            }
            keys.push(PrivateKey::restore(group, value).ok_or(Malformed)?);
        }
        Ok(Self::new(keys))
    }

    /// The groups, in order of preference.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn private(&self, group: Group) -> Option<&PrivateKey> {
        self.keys.iter().find(|key| key.group() == group)
    }

    /// The public keys, as the certificate has them.
    pub(super) fn public_keys(&self) -> Vec<(Group, Vec<u8>)> {
        self.keys.iter().map(|key| (key.group(), key.public_key())).collect()
    }
}
