//! The responder's cookies (RFC 7016 §3.5.1.1.2, §3.5.1.2): all that is remembered of a hello, and the initiator
//! keeps it for us.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use rand_core::CryptoRng;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::params::COOKIE_LIFETIME;
use crate::time::Instant;

/// Length of a cookie: librtmfp takes no other.
pub(super) const COOKIE_LEN: usize = 64;
const TIME_LEN: usize = 8;
const ISSUER_LEN: usize = 24;

/// What an echoed cookie proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CookieCheck {
    /// Made here, for this address, not long ago: then.
    Valid(Instant),
    /// Made here not long ago, but for another address (§3.5.1.2).
    OtherAddress,
    /// Not made here, or too old.
    Invalid,
}

/// The secrets that cookies are made with: one for new cookies, and the one before it.
///
/// A cookie is `time | HMAC(secret, 'i' | time) | HMAC(secret, 'a' | time | address)`: the middle part proves who
/// made it whatever the address, so that a changed address can be told from a forgery. The time has a random origin, so
/// that it does not tell how long this end has run.
pub(super) struct Cookies {
    current: Secret,
    previous: Option<Secret>,
    /// What is added to the time, in microseconds.
    epoch: u64,
}

impl core::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Cookies")
            .field("current", &self.current)
            .field("previous", &self.previous)
            .finish_non_exhaustive()
    }
}

struct Secret {
    key: Zeroizing<[u8; 32]>,
    since: Instant,
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Secret").field("since", &self.since).finish_non_exhaustive()
    }
}

impl Secret {
    fn new(now: Instant, rng: &mut dyn CryptoRng) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(key.as_mut());
        Self { key, since: now }
    }

    fn tag(&self, label: u8, time: &[u8], address: Option<SocketAddr>) -> [u8; 32] {
        // A key of any length is a key of HMAC.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.as_ref()) else { return [0; 32] };
        mac.update(&[label]);
        mac.update(time);
        if let Some(address) = address {
            match address.ip() {
                IpAddr::V4(ip) => mac.update(&ip.octets()),
                IpAddr::V6(ip) => mac.update(&ip.octets()),
            }
            mac.update(&address.port().to_be_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    fn make(&self, time: [u8; TIME_LEN], address: SocketAddr) -> [u8; COOKIE_LEN] {
        let mut cookie = [0; COOKIE_LEN];
        let parts = time.into_iter().chain(self.tag(b'i', &time, None).into_iter().take(ISSUER_LEN));
        for (byte, value) in cookie.iter_mut().zip(parts.chain(self.tag(b'a', &time, Some(address)))) {
            *byte = value;
        }
        cookie
    }
}

impl Cookies {
    pub(super) fn new(now: Instant, rng: &mut dyn CryptoRng) -> Self {
        Self { current: Secret::new(now, rng), previous: None, epoch: rng.next_u64() }
    }

    /// A cookie for the initiator at `address`.
    pub(super) fn issue(&mut self, now: Instant, address: SocketAddr, rng: &mut dyn CryptoRng) -> [u8; COOKIE_LEN] {
        // A secret makes cookies for one lifetime and proves them for another.
        if now.saturating_duration_since(self.current.since) >= COOKIE_LIFETIME {
            let fresh = Secret::new(now, rng);
            self.previous = Some(core::mem::replace(&mut self.current, fresh));
        }
        self.current.make(now.as_micros().wrapping_add(self.epoch).to_be_bytes(), address)
    }

    /// What a cookie echoed from `address` proves.
    pub(super) fn check(&self, now: Instant, address: SocketAddr, cookie: &[u8]) -> CookieCheck {
        let Some((time, tags)) = cookie.split_at_checked(TIME_LEN) else { return CookieCheck::Invalid };
        let (Ok(micros), COOKIE_LEN) = (time.try_into().map(u64::from_be_bytes), cookie.len()) else {
            return CookieCheck::Invalid;
        };
        let made = Instant::from_micros(micros.wrapping_sub(self.epoch));
        if made > now || now.saturating_duration_since(made) > COOKIE_LIFETIME {
            return CookieCheck::Invalid;
        }
        let (issuer, bound) = tags.split_at(ISSUER_LEN.min(tags.len()));
        for secret in [Some(&self.current), self.previous.as_ref()].into_iter().flatten() {
            let expected = secret.tag(b'i', time, None);
            if bool::from(expected.get(..ISSUER_LEN).unwrap_or_default().ct_eq(issuer)) {
                let same_address = secret.tag(b'a', time, Some(address)).ct_eq(bound);
                return if bool::from(same_address) { CookieCheck::Valid(made) } else { CookieCheck::OtherAddress };
            }
        }
        CookieCheck::Invalid
    }
}

// §3.5.1.1.2: the lifetime SHOULD NOT be less than 95 s.
const _: () = assert!(COOKIE_LIFETIME.as_secs() >= Duration::from_secs(95).as_secs());

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::ChaCha20Rng;
    use rand_core::SeedableRng;

    fn setup() -> (Cookies, ChaCha20Rng, SocketAddr, SocketAddr) {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let cookies = Cookies::new(Instant::from_millis(5), &mut rng);
        (cookies, rng, "192.0.2.1:1935".parse().unwrap(), "192.0.2.1:1936".parse().unwrap())
    }

    #[test]
    fn a_cookie_is_good_for_its_address_for_its_lifetime_across_a_change_of_secret() {
        let (mut cookies, mut rng, here, there) = setup();
        // Issued just before the secret is old enough to be replaced.
        let issued = Instant::from_millis(5 + 94_000);
        let cookie = cookies.issue(issued, here, &mut rng);
        let late = issued + COOKIE_LIFETIME;
        cookies.issue(late - Duration::from_secs(1), there, &mut rng);
        assert!(cookies.previous.is_some());
        assert_eq!(cookies.check(late, here, &cookie), CookieCheck::Valid(issued));
        assert_eq!(cookies.check(late, there, &cookie), CookieCheck::OtherAddress);
        assert_eq!(cookies.check(late + Duration::from_micros(1), here, &cookie), CookieCheck::Invalid);
    }

    /// Whoever asks for a cookie knows when it was made, and how long after another.
    #[test]
    fn a_cookie_does_not_tell_how_long_this_end_has_run() {
        let time_in = |seed, millis| {
            let mut rng = ChaCha20Rng::from_seed([seed; 32]);
            let (now, here) = (Instant::from_millis(millis), "192.0.2.1:1935".parse().unwrap());
            let cookie = Cookies::new(Instant::ORIGIN, &mut rng).issue(now, here, &mut rng);
            u64::from_be_bytes(cookie[..TIME_LEN].try_into().unwrap())
        };
        // The first eight bits of a microsecond count stay zero for 2,000 years.
        let young: alloc::collections::BTreeSet<u64> = (0..32).map(|seed| time_in(seed, 1) >> 56).collect();
        let old: alloc::collections::BTreeSet<u64> = (32..64).map(|seed| time_in(seed, 1_000_000) >> 56).collect();
        assert!(young.len() > 16 && old.len() > 16, "{young:?} {old:?}");
        assert_eq!(time_in(1, 7).wrapping_sub(time_in(1, 5)), 2_000);
    }

    #[test]
    fn a_cookie_from_the_future_or_with_any_bit_flipped_is_no_cookie() {
        let (mut cookies, mut rng, here, _) = setup();
        let now = Instant::from_millis(50);
        let cookie = cookies.issue(now, here, &mut rng);
        assert_eq!(cookies.check(now - Duration::from_micros(1), here, &cookie), CookieCheck::Invalid);
        for bit in 0..COOKIE_LEN * 8 {
            let mut forged = cookie;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(cookies.check(now, here, &forged), CookieCheck::Valid(_)), "bit {bit}");
        }
        for len in 0..COOKIE_LEN {
            assert_eq!(cookies.check(now, here, &cookie[..len]), CookieCheck::Invalid);
        }
    }
}
