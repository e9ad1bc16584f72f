//! Ladders: who sent what to whom, with time running down.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use datagram_sim::RecordKind;

use super::palette::Palette;
use super::plot::escape;
use crate::record::chunk_names;
use crate::run::{Outcome, Seen};

/// A packet from one device to another, or lost on its way.
struct Rung<'a> {
    sent: &'a Seen,
    from: usize,
    /// Where and when it came in; none if it was lost.
    to: Option<(usize, datagram_sim::Time)>,
    label: String,
}

/// Devices that send or get packets, and the first packets between them.
fn rungs(outcome: &Outcome, most: usize) -> (Vec<String>, Vec<Rung<'_>>) {
    let mut columns: Vec<u32> = Vec::new();
    let nodes = outcome.watched.packets.iter().filter(|seen| !seen.on_link && seen.kind == RecordKind::Sent);
    let ends = outcome.watched.packets.iter().filter(|seen| !seen.on_link && seen.kind == RecordKind::Delivered);
    for seen in nodes.chain(ends) {
        if !columns.contains(&seen.place) && columns.len() < 8 {
            columns.push(seen.place);
        }
    }
    columns.sort_by_key(|number| outcome.names.devices.get(number).cloned());
    let column = |place: u32| columns.iter().position(|known| *known == place);
    let mut arrivals: BTreeMap<u64, (u32, datagram_sim::Time)> = BTreeMap::new();
    for seen in outcome.watched.packets.iter().filter(|seen| !seen.on_link && seen.kind == RecordKind::Delivered) {
        arrivals.entry(seen.uid).or_insert((seen.place, seen.time));
    }
    let sent = outcome.watched.packets.iter().filter(|seen| !seen.on_link && seen.kind == RecordKind::Sent);
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

/// How a ladder is laid out, in a wide or a narrow window.
struct Layout {
    class: &'static str,
    /// Where the first lifeline stands, how far it is to the next at least, and what is to the right of the last.
    first: f64,
    column: f64,
    right: f64,
    width: f64,
    /// Height of a row in which a packet is sent, and of one in which it comes in.
    send_row: f64,
    row: f64,
    /// Whether labels stand outside, at the beginning of their lines. If not, they stand above that.
    outside: bool,
    /// The most characters of a label.
    label: usize,
}

const LAYOUTS: [Layout; 2] = [
    Layout {
        class: "wide",
        first: 370.0,
        column: 120.0,
        right: 300.0,
        width: 1_000.0,
        send_row: 22.0,
        row: 22.0,
        outside: true,
        label: 46,
    },
    Layout {
        class: "narrow",
        first: 84.0,
        column: 90.0,
        right: 12.0,
        width: 380.0,
        send_row: 34.0,
        row: 20.0,
        outside: false,
        label: 37,
    },
];

/// The first `most` packets of a run as a picture.
#[must_use]
pub(super) fn ladder_svg(outcome: &Outcome, most: usize, palette: &Palette) -> String {
    let (names, rungs) = rungs(outcome, most);
    if rungs.is_empty() {
        return String::new();
    }
    let mut out = "<figure class=\"scroll\">".to_owned();
    for layout in &LAYOUTS {
        layout.draw(&mut out, &names, &rungs, palette);
    }
    out.push_str("</figure>");
    out
}

/// Rows by packet and end: every sending and every arrival has one of its own, in order of time. The picture shows order,
/// not scale.
type Rows = BTreeMap<(u64, bool), f64>;

impl Layout {
    fn rows(&self, out: &mut String, rungs: &[Rung<'_>]) -> (Rows, f64) {
        let mut moments: Vec<(datagram_sim::Time, u64, bool)> = Vec::new();
        for rung in rungs {
            moments.push((rung.sent.time, rung.sent.uid, false));
            moments.extend(rung.to.map(|(_, at)| (at, rung.sent.uid, true)));
        }
        moments.sort();
        let (mut rows, mut y) = (Rows::new(), 36.0);
        for (time, uid, end) in moments {
            y += if end { self.row } else { self.send_row };
            rows.insert((uid, end), y);
            let _infallible = write!(out, "<text class=\"before\" x=\"72\" y=\"{:.0}\">{time}</text>", y + 4.0);
        }
        (rows, y + 20.0)
    }

    fn draw(&self, out: &mut String, names: &[String], rungs: &[Rung<'_>], palette: &Palette) {
        let gaps = names.len().saturating_sub(1).max(1) as f64;
        let width = self.width.max(self.first + self.right + gaps * self.column);
        let step = (width - self.first - self.right) / gaps;
        let x = |column: usize| self.first + column as f64 * step;
        let mut body = String::new();
        let (rows, height) = self.rows(&mut body, rungs);
        // One that does not fit is scrolled, not scaled.
        let wider = if width > self.width { format!(" style=\"width:{width:.0}px\"") } else { String::new() };
        let _infallible = write!(
            out,
            "<svg class=\"ladder {}\" viewBox=\"0 0 {width:.0} {height:.0}\"{wider} role=\"img\" aria-label=\"packets in order\">",
            self.class
        );
        for (column, name) in names.iter().enumerate() {
            let colour = palette.of_node(name, 0).class();
            let _infallible = write!(
                out,
                "<text class=\"device {colour}\" x=\"{0:.0}\" y=\"20\">{1}</text><path class=\"grid\" d=\"M{0:.0} 30V{height:.0}\"/>",
                x(column),
                escape(name)
            );
        }
        out.push_str(&body);
        let labels: Vec<String> = rungs
            .iter()
            .filter_map(|rung| {
                let top = *rows.get(&(rung.sent.uid, false))?;
                let colour = palette.of_node(names.get(rung.from)?, 0).class();
                let to = rung.to.map(|(to, _)| (to, rows.get(&(rung.sent.uid, true)).copied().unwrap_or(top)));
                self.line(out, rung, &colour, (x(rung.from), top), to.map(|(to, y)| (x(to), y)));
                Some(self.label(rung, &colour, names.len(), (x(rung.from), top)))
            })
            .collect();
        // Over all lines.
        out.extend(labels);
        out.push_str("</svg>");
    }

    /// The line of a packet, with its head, or a cross where it was lost.
    fn line(&self, out: &mut String, rung: &Rung<'_>, colour: &str, (x1, y1): (f64, f64), to: Option<(f64, f64)>) {
        let title = escape(&format!("{} -> {}, {} bytes", rung.sent.src, rung.sent.dst, rung.sent.bytes.len()));
        let (x2, y2) = to.unwrap_or((x1 + if rung.from == 0 { 60.0 } else { -60.0 }, y1 + 10.0));
        let _infallible = write!(
            out,
            "<line class=\"{colour}\" x1=\"{x1:.0}\" y1=\"{y1:.0}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"><title>{title}</title></line>"
        );
        if to.is_none() {
            let _infallible = write!(out, "<text class=\"lost\" x=\"{x2:.0}\" y=\"{:.0}\">&#10007;</text>", y2 + 4.0);
            return;
        }
        let length = (x2 - x1).hypot(y2 - y1).max(1.0);
        let (dx, dy) = ((x2 - x1) / length, (y2 - y1) / length);
        let (back, side) = (9.0, 3.6);
        let _infallible = write!(
            out,
            "<path class=\"{colour}\" d=\"M{x2:.1} {y2:.1}L{:.1} {:.1}L{:.1} {:.1}z\"/>",
            x2 - dx * back - dy * side,
            y2 - dy * back + dx * side,
            x2 - dx * back + dy * side,
            y2 - dy * back - dx * side
        );
    }

    /// The label of a packet, beside the beginning of its line.
    fn label(&self, rung: &Rung<'_>, colour: &str, columns: usize, (x, y): (f64, f64)) -> String {
        let to_the_right = rung.to.map_or(rung.from == 0, |(to, _)| to > rung.from);
        // Outside is where the line does not go.
        let leftwards = if self.outside { to_the_right } else { !to_the_right || rung.from + 1 == columns };
        let (side, x) = if leftwards { (" before", x - 8.0) } else { ("", x + 8.0) };
        let y = if self.outside { y + 4.0 } else { y - 4.0 };
        let mut text: String = rung.label.chars().take(self.label).collect();
        if text.len() < rung.label.len() {
            text.push('\u{2026}');
        }
        format!("<text class=\"label {colour}{side}\" x=\"{x:.0}\" y=\"{y:.0}\">{}</text>", escape(&text))
    }
}
