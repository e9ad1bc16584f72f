//! The line of a key log for one session.

use alloc::format;
use alloc::string::String;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::provider::Cipher;
use super::schedule::Schedule;
use crate::profile::key_log::put_hex;

/// The line of a session. Wiped when dropped.
pub(super) fn line(responder_component: &[u8], cipher: Cipher, schedule: &Schedule) -> Zeroizing<String> {
    // Longer than any line: what a string leaves behind when it grows is not wiped.
    let mut line = Zeroizing::new(String::with_capacity(512));
    line.push_str("RTMFP_MODERN ");
    put_hex(&Sha256::digest(responder_component), &mut line);
    line.push_str(&format!(" {} H ", cipher.id()));
    put_hex(&*schedule.header, &mut line);
    line.push_str(" I ");
    put_hex(&*schedule.initiator, &mut line);
    line.push_str(" R ");
    put_hex(&*schedule.responder, &mut line);
    line
}
