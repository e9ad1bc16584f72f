//! What endpoints tell of themselves, as qlog.

use std::sync::{Arc, Mutex, PoisonError};

use rtmfp_core::{Instant, SessionHandle, Trace, TraceEvent};
use rtmfp_qlog::{Header, VantagePoint, write_event, write_header, write_lost};

/// Bytes of each log. Events that come later are only counted.
const MAX_BYTES: usize = 64 << 20;

/// The log of one node. Clones share their state.
#[derive(Clone, Debug)]
pub(super) struct NodeLog(Arc<Mutex<Log>>);

#[derive(Debug)]
struct Log {
    bytes: Vec<u8>,
    left_out: u64,
    /// When the last event was.
    last: Instant,
}

impl NodeLog {
    pub(super) fn new(scenario: &str, node: &str) -> Self {
        let mut bytes = Vec::new();
        let title = format!("{scenario}: {node}");
        let header = Header { title: &title, vantage_point: VantagePoint::Unknown, began: None };
        // A `Vec` takes everything.
        let _written = write_header(&mut bytes, &header);
        Self(Arc::new(Mutex::new(Log { bytes, left_out: 0, last: Instant::ORIGIN })))
    }

    /// All that was told so far, as a whole file.
    pub(super) fn file(&self) -> Vec<u8> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = log.bytes.clone();
        if log.left_out > 0 {
            let _written = write_lost(&mut bytes, log.last, log.left_out);
        }
        bytes
    }
}

impl Trace for NodeLog {
    fn event(&mut self, at: Instant, session: Option<SessionHandle>, event: &TraceEvent<'_>) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.last = at;
        if log.bytes.len() >= MAX_BYTES {
            log.left_out += 1;
            return;
        }
        let _written = write_event(&mut log.bytes, at, session, event);
    }
}

#[cfg(test)]
mod tests {
    use super::NodeLog;
    use crate::run::{RunOptions, run};
    use crate::scenario::builtin;
    use rtmfp_core::error::DropReason;
    use rtmfp_core::{Instant, Trace as _, TraceEvent};

    /// What was lost on the way is found lost by the sender, and nothing else happens than without a log.
    #[test]
    fn a_log_tells_of_losses_and_changes_nothing() {
        let scenario = builtin("abandon-mid-message").unwrap().scenario().unwrap();
        let logged = run(&scenario, &RunOptions { qlog: true, ..RunOptions::new(1) }).unwrap();
        let plain = run(&scenario, &RunOptions::new(1)).unwrap();
        assert_eq!(logged.hash, plain.hash);
        assert!(plain.qlogs.is_empty());
        for (node, log) in &logged.qlogs {
            let text = core::str::from_utf8(log).unwrap();
            let events: Vec<serde_json::Value> =
                text.split('\u{1e}').skip(2).map(|record| serde_json::from_str(record).unwrap()).collect();
            let sent = events.iter().filter(|event| event["name"] == "rtmfp:packet_sent").count();
            assert!(sent > 0, "{node}");
        }
        let lost = logged.qlogs.values().filter(|log| String::from_utf8_lossy(log).contains("rtmfp:fragment_lost"));
        assert!(lost.count() > 0);
    }

    #[test]
    fn a_log_that_is_full_says_what_is_missing() {
        let mut log = NodeLog::new("scenario", "node");
        let event = TraceEvent::ChunkDropped { reason: DropReason::Unexpected };
        log.0.lock().unwrap().bytes.resize(super::MAX_BYTES, b' ');
        (1..=3).for_each(|at| log.event(Instant::from_millis(at), None, &event));
        let file = log.file();
        let last = file.rsplit(|byte| *byte == 0x1e).next().unwrap();
        let last: serde_json::Value = serde_json::from_slice(last).unwrap();
        assert_eq!(
            (&last["name"], &last["time"], &last["data"]["count"]),
            (&"rtmfp:events_lost".into(), &3.0.into(), &3.into())
        );
    }
}
