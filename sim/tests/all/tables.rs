//! The tables of `sim/tables` that are made whole by a program: what the core does, run by run, beside what an oracle or
//! a derivation says. Each is made anew and compared with the file; `RTMFP_TABLES=renew` writes the files. Two of them
//! take a minute, and are made only with one of these: `RTMFP_LONG=1`, `RTMFP_TABLES=renew`.
#![expect(clippy::expect_used, reason = "helpers of tests; what is wrong ends the test")]

use std::fmt::Write as _;
use std::path::Path;

use rtmfp_sim::run::{Crypto, RunOptions, Verdict, run};
use rtmfp_sim::scenario::Scenario;

/// What each expectation of a scenario measured, which must all have held.
fn measured(text: &str) -> Vec<String> {
    let scenario = Scenario::parse(text).expect(text);
    let outcome = run(&scenario, &RunOptions { crypto: Crypto::Toy, ..RunOptions::new(1) }).expect("it can be run");
    assert!(outcome.passed(), "{:?}\n{text}", outcome.failures);
    outcome.measured.iter().map(Verdict::shown).collect()
}

fn is_renewed() -> bool {
    std::env::var("RTMFP_TABLES").is_ok_and(|what| what == "renew")
}

/// Whether a table that takes long is left out, which is said.
fn is_left_out(name: &str) -> bool {
    let left_out = !crate::is_long() && !is_renewed();
    if left_out {
        eprintln!("LEFT OUT: {name} takes half a minute; RTMFP_LONG=1 makes it");
    }
    left_out
}

/// Compares a table with its file.
fn table(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tables").join(name);
    if is_renewed() {
        std::fs::write(&file, text).expect("the file can be written");
    }
    let kept = std::fs::read_to_string(&file).expect("the file is there");
    assert!(
        kept == text,
        "{name} is not what comes out any more:\n\n{text}\n`RTMFP_TABLES=renew cargo test -p rtmfp-sim --test all tables` \
         writes it; say in the commit why it changed"
    );
}

/// How to make a table again, for its head.
const AGAIN: &str = "```sh\nRTMFP_TABLES=renew cargo test -p rtmfp-sim --test all tables\n```\n";

/// The kinds of NAT, `none` among them.
const KINDS: [&str; 5] = ["none", "full-cone", "address-restricted", "port-restricted", "symmetric"];

/// The world of figure 17: two hosts, each behind what `left` and `right` name, and an introducer in the open. All
/// round trips are 40 ms.
fn introduction(devices: &str, left: &str, right: &str, events: &str) -> String {
    format!(
        r#"
name = "cell"
about = "two hosts and an introducer"
duration = "100s"
work = [
    {{ kind = "open", name = "known", from = "b", to = "i" }},
    {{ kind = "open", from = "a", to = "b", via = ["i"], start = "1s" }},
]
{events}
expect = ["agrees(a->b) == 1", "opens(a->b) <= 1", "opened(a->b) >= 0s"]
[node.a]
[node.b]
[node.i]
{devices}
[link.a]
path = ["a", {left}"net"]
both = {{ rate = "10Mbit", delay = "10ms" }}
[link.b]
path = ["b", {right}"net"]
both = {{ rate = "10Mbit", delay = "10ms" }}
[link.i]
path = ["i", "net"]
both = {{ rate = "10Mbit", delay = "10ms" }}
"#
    )
}

/// A cell: how long it took, or that there is no way. The run itself has compared that with the oracle.
fn cell(text: &str) -> String {
    let without_time = text.replace(r#", "opened(a->b) >= 0s""#, "");
    match measured(&without_time).get(1).map(String::as_str) {
        Some("0") => "no way".to_owned(),
        _ => measured(text).pop().expect("three expectations"),
    }
}

fn nat(name: &str, kind: &str) -> String {
    if kind == "none" { String::new() } else { format!("[nat.{name}]\npreset = \"{kind}\"\n") }
}

fn hop(name: &str, kind: &str) -> String {
    if kind == "none" { String::new() } else { format!("\"{name}\", ") }
}

#[test]
fn every_nat_against_every_other() {
    let mut text = String::from(
        "# Introduction through NATs\n\nTwo hosts and an introducer in the open, as in figure 17 of RFC 7016: the host of \
         each row begins a session\nwith that of each column, which has a session with the introducer. Every round trip \
         R is 40 ms. A time is from the\nbeginning until the session is open; the reference of an introduction is 3 R \
         (120 ms) by redirect and 2.5 R if the\nforwarded answer passes the NAT. \"no way\": no session within 95 s.\n\n\
         In every cell here the outcome is that of an oracle, which plays the exchange of addresses with fresh NATs of \
         the\nsame kinds and knows no protocol (`sim/src/nat/oracle.rs`): the test that makes this table fails if one \
         differs.\n\nNot in the table: a responder's NAT that forgets between RHello and IIKeying. The initiator then sends \
         to an address that\nis gone, as RFC 7016 \u{a7}3.5.1.1.1 says (S_KEYING_SENT has one DESTADDR), until it gives \
         up after 95 s.\n\n",
    );
    text.push_str(AGAIN);
    let _ = write!(text, "\n| from \\ to | {} |\n|{}\n", KINDS.join(" | "), "---|".repeat(KINDS.len() + 1));
    for left in KINDS {
        let _ = write!(text, "| {left} |");
        for right in KINDS {
            let devices = nat("left", left) + &nat("right", right);
            let cell = cell(&introduction(&devices, &hop("left", left), &hop("right", right), ""));
            let expected = matches!(
                (left, right),
                ("port-restricted" | "symmetric", "symmetric") | ("symmetric", "port-restricted")
            );
            assert_eq!(cell == "no way", expected, "RFC 4787's own reading of {left} and {right}");
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text.push_str("\nHairpins, two NATs in a row, and NATs that forget:\n\n| | |\n|---|---|\n");
    for (about, scenario) in special_nats() {
        let _ = writeln!(text, "| {about} | {} |", cell(&scenario));
    }
    table("nat-matrix.md", &text);
}

fn special_nats() -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (hairpin, about) in [
        ("none", "no hairpin"),
        ("external", "hairpin from the outside address"),
        ("internal", "hairpin from the inside address"),
    ] {
        for kind in ["full-cone", "port-restricted", "symmetric"] {
            let devices = format!("[nat.left]\npreset = \"{kind}\"\nhairpin = \"{hairpin}\"\n");
            let text = introduction(&devices, "\"left\", ", "\"left\", ", "");
            rows.push((format!("both behind one {kind} NAT, {about}"), text));
        }
    }
    for (home, carrier) in [
        ("port-restricted", "full-cone"),
        ("port-restricted", "port-restricted"),
        ("full-cone", "symmetric"),
        ("symmetric", "full-cone"),
    ] {
        let devices = nat("home", home) + &nat("carrier", carrier) + &nat("right", "port-restricted");
        let text = introduction(&devices, "\"home\", \"carrier\", ", "\"right\", ", "");
        rows.push((format!("{home} behind {carrier}, to port-restricted"), text));
        let devices = nat("home", home) + &nat("carrier", carrier) + &nat("home2", home) + &nat("carrier2", carrier);
        let text = introduction(&devices, "\"home\", \"carrier\", ", "\"home2\", \"carrier2\", ", "");
        rows.push((format!("{home} behind {carrier}, to the same"), text));
    }
    for hairpin in ["none", "external"] {
        let devices = nat("home", "port-restricted")
            + &nat("home2", "port-restricted")
            + &format!("[nat.carrier]\npreset = \"full-cone\"\nhairpin = \"{hairpin}\"\n");
        let text = introduction(&devices, "\"home\", \"carrier\", ", "\"home2\", \"carrier\", ", "");
        rows.push((format!("two homes behind one carrier's full-cone NAT, hairpin {hairpin}"), text));
    }
    for (which, about) in [("left", "of the initiator"), ("right", "of the responder")] {
        for at in ["500ms", "1005ms"] {
            let devices = nat("left", "port-restricted") + &nat("right", "port-restricted");
            let events = format!("at = [{{ t = \"{at}\", do = \"nat-flush\", nat = \"{which}\" }}]");
            let text = introduction(&devices, "\"left\", ", "\"right\", ", &events);
            rows.push((format!("the NAT {about} forgets all at {at} (the opening begins at 1 s)"), text));
        }
    }
    rows
}

/// A bulk transfer of which something moves.
fn moving(delay_ms: u64, keepalive: &str, event: &str, metric: &str) -> String {
    measured(&format!(
        r#"
name = "move"
about = "somebody moves"
duration = "60s"
work = [{{ kind = "bulk", from = "a", to = "b", bytes = "20MB", size = "1kB" }}]
at = [{{ t = "3s", do = "rebind", {event} }}]
expect = ["delivered(a->b) == 20MB", "closed(a->b) == 0", "{metric}"]
[node.a]
[node.b]
keepalive = "{keepalive}"
[link.wan]
path = ["a", "b"]
both = {{ rate = "10Mbit", delay = "{delay_ms}ms" }}
"#
    ))
    .pop()
    .expect("three expectations")
}

#[test]
fn stalls_after_a_move() {
    if is_left_out("mobility.md") {
        return;
    }
    let mut text = String::from(
        "# Stall after a move\n\nA transfer from A to B over 10 Mbit/s, with packets of 1 kB, of which one end gets another \
         address at 3 s; whatever was\non its way to the old one is lost. The longest time between two deliveries, which is \
         at most a round trip without a move. The queue holds\nup to one more round trip.\n\nReference: a sender that moved hears \
         acknowledgements again after 2 RTT, and its full window waits for them. A receiver\nthat moved sends a ping at \
         once: data comes after 2 RTT, and the gap is filled after about 3. A receiver whose driver notices\nnothing is \
         found by its keepalive, unless something that it has to send comes first.\n\n",
    );
    text.push_str(AGAIN);
    text.push_str(
        "\n| RTT | the sender moves | sender, unnoticed | the receiver moves | receiver, unnoticed, keepalive 5 s |\n",
    );
    text.push_str("|---|---|---|---|---|\n");
    for delay in [5, 25, 50, 100] {
        let stall = |event: &str| moving(delay, "5s", event, "stall(a->b) <= 20s");
        let _ = writeln!(
            text,
            "| {} ms | {} | {} | {} | {} |",
            delay * 2,
            stall(r#"node = "a""#),
            stall(r#"node = "a", silent = true"#),
            stall(r#"node = "b""#),
            stall(r#"node = "b", silent = true"#),
        );
    }
    table("mobility.md", &text);
}

/// How many beginnings of an outage are tried.
const PHASES: u64 = 8;

/// Times from the end of an outage to the next delivery, over all beginnings of the outage: median and worst.
fn outage(millis: u64, hint: bool) -> (u64, u64) {
    let mut times: Vec<u64> = (0..PHASES)
        .map(|phase| {
            let down = 2_000 + phase * 61;
            let up = down + millis;
            let text = format!(
                r#"
name = "outage"
about = "the line is dead for a while"
duration = "3min"
work = [{{ kind = "bulk", from = "a", to = "b", bytes = "4MB", size = "1kB" }}]
at = [
    {{ t = "{down}ms", do = "link-down", link = "wan" }},
    {{ t = "{up}ms", do = "link-up", link = "wan", hint = {hint} }},
]
expect = ["delivered(a->b) == 4MB", "closed(a->b) == 0", "stall-after(a->b) <= 20s"]
[node.a]
[node.b]
[link.wan]
path = ["a", "b"]
both = {{ rate = "10Mbit", delay = "25ms" }}
"#
            );
            let stall = measured(&text).pop().expect("three expectations");
            micros(&stall)
        })
        .collect();
    times.sort_unstable();
    let at = |index: usize| times.get(index).copied().unwrap_or_default();
    (at(times.len() / 2), at(times.len() - 1))
}

/// A time as it is shown, in microseconds.
fn micros(shown: &str) -> u64 {
    let unit_at = shown.find(|c: char| c.is_ascii_alphabetic()).expect(shown);
    let (number, unit) = shown.split_at(unit_at);
    let factor = match unit {
        "ns" => 0.001,
        "us" => 1.0,
        "ms" => 1_000.0,
        "s" => 1_000_000.0,
        _ => panic!("{shown}"),
    };
    (number.parse::<f64>().expect(shown) * factor).round() as u64
}

#[test]
fn recovery_after_an_outage() {
    if is_left_out("outage.md") {
        return;
    }
    let mut text = String::from(
        "# Recovery after an outage\n\nA transfer over 10 Mbit/s and a round trip of 50 ms (93 ms with the queue), whose \
         line is dead for a while. Seconds from the\nend of that to the next delivery, half a round trip of which is the \
         way: median and worst of eight beginnings that are\n61 ms apart. \"noticed\": the hosts' drivers say that the link \
         is up. Reference: the first retransmission of a timeout that\ngrows by the root of two, at one beginning; and one \
         round trip if it was noticed.\n\nWhere ours is later: without a notice it is the phase of the timer that decides, \
         and after a short outage half of what is\nsent again had arrived, and only its acknowledgement was lost, so that \
         the next delivery is a round trip later. Noticed:\na ping goes and comes back (50 ms), then the data goes (25 \
         ms), also what a timer sent again just before the end.\n\n",
    );
    text.push_str(AGAIN);
    text.push_str("\n| dead for | plain | reference | noticed | reference |\n|---|---|---|---|---|\n");
    for (millis, reference) in
        [(500, "0.10"), (1_000, "0.10"), (2_000, "0.81"), (5_000, "1.2"), (10_000, "3.1"), (30_000, "6.7")]
    {
        let shown = |(median, worst): (u64, u64)| format!("{:.2} / {:.2}", median as f64 / 1e6, worst as f64 / 1e6);
        let noticed = outage(millis, true);
        assert!(noticed.0 <= 100_000 && noticed.1 <= 400_000, "noticed, it goes on at once: {noticed:?}");
        let _ = writeln!(
            text,
            "| {:.1} s | {} | {reference} | {} | 0.05 |",
            millis as f64 / 1_000.0,
            shown(outage(millis, false)),
            shown(noticed),
        );
    }
    table("outage.md", &text);
}
