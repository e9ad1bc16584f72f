//! What `rtmfp doctor` has found out, as a table and as JSON.
//!
//! A report is one line with the event `report`. Its fields begin with `ipv4_` or `ipv6_`, for each family by which a
//! server was reached.
//!
//! | Fields | Values |
//! |---|---|
//! | `local`, `seen` | addresses |
//! | `mapping`, `filtering` | `endpoint-independent`, `address-dependent`, `address-and-port-dependent`, or two with `..` between |
//! | `hairpin`, `port_preserved`, `ecn` | truth values |
//! | `round_trip`, `kept_at_least`, `kept_less_than` | seconds |
//! | `datagram` | bytes |
//!
//! The field `port_mapping` is about both. A field whose value is not known is left out.

use core::net::SocketAddr;
use core::time::Duration;

use rtmfp_meet::probe::{Behaviour, Bounds, Findings, How, KeptFor, PortMapping, Reason, Report, Verdict};
use serde_json::{Map, Value};

use crate::json::Line;
use crate::report::milliseconds;

/// The event of a report.
const EVENT: &str = "report";
/// The longest file that is looked at for a report, in bytes.
pub const LONGEST: usize = 64 << 10;

/// A report as a line of JSON.
#[must_use]
pub fn to_line(report: &Report) -> Line {
    let mut line = Line::new(EVENT);
    if let Some(port_mapping) = report.port_mapping {
        line = line.text("port_mapping", port_mapping.name());
    }
    for (family, findings) in [("ipv4", &report.v4), ("ipv6", &report.v6)] {
        if let Some(findings) = findings {
            line = family_to_line(line, family, findings);
        }
    }
    line
}

fn family_to_line(mut line: Line, family: &str, findings: &Findings) -> Line {
    let key = |name: &str| format!("{family}_{name}");
    let addresses = [("local", findings.local), ("seen", findings.seen)];
    for (name, address) in addresses {
        if let Some(address) = address {
            line = line.text(&key(name), &address.to_string());
        }
    }
    for (name, bounds) in [("mapping", findings.mapping), ("filtering", findings.filtering)] {
        if let Some(bounds) = bounds {
            line = line.text(&key(name), &bounds_to_text(bounds));
        }
    }
    let truths = [("hairpin", findings.hairpin), ("port_preserved", findings.port_preserved()), ("ecn", findings.ecn)];
    for (name, truth) in truths {
        if let Some(truth) = truth {
            line = line.truth(&key(name), truth);
        }
    }
    let kept = findings.kept;
    let spans = [
        ("round_trip", findings.round_trip),
        ("kept_at_least", kept.map(|kept| kept.at_least)),
        ("kept_less_than", kept.and_then(|kept| kept.less_than)),
    ];
    for (name, span) in spans {
        if let Some(span) = span {
            line = line.seconds(&key(name), span);
        }
    }
    match findings.datagram {
        Some(datagram) => line.number(&key("datagram"), datagram as u64),
        None => line,
    }
}

fn bounds_to_text(bounds: Bounds) -> String {
    match bounds.known() {
        Some(behaviour) => behaviour.name().to_owned(),
        None => format!("{}..{}", bounds.least.name(), bounds.most.name()),
    }
}

fn bounds_of(text: &str) -> Option<Bounds> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most) = (Behaviour::named(least)?, Behaviour::named(most)?);
    (least <= most).then_some(Bounds { least, most })
}

/// Finds the last report among lines of JSON. `None` if there is none, or one of its fields has a value that it cannot
/// have.
#[must_use]
pub fn from_text(text: &str) -> Option<Report> {
    let mut objects = text.lines().filter_map(|line| serde_json::from_str::<Map<String, Value>>(line).ok());
    let last = objects.rfind(|object| object.get("event").and_then(Value::as_str) == Some(EVENT))?;
    let mut report = Report::default();
    report.v4 = family_of(&last, "ipv4")?;
    report.v6 = family_of(&last, "ipv6")?;
    report.port_mapping = field(&last, "port_mapping", |value| PortMapping::named(value.as_str()?))?;
    Some(report)
}

/// A field; the outer `None` if its value is none that it can have.
#[expect(clippy::option_option, reason = "a field that is not there is not the same as one that is wrong")]
fn field<T>(object: &Map<String, Value>, key: &str, read: impl Fn(&Value) -> Option<T>) -> Option<Option<T>> {
    match object.get(key) {
        Some(value) => read(value).map(Some),
        None => Some(None),
    }
}

#[expect(clippy::option_option, reason = "as above")]
fn family_of(object: &Map<String, Value>, family: &str) -> Option<Option<Findings>> {
    let key = |name: &str| format!("{family}_{name}");
    if !object.keys().any(|name| name.starts_with(&key(""))) {
        return Some(None);
    }
    let address = |value: &Value| value.as_str()?.parse::<SocketAddr>().ok();
    let bounds = |value: &Value| bounds_of(value.as_str()?);
    let span = |value: &Value| Duration::try_from_secs_f64(value.as_f64()?).ok();
    let mut findings = Findings::default();
    findings.local = field(object, &key("local"), address)?;
    findings.seen = field(object, &key("seen"), address)?;
    findings.mapping = field(object, &key("mapping"), bounds)?;
    findings.filtering = field(object, &key("filtering"), bounds)?;
    findings.hairpin = field(object, &key("hairpin"), Value::as_bool)?;
    findings.ecn = field(object, &key("ecn"), Value::as_bool)?;
    findings.round_trip = field(object, &key("round_trip"), span)?;
    findings.datagram = field(object, &key("datagram"), |value| usize::try_from(value.as_u64()?).ok())?;
    let at_least = field(object, &key("kept_at_least"), span)?;
    let less_than = field(object, &key("kept_less_than"), span)?;
    findings.kept = at_least.map(|at_least| KeptFor { at_least, less_than });
    Some(Some(findings))
}

/// What a report says of one end, in a sentence.
#[must_use]
pub fn summary(report: &Report) -> String {
    let best = report.families().map(|(_, findings)| of_family(findings)).max_by_key(|(grade, _)| *grade);
    match best {
        None => "no server was reached: UDP may be blocked, or the server may be down".to_owned(),
        Some((_, text)) => text.to_owned(),
    }
}

/// The better of two families has the higher grade.
fn of_family(findings: &Findings) -> (u8, &'static str) {
    use Behaviour::{AddressAndPortDependent, EndpointIndependent};
    match (findings.mapping.and_then(Bounds::known), findings.filtering.and_then(Bounds::known)) {
        (Some(EndpointIndependent), Some(EndpointIndependent)) => {
            (4, "open: anybody whom a server introduces reaches this end directly")
        }
        (Some(EndpointIndependent), Some(AddressAndPortDependent)) => {
            (2, "good: this end meets most others directly, but not those whose port changes with each far end")
        }
        (Some(EndpointIndependent), None) => {
            (2, "good: this end keeps its port for all far ends; which of them it lets in is not known")
        }
        (Some(EndpointIndependent), Some(_)) => {
            (3, "good: this end meets all others directly whom a server introduces")
        }
        (Some(_), _) => (
            1,
            "hard: this end's port changes with each far end, so it meets only those directly that let in any port; with \
             others it needs a relay",
        ),
        (None, _) => (0, "not known: a server with a second port and a second address tells more"),
    }
}

/// What is known, a line for each, as a name and a value.
#[must_use]
pub fn table(report: &Report) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (family, findings) in report.families() {
        rows.extend(family_rows(findings).into_iter().map(|(name, value)| (format!("{family} {name}"), value)));
    }
    for (family, findings) in [("IPv4", &report.v4), ("IPv6", &report.v6)] {
        if findings.is_none() {
            rows.push((family.to_owned(), "no server reached".to_owned()));
        }
    }
    let mapping = report.port_mapping.map_or("nothing to ask for", PortMapping::name);
    rows.push(("port mapping".to_owned(), mapping.to_owned()));
    rows
}

fn family_rows(findings: &Findings) -> [(&'static str, String); 11] {
    let unknown = || "unknown".to_owned();
    let truth = |truth: Option<bool>, yes: &str, no: &str| {
        truth.map_or_else(unknown, |truth| if truth { yes } else { no }.to_owned())
    };
    let address = |address: Option<SocketAddr>| address.map_or_else(unknown, |address| address.to_string());
    let bounds = |bounds: Option<Bounds>| bounds.map_or_else(unknown, |bounds| bounds.to_string());
    // The protocol's timestamps count 4 ms.
    let round_trip = |time: Duration| if time.is_zero() { "less than 4 ms".to_owned() } else { milliseconds(time) };
    let kept = |kept: KeptFor| match kept.less_than {
        Some(less) => format!("{} to {} s", kept.at_least.as_secs(), less.as_secs()),
        None => format!("{} s or longer", kept.at_least.as_secs()),
    };
    [
        ("address here", address(findings.local)),
        ("seen at", address(findings.seen)),
        ("translated", truth(findings.is_translated(), "yes: a NAT is between", "no")),
        ("mapping", bounds(findings.mapping)),
        ("filtering", bounds(findings.filtering)),
        ("hairpin", truth(findings.hairpin, "yes", "no")),
        ("port kept", truth(findings.port_preserved(), "yes", "no")),
        ("round trip", findings.round_trip.map_or_else(unknown, round_trip)),
        ("datagrams", findings.datagram.map_or_else(unknown, |bytes| format!("{bytes} bytes pass at least"))),
        ("ECN", truth(findings.ecn, "marks arrive", "marks are cleared on the way, or not reported")),
        ("mapping kept", findings.kept.map_or_else(|| "not asked (--lifetime)".to_owned(), kept)),
    ]
}

/// How two meet, in a word for programs.
#[must_use]
pub const fn how_name(how: How) -> &'static str {
    match how {
        How::Directly => "directly",
        How::Perhaps => "perhaps",
        How::Relay => "relay",
        How::NotAtAll => "not-at-all",
    }
}

/// How two meet, in a sentence.
#[must_use]
pub fn verdict(verdict: &Verdict) -> String {
    let how = match verdict.how {
        How::Directly => "these two will meet directly",
        How::Perhaps => "these two may meet directly",
        How::Relay => "these two will not meet directly, and need a relay",
        How::NotAtAll => "these two will not meet",
    };
    let next = next_step(verdict);
    let next = next.map_or_else(String::new, |next| format!("\nnext: {next}"));
    format!("{how}: {}{next}", verdict.reason)
}

/// What can be done about it, if they do not meet directly for sure.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others meet directly, so nothing is to be done")]
fn next_step(verdict: &Verdict) -> Option<&'static str> {
    if verdict.how == How::Directly {
        return None;
    }
    match verdict.reason {
        Reason::OnePortIsNotFound { .. } | Reason::NeitherIsFound => Some(
            "to meet directly, forward a port at one end: give --map-port there; otherwise both register with a server that \
             runs with --relay",
        ),
        Reason::SameAddressLeadsNowhere => Some(
            "in one local network nothing is to be done; otherwise both register with a server that runs with --relay",
        ),
        Reason::NotKnown => {
            Some("run the server with --probe-listen for another port and another address, and make both reports again")
        }
        Reason::NoCommonFamily => Some("both register with one server that runs with --relay"),
        Reason::NoServer { .. } => Some("make that report again from another network"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut findings = Findings::default();
        findings.local = Some(([192, 168, 0, 2], 5_000).into());
        findings.seen = Some(([198, 51, 100, 1], 5_000).into());
        findings.mapping = Some(Bounds::exactly(Behaviour::EndpointIndependent));
        let least = Behaviour::AddressDependent;
        findings.filtering = Some(Bounds { least, most: Behaviour::AddressAndPortDependent });
        (findings.hairpin, findings.ecn) = (Some(true), Some(false));
        findings.round_trip = Some(Duration::from_micros(12_345));
        findings.datagram = Some(1_452);
        findings.kept = Some(KeptFor { at_least: Duration::from_secs(30), less_than: Some(Duration::from_secs(60)) });
        let mut report = Report::default();
        (report.v4, report.port_mapping) = (Some(findings), Some(PortMapping::Pcp));
        report
    }

    #[test]
    fn a_report_that_is_written_is_read_back() {
        let line = to_line(&report()).end();
        assert_eq!(from_text(&line), Some(report()), "{line}");
        assert!(line.contains(r#""ipv4_filtering":"address-dependent..address-and-port-dependent""#), "{line}");
        let both = format!("noise\n{{\"event\":\"listening\"}}\n{line}\n{}\n", to_line(&Report::default()).end());
        assert_eq!(from_text(&both), Some(Report::default()), "the last one counts");
    }

    #[test]
    fn what_is_no_report_and_what_no_report_can_say_is_refused() {
        assert_eq!(from_text("{\"event\":\"done\"}"), None);
        assert_eq!(from_text(""), None);
        for wrong in [
            r#"{"event":"report","ipv4_seen":"nowhere"}"#,
            r#"{"event":"report","ipv4_mapping":"address-dependent..endpoint-independent"}"#,
            r#"{"event":"report","ipv6_hairpin":1}"#,
            r#"{"event":"report","ipv4_round_trip":-1}"#,
            r#"{"event":"report","port_mapping":"telepathy"}"#,
        ] {
            assert_eq!(from_text(wrong), None, "{wrong}");
        }
        let later = r#"{"event":"report","ipv4_something":"new"}"#;
        assert!(from_text(later).is_some_and(|report| report.v4.is_some()), "fields can be added");
    }

    /// An end of which only the filter is not known was called hard, under a table that said otherwise.
    #[test]
    fn the_verdict_says_of_each_end_what_the_table_does() {
        let verdict = |mapping, filtering| {
            let mut report = report();
            let findings = report.v4.as_mut().unwrap();
            (findings.mapping, findings.filtering) = (mapping, filtering);
            summary(&report).split(':').next().unwrap_or_default().to_owned()
        };
        let exactly = |behaviour| Some(Bounds::exactly(behaviour));
        let (independent, dependent) = (Behaviour::EndpointIndependent, Behaviour::AddressAndPortDependent);
        let open = Some(Bounds { least: Behaviour::EndpointIndependent, most: dependent });
        for (filtering, expected) in [
            (exactly(independent), "open"),
            (exactly(Behaviour::AddressDependent), "good"),
            (exactly(dependent), "good"),
            (open, "good"),
            (None, "good"),
        ] {
            assert_eq!(verdict(exactly(independent), filtering), expected, "{filtering:?}");
            assert_eq!(verdict(exactly(dependent), filtering), "hard", "{filtering:?}");
            assert_eq!(verdict(open, filtering), "not known", "{filtering:?}");
        }
    }

    #[test]
    fn the_table_tells_of_both_families_and_what_is_not_known() {
        let rows = table(&report());
        let row = |name: &str| rows.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(row("IPv4 mapping"), Some("endpoint-independent"));
        assert_eq!(row("IPv4 mapping kept"), Some("30 to 60 s"));
        assert_eq!(row("IPv6"), Some("no server reached"));
        assert_eq!(row("port mapping"), Some("pcp"));
    }
}
