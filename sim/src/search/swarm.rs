//! Random scenarios. Each switches most kinds of trouble off wholly and makes the rest rather frequent, lets things go
//! wrong for a while, then heals the network and waits for everything to arrive.

use datagram_sim::{Duration, Key, Stream};

use crate::scenario::{Action, At, Dur, Lane, Link, Nat, NodeText, Scenario, ScenarioError, Size, Work, WorkKind};

/// Trouble that a lane can have, with the least and the greatest per cent (or milliseconds).
const TROUBLE: [(&str, u64, u64, &str); 8] = [
    ("loss random ", 1, 30, "%"),
    ("loss gilbert r=30% p=", 1, 10, "%"),
    ("duplicate copies=2 late=500ms ", 1, 50, "%"),
    ("corrupt ", 1, 10, "% any"),
    ("reorder by=30ms ", 1, 50, "%"),
    ("jitter uniform ", 1, 60, "ms"),
    ("ecn mark ", 1, 20, "%"),
    ("police burst=16kB ", 1, 8, "Mbit"),
];

/// When trouble ends.
const HEAL: u64 = 20;
/// How long there is for everything to arrive after that.
const REST: u64 = 100;

fn lane(draw: &mut Stream) -> Result<Lane, ScenarioError> {
    let rates = ["500kbit", "2Mbit", "10Mbit", "100Mbit"];
    let delays = ["1ms", "10ms", "50ms", "200ms"];
    let queues = ["tail 1bdp", "tail 4bdp", "codel ecn", "fq-codel", "tail 20pkt", "pie"];
    let mut lane = Lane::default()
        .with(&format!("rate {}", pick(draw, &rates)))?
        .with(&format!("queue {}", pick(draw, &queues)))?
        .with(&format!("delay {}", pick(draw, &delays)))?;
    for (words, low, high, unit) in TROUBLE {
        // Three of four kinds do not happen in a run.
        if draw.below(4) == 0 {
            let amount = low + draw.below(high - low + 1);
            lane = lane.with(&format!("{words}{amount}{unit}"))?;
        }
    }
    Ok(lane)
}

fn pick<'a>(draw: &mut Stream, list: &[&'a str]) -> &'a str {
    let at = usize::try_from(draw.below(list.len() as u64)).unwrap_or(0);
    list.get(at).copied().unwrap_or_default()
}

fn work(draw: &mut Stream, index: u64) -> Work {
    let kinds = [WorkKind::Bulk, WorkKind::Messages, WorkKind::Media, WorkKind::PingPong];
    let kind = usize::try_from(draw.below(4)).ok().and_then(|at| kinds.get(at)).copied().unwrap_or_default();
    let (from, to) = if draw.below(4) == 0 { ("b", "a") } else { ("a", "b") };
    let mut work = Work::new(kind, from, to);
    work.name = format!("w{index}");
    work.start = Dur(Duration::millis(draw.below(5_000)));
    match kind {
        WorkKind::Bulk => {
            work.bytes = Some(Size(1 + draw.below(2_000_000)));
            work.size = Some(Size(1 + draw.below(40_000)));
        }
        WorkKind::Messages => {
            work.count = Some(1 + draw.below(100));
            work.sizes = (0..=draw.below(5)).map(|_| Size(draw.below(5_000))).collect();
            work.flows = Some(1 + u32::try_from(draw.below(4)).unwrap_or(0));
            work.interval = Some(Dur(Duration::millis(1 + draw.below(200))));
        }
        WorkKind::Media | WorkKind::PingPong | WorkKind::Open => work.count = Some(1 + draw.below(300)),
    }
    work
}

fn event(draw: &mut Stream, nat: bool) -> Vec<At> {
    let t = 1_000 + draw.below(HEAL * 1_000 - 8_000);
    let later = t + 100 + draw.below(6_000);
    let node = || "a".to_owned();
    let link = || "wan".to_owned();
    let actions = match draw.below(6) {
        0 => vec![(t, Action::LinkDown { link: link() }), (later, Action::LinkUp { link: link(), hint: false })],
        1 if nat => vec![(t, Action::NatFlush { nat: "home".to_owned() })],
        1 | 2 => vec![(
            t,
            Action::Rebind { node: node(), address: None, in_flight: crate::scenario::InFlight::Late, silent: false },
        )],
        3 => vec![
            (t, Action::Freeze { node: node() }),
            (later, Action::Thaw { node: node(), jump: Dur(Duration::ZERO) }),
        ],
        4 => vec![(t, Action::Suspend { node: "b".to_owned() }), (later, Action::Resume { node: "b".to_owned() })],
        _ => vec![(
            t,
            Action::Rebind { node: node(), address: None, in_flight: crate::scenario::InFlight::Lost, silent: true },
        )],
    };
    actions.into_iter().map(|(t, action)| At { t: Dur(Duration::millis(t)), action }).collect()
}

/// The scenario of a number.
///
/// # Errors
/// Never, unless the generator is wrong.
pub fn random_scenario(number: u64) -> Result<Scenario, ScenarioError> {
    let mut draw = Key::mix(number, "swarm", "scenario").stream();
    let mut scenario = Scenario::new(&format!("swarm-{number}"), Duration::secs(HEAL + REST));
    scenario.about = "found by the swarm".to_owned();
    scenario.seed = number;
    for name in ["a", "b"] {
        let mut node = NodeText::default();
        if draw.below(3) == 0 {
            node.recv_buffer = Some(Size(4_096 + draw.below(60_000)));
        }
        scenario.node.insert(name.to_owned(), node);
    }
    let nat = draw.below(2) == 0;
    let mut link = Link { up: lane(&mut draw)?, down: lane(&mut draw)?, ..Link::default() };
    link.path = vec!["a".to_owned(), "b".to_owned()];
    if nat {
        let kinds = ["full-cone", "address-restricted", "port-restricted", "symmetric"];
        scenario.nat.insert("home".to_owned(), Nat::preset(pick(&mut draw, &kinds)));
        link.path.insert(1, "home".to_owned());
    }
    scenario.link.insert("wan".to_owned(), link);
    let works = 1 + draw.below(4);
    // Behind a NAT nobody can be called.
    scenario.work = (0..works).map(|index| work(&mut draw, index)).filter(|work| !nat || work.from == "a").collect();
    if scenario.work.is_empty() {
        scenario.work.push(Work::new(WorkKind::Bulk, "a", "b"));
    }
    for _ in 0..draw.below(4) {
        scenario.at.extend(event(&mut draw, nat));
    }
    scenario.at.push(At { t: Dur(Duration::secs(HEAL)), action: Action::Heal });
    scenario.at.sort_by_key(|at| at.t.0);
    Scenario::parse(&scenario.to_toml())
}

#[test]
fn the_generator_makes_right_scenarios() {
    for number in 0..200 {
        random_scenario(number).unwrap_or_else(|error| panic!("{number}: {error}"));
    }
}
