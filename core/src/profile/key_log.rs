//! Telling the keys of sessions, so that a packet analyser can read a capture of them.

use alloc::string::String;
use core::fmt::{Debug, Write as _};

/// Where a profile tells the keys of its sessions, if asked to: [`flash::Builder::key_log`],
/// [`modern::Builder::key_log`].
///
/// Whoever has a line can read every packet of the session, and forge packets while it lasts. So a key log is for
/// finding faults, on captures whose content may be known.
///
/// # Format
/// A line of ASCII for each session, its fields separated by single spaces. A session of the
/// [Flash profile](super::flash):
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
/// A session of the [modern profile](super::modern):
///
/// ```text
/// RTMFP_MODERN <session> <cipher> H <header> I <secret> R <secret>
/// ```
///
/// | field | |
/// |---|---|
/// | `session` | as above |
/// | `cipher` | the number of the cipher: 1, 2 or 3 |
/// | `header` | the header key: 64 hexadecimal digits |
/// | after `I` | the first traffic secret of the session's initiator: 64 hexadecimal digits |
/// | after `R` | the first traffic secret of its responder: 64 hexadecimal digits |
///
/// The specification of that profile says how keys are made of them.
///
/// Packets name a session by its receiver's session ID. Who reads a capture learns both IDs from RIKeying: its packet
/// goes to the initiator's ID, and its payload has the responder's. Startup packets need no line, since the Default
/// Session Key is public (RFC 7016 §2.2.3). Readers skip lines that begin with `#` or with another word.
///
/// [`flash::Builder::key_log`]: super::flash::Builder::key_log
/// [`modern::Builder::key_log`]: super::modern::Builder::key_log
pub trait KeyLog: Debug + Send + Sync {
    /// Takes the line of one session, without a line end. It comes with each key agreement, also with those whose
    /// session does not open, and from any thread that computes one. It must not panic: what computes the agreement
    /// would not be able to go on.
    fn log(&self, line: &str);
}

/// Appends bytes as hexadecimal digits.
pub(super) fn put_hex(bytes: &[u8], line: &mut String) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(line, "{byte:02x}");
    }
}
