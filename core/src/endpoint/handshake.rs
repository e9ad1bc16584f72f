//! Startup (RFC 7016 §3.5.1): what initiator and responder keep beside the sessions themselves.

use alloc::vec::Vec;

use super::cookie::Cookies;
use super::fragments::{PacketKey, Reassembly};
use super::jobs::Agreements;
use super::limits::SharedRate;
use super::reintroduce::Forwards;
use super::shared::Shared;
use crate::error::DropReason;
use crate::wire::PacketFragment;

/// The state of the handshake. Its parts: `initiator`, `keying`, `responder`.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) cookies: Cookies,
    /// Key agreements that peers cause, in units of work.
    pub(super) keying_limits: SharedRate,
    pub(super) reassembly: Reassembly,
    pub(super) agreements: Agreements,
    pub(super) forwards: Forwards,
}

impl Handshake {
    /// The packets that a fragment completes (§3.4).
    pub(super) fn reassemble(
        &mut self,
        shared: &mut Shared,
        key: PacketKey,
        fragment: &PacketFragment<'_>,
    ) -> Result<Vec<Vec<u8>>, DropReason> {
        let whole = self.reassembly.add(shared.now, key, fragment);
        for _ in 0..self.reassembly.take_evicted() {
            shared.count(DropReason::OverLimit);
        }
        whole
    }
}
