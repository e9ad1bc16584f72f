//! What is shown of an endpoint in logs.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::SocketAddr;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::pair::{A, B, Pair, address};
use crate::Endpoint;
use crate::profile::flash::Group;

/// What an endpoint with this generator draws for its secrets, and one secret for each byte that it could begin with.
fn private_bytes(mut rng: ChaCha20Rng) -> Vec<u8> {
    let mut seeds = [[0; 32]; 2];
    seeds.iter_mut().for_each(|seed| rng.fill_bytes(seed));
    let mut bytes = vec![0; 4_096];
    ChaCha20Rng::from_seed(seeds[1]).fill_bytes(&mut bytes);
    bytes.extend(seeds[1]);
    bytes
}

/// Eight bytes in a row that the text shows, as numbers or in hexadecimal.
fn first_shown(secret: &[u8], text: &str) -> Option<usize> {
    let lowercase = text.to_lowercase();
    secret.windows(8).position(|window| {
        let mut hex = String::new();
        window.iter().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
        text.contains(format!("{window:?}").trim_matches(['[', ']'])) || lowercase.contains(&hex)
    })
}

fn shown(endpoint: &Endpoint) -> String {
    format!("{endpoint:?}")
}

#[test]
fn a_secret_that_is_shown_is_found() {
    let secret: Vec<u8> = (150..160).collect();
    assert_eq!(first_shown(&secret, "key: 98999A9B9C9D9E9F"), Some(2));
    assert_eq!(first_shown(&secret, "[149, 150, 151, 152, 153, 154, 155, 156, 157]"), Some(0));
    assert_eq!(first_shown(&secret, "[150, 151, 152, 153, 154, 155, 156]"), None);
}

#[test]
fn debug_output_of_an_endpoint_hides_every_secret() {
    let seed = 6;
    let mut pair = Pair::flash_with(seed, |_, builder| {
        builder.groups(&[Group::Modp1024]).sign_with(b"id", b"\xab\xab\xab\xab\xab\xab\xab\xab")
    });
    let secrets = [A, B].map(|node| {
        let mut secrets = private_bytes(Pair::rng(seed, node));
        secrets.extend([0xab; 8]);
        secrets
    });
    let check = |pair: &Pair, when: &str| {
        for (node, secrets) in pair.nodes.iter().zip(&secrets) {
            let text = shown(&node.endpoint);
            assert!(text.len() > 1_000);
            assert_eq!(first_shown(secrets, &text), None, "{when}: {text}");
        }
    };
    check(&pair, "new");
    let session = pair.open(A);
    pair.run_for_millis(60);
    check(&pair, "keying");
    // The one moves, so that the other asks for proof.
    let elsewhere = SocketAddr::from(([198, 51, 100, 1], 1));
    pair.nodes[A].aliases.push(elsewhere);
    pair.run_for_millis(500);
    pair.fate = Box::new(move |datagram| {
        if datagram.from == address(A) {
            datagram.from = elsewhere;
        }
        vec![Duration::from_millis(25)]
    });
    pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().ping();
    pair.run_for_millis(60);
    let moved = pair.nodes[B].endpoint.sessions().next().unwrap();
    check(&pair, "moving");
    pair.run_for_millis(500);
    assert_eq!(pair.nodes[B].endpoint.session(moved).unwrap().path().unwrap().remote, elsewhere);
    let nonce = pair.nodes[A].endpoint.session(session).unwrap().near_nonce().to_vec();
    for node in &pair.nodes {
        assert_eq!(first_shown(&nonce, &shown(&node.endpoint)), None, "a nonce is a secret of the two ends");
    }
}
