//! What all controllers have in common: the rate that an encoder is told.

use alloc::collections::VecDeque;

use super::*;
use crate::params::TARGET_MARGIN;

const SMSS: u64 = 1_200;
const ROUND_TRIP: Duration = Duration::from_millis(50);
const ALL: [CongestionControl; 4] =
    [CongestionControl::Rfc7016, CongestionControl::Cubic, CongestionControl::Bbr, CongestionControl::Media];

/// An encoder on a path that carries everything. It sends its packets evenly, so it always waits for its own next one.
struct Encoder {
    controller: Box<dyn Controller>,
    now: Instant,
    /// Bytes a second that it was told last.
    told: u64,
    in_flight: VecDeque<Packet>,
    delivered: u64,
    delivered_at: Instant,
}

struct Packet {
    sent: Instant,
    prior: u64,
    prior_at: Instant,
    outstanding: u64,
}

impl Encoder {
    fn new(control: &CongestionControl) -> Self {
        let now = Instant::from_millis(1_000);
        let mut this = Self {
            controller: control.controller(SMSS),
            now,
            told: 0,
            in_flight: VecDeque::new(),
            delivered: 0,
            delivered_at: now,
        };
        this.tell();
        this
    }

    fn outstanding(&self) -> u64 {
        SMSS * self.in_flight.len() as u64
    }

    /// Small changes are not worth telling.
    fn tell(&mut self) {
        let rate = self.controller.target_rate(ROUND_TRIP);
        let rate = rate - rate / TARGET_MARGIN;
        if rate > self.told / 8 * 9 || rate < self.told / 16 * 15 {
            self.told = rate;
        }
    }

    fn receive(&mut self, packet: &Packet) {
        let before = self.outstanding() + SMSS;
        self.delivered += SMSS;
        self.delivered_at = self.now;
        let sample = RateSample {
            delivered: self.delivered - packet.prior,
            interval: self.now.saturating_duration_since(packet.prior_at),
            rtt: Some(self.now.saturating_duration_since(packet.sent)),
            prior_delivered: packet.prior,
            total_delivered: self.delivered,
            in_flight: packet.outstanding,
            app_limited: true,
        };
        let facts = PacketFacts {
            pre_ack_outstanding: before,
            acked_bytes: SMSS,
            any_acks: true,
            outstanding: self.outstanding(),
            srtt: Some(ROUND_TRIP),
            sample: Some(sample),
            ..PacketFacts::default()
        };
        let plain = TimeCritical { sent_here: false, fast_grow: true };
        self.controller.on_packet(self.now, &facts, plain);
    }

    /// Sends for a while at the rate that is made of what it was told last, or until that is 2 MB/s.
    fn run(&mut self, seconds: u64, rate: impl Fn(u64) -> u64) {
        let end = self.now + Duration::from_secs(seconds);
        let (mut next, mut tell) = (self.now, self.now);
        while self.now < end && self.told < 2_000_000 {
            let arrival = self.in_flight.front().map(|packet| packet.sent + ROUND_TRIP);
            let may_send = self.outstanding() < self.controller.window();
            self.now = Instant::earliest([arrival, Some(next).filter(|_| may_send)]).unwrap().max(self.now);
            if arrival.is_some_and(|arrival| arrival <= self.now)
                && let Some(packet) = self.in_flight.pop_front()
            {
                self.receive(&packet);
            } else {
                let (prior, prior_at, outstanding) = (self.delivered, self.delivered_at, self.outstanding());
                self.in_flight.push_back(Packet { sent: self.now, prior, prior_at, outstanding });
                next = next.max(self.now - ROUND_TRIP) + Duration::from_micros(SMSS * 1_000_000 / rate(self.told));
            }
            if self.now >= tell {
                self.tell();
                tell = self.now + ROUND_TRIP;
            }
        }
    }
}

/// The target was what was delivered, or grew only with a full window: an encoder that stayed below was never told of more.
#[test]
fn an_encoder_that_stays_below_its_target_is_told_of_more() {
    for control in ALL {
        for part in [9, 10] {
            let mut encoder = Encoder::new(&control);
            encoder.run(60, |told| (told / 10 * part).max(20_000));
            assert!(encoder.told >= 2_000_000, "{control:?} with {part} tenths: {}", encoder.told);
        }
    }
}

/// RFC 7661: a window of which less than half is used has proved nothing.
#[test]
fn the_target_of_an_encoder_that_needs_no_more_does_not_run_away() {
    for control in ALL {
        let mut encoder = Encoder::new(&control);
        encoder.run(120, |_| 150_000);
        assert!((150_000..=375_000).contains(&encoder.told), "{control:?}: {}", encoder.told);
    }
}

#[test]
fn the_target_does_not_sink_because_the_encoder_sends_little() {
    for control in ALL {
        let mut encoder = Encoder::new(&control);
        encoder.run(10, |told| told.clamp(20_000, 800_000));
        let before = encoder.told;
        assert!(before >= 800_000, "{control:?}: {before}");
        encoder.run(20, |_| 30_000);
        assert_eq!(encoder.told, before, "{control:?}");
    }
}

/// A controller of one's own that says nothing of it has a target all the same.
#[test]
fn by_default_the_target_is_the_window_in_each_round_trip_at_its_pace() {
    #[derive(Debug)]
    struct Fixed(Option<u64>);

    impl Controller for Fixed {
        fn on_packet(&mut self, _: Instant, _: &PacketFacts, _: TimeCritical) -> Reaction {
            Reaction::Other
        }
        fn on_timeout(&mut self, _: Instant, _: bool) {}
        fn on_path_change(&mut self) {}
        fn window(&self) -> u64 {
            50_000
        }
        fn pacing_rate(&self) -> Option<u64> {
            self.0
        }
    }

    for (paced, expected) in [(None, 1_000_000), (Some(1_250_000), 1_000_000), (Some(300_000), 300_000)] {
        assert_eq!(Fixed(paced).target_rate(ROUND_TRIP), expected);
    }
    assert_eq!(Fixed(None).target_rate(Duration::ZERO), 50_000_000_000);
}

#[test]
fn a_window_may_grow_if_half_of_it_is_used_or_all_except_the_slack() {
    for (window, outstanding, slack, used) in
        [(10, 5, 0, true), (10, 4, 0, false), (11, 6, 0, true), (11, 5, 0, false), (10, 2, 8, true), (10, 1, 8, false)]
    {
        assert_eq!(is_used(window, outstanding, slack), used, "{outstanding} of {window}");
    }
    assert!(is_used(0, 0, 0) && is_used(5, 9, 0));
}
