//! When acknowledgements are due: ACK_NOW, RX_DATA_PACKETS and DELACK_ALARM (RFC 7016 §3.6.3.2, §3.6.3.4).

use crate::params::ACK_EVERY_PACKETS;

/// The session's acknowledgement state. DELACK_ALARM itself is one of the session's timers.
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// ACK_NOW.
    now: bool,
    /// RX_DATA_PACKETS.
    data_packets: u32,
}

impl Acks {
    pub(super) const fn is_now(&self) -> bool {
        self.now
    }

    pub(super) fn set_now(&mut self) {
        self.now = true;
    }

    /// A packet with at least one User Data chunk was processed (RFC 7016 §3.6.3.2).
    pub(super) fn on_data_packet(&mut self) {
        self.data_packets = self.data_packets.saturating_add(1);
        self.now |= self.data_packets >= ACK_EVERY_PACKETS;
    }

    /// No receiving flow has anything to acknowledge (RFC 7016 §3.6.3.4.5, step 2; §3.6.3.4.6, step 6).
    pub(super) fn all_sent(&mut self) {
        *self = Self::default();
    }
}
