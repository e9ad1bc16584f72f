//! Counts in the text format of Prometheus, version 0.0.4.

use core::fmt::{Display, Write as _};

use rtmfp_core::error::DropReason;
use rtmfp_std::ProfileKind;

use crate::status::Snapshot;

/// The text's type.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether a value only grows.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// A server at one moment, with the kind of its profile.
pub(crate) type Shown = (ProfileKind, Snapshot);

/// The text so far, about these servers.
struct Text<'a> {
    text: String,
    servers: &'a [Shown],
}

impl Text<'_> {
    /// Adds a metric without labels of its own.
    fn metric(&mut self, kind: Kind, name: &str, help: &str, value: impl Fn(&Snapshot) -> u64) {
        self.labelled(kind, name, help, |snapshot| [("", value(snapshot))]);
    }

    /// Adds a metric. Each sample of a server has a label, such as `direction="in"`.
    fn labelled<L: Display, S: IntoIterator<Item = (L, u64)>>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        samples: impl Fn(&Snapshot) -> S,
    ) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a string does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (profile, snapshot) in self.servers {
            for (label, value) in samples(snapshot) {
                let label = label.to_string();
                let comma = if label.is_empty() { "" } else { "," };
                let _ = writeln!(self.text, "{name}{{profile=\"{profile}\"{comma}{label}}} {value}");
            }
        }
    }
}

/// All that the snapshots say. Every sample has the profile of its server as a label.
pub(crate) fn text(servers: &[Shown]) -> String {
    let mut text = Text { text: String::with_capacity(8_192), servers };
    let build = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
    let help = "Always 1; the label tells the version of the program.";
    text.labelled(Kind::Gauge, "rtmfp_build_info", help, |_| [(build, 1)]);
    rendezvous(&mut text);
    relay(&mut text);
    endpoint(&mut text);
    text.text
}

fn rendezvous(text: &mut Text<'_>) {
    let help = "Clients that are registered now.";
    text.metric(Kind::Gauge, "rtmfp_registrations", help, |s| s.totals.joined.saturating_sub(s.totals.left));
    let help = "Clients that have registered since the start.";
    text.metric(Kind::Counter, "rtmfp_registrations_total", help, |s| s.totals.joined);
    let help = "Numbers that clients have now.";
    let held = |s: &Snapshot| s.totals.numbers_given.saturating_sub(s.totals.numbers_released);
    text.metric(Kind::Gauge, "rtmfp_numbers", help, held);
    let help = "Numbers that were given to clients since the start.";
    text.metric(Kind::Counter, "rtmfp_numbers_total", help, |s| s.totals.numbers_given);
    let help = "Lookups of a peer by number or fingerprint, by whether it was registered.";
    text.labelled(Kind::Counter, "rtmfp_lookups_total", help, |s| {
        [("outcome=\"found\"", s.totals.found), ("outcome=\"not_found\"", s.totals.not_found)]
    });
    let help = "Tokens that clients have shown, by whether they were accepted.";
    text.labelled(Kind::Counter, "rtmfp_tokens_total", help, |s| {
        [("outcome=\"accepted\"", s.totals.tokens_accepted), ("outcome=\"rejected\"", s.totals.tokens_rejected)]
    });
    let help = "Requests that were refused: over a limit, without a token that is asked for, or not allowed.";
    text.metric(Kind::Counter, "rtmfp_requests_refused_total", help, |s| s.totals.refused);
    let help = "Initiator Hellos for a peer: forwarded to it, or dropped because it is not registered or may not be asked for.";
    text.labelled(Kind::Counter, "rtmfp_hellos_total", help, |s| {
        [("outcome=\"introduced\"", s.totals.introduced), ("outcome=\"dropped\"", s.totals.not_introduced)]
    });
    let help = "Probes for rtmfp doctor: sent to clients, received from them, or refused.";
    text.labelled(Kind::Counter, "rtmfp_probes_total", help, |s| {
        [
            ("outcome=\"sent\"", s.totals.probes_sent),
            ("outcome=\"arrived\"", s.totals.probes_arrived),
            ("outcome=\"refused\"", s.totals.probes_refused),
        ]
    });
}

fn relay(text: &mut Text<'_>) {
    let help = "Circuits that are open now: pairs of clients between which datagrams are relayed.";
    let open = |s: &Snapshot| s.totals.circuits_opened.saturating_sub(s.totals.circuits_closed);
    text.metric(Kind::Gauge, "rtmfp_circuits", help, open);
    let help = "Circuits that were opened since the start.";
    text.metric(Kind::Counter, "rtmfp_circuits_total", help, |s| s.totals.circuits_opened);
    let help = "Bytes of relayed datagrams; those of a circuit are added when it ends.";
    text.metric(Kind::Counter, "rtmfp_relayed_bytes_total", help, |s| s.totals.relayed_bytes);
    let help = "Datagrams that the relay dropped, over a limit or because the peer did not keep up; added when a circuit ends.";
    text.metric(Kind::Counter, "rtmfp_relay_dropped_total", help, |s| s.totals.relay_dropped);
}

fn endpoint(text: &mut Text<'_>) {
    let ways = |received, sent| [("direction=\"received\"", received), ("direction=\"sent\"", sent)];
    let help = "1 while the server shuts down and accepts nobody, else 0.";
    text.metric(Kind::Gauge, "rtmfp_draining", help, |s| s.draining.into());
    let help = "Sessions now, those that are opening or closing included.";
    text.metric(Kind::Gauge, "rtmfp_sessions", help, |s| s.sessions as u64);
    let help = "Sessions since the start, by whether they opened.";
    text.labelled(Kind::Counter, "rtmfp_sessions_total", help, |s| {
        [("outcome=\"opened\"", s.endpoint.sessions_opened), ("outcome=\"failed\"", s.endpoint.sessions_failed)]
    });
    let help = "UDP datagrams.";
    text.labelled(Kind::Counter, "rtmfp_datagrams_total", help, |s| {
        ways(s.endpoint.datagrams_received, s.endpoint.datagrams_sent)
    });
    let help = "Bytes in UDP datagrams, without IP and UDP headers.";
    text.labelled(Kind::Counter, "rtmfp_bytes_total", help, |s| ways(s.endpoint.bytes_received, s.endpoint.bytes_sent));
    let help = "Datagrams, packets and chunks that were dropped, by reason.";
    text.labelled(Kind::Counter, "rtmfp_dropped_total", help, |s| {
        DropReason::ALL.map(|reason| (format!("reason=\"{}\"", reason.name()), s.endpoint.dropped(reason)))
    });
    let help = "Datagrams that the system dropped before the program could read them, mostly because a socket buffer was full.";
    text.metric(Kind::Counter, "rtmfp_socket_overflows_total", help, |s| s.overflows);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::status::Totals;

    fn shown() -> [Shown; 2] {
        let totals = Totals { joined: 5, left: 2, introduced: 7, not_introduced: 1, ..Totals::default() };
        let mut snapshot = Snapshot { totals, sessions: 9, ..Snapshot::default() };
        snapshot.endpoint.datagrams_sent = 11;
        snapshot.endpoint.dropped_replayed = 13;
        [(ProfileKind::Modern, snapshot), (ProfileKind::Flash, Snapshot::default())]
    }

    #[test]
    fn counts_are_shown_under_their_names() {
        let text = text(&shown());
        for line in [
            "rtmfp_registrations{profile=\"modern\"} 3",
            "rtmfp_registrations{profile=\"flash\"} 0",
            "rtmfp_registrations_total{profile=\"modern\"} 5",
            "rtmfp_sessions{profile=\"modern\"} 9",
            "rtmfp_hellos_total{profile=\"modern\",outcome=\"introduced\"} 7",
            "rtmfp_datagrams_total{profile=\"modern\",direction=\"sent\"} 11",
            "rtmfp_dropped_total{profile=\"modern\",reason=\"replayed\"} 13",
            "rtmfp_draining{profile=\"modern\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }

    /// What the format asks for: help and type before the samples, each name once, each sample once, a last newline.
    #[test]
    fn the_text_follows_the_format() {
        let text = text(&shown());
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
