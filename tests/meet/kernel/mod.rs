//! The same two programs and the same server behind the address translation of this machine's kernel, and what the
//! simulator's oracle says of each pair.

mod namespaces;
mod sites;

use core::fmt::Write as _;
use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{EndpointConfig, Router};
use rtmfp_meet::{Everybody, GuestOptions, Limits, RelayLimits, Rendezvous};
use rtmfp_std::{Driver, system_rng};

use super::guest::{Program, SERVER};
use namespaces::{Namespaces, on};
use sites::{FIRST_PORT, Gateway, SECOND_HOST, Site, is_possible};

/// The rows and columns of the table.
const GATEWAYS: [(&str, Gateway); 5] = [
    ("none", Gateway::None),
    ("full cone", Gateway::FullCone),
    ("masquerade", Gateway::Masquerade),
    ("fully-random", Gateway::Random),
    ("masquerade twice", Gateway::Twice),
];
/// Two behind one gateway.
const TOGETHER: [(&str, Gateway); 3] = [
    ("both behind one masquerade", Gateway::Masquerade),
    ("both behind one full cone", Gateway::FullCone),
    ("both behind one full cone with hairpinning", Gateway::FullConeHairpin),
];
/// What the direct path is ahead of the relay: long, as all pairs share two processors.
const HEAD_START: Duration = Duration::from_secs(4);
/// How long somebody tries to reach a server without UDP.
const PATIENCE: Duration = Duration::from_secs(5);
/// After this a test that hangs has failed.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at what the other end has done.
const LOOK: Duration = Duration::from_millis(20);

/// How two meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Met {
    Directly,
    Relayed,
    Not,
}

/// Two that are to meet.
#[derive(Clone, Debug)]
struct Pair {
    row: String,
    from: (Site, String),
    to: (Site, String),
    number: u16,
}

/// What two ends of a pair know of each other.
#[derive(Debug, Default)]
struct Progress {
    registered: AtomicBool,
    over: AtomicBool,
}

fn sites_and_pairs() -> (Vec<Site>, Vec<Pair>) {
    let (mut sites, mut pairs) = (Vec::<Site>::new(), Vec::new());
    let mut site = |name: String, gateway, hosts| {
        let site = Site { name, gateway, hosts, number: sites.len() as u8 };
        sites.push(site.clone());
        site
    };
    let left = GATEWAYS.map(|(_, gateway)| site(format!("l{}", gateway as u8), gateway, 1));
    let right = GATEWAYS.map(|(_, gateway)| site(format!("r{}", gateway as u8), gateway, 1));
    let mut pair = |row: &str, from: (Site, String), to| {
        pairs.push(Pair { row: row.to_owned(), from, to, number: pairs.len() as u16 });
    };
    for ((row, _), near) in GATEWAYS.iter().zip(&left) {
        right.iter().for_each(|far| pair(row, (near.clone(), near.host(0)), (far.clone(), far.host(0))));
    }
    for (row, gateway) in TOGETHER {
        let shared = site(format!("t{}", gateway as u8), gateway, 2);
        pair(row, (shared.clone(), shared.host(0)), (shared.clone(), shared.host(1)));
    }
    let shut = site("u0".to_owned(), Gateway::NoUdp, 1);
    pair("no UDP, to none", (shut.clone(), shut.host(0)), (right[0].clone(), right[0].host(0)));
    (sites, pairs)
}

fn serve(stop: &AtomicBool, ready: &Sender<()>) {
    let mut limits = Limits::default();
    limits.relay = Some(RelayLimits::default());
    let rendezvous = Rendezvous::new(limits, Everybody, system_rng().unwrap(), |_| {});
    let mut router = Router::new().with(Box::new(rendezvous));
    let mut config = EndpointConfig::default();
    config.max_unmatched_hellos = 64;
    let mut driver = bind(config, "server", SERVER);
    ready.send(()).unwrap();
    while !stop.load(Ordering::SeqCst) {
        driver.step(&mut router, Some(LOOK)).unwrap();
    }
}

fn bind(config: EndpointConfig, name: &str, local: SocketAddr) -> Driver {
    let profile = PlainProfile::new(name.as_bytes()).pretend_authentic(true);
    Driver::bind(config, Arc::new(profile), &[local]).unwrap()
}

/// Runs one end until the meeting is over.
fn attend(pair: &Pair, is_first: bool, progress: &Progress) -> Option<Met> {
    let [near, far] = if is_first { ["a", "b"] } else { ["b", "a"] }.map(|end| format!("{end}{}", pair.number));
    let port = pair.number + if is_first { FIRST_PORT } else { SECOND_HOST };
    let mut driver = bind(EndpointConfig::default(), &near, (Ipv4Addr::UNSPECIFIED, port).into());
    let has_udp = pair.from.0.gateway != Gateway::NoUdp || !is_first;
    let mut options = GuestOptions::default();
    (options.head_start, options.connect_timeout) = (HEAD_START, DEADLINE);
    options.server_timeout = if has_udp { DEADLINE } else { PATIENCE };
    let mut program = Program::told_when(is_first.then_some(far), options, system_rng().unwrap());
    let clock = *driver.pump().clock();
    loop {
        driver.step(&mut program, Some(LOOK)).unwrap();
        let now = clock.now();
        let is_registered = program.is_registered();
        if is_first && is_registered && progress.registered.load(Ordering::SeqCst) {
            program.begin.get_or_insert(now);
        } else if !is_first && is_registered {
            progress.registered.store(true, Ordering::SeqCst);
        }
        let met = match program.heard {
            Some((_, relayed)) => Some(if relayed { Met::Relayed } else { Met::Directly }),
            None if program.has_lost_server() => Some(Met::Not),
            None => None,
        };
        if met.is_some() || progress.over.load(Ordering::SeqCst) {
            progress.over.store(true, Ordering::SeqCst);
            return met;
        }
        assert!(now < rtmfp_core::Instant::ORIGIN + DEADLINE, "{pair:?}: {program:?}");
    }
}

/// All pairs at once.
fn meet(namespaces: &Namespaces, pairs: &[Pair]) -> Vec<Met> {
    let stop = &AtomicBool::new(false);
    // The server's alone: if it fails, nobody waits for it.
    let (ready, is_ready) = channel();
    thread::scope(|scope| {
        let server = scope.spawn(|| on(&namespaces.name("server"), move || serve(stop, &ready)));
        is_ready.recv().unwrap();
        let progress: Vec<Progress> = pairs.iter().map(|_| Progress::default()).collect();
        let met = thread::scope(|scope| {
            let ends = pairs.iter().zip(&progress).map(|(pair, progress)| {
                let end = |host: String, is_first| scope.spawn(move || on(&host, || attend(pair, is_first, progress)));
                [end(namespaces.name(&pair.from.1), true), end(namespaces.name(&pair.to.1), false)]
            });
            let ends: Vec<_> = ends.collect();
            let outcome = ends.into_iter().map(|ends| ends.map(|end| end.join()));
            outcome.collect::<Vec<_>>()
        });
        stop.store(true, Ordering::SeqCst);
        server.join().unwrap();
        met.into_iter().map(|ends| ends.into_iter().find_map(|end| end.unwrap()).unwrap()).collect()
    })
}

fn table(pairs: &[Pair], met: &[Met]) -> String {
    let word = |met: &Met| match met {
        Met::Directly => "direct",
        Met::Relayed => "relay",
        Met::Not => "not",
    };
    let mut text = String::from("| from \\ to |");
    GATEWAYS.iter().for_each(|(name, _)| write!(text, " {name} |").unwrap());
    text.push_str("\n|---|---|---|---|---|---|\n");
    let cells: Vec<_> = pairs.iter().zip(met).collect();
    let (square, others) = cells.split_at(GATEWAYS.len() * GATEWAYS.len());
    for row in square.chunks(GATEWAYS.len()) {
        write!(text, "| {} |", row[0].0.row).unwrap();
        row.iter().for_each(|(_, met)| write!(text, " {} |", word(met)).unwrap());
        text.push('\n');
    }
    text.push_str("\n| pair | |\n|---|---|\n");
    others.iter().for_each(|(pair, met)| writeln!(text, "| {} | {} |", pair.row, word(met)).unwrap());
    text
}

#[test]
fn behind_the_translation_of_the_kernel_two_meet_as_the_oracle_says() {
    let (sites, pairs) = sites_and_pairs();
    let namespaces = match Namespaces::new(&sites) {
        Ok(namespaces) => namespaces,
        Err((why, true)) => panic!("namespaces work, but not these: {why}"),
        Err((why, false)) => {
            eprintln!("SKIPPED: network namespaces do not work here, so nobody has tried this: {why}");
            return;
        }
    };
    let met = meet(&namespaces, &pairs);
    let table = table(&pairs, &met);
    for (pair, met) in pairs.iter().zip(&met) {
        let expected = match is_possible(&pair.from.0, &pair.to.0) {
            true => Met::Directly,
            false if pair.from.0.gateway == Gateway::NoUdp => Met::Not,
            false => Met::Relayed,
        };
        let (from, to) = (pair.from.0.gateway, pair.to.0.gateway);
        assert_eq!(*met, expected, "{}: from {from:?} to {to:?}\n{table}", pair.row);
    }
    let shown = include_str!("../../../core/meet/README.md");
    assert!(shown.contains(&table), "core/meet/README.md shows another table:\n{table}");
}
