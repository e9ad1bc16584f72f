//! What a reader of this process's memory can make of it after a handshake.

use alloc::vec;
use alloc::vec::Vec;

use chacha20::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::modern::{default_keys, pair};
use super::pair::{A, B};
use crate::endpoint::demux::startup_chunks;
use crate::endpoint::key_agreement::{KeyAgreement, Op, Outcome};
use crate::profile::modern::{Provider as _, PureRust};
use crate::wire::Chunk;

/// All secrets of 32 bytes that a generator has drawn, from the key that it has in memory.
fn rewound(key: [u8; 32]) -> Vec<[u8; 32]> {
    let mut rng = ChaCha20Rng::from_seed(key);
    let mut bytes = vec![0; 2_048];
    rng.fill_bytes(&mut bytes);
    bytes.windows(32).step_by(4).map(|window| window.try_into().unwrap()).collect()
}

#[test]
fn the_generator_after_a_handshake_does_not_tell_the_keys_of_the_handshake() {
    let mut pair = pair(40);
    let copies = |pair: &super::pair::Pair| [A, B].map(|node| pair.nodes[node].endpoint.shared.private_rng.get_seed());
    let before = copies(&pair);
    pair.open(A);
    pair.run_for_millis(1_000);
    let after = copies(&pair);
    let mut components = [None, None];
    for (_, sent) in &pair.log {
        let Some((_, plain)) = sent.plain_under(default_keys().as_mut()) else { continue };
        for chunk in startup_chunks(&plain).unwrap() {
            if let Ok(Chunk::InitiatorKeying(keying)) = &chunk {
                components[A] = Some(keying.component.to_vec());
            }
            if let Ok(Chunk::ResponderKeying(keying)) = &chunk {
                components[B] = Some(keying.component.to_vec());
            }
        }
    }
    for node in [A, B] {
        // Behind the length and the type of the option.
        let public = components[node].as_ref().unwrap()[2..34].to_vec();
        let tells = |rng| rewound(rng).iter().any(|secret| PureRust.x25519_public(secret)[..] == public);
        assert!(tells(before[node]), "the private key is drawn from there");
        assert!(!tells(after[node]), "node {node}: no forward secrecy");
    }
}

#[test]
fn the_generator_after_an_offloaded_job_does_not_tell_the_generator_of_the_job() {
    let mut pair = pair(41);
    let shared = &mut pair.nodes[A].endpoint.shared;
    let before = shared.private_rng.get_seed();
    let job = KeyAgreement::new(shared, Op::Prepare);
    let after = shared.private_rng.get_seed();
    let Outcome::Prepared(Some(key)) = job.run().outcome else { panic!("no key") };
    let tells = |rng| {
        rewound(rng).into_iter().any(|seed| {
            let mut drawn = [0; 32];
            ChaCha20Rng::from_seed(seed).fill_bytes(&mut drawn);
            drawn[..] == key.private[..]
        })
    };
    assert!(tells(before), "the seed is drawn from there");
    assert!(!tells(after));
}
