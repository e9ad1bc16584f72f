//! What a rendezvous server keeps of peers that are registered there and do nothing.

use rtmfp_tests::counting::held;
use rtmfp_tests::registered::Registered;
use rtmfp_tests::siege::Identity;

/// What each of so many peers takes: its session, the flows to ask over and to answer, and a number.
pub(super) fn peer(count: u64, identity: fn(u64) -> Identity) -> isize {
    let mut registered = Registered::new(identity);
    let before = held();
    for _ in 0..count {
        drop(registered.register());
    }
    registered.settle();
    assert_eq!(registered.server.sessions().count() as u64, count);
    (held() - before) / count as isize
}
