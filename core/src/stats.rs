//! Counters, as plain data.

use core::time::Duration;

use crate::error::DropReason;

/// Counters of an endpoint since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Datagrams handed in.
    pub datagrams_received: u64,
    /// Datagrams given out.
    pub datagrams_sent: u64,
    /// Bytes handed in, UDP payload.
    pub bytes_received: u64,
    /// Bytes given out, UDP payload.
    pub bytes_sent: u64,
    /// Dropped: shorter than any packet.
    pub dropped_too_short: u64,
    /// Dropped: for no session here.
    pub dropped_unknown_session: u64,
    /// Dropped: failed the integrity test.
    pub dropped_not_authentic: u64,
    /// Dropped: a keying without a protection that is required here.
    pub protection_refused: u64,
    /// Dropped: received before.
    pub dropped_replayed: u64,
    /// Dropped: forbidden or wrong packet mode.
    pub dropped_wrong_mode: u64,
    /// Packets or chunks that did not follow the syntax.
    pub malformed: u64,
    /// Packets or chunks that the state had no use for.
    pub unexpected: u64,
    /// Packets or chunks over a limit.
    pub over_limit: u64,
    /// Sessions that reached S_OPEN.
    pub sessions_opened: u64,
    /// Sessions begun here that failed to open.
    pub sessions_failed: u64,
}

/// Counters and measurements of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct SessionStats {
    /// Packets received and authentic.
    pub packets_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Bytes of datagrams received.
    pub bytes_received: u64,
    /// Bytes of datagrams sent.
    pub bytes_sent: u64,
    /// Fragments found lost by negative acknowledgement.
    pub fragments_lost: u64,
    /// Retransmission timeouts that found something lost.
    pub timeouts: u64,
    /// Times that the congestion window was made smaller: for losses, for congestion marks, or by a timeout. Losses that
    /// turn out to be none (RFC 4015) have counted.
    pub congestion_events: u64,
    /// Smoothed round-trip time, once measured (RFC 7016 §3.5.2.2).
    pub srtt: Option<Duration>,
    /// Round-trip time variance.
    pub rttvar: Duration,
    /// Effective retransmission timeout.
    pub erto: Duration,
    /// Congestion window in bytes.
    pub cwnd: u64,
    /// Slow start threshold in bytes; `u64::MAX` while unset.
    pub ssthresh: u64,
    /// Bytes of user data a second that an encoder may be set to, all flows together. None until the round trip is measured.
    ///
    /// What the congestion controller allows
    /// ([`Controller::target_rate`](crate::congestion::Controller::target_rate)) or
    /// [`max_rate`](crate::SessionConfig::max_rate), whichever is less. A sixteenth is taken off, so that what waits in
    /// the send buffer drains. It is not what was delivered lately: it does not fall because less is sent.
    ///
    /// The default controller goes by the most that the path has delivered lately. It allows twice that until the path was
    /// full once. Then it allows as much as that, and a quarter more while it tries for more, which lasts until as much is
    /// sent. What is sent in bursts counts at the rate of a burst. The other controllers allow more while at least half of it
    /// is used. That is up to about twice what is sent (RFC 7661). Those of `Rfc7016` and `Cubic` begin anew after a time
    /// with nothing to send (RFC 5681 §4.1).
    ///
    /// Retransmissions count in it. The far end's receive window may allow less.
    ///
    /// A round trip counts as 4 ms at least, the resolution of the protocol's timestamps, so on shorter paths more is possible.
    ///
    /// Of a session that is [watched](crate::SessionMut::watch), it stays as it was until it is more than an eighth larger
    /// or a sixteenth smaller.
    pub target_rate: Option<u64>,
    /// Bytes of user data a second that data is spread to: the rate of the congestion controller, or
    /// [`max_rate`](crate::SessionConfig::max_rate) if that is less. None if there is neither.
    pub pacing_rate: Option<u64>,
    /// What the congestion controller is about, in a few words: [`Controller::phase`](crate::congestion::Controller::phase).
    pub congestion_phase: &'static str,
    /// User data in flight in bytes (RFC 7016 §3.5, S_OUTSTANDING_BYTES).
    pub outstanding: u64,
    /// Packets received with a Congestion Experienced mark.
    pub ecn_ce_received: u64,
    /// Whether marks on packets of this end arrive at the far end: its reports tell, or too many acknowledgements came
    /// without one. It is about the last path. None while neither is so, or if nothing is marked.
    pub ecn_arrives: Option<bool>,
    /// The largest datagram (UDP payload, bytes) that the path is known to carry (RFC 7016 §3.5.4.3).
    pub datagram: usize,
}

/// Counters of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FlowStats {
    /// Messages written, or delivered to the reader.
    pub messages: u64,
    /// Bytes of those messages.
    pub bytes: u64,
    /// Fragments sent again, or received again.
    pub repeated: u64,
    /// Messages abandoned, or gaps told to the reader.
    pub abandoned: u64,
    /// Bytes buffered now; of a receiving flow with what it takes to keep track of them.
    pub buffered: usize,
    /// What of them was never sent; 0 of a receiving flow.
    pub unsent: usize,
    /// The receive window in bytes: of a sending flow what the far end advertised last, of a receiving flow what may be
    /// buffered at present (RFC 7016 §3.6.3, BUFFER_CAPACITY).
    pub window: u64,
}

impl EndpointStats {
    /// How many datagrams, packets or chunks were not used for this reason.
    #[must_use]
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        match reason {
            DropReason::TooShort => self.dropped_too_short,
            DropReason::UnknownSession => self.dropped_unknown_session,
            DropReason::NotAuthentic => self.dropped_not_authentic,
            DropReason::ProtectionRefused => self.protection_refused,
            DropReason::Replayed => self.dropped_replayed,
            DropReason::WrongMode => self.dropped_wrong_mode,
            DropReason::Malformed => self.malformed,
            DropReason::Unexpected => self.unexpected,
            DropReason::OverLimit => self.over_limit,
        }
    }

    /// The reasons for which anything was dropped, and how often.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().map(|reason| (reason, self.dropped(reason))).filter(|(_, count)| *count > 0)
    }

    /// Counts a packet or chunk that was not used.
    pub(crate) const fn count(&mut self, reason: DropReason) {
        let counter = match reason {
            DropReason::TooShort => &mut self.dropped_too_short,
            DropReason::UnknownSession => &mut self.dropped_unknown_session,
            DropReason::NotAuthentic => &mut self.dropped_not_authentic,
            DropReason::ProtectionRefused => &mut self.protection_refused,
            DropReason::Replayed => &mut self.dropped_replayed,
            DropReason::WrongMode => &mut self.dropped_wrong_mode,
            DropReason::Malformed => &mut self.malformed,
            DropReason::Unexpected => &mut self.unexpected,
            DropReason::OverLimit => &mut self.over_limit,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let mut stats = EndpointStats::default();
        assert_eq!(stats.drops().count(), 0);
        for (before, reason) in DropReason::ALL.into_iter().enumerate() {
            for _ in 0..=before {
                stats.count(reason);
            }
        }
        let counts: alloc::vec::Vec<_> = stats.drops().collect();
        assert!(counts.iter().map(|(_, count)| *count).eq(1..=9), "{counts:?}");
        let names: alloc::collections::BTreeSet<_> = counts.iter().map(|(reason, _)| reason.name()).collect();
        assert_eq!(names.len(), 9);
    }
}
