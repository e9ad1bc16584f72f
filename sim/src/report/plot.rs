//! Line charts as SVG.

use core::fmt::Write as _;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// Colours that people with any kind of sight tell apart (Okabe and Ito).
pub(super) const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444"];

/// One line.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// Holds its value until the next point.
    pub(super) steps: bool,
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A round number near a fifth of the range.
fn tick(range: f64) -> f64 {
    let rough = (range / 5.0).max(1e-9);
    let base = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * base >= rough).unwrap_or(10.0);
    step * base
}

fn number(value: f64) -> String {
    let text = if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Draws lines over a common x; `marks` are x values with a name each (events, losses).
pub(super) fn chart(title: &str, x_name: &str, y_name: &str, lines: &[Line], marks: &[(f64, String)]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    if all().next().is_none() {
        return String::new();
    }
    let x_max = all().map(|point| point.0).fold(0.0, f64::max).max(1e-6);
    let y_max = all().map(|point| point.1).fold(0.0, f64::max).max(1e-6) * 1.05;
    let x = |value: f64| LEFT + value / x_max * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / y_max * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">",
        escape(title)
    );
    let step = tick(y_max);
    let mut at = 0.0;
    while at <= y_max {
        let _infallible = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/><text class=\"y\" x=\"{2:.1}\" y=\"{3:.1}\">{4}</text>",
            WIDTH - RIGHT,
            y(at),
            LEFT - 6.0,
            y(at) + 4.0,
            number(at)
        );
        at += step;
    }
    let step = tick(x_max);
    at = 0.0;
    while at <= x_max {
        let _infallible =
            write!(svg, "<text class=\"x\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", x(at), HEIGHT - 18.0, number(at));
        at += step;
    }
    for (at, name) in marks.iter().filter(|(at, _)| *at <= x_max) {
        let _infallible = write!(
            svg,
            "<line class=\"mark\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{1:.1}\"><title>{2}</title></line>",
            x(*at),
            HEIGHT - BOTTOM,
            escape(name)
        );
    }
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let mut path = String::new();
        let mut last: Option<f64> = None;
        for (px, py) in &line.points {
            if let Some(last) = last.filter(|_| line.steps) {
                let _infallible = write!(path, "L{:.1} {:.1}", x(*px), last);
            }
            let _infallible = write!(path, "{}{:.1} {:.1}", if last.is_none() { "M" } else { "L" }, x(*px), y(*py));
            last = Some(y(*py));
        }
        let _infallible = write!(svg, "<path d=\"{path}\" stroke=\"{colour}\"/>");
    }
    let _infallible = write!(
        svg,
        "<text class=\"x\" x=\"{:.1}\" y=\"{:.1}\">{}</text><text class=\"name\" transform=\"translate(12 {:.1}) rotate(-90)\">{}</text></svg>",
        (LEFT + WIDTH) / 2.0,
        HEIGHT - 3.0,
        escape(x_name),
        HEIGHT / 2.0,
        escape(y_name)
    );
    let keys = lines.iter().zip(COLOURS.iter().cycle());
    let keys: String = keys
        .map(|(line, colour)| format!("<span><i style=\"background:{colour}\"></i>{}</span>", escape(&line.name)))
        .collect();
    let _infallible = write!(svg, "<div class=\"keys\">{keys}</div></figure>");
    svg
}
