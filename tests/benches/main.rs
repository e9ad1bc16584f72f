//! What things cost. `README.md` has the results, and how they were had.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "benchmarks"
)]

mod endpoints;
mod packets;
mod registered;

use std::sync::Arc;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::{Discriminator, FlashProfile, Group, Protection};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_tests::duo::TestRng;

fn main() {
    divan::main();
}

/// How packets are protected.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    /// The Flash profile with its checksum only.
    Checksum,
    /// The Flash profile with an HMAC of 16 bytes and session sequence numbers.
    Hmac,
}

impl Kind {
    /// Two identities, and the discriminator that selects the second.
    fn identities(self, group: Group) -> ([Arc<dyn CryptoProfile>; 2], Vec<u8>) {
        if matches!(self, Self::Plain) {
            return (["a", "b"].map(|name| Arc::new(PlainProfile::new(name.as_bytes())) as _), b"b".to_vec());
        }
        let profiles = [1, 2].map(|seed| {
            let mut builder = FlashProfile::builder().groups(&[group]).allow_ephemeral_fingerprints(true);
            if matches!(self, Self::Checksum) {
                builder = builder.hmac(Protection::never()).sequence_numbers(Protection::never());
            }
            builder.build(&mut TestRng(seed)).unwrap()
        });
        let discriminator = Discriminator::new().fingerprint(profiles[1].fingerprint()).to_bytes();
        (profiles.map(|profile| Arc::new(profile) as _), discriminator)
    }
}
