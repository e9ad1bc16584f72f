//! What charts show of a run.

use datagram_sim::{Duration, Time};

use super::palette::Palette;
use super::plot::{Line, LineStyle};
use crate::run::Outcome;
use crate::scenario::Scenario;

/// Of so many nodes without a colour lines are drawn, with so few points each.
const OTHERS: usize = 60;
const OTHER_POINTS: usize = 120;

pub(super) fn seconds(time: Time) -> f64 {
    time.0 as f64 / 1e9
}

fn millis(span: Duration) -> f64 {
    span.0 as f64 / 1e6
}

/// Until when there is something to see: a little after the last delivery and the last event.
pub(super) fn active(outcome: &Outcome, scenario: &Scenario) -> Time {
    let deliveries = outcome.log.works.iter().filter_map(|delivery_log| delivery_log.deliveries.last());
    let events = scenario.at.iter().map(|at| Time(at.t.0.0));
    let last = deliveries.map(|delivery| delivery.read).chain(events).max().unwrap_or(outcome.end);
    Time(last.0 + last.0 / 10 + 100_000_000).min(outcome.end)
}

/// All lines that have a colour, and some of the others, coarser.
fn shown(lines: impl Iterator<Item = Line>) -> Vec<Line> {
    let mut others = 0;
    let keep = |line: &mut Line| {
        if line.style.colour.is_some() {
            return true;
        }
        others += 1;
        let step = line.points.len().div_ceil(OTHER_POINTS).max(1);
        let mut at = 0_usize;
        line.points.retain(|_| {
            at += 1;
            (at - 1).is_multiple_of(step)
        });
        others <= OTHERS
    };
    let mut lines: Vec<Line> = lines.collect();
    lines.retain_mut(keep);
    lines
}

/// The lines of some gauges of nodes, scaled. Each gauge has its own dashes.
pub(super) fn gauges(outcome: &Outcome, palette: &Palette, until: Time, wanted: &[&str], scale: f64) -> Vec<Line> {
    shown(outcome.series.iter().filter_map(|((place, gauge, session), points)| {
        let kind = wanted.iter().position(|name| name == gauge)?;
        let points = scaled(points, until, scale)?;
        let name = if *session == 0 { format!("{place} {gauge}") } else { format!("{place} {gauge} #{session}") };
        Some(Line { name, style: palette.of_node(place, kind), points, steps: true })
    }))
}

/// Bytes that wait on each lane.
pub(super) fn queues(outcome: &Outcome, palette: &Palette, until: Time) -> Vec<Line> {
    shown(outcome.series.iter().filter_map(|((link, gauge, _), points)| {
        let up = match *gauge {
            "queue.up" => true,
            "queue.down" => false,
            _ => return None,
        };
        let points = scaled(points, until, 1e-3)?;
        Some(Line { name: lane_name(link, up), style: palette.of_lane(link, up), points, steps: true })
    }))
}

fn lane_name(link: &str, up: bool) -> String {
    format!("{link} {}", if up { "up" } else { "down" })
}

/// None if it is always zero.
fn scaled(points: &[(Time, i64)], until: Time, scale: f64) -> Option<Vec<(f64, f64)>> {
    let any = points.iter().any(|(_, value)| *value != 0);
    let shown = points.iter().filter(|(time, _)| *time <= until);
    any.then(|| shown.map(|(time, value)| (seconds(*time), *value as f64 * scale)).collect())
}

/// The styles of the lines of works: each as its sender, and the several works of a sender dashed otherwise, unless there are
/// too many anyway.
fn styles(outcome: &Outcome, palette: &Palette) -> Vec<LineStyle> {
    let mut counts = std::collections::BTreeMap::new();
    let style = |from: &str| {
        let count = counts.entry(from.to_owned()).or_insert(0_usize);
        *count += 1;
        palette.of_node(from, if palette.has_others { 0 } else { *count - 1 })
    };
    outcome.log.works.iter().map(|delivery_log| delivery_log.work.from.as_str()).map(style).collect()
}

/// Mbit/s that each work delivers.
pub(super) fn throughput(outcome: &Outcome, palette: &Palette, until: Time) -> Vec<Line> {
    let width = (until.0 / 120).max(1_000_000);
    let flows = outcome.log.works.iter().zip(styles(outcome, palette));
    shown(flows.filter(|(delivery_log, _)| !delivery_log.deliveries.is_empty()).map(|(delivery_log, style)| {
        let buckets = usize::try_from(until.0 / width + 1).unwrap_or(1);
        let mut bytes = vec![0_u64; buckets];
        for delivery in &delivery_log.deliveries {
            let at = usize::try_from(delivery.read.0 / width).unwrap_or(0);
            if let Some(bucket) = bytes.get_mut(at) {
                *bucket += delivery.len;
            }
        }
        let rate = |bytes: &u64| *bytes as f64 * 8e3 / width as f64;
        let points = bytes.iter().enumerate().map(|(at, sum)| ((at as u64 * width) as f64 / 1e9, rate(sum)));
        Line { name: delivery_log.work.label(), style, points: points.collect(), steps: true }
    }))
}

/// The share of each work's messages that were delivered within so many milliseconds.
pub(super) fn distribution(outcome: &Outcome, palette: &Palette) -> Vec<Line> {
    let flows = outcome.log.works.iter().zip(styles(outcome, palette));
    shown(flows.filter(|(delivery_log, _)| delivery_log.deliveries.len() > 1).map(|(delivery_log, style)| {
        let all = delivery_log.latencies();
        let step = (all.len() / 400).max(1);
        let last = (all.len() - 1) as f64;
        let points = all.iter().enumerate().filter(|(at, _)| at % step == 0 || *at + 1 == all.len());
        let points = points.map(|(at, latency)| (millis(*latency), at as f64 / last * 100.0)).collect();
        Line { name: delivery_log.work.label(), style, points, steps: false }
    }))
}

/// The least and the greatest x of any line.
pub(super) fn extent(lines: &[Line]) -> (f64, f64) {
    let all = lines.iter().flat_map(|line| &line.points).map(|point| point.0);
    all.fold((f64::MAX, 0.0), |(least, most), x| (least.min(x), most.max(x)))
}

/// Milliseconds that packets spent on each lane.
pub(super) fn sojourn(outcome: &Outcome, palette: &Palette, until: Time) -> Vec<Line> {
    let lanes = outcome.names.stages.iter().flat_map(|(link, number)| [(link, number, true), (link, number, false)]);
    shown(lanes.filter_map(|(link, number, up)| {
        let lane = outcome.watched.lanes.get(&(number * 2 + u32::from(!up)))?;
        let shown = lane.transit.iter().take_while(|(at, _)| *at <= until).count();
        let transit = lane.transit.get(..shown).unwrap_or_default();
        let step = (shown / 900).max(1);
        // The worst of each stretch: a mean would hide what hurts.
        let worst = |part: &[(Time, Duration)]| part.iter().max_by_key(|(_, transit)| *transit).copied();
        let points = transit.chunks(step).filter_map(worst).map(|(at, transit)| (seconds(at), millis(transit)));
        Some(Line {
            name: lane_name(link, up),
            style: palette.of_lane(link, up),
            points: points.collect(),
            steps: false,
        })
    }))
}

/// When packets were lost on any lane; of each the first few hundred.
pub(super) fn losses(outcome: &Outcome) -> Vec<f64> {
    let lanes = outcome.names.stages.values().flat_map(|number| [number * 2, number * 2 + 1]);
    let lost = lanes.filter_map(|lane| outcome.watched.lanes.get(&lane));
    lost.flat_map(|lane| lane.losses.iter().take(300).map(|(at, _)| seconds(*at))).collect()
}
