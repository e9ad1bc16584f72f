//! The watchers see what they are there to see: packets of an end that breaks each rule.

use std::sync::Arc;

use datagram_sim::{Duration, Key, Time};
use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::wire::{AckRanges, FragmentControl, Mode, PacketHeader, PacketWriter, Ping, UserData};
use rtmfp_core::{Endpoint, EndpointConfig, Instant};

use super::{InvariantChecker, ProfileTap, ProfileTapFactory, SimRandom, ToyProfile, ViolationLog};

/// An endpoint that nothing has happened to.
#[expect(clippy::unwrap_used, reason = "a helper of tests; what is wrong ends the test")]
pub(crate) fn endpoint() -> Endpoint {
    let rng = SimRandom::new(Key::mix(1, "tests", "endpoint"));
    let profile = Arc::new(ToyProfile::new(1));
    Endpoint::new(EndpointConfig::default(), profile, Box::new(rng), Instant::ORIGIN).unwrap()
}

fn at(millis: u64) -> Time {
    Time::ZERO + Duration::millis(millis)
}

/// A node's checker and two ends of sessions of it.
struct Scene {
    violations: ViolationLog,
    checker: InvariantChecker,
    ends: [Box<dyn ProfileTap>; 2],
}

impl Scene {
    fn new() -> Self {
        let violations = ViolationLog::default();
        let checker = InvariantChecker::new("n", violations.clone(), true);
        let keys = ToyProfile::new(1).default_keys();
        let ends = [checker.session(keys.as_ref()), checker.session(keys.as_ref())];
        Self { violations, checker, ends }
    }

    fn set_now(&self, now: Time) {
        self.violations.set_now(now);
        self.checker.set_clock(now);
    }

    fn broken(&self) -> Vec<String> {
        let first = |violation: String| violation.split(' ').next().unwrap_or_default().to_owned();
        self.violations.all().into_iter().map(first).collect()
    }
}

const PLAIN: PacketHeader = PacketHeader::new(Mode::Initiator);

fn packet(header: &PacketHeader, fill: impl FnOnce(&mut PacketWriter<'_>) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = PacketWriter::new(&mut bytes, 1_200);
    assert!(writer.header(header) && fill(&mut writer));
    bytes
}

fn data(sequence_number: u64) -> Vec<u8> {
    data_in(&PLAIN, sequence_number)
}

/// A whole message of flow 2.
const fn message(sequence_number: u64) -> UserData<'static> {
    UserData {
        control: FragmentControl::Whole,
        abandon: false,
        last: false,
        flow_id: 2,
        sequence_number,
        fsn_offset: sequence_number,
        options: None,
        data: b"fragment",
    }
}

fn data_in(header: &PacketHeader, sequence_number: u64) -> Vec<u8> {
    packet(header, |writer| writer.push(&message(sequence_number)))
}

fn acknowledgement(to: u64) -> Vec<u8> {
    packet(&PLAIN, |writer| AckRanges::write(writer, 2, 64, to, [], true))
}

#[test]
fn an_acknowledgement_of_what_did_not_come_is_seen() {
    let mut scene = Scene::new();
    let [end, _] = &mut scene.ends;
    end.opened(&data(1));
    end.opened(&data(2));
    end.sealing(&mut acknowledgement(2));
    assert_eq!(scene.broken(), [""; 0]);
    scene.ends[0].sealing(&mut acknowledgement(3));
    assert_eq!(scene.broken(), ["I14"]);
}

#[test]
fn a_burst_without_acknowledgements_is_seen() {
    let mut scene = Scene::new();
    scene.set_now(at(1_000));
    for sequence in 1..=6 {
        scene.ends[0].sealing(&mut data(sequence));
    }
    assert_eq!(scene.broken(), [""; 0]);
    scene.ends[0].sealing(&mut data(7));
    assert_eq!(scene.broken(), ["I3"]);
}

/// A probe does not put the timeout off, which lets out a burst. Other packets do.
#[test]
fn a_burst_after_a_timeout_is_allowed_though_a_probe_came_before_it() {
    for (lone, allowed) in [(1_080, true), (1_030, false)] {
        let mut scene = Scene::new();
        for (now, packets) in [(1_000, 1..=2), (lone, 3..=3), (1_210, 4..=9)] {
            scene.set_now(at(now));
            for sequence in packets {
                scene.ends[0].sealing(&mut data(sequence));
            }
        }
        assert_eq!(scene.broken().is_empty(), allowed, "a packet at {lone} ms");
        scene.ends[0].sealing(&mut data(10));
        assert!(scene.broken().iter().any(|broken| broken == "I3"), "a seventh");
    }
}

#[test]
fn pings_that_are_not_answered_are_seen() {
    let mut scene = Scene::new();
    for second in 1..=4 {
        assert_eq!(scene.broken(), [""; 0]);
        scene.set_now(at(second * 1_000));
        scene.ends[0].opened(&packet(&PLAIN, |writer| writer.push(&Ping { message: b"?" })));
    }
    assert_eq!(scene.broken(), ["I20"]);
}

#[test]
fn an_expired_message_is_seen() {
    let mut scene = Scene::new();
    let options = [9, 0, 0, 0, 0, 7, 0, 0, 0, 0];
    let index = 4_u64.to_be_bytes();
    let message = UserData { options: Some(&options), data: &index, ..message(1) };
    scene.checker.expires(7, 4, at(1_000));
    scene.set_now(at(1_000));
    scene.ends[0].sealing(&mut packet(&PLAIN, |writer| writer.push(&message)));
    assert_eq!(scene.broken(), [""; 0]);
    scene.set_now(at(1_001));
    scene.ends[0].sealing(&mut packet(&PLAIN, |writer| writer.push(&message)));
    assert_eq!(scene.broken(), ["I2"]);
}

#[test]
fn who_gets_time_critical_data_and_does_not_say_so_is_seen() {
    let mut scene = Scene::new();
    let critical = PacketHeader { time_critical: true, ..PLAIN };
    let asking = PacketHeader { time_critical_reverse: true, ..PLAIN };
    scene.set_now(at(1_000));
    scene.ends[0].opened(&data_in(&critical, 1));
    scene.set_now(at(1_799));
    // Not to the one that sends it, and not for longer than it has effect.
    scene.ends[0].sealing(&mut acknowledgement(1));
    scene.ends[1].sealing(&mut data_in(&asking, 1));
    assert_eq!(scene.broken(), [""; 0]);
    scene.ends[1].sealing(&mut data(2));
    assert_eq!(scene.broken(), ["I15"]);
    scene.set_now(at(1_900));
    scene.ends[1].sealing(&mut data(3));
    assert_eq!(scene.broken(), ["I15"]);
}
