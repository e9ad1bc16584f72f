//! The line of a key log for one session.

use alloc::string::String;
use core::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::derive::Derived;
use super::negotiation::Negotiated;
use crate::profile::key_log::put_hex;

/// Which part the near end plays in a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NearEnd {
    Initiator,
    Responder,
}

/// The line of a session. Wiped when dropped.
pub(super) fn line(
    near: NearEnd,
    responder_component: &[u8],
    derived: &Derived,
    negotiated: Negotiated,
) -> Zeroizing<String> {
    let sent = Direction {
        key: &derived.encrypt_key,
        hmac: negotiated.send_hmac.map(|length| (length, &derived.hmac_send_key)),
        sequence: negotiated.send_sequence,
    };
    let received = Direction {
        key: &derived.decrypt_key,
        hmac: negotiated.recv_hmac.map(|length| (length, &derived.hmac_recv_key)),
        sequence: negotiated.recv_sequence,
    };
    let (initiator, responder) = match near {
        NearEnd::Initiator => (sent, received),
        NearEnd::Responder => (received, sent),
    };
    // Longer than any line: what a string leaves behind when it grows is not wiped.
    let mut line = Zeroizing::new(String::with_capacity(512));
    line.push_str("RTMFP_SESSION ");
    put_hex(&Sha256::digest(responder_component), &mut line);
    line.push_str(" I ");
    initiator.put(&mut line);
    line.push_str(" R ");
    responder.put(&mut line);
    line
}

/// How the packets that one end sends are protected.
struct Direction<'a> {
    key: &'a [u8; 32],
    hmac: Option<(usize, &'a [u8; 32])>,
    sequence: bool,
}

impl Direction<'_> {
    fn put(&self, line: &mut String) {
        put_hex(&*Zeroizing::new(Derived::aes_key(self.key)), line);
        line.push(' ');
        match self.hmac {
            Some((length, key)) => {
                // Writing to a string does not fail.
                let _ = write!(line, "{length}:");
                put_hex(key, line);
            }
            None => line.push('-'),
        }
        line.push_str(if self.sequence { " seq" } else { " -" });
    }
}
