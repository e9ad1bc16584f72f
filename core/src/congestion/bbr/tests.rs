use super::super::RateSample;
use super::*;

const PLAIN: TimeCritical = TimeCritical { sent_here: false, fast_grow: true };
const SMSS: u64 = 1_000;

/// A path of one direction, as simple as can be: packets of 1,000 bytes leave at the paced rate while the window allows,
/// the line takes them one after the other, and each is acknowledged when it arrives.
struct Line {
    bbr: Bbr,
    yields: bool,
    now: Instant,
    /// Bytes a second, and the round trip of an empty line.
    rate: u64,
    round_trip: Duration,
    /// One in so many is lost.
    loses: u64,
    /// So many are acknowledged together, since other acknowledgements are lost.
    together: u64,
    unacknowledged: u64,
    /// Packets that may leave between acknowledgements, and those that have since the last.
    burst: u64,
    since_ack: u64,
    /// When the line is free, and when the next packet may leave.
    free: Instant,
    next: Instant,
    in_flight: alloc::collections::VecDeque<Packet>,
    sent: u64,
    delivered: u64,
    outstanding: u64,
    longest_queue: Duration,
    /// The window at the beginning of a round trip.
    yielding: Option<(Instant, u64)>,
}

#[derive(Clone, Copy)]
struct Packet {
    sent: Instant,
    arrives: Instant,
    prior: u64,
    prior_at: Instant,
    lost: bool,
}

impl Line {
    fn new(rate: u64, round_trip: u64) -> Self {
        let now = Instant::from_millis(1_000);
        Self {
            bbr: Bbr::new(SMSS),
            now,
            yields: false,
            rate,
            round_trip: Duration::from_millis(round_trip),
            loses: u64::MAX,
            together: 1,
            unacknowledged: 0,
            burst: u64::MAX,
            since_ack: 0,
            free: now,
            next: now,
            in_flight: alloc::collections::VecDeque::new(),
            sent: 0,
            delivered: 0,
            outstanding: 0,
            longest_queue: Duration::ZERO,
            yielding: None,
        }
    }

    fn may_send(&self) -> bool {
        self.outstanding < self.bbr.window() && self.since_ack < self.burst
    }

    fn send(&mut self, delivered_at: Instant) {
        while self.may_send() && self.next <= self.now {
            self.sent += 1;
            self.since_ack += 1;
            self.free = self.free.max(self.now) + Duration::from_micros(SMSS * 1_000_000 / self.rate);
            self.longest_queue = self.longest_queue.max(self.free.saturating_duration_since(self.now));
            let lost = self.sent.is_multiple_of(self.loses);
            let arrives = self.free + self.round_trip;
            let (prior, prior_at) = (self.delivered, delivered_at);
            self.in_flight.push_back(Packet { sent: self.now, arrives, prior, prior_at, lost });
            self.outstanding += SMSS;
            if let Some(rate) = self.bbr.pacing_rate() {
                self.next = self.next.max(self.now) + Duration::from_micros(SMSS * 1_000_000 / rate);
            }
        }
    }

    /// RFC 7016 §3.5.2.1: 384 bytes or half a per cent in a round trip.
    fn check_growth(&mut self) {
        let window = self.bbr.window();
        let (since, base) = *self.yielding.get_or_insert((self.now, window));
        assert!(!self.yields || window <= base + 2 * 384.max(base / 200), "from {base} to {window}");
        if !self.yields || window < base || self.now >= since + self.round_trip {
            self.yielding = Some((self.now, window));
        }
    }

    /// Bytes a second delivered in this time.
    fn run(&mut self, seconds: u64) -> u64 {
        let before = self.delivered;
        self.run_for(Duration::from_secs(seconds));
        (self.delivered - before) / seconds
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let mut delivered_at = self.now;
        while self.now < end {
            self.send(delivered_at);
            let arrival = self.in_flight.front().map(|packet| packet.arrives);
            let departure = Some(self.next).filter(|next| *next > self.now && self.may_send());
            self.now = Instant::earliest([arrival, departure]).unwrap();
            while let Some(packet) = self.in_flight.front().copied().filter(|packet| packet.arrives <= self.now) {
                self.in_flight.pop_front();
                self.unacknowledged += SMSS;
                if self.unacknowledged < self.together * SMSS && !self.in_flight.is_empty() {
                    continue;
                }
                let acked = core::mem::take(&mut self.unacknowledged);
                self.since_ack = 0;
                let mut facts = PacketFacts { pre_ack_outstanding: self.outstanding, ..PacketFacts::default() };
                self.outstanding -= acked;
                facts.outstanding = self.outstanding;
                if packet.lost {
                    facts.lost_bytes = acked;
                    facts.any_loss = true;
                } else {
                    self.delivered += acked;
                    delivered_at = self.now;
                    facts.acked_bytes = acked;
                    facts.any_acks = true;
                    facts.sample = Some(RateSample {
                        delivered: self.delivered - packet.prior,
                        interval: self.now.saturating_duration_since(packet.prior_at),
                        rtt: Some(self.now.saturating_duration_since(packet.sent)),
                        prior_delivered: packet.prior,
                        total_delivered: self.delivered,
                        in_flight: self.outstanding,
                        app_limited: false,
                    });
                }
                let time_critical = TimeCritical { fast_grow: !self.yields, ..PLAIN };
                self.bbr.on_packet(self.now, &facts, time_critical);
                self.check_growth();
            }
        }
    }
}

#[test]
fn it_fills_the_line_and_keeps_the_queue_short() {
    for (rate, round_trip) in [(125_000, 50), (1_250_000, 100), (12_500_000, 20)] {
        let mut line = Line::new(rate, round_trip);
        line.run(5);
        line.longest_queue = Duration::ZERO;
        let goodput = line.run(10);
        assert!(goodput >= rate / 100 * 94, "{goodput} of {rate}");
        let tried = Duration::from_micros(UP_PACKETS * SMSS * 1_000_000 / rate);
        let longest = line.round_trip + Duration::from_millis(40) + tried;
        assert!(line.longest_queue <= longest, "{:?} at {rate}", line.longest_queue);
    }
}

/// The window became small at once. That made a silence, and with six packets between acknowledgements (RFC 7016 §3.5.2.3)
/// there was one in each of the round trips that followed.
#[test]
fn the_line_is_full_again_soon_after_the_round_trip_was_measured() {
    let mut line = Line::new(12_500_000, 100);
    (line.burst, line.together) = (6, 2);
    line.run(5);
    line.bbr.begin_probe_rtt(line.outstanding);
    line.run_for(Duration::from_millis(600));
    let goodput = line.run(1);
    assert!(goodput >= 12_000_000, "{goodput}");
}

/// After an outage nothing is in flight, nor will be if the window is nothing.
#[test]
fn the_round_trip_is_measured_with_a_window_even_if_nothing_is_in_flight() {
    let mut line = Line::new(1_250_000, 50);
    line.run(5);
    line.bbr.begin_probe_rtt(0);
    assert!(line.bbr.window() >= LEAST_PACKETS * SMSS, "{}", line.bbr.window());
}

#[test]
fn loss_without_a_queue_costs_what_is_lost() {
    for (loses, least) in [(100, 93), (33, 90), (10, 80)] {
        let mut line = Line::new(1_250_000, 100);
        line.loses = loses;
        line.run(5);
        let goodput = line.run(20);
        assert!(goodput >= 12_500 * least, "{goodput} with one in {loses} lost");
    }
}

/// Doubling from a window of a few packets: 15 MB/s and 200 ms take 12 rounds or so.
#[test]
fn it_finds_a_fat_line_in_a_few_seconds() {
    let mut line = Line::new(15_000_000, 200);
    line.run(4);
    assert!(line.run(2) >= 13_500_000);
}

#[test]
fn it_follows_a_line_that_becomes_slower_and_faster() {
    let mut line = Line::new(1_250_000, 50);
    line.run(5);
    line.rate = 250_000;
    line.run(5);
    assert!(line.run(5) >= 230_000);
    line.longest_queue = Duration::ZERO;
    line.run(5);
    assert!(line.longest_queue <= Duration::from_millis(120), "{:?}", line.longest_queue);
    line.rate = 1_250_000;
    line.run(6);
    assert!(line.run(5) >= 1_100_000);
}

/// RFC 7016 §3.5.2: as slow start at the most.
#[test]
fn no_acknowledgement_makes_the_window_grow_by_more_than_a_segment() {
    for yields in [false, true] {
        let mut bbr = Bbr::new(SMSS);
        let time_critical = TimeCritical { sent_here: false, fast_grow: !yields };
        for acked in [500, 1_000, 60_000, 2_000].into_iter().cycle().take(1_000) {
            let window = bbr.window();
            let facts = PacketFacts { pre_ack_outstanding: window, acked_bytes: acked, ..PacketFacts::default() };
            bbr.on_packet(Instant::from_millis(1), &facts, time_critical);
            assert!(bbr.window() <= window + acked.min(SMSS));
            assert!(!yields || bbr.window() <= window + 384.max(window / 200));
        }
    }
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let mut bbr = Bbr::new(SMSS);
    let facts = PacketFacts { pre_ack_outstanding: 500, acked_bytes: 500, ..PacketFacts::default() };
    (0..1_000).for_each(|_| {
        bbr.on_packet(Instant::from_millis(1), &facts, PLAIN);
    });
    assert_eq!(bbr.window(), 4_000);
}

/// RFC 3168: a mark is answered as a loss is.
#[test]
fn marks_make_it_slower() {
    let mut line = Line::new(1_250_000, 50);
    line.run(5);
    let rate = line.bbr.rate();
    line.bbr.round.marked = true;
    assert_eq!(line.bbr.on_round(false), Reaction::Cut);
    assert!(line.bbr.rate() < rate);
}

/// It lost a quarter of its rate every ten rounds.
#[test]
fn it_keeps_its_rate_while_it_yields() {
    let mut line = Line::new(1_250_000, 50);
    line.run(5);
    line.yields = true;
    line.run(30);
    assert!(line.run(5) >= 1_000_000);
}

/// It never sent faster than its model, which so never saw a higher rate: who began beside somebody's call stayed at its
/// first rate as long as that lasted.
#[test]
fn it_finds_the_line_while_it_yields() {
    let mut line = Line::new(1_250_000, 100);
    line.yields = true;
    let goodput = [(); 6].map(|()| line.run(10));
    assert!(goodput.is_sorted() && goodput[5] >= 1_150_000, "{goodput:?}");
    // And again, after it was slower for a while.
    let mut line = Line::new(1_250_000, 50);
    line.run(5);
    line.yields = true;
    line.rate = 125_000;
    line.run(10);
    line.rate = 1_250_000;
    line.run(30);
    let goodput = line.run(5);
    assert!(goodput >= 1_100_000, "{goodput}");
}

/// Its window came back all at once after the round trip was measured anew: it doubled while asked to yield.
#[test]
fn its_window_does_not_jump_while_it_yields() {
    for millis in [0, 20, 60, 100, 200, 270, 400] {
        let mut line = Line::new(1_250_000, 50);
        line.run(5);
        line.bbr.begin_probe_rtt(line.outstanding);
        line.run_for(Duration::from_millis(millis));
        line.yields = true;
        line.run(3);
    }
    let mut line = Line::new(1_250_000, 50);
    line.run(5);
    line.yields = true;
    line.run(60);
}

/// A round trip that became longer is found even while it yields.
#[test]
fn it_measures_the_round_trip_anew_while_it_yields() {
    let mut line = Line::new(1_250_000, 50);
    line.run(5);
    line.yields = true;
    line.round_trip = Duration::from_millis(80);
    line.run(30);
    let (min_rtt, _) = line.bbr.min_rtt.unwrap();
    assert!(min_rtt >= Duration::from_millis(80), "{min_rtt:?}");
}

/// With twice what the path holds, those with the longest round trip had most of the queue, and of the line.
#[test]
fn its_share_of_a_queue_does_not_depend_on_the_round_trip() {
    let in_queue = |round_trip| {
        let mut line = Line::new(1_250_000, round_trip);
        line.run(5);
        line.bbr.phase = Phase::Cycle { step: Step::Cruise(3), since: line.now };
        line.bbr.target().unwrap() - line.bbr.flight((1, 1)).unwrap()
    };
    let [short, long] = [20, 200].map(in_queue);
    assert!(short.abs_diff(long) < short / 20, "{short} {long}");
}

/// Ten sessions shared a line and a queue of 50 packets. A quarter more than three packets is no packet: those with few
/// stayed at them, while those with 20 tried for five more.
#[test]
fn a_small_rate_tries_for_some_packets_more_and_takes_them_back() {
    for (rate, more) in [(100_000, UP_PACKETS * SMSS), (1_200_000, 15_000)] {
        let mut bbr = Bbr::new(SMSS);
        bbr.min_rtt = Some((Duration::from_millis(50), Instant::ORIGIN));
        bbr.rates.update(0, rate, RATE_ROUNDS);
        bbr.phase = Phase::Cycle { step: Step::Up, since: Instant::ORIGIN };
        let in_round_trip = bbr.pacing_rate().unwrap() / 20 - rate / 20;
        assert!(in_round_trip.abs_diff(more) <= more / 10, "{in_round_trip} at {rate}");
        // What that leaves in a queue goes again, as far as there is as much.
        bbr.phase = Phase::Cycle { step: Step::Down, since: Instant::ORIGIN };
        let less = rate / 20 - bbr.pacing_rate().unwrap() / 20;
        assert!(less.abs_diff(more) <= more / 10, "{less} at {rate}");
        bbr.phase = Phase::Cycle { step: Step::Up, since: Instant::ORIGIN };
        bbr.yields = true;
        assert!(bbr.pacing_rate().unwrap() <= rate + rate / 50 + 384 * 20, "{bbr:?}");
    }
}

/// Where neither losses nor marks tell, as with a queue that marks on a path that clears the marks.
#[test]
fn it_stops_doubling_when_a_queue_shows() {
    for (rate, round_trip) in [(1_250_000, 50), (1_250_000, 100), (12_500_000, 100)] {
        let mut line = Line::new(rate, round_trip);
        line.run(10);
        let longest = 2 * line.round_trip + Duration::from_millis(40);
        assert!(line.longest_queue <= longest, "{:?} at {rate}", line.longest_queue);
    }
}

/// The rate of a path that is gone stayed, and filled the buffer of the new one, if one timeout followed the other.
#[test]
fn a_timeout_before_the_window_is_back_makes_the_model_anew() {
    let mut line = Line::new(1_250_000, 100);
    line.run(5);
    line.rate = 31_250;
    for _ in 0..4 {
        line.bbr.on_timeout(line.now, true);
        line.run(3);
    }
    assert!(line.bbr.rates.get() <= 60_000, "{}", line.bbr.rates.get());
}

/// A window that a path cannot fill again excused the rates of that path for ever.
#[test]
fn a_small_window_excuses_small_rates_for_a_while_only() {
    let mut line = Line::new(1_250_000, 100);
    line.run(5);
    for _ in 0..UNTOLD_ROUNDS + 2 * RATE_ROUNDS {
        line.bbr.cwnd = 20_000;
        line.run_for(Duration::from_millis(101));
    }
    assert!(line.bbr.rates.get() <= 500_000, "{}", line.bbr.rates.get());
}

#[test]
fn after_a_timeout_the_target_is_that_of_the_window() {
    let mut line = Line::new(1_250_000, 100);
    line.run(5);
    let srtt = Duration::from_millis(100);
    assert!(line.bbr.target_rate(srtt) >= 1_100_000);
    line.bbr.on_timeout(line.now, true);
    assert_eq!(line.bbr.target_rate(srtt), SMSS * 10);
}

/// By a clock that ticks in milliseconds nothing on a local network takes time. Startup ended, and the rate stayed as small
/// as that of a first message.
#[test]
fn what_takes_no_time_by_the_clock_counts_as_a_tick_of_it() {
    let (mut bbr, mut delivered) = (Bbr::new(SMSS), 0);
    for millis in 1..=100 {
        let now = Instant::from_millis(millis);
        let acked = bbr.window() / 2;
        let sample = RateSample {
            delivered: acked,
            interval: Duration::ZERO,
            rtt: Some(Duration::ZERO),
            prior_delivered: delivered,
            total_delivered: delivered + acked,
            in_flight: 0,
            app_limited: false,
        };
        delivered += acked;
        let pre_ack_outstanding = bbr.window();
        let facts =
            PacketFacts { pre_ack_outstanding, acked_bytes: acked, sample: Some(sample), ..PacketFacts::default() };
        bbr.on_packet(now, &facts, PLAIN);
    }
    assert!(bbr.pacing_rate().unwrap() >= 1_000_000, "{bbr:?}");
}

#[test]
fn a_timeout_leaves_a_segment_and_the_model() {
    let mut line = Line::new(1_250_000, 50);
    line.run(5);
    let rate = line.bbr.rate();
    line.bbr.on_timeout(line.now, true);
    assert_eq!((line.bbr.window(), line.bbr.rate()), (SMSS, rate));
    line.bbr.on_path_change();
    assert_eq!((line.bbr.window(), line.bbr.rate()), (4_000, 0));
}

/// Where most acknowledgements are lost, the window grows back in more rounds than the model remembers. The rates of a
/// small window were taken for those of the path, and it stayed small.
#[test]
fn a_window_that_grows_back_slowly_does_not_change_the_model() {
    let mut line = Line::new(1_250_000, 50);
    line.run(5);
    line.bbr.on_timeout(line.now, true);
    line.together = 8;
    line.run_for(Duration::from_millis(750));
    assert!(line.bbr.cwnd < 50_000, "the window is not back yet");
    assert!(line.bbr.rates.get() >= 1_100_000, "{}", line.bbr.rates.get());
}

/// They cancelled only within one packet.
#[test]
fn a_loss_that_a_later_packet_shows_to_be_spurious_does_not_count() {
    let mut bbr = Bbr::new(SMSS);
    let now = Instant::from_millis(1);
    bbr.on_packet(now, &PacketFacts { any_loss: true, lost_bytes: 3_000, ..PacketFacts::default() }, PLAIN);
    assert_eq!(bbr.round.lost, 3_000);
    bbr.on_packet(now, &PacketFacts { any_acks: true, spurious_bytes: 2_000, ..PacketFacts::default() }, PLAIN);
    assert_eq!(bbr.round.lost, 1_000);
}

/// It is what the line delivers, whatever is tried or drained meanwhile.
#[test]
fn its_target_is_the_rate_of_the_line_without_probes() {
    let mut line = Line::new(1_000_000, 50);
    line.run(5);
    let mut phases = alloc::collections::BTreeSet::new();
    for _ in 0..300 {
        line.run_for(Duration::from_millis(10));
        phases.insert(line.bbr.phase());
        let target = line.bbr.target_rate(line.round_trip);
        assert!((950_000..=1_020_000).contains(&target), "{target} while {}", line.bbr.phase());
    }
    assert!(phases.contains("probing up") && phases.contains("probing down"), "{phases:?}");
}

/// A sender that has not enough to send for a probe is told of it.
#[test]
fn its_target_is_more_while_a_probe_lacks_data() {
    let mut line = Line::new(1_000_000, 50);
    line.run(5);
    line.bbr.phase = Phase::Cycle { step: Step::Up, since: line.now };
    let before = line.bbr.target_rate(line.round_trip);
    line.bbr.app_limited = true;
    assert_eq!(line.bbr.target_rate(line.round_trip), before * 5 / 4);
    line.bbr.yields = true;
    assert_eq!(line.bbr.target_rate(line.round_trip), before);
    // Of an unknown path, what the initial window makes in a round trip.
    assert_eq!(Bbr::new(SMSS).target_rate(Duration::from_millis(50)), 80_000);
}
