//! The HTML report of a run.

use core::fmt::Write as _;

use super::ladder::ladder_svg;
use super::plot::{Line, chart, escape};
use crate::run::{Failure, Outcome, folded};
use crate::scenario::Scenario;
use crate::time::{Span, Time};

/// The packets that the ladder shows.
const LADDER: usize = 40;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem;color:#222}\
h1{margin:0 0 .2rem}h2{margin:2rem 0 .5rem;border-bottom:1px solid #ddd}figure{margin:1.2rem 0}\
figcaption{font-weight:600;margin-bottom:.2rem}svg{width:100%;height:auto;display:block}figure path{fill:none;stroke-width:1.6}\
.grid{stroke:#e3e3e3}.mark{stroke:#b00;stroke-dasharray:3 3;opacity:.6}text{font:11px system-ui,sans-serif;fill:#555}\
text.y{text-anchor:end}text.x,text.name{text-anchor:middle}text.device{font-weight:600;font-size:14px;text-anchor:middle;fill:#222}\
text.lost{fill:#b00;font-size:14px;text-anchor:middle}text.label{paint-order:stroke;stroke:#fff;stroke-width:4px}\
.ladder line{stroke-width:1.4}.keys span{margin-right:1.2rem;font-size:13px}.keys i{display:inline-block;width:14px;height:4px;margin-right:5px;vertical-align:middle}\
table{border-collapse:collapse}td,th{padding:.25rem .8rem .25rem 0;text-align:left;vertical-align:top}.bad{color:#b00;font-weight:600}.good{color:#06752f}\
pre{background:#f6f6f6;padding:.8rem;overflow:auto;font-size:13px}code{font-size:13px}";

fn seconds(time: Time) -> f64 {
    time.0 as f64 / 1e9
}

fn millis(span: Span) -> f64 {
    span.0 as f64 / 1e6
}

/// Until when there is something to see: a little after the last delivery and the last event.
fn active(outcome: &Outcome, scenario: &Scenario) -> Time {
    let deliveries = outcome.books.accounts.iter().filter_map(|account| account.deliveries.last());
    let events = scenario.at.iter().map(|at| Time(at.t.0.0));
    let last = deliveries.map(|delivery| delivery.read).chain(events).max().unwrap_or(outcome.end);
    Time(last.0 + last.0 / 10 + 100_000_000).min(outcome.end)
}

/// The lines of some gauges, scaled.
fn gauges(outcome: &Outcome, until: Time, wanted: &[&str], scale: f64) -> Vec<Line> {
    let mut lines = Vec::new();
    for ((place, gauge, session), points) in &outcome.series {
        if wanted.contains(gauge) && points.iter().any(|(_, value)| *value != 0) {
            let name = if *session == 0 { format!("{place} {gauge}") } else { format!("{place} {gauge} #{session}") };
            let points = points.iter().filter(|(time, _)| *time <= until);
            let points = points.map(|(time, value)| (seconds(*time), *value as f64 * scale)).collect();
            lines.push(Line { name, points, steps: true });
        }
    }
    lines.truncate(7);
    lines
}

fn throughput(outcome: &Outcome, until: Time) -> Vec<Line> {
    let width = (until.0 / 120).max(1_000_000);
    let flows = outcome.books.accounts.iter().filter(|account| !account.deliveries.is_empty());
    flows
        .map(|account| {
            let buckets = usize::try_from(until.0 / width + 1).unwrap_or(1);
            let mut bytes = vec![0_u64; buckets];
            for delivery in &account.deliveries {
                let at = usize::try_from(delivery.read.0 / width).unwrap_or(0);
                if let Some(bucket) = bytes.get_mut(at) {
                    *bucket += delivery.len;
                }
            }
            let rate = |bytes: &u64| *bytes as f64 * 8e3 / width as f64;
            let points = bytes.iter().enumerate().map(|(at, sum)| ((at as u64 * width) as f64 / 1e9, rate(sum)));
            Line { name: account.work.label(), points: points.collect(), steps: true }
        })
        .take(7)
        .collect()
}

fn distribution(outcome: &Outcome) -> Vec<Line> {
    let flows = outcome.books.accounts.iter().filter(|account| account.deliveries.len() > 1);
    flows
        .map(|account| {
            let all = account.latencies();
            let step = (all.len() / 400).max(1);
            let last = (all.len() - 1) as f64;
            let points = all.iter().enumerate().filter(|(at, _)| at % step == 0 || *at + 1 == all.len());
            let points = points.map(|(at, latency)| (millis(*latency), at as f64 / last * 100.0)).collect();
            Line { name: account.work.label(), points, steps: false }
        })
        .take(7)
        .collect()
}

fn sojourn(outcome: &Outcome, until: Time) -> Vec<Line> {
    let mut lines = Vec::new();
    for (link, number) in &outcome.names.stages {
        for (way, name) in [(0, "up"), (1, "down")] {
            let Some(lane) = outcome.watched.lanes.get(&(number * 2 + way)) else { continue };
            let shown = lane.transit.iter().take_while(|(at, _)| *at <= until).count();
            let transit = lane.transit.get(..shown).unwrap_or_default();
            let step = (shown / 900).max(1);
            // The worst of each stretch: a mean would hide what hurts.
            let worst = |part: &[(Time, Span)]| part.iter().max_by_key(|(_, transit)| *transit).copied();
            let points = transit.chunks(step).filter_map(worst).map(|(at, transit)| (seconds(at), millis(transit)));
            lines.push(Line { name: format!("{link} {name}"), points: points.collect(), steps: false });
        }
    }
    lines.truncate(7);
    lines
}

/// A section with charts, unless there is nothing to show in any of them.
fn section(out: &mut String, title: &str, charts: &[String]) {
    if charts.iter().any(|chart| !chart.is_empty()) {
        let _infallible = write!(out, "<h2>{title}</h2>");
        out.extend(charts.iter().map(String::as_str));
    }
}

/// The whole report.
#[must_use]
pub fn html(scenario: &Scenario, seed: u64, outcome: &Outcome) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style><h1>{0}</h1><p>{1}</p><p><code>seed={seed} hash={2:032x} events={3} sim-time={4}</code></p>",
        escape(&scenario.name),
        escape(&scenario.about),
        outcome.hash,
        outcome.records,
        outcome.end
    );
    out.push_str("<h2>Verdict</h2><table>");
    for failure in &outcome.failures {
        if let Failure::Invariant(text) = failure {
            let _infallible =
                write!(out, "<tr><td class=\"bad\">invariant</td><td colspan=\"2\">{}</td></tr>", escape(text));
        }
    }
    for verdict in folded(&outcome.measured) {
        let (class, word) = if verdict.holds { ("good", "holds") } else { ("bad", "broken") };
        let _infallible = write!(
            out,
            "<tr><td class=\"{class}\">{word}</td><td><code>{}</code></td><td>{}</td></tr>",
            escape(&verdict.expectation),
            escape(&verdict.shown)
        );
    }
    out.push_str("</table>");
    let until = active(outcome, scenario);
    let events: Vec<(f64, String)> =
        scenario.at.iter().map(|at| (seconds(Time(at.t.0.0)), format!("{:?}", at.action))).collect();
    let mut losses = Vec::new();
    for number in outcome.names.stages.values() {
        for lane in [number * 2, number * 2 + 1] {
            let lost = outcome.watched.lanes.get(&lane).map(|lane| lane.losses.as_slice()).unwrap_or_default();
            losses.extend(lost.iter().take(300).map(|(at, why)| (seconds(*at), why.to_string())));
        }
    }
    let flows = [
        chart("Throughput by work (dashed: events)", "seconds", "Mbit/s", &throughput(outcome, until), &events),
        chart("Latency of messages: share delivered within", "milliseconds", "%", &distribution(outcome), &[]),
    ];
    section(&mut out, "Flows", &flows);
    let windows = gauges(outcome, until, &["cwnd", "flight"], 1e-3);
    let times = gauges(outcome, until, &["srtt", "erto"], 1e-6);
    let sessions = [
        chart("Congestion window and data in flight (dashed: losses)", "seconds", "kB", &windows, &losses),
        chart("Smoothed round trip and ERTO", "seconds", "ms", &times, &events),
    ];
    section(&mut out, "Sessions", &sessions);
    out.push_str("<h2>Links</h2>");
    out.push_str(&chart(
        "Bytes waiting",
        "seconds",
        "kB",
        &gauges(outcome, until, &["queue.up", "queue.down"], 1e-3),
        &[],
    ));
    out.push_str(&chart(
        "Time on the link, the longest of each stretch",
        "seconds",
        "ms",
        &sojourn(outcome, until),
        &[],
    ));
    lanes(&mut out, outcome);
    nats(&mut out, outcome);
    let ladder = ladder_svg(outcome, LADDER);
    if !ladder.is_empty() {
        let _infallible =
            write!(out, "<h2>The first {LADDER} packets</h2><p>Rows are moments in order, not to scale.</p>{ladder}");
    }
    let _infallible = writeln!(out, "<h2>Scenario</h2><pre>{}</pre></html>", escape(&scenario.to_toml()));
    out
}

fn lanes(out: &mut String, outcome: &Outcome) {
    out.push_str("<table><tr><th>lane</th><th>packets</th><th>lost</th><th>why</th></tr>");
    for (link, number) in &outcome.names.stages {
        for (way, name) in [(0, "up"), (1, "down")] {
            let Some(lane) = outcome.watched.lanes.get(&(number * 2 + way)) else { continue };
            let mut reasons = std::collections::BTreeMap::new();
            for (_, why) in &lane.losses {
                *reasons.entry(why.name()).or_insert(0_u64) += 1;
            }
            let reasons: Vec<String> = reasons.iter().map(|(why, count)| format!("{why} {count}")).collect();
            let _infallible = write!(
                out,
                "<tr><td>{} {name}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(link),
                lane.entered,
                lane.dropped,
                reasons.join(", ")
            );
        }
    }
    out.push_str("</table>");
}

fn nats(out: &mut String, outcome: &Outcome) {
    if outcome.mappings.is_empty() {
        return;
    }
    out.push_str("<h2>NAT tables, as they changed</h2><table>");
    for (name, tables) in &outcome.mappings {
        for (time, table) in tables.iter().take(30) {
            let mut rows: Vec<String> = table.iter().take(20).map(|row| escape(row)).collect();
            if rows.is_empty() {
                rows.push("(empty)".to_owned());
            }
            let _infallible = write!(
                out,
                "<tr><td>{}</td><td>{time}</td><td><code>{}</code></td></tr>",
                escape(name),
                rows.join("<br>")
            );
        }
    }
    out.push_str("</table>");
}
