//! For real-time media: a rate that queueing delay bounds.

mod contention;
mod delay;

use core::time::Duration;

use super::rounds::Rounds;
use super::{
    Controller, PacketFacts, RateSample, Reaction, TimeCritical, gentle_growth, initial_window, rate_of, scale,
};
use crate::time::{Instant, micros};
use contention::{Contention, Sending};
use delay::QueueDelay;

/// A share: parts and whole.
type Gain = (u64, u64);

/// A queue of this length is too long; one of that length is as good as none.
const LONG_QUEUE: Duration = Duration::from_millis(10);
const SHORT_QUEUE: Duration = Duration::from_millis(4);
/// The queue is of so many packets, if that is longer: a slow line has few of them in a short time.
const LONG_QUEUE_PACKETS: u64 = 2;
/// What a queue that is too long leaves of the rate, what one of three times the length does, and what loss or a mark.
const GENTLE: Gain = (7, 8);
const STERN: Gain = (5, 8);
const BETA: Gain = (4, 5);
/// What is left of the rate after cuts that were in vain.
const IN_VAIN: Gain = (2, 3);
/// The rate until the queue is gone that was too long.
const DRAIN: Gain = (3, 4);
/// A queue that others keep is not waited for longer.
const DRAIN_TIME: Duration = Duration::from_millis(500);
/// From one cut to the next, unless the queue is very long: on a shared line, those with short round trips are not to yield
/// several times before those with long ones do.
const CUT_TIME: Duration = Duration::from_millis(300);
/// Growth in a second, for the square root of the rate: 1 Mbit/s at 10 Mbit/s.
const GROWTH: u64 = 112;
/// Of the rate, what it grows by in a round trip at the most.
const MOST_GROWTH: Gain = (1, 8);
/// The rate is judged about so often.
const LEAST_TICK: Duration = Duration::from_millis(20);
const MOST_TICK: Duration = Duration::from_millis(100);
/// Samples that tell the queue.
const SAMPLES: u32 = 2;
/// Losses are counted over so many packets. More than the first share of them is too much, whatever the round trip shows;
/// more than the second, if it shows a queue. Of one packet in ten that is lost at random it is seldom as many as the first.
const LOSS_PACKETS: u64 = 128;
const HEAVY_LOSS: Gain = (3, 20);
const QUEUE_LOSS: Gain = (2, 100);
/// No rate is slower: two packets of 1,200 bytes each second.
const LEAST_RATE: u64 = 2_400;
/// Packets that are in flight at the least, so that acknowledgements are not waited for.
const LEAST_PACKETS: u64 = 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Doubles the window in each round trip until there is a queue.
    Startup,
    /// Sends less until the queue is gone, but not longer than until then.
    Drain { until: Instant },
    /// Grows slowly since then.
    Grow { since: Instant },
}

/// A controller of the class of SCReAM (RFC 8298, draft-johansson-ccwg-rfc8298bis-screamv2), C4
/// (draft-huitema-ccwg-c4-design) and LEDBAT (RFC 6817), though the algorithm of none of them. It has a rate, which grows until
/// packets wait longer than they may, is cut then, and lets the queue empty.
///
/// The rate grows with time and not with round trips, by a step for its square root. So sessions come to share a line
/// equally, whatever their round trips are and the rates at which they begin. The longer nothing was in the way, the longer the step
/// becomes, as in CUBIC (RFC 9438).
///
/// Loss alone does not make it slower, up to 15 % of 128 packets, which one in ten that is lost at random seldom makes: media
/// would rather lose some of what was sent than send less. Where there is a queue too, more than 2 % are too much. A
/// congestion mark cuts the rate by a fifth, as in RFC 8511.
///
/// Where others fill the queue until packets are lost, less would never be enough: see [`Contention`]. Against those the rate
/// grows whatever the queue, and loss and marks cut it.
#[derive(Debug)]
pub(super) struct Media {
    smss: u64,
    phase: Phase,
    /// Bytes a second; 0 until startup is over.
    rate: u64,
    cwnd: u64,
    delay: QueueDelay,
    contention: Contention,
    rounds: Rounds,
    /// The round in which the rate was cut, and when: what is acknowledged in it was sent before.
    cut_in: Option<(u64, Instant)>,
    tick: Tick,
    losses: Losses,
    /// Startup: the largest rate of delivery at the last round, and how many rounds did not exceed it by a quarter.
    full: (u64, u32),
    yields: bool,
}

/// What was seen since the rate was judged last.
#[derive(Clone, Copy, Debug)]
struct Tick {
    began: Instant,
    samples: u32,
    /// The shortest round trip.
    rtt: Option<Duration>,
    /// The largest rate of delivery.
    delivered: u64,
    /// There was less to send than might have been.
    app_limited: bool,
    marked: bool,
}

impl Tick {
    const fn new(began: Instant) -> Self {
        Self { began, samples: 0, rtt: None, delivered: 0, app_limited: false, marked: false }
    }
}

/// Losses of the last packets.
#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    /// Bytes.
    acked: u64,
    lost: u64,
    /// About how many packets they were in.
    packets: u64,
}

impl Losses {
    fn add(&mut self, facts: &PacketFacts, smss: u64) {
        self.acked = self.acked.saturating_add(facts.acked_bytes);
        self.lost = self.lost.saturating_add(facts.lost_bytes).saturating_sub(facts.spurious_bytes);
        // Small packets count as much as large ones: else a voice would need half a minute for so many.
        self.packets += facts.acked_bytes.div_ceil(smss) + facts.lost_bytes.div_ceil(smss);
        // Half of it is forgotten, so that there is always something to go by.
        if self.packets >= 2 * LOSS_PACKETS {
            (self.acked, self.lost, self.packets) = (self.acked / 2, self.lost / 2, self.packets / 2);
        }
    }

    /// Whether more than this part of enough packets was lost.
    fn exceed(&self, (part, whole): Gain) -> bool {
        let all = self.acked.saturating_add(self.lost);
        self.packets >= LOSS_PACKETS && self.lost > scale(all, part, whole)
    }
}

/// What is wrong, and what it leaves of the rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    Queue(Gain),
    Loss,
}

impl Media {
    pub(super) const fn new(smss: u64) -> Self {
        let smss = if smss == 0 { 1 } else { smss };
        Self {
            smss,
            phase: Phase::Startup,
            rate: 0,
            cwnd: initial_window(smss),
            delay: QueueDelay::new(),
            contention: Contention::new(),
            rounds: Rounds::new(),
            cut_in: None,
            tick: Tick::new(Instant::ORIGIN),
            losses: Losses { acked: 0, lost: 0, packets: 0 },
            full: (0, 0),
            yields: false,
        }
    }

    fn base(&self) -> Duration {
        self.delay.base().unwrap_or(MOST_TICK).max(Duration::from_millis(1))
    }

    /// The queue that is too long, and the one that is as good as none.
    fn limits(&self) -> (Duration, Duration) {
        let rate = if self.rate > 0 { self.rate } else { rate_of(self.cwnd, self.base()) };
        let packet = Duration::from_micros(scale(self.smss, 1_000_000, rate.max(LEAST_RATE)));
        (LONG_QUEUE.max(packet * LONG_QUEUE_PACKETS as u32), SHORT_QUEUE.max(packet * 3 / 2))
    }

    /// Something of what was sent is known to have come.
    fn on_sample(&mut self, now: Instant, sample: &RateSample, time_critical: TimeCritical) -> Reaction {
        let begins = self.rounds.on_sample(sample);
        self.tick.app_limited |= sample.app_limited;
        if let Some(rtt) = sample.rtt {
            self.delay.on_sample(now, rtt);
            self.tick.rtt = Some(self.tick.rtt.map_or(rtt, |least| least.min(rtt)));
            self.tick.samples += 1;
        }
        // Faster than a round trip is only a heap of acknowledgements.
        if sample.interval >= self.base() {
            self.tick.delivered = self.tick.delivered.max(sample.rate().unwrap_or(0));
        }
        if begins && self.phase == Phase::Startup {
            self.on_startup_round(now, sample.app_limited);
        }
        let most = if self.phase == Phase::Startup { LEAST_TICK } else { MOST_TICK };
        let length = self.base().clamp(LEAST_TICK, most);
        let elapsed = now.saturating_duration_since(self.tick.began);
        if elapsed < length || self.tick.samples < SAMPLES {
            return Reaction::Other;
        }
        let reaction = self.judge(now, elapsed.min(2 * MOST_TICK), time_critical);
        self.tick = Tick::new(now);
        reaction
    }

    /// Three rounds that brought less than a quarter more: the path is full, or the sender has no more to send.
    fn on_startup_round(&mut self, now: Instant, app_limited: bool) {
        let (full, rounds) = self.full;
        let delivered = self.tick.delivered.max(full);
        if !app_limited {
            self.full = if delivered >= full / 4 * 5 { (delivered, 0) } else { (full, rounds + 1) };
        }
        if self.full.1 >= 3 {
            self.end_startup(now);
        }
    }

    fn end_startup(&mut self, now: Instant) {
        let delivered = self.full.0.max(self.tick.delivered);
        let known = if delivered > 0 { delivered } else { rate_of(self.cwnd, self.base()) };
        self.rate = known.max(LEAST_RATE);
        self.drain(now);
    }

    fn drain(&mut self, now: Instant) {
        self.cut_in = Some((self.rounds.count(), now));
        self.phase = Phase::Drain { until: now + DRAIN_TIME + 2 * self.base() };
    }

    fn trouble(&self, queue: Duration) -> Option<Trouble> {
        let (long, short) = self.limits();
        let lossy = self.losses.exceed(HEAVY_LOSS);
        let full = queue > short && self.losses.exceed(QUEUE_LOSS);
        if self.tick.marked || lossy || full {
            return Some(Trouble::Loss);
        }
        let gain = if queue > 3 * long { STERN } else { GENTLE };
        (queue > long && !self.contention.is_competing()).then_some(Trouble::Queue(gain))
    }

    /// Makes the rate what it is until it is judged again.
    fn judge(&mut self, now: Instant, elapsed: Duration, time_critical: TimeCritical) -> Reaction {
        let queue = self.tick.rtt.map_or(Duration::ZERO, |rtt| self.delay.of(rtt));
        let (long, short) = self.limits();
        let settled = self.cut_in.is_none_or(|(round, at)| {
            let time = if queue > 3 * long { Duration::ZERO } else { CUT_TIME };
            self.rounds.count() > round + 1 && now.saturating_duration_since(at) >= time
        });
        self.contention.on_time(now);
        let trouble = self.trouble(queue).filter(|_| settled);
        if queue <= short {
            self.contention.on_short_queue(now);
        } else if queue <= long {
            self.contention.on_other_queue();
        } else if let Some(before) = self.contention.on_long_queue(
            now,
            queue,
            self.base(),
            self.sending(queue > 3 * long, trouble, time_critical),
        ) {
            // The cuts were in vain. One is left, as a sender that heeds only loss would have had it.
            // RFC 7016 §3.5.2.1: a rate that yields does not grow in one step.
            if !time_critical.yields() {
                self.rate = self.rate.max(scale(before, IN_VAIN.0, IN_VAIN.1));
            }
            self.phase = Phase::Grow { since: now };
            return Reaction::Other;
        }
        if let Some(trouble) = trouble {
            self.cut(now, trouble, time_critical);
            return Reaction::Cut;
        }
        let competing = self.contention.is_competing();
        match self.phase {
            Phase::Drain { until } if queue <= short || now >= until => self.phase = Phase::Grow { since: now },
            Phase::Grow { since } if settled && (queue <= long || competing) => {
                let calm = now.saturating_duration_since(since);
                let room = if competing { (1, 1) } else { share_left(queue, short, long) };
                self.grow(elapsed, calm, room, time_critical);
            }
            Phase::Startup | Phase::Drain { .. } | Phase::Grow { .. } => {}
        }
        Reaction::Other
    }

    fn cut(&mut self, now: Instant, trouble: Trouble, time_critical: TimeCritical) {
        if self.phase == Phase::Startup {
            self.end_startup(now);
        }
        self.rate = self.after_cut(trouble, time_critical);
        self.losses = Losses::default();
        self.drain(now);
        // A queue that others keep does not drain.
        if self.contention.is_competing() {
            self.phase = Phase::Grow { since: now };
        }
    }

    /// What tells whether others keep the queue. `very_long`: the queue.
    fn sending(&self, very_long: bool, trouble: Option<Trouble>, time_critical: TimeCritical) -> Sending {
        let cut_to = trouble.map(|trouble| scale(self.after_cut(trouble, time_critical), DRAIN.0, DRAIN.1));
        // What is all that there was to send tells nothing of the line, unless a very long queue shows that it was busy.
        let proved = !self.tick.app_limited || very_long;
        Sending { rate: self.rate, delivered: if proved { self.tick.delivered } else { 0 }, cut_to }
    }

    /// The rate that a cut leaves.
    fn after_cut(&self, trouble: Trouble, time_critical: TimeCritical) -> u64 {
        let (part, whole) = match trouble {
            // RFC 7016 §3.5.2.1: who yields, yields more.
            _ if time_critical.yields() => (1, 2),
            Trouble::Queue(gain) => gain,
            Trouble::Loss => BETA,
        };
        scale(self.rate.min(self.known_to_carry(trouble)), part, whole).max(LEAST_RATE)
    }

    /// Bytes a second that the path is known to carry. What was delivered is what there is, unless less was sent than might
    /// have been.
    fn known_to_carry(&self, trouble: Trouble) -> u64 {
        match (self.tick.delivered, trouble) {
            (0, _) => self.rate,
            (delivered, _) if !self.tick.app_limited => delivered,
            // A very long queue shows that the line was busy all the time, and took no more. What was not sent has proved
            // nothing (RFC 7661 §4.4.1), but a queue of others does not cost more than half of it at once.
            (delivered, Trouble::Queue(STERN)) => delivered.max(self.rate / 2),
            (_, Trouble::Queue(_) | Trouble::Loss) => self.rate,
        }
    }

    /// `calm`: how long it has grown. Then the part of the growth that the queue leaves.
    fn grow(&mut self, elapsed: Duration, calm: Duration, (part, whole): Gain, time_critical: TimeCritical) {
        // RFC 7661: what is not used to the half has proved nothing.
        if self.tick.delivered < self.rate / 2 {
            return;
        }
        let step = if time_critical.yields() {
            // RFC 7016 §3.5.2.1: half a per cent or 384 bytes a round trip.
            let per_round = (scale(self.rate, micros(self.base()), 1_000_000) / 200).max(384);
            scale(rate_of(per_round, self.base()), micros(elapsed), micros(self.base()))
        } else {
            // Seconds of calm, squared, in quarters: 1 at once, 2 after two seconds, 5 after four.
            let millis = micros(calm.min(Duration::from_secs(60))) / 1_000;
            let per_second = scale(self.rate.isqrt() * GROWTH, 4_000_000 + millis * millis, 4_000_000);
            scale(per_second, micros(elapsed), 1_000_000)
        };
        let rounds = micros(elapsed).div_ceil(micros(self.base())).max(1);
        let most = scale(self.rate, MOST_GROWTH.0 * rounds, MOST_GROWTH.1).min(self.rate / 4);
        self.rate = self.rate.saturating_add(scale(step.min(most), part, whole));
    }

    fn update_window(&mut self, facts: &PacketFacts, time_critical: TimeCritical) {
        let segment = if facts.segment == 0 { self.smss } else { facts.segment.min(1_460) };
        // §3.5.2: at most a segment for an acknowledgement, as in slow start (RFC 5681 §3.1).
        let acked = facts.acked_bytes.min(segment);
        let growth = match time_critical {
            _ if self.yields => gentle_growth(self.cwnd, acked),
            TimeCritical { fast_grow: false, .. } if self.phase == Phase::Startup => acked.div_ceil(4),
            TimeCritical { .. } => acked,
        };
        // Later it is the rate that grows though it is not used up, and the window follows.
        let slack = if self.phase == Phase::Startup { (self.cwnd / 2).max(2 * segment) } else { 2 * segment };
        let used = facts.pre_ack_outstanding.saturating_add(slack) >= self.cwnd;
        let grown = if used { self.cwnd.saturating_add(growth) } else { self.cwnd };
        self.cwnd = self.target().map_or(grown, |target| grown.min(target));
    }

    /// What the rate needs in flight. None: the rate is not known.
    fn target(&self) -> Option<u64> {
        if self.phase == Phase::Startup {
            return None;
        }
        let base = self.base();
        let (long, _) = self.limits();
        let queue = self.tick.rtt.map_or(Duration::ZERO, |rtt| self.delay.of(rtt));
        let room = if self.contention.is_competing() { queue * 5 / 4 + long } else { 2 * long };
        let flight = scale(self.rate, micros(base + base / 4 + room), 1_000_000);
        Some(flight.saturating_add(2 * self.smss).max(LEAST_PACKETS * self.smss))
    }
}

impl Controller for Media {
    fn on_packet(&mut self, now: Instant, facts: &PacketFacts, time_critical: TimeCritical) -> Reaction {
        self.yields = time_critical.yields();
        self.tick.marked |= facts.any_mark;
        self.losses.add(facts, self.smss);
        let reaction = facts.sample.map_or(Reaction::Other, |sample| self.on_sample(now, &sample, time_critical));
        self.update_window(facts, time_critical);
        reaction
    }

    /// What was in flight is gone: the rate is half as large, and the window grows back to it. Without loss there was
    /// nothing to send for a while (RFC 5681 §4.1).
    fn on_timeout(&mut self, now: Instant, was_loss: bool) {
        if was_loss {
            // RFC 5681 §3.1: what is lost once more says nothing new of the path.
            if self.rate > 0 && self.cwnd > self.smss {
                self.rate = (self.rate / 2).max(LEAST_RATE);
            }
            self.cwnd = self.smss;
        } else {
            self.cwnd = self.cwnd.min(initial_window(self.smss));
        }
        if let Phase::Grow { since } = &mut self.phase {
            *since = now;
        }
        self.losses = Losses::default();
        self.tick = Tick::new(now);
    }

    fn on_path_change(&mut self) {
        *self = Self::new(self.smss);
    }

    fn window(&self) -> u64 {
        self.cwnd
    }

    fn pacing_rate(&self) -> Option<u64> {
        match self.phase {
            // Twice the window in a round trip, as CUBIC does here (RFC 9002 §7.7).
            Phase::Startup => {
                Some(rate_of(self.cwnd, self.delay.base()?.max(Duration::from_millis(4))).saturating_mul(2))
            }
            Phase::Drain { .. } => Some(scale(self.rate, DRAIN.0, DRAIN.1)),
            Phase::Grow { .. } => Some(self.rate),
        }
    }

    /// The pace, which is no faster for bursts once startup is over. To an encoder that was not told of a drain, what
    /// waited on the line before waits at the sender.
    fn target_rate(&self, srtt: Duration) -> u64 {
        let paced = self.pacing_rate().filter(|_| self.phase != Phase::Startup);
        paced.unwrap_or_else(|| rate_of(self.cwnd, srtt))
    }

    fn wants_samples(&self) -> bool {
        true
    }

    fn phase(&self) -> &'static str {
        match self.phase {
            _ if self.contention.is_competing() => "competing",
            Phase::Startup => "startup",
            Phase::Drain { .. } => "draining",
            Phase::Grow { .. } => "growing",
        }
    }
}

/// How far the queue is from the one that is too long, of the way from the one that is as good as none.
fn share_left(queue: Duration, short: Duration, long: Duration) -> Gain {
    let whole = long.saturating_sub(short).max(Duration::from_micros(1));
    (micros(long.saturating_sub(queue).min(whole)), micros(whole))
}

#[cfg(test)]
mod tests;
