//! Keeps packets as they were before they were sealed, so that captures can show them in plain without any keys.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use datagram_sim::digest;
use rtmfp_core::{Instant, SessionHandle, Trace, TraceEvent};

/// The plain packets of everything sent so far, by the digest of the encrypted packet.
#[derive(Clone, Debug, Default)]
pub struct Plaintexts(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);

impl Plaintexts {
    /// The plain packet (RFC 7016 §2.2.4) of a datagram (session ID and encrypted packet), if it was sent here.
    #[must_use]
    pub fn of(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let key = digest(datagram.get(4..)?);
        self.0.lock().ok()?.get(&key).cloned()
    }

    /// Keeps what one endpoint sends.
    pub(super) fn recorder(&self) -> PacketRecorder {
        PacketRecorder { all: self.clone(), flight: Arc::default() }
    }
}

/// Hears of an endpoint's packets from its trace, which tells of them in the order of the flight. Clones share their state.
#[derive(Clone, Debug)]
pub(super) struct PacketRecorder {
    all: Plaintexts,
    flight: Arc<Mutex<VecDeque<Vec<u8>>>>,
}

impl PacketRecorder {
    fn flight<R>(&self, act: impl FnOnce(&mut VecDeque<Vec<u8>>) -> R) -> R {
        act(&mut self.flight.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A flight is about to be built.
    pub(super) fn begin_flight(&self) {
        self.flight(VecDeque::clear);
    }

    /// The next datagram of the flight is this.
    pub(super) fn keep(&self, datagram: &[u8]) {
        let plain = self.flight(VecDeque::pop_front);
        if let (Some(plain), Some(encrypted), Ok(mut all)) = (plain, datagram.get(4..), self.all.0.lock()) {
            all.insert(digest(encrypted), plain);
        }
    }
}

impl Trace for PacketRecorder {
    fn event(&mut self, _at: Instant, _session: Option<SessionHandle>, event: &TraceEvent<'_>) {
        if let TraceEvent::PacketSent { plain, .. } = event {
            self.flight(|flight| flight.push_back(plain.to_vec()));
        }
    }
}
