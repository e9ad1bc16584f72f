//! Telling the keys of sessions, so that a packet analyser can read a capture of them.

use alloc::string::String;
use core::fmt::{Debug, Write as _};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::derive::Derived;
use super::negotiation::Negotiated;

/// Where a [`FlashProfile`](super::FlashProfile) tells the keys of its sessions, if
/// [asked to](super::Builder::key_log).
///
/// Whoever has a line can read every packet of the session, and forge packets while it lasts. So a key log is for
/// finding faults, on captures whose content may be known.
///
/// # Format
/// A line of ASCII for each session, its fields separated by single spaces:
///
/// ```text
/// RTMFP_SESSION <session> I <key> <hmac> <sequence> R <key> <hmac> <sequence>
/// ```
///
/// | field | |
/// |---|---|
/// | `session` | SHA-256 of the Session Key Responder Component, as RIKeying carries it (RFC 7016 §2.3.8): 64 hexadecimal digits |
/// | after `I` | how packets of the session's initiator are protected |
/// | after `R` | how packets of its responder are protected |
/// | `key` | the AES-128 key (RFC 7425 §4.6.3): 32 hexadecimal digits |
/// | `hmac` | the length of the HMAC in bytes, `:`, and the HMAC key (RFC 7425 §4.6.4) as 64 hexadecimal digits; `-` if packets have the simple checksum |
/// | `sequence` | `seq` if packets have a session sequence number (RFC 7425 §4.6.6), else `-` |
///
/// Packets name a session by its receiver's session ID. Who reads a capture learns both IDs from RIKeying: its packet
/// goes to the initiator's ID, and its payload has the responder's. Startup packets need no line, since the Default
/// Session Key is public (RFC 7425 §4.1). Readers skip lines that begin with `#` or with another word.
pub trait KeyLog: Debug + Send + Sync {
    /// Takes the line of one session, without a line end. It comes with each key agreement, also with those whose
    /// session does not open, and from any thread that computes one. It must not panic: what computes the agreement
    /// would not be able to go on.
    fn log(&self, line: &str);
}

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

fn put_hex(bytes: &[u8], line: &mut String) {
    for byte in bytes {
        let _ = write!(line, "{byte:02x}");
    }
}
