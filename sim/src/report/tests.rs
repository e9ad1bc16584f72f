use super::html;
use crate::run::{RunOptions, run};
use crate::scenario::Scenario;

const TWO: &str = r#"
name = "two"
about = "a < b"
duration = "20s"
work = [
    { kind = "bulk", name = "there", from = "a", to = "b", bytes = "2MB" },
    { kind = "messages", name = "back", from = "b", to = "a", count = 100 },
]
at = [
    { t = "2s", do = "link-down", link = "wan" },
    { t = "3s", do = "link-up", link = "wan" },
    { t = "3s", do = "rebind", node = "a" },
]
[node.a]
[node.b]
[link.wan]
path = ["a", "b"]
both = { rate = "5Mbit", delay = "20ms", loss = "random 1%" }
"#;

const MANY: &str = r#"
name = "many"
duration = "5s"
expect = ["messages(peer->s) == 3"]
[node.s]
[link.s]
path = ["s", "net"]
[crowd.peer]
count = 30
link = { path = ["*", "net"], both = { delay = "10ms" } }
work = [{ kind = "messages", to = "s", count = 3 }]
"#;

fn report(text: &str) -> String {
    let scenario = Scenario::parse(text).unwrap();
    let outcome = run(&scenario, &RunOptions { packets: 400, ..RunOptions::new(1) }).unwrap();
    html(&scenario, 1, &outcome)
}

/// The parts between two texts.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    text.split(from).skip(1).map(|rest| rest.split(to).next().unwrap()).collect()
}

/// The figure whose caption begins so.
fn figure<'a>(html: &'a str, caption: &str) -> &'a str {
    let all = between(html, "<figure>", "</figure>");
    all.into_iter().find(|figure| figure.contains(&format!("<figcaption>{caption}"))).expect("the figure is there")
}

/// The drawing of a figure for wide windows.
fn wide(figure: &str) -> &str {
    between(figure, "<svg class=\"wide\"", "</svg>")[0]
}

/// What is written at an axis.
fn ticks<'a>(svg: &'a str, class: &str) -> Vec<&'a str> {
    between(svg, &format!("<text class=\"{class}\""), "</text>")
        .into_iter()
        .map(|text| text.split('>').next_back().unwrap())
        .collect()
}

#[test]
fn lines_of_events_carry_their_names() {
    let html = report(TWO);
    for caption in ["Throughput", "Congestion window", "Bytes waiting"] {
        let figure = figure(&html, caption);
        assert_eq!(ticks(wide(figure), "event"), ["link-down wan", "link-up wan, rebind a"], "{caption}");
        assert!(figure.contains("class=\"line c0\""), "{caption}");
    }
    assert!(figure(&html, "Congestion").contains("packets lost"));
}

#[test]
fn a_node_has_one_colour_in_every_picture() {
    let html = report(TWO);
    let mut keys = 0;
    for key in between(&html, "<span><svg", "</span>").into_iter().filter(|key| key.contains("\"line ")) {
        let colour = between(key, "\"line ", "\"")[0].split(' ').next().unwrap();
        let name = key.rsplit("</svg>").next().unwrap();
        let node = match name {
            "there" | "wan up" => "a",
            "back" | "wan down" => "b",
            _ => name.split(' ').next().unwrap(),
        };
        assert_eq!(colour, if node == "a" { "c0" } else { "c1" }, "{name}");
        keys += 1;
    }
    assert!(keys > 10, "only {keys} keys were looked at");
    assert!(html.contains("<text class=\"device c0\"") && html.contains("<text class=\"device c1\""));
}

#[test]
fn of_many_nodes_seven_have_colours_and_the_others_are_grey() {
    let html = report(MANY);
    let keys = between(figure(&html, "Throughput"), "<div class=\"keys\">", "</div>")[0];
    assert_eq!(keys.matches("<span>").count(), 8, "{keys}");
    assert!(keys.contains("23 others"), "{keys}");
    assert!(html.contains("<td><code>messages(peer-&gt;s) == 3</code></td><td>3</td><td>30 times</td>"));
}

#[test]
fn axes_have_ticks_enough_and_latency_is_logarithmic() {
    let html = report(TWO);
    let times = ticks(wide(figure(&html, "Throughput")), "x");
    assert!(times.len() >= 10, "{times:?}");
    let latencies: Vec<f64> =
        ticks(wide(figure(&html, "Latency")), "x").iter().map(|tick| tick.parse().unwrap()).collect();
    assert!(latencies.len() >= 4, "{latencies:?}");
    assert!(latencies.windows(2).all(|pair| pair[1] / pair[0] < 2.6 && pair[1] / pair[0] > 1.9), "{latencies:?}");
}

/// Two drawings of each, of which the style sheet shows one: text that is scaled down to 420 pixels cannot be read.
#[test]
fn every_picture_is_drawn_for_narrow_windows_too() {
    let html = report(TWO);
    for kind in ["", "ladder "] {
        let count = |class: &str| html.matches(&format!("<svg class=\"{kind}{class}\"")).count();
        assert!(count("wide") > 0 && count("wide") == count("narrow"), "{kind}");
    }
    for width in between(&html, "narrow\" viewBox=\"0 0 ", " ") {
        assert!(width.parse::<f64>().unwrap() <= 390.0, "{width}");
    }
    assert!(html.contains("@media (max-width: 700px)"));
}

#[test]
fn the_report_is_dark_where_that_is_preferred_and_needs_nothing_from_elsewhere() {
    let html = report(TWO);
    assert!(html.contains("@media (prefers-color-scheme: dark)"));
    // Colours stand in the style sheet alone, so that there are two of each.
    let (style, body) = html.split_once("</style>").unwrap();
    assert_eq!(between(body, "fill=\"#", "\"").len() + between(body, "stroke=\"#", "\"").len(), 0);
    for colour in 0..7 {
        assert_eq!(style.matches(&format!("--c{colour}: #")).count(), 2);
    }
    for word in ["http", "src=", "href", "url(", "@import", "<script"] {
        assert!(!html.contains(word), "{word}");
    }
    assert!(html.contains("a &lt; b"));
}

/// Each at the row where its packet was sent, outside of both lifelines.
#[test]
fn labels_of_a_ladder_stand_beside_their_lines() {
    let html = report(TWO);
    let ladder = between(&html, "<svg class=\"ladder wide\"", "</svg>")[0];
    let number = |text: &str, key: &str| between(text, &format!("{key}=\""), "\"")[0].parse::<f64>().unwrap();
    let lifelines: Vec<f64> =
        between(ladder, "<text class=\"device", "</text>").iter().map(|text| number(text, " x")).collect();
    let labels = between(ladder, "<text class=\"label", "</text>");
    assert_eq!(labels.len(), 40);
    let mut rows: Vec<f64> = labels.iter().map(|label| number(label, " y")).collect();
    for label in labels {
        let x = number(label, " x");
        let outside = if label.contains(" before\"") { x < lifelines[0] } else { x > lifelines[1] };
        assert!(outside, "{label}");
    }
    rows.sort_by(f64::total_cmp);
    assert!(rows.windows(2).all(|pair| pair[1] - pair[0] > 15.0), "{rows:?}");
}
