//! Congestion control: facts in, a window and a rate out (RFC 7016 §3.5.2).
//!
//! A [`Controller`] is asked for nothing but numbers. What is in flight, what is lost, and when a packet may go, is the
//! session's to know. [`CongestionControl`] chooses one for each session:
//!
//! | | looks at | paced |
//! |---|---|---|
//! | [`Rfc7016`](CongestionControl::Rfc7016) | loss | no |
//! | [`Cubic`](CongestionControl::Cubic) | loss, and the round trip in slow start | yes |
//! | [`Bbr`](CongestionControl::Bbr) | rate of delivery, shortest round trip | yes |
//! | [`Media`](CongestionControl::Media) | queueing delay, marks, much loss | yes |
//! | [`Custom`](CongestionControl::Custom) | what you like | as you like |

mod bbr;
mod cubic;
mod cuts;
mod max_filter;
mod media;
mod rfc7016;
mod rounds;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt::Debug;
use core::time::Duration;

use crate::time::Instant;

/// What one received packet told about data in flight, after all its chunks (RFC 7016 appendix A.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PacketFacts {
    /// S_OUTSTANDING_BYTES before any acknowledgement of the packet was processed.
    pub pre_ack_outstanding: u64,
    /// Bytes that the packet acknowledged.
    pub acked_bytes: u64,
    /// The packet held an acknowledgement chunk.
    pub any_acks: bool,
    /// A negative acknowledgement was detected.
    pub any_naks: bool,
    /// A fragment was declared lost (or a congestion mark reported).
    pub any_loss: bool,
    /// Bytes declared lost.
    pub lost_bytes: u64,
    /// Bytes of spurious losses (RFC 4015): declared lost with the packet of the last [cut](Reaction::Cut), by the last
    /// timeout, or since, and acknowledged after all.
    pub spurious_bytes: u64,
    /// Bytes that the last timeouts declared lost, and that are neither sent again nor acknowledged since.
    pub timed_out_bytes: u64,
    /// A congestion mark was reported.
    pub any_mark: bool,
    /// Bytes in flight after the packet.
    pub outstanding: u64,
    /// The most bytes of chunks that a packet to the far end carries now; 0 if that is not known.
    pub segment: u64,
    /// The smoothed round trip (RFC 7016 §3.5.2.2), in ticks of 4 ms.
    pub srtt: Option<Duration>,
    /// How fast the path took what was sent. None if nothing was acknowledged that says so, or the controller does not
    /// [want](Controller::wants_samples) to know.
    pub sample: Option<RateSample>,
}

/// How fast the path has delivered, as one packet of acknowledgements shows (draft-ietf-ccwg-bbr §4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RateSample {
    /// Bytes acknowledged in `interval`.
    pub delivered: u64,
    /// The longer of the times that it took to send them and to have them acknowledged. It may be zero.
    pub interval: Duration,
    /// The round trip of the packet acknowledged last, by this end's clock. None if it was sent more than once.
    pub rtt: Option<Duration>,
    /// All bytes that were acknowledged when that packet was sent.
    pub prior_delivered: u64,
    /// All bytes that are acknowledged now.
    pub total_delivered: u64,
    /// Bytes in flight when that packet was sent, itself not counted.
    pub in_flight: u64,
    /// There was not enough to send: the path may be able to do more.
    pub app_limited: bool,
}

impl RateSample {
    /// Bytes a second. None if it took no time.
    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        let micros = crate::time::micros(self.interval);
        self.delivered.saturating_mul(1_000_000).checked_div(micros)
    }
}

/// The time critical state that growth depends on (RFC 7016 §3.5.2.1, appendix A.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeCritical {
    /// TC_SENT: a time critical packet was sent in this session within the last 800 ms.
    pub sent_here: bool,
    /// FASTGROW_ALLOWED: no reverse notification was received in this session, and no time critical packet sent in
    /// any, within the last 800 ms.
    pub fast_grow: bool,
}

impl TimeCritical {
    /// Whether the session yields to data that is time critical elsewhere.
    #[must_use]
    pub const fn yields(self) -> bool {
        !self.fast_grow && !self.sent_here
    }
}

/// What a controller made of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reaction {
    /// The losses that it reported made the window smaller.
    Cut,
    /// Anything else.
    Other,
}

/// A congestion controller: decides the transmission budget of one session.
///
/// RFC 7016 §3.5.2 binds it: never more aggressive than slow start, and an initial window no larger than RFC 5681 §3.1 has
/// it. The session itself sees to §3.5.2.3: six data packets between acknowledgements, whatever the window.
pub trait Controller: Debug + Send {
    /// A packet of the far end was processed, or time has shown a loss. Then there are no acknowledgements.
    fn on_packet(&mut self, now: Instant, facts: &PacketFacts, time_critical: TimeCritical) -> Reaction;
    /// TIMEOUT_ALARM fired (RFC 7016 §3.6.2.6). `was_loss`: something was in flight, and counts as lost.
    fn on_timeout(&mut self, now: Instant, was_loss: bool);
    /// The path changed: what was learned of the old one says nothing of the new.
    fn on_path_change(&mut self);
    /// The congestion window in bytes: data may be sent while less than this is outstanding.
    fn window(&self) -> u64;
    /// The slow start threshold in bytes, `u64::MAX` while unset, or if there is no such thing.
    fn ssthresh(&self) -> u64 {
        u64::MAX
    }
    /// Bytes a second that data is sent at, at most. None: as fast as the window allows.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }
    /// Whether data may leave faster than [`pacing_rate`](Self::pacing_rate), by a half, after it had to wait for an
    /// acknowledgement (RFC 7016 §3.5.2.3): until as much has left as would have without, and at most what half a round trip
    /// takes. That suits a controller whose rate is what the path was seen to deliver: each wait would make it smaller. It
    /// does not suit one that keeps a queue short. False unless said otherwise.
    fn makes_up_for_waits(&self) -> bool {
        false
    }
    /// Bytes of user data a second that the session may send for longer than a round trip, of which
    /// [`SessionStats::target_rate`](crate::SessionStats::target_rate) is made. `srtt`: the smoothed round trip, at least
    /// 4 ms.
    ///
    /// A sender that follows it, with breaks, must come to learn of a path that carries more. So the rate exceeds what the
    /// sender uses of it, but not without bound, and it does not fall because less is used (RFC 7661). Probes for more, and
    /// rates that only drain a queue, are left out where the sender need not know of them.
    ///
    /// By default the window in each round trip, and no more than [`pacing_rate`](Self::pacing_rate).
    fn target_rate(&self, srtt: Duration) -> u64 {
        // In 64 bits: each packet of a watched session asks.
        let rate = self.window().saturating_mul(1_000_000) / crate::time::micros(srtt).max(1);
        self.pacing_rate().map_or(rate, |paced| paced.min(rate))
    }
    /// Whether [`PacketFacts::sample`] is wanted. It takes 48 bytes for each packet in flight. Asked once.
    fn wants_samples(&self) -> bool {
        false
    }
    /// What the controller is about, in a few words, for statistics; empty if there is nothing to say.
    fn phase(&self) -> &'static str {
        ""
    }
}

/// Makes a controller for each session.
pub trait ControllerFactory: Debug + Send + Sync {
    /// The controller of a new session. `smss`: about how many bytes of chunks a packet carries on any path, before the
    /// keys tell how much of it they take.
    fn controller(&self, smss: u64) -> Box<dyn Controller>;
}

/// Which congestion controller sessions have.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum CongestionControl {
    /// That of RFC 7016 appendix A, at the pace of RFC 5681. Above 146 kB in flight it grows by 1 % in each round trip, as
    /// the appendix says: sessions that share a line with a deep queue stay as unequal as they began.
    Rfc7016,
    /// CUBIC (RFC 9438) with HyStart++ (RFC 9406): fills long fat lines that seldom lose anything.
    Cubic,
    /// The default. A model of the path, after BBR (draft-ietf-ccwg-bbr): keeps its rate where packets are lost without
    /// congestion, and queues short.
    ///
    /// A departure from the SHOULDs of RFC 7016 §3.5.2. While the round trip shows no queue, it slows down only for heavy
    /// loss: more than a fifth of a round, and more than 16 packets. RFC 5681 halves its window for each loss. It is never
    /// more aggressive than slow start, which is the MUST.
    ///
    /// On a line with a very short queue it takes more than its share from senders that yield to loss. In a queue of
    /// several round trips it gets less than its share. It keeps the queue short, and the others fill it.
    #[default]
    Bbr,
    /// For real-time media: a rate that grows until packets wait longer than about 10 ms. It is of the class of SCReAM
    /// (RFC 8298), C4 (draft-huitema-ccwg-c4-design) and LEDBAT (RFC 6817). On a line of 10 Mbit/s with a round trip of
    /// 100 ms it had 8.4 Mbit/s. With 3 % lost at random it had 7.6, with 5 % 7.4, and with 10 % 6.3 (three seeds).
    ///
    /// Of its packets, 95 % waited no more than 26 ms there, and less at shorter round trips. At 200 ms it was 36 ms. It
    /// competes, up to a point, for a line that another sender keeps full. Next to a model of NewReno or CUBIC it had 9 to
    /// 39 % of the line. Next to BBR with a queue of 50 ms it had 5 %.
    ///
    /// A departure from RFC 7016 §3.5.2, which asks for compatibility with TCP (RFC 2914). Without a queue, it
    /// slows down once 15 % of the 128 to 255 packets since the last cut are lost. One in ten lost at random seldom is.
    Media,
    /// One of your own.
    Custom(Arc<dyn ControllerFactory>),
}

impl CongestionControl {
    /// The controller of a new session.
    pub(crate) fn controller(&self, smss: u64) -> Box<dyn Controller> {
        match self {
            Self::Rfc7016 => Box::new(rfc7016::Rfc7016::new(smss)),
            Self::Cubic => Box::new(cubic::Cubic::new(smss)),
            Self::Bbr => Box::new(bbr::Bbr::new(smss)),
            Self::Media => Box::new(media::Media::new(smss)),
            Self::Custom(factory) => factory.controller(smss),
        }
    }
}

impl core::str::FromStr for CongestionControl {
    type Err = UnknownController;

    /// `rfc7016`, `cubic`, `bbr` or `media`.
    fn from_str(name: &str) -> Result<Self, UnknownController> {
        match name {
            "rfc7016" => Ok(Self::Rfc7016),
            "cubic" => Ok(Self::Cubic),
            "bbr" => Ok(Self::Bbr),
            "media" => Ok(Self::Media),
            _ => Err(UnknownController),
        }
    }
}

/// No congestion controller has this name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownController;

impl core::fmt::Display for UnknownController {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no such congestion controller: there are rfc7016, cubic, bbr and media")
    }
}

impl core::error::Error for UnknownController {}

/// IW of RFC 5681 §3.1.
const fn initial_window(smss: u64) -> u64 {
    match smss {
        2_191.. => smss.saturating_mul(2),
        1_096..=2_190 => smss * 3,
        _ => smss * 4,
    }
}

/// Whether a window may grow: at least half of it is used (RFC 7661 §4.3), or all except at most `slack` bytes.
///
/// An encoder that stays a little below its rate never fills its window. If the window had to be full to grow, the encoder
/// would never learn of a higher rate.
const fn is_used(window: u64, outstanding: u64, slack: u64) -> bool {
    let unused = window.saturating_sub(outstanding);
    unused <= window / 2 || unused <= slack
}

/// Growth of a window while time critical data has precedence elsewhere (RFC 7016 §3.5.2.1): half a per cent of it or 384
/// bytes a round trip.
fn gentle_growth(cwnd: u64, acked: u64) -> u64 {
    scale((cwnd / 200).max(384), acked, cwnd).min(acked)
}

/// `value * numerator / denominator` without overflow on the way.
fn scale(value: u64, numerator: u64, denominator: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(numerator) / u128::from(denominator.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Bytes a second for `bytes` in each `round_trip`.
fn rate_of(bytes: u64, round_trip: Duration) -> u64 {
    scale(bytes, 1_000_000, crate::time::micros(round_trip).max(1))
}
