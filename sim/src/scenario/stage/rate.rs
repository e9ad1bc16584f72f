//! The rate of a shaper: `10Mbit`, steps, or a trace.

use datagram_sim::{Rate, RateSpec, Time, TraceRate};

use crate::scenario::units;

/// Reads the rate of a shaper.
pub(super) fn rate_spec(text: &str) -> Result<RateSpec, String> {
    if let Some(list) = text.strip_prefix("trace ") {
        return TraceRate::parse(&list.replace(',', "\n")).map(RateSpec::Trace).map_err(|error| error.to_string());
    }
    if let Some(path) = text.strip_prefix("trace-file ") {
        let lines = std::fs::read_to_string(path.trim()).map_err(|error| format!("{}: {error}", path.trim()))?;
        return TraceRate::parse(&lines).map(RateSpec::Trace).map_err(|error| format!("{path}: {error}"));
    }
    let mut steps = Vec::new();
    for (index, step) in text.split(';').enumerate() {
        let (at, rate) = match step.trim().split_once(' ') {
            Some((at, rate)) => (units::time(at)?, units::rate(rate)?),
            None if index == 0 => (Time::ZERO, units::rate(step)?),
            None => return Err(format!("`{step}` should be TIME RATE")),
        };
        if steps.last().is_some_and(|&(last, _)| at <= last) {
            return Err(format!("`{step}` is not after the step before it"));
        }
        steps.push((at, rate));
    }
    Ok(match steps.as_slice() {
        [(Time::ZERO, rate)] => RateSpec::Fixed(*rate),
        _ => RateSpec::Steps(steps),
    })
}

/// The rate from which queues in bandwidth-delay products get their size: the highest, or 10 Mbit/s of a trace.
pub(super) fn highest_rate(rate: &RateSpec) -> Rate {
    match rate {
        RateSpec::Fixed(rate) => *rate,
        RateSpec::Steps(steps) => steps.iter().map(|&(_, rate)| rate).max().unwrap_or_default(),
        RateSpec::Trace(_) => Rate::mbit(10),
    }
}
