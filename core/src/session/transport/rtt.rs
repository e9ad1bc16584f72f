//! Timestamps, their echoes, and the round-trip time and timeouts measured with them (RFC 7016 §3.5.2.2).

use core::time::Duration;

use crate::invariant::cannot_happen;
use crate::params::{ERTO_BACKOFF_CAP, ERTO_INIT, ERTO_MIN, MRTO_ALLOWANCE, MRTO_INIT, TIMESTAMP_ECHO_MAX_AGE};
use crate::time::{Instant, micros};

/// One tick of the packet header's clock (RFC 7016 §2.2.4).
const TICK: Duration = Duration::from_millis(4);
/// RFC 7016 §3.5.2.2: measurements of more ticks than this are invalid.
const MAX_RTT_TICKS: u16 = 32_767;

/// The timestamp fields of one packet, and the clock that stands behind them.
#[derive(Debug)]
pub(in crate::session) struct Rtt {
    /// Whether every packet bears a timestamp, and an echo if there is one. RFC 7016 §3.5.2.2 asks for them only when
    /// they have changed.
    every_packet: bool,
    /// TS_RX with TS_RX_TIME.
    received: Option<(u16, Instant)>,
    /// TS_ECHO_TX.
    echo_sent: Option<u16>,
    /// TS_TX.
    sent: Option<u16>,
    /// TS_ECHO_RX.
    echo_received: Option<u16>,
    srtt: Option<Duration>,
    /// The shortest measured on this path.
    min: Option<Duration>,
    rttvar: Duration,
    mrto: Duration,
    erto: Duration,
    far_backed_off: bool,
}

impl Rtt {
    pub(in crate::session) const fn new() -> Self {
        Self {
            every_packet: false,
            received: None,
            echo_sent: None,
            sent: None,
            echo_received: None,
            srtt: None,
            min: None,
            rttvar: Duration::ZERO,
            mrto: MRTO_INIT,
            erto: ERTO_INIT,
            far_backed_off: false,
        }
    }

    /// For peers that read a timestamp in every packet.
    pub(in crate::session) const fn stamping_every_packet() -> Self {
        Self { every_packet: true, ..Self::new() }
    }

    pub(in crate::session) const fn stamps_every_packet(&self) -> bool {
        self.every_packet
    }

    /// The timestamp for a packet that would have none, as it is not to measure its path.
    pub(in crate::session) fn obligatory_timestamp(&self, now: Instant) -> Option<u16> {
        self.every_packet.then(|| now.timestamp())
    }

    pub(in crate::session) const fn srtt(&self) -> Option<Duration> {
        self.srtt
    }

    /// How long the path takes there and back: what was measured, or else MRTO.
    pub(in crate::session) fn round_trip(&self) -> Duration {
        self.srtt.unwrap_or(self.mrto)
    }

    pub(in crate::session) const fn rttvar(&self) -> Duration {
        self.rttvar
    }

    pub(in crate::session) const fn mrto(&self) -> Duration {
        self.mrto
    }

    /// The shortest round trip on this path. The clock's ticks make it shorter than it was by less than one of them, or
    /// longer.
    pub(in crate::session) fn min_rtt(&self) -> Option<Duration> {
        self.min.map(|min| min.saturating_sub(TICK))
    }

    pub(in crate::session) const fn erto(&self) -> Duration {
        self.erto
    }

    /// The timestamp and the echo for a packet to be sent now: each only if it differs from the last sent, unless
    /// every packet is stamped.
    pub(in crate::session) fn fields(&mut self, now: Instant) -> (Option<u16>, Option<u16>) {
        let timestamp = Some(now.timestamp()).filter(|_| self.every_packet || self.sent != Some(now.timestamp()));
        let mut echo = None;
        if let Some((received, at)) = self.received {
            let elapsed = now.saturating_duration_since(at);
            if elapsed > TIMESTAMP_ECHO_MAX_AGE {
                self.received = None;
                self.echo_sent = None;
            } else {
                let ticks = elapsed.as_micros() / TICK.as_micros();
                let ticks = u16::try_from(ticks);
                let ticks = ticks.unwrap_or_else(|_| cannot_happen!(u16::MAX, "the age is at most 32,000 ticks"));
                let advanced = received.wrapping_add(ticks);
                echo = Some(advanced).filter(|_| self.every_packet || self.echo_sent != Some(advanced));
            }
        }
        (timestamp, echo)
    }

    /// The packet with those fields is really sent.
    pub(in crate::session) fn sent(&mut self, (timestamp, echo): (Option<u16>, Option<u16>)) {
        self.sent = timestamp.or(self.sent);
        self.echo_sent = echo.or(self.echo_sent);
    }

    /// A packet with these fields came.
    pub(in crate::session) fn received(&mut self, now: Instant, timestamp: Option<u16>, echo: Option<u16>) {
        if let Some(timestamp) = timestamp
            && self.received.is_none_or(|(last, _)| last != timestamp)
        {
            self.received = Some((timestamp, now));
        }
        if let Some(echo) = echo
            && self.echo_received != Some(echo)
        {
            self.echo_received = Some(echo);
            let ticks = now.timestamp().wrapping_sub(echo);
            if ticks <= MAX_RTT_TICKS {
                self.sample(TICK * u32::from(ticks));
            }
        }
    }

    fn sample(&mut self, rtt: Duration) {
        self.min = Some(self.min.map_or(rtt, |min| min.min(rtt)));
        match self.srtt {
            Some(srtt) => {
                self.rttvar = (3 * self.rttvar + srtt.abs_diff(rtt)) / 4;
                self.srtt = Some((7 * srtt + rtt) / 8);
            }
            None => {
                self.rttvar = rtt / 2;
                self.srtt = Some(rtt);
            }
        }
        self.mrto = self.srtt.unwrap_or(rtt) + 4 * self.rttvar + MRTO_ALLOWANCE;
        self.set_erto(self.mrto.max(ERTO_MIN));
    }

    fn set_erto(&mut self, erto: Duration) {
        self.erto = erto;
        // Twice the square root of two, less a little for rounding.
        self.far_backed_off = self.srtt.is_some() && erto * 100 >= self.mrto.max(ERTO_MIN) * 199;
    }

    /// By when an answer that is not delayed has come: the timeout without its allowance for delayed acknowledgements,
    /// or all of it while nothing was measured.
    pub(in crate::session) fn prompt_answer(&self) -> Duration {
        self.srtt.map_or(self.erto, |_| self.mrto.saturating_sub(MRTO_ALLOWANCE))
    }

    /// By when an answer that is not delayed has come over a path without queues: the shortest round trip, and a quarter
    /// for packets that overtake each other (RFC 8985 §6.2.1); or the timeout while nothing was measured.
    pub(in crate::session) fn idle_answer(&self) -> Duration {
        self.min.map_or(self.erto, |min| min + min / 4 + TICK)
    }

    /// A retransmission timeout, or a ping unanswered for ERTO (RFC 7016 §3.5.4.1).
    pub(in crate::session) fn back_off(&mut self) {
        // RFC 7016 §3.5.2.2: times 1.4142, in whole microseconds; capped, but never below MRTO.
        let micros = micros(self.erto).saturating_mul(14_142) / 10_000;
        self.set_erto(Duration::from_micros(micros).min(ERTO_BACKOFF_CAP).max(self.mrto));
    }

    /// The outage is over: the timeout is what was measured before it.
    pub(in crate::session) fn end_back_off(&mut self) {
        if self.srtt.is_some() {
            self.set_erto(self.mrto.max(ERTO_MIN));
        }
    }

    /// The timeout was backed off twice or more since anything was heard.
    pub(in crate::session) const fn is_far_backed_off(&self) -> bool {
        self.far_backed_off
    }

    /// Nothing was measured yet, and the timeout was backed off twice or more.
    pub(in crate::session) fn is_unanswered(&self) -> bool {
        self.srtt.is_none() && self.erto * 100 >= ERTO_INIT * 199
    }

    /// The path changed: what was measured on the old one says nothing of the new. The far end's clock goes on.
    pub(in crate::session) fn on_path_change(&mut self) {
        *self = Self {
            every_packet: self.every_packet,
            received: self.received,
            echo_sent: self.echo_sent,
            sent: self.sent,
            ..Self::new()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn timestamps_and_echoes_go_out_only_when_they_change() {
        let mut rtt = Rtt::new();
        let fields = rtt.fields(at(400));
        assert_eq!(fields, (Some(100), None), "no echo before a timestamp was received");
        rtt.sent(fields);
        assert_eq!(rtt.fields(at(403)), (None, None));
        rtt.received(at(403), Some(7), None);
        let fields = rtt.fields(at(403));
        assert_eq!(fields, (None, Some(7)));
        rtt.sent(fields);
        assert_eq!(rtt.fields(at(406)), (Some(101), None), "3 ms are no whole tick");
        assert_eq!(rtt.fields(at(407)), (Some(101), Some(8)));
        rtt.received(at(407), Some(7), None);
        assert_eq!(rtt.fields(at(411)), (Some(102), Some(9)), "the same timestamp again does not restart its age");
    }

    #[test]
    fn every_packet_is_stamped_for_those_who_read_a_timestamp_in_each() {
        let mut rtt = Rtt::stamping_every_packet();
        let fields = rtt.fields(at(400));
        rtt.sent(fields);
        assert_eq!(rtt.fields(at(400)), (Some(100), None));
        rtt.received(at(400), Some(7), None);
        let fields = rtt.fields(at(400));
        rtt.sent(fields);
        assert_eq!(rtt.fields(at(400)), (Some(100), Some(7)));
        rtt.on_path_change();
        assert_eq!(rtt.fields(at(400)), (Some(100), Some(7)), "on another path, too");
    }

    #[test]
    fn fields_that_were_not_sent_are_offered_again() {
        let mut rtt = Rtt::new();
        rtt.received(at(0), Some(7), None);
        assert_eq!(rtt.fields(at(400)), rtt.fields(at(400)));
    }

    #[test]
    fn an_echo_is_sent_up_to_128_seconds_of_age_and_not_later() {
        let mut rtt = Rtt::new();
        rtt.received(at(0), Some(65_000), None);
        assert_eq!(rtt.fields(at(128_000)).1, Some(65_000_u16.wrapping_add(32_000)));
        assert_eq!(rtt.fields(at(128_001)).1, None);
        assert_eq!(rtt.fields(at(128_000)).1, None, "it was forgotten for good");
        rtt.received(at(129_000), Some(65_000), None);
        assert_eq!(rtt.fields(at(129_000)).1, Some(65_000));
    }

    #[test]
    fn figures_of_the_first_and_second_measurement() {
        let mut rtt = Rtt::new();
        assert_eq!((rtt.mrto(), rtt.erto()), (Duration::from_millis(250), Duration::from_secs(3)));
        rtt.received(at(1_100), None, Some(at(1_000).timestamp()));
        assert_eq!(rtt.srtt(), Some(Duration::from_millis(100)));
        assert_eq!(rtt.rttvar(), Duration::from_millis(50));
        assert_eq!((rtt.mrto(), rtt.erto()), (Duration::from_millis(500), Duration::from_millis(500)));
        rtt.received(at(1_180), None, Some(at(1_000).timestamp()));
        assert_eq!(rtt.srtt(), Some(Duration::from_millis(100)), "the same echo again measures nothing");
        rtt.received(at(2_180), None, Some(at(2_000).timestamp()));
        assert_eq!(rtt.srtt(), Some(Duration::from_millis(110)));
        assert_eq!(rtt.rttvar(), Duration::from_micros(57_500));
        assert_eq!(rtt.erto(), Duration::from_millis(540));
    }

    #[test]
    fn erto_is_at_least_250_ms_and_echoes_from_the_future_are_discarded() {
        let mut rtt = Rtt::new();
        rtt.received(at(1_000), None, Some(at(1_000).timestamp()));
        assert_eq!((rtt.mrto(), rtt.erto()), (Duration::from_millis(200), Duration::from_millis(250)));
        rtt.received(at(2_000), None, Some(at(2_004).timestamp()));
        assert_eq!(rtt.srtt(), Some(Duration::ZERO));
        rtt.received(at(200_000), None, Some(at(200_000).timestamp().wrapping_sub(32_767)));
        assert_eq!(rtt.srtt(), Some(TICK * 32_767 / 8));
    }

    #[test]
    fn backoff_grows_by_1_4142_up_to_ten_seconds_but_never_below_mrto() {
        let mut rtt = Rtt::new();
        let mut steps = alloc::vec::Vec::new();
        for _ in 0..5 {
            rtt.back_off();
            steps.push(rtt.erto().as_micros());
        }
        assert_eq!(steps, [4_242_600, 5_999_884, 8_485_035, 10_000_000, 10_000_000]);
        rtt.received(at(131_000), None, Some(at(131_000).timestamp().wrapping_sub(5_000)));
        assert_eq!(rtt.mrto(), Duration::from_millis(60_200));
        rtt.back_off();
        assert_eq!(rtt.erto(), Duration::from_millis(60_200));
    }
}
