//! A rendezvous server at which 10,000 peers are registered, under the modern profile.

use divan::Bencher;
use divan::counter::ItemsCount;
use rtmfp_tests::registered::Registered;
use rtmfp_tests::siege::modern;

const PEERS: u64 = 10_000;

/// A hello for one of them: the server answers, and hands it on. What the server does alone.
#[divan::bench(sample_size = 200, sample_count = 50)]
fn introduction(bencher: Bencher<'_, '_>) {
    let mut registered = Registered::with(modern, PEERS);
    let mut hellos: Vec<_> = (0..20_000).map(|_| registered.hello()).collect();
    bencher.counter(ItemsCount::new(1_u32)).bench_local(move || registered.introduce(hellos.pop().unwrap()));
}

/// One of them asks who has a number, and is told. Both ends.
#[divan::bench(sample_size = 200, sample_count = 50)]
fn look_up(bencher: Bencher<'_, '_>) {
    let mut registered = Registered::with(modern, PEERS);
    let mut peer = registered.register();
    bencher.counter(ItemsCount::new(1_u32)).bench_local(move || registered.look_up(&mut peer));
}

/// Another opens a session, to compare with. Both ends.
#[divan::bench(sample_size = 20, sample_count = 50)]
fn session(bencher: Bencher<'_, '_>) {
    let mut registered = Registered::with(modern, PEERS);
    let profile = modern(1 << 40).0;
    let mut number = 0;
    bencher.counter(ItemsCount::new(1_u32)).bench_local(move || {
        number += 1;
        registered.open(profile.clone(), number);
    });
}
