//! Up to a million packets: made by a grammar, damaged, and sealed with the right keys; replays, forgeries and
//! noise beside them.

use std::time::Duration;

use rtmfp_tests::counting::held;
use rtmfp_tests::siege::{Draw, Identity, Siege, config, flash, modern, plain};

use super::setting;

/// What the whole world may hold, with every limit reached at once.
const MOST_BYTES: isize = 48 << 20;

/// Lets so many packets loose, and then looks whether all is well.
fn run(mut siege: Siege, secret: bool, packets: u64) {
    let before = held();
    let mut peak = 0;
    for number in 0..packets {
        siege.packet();
        siege.between();
        if number % 256 == 0 {
            peak = peak.max(held() - before);
            assert!(peak < MOST_BYTES, "{peak} bytes held after {number} packets");
            assert!(siege.world.victim().sessions().count() <= config().max_sessions);
        }
    }
    let stats = siege.world.victim().stats();
    println!("{packets} packets, {} bytes at the most, {stats:?}", peak);
    println!("delivered {:?}, {} packets of open sessions", siege.world.delivered(), siege.session_packets);
    // The attack hit: sessions were opened, every kind of refusal was seen.
    assert!(stats.sessions_opened > packets / 10_000 && siege.session_packets > packets / 5);
    let refusals = [stats.malformed, stats.unexpected, stats.over_limit, stats.dropped_not_authentic];
    assert!(refusals.iter().all(|count| *count > packets / 2_000), "{refusals:?}");
    assert!(stats.dropped_unknown_session > 0 && stats.dropped_wrong_mode > 0 && stats.dropped_too_short > 0);
    assert_eq!(stats.dropped_replayed > 0, secret, "replays are known as such where there are numbers");
    // The friend never noticed, and after the siege everything goes on.
    let during = siege.world.delivered();
    assert!(during.iter().all(|messages| *messages > 100), "{during:?}");
    siege.world.advance(Duration::from_secs(20));
    let after = siege.world.delivered();
    assert!(after[0] > during[0] + 20 && after[1] > during[1] + 20, "{during:?} {after:?}");
    // What hostile peers left behind goes away.
    siege.world.advance(Duration::from_secs(900));
    let now = siege.world.now;
    assert!(siege.world.victim().poll_timeout().is_some_and(|at| at > now));
    assert_eq!(siege.world.victim().sessions().count(), 1, "only the friend's session is left");
}

/// The share of one of the tests: the runs are even, whatever their number.
fn packets(all: u64, tests: u64) -> u64 {
    let part = if std::env::var_os("RTMFP_LONG").is_some() { 1 } else { 8 };
    all * setting("RTMFP_HOSTILE", 1) / part / tests
}

fn under_plain(index: u64) {
    let name = |index| plain(["victim", "friend", "mallory", "eve", "oscar", "trudy"][index as usize]);
    let seed = setting("RTMFP_HOSTILE_SEED", 1) * 100 + index;
    run(Siege::new(seed, Draw::new(seed), name, false), false, packets(1_000_000, 4));
}

/// Under a profile with real keys.
fn under(identity: fn(u64) -> Identity, index: u64) {
    let seed = setting("RTMFP_HOSTILE_SEED", 1) * 100 + index;
    run(Siege::new(seed, Draw::new(seed), |index| identity(index + 1), true), true, packets(100_000, 2));
}

#[test]
fn plain_first_quarter() {
    under_plain(1);
}

#[test]
fn plain_second_quarter() {
    under_plain(2);
}

#[test]
fn plain_third_quarter() {
    under_plain(3);
}

#[test]
fn plain_fourth_quarter() {
    under_plain(4);
}

#[test]
fn flash_first_half() {
    under(flash, 5);
}

#[test]
fn flash_second_half() {
    under(flash, 6);
}

#[test]
fn modern_first_half() {
    under(modern, 7);
}

#[test]
fn modern_second_half() {
    under(modern, 8);
}
