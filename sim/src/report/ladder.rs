//! Ladders: who sent what to whom, with time running down.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use super::plot::{COLOURS, escape};
use crate::record::chunk_names;
use crate::run::{Outcome, Seen};
use crate::trace::What;

/// A packet from one device to another, or lost on its way.
struct Rung<'a> {
    sent: &'a Seen,
    from: usize,
    /// Where and when it came in; none if it was lost.
    to: Option<(usize, crate::Time)>,
    label: String,
}

/// Devices that send or get packets, and the first packets between them.
fn rungs(outcome: &Outcome, most: usize) -> (Vec<String>, Vec<Rung<'_>>) {
    let mut columns: Vec<u32> = Vec::new();
    let nodes = outcome.watched.packets.iter().filter(|seen| !seen.on_link && seen.what == What::Sent);
    let ends = outcome.watched.packets.iter().filter(|seen| !seen.on_link && seen.what == What::Delivered);
    for seen in nodes.chain(ends) {
        if !columns.contains(&seen.place) && columns.len() < 8 {
            columns.push(seen.place);
        }
    }
    columns.sort_by_key(|number| outcome.names.devices.get(number).cloned());
    let column = |place: u32| columns.iter().position(|known| *known == place);
    let mut arrivals: BTreeMap<u64, (u32, crate::Time)> = BTreeMap::new();
    for seen in outcome.watched.packets.iter().filter(|seen| !seen.on_link && seen.what == What::Delivered) {
        arrivals.entry(seen.uid).or_insert((seen.place, seen.time));
    }
    let sent = outcome.watched.packets.iter().filter(|seen| !seen.on_link && seen.what == What::Sent);
    let rungs = sent.take(most).filter_map(|seen| {
        let to = arrivals.get(&seen.uid).and_then(|&(place, time)| column(place).map(|column| (column, time)));
        let label = chunk_names(&outcome.plaintexts, &seen.bytes);
        Some(Rung { sent: seen, from: column(seen.place)?, to, label })
    });
    let rungs = rungs.collect();
    let names = columns.iter().map(|number| outcome.names.devices.get(number).cloned().unwrap_or_default()).collect();
    (names, rungs)
}

/// The first `most` packets of a run as text.
#[must_use]
pub fn ladder_text(outcome: &Outcome, most: usize) -> String {
    let (names, rungs) = rungs(outcome, most);
    let mut out = String::new();
    for rung in rungs {
        let from = names.get(rung.from).map_or("?", String::as_str);
        let (arrow, to, after) = match rung.to {
            Some((to, at)) => ("-->", names.get(to).map_or("?", String::as_str), format!("at {at}")),
            None => ("--x", "", "lost".to_owned()),
        };
        let time = rung.sent.time.to_string();
        let _infallible = writeln!(out, "{time:>14}  {from:>8} {arrow} {to:<8} {:<44} {after}", rung.label);
    }
    out
}

const ROW: f64 = 24.0;
const COLUMN: f64 = 330.0;

/// The first `most` packets of a run as a picture.
#[must_use]
pub fn ladder_svg(outcome: &Outcome, most: usize) -> String {
    let (names, rungs) = rungs(outcome, most);
    if rungs.is_empty() {
        return String::new();
    }
    let x = |column: usize| 150.0 + column as f64 * COLUMN;
    let width = x(names.len().saturating_sub(1)) + 120.0;
    // Every sending and every arrival has a row of its own, in order of time: the picture shows order, not scale.
    let mut moments: Vec<(crate::Time, u64, bool)> = Vec::new();
    for rung in &rungs {
        moments.push((rung.sent.time, rung.sent.uid, false));
        moments.extend(rung.to.map(|(_, at)| (at, rung.sent.uid, true)));
    }
    moments.sort();
    let rows: BTreeMap<(u64, bool), f64> =
        moments.iter().enumerate().map(|(row, &(_, uid, end))| ((uid, end), 50.0 + row as f64 * ROW)).collect();
    let height = 70.0 + moments.len() as f64 * ROW;
    let mut svg = format!(
        "<svg class=\"ladder\" viewBox=\"0 0 {width} {height}\" style=\"max-width:{width}px\"><defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"context-stroke\" stroke=\"none\"/></marker></defs>"
    );
    for (column, name) in names.iter().enumerate() {
        let _infallible = write!(
            svg,
            "<text class=\"device\" x=\"{0:.0}\" y=\"22\">{1}</text><line class=\"grid\" x1=\"{0:.0}\" x2=\"{0:.0}\" y1=\"32\" y2=\"{height:.0}\"/>",
            x(column),
            escape(name)
        );
    }
    for (time, uid, end) in &moments {
        if let Some(row) = rows.get(&(*uid, *end)) {
            let _infallible = write!(svg, "<text class=\"y\" x=\"96\" y=\"{:.0}\">{time}</text>", row + 4.0);
        }
    }
    for rung in &rungs {
        let Some(&top) = rows.get(&(rung.sent.uid, false)) else { continue };
        let (x1, colour) = (x(rung.from), COLOURS.get(rung.from % COLOURS.len()).copied().unwrap_or("#444"));
        let (x2, y2, lost) = match rung.to {
            Some((to, _)) => (x(to), rows.get(&(rung.sent.uid, true)).copied().unwrap_or(top), false),
            None => (x1 + if rung.from == 0 { 60.0 } else { -60.0 }, top + ROW / 2.0, true),
        };
        let title = escape(&format!("{} -> {}, {} bytes", rung.sent.src, rung.sent.dst, rung.sent.bytes.len()));
        let end = if lost { "" } else { " marker-end=\"url(#head)\"" };
        let _infallible = write!(
            svg,
            "<line x1=\"{x1:.0}\" y1=\"{top:.0}\" x2=\"{x2:.0}\" y2=\"{y2:.0}\" stroke=\"{colour}\"{end}><title>{title}</title></line>"
        );
        if lost {
            let _infallible = write!(svg, "<text class=\"lost\" x=\"{x2:.0}\" y=\"{:.0}\">&#10007;</text>", y2 + 4.0);
        }
        let (middle, side) = if lost {
            (x2 + if rung.from == 0 { 12.0 } else { -12.0 }, if rung.from == 0 { "start" } else { "end" })
        } else {
            ((x1 + x2) / 2.0, "middle")
        };
        let label: String = rung.label.chars().take(48).collect();
        let _infallible = write!(
            svg,
            "<text class=\"label\" text-anchor=\"{side}\" x=\"{middle:.0}\" y=\"{:.0}\" fill=\"{colour}\">{}</text>",
            (top + y2) / 2.0 - 4.0,
            escape(&label)
        );
    }
    svg.push_str("</svg>");
    svg
}
