use alloc::collections::VecDeque;

use super::*;

const PLAIN: TimeCritical = TimeCritical { sent_here: false, fast_grow: true };
const YIELDING: TimeCritical = TimeCritical { sent_here: false, fast_grow: false };
const SMSS: u64 = 1_200;

/// A bottleneck with an endless queue: packets leave at the paced rate while the window allows, and each is acknowledged.
struct Path {
    media: Media,
    time_critical: TimeCritical,
    now: Instant,
    /// Bytes a second, the round trip without queues, and what somebody else's packets add to it.
    rate: u64,
    round_trip: Duration,
    others: Duration,
    /// There is less to send: what an encoder makes that is set to a sixteenth less than the target.
    encodes: bool,
    /// One in so many is lost.
    loses: u64,
    free: Instant,
    next: Instant,
    in_flight: VecDeque<Sent>,
    sent: u64,
    delivered: u64,
    delivered_at: Instant,
    outstanding: u64,
    longest_queue: Duration,
    /// Queueing delays of all packets.
    queues: alloc::vec::Vec<Duration>,
    competed: bool,
}

#[derive(Clone, Copy)]
struct Sent {
    at: Instant,
    arrives: Instant,
    prior: u64,
    prior_at: Instant,
    lost: bool,
}

impl Path {
    fn new(rate: u64, round_trip: u64) -> Self {
        let now = Instant::from_millis(1_000);
        Self {
            media: Media::new(SMSS),
            time_critical: PLAIN,
            now,
            rate,
            round_trip: Duration::from_millis(round_trip),
            others: Duration::ZERO,
            encodes: false,
            loses: u64::MAX,
            free: now,
            next: now,
            in_flight: VecDeque::new(),
            sent: 0,
            delivered: 0,
            delivered_at: now,
            outstanding: 0,
            longest_queue: Duration::ZERO,
            queues: alloc::vec::Vec::new(),
            competed: false,
        }
    }

    fn may_send(&self) -> bool {
        self.outstanding < self.media.window()
    }

    fn send(&mut self) {
        while self.may_send() && self.next <= self.now {
            self.sent += 1;
            self.free = self.free.max(self.now) + Duration::from_micros(SMSS * 1_000_000 / self.rate);
            let queue = self.free.saturating_duration_since(self.now);
            self.longest_queue = self.longest_queue.max(queue);
            self.queues.push(queue);
            self.in_flight.push_back(Sent {
                at: self.now,
                arrives: self.free + self.round_trip + self.others,
                prior: self.delivered,
                prior_at: self.delivered_at,
                lost: self.sent.is_multiple_of(self.loses),
            });
            self.outstanding += SMSS;
            let encoded = Some(self.media.target_rate(self.round_trip) / 16 * 15).filter(|_| self.encodes);
            if let Some(rate) = encoded.or(self.media.pacing_rate()) {
                self.next = self.next.max(self.now) + Duration::from_micros(SMSS * 1_000_000 / rate);
            }
        }
    }

    fn receive(&mut self, packet: Sent) {
        let mut facts = PacketFacts { pre_ack_outstanding: self.outstanding, ..PacketFacts::default() };
        self.outstanding -= SMSS;
        facts.outstanding = self.outstanding;
        if packet.lost {
            facts.lost_bytes = SMSS;
            facts.any_loss = true;
        } else {
            self.delivered += SMSS;
            self.delivered_at = self.now;
            facts.acked_bytes = SMSS;
            facts.any_acks = true;
            facts.sample = Some(RateSample {
                delivered: self.delivered - packet.prior,
                interval: self.now.saturating_duration_since(packet.prior_at),
                rtt: Some(self.now.saturating_duration_since(packet.at)),
                prior_delivered: packet.prior,
                total_delivered: self.delivered,
                in_flight: self.outstanding,
                app_limited: self.encodes,
            });
        }
        self.media.on_packet(self.now, &facts, self.time_critical);
        self.competed |= self.media.phase() == "competing";
    }

    /// Bytes a second delivered in this time.
    fn run(&mut self, seconds: u64) -> u64 {
        let (begun, before) = (self.now, self.delivered);
        (self.longest_queue, self.competed) = (Duration::ZERO, false);
        self.queues.clear();
        while self.now < begun + Duration::from_secs(seconds) {
            self.send();
            let arrival = self.in_flight.front().map(|packet| packet.arrives);
            let departure = Some(self.next).filter(|next| *next > self.now && self.may_send());
            self.now = Instant::earliest([arrival, departure]).unwrap();
            while let Some(packet) = self.in_flight.front().copied().filter(|packet| packet.arrives <= self.now) {
                self.in_flight.pop_front();
                self.receive(packet);
            }
        }
        (self.delivered - before) / seconds
    }

    fn queue_p95(&mut self) -> Duration {
        self.queues.sort_unstable();
        self.queues[self.queues.len() * 95 / 100]
    }
}

#[test]
fn it_fills_the_line_with_packets_that_hardly_wait() {
    for (rate, round_trip, share, queue) in
        [(1_250_000, 20, 92, 20), (1_250_000, 100, 86, 30), (125_000, 50, 88, 60), (12_500_000, 50, 85, 20)]
    {
        let mut path = Path::new(rate, round_trip);
        path.run(5);
        let goodput = path.run(20);
        assert!(goodput >= rate / 100 * share, "{goodput} of {rate} at {round_trip} ms");
        assert!(path.queue_p95() <= Duration::from_millis(queue), "{:?} at {rate}, {round_trip} ms", path.queue_p95());
        assert!(!path.competed, "nobody else was there");
    }
}

/// The first seconds count too: slow start that doubles into a queue makes it a round trip long.
#[test]
fn startup_does_not_leave_a_long_queue() {
    let mut path = Path::new(1_250_000, 100);
    assert!(path.run(5) >= 800_000);
    assert!(path.longest_queue <= Duration::from_millis(120), "{:?}", path.longest_queue);
}

#[test]
fn a_few_per_cent_of_random_loss_cost_little_more_than_what_is_lost() {
    for (loses, least) in [(100, 84), (33, 80), (20, 75)] {
        let mut path = Path::new(1_250_000, 100);
        path.loses = loses;
        path.run(5);
        let goodput = path.run(20);
        assert!(goodput >= 12_500 * least, "{goodput} with one in {loses} lost");
    }
}

/// Chance makes 13 of 128 packets 17 now and then. The rate was cut for more than 12, and fell to a tenth of the line.
#[test]
fn one_packet_in_ten_lost_at_random_is_not_heavy_loss() {
    for (lost, heavy) in [(13, false), (18, false), (21, true)] {
        let mut losses = Losses::default();
        losses.add(
            &PacketFacts { acked_bytes: (128 - lost) * SMSS, lost_bytes: lost * SMSS, ..Default::default() },
            SMSS,
        );
        assert_eq!(losses.exceed(HEAVY_LOSS), heavy, "{lost} of 128");
    }
}

#[test]
fn heavy_loss_makes_it_slow() {
    let mut path = Path::new(1_250_000, 50);
    path.run(5);
    path.loses = 4;
    path.run(10);
    assert!(path.run(5) <= 300_000);
}

#[test]
fn it_follows_a_line_that_becomes_slower_and_faster() {
    let mut path = Path::new(312_500, 100);
    path.run(10);
    path.rate = 75_000;
    path.run(3);
    assert!(path.run(10) >= 60_000);
    assert!(path.longest_queue <= Duration::from_millis(150), "{:?}", path.longest_queue);
    assert!(!path.competed, "the queue was its own");
    path.rate = 312_500;
    path.run(8);
    assert!(path.run(5) >= 250_000);
}

/// A queue of 100 ms that stays, whatever this sender does.
#[test]
fn a_queue_that_others_keep_is_competed_with() {
    let mut path = Path::new(1_250_000, 50);
    path.run(5);
    path.others = Duration::from_millis(100);
    path.run(5);
    assert!(path.competed);
    assert!(path.run(10) >= 600_000);
    // When they go, it is as before, and packets hardly wait.
    path.others = Duration::ZERO;
    path.run(25);
    path.run(10);
    assert!(!path.competed);
    assert!(path.queue_p95() <= Duration::from_millis(30));
}

/// What an encoder sends, as little as it is told, was taken for what the line takes. So each cut seemed to leave more than
/// that, none was counted, and it yielded until next to nothing was left.
#[test]
fn a_queue_that_others_keep_is_competed_with_by_an_encoder_that_follows_its_target() {
    for others in [25, 100] {
        let mut path = Path::new(1_250_000, 50);
        path.run(5);
        (path.encodes, path.others) = (true, Duration::from_millis(others));
        path.run(5);
        assert!(path.competed, "with {others} ms");
        let goodput = path.run(10);
        assert!(goodput >= 600_000, "{goodput} with {others} ms");
    }
}

#[test]
fn a_mark_cuts_the_rate_by_a_fifth_once_in_a_round_trip() {
    let mut path = Path::new(1_250_000, 50);
    path.run(10);
    let media = &mut path.media;
    let before = media.rate;
    let mut now = path.now;
    let mut cuts = 0;
    for _ in 0..20 {
        now += Duration::from_millis(10);
        let sample = RateSample {
            delivered: before / 20,
            interval: Duration::from_millis(50),
            rtt: Some(Duration::from_millis(51)),
            prior_delivered: path.delivered,
            total_delivered: path.delivered + 1,
            in_flight: 0,
            app_limited: false,
        };
        let facts = PacketFacts { any_mark: true, any_loss: true, sample: Some(sample), ..PacketFacts::default() };
        cuts += u32::from(media.on_packet(now, &facts, PLAIN) == Reaction::Cut);
    }
    assert_eq!(cuts, 1);
    assert!(media.rate <= before / 5 * 4 + 1 && media.rate >= before / 5 * 3, "{} of {before}", media.rate);
}

/// RFC 7016 §3.5.2: the initial window of RFC 5681 §3.1, and as slow start at the most.
#[test]
fn no_acknowledgement_makes_the_window_grow_by_more_than_a_segment() {
    for time_critical in [PLAIN, YIELDING, TimeCritical { sent_here: true, fast_grow: false }] {
        let mut media = Media::new(SMSS);
        assert_eq!(media.window(), 3 * SMSS);
        for acked in [500, 1_200, 60_000, 2_000].into_iter().cycle().take(1_000) {
            let window = media.window();
            let facts = PacketFacts { pre_ack_outstanding: window, acked_bytes: acked, ..PacketFacts::default() };
            media.on_packet(Instant::from_millis(1), &facts, time_critical);
            assert!(media.window() <= window + acked.min(SMSS));
            assert!(!time_critical.yields() || media.window() <= window + 384.max(window / 200));
        }
    }
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let mut media = Media::new(SMSS);
    let facts = PacketFacts { pre_ack_outstanding: 500, acked_bytes: 500, ..PacketFacts::default() };
    (0..1_000).for_each(|_| {
        media.on_packet(Instant::from_millis(1), &facts, PLAIN);
    });
    assert_eq!(media.window(), 3 * SMSS);
}

/// RFC 7016 §3.5.2.1: half a per cent or 384 bytes in a round trip, of the rate as of the window.
#[test]
fn while_it_yields_it_hardly_grows() {
    let mut path = Path::new(125_000, 50);
    path.run(5);
    (path.rate, path.time_critical) = (12_500_000, YIELDING);
    let (rate, window) = (path.media.rate, path.media.window());
    path.run(2);
    // 40 round trips, or a few less.
    assert!(path.media.rate <= rate + 40 * 384 * 20, "{} after {rate}", path.media.rate);
    assert!(path.media.window() <= window + 45 * 384, "{} after {window}", path.media.window());
    path.time_critical = PLAIN;
    path.run(10);
    assert!(path.media.rate > 4 * rate);
}

#[test]
fn a_timeout_leaves_a_segment_and_half_the_rate() {
    let mut path = Path::new(1_250_000, 50);
    path.run(10);
    let rate = path.media.rate;
    path.media.on_timeout(path.now, true);
    assert_eq!((path.media.window(), path.media.rate), (SMSS, rate / 2));
    path.media.on_timeout(path.now, false);
    assert_eq!((path.media.window(), path.media.rate), (SMSS, rate / 2), "idle");
    path.media.on_path_change();
    assert_eq!((path.media.window(), path.media.rate), (3 * SMSS, 0));
}

/// The rate of a sender that has less to send grows until twice of what it sends, and no further (RFC 7661).
#[test]
fn a_rate_that_is_not_used_does_not_grow() {
    let mut media = Media { rate: 100_000, phase: Phase::Grow { since: Instant::ORIGIN }, ..Media::new(SMSS) };
    let mut grow = |delivered| {
        let before = media.rate;
        media.tick.delivered = delivered;
        media.grow(Duration::from_millis(100), Duration::ZERO, (1, 1), PLAIN);
        media.rate > before
    };
    assert!(!grow(49_999));
    assert!(grow(50_000));
}

/// It counted bytes: a voice of 40 kbit/s had lost half of its packets for 30 s before that counted.
#[test]
fn losses_of_small_packets_count_as_soon_as_those_of_large_ones() {
    let mut losses = Losses::default();
    for number in 0..64 {
        assert!(!losses.exceed(HEAVY_LOSS), "after {number}");
        losses.add(&PacketFacts { acked_bytes: 100, ..PacketFacts::default() }, SMSS);
        losses.add(&PacketFacts { lost_bytes: 100, ..PacketFacts::default() }, SMSS);
    }
    assert!(losses.exceed(HEAVY_LOSS));
}

#[test]
fn an_outage_of_several_timeouts_halves_the_rate_once() {
    let mut path = Path::new(1_250_000, 50);
    path.run(10);
    let rate = path.media.rate;
    (0..5).for_each(|_| path.media.on_timeout(path.now, true));
    assert_eq!((path.media.window(), path.media.rate), (SMSS, rate / 2));
}

/// RFC 7016 §3.5.2.1.
#[test]
fn while_it_yields_cuts_in_vain_are_not_taken_back_in_one_step() {
    let mut path = Path::new(1_250_000, 50);
    path.run(5);
    let rate = path.media.rate;
    (path.others, path.time_critical) = (Duration::from_millis(100), YIELDING);
    path.run(3);
    assert!(path.competed);
    assert!(path.media.rate < rate / 2, "{} after {rate}", path.media.rate);
}

/// It is less while a queue is drained, so that an encoder does not make another at the sender.
#[test]
fn its_target_is_its_pace_and_before_it_has_one_that_of_its_window() {
    let target = |path: &Path| path.media.target_rate(Duration::from_millis(100));
    let mut path = Path::new(1_250_000, 100);
    assert_eq!(target(&path), 36_000, "three segments in a round trip");
    path.run(5);
    for _ in 0..10 {
        path.run(1);
        assert_eq!(Some(target(&path)), path.media.pacing_rate());
        assert!((700_000..=1_400_000).contains(&target(&path)), "{}", target(&path));
    }
    path.media.drain(path.now);
    assert_eq!(target(&path), path.media.rate / 4 * 3 + path.media.rate % 4 * 3 / 4);
    path.media.phase = Phase::Grow { since: path.now };
    path.media.on_timeout(path.now, false);
    assert_eq!(target(&path), path.media.rate, "nothing to send for a while");
}

/// Packets that were sent before the sender had enough counted as proof of nothing. The rate was cut by an eighth of what the
/// line had taken before. For seconds it sent three times as much as the line took.
#[test]
fn a_very_long_queue_tells_what_the_line_takes_of_a_sender_that_had_no_more_to_send() {
    let mut path = Path::new(500_000, 50);
    path.run(10);
    let media = &mut path.media;
    media.rate = 500_000;
    let mut cut = |delivered, trouble| {
        media.rate = 500_000;
        media.tick = Tick { delivered, app_limited: true, ..media.tick };
        media.cut(path.now, trouble, PLAIN);
        media.rate
    };
    assert_eq!(cut(400_000, Trouble::Queue(STERN)), 250_000);
    assert_eq!(cut(100_000, Trouble::Queue(STERN)), 156_250, "not more than a half besides");
    assert_eq!(cut(100_000, Trouble::Queue(GENTLE)), 437_500, "a short queue says little");
    assert_eq!(cut(100_000, Trouble::Loss), 400_000, "loss does not show that the line was busy");
}

/// An encoder that follows its target sends fifteen sixteenths of a pace that drains.
#[test]
fn what_there_was_to_send_tells_of_the_line_only_beside_a_very_long_queue() {
    let mut media = Media { rate: 400_000, ..Media::new(SMSS) };
    media.tick = Tick { delivered: 281_250, app_limited: true, ..media.tick };
    let seen = |media: &Media, very_long, trouble| {
        let sending = media.sending(very_long, Some(trouble), PLAIN);
        (sending.delivered, sending.cut_to)
    };
    assert_eq!(seen(&media, false, Trouble::Queue(GENTLE)), (0, Some(262_500)));
    assert_eq!(seen(&media, false, Trouble::Loss), (0, Some(240_000)));
    assert_eq!(seen(&media, true, Trouble::Loss), (281_250, Some(240_000)), "less than what came");
    media.tick.app_limited = false;
    assert_eq!(seen(&media, false, Trouble::Loss), (281_250, Some(168_750)));
}
