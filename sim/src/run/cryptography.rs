//! Which cryptography the endpoints of a run have, and their identities.

use std::sync::Arc;

use datagram_sim::Key;
use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::FlashProfile;
use rtmfp_core::profile::modern::{Cipher, Hybrid, ModernProfile};

use super::RunOptions;
use crate::rtmfp::{MalformingPeer, SimRandom, TappedProfile, ToyProfile};
use crate::scenario::{ProfileName, Scenario, ScenarioError};

/// Which cryptography endpoints use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Crypto {
    /// Sizes without security: fast.
    #[default]
    Toy,
    /// The Flash profile (RFC 7425 §4).
    Real,
    /// The modern profile.
    Modern,
    /// The modern profile with ML-KEM, required or offered. It needs the feature `ml-kem` of `rtmfp-core`, which `files` has.
    Hybrid(Hybrid),
}

/// The cryptography of a node: what the scenario says of it, or of all, or else the run.
pub(super) fn of(scenario: &Scenario, name: &str, options: &RunOptions) -> Crypto {
    let own = scenario.node.get(name).and_then(|node| node.profile);
    own.or(scenario.profile).map_or(options.crypto, |profile| match profile {
        ProfileName::Flash => Crypto::Real,
        ProfileName::Modern => Crypto::Modern,
        ProfileName::Hybrid => Crypto::Hybrid(Hybrid::Required),
        ProfileName::HybridOffered => Crypto::Hybrid(Hybrid::Offered),
    })
}

/// The profile of a node.
pub(super) fn profile(
    scenario: &Scenario,
    name: &str,
    options: &RunOptions,
) -> Result<Arc<dyn CryptoProfile>, ScenarioError> {
    let place = scenario.node.keys().position(|known| known == name).unwrap_or(0);
    let own = u32::try_from(place).unwrap_or(0).saturating_add(1_000_000);
    let node = scenario.node.get(name);
    let identity = node.and_then(|node| node.identity).unwrap_or(own);
    let crypto = of(scenario, name, options);
    let made = match (node.and_then(|node| node.certificate), crypto) {
        (Some(length), Crypto::Toy) => {
            let length = usize::try_from(length.0).unwrap_or(usize::MAX);
            Ok(Arc::new(ToyProfile::new(identity).with_certificate(length)) as Arc<dyn CryptoProfile>)
        }
        _ => new_profile(identity, crypto),
    };
    let made = made.map_err(|error| ScenarioError(format!("{name}: {error}")))?;
    Ok(match node.and_then(|node| node.malforms) {
        Some(every) => {
            // The label is part of the seed: with another one, the hashes change.
            let malforming = MalformingPeer::new(every, Key::mix(options.seed, name, "spoils"));
            Arc::new(TappedProfile::new(made, malforming))
        }
        None => made,
    })
}

/// The profile of an identity.
pub(super) fn new_profile(identity: u32, crypto: Crypto) -> Result<Arc<dyn CryptoProfile>, ScenarioError> {
    let mut rng = SimRandom::new(Key::mix(identity.into(), "identity", "certificate"));
    Ok(match crypto {
        Crypto::Toy => Arc::new(ToyProfile::new(identity)),
        Crypto::Real => {
            // Nodes name each other by fingerprint, and have fresh keys as servers should (RFC 7425 §7).
            let built = FlashProfile::builder().allow_ephemeral_fingerprints(true).build(&mut rng);
            Arc::new(built.map_err(|error| ScenarioError(error.to_string()))?)
        }
        Crypto::Modern => new_modern(Hybrid::Off, &mut rng)?,
        Crypto::Hybrid(hybrid) => new_modern(hybrid, &mut rng)?,
    })
}

fn new_modern(hybrid: Hybrid, rng: &mut SimRandom) -> Result<Arc<dyn CryptoProfile>, ScenarioError> {
    // The usual order depends on the processor, and a run must not.
    let ciphers = [Cipher::Aes128Gcm, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];
    let built = ModernProfile::builder().ciphers(&ciphers).hybrid(hybrid).build(rng);
    Ok(Arc::new(built.map_err(|error| ScenarioError(error.to_string()))?))
}
