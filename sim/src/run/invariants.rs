//! What must hold in every run, whatever the scenario expects. Each names its section in its failure.

use std::collections::BTreeMap;

use datagram_sim::{Duration, Time};
use rtmfp_core::{Endpoint, SessionConfig, SessionHandle, SessionState, SessionStats};

use super::log::{RunLog, SharedRunLog};
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

/// What can be seen from outside at any time of the open sessions of an endpoint: their far ends, and how they are.
fn faults_of_sessions<F: Ord>(sessions: impl Iterator<Item = (F, SessionStats)>) -> Vec<String> {
    let (mut open, mut faults) = (BTreeMap::<F, u32>::new(), Vec::new());
    for (far, stats) in sessions {
        *open.entry(far).or_default() += 1;
        // RFC 7016 §3.5.2.2: ERTO is at least 250 ms, and no shorter than the round trip.
        if stats.erto.as_millis() < 250 {
            faults.push(format!("I9 (RFC 7016 §3.5.2.2): ERTO is {:?}", stats.erto));
        }
        if stats.srtt.is_some_and(|srtt| stats.erto < srtt) {
            faults.push(format!("I9 (RFC 7016 §3.5.2.2): ERTO {:?} below SRTT {:?}", stats.erto, stats.srtt));
        }
        // RFC 7016 appendix A: the window never falls below its least value.
        if stats.cwnd == 0 {
            faults.push("I3 (RFC 7016 §3.5.2): the congestion window is zero".to_owned());
        }
    }
    if open.values().any(|&count| count > 1) {
        faults.push("I8 (RFC 7016 §3.5): two sessions with one far end are open".to_owned());
    }
    faults
}

fn check_sessions(name: &str, endpoint: &Endpoint, log: &SharedRunLog) {
    let views = endpoint.sessions().filter_map(|session| endpoint.session(session));
    let open = views.filter(|view| view.state() == SessionState::Open);
    for fault in faults_of_sessions(open.map(|view| (view.far_certificate(), view.stats()))) {
        log.with(|log| log.report_violation(format!("{fault}, {name}")));
    }
}

/// I4: no datagram is longer than the configuration allows.
fn too_large(largest: usize, limit: usize) -> Option<String> {
    (largest > limit).then(|| format!("I4 (RFC 7016 §2.2.4): {largest} bytes were sent, and {limit} are allowed"))
}

/// I16: what is reliable arrives once the network is whole, if its session lives. What still moves is not stuck: a
/// message that is larger than the receiver's buffer takes a round trip for each fragment.
fn stuck_works(log: &RunLog, end: Time) -> Vec<String> {
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
    stuck
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
            check_sessions(name, node.endpoint(), &self.log);
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
            if let Some(fault) = too_large(largest, limit) {
                self.log.with(|log| log.report_violation(format!("{fault}, {name}")));
            }
        }
        if self.healed {
            let end = self.world.now();
            self.log.with(|log| {
                for fault in stuck_works(log, end) {
                    log.report_violation(fault);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time;

    use super::*;
    use crate::run::log::SessionLog;
    use crate::scenario::Work;
    use rtmfp_core::{EndpointConfig, Instant, InterfaceId, Path, Target};

    fn first_words(faults: &[String]) -> Vec<&str> {
        faults.iter().filter_map(|fault| fault.split(' ').next()).collect()
    }

    /// An open session as it should be, except for a change.
    fn stats(change: impl FnOnce(&mut SessionStats)) -> SessionStats {
        let mut stats = SessionStats::default();
        (stats.cwnd, stats.erto, stats.srtt) =
            (4_380, time::Duration::from_millis(250), Some(time::Duration::from_millis(250)));
        change(&mut stats);
        stats
    }

    #[test]
    fn two_sessions_with_one_far_end_are_seen() {
        let sound = stats(|_| {});
        let faults = |far: &[&str]| faults_of_sessions(far.iter().map(|far| (*far, sound)));
        assert_eq!(first_words(&faults(&["a", "b", "c"])), [""; 0]);
        assert_eq!(first_words(&faults(&["a", "b", "a"])), ["I8"]);
    }

    #[test]
    fn timeouts_and_windows_that_are_too_small_are_seen() {
        let faults = |stats| faults_of_sessions(core::iter::once(("far", stats)));
        let short = stats(|stats| (stats.erto, stats.srtt) = (time::Duration::from_millis(249), None));
        assert_eq!(first_words(&faults(short)), ["I9"]);
        let below = stats(|stats| stats.srtt = Some(time::Duration::from_millis(251)));
        assert_eq!(first_words(&faults(below)), ["I9"]);
        assert_eq!(first_words(&faults(stats(|stats| stats.cwnd = 0))), ["I3"]);
    }

    #[test]
    fn a_datagram_that_is_too_large_is_seen() {
        assert_eq!(too_large(1_200, 1_200), None);
        assert!(too_large(1_201, 1_200).is_some_and(|fault| fault.starts_with("I4 ")));
    }

    #[test]
    fn reliable_work_that_is_stuck_is_seen() {
        let at = |seconds| Time::ZERO + Duration::secs(seconds);
        let work = Work { from: "a".into(), to: "b".into(), ..Work::default() };
        let pair = ("a".to_owned(), "b".to_owned());
        let log = |work: &Work, sessions| {
            let log = SharedRunLog::new(core::slice::from_ref(work));
            log.with(|log| log.sessions.insert(pair.clone(), sessions));
            log.with(|log| log.now = at(10));
            log.wrote(0);
            log.with(|log| log.clone())
        };
        let open = SessionLog { opened: vec![at(1)], ..SessionLog::default() };
        let stuck = |work: &Work, sessions: &SessionLog, end| stuck_works(&log(work, sessions.clone()), at(end));
        assert_eq!(first_words(&stuck(&work, &open, 39)), [""; 0]);
        assert_eq!(first_words(&stuck(&work, &open, 40)), ["I16"]);
        // Nothing is promised of what may be lost, or of a session that is over or never began.
        assert_eq!(first_words(&stuck(&Work { no_retransmit: true, ..work.clone() }, &open, 40)), [""; 0]);
        assert_eq!(first_words(&stuck(&work, &SessionLog { closed: vec![at(2)], ..open }, 40)), [""; 0]);
        assert_eq!(first_words(&stuck(&work, &SessionLog::default(), 40)), [""; 0]);
    }

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
