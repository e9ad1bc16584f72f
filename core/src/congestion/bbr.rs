//! A model of the path: how much it delivers a second, and how long it takes when nothing waits.

use core::time::Duration;

use super::max_filter::MaxFilter;
use super::rounds::Rounds;
use super::{Controller, PacketFacts, Reaction, TimeCritical, gentle_growth, initial_window, rate_of, scale};
use crate::time::{Instant, micros};

/// A share: parts and whole.
type Gain = (u64, u64);

/// Doubles the delivery in each round trip: 4 ln 2 (draft-ietf-ccwg-bbr §2.4).
const STARTUP_GAIN: Gain = (277, 100);
/// Empties in one round trip the queue that doubling has made.
const DRAIN_GAIN: Gain = (35, 100);
/// A round trip tries for more, the next takes the queue of it away again, and the others keep the rate.
const UP_GAIN: Gain = (5, 4);
const DOWN_GAIN: Gain = (3, 4);
const CRUISES: u64 = 6;
/// It tries for so many packets more in a round trip at the least. A quarter of three packets is none: a session with as
/// few would stay at them. In the next round trip it sends as many less, but at least a quarter of its rate.
const UP_PACKETS: u64 = 3;
/// Slightly below what the path delivers, so that queues do not last.
const CRUISE_MARGIN: Gain = (99, 100);
/// What the window has more than the path holds, since acknowledgements come in lots, and late: so many packets, and what
/// is delivered in this time, which is no more than twice what the path holds.
///
/// Sessions that share a queue each keep their slack in it. If that were a part of what the path holds, those with the
/// longest round trip would have the most in the queue, and of the line. With twice what the path holds, Jain's index
/// was 42 % in `fair-rtt`. Of packets each has as many, and the smaller ones gain, as with FAST TCP.
const SLACK_PACKETS: u64 = 6;
const SLACK_TIME: Duration = Duration::from_millis(20);
/// What is left of the window, or of the rate, while the shortest round trip is measured anew.
const PROBE_RTT_GAIN: Gain = (1, 2);
/// Rounds that the largest rate is remembered for.
const RATE_ROUNDS: u64 = 10;
/// A small window excuses small rates for so many rounds. It grows to anything in them.
const UNTOLD_ROUNDS: u64 = 2 * RATE_ROUNDS;
/// Doubling ends after so many rounds that each brought less than a quarter more.
const FULL_ROUNDS: u32 = 3;
/// A shortest round trip is as good as new for so long; then it is measured, with little in flight, for a while.
const MIN_RTT_AGE: Duration = Duration::from_secs(10);
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);
/// More than this part lost in a round counts as congestion, if the round trip shows a queue too.
const LOSS_LIMIT: Gain = (2, 100);
/// More than this part lost counts as congestion, whatever the round trip shows, if it is as many packets as no chance
/// makes of it.
const HEAVY_LOSS: Gain = (1, 5);
const HEAVY_LOSS_PACKETS: u64 = 16;
/// What congestion leaves of the rate.
const BETA: Gain = (7, 10);
/// Packets that are in flight at the least, so that acknowledgements are not waited for.
const LEAST_PACKETS: u64 = 4;
/// What took no time took less than the clock tells, and clocks may tick in milliseconds.
const CLOCK_TICK: Duration = Duration::from_millis(1);
/// Below this a round trip is no measure for how much faster a rate may become.
const LEAST_RTT: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Doubles the rate until the path is full.
    Startup,
    /// Until the queue is gone that this made.
    Drain,
    /// Keeps the rate, and now and then tries for more.
    Cycle { step: Step, since: Instant },
    /// Until then, once little is in flight. If `paced`, the rate sees to that, and the window stays.
    ProbeRtt { until: Option<Instant>, paced: bool },
}

/// A round trip of the cycle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Up,
    Down,
    /// So many of them come after this one.
    Cruise(u64),
}

impl Step {
    const fn gain(self) -> Gain {
        match self {
            Self::Up => UP_GAIN,
            Self::Down => DOWN_GAIN,
            Self::Cruise(_) => (1, 1),
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Cruise(CRUISES - 1),
            Self::Cruise(0) => Self::Up,
            Self::Cruise(left) => Self::Cruise(left - 1),
        }
    }
}

/// A controller after BBR (draft-ietf-ccwg-bbr): sends at the largest rate of delivery of the last ten rounds, and tries for
/// more in one of eight.
///
/// Losses alone do not make it slower: a path that loses one packet in a hundred by itself carries the rest as fast as it
/// did. Where more than 2 % are lost in a round and the round trip shows that packets wait, or more than a fifth, or packets are
/// marked, there is congestion: the rate is cut to 70 % until the cycle begins anew.
///
/// Departures from the draft's version 3:
/// - The cycle is that of version 1, of eight round trips. It needs no random numbers, and no state for what a probe found.
/// - Up to a fifth may be lost without a queue, where version 3 stops at 2 %.
/// - The window is what the path holds and a slack that does not depend on the round trip, instead of twice that.
/// - A probe has at least three packets more, and the round trip after it as many less.
/// - To measure the round trip the window shrinks step by step, as in RFC 6937.
/// - Startup ends with the first round that shows a queue and no higher rate. Its window has a limit too.
/// - While it yields (RFC 7016 §3.5.2.1), it does not try for more, and measures the round trip anew by its rate alone.
///
/// Beside CUBIC in a queue of several round trips it gets less than its share: one in four of 200 ms at 50 ms, one in ten
/// of 400 ms at 100 ms. It does not raise its own queue when a queue stays: it could not tell CUBIC from many of its kind,
/// whose fair shares depend on none doing so.
#[derive(Debug)]
pub(super) struct Bbr {
    smss: u64,
    phase: Phase,
    rounds: Rounds,
    rates: MaxFilter,
    /// Rounds that could have shown that the path delivers less than it did, and how many in a row could not.
    age: u64,
    untold: u64,
    /// After a timeout: the window is not back yet at what the path should hold.
    regrows: bool,
    /// The shortest round trip, and when it was measured.
    min_rtt: Option<(Duration, Instant)>,
    /// The rate that congestion leaves, until the cycle begins anew.
    bound: Option<u64>,
    cwnd: u64,
    /// What the window shrinks to, step by step, while the round trip is measured anew.
    probe_window: u64,
    /// The rate that the last rounds did not exceed by a quarter, and how many they were.
    full: (u64, u32),
    round: Round,
    /// What was acknowledged last was sent while there was no more to send.
    app_limited: bool,
    yields: bool,
}

/// What was seen since the round began.
#[derive(Clone, Copy, Debug)]
struct Round {
    acked: u64,
    lost: u64,
    marked: bool,
    /// The shortest round trip.
    rtt: Option<Duration>,
    /// The largest rate.
    rate: u64,
}

impl Round {
    const NEW: Self = Self { acked: 0, lost: 0, marked: false, rtt: None, rate: 0 };
}

impl Bbr {
    pub(super) const fn new(smss: u64) -> Self {
        let smss = if smss == 0 { 1 } else { smss };
        Self {
            smss,
            phase: Phase::Startup,
            rounds: Rounds::new(),
            rates: MaxFilter::new(),
            age: 0,
            untold: 0,
            regrows: false,
            min_rtt: None,
            bound: None,
            cwnd: initial_window(smss),
            probe_window: 0,
            full: (0, 0),
            round: Round::NEW,
            app_limited: false,
            yields: false,
        }
    }

    /// Bytes a second that the path delivers, as far as is known; 0 before the first sample.
    fn rate(&self) -> u64 {
        self.bound.map_or(self.rates.get(), |bound| bound.min(self.rates.get()))
    }

    /// What the path holds when nothing waits, in bytes, times a gain.
    fn flight(&self, (part, whole): Gain) -> Option<u64> {
        let (min_rtt, _) = self.min_rtt?;
        let rate = Some(self.rate()).filter(|rate| *rate > 0)?;
        Some(scale(scale(rate, micros(min_rtt).max(1_000), 1_000_000), part, whole))
    }

    /// The round trip of this round shows that packets wait.
    fn is_queued(&self) -> bool {
        let Some((min_rtt, _)) = self.min_rtt else { return false };
        self.round.rtt.is_some_and(|rtt| rtt > min_rtt + min_rtt / 4 + Duration::from_millis(4))
    }

    /// Whether there was congestion in this round.
    fn is_congested(&self) -> bool {
        let Round { acked, lost, marked, .. } = self.round;
        let more_than = |(part, whole): Gain| lost > scale(acked + lost, part, whole);
        let heavy = more_than(HEAVY_LOSS) && lost > HEAVY_LOSS_PACKETS * self.smss;
        marked || heavy || (more_than(LOSS_LIMIT) && self.is_queued())
    }

    /// What the path should hold is in the window.
    fn is_whole(&self) -> bool {
        self.flight((1, 1)).is_none_or(|flight| self.cwnd >= flight)
    }

    /// A round says nothing against the model if the window was smaller than what the path should hold: after a timeout,
    /// or while the round trip was measured. It would otherwise take the model down with it, and stay as small. After many
    /// such rounds it is the model that is wrong.
    fn grow_older(&mut self) {
        let tells = self.is_whole() && !matches!(self.phase, Phase::ProbeRtt { .. });
        self.untold = if tells { 0 } else { self.untold + 1 };
        self.age += u64::from(tells || self.untold > UNTOLD_ROUNDS);
    }

    /// A round is over.
    fn on_round(&mut self, app_limited: bool) -> Reaction {
        self.grow_older();
        let congested = self.is_congested();
        if self.phase == Phase::Startup {
            // A rate that yields is not meant to double.
            if !app_limited && !self.yields {
                let (full, rounds) = self.full;
                self.full = if self.rates.get() >= full / 4 * 5 { (self.rates.get(), 0) } else { (full, rounds + 1) };
            }
            let full = self.full.1 >= FULL_ROUNDS || (self.full.1 > 0 && self.is_queued());
            if full || congested {
                self.phase = Phase::Drain;
            }
        } else if congested && self.bound.is_none() {
            let (part, whole) = BETA;
            self.bound = Some(scale(self.rates.get(), part, whole));
        }
        self.round = Round::NEW;
        if congested { Reaction::Cut } else { Reaction::Other }
    }

    fn update_phase(&mut self, now: Instant, outstanding: u64) {
        let flight = self.flight((1, 1));
        match self.phase {
            Phase::Drain if flight.is_none_or(|flight| outstanding <= flight) => self.begin_cycle(now),
            Phase::Cycle { step, since } => {
                let round_trip = self.min_rtt.map_or(Duration::ZERO, |(min_rtt, _)| min_rtt);
                let long = now.saturating_duration_since(since) > round_trip;
                let full = self.flight(UP_GAIN).is_none_or(|full| outstanding >= full) || self.round.lost > 0;
                let empty = flight.is_none_or(|flight| outstanding <= flight);
                let over = match step {
                    Step::Up => long && full,
                    Step::Down => long || empty,
                    Step::Cruise(_) => long,
                };
                if over {
                    self.bound = self.bound.filter(|_| step.next() != Step::Up);
                    self.phase = Phase::Cycle { step: step.next(), since: now };
                }
            }
            Phase::Startup | Phase::Drain | Phase::ProbeRtt { .. } => {}
        }
        self.probe_rtt(now, outstanding);
    }

    fn begin_cycle(&mut self, now: Instant) {
        // Not all sessions of a line at the same place; never where it tries for more or less.
        let step = Step::Cruise(now.as_micros() / 1_000 % CRUISES);
        self.phase = Phase::Cycle { step, since: now };
    }

    fn probe_rtt(&mut self, now: Instant, outstanding: u64) {
        let Some((min_rtt, measured)) = self.min_rtt else { return };
        match self.phase {
            Phase::ProbeRtt { until: None, paced } if paced || outstanding <= self.least_probe_window() => {
                let lasts = if paced { PROBE_RTT_TIME + min_rtt } else { PROBE_RTT_TIME };
                self.phase = Phase::ProbeRtt { until: Some(now + lasts), paced };
            }
            Phase::ProbeRtt { until: Some(until), .. } if now >= until => {
                self.min_rtt = Some((min_rtt, now));
                self.begin_cycle(now);
            }
            Phase::Cycle { .. } if now.saturating_duration_since(measured) > MIN_RTT_AGE => {
                self.begin_probe_rtt(outstanding);
            }
            Phase::Startup | Phase::Drain | Phase::Cycle { .. } | Phase::ProbeRtt { .. } => {}
        }
    }

    fn begin_probe_rtt(&mut self, outstanding: u64) {
        // §3.5.2.1: a window that yields would not come back after it was small.
        self.phase = Phase::ProbeRtt { until: None, paced: self.yields };
        self.probe_window = outstanding.max(self.least_probe_window());
    }

    /// The window at the end of that.
    fn least_probe_window(&self) -> u64 {
        self.flight(PROBE_RTT_GAIN).unwrap_or(0).max(LEAST_PACKETS * self.smss)
    }

    /// One packet leaves for two that arrive, as in RFC 6937, until little is in flight. A window that is small at once
    /// makes a silence of half a round trip. No acknowledgements come a round trip later, and without them only six
    /// packets leave (RFC 7016 §3.5.2.3). That repeats itself, and the line is used half for seconds.
    fn shrink_probe_window(&mut self, facts: &PacketFacts) {
        if matches!(self.phase, Phase::ProbeRtt { paced: false, .. }) {
            let gone = facts.acked_bytes.saturating_add(facts.lost_bytes);
            self.probe_window = self.probe_window.saturating_sub(gone / 2).max(self.least_probe_window());
        }
    }

    fn on_rtt(&mut self, now: Instant, rtt: Duration) {
        self.round.rtt = Some(self.round.rtt.map_or(rtt, |least| least.min(rtt)));
        let stale = |at: Instant| now.saturating_duration_since(at) > MIN_RTT_AGE;
        let probing = matches!(self.phase, Phase::ProbeRtt { .. });
        let newer = self.min_rtt.is_none_or(|(min_rtt, at)| rtt <= min_rtt || (probing && stale(at)));
        if newer {
            self.min_rtt = Some((rtt, now));
        }
    }

    /// The most that the window may be; None while nothing is known of the path.
    fn target(&self) -> Option<u64> {
        let gain = match self.phase {
            // What is known of the path is less than what it can do.
            Phase::Startup => STARTUP_GAIN,
            Phase::Cycle { step: Step::Up, .. } => UP_GAIN,
            Phase::Drain | Phase::Cycle { .. } | Phase::ProbeRtt { .. } => (1, 1),
        };
        let in_time = scale(self.rate(), micros(SLACK_TIME), 1_000_000).min(self.flight((2, 1))?);
        let slack = (SLACK_PACKETS * self.smss).saturating_add(in_time);
        // The first messages say little of the path, and never that it holds less than the initial window.
        let least = if self.phase == Phase::Startup { 2 * initial_window(self.smss) } else { 0 };
        Some(self.flight(gain)?.saturating_add(slack).max(least))
    }

    fn update_window(&mut self, facts: &PacketFacts) {
        let least = LEAST_PACKETS * self.smss;
        let segment = if facts.segment == 0 { self.smss } else { facts.segment.min(1_460) };
        // §3.5.2: at most a segment for an acknowledgement, as in slow start (RFC 5681 §3.1).
        let acked = facts.acked_bytes.min(segment);
        let growth = if self.yields { gentle_growth(self.cwnd, acked) } else { acked };
        let used = facts.pre_ack_outstanding.saturating_add(2 * segment) >= self.cwnd;
        let grown = if used { self.cwnd.saturating_add(growth) } else { self.cwnd };
        self.cwnd = self.target().map_or(grown, |target| grown.min(target.max(least)));
        self.regrows = self.regrows && !self.is_whole();
    }

    /// What a rate that yields tries for more: what §3.5.2.1 lets it grow in a round trip.
    fn gentle_increase(&self) -> u64 {
        let tries = matches!(self.phase, Phase::Startup | Phase::Cycle { step: Step::Up, .. });
        let Some((min_rtt, _)) = self.min_rtt.filter(|_| self.yields && tries) else { return 0 };
        (self.rate() / 200).max(rate_of(384, min_rtt.max(LEAST_RTT)))
    }

    /// The rate with a gain. To try for more means some packets at the least, which the next round trip takes back.
    fn gained(&self, rate: u64) -> u64 {
        let (part, whole) = self.gain();
        let gained = scale(rate, part, whole);
        // Only then: most of the time it is asked for each packet.
        let adds = matches!(self.phase, Phase::Cycle { step: Step::Up | Step::Down, .. }) && !self.yields;
        let Some((min_rtt, _)) = self.min_rtt.filter(|_| adds) else { return gained };
        let packets = rate_of(UP_PACKETS * self.smss, min_rtt.max(LEAST_RTT));
        match self.phase {
            Phase::Cycle { step: Step::Up, .. } => gained.max(rate.saturating_add(packets)),
            Phase::Cycle { step: Step::Down, .. } => gained.min(rate.saturating_sub(packets).max(rate / 4)),
            Phase::Startup | Phase::Drain | Phase::Cycle { .. } | Phase::ProbeRtt { .. } => gained,
        }
    }

    fn gain(&self) -> Gain {
        match self.phase {
            // Its rate, and a little more: less would make the model smaller round by round.
            Phase::Startup | Phase::Cycle { step: Step::Up, .. } if self.yields => (1, 1),
            Phase::Startup => STARTUP_GAIN,
            Phase::Drain => DRAIN_GAIN,
            Phase::Cycle { step, .. } => step.gain(),
            Phase::ProbeRtt { paced: true, .. } => PROBE_RTT_GAIN,
            Phase::ProbeRtt { paced: false, .. } => (1, 1),
        }
    }
}

impl Controller for Bbr {
    fn on_packet(&mut self, now: Instant, facts: &PacketFacts, time_critical: TimeCritical) -> Reaction {
        if time_critical.yields() && !self.yields {
            // §3.5.2.1: it grows from what it is now.
            self.cwnd = self.window();
            if let Phase::ProbeRtt { paced, .. } = &mut self.phase {
                *paced = true;
            }
        }
        self.yields = time_critical.yields();
        self.round.marked |= facts.any_mark;
        let mut reaction = Reaction::Other;
        self.round.acked = self.round.acked.saturating_add(facts.acked_bytes);
        self.round.lost = self.round.lost.saturating_add(facts.lost_bytes).saturating_sub(facts.spurious_bytes);
        if let Some(sample) = facts.sample {
            if let Some(rtt) = sample.rtt {
                self.on_rtt(now, rtt);
            }
            let begins = self.rounds.on_sample(&sample);
            self.app_limited = sample.app_limited;
            if begins {
                reaction = self.on_round(sample.app_limited);
            }
            // After a silence the round trip is as good as new: nothing was queued.
            if sample.in_flight == 0
                && let Some((_, measured)) = &mut self.min_rtt
            {
                *measured = now;
            }
            // Faster than a round trip is only a heap of acknowledgements.
            let believable = self.min_rtt.is_none_or(|(min_rtt, _)| sample.interval >= min_rtt);
            let rate = sample.rate().or_else(|| Some(rate_of(sample.delivered, CLOCK_TICK)).filter(|rate| *rate > 0));
            if let Some(rate) = rate.filter(|_| believable) {
                self.round.rate = self.round.rate.max(rate);
                if !sample.app_limited || rate >= self.rates.get() {
                    self.rates.update(self.age, rate, RATE_ROUNDS);
                }
            }
        }
        self.shrink_probe_window(facts);
        self.update_phase(now, facts.outstanding);
        self.update_window(facts);
        reaction
    }

    /// What was in flight is gone; the model of the path stays, and the window grows back to it. If there is another timeout
    /// before it is there, the path is another one, and all but its round trip is found anew.
    fn on_timeout(&mut self, _: Instant, was_loss: bool) {
        if !was_loss {
            return;
        }
        if self.regrows {
            *self = Self { min_rtt: self.min_rtt, yields: self.yields, ..Self::new(self.smss) };
        }
        (self.cwnd, self.regrows) = (self.smss, true);
    }

    fn on_path_change(&mut self) {
        *self = Self::new(self.smss);
    }

    fn window(&self) -> u64 {
        match self.phase {
            Phase::ProbeRtt { paced: false, .. } => self.cwnd.min(self.probe_window),
            Phase::Startup | Phase::Drain | Phase::Cycle { .. } | Phase::ProbeRtt { paced: true, .. } => self.cwnd,
        }
    }

    fn pacing_rate(&self) -> Option<u64> {
        let rate = Some(self.rate()).filter(|rate| *rate > 0)?;
        let (margin, of) = if self.yields { (1, 1) } else { CRUISE_MARGIN };
        let rate = scale(self.gained(rate), margin, of);
        let rate = rate.saturating_add(self.gentle_increase());
        // A first small message says little of the path: never less than the initial window in each round trip.
        let initial = self.min_rtt.filter(|_| self.phase == Phase::Startup);
        Some(initial.map_or(rate, |(min_rtt, _)| rate.max(rate_of(initial_window(self.smss), min_rtt))))
    }

    /// Otherwise each wait would make the rate smaller that the path is seen to deliver.
    fn makes_up_for_waits(&self) -> bool {
        true
    }

    /// What the path delivers. A sender that has less to send can show that it delivers more only if it is told to send
    /// more: twice as much while the rate doubles, and a quarter more when it is time to try that, which lasts until then.
    fn target_rate(&self, srtt: Duration) -> u64 {
        let rate = self.rate();
        let (part, whole) = match self.phase {
            _ if self.yields => (1, 1),
            Phase::Startup => (2, 1),
            Phase::Cycle { step: Step::Up, .. } if self.app_limited => UP_GAIN,
            Phase::Drain | Phase::Cycle { .. } | Phase::ProbeRtt { .. } => (1, 1),
        };
        // The first messages say little of the path.
        let least = if self.phase == Phase::Startup { rate_of(initial_window(self.smss), srtt) } else { 0 };
        let rate = scale(rate, part, whole).max(least);
        // After a timeout it is the window that limits.
        if self.is_whole() { rate } else { rate.min(rate_of(self.cwnd, srtt)) }
    }

    fn wants_samples(&self) -> bool {
        true
    }

    fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Startup => "startup",
            Phase::Drain => "drain",
            Phase::Cycle { step: Step::Up, .. } => "probing up",
            Phase::Cycle { step: Step::Down, .. } => "probing down",
            Phase::Cycle { step: Step::Cruise(_), .. } => "cruising",
            Phase::ProbeRtt { .. } => "probing the round trip",
        }
    }
}

#[cfg(test)]
mod tests;
