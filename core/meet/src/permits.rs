//! Who may be introduced to whom for a while.

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use rtmfp_core::{Bytes, Instant};

/// How long a permit lasts: as long as a session tries to open at most (RFC 7016 §3.5.1.1.1).
const LASTS: Duration = Duration::from_secs(95);

/// Permits by address and discriminator. A hello carries no more than these, and is not proved; so a permit is worth what
/// the source address of a datagram is worth. What it leads to is that the peer which is named sends a datagram there.
#[derive(Debug)]
pub(crate) struct Permits {
    max: usize,
    until: BTreeMap<(IpAddr, Bytes), Instant>,
}

impl Permits {
    pub(crate) const fn new(max: usize) -> Self {
        Self { max, until: BTreeMap::new() }
    }

    /// Lets hellos from this address name this peer for 95 s. False, and nothing has changed, if there is no room.
    pub(crate) fn give(&mut self, now: Instant, address: IpAddr, discriminator: Bytes) -> bool {
        let key = (address.to_canonical(), discriminator);
        if !self.until.contains_key(&key) && self.until.len() >= self.max {
            self.until.retain(|_, until| *until > now);
            if self.until.len() >= self.max {
                return false;
            }
        }
        self.until.insert(key, now + LASTS);
        true
    }

    pub(crate) fn has(&self, now: Instant, address: IpAddr, discriminator: &Bytes) -> bool {
        let key = (address.to_canonical(), discriminator.clone());
        self.until.get(&key).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_for_one_address_one_peer_and_a_while() {
        let mut permits = Permits::new(2);
        let (here, there) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let (ada, ben) = (Bytes::from_static(b"ada"), Bytes::from_static(b"ben"));
        let at = Instant::from_millis;
        assert!(permits.give(at(0), here, ada.clone()));
        assert!(permits.has(at(94_999), here, &ada));
        assert!(!permits.has(at(95_000), here, &ada));
        assert!(!permits.has(at(1), there, &ada) && !permits.has(at(1), here, &ben));
    }

    #[test]
    fn there_are_no_more_than_there_is_room_for() {
        let mut permits = Permits::new(2);
        let give = |permits: &mut Permits, seconds: u64, last| {
            permits.give(Instant::from_millis(seconds * 1_000), [192, 0, 2, last].into(), Bytes::from_static(b"ada"))
        };
        assert!(give(&mut permits, 0, 1) && give(&mut permits, 50, 2));
        assert!(!give(&mut permits, 60, 3));
        assert!(give(&mut permits, 60, 2), "one that is there lasts longer");
        assert!(give(&mut permits, 100, 3), "one has ended");
        assert!(!give(&mut permits, 100, 4));
    }
}
