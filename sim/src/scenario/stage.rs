//! The words in which a scenario describes one direction of a link: `rate = "10Mbit"`, `loss = "gilbert p=0.2% r=30%"`.
#![expect(clippy::wildcard_enum_match_arm, reason = "all other stages are read by themselves")]

mod queue;
mod rate;
mod words;

use core::fmt;
use core::str::FromStr;

use datagram_sim::{CorruptSpec, Duration, Ecn, EcnSpec, JitterSpec, LossSpec, Ppb, StageSpec, Time};

use super::units;
use queue::{Bdp, queue};
use rate::{highest_rate, rate_spec};
use words::{Words, number};

/// What kind of stage. The order is the one in which a lane's table is passed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StageKind {
    /// Largest IP packet: `1280B`, `1280B black-hole`. The unit may be left out.
    Mtu,
    /// Token bucket: `10Mbit burst=32kB [mark]`.
    Police,
    /// Shaper: `10Mbit`, steps `10Mbit; 20s 5Mbit`, mahimahi's opportunities `trace 1,2,5`, or `trace-file PATH`.
    Rate,
    /// The shaper's queue: `tail 1bdp`, `fq-codel`, …
    Queue,
    /// `mark 1%`, `bleach`, `drop`, `set ce`.
    Ecn,
    /// `random 1%`, `gilbert p= r= good= bad=`, `markov p13= …`, `bounded 30% burst=3`, `list 1,2,7`.
    Loss,
    /// `30% copies=2 late=5s`.
    Duplicate,
    /// `2% flip`, `1% truncate`, `1% extend=16`, `1% any`.
    Corrupt,
    /// `50% by=10ms [gap=2]`.
    Reorder,
    /// `25ms`.
    Delay,
    /// `uniform 5ms`, `normal 5ms sigma=1ms`, `exponential 5ms`, `table 1ms,2ms,9ms`; `keep-order` for no overtaking.
    Jitter,
    /// `1ms 10ms`.
    Slot,
}

/// Every kind with its name in files, in the order in which packets pass.
pub const KINDS: [(StageKind, &str); 12] = [
    (StageKind::Mtu, "mtu"),
    (StageKind::Police, "police"),
    (StageKind::Rate, "rate"),
    (StageKind::Queue, "queue"),
    (StageKind::Ecn, "ecn"),
    (StageKind::Loss, "loss"),
    (StageKind::Duplicate, "duplicate"),
    (StageKind::Corrupt, "corrupt"),
    (StageKind::Reorder, "reorder"),
    (StageKind::Delay, "delay"),
    (StageKind::Jitter, "jitter"),
    (StageKind::Slot, "slot"),
];

impl StageKind {
    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for StageKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = || KINDS.map(|(_, name)| name).join(", ");
        let found = KINDS.iter().find(|(_, name)| *name == text);
        found.map(|&(kind, _)| kind).ok_or_else(|| format!("`{text}` is no kind of stage; there are: {}", known()))
    }
}

/// One stage, checked, in its own words. Whole stages are written `delay 25ms`, `rate 10Mbit queue=tail 64kB`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct StageText {
    /// What it is.
    pub kind: StageKind,
    /// Its parameters.
    pub text: String,
}

impl StageText {
    /// Checks a stage.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(kind: StageKind, text: &str) -> Result<Self, String> {
        let this = Self { kind, text: text.trim().to_owned() };
        match kind {
            StageKind::Queue => queue(&this.text, Bdp(1_000_000)).map(drop)?,
            StageKind::Rate => this.shaper("tail 1bdp", Duration::millis(100)).map(drop)?,
            _ => this.spec().map(drop)?,
        }
        Ok(this)
    }

    fn shaper(&self, queue_text: &str, rtt: Duration) -> Result<StageSpec, String> {
        let rate = rate_spec(&self.text)?;
        let bdp = Bdp(highest_rate(&rate).bytes_in(rtt));
        Ok(StageSpec::Shaper { rate, queue: queue(queue_text, bdp)? })
    }

    fn spec(&self) -> Result<StageSpec, String> {
        let (text, windows) = match self.text.split_once(" during ") {
            Some((text, windows)) => (text, Some(windows)),
            None => (self.text.as_str(), None),
        };
        let mut words = Words::new(text);
        let stage = stage(self.kind, &mut words)?;
        words.end()?;
        match windows {
            None => Ok(stage),
            Some(windows) => during(windows, stage),
        }
    }
}

impl fmt::Display for StageText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.text)
    }
}

impl FromStr for StageText {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        Self::new(kind.parse()?, rest)
    }
}

/// Turns stages in their order into the engine's; a `queue` belongs to the `rate` before it. `rtt` is what "bdp" means.
///
/// # Errors
/// A queue without a rate, or a file that cannot be read.
pub fn compile(stages: &[StageText], rtt: Duration) -> Result<Vec<StageSpec>, String> {
    let mut out = Vec::new();
    for (at, stage) in stages.iter().enumerate() {
        match stage.kind {
            StageKind::Queue => {
                let before = at.checked_sub(1).and_then(|before| stages.get(before));
                if before.is_none_or(|before| before.kind != StageKind::Rate) {
                    return Err("a queue needs a rate before it".to_owned());
                }
            }
            StageKind::Rate => {
                let next = stages.get(at + 1).filter(|next| next.kind == StageKind::Queue);
                out.push(stage.shaper(next.map_or("tail 1bdp", |next| &next.text), rtt)?);
            }
            _ => out.push(stage.spec()?),
        }
    }
    Ok(out)
}

fn stage(kind: StageKind, words: &mut Words<'_>) -> Result<StageSpec, String> {
    Ok(match kind {
        StageKind::Mtu => {
            let signal = !words.flag("black-hole");
            let mtu = units::packet_size(words.next("the size")?)?;
            if mtu < 68 {
                return Err("no IP network has an MTU below 68".to_owned());
            }
            StageSpec::Mtu { mtu, signal }
        }
        StageKind::Police => {
            let mark = words.flag("mark");
            let burst = words.key("burst", units::bytes)?.unwrap_or(32_000);
            StageSpec::Policer { rate: units::rate(words.next("the rate")?)?, burst, mark }
        }
        StageKind::Ecn => StageSpec::Ecn(ecn(words)?),
        StageKind::Loss => StageSpec::Loss(loss(words)?),
        StageKind::Duplicate => StageSpec::Duplicate {
            copies: words.key("copies", number)?.unwrap_or(1),
            late: words.key("late", units::span)?.unwrap_or(Duration::ZERO),
            probability: units::ppb(words.next("the percentage")?)?,
        },
        StageKind::Corrupt => corrupt(words)?,
        StageKind::Reorder => StageSpec::Reorder {
            gap: words.key("gap", number)?.unwrap_or(1),
            by: words.key("by", units::span)?.ok_or("by= is missing")?,
            probability: units::ppb(words.next("the percentage")?)?,
        },
        StageKind::Delay => StageSpec::Delay(units::span(words.next("the delay")?)?),
        StageKind::Jitter => jitter(words)?,
        StageKind::Slot => {
            let min = units::span(words.next("the shortest time")?)?;
            StageSpec::Slot { min, max: units::span(words.next("the longest time")?)? }
        }
        StageKind::Rate | StageKind::Queue => return Err("rates and queues go together".to_owned()),
    })
}

fn loss(words: &mut Words<'_>) -> Result<LossSpec, String> {
    let mut p = |name: &str| words.key(name, units::ppb);
    let (p13, p31, p32, p23, p14) = (p("p13")?, p("p31")?, p("p32")?, p("p23")?, p("p14")?);
    let (gilbert_p, r, good, bad) = (p("p")?, p("r")?, p("good")?, p("bad")?);
    let burst = words.key("burst", number)?;
    let need = |value: Option<Ppb>, name: &str| value.ok_or_else(|| format!("{name}= is missing"));
    match words.next("the kind of loss")? {
        "none" => Ok(LossSpec::Random(Ppb::NEVER)),
        "random" => Ok(LossSpec::Random(units::ppb(words.next("the percentage")?)?)),
        "gilbert" => Ok(LossSpec::Gilbert {
            p: need(gilbert_p, "p")?,
            r: need(r, "r")?,
            good: good.unwrap_or(Ppb::NEVER),
            bad: bad.unwrap_or(Ppb::ALWAYS),
        }),
        "markov" => Ok(LossSpec::Markov4 {
            p13: need(p13, "p13")?,
            p31: need(p31, "p31")?,
            p32: p32.unwrap_or(Ppb::NEVER),
            p23: p23.unwrap_or(Ppb::ALWAYS),
            p14: p14.unwrap_or(Ppb::NEVER),
        }),
        "bounded" => Ok(LossSpec::Bounded {
            p: units::ppb(words.next("the percentage")?)?,
            burst: burst.ok_or("burst= is missing")?,
        }),
        "list" => {
            let list = words.next("the list")?.split(',').map(number).collect::<Result<_, _>>()?;
            Ok(LossSpec::List(list))
        }
        other => Err(format!("`{other}` is no kind of loss: none, random, gilbert, markov, bounded, list")),
    }
}

fn corrupt(words: &mut Words<'_>) -> Result<StageSpec, String> {
    let extend = words.key("extend", units::packet_size)?.map(CorruptSpec::Extend);
    let probability = units::ppb(words.next("the percentage")?)?;
    let kind = match (extend, words.next_if_any()) {
        (Some(kind), None) => kind,
        (None, Some("flip")) => CorruptSpec::FlipBit,
        (None, Some("truncate")) => CorruptSpec::Truncate,
        (None, Some("any") | None) => CorruptSpec::Any,
        (_, Some(other)) => return Err(format!("`{other}` is no corruption: flip, truncate, extend=, any")),
    };
    Ok(StageSpec::Corrupt { probability, kind })
}

fn ecn(words: &mut Words<'_>) -> Result<EcnSpec, String> {
    match words.next("what is done to the mark")? {
        "mark" => Ok(EcnSpec::Mark(units::ppb(words.next("the percentage")?)?)),
        "bleach" => Ok(EcnSpec::Bleach),
        "drop" => Ok(EcnSpec::DropCapable),
        "set" => Ok(EcnSpec::Set(match words.next("the mark")? {
            "ce" => Ecn::Ce,
            "ect0" => Ecn::Ect0,
            "ect1" => Ecn::Ect1,
            other => return Err(format!("`{other}` is no ECN mark: ce, ect0, ect1")),
        })),
        other => Err(format!("`{other}` is nothing done to ECN: mark, bleach, drop, set")),
    }
}

fn jitter(words: &mut Words<'_>) -> Result<StageSpec, String> {
    let reorder = !words.flag("keep-order");
    let sigma = words.key("sigma", units::span)?;
    let kind = words.next("the kind of jitter")?;
    let value = words.next("how much")?;
    let distribution = match kind {
        "uniform" => JitterSpec::Uniform(units::span(value)?),
        "normal" => JitterSpec::Normal { mean: units::span(value)?, sigma: sigma.ok_or("sigma= is missing")? },
        "exponential" => JitterSpec::Exponential(units::span(value)?),
        "table" => JitterSpec::Table(value.split(',').map(units::span).collect::<Result<Vec<_>, _>>()?.into()),
        other => return Err(format!("`{other}` is no jitter: uniform, normal, exponential, table")),
    };
    Ok(StageSpec::Jitter { distribution, reorder })
}

fn during(text: &str, stage: StageSpec) -> Result<StageSpec, String> {
    let (windows, repeat) = match text.split_once(" every ") {
        Some((windows, period)) => (windows, Some(units::span(period)?)),
        None => (text, None),
    };
    let mut out: Vec<(Time, Time)> = Vec::new();
    for window in windows.split(',') {
        let (from, to) = window.split_once("..").ok_or_else(|| format!("`{window}` should be FROM..TO"))?;
        let (from, to) = (units::time(from)?, units::time(to)?);
        if from >= to || out.last().is_some_and(|&(_, last)| from < last) {
            return Err(format!("`{window}` is not after what is before it"));
        }
        out.push((from, to));
    }
    Ok(StageSpec::During { windows: out, repeat, stage: Box::new(stage) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datagram_sim::{QueueSpec, Rate, RateSpec};

    fn one(text: &str) -> Result<StageSpec, String> {
        text.parse::<StageText>()?.spec()
    }

    #[test]
    fn stages_are_read() {
        assert_eq!(one("delay 25ms"), Ok(StageSpec::Delay(Duration::millis(25))));
        assert_eq!(one("mtu 1280 black-hole"), Ok(StageSpec::Mtu { mtu: 1_280, signal: false }));
        assert_eq!(one("mtu 1.28kB"), one("mtu 1280"));
        let gilbert = LossSpec::Gilbert { p: Ppb(2_000_000), r: Ppb::percent(30), good: Ppb(0), bad: Ppb::ALWAYS };
        assert_eq!(one("loss gilbert p=0.2% r=30% bad=100%"), Ok(StageSpec::Loss(gilbert)));
        let late = StageSpec::Duplicate { probability: Ppb::ALWAYS, copies: 2, late: Duration::secs(5) };
        assert_eq!(one("duplicate 100% copies=2 late=5s"), Ok(late));
        let window = (Time(3_000_000_000), Time(5_000_000_000));
        let dead = StageSpec::Loss(LossSpec::Random(Ppb::ALWAYS));
        assert_eq!(
            one("loss random 100% during 3s..5s every 7s"),
            Ok(StageSpec::During { windows: vec![window], repeat: Some(Duration::secs(7)), stage: Box::new(dead) })
        );
    }

    #[test]
    fn a_queue_belongs_to_its_rate() {
        let stages: Vec<StageText> =
            ["rate 10Mbit", "queue tail 2bdp", "delay 25ms"].iter().map(|text| text.parse().unwrap()).collect();
        let specs = compile(&stages, Duration::millis(50)).unwrap();
        let queue = QueueSpec::TailBytes(125_000);
        assert_eq!(specs[0], StageSpec::Shaper { rate: RateSpec::Fixed(Rate::mbit(10)), queue });
        assert_eq!(specs.len(), 2);
        assert!(compile(&stages[1..], Duration::millis(50)).is_err());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("speed 5ms", "speed"),
            ("loss randm 1%", "randm"),
            ("delay", "missing"),
            ("delay 5ms 6ms", "6ms"),
            ("loss random 1% foo=3", "foo"),
            ("rate 10Mbit; 5Mbit", "5Mbit"),
            ("queue tale 5kB", "tale"),
            ("loss random 100% during 5s..3s", "5s..3s"),
        ] {
            let error = text.parse::<StageText>().expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
