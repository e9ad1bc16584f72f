//! An endpoint among people who mean it ill: strangers, and authenticated peers that keep no rule. Whatever they send,
//! nothing panics, memory stays bounded, and a friend's transfers through the same endpoint do not notice.
//!
//! `RTMFP_HOSTILE` multiplies the number of packets (default 1: a million under the plain profile and a hundred
//! thousand under Flash), `RTMFP_HOSTILE_SEED` chooses which.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod grammar;
mod limits;
mod mutation;
mod strangers;
mod table;
mod world;

use std::sync::Arc;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::{Discriminator, FlashProfile, Group};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_tests::counting::Counting;
use rtmfp_tests::duo::TestRng;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An identity and the discriminator that selects it.
type Identity = (Arc<dyn CryptoProfile>, Vec<u8>);

fn plain(name: &str) -> Identity {
    (Arc::new(PlainProfile::new(name.as_bytes())), name.as_bytes().to_vec())
}

/// With the smallest group, for speed: what is tested here is behind the key agreement.
fn flash(seed: u64) -> Identity {
    let profile = FlashProfile::builder().groups(&[Group::Modp1024]).build(&mut TestRng(seed)).unwrap();
    let discriminator = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
    (Arc::new(profile), discriminator)
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
