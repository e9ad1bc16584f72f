//! One stage of a lane at work.

use crate::arena::{Packet, PacketId};
use crate::ecn::Ecn;
use crate::fault::{Decision, DropCause, Edit};
use crate::link::loss::Loss;
use crate::link::shaper::{Fast, Live};
use crate::link::spec::{CorruptSpec, EcnSpec, JitterSpec, LossSpec, StageSpec};
use crate::rng::{Key, Ppb, Stream, below};
use crate::time::{Duration, Rate, Time, mul_div};

/// What a stage says of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// It passes at once.
    On,
    /// It passes at this time, which is not earlier than the times of those before it.
    At(Time),
    /// It is lost, by rule and not by chance.
    Lose(DropCause),
    /// It passes in fragments with so many more bytes of headers.
    Fragmented(u32),
    /// It is too big.
    TooBig { mtu: u32, signal: bool },
    /// Chance has it, unless an explicit fault says otherwise.
    Decide(Decision),
    /// The same for a queue: if it is not lost, [`Stage::take`] is next.
    Admit(Decision),
    /// Its ECN field is overwritten.
    SetEcn(Ecn),
    /// It goes into the live queue.
    Queue,
}

/// Small, because a packet of a big world finds the stages of its link in no cache: the rarer kinds are boxed.
#[derive(Debug)]
enum Kind {
    Fast(Box<Fast>),
    Live(Box<Live>),
    Policer(Box<Policer>),
    Delay(Duration),
    Jitter(Box<Jitter>),
    RandomLoss(Ppb),
    Loss(Box<Loss>),
    Duplicate { probability: Ppb, copies: u8, late: Duration },
    Corrupt { probability: Ppb, kind: CorruptSpec },
    Reorder(Box<Reorder>),
    Mtu { mtu: u32, signal: bool },
    Ecn(EcnSpec),
    Slot(Box<Slot>),
}

#[derive(Debug)]
struct Policer {
    rate: Rate,
    burst: u64,
    mark: bool,
    tokens: u128,
    at: Time,
}

#[derive(Debug)]
struct Jitter {
    distribution: JitterSpec,
    reorder: bool,
    last: Time,
}

#[derive(Debug)]
struct Reorder {
    probability: Ppb,
    gap: u32,
    by: Duration,
    since: u32,
}

#[derive(Debug)]
struct Slot {
    min: Duration,
    max: Duration,
    next: Time,
    stream: Stream,
}

/// From (included) to (excluded), and after how long they come again.
type Windows = (Vec<(Time, Time)>, Option<Duration>);

#[derive(Debug)]
pub(crate) struct Stage {
    kind: Kind,
    key: Key,
    /// Works only within these, if any are given.
    windows: Option<Box<Windows>>,
}

/// One token byte in the unit of the policer's bucket: a rate times nanoseconds.
const TOKEN: u128 = 8_000_000_000;

impl Stage {
    /// Builds the stages of a lane. Each draws from a key of its kind and its place among its kind, so that adding one
    /// of another kind changes nothing for it.
    pub(crate) fn build(specs: &[StageSpec], key: Key) -> Vec<Self> {
        let mut seen = std::collections::BTreeMap::new();
        specs
            .iter()
            .map(|spec| {
                let purpose = purpose(spec);
                let nth = seen.entry(purpose).or_insert(0_u64);
                let key = Key::mix(key.bits(), purpose, "").sub(*nth);
                *nth += 1;
                Self::new(spec, key)
            })
            .collect()
    }

    fn new(spec: &StageSpec, key: Key) -> Self {
        let mut windows = None;
        let mut inner = spec;
        while let StageSpec::During { windows: given, repeat, stage } = inner {
            windows = Some(Box::new((given.clone(), *repeat)));
            inner = stage;
        }
        let kind = match inner {
            StageSpec::Shaper { rate, queue } => match Fast::new(rate, queue) {
                Some(fast) => Kind::Fast(Box::new(fast)),
                None => Kind::Live(Box::new(Live::new(rate, queue))),
            },
            StageSpec::Policer { rate, burst, mark } => {
                let tokens = u128::from(*burst) * TOKEN;
                Kind::Policer(Box::new(Policer { rate: *rate, burst: *burst, mark: *mark, tokens, at: Time::ZERO }))
            }
            StageSpec::Delay(span) => Kind::Delay(*span),
            StageSpec::Jitter { distribution, reorder } => {
                let distribution = distribution.clone();
                Kind::Jitter(Box::new(Jitter { distribution, reorder: *reorder, last: Time::ZERO }))
            }
            StageSpec::Loss(LossSpec::Random(p)) => Kind::RandomLoss(*p),
            StageSpec::Loss(spec) => Kind::Loss(Box::new(Loss::new(spec))),
            StageSpec::Duplicate { probability, copies, late } => {
                Kind::Duplicate { probability: *probability, copies: *copies, late: *late }
            }
            StageSpec::Corrupt { probability, kind } => Kind::Corrupt { probability: *probability, kind: *kind },
            StageSpec::Reorder { probability, gap, by } => {
                Kind::Reorder(Box::new(Reorder { probability: *probability, gap: *gap, by: *by, since: 0 }))
            }
            StageSpec::Mtu { mtu, signal } => Kind::Mtu { mtu: *mtu, signal: *signal },
            StageSpec::Ecn(spec) => Kind::Ecn(*spec),
            StageSpec::Slot { min, max } => {
                let max = (*max).max(*min);
                Kind::Slot(Box::new(Slot { min: *min, max, next: Time::ZERO, stream: key.stream() }))
            }
            // The loop above has taken these off.
            StageSpec::During { .. } => Kind::Delay(Duration::ZERO),
        };
        Self { kind, key, windows }
    }

    /// Whether it decides only when a packet goes, and must see packets at their real time.
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.kind, Kind::Live(_))
    }

    /// Loads its queue into the cache.
    pub(crate) fn prefetch(&self) -> u64 {
        if let Kind::Fast(fast) = &self.kind { fast.prefetch() } else { 0 }
    }

    /// Whether packets must come to it in the order of their times.
    pub(crate) const fn minds_order(&self) -> bool {
        match &self.kind {
            Kind::Fast(_) | Kind::Live(_) | Kind::Policer(_) | Kind::Reorder(_) | Kind::Slot(_) => true,
            Kind::RandomLoss(_) | Kind::Loss(_) => true,
            Kind::Jitter(jitter) => !jitter.reorder,
            Kind::Delay(_) | Kind::Duplicate { .. } | Kind::Corrupt { .. } | Kind::Mtu { .. } | Kind::Ecn(_) => false,
        }
    }

    pub(crate) fn live_mut(&mut self) -> Option<&mut Live> {
        if let Kind::Live(live) = &mut self.kind { Some(live) } else { None }
    }

    pub(crate) fn drain(&mut self, out: &mut Vec<PacketId>) {
        if let Kind::Live(live) = &mut self.kind {
            out.extend(live.sending.take());
            live.discipline.drain(out);
        }
    }

    pub(crate) fn backlog(&mut self, now: Time) -> (usize, u64) {
        if let Kind::Fast(fast) = &mut self.kind {
            return fast.backlog(now);
        }
        if let Kind::Live(live) = &self.kind { live.discipline.backlog() } else { (0, 0) }
    }

    fn is_idle_at(&self, t: Time) -> bool {
        let Some((windows, repeat)) = self.windows.as_deref() else { return false };
        let t = match repeat {
            Some(period) if period.0 > 0 => Time(t.0 % period.0),
            _ => t,
        };
        !windows.iter().any(|&(from, to)| from <= t && t < to)
    }

    /// What becomes of a packet that comes at `t`.
    pub(crate) fn step(&mut self, t: Time, packet: &Packet) -> Step {
        if self.windows.is_some() && self.is_idle_at(t) {
            return Step::On;
        }
        let ordinal = packet.decision_ordinal();
        let key = self.key;
        let word = || key.decide(ordinal);
        match &mut self.kind {
            Kind::Delay(span) => Step::At(t + *span),
            Kind::Fast(fast) => fast.admit(t, packet, word),
            Kind::RandomLoss(p) => lose_if(p.hit(word())),
            Kind::Live(_) => Step::Queue,
            Kind::Loss(loss) => lose_if(loss.is_lost(word(), key.sub(1).decide(ordinal), packet)),
            Kind::Policer(policer) => policer.step(t, packet),
            Kind::Jitter(jitter) => jitter.step(t, key, ordinal),
            Kind::Duplicate { probability, copies, late } => {
                // Copies are not copied by the same stage again: they start behind it.
                let late = Duration(below(key.sub(1).decide(ordinal), late.0.saturating_add(1)));
                let hit = *copies > 0 && probability.hit(word());
                Step::Decide(if hit { Decision::Duplicate(*copies, late) } else { Decision::Pass })
            }
            Kind::Corrupt { probability, kind } => {
                let len = u64::from(packet.wire_len).saturating_sub(28).max(1);
                let hit = probability.hit(word());
                let value = key.sub(1).decide(ordinal);
                Step::Decide(if hit {
                    Decision::Corrupt(draw_edit(*kind, value, key.sub(2).decide(ordinal), len))
                } else {
                    Decision::Pass
                })
            }
            Kind::Reorder(reorder) => reorder.step(word),
            Kind::Mtu { mtu, signal } => Self::fit(packet, *mtu, *signal),
            Kind::Ecn(spec) => step_ecn(*spec, packet, word()),
            Kind::Slot(slot) => slot.step(t),
        }
    }

    fn fit(packet: &Packet, mtu: u32, signal: bool) -> Step {
        if packet.wire_len <= mtu {
            return Step::On;
        }
        if packet.dont_fragment || packet.dst.is_ipv6() {
            return Step::TooBig { mtu, signal };
        }
        // RFC 791: fragments carry multiples of 8 bytes behind an IP header of 20.
        let room = (mtu.saturating_sub(20) / 8 * 8).max(8);
        Step::Fragmented(((packet.wire_len - 20).div_ceil(room) - 1) * 20)
    }

    /// The queue takes a packet that it has admitted: when it will have left.
    pub(crate) fn take(&mut self, t: Time, len: u32) -> Time {
        if let Kind::Fast(fast) = &mut self.kind { fast.take(t, len) } else { t }
    }
}

const fn lose_if(lost: bool) -> Step {
    Step::Decide(if lost { Decision::Drop(DropCause::Loss) } else { Decision::Pass })
}

impl Policer {
    fn step(&mut self, t: Time, packet: &Packet) -> Step {
        let gained = u128::from(t.since(self.at).0) * u128::from(self.rate.0);
        self.tokens = (self.tokens + gained).min(u128::from(self.burst) * TOKEN);
        self.at = t;
        let cost = u128::from(packet.wire_len) * TOKEN;
        if self.tokens >= cost {
            self.tokens -= cost;
            Step::On
        } else if self.mark && packet.ecn.is_capable() {
            Step::Decide(Decision::Mark)
        } else {
            Step::Lose(DropCause::Policed)
        }
    }
}

impl Jitter {
    fn step(&mut self, t: Time, key: Key, ordinal: u64) -> Step {
        let mut at = t + draw_jitter(&self.distribution, key, ordinal);
        if !self.reorder {
            at = at.max(self.last);
            self.last = at;
        }
        Step::Decide(if at > t { Decision::Delay(at.since(t)) } else { Decision::Pass })
    }
}

impl Reorder {
    fn step(&mut self, word: impl Fn() -> u64) -> Step {
        self.since += 1;
        let eligible = self.since >= self.gap.max(1);
        if eligible {
            self.since = 0;
        }
        let held = eligible && self.probability.hit(word());
        Step::Decide(if held { Decision::Delay(self.by) } else { Decision::Pass })
    }
}

impl Slot {
    fn step(&mut self, t: Time) -> Step {
        while self.next < t {
            // Slots go on while nothing comes, but need not be counted one by one.
            let gap = Duration(self.min.0 + self.stream.below(self.max.0 - self.min.0 + 1)).0.max(1);
            let behind = t.since(self.next).0;
            self.next += Duration(if behind > gap * 64 { behind - behind % gap } else { gap });
        }
        Step::At(self.next)
    }
}

const fn purpose(spec: &StageSpec) -> &'static str {
    match spec {
        StageSpec::Shaper { .. } => "shaper",
        StageSpec::Policer { .. } => "policer",
        StageSpec::Delay(_) => "delay",
        StageSpec::Jitter { .. } => "jitter",
        StageSpec::Loss(_) => "loss",
        StageSpec::Duplicate { .. } => "duplicate",
        StageSpec::Corrupt { .. } => "corrupt",
        StageSpec::Reorder { .. } => "reorder",
        StageSpec::Mtu { .. } => "mtu",
        StageSpec::Ecn(_) => "ecn",
        StageSpec::Slot { .. } => "slot",
        StageSpec::During { stage, .. } => purpose(stage),
    }
}

fn draw_edit(kind: CorruptSpec, value: u64, choice: u64, len: u64) -> Edit {
    let number = |n: u64| u32::try_from(below(value, n)).unwrap_or(0);
    match kind {
        CorruptSpec::FlipBit => Edit::FlipBit(number(len * 8)),
        CorruptSpec::Truncate => Edit::Truncate(number(len)),
        CorruptSpec::Extend(most) => Edit::Extend(number(most.max(1).into()) + 1),
        CorruptSpec::Any => {
            let one = match below(choice, 3) {
                0 => CorruptSpec::FlipBit,
                1 => CorruptSpec::Truncate,
                _ => CorruptSpec::Extend(16),
            };
            draw_edit(one, value, choice, len)
        }
    }
}

fn draw_jitter(distribution: &JitterSpec, key: Key, ordinal: u64) -> Duration {
    match distribution {
        JitterSpec::Uniform(max) => Duration(below(key.decide(ordinal), max.0.saturating_add(1))),
        JitterSpec::Exponential(mean) => Duration(key.sub(ordinal).stream().exponential(mean.0)),
        JitterSpec::Table(table) => {
            let index = usize::try_from(below(key.decide(ordinal), table.len() as u64)).unwrap_or(0);
            table.get(index).copied().unwrap_or_default()
        }
        JitterSpec::Normal { mean, sigma } => {
            // The sum of twelve even draws from 0 to 1 has mean 6 and variance 1 (Irwin and Hall); 16 bits each.
            let words = key.sub(ordinal);
            let sum: u64 = (0..3)
                .map(|n| {
                    let word = words.decide(n);
                    (word & 0xffff) + (word >> 16 & 0xffff) + (word >> 32 & 0xffff) + (word >> 48)
                })
                .sum();
            const MIDDLE: u64 = 6 * 65_535;
            let off = mul_div(sum.abs_diff(MIDDLE).min(4 * 65_535), sigma.0, 65_535);
            Duration(if sum >= MIDDLE { mean.0.saturating_add(off) } else { mean.0.saturating_sub(off) })
        }
    }
}

fn step_ecn(spec: EcnSpec, packet: &Packet, word: u64) -> Step {
    match spec {
        EcnSpec::Mark(p) => {
            Step::Decide(if packet.ecn.is_capable() && p.hit(word) { Decision::Mark } else { Decision::Pass })
        }
        EcnSpec::Bleach | EcnSpec::Set(Ecn::NotEct) => {
            Step::Decide(if packet.ecn == Ecn::NotEct { Decision::Pass } else { Decision::Bleach })
        }
        EcnSpec::DropCapable if packet.ecn.is_capable() => Step::Lose(DropCause::EctDropped),
        EcnSpec::DropCapable => Step::On,
        EcnSpec::Set(ecn) => Step::SetEcn(ecn),
    }
}
