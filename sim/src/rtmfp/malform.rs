//! A peer that sends malformed packets. They are changed before they are encrypted, so that receivers can open them.

use datagram_sim::{Key, Stream};
use rtmfp_core::profile::SessionKeys;

use super::tap::{ProfileTap, ProfileTapFactory};

/// Malforms some of the packets that a node's sessions send.
#[derive(Debug)]
pub struct MalformingPeer {
    every: u64,
    key: Key,
}

impl MalformingPeer {
    /// One of `every` packets gets between one and four other bytes, chosen by `key`.
    #[must_use]
    pub fn new(every: u64, key: Key) -> Self {
        Self { every: every.max(1), key }
    }
}

impl ProfileTapFactory for MalformingPeer {
    fn session(&self, _keys: &dyn SessionKeys) -> Box<dyn ProfileTap> {
        Box::new(MalformingTap { every: self.every, packets: 0, stream: self.key.stream() })
    }
}

#[derive(Debug)]
struct MalformingTap {
    every: u64,
    packets: u64,
    stream: Stream,
}

impl ProfileTap for MalformingTap {
    fn sealing(&mut self, plain: &mut [u8]) {
        self.packets += 1;
        if !self.packets.is_multiple_of(self.every) {
            return;
        }
        for _ in 0..=self.stream.below(4) {
            let at = usize::try_from(self.stream.below(plain.len().max(1) as u64)).unwrap_or(0);
            let to = self.stream.below(256) as u8;
            if let Some(byte) = plain.get_mut(at) {
                *byte = to;
            }
        }
    }
}
