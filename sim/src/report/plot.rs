//! Line charts as SVG: each twice, for wide and for narrow windows, so that text is never scaled down.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use super::axis::Axis;

/// A size to draw in, in which a unit is about a pixel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Canvas {
    pub(super) class: &'static str,
    width: f64,
    height: f64,
    x_ticks: f64,
    /// How wide a character is.
    character: f64,
}

/// For windows of 700 pixels and more, and for all others.
const CANVASES: [Canvas; 2] = [
    Canvas { class: "wide", width: 1_000.0, height: 230.0, x_ticks: 20.0, character: 5.9 },
    Canvas { class: "narrow", width: 380.0, height: 210.0, x_ticks: 7.0, character: 6.4 },
];
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const BOTTOM: f64 = 36.0;
/// The height of a line of names of events, and how many there can be.
const NAME_ROW: f64 = 14.0;
const NAME_ROWS: usize = 4;

/// How a line is drawn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct LineStyle {
    /// Which colour of the style sheet; none for one of many others.
    pub(super) colour: Option<usize>,
    pub(super) dash: usize,
}

impl LineStyle {
    /// Its classes in the style sheet.
    pub(super) fn class(self) -> String {
        let colour = self.colour.map_or_else(|| "others".to_owned(), |colour| format!("c{colour}"));
        if self.dash == 0 || self.colour.is_none() { colour } else { format!("{colour} d{}", self.dash) }
    }
}

/// One line.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) style: LineStyle,
    pub(super) points: Vec<(f64, f64)>,
    /// Holds its value until the next point.
    pub(super) steps: bool,
}

/// Lines over a common x.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What x is, with its unit.
    pub(super) x_name: &'a str,
    pub(super) unit: &'a str,
    pub(super) x: Axis,
    pub(super) lines: Vec<Line>,
    /// When something happened, and what.
    pub(super) events: &'a [(f64, String)],
    /// When packets were lost.
    pub(super) losses: &'a [f64],
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A name of an event and where it stands.
struct Name {
    row: usize,
    x: f64,
    /// Whether it ends at its line instead of beginning there.
    before: bool,
}

/// Gives names rows in which they do not overlap; those for which there is no room have none.
fn arrange(events: &[(f64, String)], canvas: &Canvas, x: impl Fn(f64) -> f64) -> Vec<Option<Name>> {
    let mut free = [LEFT; NAME_ROWS];
    let place = |(at, name): &(f64, String)| {
        let (at, width) = (x(*at), name.chars().count() as f64 * canvas.character + 8.0);
        let before = at + width > canvas.width;
        let from = if before { at - width } else { at };
        let row = free.iter().position(|end| *end <= from)?;
        if let Some(end) = free.get_mut(row) {
            *end = from + width;
        }
        Some(Name { row, x: if before { at - 4.0 } else { at + 4.0 }, before })
    };
    events.iter().map(place).collect()
}

/// Events at one time are one line with all their names.
fn merged(events: &[(f64, String)]) -> Vec<(f64, String)> {
    let mut sorted = events.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let together = sorted.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq());
    let joined = together.filter_map(|part| {
        let names: Vec<&str> = part.iter().map(|(_, name)| name.as_str()).collect();
        Some((part.first()?.0, names.join(", ")))
    });
    joined.collect()
}

impl Chart<'_> {
    /// The whole figure; empty if there is nothing to see.
    pub(super) fn figure(&self) -> String {
        if self.lines.iter().all(|line| line.points.is_empty()) {
            return String::new();
        }
        let mut out = format!("<figure><figcaption>{}<small>{}</small></figcaption>", escape(self.title), self.unit);
        for canvas in &CANVASES {
            self.draw(&mut out, canvas);
        }
        self.keys(&mut out);
        out.push_str("</figure>");
        out
    }

    fn draw(&self, out: &mut String, canvas: &Canvas) {
        let x = |value: f64| LEFT + self.x.place(value) * (canvas.width - LEFT - RIGHT);
        let events: Vec<(f64, String)> = merged(self.events).into_iter().filter(|(at, _)| *at <= self.x.to).collect();
        let names = arrange(&events, canvas, x);
        let rows = names.iter().flatten().map(|name| name.row + 1).max().unwrap_or(0);
        let top = 12.0 + rows as f64 * NAME_ROW;
        let (height, bottom) =
            (canvas.height + rows as f64 * NAME_ROW, canvas.height + rows as f64 * NAME_ROW - BOTTOM);
        let most = self.lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);
        let values = Axis::to_a_tick(most.max(1e-6), 5.0);
        let y = |value: f64| bottom - values.place(value) * (bottom - top);
        let _infallible = write!(
            out,
            "<svg class=\"{}\" viewBox=\"0 0 {} {height}\" role=\"img\" aria-label=\"{}\">",
            canvas.class,
            canvas.width,
            escape(self.title)
        );
        self.grid(out, canvas, (&values, top, bottom), (&x, &y));
        for ((at, name), place) in events.iter().zip(&names) {
            let (at, from) = (x(*at), place.as_ref().map_or(top, |place| place.row as f64 * NAME_ROW + 4.0));
            let name = escape(name);
            let _infallible = write!(
                out,
                "<line class=\"event\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{from:.1}\" y2=\"{bottom:.1}\"><title>{name}</title></line>"
            );
            if let Some(place) = place {
                let side = if place.before { " before" } else { "" };
                let _infallible = write!(
                    out,
                    "<text class=\"event{side}\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
                    place.x,
                    from + 9.0
                );
            }
        }
        for at in self.losses.iter().filter(|at| **at <= self.x.to) {
            let _infallible = write!(out, "<path class=\"loss\" d=\"M{:.1} {:.1}v6\"/>", x(*at), bottom - 6.0);
        }
        // Grey ones lie under the others.
        for coloured in [false, true] {
            for line in self.lines.iter().filter(|line| line.style.colour.is_some() == coloured) {
                let _infallible =
                    write!(out, "<path class=\"line {}\" d=\"{}\"/>", line.style.class(), line.path(&x, &y));
            }
        }
        out.push_str("</svg>");
    }

    fn grid(
        &self,
        out: &mut String,
        canvas: &Canvas,
        (values, top, bottom): (&Axis, f64, f64),
        (x, y): (&dyn Fn(f64) -> f64, &dyn Fn(f64) -> f64),
    ) {
        let right = canvas.width - RIGHT;
        for (value, text) in values.ticks(5.0) {
            let _infallible = write!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {0:.1}H{right}\"/><text class=\"y\" x=\"{1:.1}\" y=\"{2:.1}\">{text}</text>",
                y(value),
                LEFT - 7.0,
                y(value) + 4.0,
            );
        }
        for (value, text) in self.x.ticks(canvas.x_ticks) {
            let _infallible = write!(
                out,
                "<path class=\"grid\" d=\"M{0:.1} {top:.1}V{1:.1}\"/><text class=\"x\" x=\"{0:.1}\" y=\"{2:.1}\">{text}</text>",
                x(value),
                bottom + 4.0,
                bottom + 17.0,
            );
        }
        let _infallible = write!(
            out,
            "<path class=\"base\" d=\"M{LEFT} {bottom:.1}H{right}\"/><text class=\"before\" x=\"{right}\" y=\"{:.1}\">{}</text>",
            bottom + 32.0,
            escape(self.x_name)
        );
    }

    /// What each line is. Lines that look alike have one key.
    fn keys(&self, out: &mut String) {
        let mut keys: BTreeMap<LineStyle, Vec<&str>> = BTreeMap::new();
        for line in &self.lines {
            keys.entry(line.style).or_default().push(&line.name);
        }
        out.push_str("<div class=\"keys\">");
        let mut others = 0;
        for (style, names) in keys {
            let Some(name) = names.first().filter(|_| style.colour.is_some()) else {
                others += names.len();
                continue;
            };
            let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
            let _infallible = write!(
                out,
                "<span>{}{}{more}</span>",
                swatch(&format!("line {}", style.class()), "M0 4H26"),
                escape(name)
            );
        }
        if others > 0 {
            let _infallible = write!(out, "<span>{}{others} others</span>", swatch("line others", "M0 4H26"));
        }
        if !self.losses.is_empty() {
            let _infallible = write!(out, "<span>{}packets lost</span>", swatch("loss", "M4 0v8M9 0v8M20 0v8"));
        }
        out.push_str("</div>");
    }
}

fn swatch(class: &str, path: &str) -> String {
    format!("<svg viewBox=\"0 0 26 8\" aria-hidden=\"true\"><path class=\"{class}\" d=\"{path}\"/></svg>")
}

impl Line {
    fn path(&self, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) -> String {
        let mut path = String::new();
        let mut last: Option<(f64, f64)> = None;
        for &(px, py) in &self.points {
            let (px, py) = (x(px), y(py));
            let _infallible = match last {
                None => write!(path, "M{px:.1} {py:.1}"),
                Some((_, before)) if self.steps && (before - py).abs() < 0.05 => Ok(()),
                Some(_) if self.steps => write!(path, "H{px:.1}V{py:.1}"),
                Some(_) => write!(path, "L{px:.1} {py:.1}"),
            };
            last = Some((px, py));
        }
        if let Some((px, _)) = last.filter(|_| self.steps) {
            let _infallible = write!(path, "H{px:.1}");
        }
        path
    }
}
