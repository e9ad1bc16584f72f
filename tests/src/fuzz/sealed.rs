//! Sessions with hostile peers who know the keys: the bytes decide what they seal, what they replay and forge, when
//! time passes, and what the user does meanwhile. The friend never notices, and nothing stays behind.
#![expect(clippy::indexing_slicing, reason = "a fuzz target stops at what should not be")]

use std::time::Duration;

use crate::siege::{Draw, Siege, config, flash, plain};

/// The most packets of one run, to keep runs short.
const MOST_PACKETS: usize = 400;

pub(super) fn run(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let draw = Draw::from_bytes(data);
    // Key agreements are a hundred times as dear as all else: few runs have them.
    let mut siege = if *first == 0xff {
        Siege::new(1, draw, |index| flash(index + 1), true)
    } else {
        let name = |index| plain(["victim", "friend", "mallory", "eve", "oscar", "trudy"][index as usize]);
        Siege::new((*first).into(), draw, name, false)
    };
    siege.open_all();
    for _ in 0..MOST_PACKETS {
        if siege.draw.is_over() {
            break;
        }
        siege.packet();
        siege.between();
        assert!(siege.world.victim().sessions().count() <= config().max_sessions, "more sessions than allowed");
    }
    let during = siege.world.delivered();
    // The honest ends write when something happens: a moment is one such.
    for _ in 0..5 {
        siege.world.advance(Duration::from_millis(50));
    }
    let after = siege.world.delivered();
    assert!(after[0] > during[0] && after[1] > during[1], "the friend is held up: {during:?} {after:?}");
    siege.world.idle = true;
    siege.world.advance(Duration::from_secs(900));
    assert_eq!(siege.world.victim().sessions().count(), 1, "only the friend's session is left");
}
