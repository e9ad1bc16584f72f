//! What must hold in every run, whatever the scenario expects. Each names its section in its failure.

use std::collections::BTreeMap;

use datagram_sim::{Duration, Time};
use rtmfp_core::{Endpoint, SessionConfig, SessionHandle, SessionState};

use super::log::SharedRunLog;
use super::watch::Watched;
use super::worker::Worker;
use super::{Run, configuration};
use crate::rtmfp::EndpointNode;

/// How long nothing may arrive in a whole network while something waits to.
const STILL: Duration = Duration::secs(30);

/// Longer than a session closes (RFC 7016 §3.5.5: 90 s near, 19 s far), in a network that delays as networks do.
const CLOSES: Duration = Duration::secs(120);
/// How many endpoints are judged at a time.
const CHECKED: usize = 256;

/// Since when each session of each node closes.
pub(super) type Closing = BTreeMap<(String, SessionHandle), Time>;

/// I12: sessions that close are gone in the end.
fn check_closing(
    name: &str,
    sessions: impl Iterator<Item = (SessionHandle, SessionState)>,
    now: Time,
    closing: &mut Closing,
    log: &SharedRunLog,
) {
    for (session, state) in sessions {
        let key = (name.to_owned(), session);
        if !matches!(state, SessionState::NearClose | SessionState::FarCloseLinger) {
            closing.remove(&key);
            continue;
        }
        let since = *closing.entry(key).or_insert(now);
        if now.since(since) > CLOSES {
            log.with(|log| {
                log.report_violation(format!("I12 (RFC 7016 §3.5.5): a session of {name} closes since {since}"))
            });
        }
    }
}

/// The sessions of an endpoint and how they are.
fn states(endpoint: &Endpoint) -> impl Iterator<Item = (SessionHandle, SessionState)> + '_ {
    endpoint.sessions().filter_map(|session| Some((session, endpoint.session(session)?.state())))
}

/// I18: the flows of a session together hold no more than the session may.
///
/// A flow alone has no such bound: its window counts the data alone, and what keeps track of small messages is more.
fn check_memory(name: &str, node: &EndpointNode<Worker>, config: &SessionConfig, log: &SharedRunLog) {
    let mut held: BTreeMap<SessionHandle, usize> = BTreeMap::new();
    for flow in node.app().reading() {
        let buffered = node.endpoint().recv_flow(flow).map_or(0, |view| view.stats().buffered);
        *held.entry(flow.session()).or_default() += buffered;
    }
    for fault in held.values().filter_map(|&held| too_much_held(held, config)) {
        log.with(|log| log.report_violation(format!("{fault}, {name}")));
    }
}

fn too_much_held(held: usize, config: &SessionConfig) -> Option<String> {
    let most = config.max_recv_bytes;
    (held > most).then(|| format!("I18 (RFC 7016 §5): a session holds {held} bytes, and {most} are allowed"))
}

/// What can be seen of an endpoint from outside at any time.
fn check_node(name: &str, endpoint: &Endpoint, log: &SharedRunLog) {
    let mut open: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for session in endpoint.sessions() {
        let Some(view) = endpoint.session(session) else { continue };
        if view.state() != SessionState::Open {
            continue;
        }
        *open.entry(view.far_certificate().to_vec()).or_default() += 1;
        let stats = view.stats();
        // RFC 7016 §3.5.2.2: ERTO is at least 250 ms, and no shorter than the round trip.
        if stats.erto.as_millis() < 250 {
            log.with(|log| log.report_violation(format!("I9 (RFC 7016 §3.5.2.2): {name}: ERTO is {:?}", stats.erto)));
        }
        if stats.srtt.is_some_and(|srtt| stats.erto < srtt) {
            log.with(|log| {
                log.report_violation(format!(
                    "I9 (RFC 7016 §3.5.2.2): {name}: ERTO {:?} below SRTT {:?}",
                    stats.erto, stats.srtt
                ));
            });
        }
        // RFC 7016 appendix A: the window never falls below its least value.
        if stats.cwnd == 0 {
            log.with(|log| {
                log.report_violation(format!("I3 (RFC 7016 §3.5.2): {name}: the congestion window is zero"))
            });
        }
    }
    if open.values().any(|&count| count > 1) {
        log.with(|log| {
            log.report_violation(format!("I8 (RFC 7016 §3.5): {name} has two open sessions with one far end"))
        });
    }
}

impl Run<'_> {
    /// Judges what endpoints show. In large worlds each time other ones, so that all are judged in turn.
    pub(super) fn check(&mut self) {
        let now = self.world.now();
        let count = self.map.nodes.len();
        let from = self.next_checked;
        self.next_checked = if count <= CHECKED { 0 } else { (from + CHECKED) % count };
        for (name, &id) in self.map.nodes.iter().cycle().skip(from).take(CHECKED.min(count)) {
            let Some(node) = self.world.node::<EndpointNode<Worker>>(id) else { continue };
            check_node(name, node.endpoint(), &self.log);
            if !self.freezing.contains(name) {
                check_closing(name, states(node.endpoint()), now, &mut self.closing, &self.log);
            }
            if let Some(config) = self.limits.get(name) {
                check_memory(name, node, config, &self.log);
            }
        }
    }

    /// What is known in the end.
    pub(super) fn final_checks(&mut self, watched: &Watched) {
        for (name, &id) in &self.map.nodes {
            let Some(node) = self.world.node::<EndpointNode<Worker>>(id) else { continue };
            if let Some(violation) = node.violation() {
                let which = if violation.starts_with("I3") { "" } else { "I11 (driving contract): " };
                self.log.with(|log| log.report_violation(format!("{which}{violation}, {name}")));
            }
            let limit = configuration(self.scenario, name).session.max_datagram;
            let largest = watched.largest_sent.get(&id.number()).copied().unwrap_or(0);
            if largest > limit {
                self.log.with(|log| {
                    log.report_violation(format!(
                        "I4 (RFC 7016 §2.2.4): {name} sent {largest} bytes, and {limit} are allowed"
                    ));
                });
            }
        }
        if self.healed {
            self.check_liveness();
        }
    }

    /// I16: what is reliable arrives once the network is whole, if its session lives. What still moves is not stuck:
    /// a message that is larger than the receiver's buffer takes a round trip for each fragment.
    fn check_liveness(&self) {
        let end = self.world.now();
        self.log.with(|log| {
            let mut stuck = Vec::new();
            for delivery_log in &log.works {
                let pair = (delivery_log.work.from.clone(), delivery_log.work.to.clone());
                let sessions = log.sessions.get(&pair);
                let lives = sessions.is_some_and(|pair| !pair.opened.is_empty() && pair.closed.is_empty());
                let last = delivery_log.deliveries.last().map(|delivery| delivery.read);
                let written = delivery_log.written.get(delivery_log.deliveries.len()).copied();
                let since = written.map(|written| last.map_or(written, |last| last.max(written)));
                let still = since.is_some_and(|since| end.since(since) >= STILL);
                if lives && delivery_log.work.is_reliable() && still {
                    stuck.push(format!(
                        "I16 (RFC 7016 §3.6.2): {}: {} of {} messages arrived after the network had healed",
                        delivery_log.work.label(),
                        delivery_log.deliveries.len(),
                        delivery_log.written.len()
                    ));
                }
            }
            for text in stuck {
                log.report_violation(text);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtmfp_core::{EndpointConfig, Instant, InterfaceId, Path, Target};

    #[test]
    fn a_session_that_never_ends_closing_is_seen() {
        let mut endpoint = crate::rtmfp::tests::endpoint();
        let path = Path::new(InterfaceId(0), ([192, 0, 2, 1], 1).into());
        let session = endpoint.open(Instant::ORIGIN, Target::new(vec![1], path)).unwrap();
        let (log, mut closing) = (SharedRunLog::new(&[]), Closing::new());
        let mut broken = |seconds, state| {
            let now = Time::ZERO + Duration::secs(seconds);
            check_closing("n", core::iter::once((session, state)), now, &mut closing, &log);
            log.with(|log| log.violations.len())
        };
        for (seconds, state) in
            [(0, SessionState::Open), (200, SessionState::NearClose), (320, SessionState::NearClose)]
        {
            assert_eq!(broken(seconds, state), 0);
        }
        assert_eq!(broken(321, SessionState::FarCloseLinger), 1);
    }

    #[test]
    fn a_session_that_holds_too_much_is_seen() {
        let config = EndpointConfig::default().session;
        assert_eq!(too_much_held(config.max_recv_bytes, &config), None);
        assert!(too_much_held(config.max_recv_bytes + 1, &config).is_some_and(|fault| fault.starts_with("I18 ")));
    }
}
