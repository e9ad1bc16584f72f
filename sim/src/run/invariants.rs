//! What must hold in every run, whatever the scenario expects. Each names its section in its failure.

use std::collections::BTreeMap;

use rtmfp_core::{Endpoint, SessionState};

use super::ledger::Ledger;
use super::watch::Watched;
use super::worker::Worker;
use super::{Run, configuration};
use crate::rtmfp::EndpointNode;
use crate::time::Span;

/// How long nothing may arrive in a whole network while something waits to.
const STILL: Span = Span::secs(30);

/// What can be seen of an endpoint from outside at any time.
pub(super) fn check_node(name: &str, endpoint: &Endpoint, ledger: &Ledger) {
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
            ledger.with(|books| books.breach(format!("I9 (RFC 7016 §3.5.2.2): {name}: ERTO is {:?}", stats.erto)));
        }
        if stats.srtt.is_some_and(|srtt| stats.erto < srtt) {
            ledger.with(|books| {
                books.breach(format!(
                    "I9 (RFC 7016 §3.5.2.2): {name}: ERTO {:?} below SRTT {:?}",
                    stats.erto, stats.srtt
                ));
            });
        }
        // RFC 7016 appendix A: the window never falls below its least value.
        if stats.cwnd == 0 {
            ledger.with(|books| books.breach(format!("I3 (RFC 7016 §3.5.2): {name}: the congestion window is zero")));
        }
    }
    if open.values().any(|&count| count > 1) {
        ledger.with(|books| books.breach(format!("I8 (RFC 7016 §3.5): {name} has two open sessions with one far end")));
    }
}

impl Run<'_> {
    /// What is known in the end.
    pub(super) fn final_checks(&mut self, watched: &Watched) {
        for (name, &id) in &self.map.nodes {
            let Some(node) = self.world.node::<EndpointNode<Worker>>(id) else { continue };
            if let Some(breach) = node.breach() {
                let which = if breach.starts_with("I3") { "" } else { "I11 (driving contract): " };
                self.ledger.with(|books| books.breach(format!("{which}{breach}, {name}")));
            }
            let limit = configuration(self.scenario, name).session.max_datagram;
            let largest = watched.largest_sent.get(&id.number()).copied().unwrap_or(0);
            if largest > limit {
                self.ledger.with(|books| {
                    books.breach(format!("I4 (RFC 7016 §2.2.4): {name} sent {largest} bytes, and {limit} are allowed"));
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
        self.ledger.with(|books| {
            let mut stuck = Vec::new();
            for account in &books.accounts {
                let pair = (account.work.from.clone(), account.work.to.clone());
                let sessions = books.pairings.get(&pair);
                let lives = sessions.is_some_and(|pair| !pair.opened.is_empty() && pair.closed.is_empty());
                let last = account.deliveries.last().map(|delivery| delivery.read);
                let written = account.written.get(account.deliveries.len()).copied();
                let since = written.map(|written| last.map_or(written, |last| last.max(written)));
                let still = since.is_some_and(|since| end.since(since) >= STILL);
                if lives && account.work.is_reliable() && still {
                    stuck.push(format!(
                        "I16 (RFC 7016 §3.6.2): {}: {} of {} messages arrived after the network had healed",
                        account.work.label(),
                        account.deliveries.len(),
                        account.written.len()
                    ));
                }
            }
            for text in stuck {
                books.breach(text);
            }
        });
    }
}
