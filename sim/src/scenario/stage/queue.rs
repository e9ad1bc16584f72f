//! The queue of a shaper: `tail 1bdp`, `fq-codel`, …

use datagram_sim::{CodelSpec, Duration, FqCodelSpec, PieSpec, Ppb, QueueSpec, RedSpec};

use super::words::{Words, number};
use crate::scenario::units;

/// What one bandwidth-delay product is here, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Bdp(pub(super) u64);

impl Bdp {
    /// Reads a size: bytes, or so many bandwidth-delay products (never less than ten packets of 1,500 bytes).
    fn bytes(self, text: &str) -> Result<u64, String> {
        match text.strip_suffix("bdp") {
            Some(times) => {
                let share = u64::from(units::ppb(&format!("{}%", times.trim())).map(|p| p.0)?);
                let times = if share == 0 { 1 } else { share };
                // Per cent of a billion: times 100 gives the number itself.
                Ok(datagram_sim::time::mul_div(self.0, times * 100, 1_000_000_000).max(15_000))
            }
            None => units::bytes(text),
        }
    }
}

/// Reads the queue of a shaper.
pub(super) fn queue(text: &str, bdp: Bdp) -> Result<QueueSpec, String> {
    let mut words = Words::new(text);
    let with_ecn = words.flag("ecn");
    let size = |text: &str| bdp.bytes(text);
    let limit = words.key("limit", size)?;
    let (target, interval) = (words.key("target", units::span)?, words.key("interval", units::span)?);
    let spec = match words.next("the kind of queue")? {
        "unlimited" => QueueSpec::Unlimited,
        "tail" => tail(words.next("the size")?, bdp)?,
        "head" => QueueSpec::HeadBytes(size(words.next("the size")?)?),
        "red" => QueueSpec::Red(RedSpec {
            min_bytes: size(words.next("the lower mark")?)?,
            max_bytes: size(words.next("the upper mark")?)?,
            limit_bytes: limit.ok_or("limit= is missing")?,
            max_p: words.key("p", units::ppb)?.unwrap_or(Ppb::percent(10)),
            weight_log: 9,
            ecn: with_ecn,
        }),
        "codel" => {
            QueueSpec::Codel(codel(CodelSpec { ecn: with_ecn, ..CodelSpec::default() }, target, interval, limit))
        }
        "fq-codel" => {
            let base = FqCodelSpec::default();
            let quantum = words.key("quantum", units::packet_size)?.unwrap_or(base.quantum);
            let queues = words.key("queues", number)?.unwrap_or(base.queues);
            QueueSpec::FqCodel(FqCodelSpec { codel: codel(base.codel, target, interval, limit), queues, quantum })
        }
        "pie" => {
            let base = PieSpec::default();
            QueueSpec::Pie(PieSpec {
                target: target.unwrap_or(base.target),
                limit_bytes: limit.unwrap_or(base.limit_bytes),
                ecn: with_ecn,
                ..base
            })
        }
        "priority" => {
            let classes = number(words.next("the number of classes")?)?;
            QueueSpec::Priority { classes, bytes: size(words.next("the size")?)? }
        }
        "drr" => QueueSpec::Drr {
            queues: words.key("queues", number)?.unwrap_or(64),
            quantum: words.key("quantum", units::packet_size)?.unwrap_or(1_514),
            bytes: size(words.next("the size")?)?,
        },
        other => {
            return Err(format!(
                "`{other}` is no queue: unlimited, tail, head, red, codel, fq-codel, pie, priority, drr"
            ));
        }
    };
    words.end()?;
    Ok(spec)
}

fn codel(base: CodelSpec, target: Option<Duration>, interval: Option<Duration>, limit: Option<u64>) -> CodelSpec {
    CodelSpec {
        target: target.unwrap_or(base.target),
        interval: interval.unwrap_or(base.interval),
        limit_bytes: limit.unwrap_or(base.limit_bytes),
        ..base
    }
}

fn tail(text: &str, bdp: Bdp) -> Result<QueueSpec, String> {
    if let Some(packets) = text.strip_suffix("pkt") {
        return number(packets).map(QueueSpec::TailPackets);
    }
    match units::span(text) {
        Ok(span) => Ok(QueueSpec::TailTime(span)),
        Err(_) => bdp.bytes(text).map(QueueSpec::TailBytes),
    }
}
