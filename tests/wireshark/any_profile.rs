//! What is the same with every profile: ports, and datagrams that were joined.

use rtmfp_core::profile::flash::Protection;
use rtmfp_core::profile::modern::Cipher;

use super::capture::Capture;
use super::conversation::{Conversation, address, told};
use super::expected::{COMPARED, Expected};
use super::tshark::{Scratch, fields};
use super::{modern, sealed};

/// One session of each profile.
fn conversations(seed: u64) -> [Conversation; 2] {
    let flash = sealed::converse(seed, Protection::required(), Protection::required(), |builder| builder);
    [flash, modern::converse(seed, Cipher::Aes128Gcm)]
}

/// The heuristic takes the conversation by its handshake.
#[test]
fn a_session_is_found_on_any_port() {
    for (conversation, other) in conversations(11).into_iter().zip(conversations(14)) {
        let file = Scratch::new(conversation.keys.as_bytes());
        let preference = format!("rtmfp.keylog:{}", file.0.display());
        let mut capture = conversation.capture();
        // What follows is taken for RTMFP too, although nothing tells of its session.
        let stranger = other.datagrams.iter().find(|datagram| !other.is_startup(datagram)).unwrap();
        capture.push(address(0), address(1), &stranger.1);
        let shown = fields(&capture, &["rtmfp.ports:", &preference], &["rtmfp.chunk.type", "rtmfp.sid"]);
        let Some(mut shown) = shown else { return };
        let last = shown.pop().unwrap();
        assert!(last.contains_key("rtmfp.sid") && !last.contains_key("rtmfp.chunk.type"), "{last:#?}");
        assert!(shown.iter().all(|shown| shown.contains_key("rtmfp.chunk.type")), "{shown:#?}");
    }
}

/// As on a host whose network card cuts datagrams: those of one flight are one, the last of them maybe shorter.
#[test]
fn datagrams_that_a_host_has_joined_are_taken_apart() {
    for conversation in conversations(12) {
        taken_apart(&conversation);
    }
}

fn taken_apart(conversation: &Conversation) {
    let mut flights: Vec<Vec<&(usize, Vec<u8>)>> = Vec::new();
    for datagram in &conversation.datagrams {
        let fits = flights.last().is_some_and(|flight| {
            let (first, last) = (flight[0], flight[flight.len() - 1]);
            first.0 == datagram.0
                && last.1.len() == first.1.len()
                && datagram.1.len() <= first.1.len()
                && flight.len() < 8
                && !conversation.is_startup(first)
        });
        match flights.last_mut().filter(|_| fits) {
            Some(flight) => flight.push(datagram),
            None => flights.push(vec![datagram]),
        }
    }
    assert!(flights.iter().filter(|flight| flight.len() > 2).count() > 1);
    let mut capture = Capture::new();
    for flight in &flights {
        let bytes: Vec<u8> = flight.iter().flat_map(|datagram| datagram.1.clone()).collect();
        capture.push(address(flight[0].0), address(1 - flight[0].0), &bytes);
    }
    // Not so if something is left over.
    let joined = flights.iter().find(|flight| flight.len() > 2).unwrap();
    let odd = [&joined[0].1[..], &joined[1].1, &[0; 5]].concat();
    capture.push(address(joined[0].0), address(1 - joined[0].0), &odd);
    let file = Scratch::new(conversation.keys.as_bytes());
    let preference = format!("rtmfp.keylog:{}", file.0.display());
    let wanted: Vec<&str> = COMPARED.into_iter().chain(["_ws.expert.message"]).collect();
    let Some(mut shown) = fields(&capture, &[&preference], &wanted) else { return };
    let odd = shown.pop().unwrap();
    assert!(!odd.contains_key("rtmfp.chunk.type") && told(&odd).contains("but with them it"), "{odd:#?}");
    for (at, (flight, shown)) in flights.iter().zip(&shown).enumerate() {
        let mut all = Expected::default();
        for datagram in flight {
            for (field, values) in Expected::of(&conversation.plain(datagram)).unwrap().fields {
                all.fields.entry(field).or_default().extend(values);
            }
        }
        all.check(shown, &format!("flight {at} of {}", flight.len()));
    }
}
