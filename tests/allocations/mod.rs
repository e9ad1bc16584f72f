//! How often a packet of a steady bulk transfer makes an endpoint ask for memory, after warm-up. The aim is never; the
//! bounds are what was measured, rounded up, so that it cannot get worse unseen.
#![allow(clippy::unwrap_used, reason = "tests")]

mod in_flight;

use std::cell::Cell;
use std::sync::Arc;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{Bytes, EndpointConfig};
use rtmfp_tests::back_to_back::BackToBack;
use rtmfp_tests::counting::calls;

thread_local! {
    static SINCE: Cell<u64> = const { Cell::new(0) };
    static COUNTS: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
}

fn watch(end: usize, begins: bool) {
    if begins {
        return SINCE.set(calls());
    }
    let mut counts = COUNTS.get();
    if let Some(count) = counts.get_mut(end) {
        *count += calls() - SINCE.get();
    }
    COUNTS.set(counts);
}

/// Allocations for each datagram with data: of the sender, of the receiver.
fn allocations(message: usize) -> [f64; 2] {
    let profiles = ["a", "b"].map(|name| Arc::new(PlainProfile::new(name.as_bytes())) as Arc<dyn CryptoProfile>);
    let mut pair = BackToBack::new(&EndpointConfig::default(), profiles);
    pair.connect(b"b");
    let message = Bytes::from(vec![7; message]);
    pair.transfer(8 << 20, &message);
    let before = pair.datagrams;
    pair.watch = watch;
    COUNTS.set([0; 2]);
    pair.transfer(4 << 20, &message);
    let [sent, acks] = [0, 1].map(|end| pair.datagrams.get(end).unwrap() - before.get(end).unwrap());
    let each = COUNTS.get().map(|count| count as f64 / sent as f64);
    println!("{} bytes a message: {each:.3?} allocations a datagram, {sent} datagrams, {acks} back", message.len());
    each
}

#[test]
fn bulk_transfers_allocate_no_more_than_they_did() {
    // Measured: nothing by the sender; by the receiver 0.085, which is one for each message, and 0.073, of six messages
    // a datagram in the second case.
    for (message, most) in [(16_384, [0.01, 0.1]), (200, [0.01, 0.1])] {
        let each = allocations(message);
        let within = each.iter().zip(most).all(|(each, most)| *each <= most);
        assert!(within, "{message} bytes a message: {each:?} allocations a datagram, at most {most:?}");
    }
}
