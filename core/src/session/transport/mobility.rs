//! A far end that moves: how a new address is proved before it is used (RFC 7016 §3.5.3, §3.5.4.2).
//!
//! The check is a Ping whose message only this end can have made: a mark, the time, and a keyed hash over both, the
//! interface, and the addresses that the packet came from and went to. It holds for one path and once, so a reply that is replayed
//! or sent from elsewhere moves nothing.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroize;

use crate::invariant::cannot_happen;
use crate::params::{MOBILITY_CHECK_INTERVAL, MOBILITY_CHECK_MAX_AGE};
use crate::time::Instant;
use crate::transmit::Path;

/// The first byte of a check (RFC 7016 §3.5.4.2 suggests it).
const MARK: u8 = b'M';
/// Length of the mark and the time.
const CLEAR_LEN: usize = 9;
/// Length of the whole message.
pub(in crate::session) const MESSAGE_LEN: usize = CLEAR_LEN + 32;

/// MOB_SECRET, MOB_TX_TS and MOB_RX_TS. Made when first needed, as most far ends never move.
pub(super) struct Mobility {
    secret: [u8; 32],
    /// What is added to the time in a check, so that the far end does not learn how long this one has run.
    epoch: u64,
    sent: Option<Instant>,
    received: Option<Instant>,
    /// The path of last resort that the session has left for a better one.
    pub(super) fallback: Option<Path>,
}

impl fmt::Debug for Mobility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mobility").field("sent", &self.sent).field("received", &self.received).finish_non_exhaustive()
    }
}

impl Drop for Mobility {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl Mobility {
    pub(super) fn new(rng: &mut dyn CryptoRng) -> Self {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        Self { secret, epoch: rng.next_u64(), sent: None, received: None, fallback: None }
    }

    /// The session goes over another path.
    pub(super) const fn moved(&mut self, from: Path, to: Path) {
        if to.interface.is_last_resort() {
            self.fallback = None;
        } else if from.interface.is_last_resort() {
            self.fallback = Some(from);
        }
    }

    fn hash(&self, clear: &[u8], path: Path) -> Option<Hmac<Sha256>> {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else {
            return cannot_happen!(None, "HMAC takes keys of any length");
        };
        mac.update(clear);
        mac.update(&path.interface.0.to_be_bytes());
        match path.remote.ip() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&path.remote.port().to_be_bytes());
        if let SocketAddr::V6(v6) = path.remote {
            mac.update(&v6.scope_id().to_be_bytes());
        }
        // What is hashed has another length with each kind of address, so no two paths look alike.
        match path.local {
            Some(IpAddr::V4(ip)) => mac.update(&[&[4], &ip.octets()[..]].concat()),
            Some(IpAddr::V6(ip)) => mac.update(&[&[6], &ip.octets()[..]].concat()),
            None => {}
        }
        Some(mac)
    }

    /// The Ping message to send to `path`, unless the last check was less than a second ago.
    pub(super) fn check(&mut self, now: Instant, path: Path) -> Option<Vec<u8>> {
        if self.sent.is_some_and(|sent| now.saturating_duration_since(sent) < MOBILITY_CHECK_INTERVAL) {
            return None;
        }
        self.message(now, path)
    }

    /// The Ping message that `path` proves itself with.
    pub(super) fn message(&mut self, now: Instant, path: Path) -> Option<Vec<u8>> {
        let mut message = Vec::with_capacity(MESSAGE_LEN);
        message.push(MARK);
        message.extend_from_slice(&now.as_micros().wrapping_add(self.epoch).to_be_bytes());
        let hash = self.hash(&message, path)?.finalize().into_bytes();
        message.extend_from_slice(&hash);
        self.sent = Some(now);
        Some(message)
    }

    /// Whether a Ping Reply's message, received over `path`, proves that the far end is there.
    pub(super) fn proves(&mut self, now: Instant, path: Path, message: &[u8]) -> bool {
        let Some((clear, hash)) = message.split_first_chunk::<CLEAR_LEN>() else {
            return false;
        };
        let [MARK, time @ ..] = *clear else {
            return false;
        };
        let time = Instant::from_micros(u64::from_be_bytes(time).wrapping_sub(self.epoch));
        // RFC 7016 §3.5.4.2: not more than 120 s old (nor from the future), and newer than the last one taken.
        let timely = time <= now && now.saturating_duration_since(time) <= MOBILITY_CHECK_MAX_AGE;
        let fresh = self.received.is_none_or(|last| time > last);
        // The question may have been caused by a packet whose local address the driver did not know.
        let made_for = |path| self.hash(clear, path).is_some_and(|mac| mac.verify_slice(hash).is_ok());
        let genuine = made_for(path) || (path.local.is_some() && made_for(path.with_local(None)));
        let proved = timely && fresh && genuine;
        if proved {
            self.received = Some(time);
        }
        proved
    }
}

/// Whether a Ping Reply's message looks like a mobility check, genuine or not.
pub(in crate::session) fn is_check(message: &[u8]) -> bool {
    message.first() == Some(&MARK)
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use rand_core::SeedableRng as _;

    use super::Mobility;

    #[test]
    fn debug_output_hides_the_secret_of_the_checks() {
        let mobility = Mobility::new(&mut ChaCha20Rng::from_seed([1; 32]));
        let shown = alloc::format!("{mobility:?}");
        let secret = alloc::format!("{:?}", &mobility.secret[..8]);
        assert!(
            !shown.contains(secret.trim_matches(['[', ']'])) && !shown.contains(&alloc::format!("{}", mobility.epoch))
        );
    }
}
