//! The HTML report of a run.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use datagram_sim::Time;

use super::axis::Axis;
use super::ladder::ladder_svg;
use super::palette::Palette;
use super::plot::{Chart, Line, escape};
use super::series::{active, distribution, extent, gauges, losses, queues, seconds, sojourn, throughput};
use crate::run::{Failure, Outcome, folded};
use crate::scenario::Scenario;

/// The packets that the ladder shows.
const LADDER: usize = 40;
/// Links and NAT tables that are listed.
const ROWS: usize = 40;
const STYLE: &str = include_str!("style.css");

/// A section with charts, unless there is nothing to show in any of them.
fn section(out: &mut String, title: &str, charts: &[String]) {
    if charts.iter().any(|chart| !chart.is_empty()) {
        let _infallible = write!(out, "<h2>{title}</h2>");
        out.extend(charts.iter().map(String::as_str));
    }
}

/// What charts over time have in common: how long they are, and what happened.
struct Times {
    axis: Axis,
    events: Vec<(f64, String)>,
}

impl Times {
    fn chart(&self, title: &str, unit: &str, lines: Vec<Line>, losses: &[f64]) -> String {
        Chart { title, x_name: "seconds", unit, x: self.axis, lines, events: &self.events, losses }.figure()
    }
}

/// The whole report.
#[must_use]
pub fn html(scenario: &Scenario, seed: u64, outcome: &Outcome) -> String {
    let whole = scenario.expanded();
    let palette = Palette::new(&whole, outcome);
    let until = active(outcome, &whole);
    let events = whole.at.iter().map(|at| (seconds(Time(at.t.0.0)), at.action.to_string()));
    let times =
        Times { axis: Axis { from: 0.0, to: seconds(until).max(1e-6), logarithmic: false }, events: events.collect() };
    let mut out = String::new();
    head(&mut out, scenario, seed, outcome);
    verdicts(&mut out, outcome);
    let latencies = distribution(outcome, &palette);
    let (least, most) = extent(&latencies);
    let latency = Chart {
        title: "Latency: share of the messages delivered within",
        x_name: "milliseconds, logarithmic",
        unit: "%",
        x: Axis::logarithmic(least, most),
        lines: latencies,
        events: &[],
        losses: &[],
    };
    let rates = throughput(outcome, &palette, until);
    section(&mut out, "Flows", &[times.chart("Throughput by work", "Mbit/s", rates, &[]), latency.figure()]);
    let windows = gauges(outcome, &palette, until, &["cwnd", "flight"], 1e-3);
    let timers = gauges(outcome, &palette, until, &["srtt", "erto"], 1e-6);
    let sessions = [
        times.chart("Congestion window and data in flight", "kB", windows, &losses(outcome)),
        times.chart("Smoothed round trip and retransmission timeout", "ms", timers, &[]),
    ];
    section(&mut out, "Sessions", &sessions);
    out.push_str("<h2>Links</h2>");
    out.push_str(&times.chart("Bytes waiting", "kB", queues(outcome, &palette, until), &[]));
    let sojourn = sojourn(outcome, &palette, until);
    out.push_str(&times.chart("Time on the link, the longest of each stretch", "ms", sojourn, &[]));
    lanes(&mut out, outcome);
    nats(&mut out, outcome);
    let ladder = ladder_svg(outcome, LADDER, &palette);
    if !ladder.is_empty() {
        let _infallible = write!(
            out,
            "<h2>The first {LADDER} packets</h2><p class=\"note\">Rows are moments in order, not to scale.</p>{ladder}"
        );
    }
    let _infallible = writeln!(out, "<h2>Scenario</h2><pre>{}</pre></html>", escape(&scenario.to_toml()));
    out
}

fn head(out: &mut String, scenario: &Scenario, seed: u64, outcome: &Outcome) {
    let (class, word) = match (outcome.passed(), outcome.broke_invariant()) {
        (true, _) => ("good", "passed"),
        (false, true) => ("bad", "broke an invariant"),
        (false, false) => ("bad", "failed"),
    };
    let name = escape(&scenario.name);
    let _infallible = write!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{name}</title><style>{STYLE}</style>\
         <h1>{name}<span class=\"badge {class}\">{word}</span></h1><p class=\"about\">{}</p><div class=\"facts\">",
        escape(&scenario.about)
    );
    let facts = [
        ("seed", seed.to_string()),
        ("simulated", outcome.end.to_string()),
        ("events", outcome.records.to_string()),
        ("packets sent", outcome.sent.to_string()),
        ("hash", format!("{:032x}", outcome.hash)),
    ];
    for (what, value) in facts {
        let _infallible = write!(out, "<span>{what} <b>{value}</b></span>");
    }
    out.push_str("</div>");
}

fn verdicts(out: &mut String, outcome: &Outcome) {
    out.push_str("<h2>Verdict</h2><div class=\"scroll\"><table>");
    for failure in &outcome.failures {
        if let Failure::Invariant(text) = failure {
            let _infallible =
                write!(out, "<tr><td class=\"bad\">invariant</td><td colspan=\"3\">{}</td></tr>", escape(text));
        }
    }
    for verdict in folded(&outcome.measured) {
        let (class, word) = if verdict.holds { ("good", "holds") } else { ("bad", "broken") };
        let times = if verdict.count > 1 { format!("{} times", verdict.count) } else { String::new() };
        let _infallible = write!(
            out,
            "<tr><td class=\"{class}\">{word}</td><td><code>{}</code></td><td>{}</td><td>{times}</td></tr>",
            escape(&verdict.expectation),
            escape(&verdict.shown)
        );
    }
    out.push_str("</table></div>");
}

/// Tables of many rows say how many they leave out.
fn left_out(out: &mut String, all: usize, what: &str) {
    if let Some(more) = all.checked_sub(ROWS).filter(|more| *more > 0) {
        let _infallible = write!(out, "<p class=\"note\">and {more} more {what}</p>");
    }
}

fn lanes(out: &mut String, outcome: &Outcome) {
    out.push_str("<div class=\"scroll\"><table><tr><th>lane</th><th>packets</th><th>lost</th><th>why</th></tr>");
    let ways =
        |(link, number): (&String, &u32)| [(link.clone(), "up", number * 2), (link.clone(), "down", number * 2 + 1)];
    let all: Vec<_> = outcome.names.stages.iter().flat_map(ways).collect();
    let seen: Vec<_> =
        all.iter().filter_map(|(link, way, number)| Some((link, way, outcome.watched.lanes.get(number)?))).collect();
    for (link, way, lane) in seen.iter().take(ROWS) {
        let mut reasons = BTreeMap::new();
        for (_, why) in &lane.losses {
            *reasons.entry(why.name()).or_insert(0_u64) += 1;
        }
        let reasons: Vec<String> = reasons.iter().map(|(why, count)| format!("{why} {count}")).collect();
        let _infallible = write!(
            out,
            "<tr><td>{} {way}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td></tr>",
            escape(link),
            lane.entered,
            lane.dropped,
            reasons.join(", ")
        );
    }
    out.push_str("</table></div>");
    left_out(out, seen.len(), "lanes");
}

fn nats(out: &mut String, outcome: &Outcome) {
    if outcome.mappings.is_empty() {
        return;
    }
    out.push_str("<h2>NAT tables, as they changed</h2><div class=\"scroll\"><table>");
    let states: Vec<_> =
        outcome.mappings.iter().flat_map(|(name, tables)| tables.iter().map(move |t| (name, t))).collect();
    for (name, (time, table)) in states.iter().take(ROWS) {
        let mut rows: Vec<String> = table.iter().take(20).map(|row| escape(row)).collect();
        if rows.is_empty() {
            rows.push("(empty)".to_owned());
        }
        let _infallible =
            write!(out, "<tr><td>{}</td><td>{time}</td><td><code>{}</code></td></tr>", escape(name), rows.join("<br>"));
    }
    out.push_str("</table></div>");
    left_out(out, states.len(), "states");
}
