//! Congestion control behind one small trait: facts in, a window out (RFC 7016 §3.5.2).

mod rfc7016;

use alloc::boxed::Box;
use core::fmt::Debug;

/// What one received packet told about data in flight, after all its chunks (RFC 7016 appendix A.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PacketFacts {
    /// S_OUTSTANDING_BYTES before any acknowledgement of the packet was processed.
    pub(crate) pre_ack_outstanding: u64,
    /// Bytes that the packet acknowledged.
    pub(crate) acked_bytes: u64,
    /// The packet held an acknowledgement chunk.
    pub(crate) any_acks: bool,
    /// A negative acknowledgement was detected.
    pub(crate) any_naks: bool,
    /// A fragment was declared lost (or a congestion mark reported).
    pub(crate) any_loss: bool,
    /// Bytes declared lost.
    pub(crate) lost_bytes: u64,
    /// Bytes of spurious losses (RFC 4015): declared lost with the packet of the last [cut](Reaction::Cut) or since, and
    /// acknowledged after all.
    pub(crate) spurious_bytes: u64,
    /// A congestion mark was reported.
    pub(crate) any_mark: bool,
    /// Bytes in flight after the packet.
    pub(crate) outstanding: u64,
    /// The most bytes of chunks that a packet to the far end carries now; 0 if that is not known.
    pub(crate) segment: u64,
}

/// The time critical state that growth depends on (RFC 7016 §3.5.2.1, appendix A.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimeCritical {
    /// TC_SENT: a time critical packet was sent in this session within the last 800 ms.
    pub(crate) sent_here: bool,
    /// FASTGROW_ALLOWED: no reverse notification was received in this session, and no time critical packet sent in
    /// any, within the last 800 ms.
    pub(crate) fast_grow: bool,
}

impl TimeCritical {
    /// Whether the session yields to data that is time critical elsewhere.
    pub(crate) const fn yields(self) -> bool {
        !self.fast_grow && !self.sent_here
    }
}

/// What a controller made of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reaction {
    /// The losses that it reported made the window smaller.
    Cut,
    /// Anything else.
    Other,
}

/// A congestion controller: decides the transmission budget of one session.
pub(crate) trait Controller: Debug + Send {
    /// A packet of the far end was processed.
    fn on_packet(&mut self, facts: &PacketFacts, time_critical: TimeCritical) -> Reaction;
    /// TIMEOUT_ALARM fired (RFC 7016 §3.6.2.6).
    fn on_timeout(&mut self, was_loss: bool);
    /// The path changed: what was learned of the old one says nothing of the new.
    fn on_path_change(&mut self);
    /// The congestion window in bytes: data may be sent while less than this is outstanding.
    fn window(&self) -> u64;
    /// The slow start threshold in bytes, `u64::MAX` while unset.
    fn ssthresh(&self) -> u64;
}

/// The controller of a new session. `smss`: about how many bytes of chunks a packet carries on any
/// path, before the keys tell how much of it they take.
pub(crate) fn new_controller(smss: u64) -> Box<dyn Controller> {
    Box::new(rfc7016::Rfc7016::new(smss))
}
