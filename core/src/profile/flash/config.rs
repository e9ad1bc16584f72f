//! Making a Flash profile.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rand_core::CryptoRng;

use super::FlashProfile;
use super::certificate::{Certificate, Contents};
use super::component::HMAC_LENGTHS;
use super::groups::Group;
use super::keys::{Generators, Keys, StaticKeys};
use super::negotiation::{Protection, Rules};
use super::signature::Password;
use crate::error::ConfigError;
use crate::profile::KeyLog;

/// Bytes of extra randomness in a certificate without keys, to give it a fingerprint of its own (RFC 7425 §4.3.3.3).
const CERTIFICATE_RANDOMNESS: usize = 64;
/// The shortest HMAC that is taken from a far end, unless set: 80 bits, the least that RFC 2104 §5 recommends. One of
/// 4 bytes is met by chance in 4 billion packets, which are sent in hours. All peers that are known send 16 bytes.
const MIN_HMAC: usize = 10;
/// The smallest group, in bits, for sessions with signatures, unless the caller names others.
const SIGNED_GROUP_BITS: u32 = 2_048;
/// The longest hostname, so that the certificate fits in a hello.
const LONGEST_HOSTNAME: usize = 255;
/// The longest password identifier, so that the signature fits in a keying packet.
const LONGEST_PASSWORD_ID: usize = 255;
/// The most passwords to sign with, for the same reason.
const MOST_SIGNATURES: usize = 4;

/// Makes a [`FlashProfile`]. Without further settings: a certificate without hostname, a fresh key in group 14
/// for each session, and an HMAC of 16 bytes and session sequence numbers both sent and required of the far end.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    hostname: Option<Vec<u8>>,
    accepts_ancillary_data: bool,
    groups: Vec<Group>,
    /// Whether the caller named the groups, rather than a preset.
    groups_chosen: bool,
    static_keys: Option<StaticKeys>,
    rules: Rules,
    signing: Vec<Password>,
    accepted: Vec<Password>,
    signature_required: bool,
    ephemeral_fingerprints: bool,
    key_log: Option<Arc<dyn KeyLog>>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            hostname: None,
            accepts_ancillary_data: false,
            groups: [Group::Modp2048].into(),
            groups_chosen: false,
            static_keys: None,
            rules: Rules {
                hmac: Protection::required(),
                hmac_len: 16,
                min_hmac_len: MIN_HMAC,
                sequence: Protection::required(),
            },
            signing: Vec::new(),
            accepted: Vec::new(),
            signature_required: false,
            ephemeral_fingerprints: false,
            key_log: None,
        }
    }
}

impl Builder {
    /// The hostname in the certificate (RFC 7425 §4.3.3.1), at most 255 bytes. None unless set.
    pub fn hostname(mut self, hostname: &[u8]) -> Self {
        self.hostname = Some(hostname.to_vec());
        self
    }

    /// Whether discriminators with ancillary data may select this endpoint (RFC 7425 §4.3.3.2), as clients use them
    /// to reach a server. Not unless set.
    pub const fn accept_ancillary(mut self, accept: bool) -> Self {
        self.accepts_ancillary_data = accept;
        self
    }

    /// The groups for fresh keys, at least one and none twice; 14 alone unless set. As initiator, the first of the
    /// responder's list that is one of these is used. As responder, this is that list, in order of preference, and the
    /// far end may choose any of it. A key agreement in group 14 costs three times one in group 2, and in group 16 five
    /// to seven times one in group 14, so whoever lists group 16 lets strangers cause that much more work.
    /// With [static keys](Self::static_keys) this has no effect.
    pub fn groups(mut self, groups: &[Group]) -> Self {
        self.groups = groups.to_vec();
        self.groups_chosen = true;
        self
    }

    /// Puts static keys into the certificate, in place of a fresh key for each session: the same keys make the same
    /// certificate, and so the same fingerprint (if the hostname and whether ancillary data is accepted are the
    /// same), and opening a session proves to have them. The price is that whoever gets hold of the keys can read
    /// what was recorded.
    pub fn static_keys(mut self, keys: StaticKeys) -> Self {
        self.static_keys = Some(keys);
        self
    }

    /// How HMACs are negotiated (RFC 7425 §4.6.4). Unless set, they are always sent and required of the far end.
    pub const fn hmac(mut self, protection: Protection) -> Self {
        self.rules.hmac = protection;
        self
    }

    /// How long the HMACs on packets sent are: 4 to 32 bytes (RFC 7425 §4.5.2.4), 16 unless set. The far end chooses
    /// the length of its own, which must reach [`min_hmac_length`](Self::min_hmac_length).
    pub const fn hmac_length(mut self, bytes: usize) -> Self {
        self.rules.hmac_len = bytes;
        self
    }

    /// The shortest HMAC on packets received: 4 to 32 bytes, 10 unless set. A far end that would send shorter ones is
    /// refused. RFC 7425 §4.5.2.4 allows 4 bytes, which can be forged by trying; RFC 2104 §5 advises 10 at least.
    pub const fn min_hmac_length(mut self, bytes: usize) -> Self {
        self.rules.min_hmac_len = bytes;
        self
    }

    /// How session sequence numbers are negotiated (RFC 7425 §4.6.6). Unless set, they are always sent and required
    /// of the far end.
    pub const fn sequence_numbers(mut self, protection: Protection) -> Self {
        self.rules.sequence = protection;
        self
    }

    /// For peers of all kinds, old ones too: groups 14, 16, 5 and 2, HMAC and session sequence numbers if the far end
    /// asks for them, nothing required. Groups 5 and 2 are left out if [signatures are required](Self::require_signature).
    ///
    /// Without HMAC a session cannot follow a far end to another address (RFC 7016 §5). If a NAT gives one of the ends a
    /// new port, the session stalls for good.
    pub fn compatible(mut self) -> Self {
        self.groups = [Group::Modp2048, Group::Modp4096, Group::Modp1536, Group::Modp1024].into();
        self.groups_chosen = false;
        self.hmac(Protection::on_request()).sequence_numbers(Protection::on_request())
    }

    /// To open sessions to a server of the Mona family, with [`SessionConfig::mona`](crate::SessionConfig::mona): such a
    /// server reads the initiator's key from its certificate and knows group 2 alone. So the certificate has static
    /// keys, made here; a new profile for each session keeps what RFC 7425 §7 asks of clients. Neither HMAC nor session
    /// sequence numbers: a session is not protected against whoever is on its path.
    pub fn for_mona_server(self, rng: &mut dyn CryptoRng) -> Self {
        self.static_keys(StaticKeys::generate(&[Group::Modp1024], rng)).mona()
    }

    /// To accept sessions from clients of the Mona family, with [`SessionConfig::mona`](crate::SessionConfig::mona):
    /// they insist on a fresh key in group 2. Neither HMAC nor session sequence numbers: a session is not protected
    /// against whoever is on its path.
    pub fn for_mona_clients(self) -> Self {
        self.accept_ancillary(true).groups(&[Group::Modp1024]).mona()
    }

    const fn mona(self) -> Self {
        self.allow_ephemeral_fingerprints(true).hmac(Protection::never()).sequence_numbers(Protection::never())
    }

    /// Signs with this password, under an identifier of at most 255 bytes that the far end knows it by (RFC 7425
    /// §4.3.5.1.1). May be called up to four times, to suit far ends that know different passwords.
    pub fn sign_with(mut self, id: &[u8], password: &[u8]) -> Self {
        self.signing.push(Password::new(id, password));
        self
    }

    /// Recognizes this password in far ends' signatures (RFC 7425 §4.3.5.1.1). Without effect unless
    /// [signatures are required](Self::require_signature).
    pub fn accept_password(mut self, id: &[u8], password: &[u8]) -> Self {
        self.accepted.push(Password::new(id, password));
        self
    }

    /// Refuses far ends that do not sign with a password that is [recognized](Self::accept_password). Unless set,
    /// any signature is valid (RFC 7425 §4.3.5).
    ///
    /// A responder's signature covers the keying components of both ends, but not its certificate. Two rules keep a man
    /// in the middle from using that:
    /// * As initiator, this end refuses a certificate with static keys unless it is pinned by its
    ///   [fingerprint](super::Discriminator::fingerprint). So a responder that is found by name or URI should have fresh
    ///   keys for each session, as RFC 7425 §7 advises to servers.
    /// * Groups below 2048 bits are neither offered nor accepted, unless they are named in [`groups`](Self::groups) or
    ///   are those of [static keys](Self::static_keys).
    ///
    /// A signature lets whoever sees it try passwords offline (RFC 7425 §4.3.5.1.1 has a plain HMAC): a password should
    /// have 80 random bits.
    pub const fn require_signature(mut self) -> Self {
        self.signature_required = true;
        self
    }

    /// Whether this end, as initiator, accepts a far end that it pinned by [fingerprint](super::Discriminator::fingerprint)
    /// and whose certificate has no static keys. Not unless set, because such a fingerprint proves nothing: the
    /// certificate is no secret, and whoever copies it can agree on fresh keys of his own (RFC 7425 §4.3.4). For peers
    /// that name servers by the fingerprint of such a certificate.
    pub const fn allow_ephemeral_fingerprints(mut self, allow: bool) -> Self {
        self.ephemeral_fingerprints = allow;
        self
    }

    /// Tells the keys of every session to `log`, for a packet analyser. Not unless set. Whoever has them can read what
    /// the sessions carry, and forge packets while they last: never set this where others can read the log.
    pub fn key_log(mut self, log: Arc<dyn KeyLog>) -> Self {
        self.key_log = Some(log);
        self
    }

    /// Makes the profile, which takes as long as a key agreement: what all fresh keys share is computed once. The generator gives the randomness of the certificate; nothing of it is kept.
    ///
    /// # Errors
    /// A value is outside of the limits said with its method.
    pub fn build(self, rng: &mut dyn CryptoRng) -> Result<FlashProfile, ConfigError> {
        self.validate()?;
        let groups = self.fresh_key_groups();
        let mut randomness = [0; CERTIFICATE_RANDOMNESS];
        let mut contents = Contents {
            hostname: self.hostname.as_deref(),
            accepts_ancillary_data: self.accepts_ancillary_data,
            ..Contents::default()
        };
        let keys = match self.static_keys {
            Some(keys) => Keys::Static(keys),
            None => Keys::Ephemeral(Generators::new(groups)),
        };
        match &keys {
            Keys::Static(keys) => contents.static_keys = keys.public_keys(),
            Keys::Ephemeral(_) => {
                rng.fill_bytes(&mut randomness);
                contents.ephemeral_groups = keys.groups();
                contents.randomness = &randomness;
            }
        }
        let certificate = contents.encode();
        let fingerprint = Certificate::parse(&certificate)
            .map_err(|_| ConfigError { field: "certificate", rule: "must be well-formed" })?
            .fingerprint();
        Ok(FlashProfile {
            certificate,
            fingerprint,
            keys,
            rules: self.rules,
            signing: self.signing,
            accepted: self.accepted,
            signature_required: self.signature_required,
            ephemeral_fingerprints: self.ephemeral_fingerprints,
            key_log: self.key_log,
        })
    }

    /// A signature covers no responder's certificate, so a man in the middle could leave the better groups out of it.
    fn fresh_key_groups(&self) -> Vec<Group> {
        let strong = |group: &Group| group.bits() >= SIGNED_GROUP_BITS;
        let any = !self.signature_required || self.groups_chosen;
        self.groups.iter().copied().filter(|group| any || strong(group)).collect()
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let check = |holds: bool, field, rule| if holds { Ok(()) } else { Err(ConfigError { field, rule }) };
        let short = self.hostname.as_ref().is_none_or(|hostname| hostname.len() <= LONGEST_HOSTNAME);
        check(short, "hostname", "must not be longer than 255 bytes")?;
        let groups = self.static_keys.as_ref().map_or(&*self.groups, StaticKeys::groups);
        check(!groups.is_empty(), "groups", "must not be empty")?;
        let once = groups.iter().all(|group| groups.iter().filter(|other| *other == group).count() == 1);
        check(once, "groups", "must name no group twice")?;
        let length = HMAC_LENGTHS.contains(&(self.rules.hmac_len as u64));
        check(length, "hmac_length", "must be 4 to 32 bytes")?;
        let least = HMAC_LENGTHS.contains(&(self.rules.min_hmac_len as u64));
        check(least, "min_hmac_length", "must be 4 to 32 bytes")?;
        check(self.signing.len() <= MOST_SIGNATURES, "sign_with", "must not be called more than four times")?;
        let ids = self.signing.iter().all(|password| password.id().len() <= LONGEST_PASSWORD_ID);
        check(ids, "sign_with", "must not have an identifier longer than 255 bytes")?;
        let provable = !self.signature_required || !self.accepted.is_empty();
        check(provable, "require_signature", "must not be set without a password to accept")
    }
}
