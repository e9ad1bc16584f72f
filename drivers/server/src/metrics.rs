//! Counts in the text format of Prometheus, version 0.0.4.

use core::fmt::Write as _;

use rtmfp_core::error::DropReason;

use crate::status::Snapshot;

/// The text's type.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether a value only grows.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// The text so far.
struct Text(String);

impl Text {
    /// Adds a metric. Each sample has its labels, such as `way="in"`, or none.
    fn metric<'a>(&mut self, kind: Kind, name: &str, help: &str, samples: impl IntoIterator<Item = (&'a str, u64)>) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in samples {
            let _ = match labels {
                "" => writeln!(self.0, "{name} {value}"),
                labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
            };
        }
    }
}

/// All that a snapshot says.
pub(crate) fn text(snapshot: &Snapshot) -> String {
    let mut text = Text(String::with_capacity(4_096));
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    text.metric(Kind::Gauge, "rtmfp_build_info", "The version of the program.", [(version.as_str(), 1)]);
    rendezvous(&mut text, snapshot);
    endpoint(&mut text, snapshot);
    text.0
}

fn rendezvous(text: &mut Text, snapshot: &Snapshot) {
    let totals = &snapshot.totals;
    let none = "";
    let registered = totals.joined.saturating_sub(totals.left);
    text.metric(Kind::Gauge, "rtmfp_registrations", "Sessions that use the rendezvous service.", [(none, registered)]);
    let help = "Sessions that have used the rendezvous service.";
    text.metric(Kind::Counter, "rtmfp_registrations_total", help, [(none, totals.joined)]);
    let held = totals.numbers_given.saturating_sub(totals.numbers_released);
    text.metric(Kind::Gauge, "rtmfp_numbers", "Numbers that sessions have.", [(none, held)]);
    text.metric(Kind::Counter, "rtmfp_numbers_total", "Numbers that were given.", [(none, totals.numbers_given)]);
    let help = "Requests for a peer, by number or name.";
    let samples = [("outcome=\"found\"", totals.found), ("outcome=\"not_found\"", totals.not_found)];
    text.metric(Kind::Counter, "rtmfp_lookups_total", help, samples);
    let samples = [("outcome=\"accepted\"", totals.tokens_accepted), ("outcome=\"rejected\"", totals.tokens_rejected)];
    text.metric(Kind::Counter, "rtmfp_tokens_total", "Tokens that were shown.", samples);
    let help = "Requests that were refused.";
    text.metric(Kind::Counter, "rtmfp_requests_refused_total", help, [(none, totals.refused)]);
    let open = totals.circuits_opened.saturating_sub(totals.circuits_closed);
    text.metric(Kind::Gauge, "rtmfp_circuits", "Pairs of clients between which datagrams are relayed.", [(none, open)]);
    text.metric(Kind::Counter, "rtmfp_circuits_total", "Circuits that were opened.", [(none, totals.circuits_opened)]);
    let help = "Bytes of datagrams that were queued for the peer, counted when a circuit ends.";
    text.metric(Kind::Counter, "rtmfp_relayed_bytes_total", help, [(none, totals.relayed_bytes)]);
    let help = "Datagrams over a limit, or for which the peer had no room, counted when a circuit ends.";
    text.metric(Kind::Counter, "rtmfp_relay_dropped_total", help, [(none, totals.relay_dropped)]);
    let help = "Initiator Hellos for peers of this server.";
    let samples = [("outcome=\"introduced\"", totals.introduced), ("outcome=\"dropped\"", totals.not_introduced)];
    text.metric(Kind::Counter, "rtmfp_hellos_total", help, samples);
    let samples = [
        ("outcome=\"sent\"", totals.probes_sent),
        ("outcome=\"arrived\"", totals.probes_arrived),
        ("outcome=\"refused\"", totals.probes_refused),
    ];
    text.metric(Kind::Counter, "rtmfp_probes_total", "Probes for clients that examine their network.", samples);
}

fn endpoint(text: &mut Text, snapshot: &Snapshot) {
    let stats = &snapshot.endpoint;
    let ways = |received, sent| [("direction=\"received\"", received), ("direction=\"sent\"", sent)];
    text.metric(Kind::Gauge, "rtmfp_draining", "1 if the server ends.", [("", snapshot.draining.into())]);
    text.metric(Kind::Gauge, "rtmfp_sessions", "Sessions, whatever their state.", [("", snapshot.sessions as u64)]);
    let samples = [("outcome=\"opened\"", stats.sessions_opened), ("outcome=\"failed\"", stats.sessions_failed)];
    text.metric(Kind::Counter, "rtmfp_sessions_total", "Sessions that were to be opened.", samples);
    let samples = ways(stats.datagrams_received, stats.datagrams_sent);
    text.metric(Kind::Counter, "rtmfp_datagrams_total", "UDP datagrams.", samples);
    let samples = ways(stats.bytes_received, stats.bytes_sent);
    text.metric(Kind::Counter, "rtmfp_bytes_total", "Bytes of UDP datagrams, without IP and UDP headers.", samples);
    let reasons = DropReason::ALL.map(|reason| (format!("reason=\"{}\"", reason.name()), stats.dropped(reason)));
    let samples = reasons.iter().map(|(labels, count)| (labels.as_str(), *count));
    let help = "Datagrams, packets and chunks that were not used.";
    text.metric(Kind::Counter, "rtmfp_dropped_total", help, samples);
    let help = "Datagrams that the system dropped before the program could read them.";
    text.metric(Kind::Counter, "rtmfp_socket_overflows_total", help, [("", snapshot.overflows)]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::status::Totals;

    fn snapshot() -> Snapshot {
        let totals = Totals { joined: 5, left: 2, introduced: 7, not_introduced: 1, ..Totals::default() };
        let mut snapshot = Snapshot { totals, sessions: 9, ..Snapshot::default() };
        snapshot.endpoint.datagrams_sent = 11;
        snapshot.endpoint.dropped_replayed = 13;
        snapshot
    }

    #[test]
    fn counts_are_shown_under_their_names() {
        let text = text(&snapshot());
        for line in [
            "rtmfp_registrations 3",
            "rtmfp_registrations_total 5",
            "rtmfp_sessions 9",
            "rtmfp_hellos_total{outcome=\"introduced\"} 7",
            "rtmfp_datagrams_total{direction=\"sent\"} 11",
            "rtmfp_dropped_total{reason=\"replayed\"} 13",
            "rtmfp_draining 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }

    /// What the format asks for: help and type before the samples, each name once, each sample once, a last newline.
    #[test]
    fn the_text_follows_the_format() {
        let text = text(&snapshot());
        assert!(text.ends_with('\n'));
        let (mut names, mut samples, mut current) = (BTreeSet::new(), BTreeSet::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                current = rest.split(' ').next().unwrap().to_owned();
                assert!(names.insert(current.clone()), "{current} is there twice");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let kind = if current.ends_with("_total") { "counter" } else { "gauge" };
                assert_eq!(rest, format!("{current} {kind}"));
            } else {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                assert_eq!(sample.split('{').next().unwrap(), current);
                assert!(value.parse::<u64>().is_ok() && samples.insert(sample), "{line}");
            }
        }
        assert!(names.len() > 10);
    }
}
