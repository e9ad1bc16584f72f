//! Reads packets before they are sealed, so that captures can show them in plain without any keys.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use datagram_sim::digest;
use rtmfp_core::profile::SessionKeys;

use super::tap::{ProfileTap, ProfileTapFactory};

/// The plain packets of everything sealed so far, by the digest of the encrypted packet.
#[derive(Clone, Debug, Default)]
pub struct Plaintexts(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);

impl Plaintexts {
    /// The plain packet (RFC 7016 §2.2.4) of a datagram (session ID and encrypted packet), if it was sealed here.
    #[must_use]
    pub fn of(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let key = digest(datagram.get(4..)?);
        self.0.lock().ok()?.get(&key).cloned()
    }

    fn tap(&self) -> Box<dyn ProfileTap> {
        Box::new(PlaintextTap { seen: self.clone(), sealing: VecDeque::new() })
    }
}

impl ProfileTapFactory for Plaintexts {
    fn session(&self, _keys: &dyn SessionKeys) -> Box<dyn ProfileTap> {
        self.tap()
    }
    fn startup(&self) -> Option<Box<dyn ProfileTap>> {
        Some(self.tap())
    }
}

#[derive(Debug)]
struct PlaintextTap {
    seen: Plaintexts,
    sealing: VecDeque<Vec<u8>>,
}

impl ProfileTap for PlaintextTap {
    fn sealing(&mut self, plain: &mut [u8]) {
        self.sealing.push_back(plain.to_vec());
    }
    fn sealed(&mut self, encrypted: &[u8]) {
        if let (Some(plain), Ok(mut seen)) = (self.sealing.pop_front(), self.seen.0.lock()) {
            seen.insert(digest(encrypted), plain);
        }
    }
}
