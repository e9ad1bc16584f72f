//! Congestion controls, by integers. Windows are in bytes, of packets of [`PACKET`] bytes.

use crate::cross::PACKET;
use crate::time::{Duration, Rate, Time, icbrt, mul_div};

const MSS: u64 = PACKET as u64;

/// Which congestion control a flow has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Control {
    /// NewReno (RFC 5681, RFC 6582).
    NewReno,
    /// CUBIC (RFC 9438).
    Cubic,
    /// A model of the first version of BBR: a windowed maximum of the delivery rate, a minimum of the RTT, pacing.
    Bbr,
    /// LEDBAT (RFC 6817) with a target of 100 ms.
    Ledbat,
}

/// What an acknowledgement told.
#[derive(Clone, Copy, Debug)]
pub(super) struct AckInfo {
    pub(super) now: Time,
    pub(super) acked_bytes: u64,
    pub(super) rtt: Duration,
    pub(super) min_rtt: Duration,
    /// From sender to receiver, by their clocks.
    pub(super) one_way: i64,
    /// The delivery rate over the last acknowledged packet's flight.
    pub(super) rate: Rate,
    /// A packet sent after the last round began was acknowledged.
    pub(super) round: bool,
    pub(super) in_flight: u64,
}

#[derive(Clone, Debug)]
enum Kind {
    NewReno,
    Cubic { w_max: u64, epoch: Option<Time>, k_ms: u64, w_est: u64, prior: u64 },
    Bbr(Box<Bbr>),
    Ledbat { base: i64 },
}

/// A congestion control at work.
#[derive(Clone, Debug)]
pub(super) struct Window {
    kind: Kind,
    pub(super) cwnd: u64,
    ssthresh: u64,
    /// Fractions of a byte of growth that are owed.
    credit: u64,
}

impl Window {
    pub(super) fn new(control: Control) -> Self {
        let kind = match control {
            Control::NewReno => Kind::NewReno,
            Control::Cubic => Kind::Cubic { w_max: 0, epoch: None, k_ms: 0, w_est: 0, prior: 0 },
            Control::Bbr => Kind::Bbr(Box::default()),
            Control::Ledbat => Kind::Ledbat { base: i64::MAX },
        };
        // RFC 6928: ten packets.
        Self { kind, cwnd: 10 * MSS, ssthresh: u64::MAX, credit: 0 }
    }

    /// The pacing rate, if it paces.
    pub(super) fn pacing(&self) -> Option<Rate> {
        match &self.kind {
            Kind::Bbr(bbr) => bbr.pacing(),
            Kind::NewReno | Kind::Cubic { .. } | Kind::Ledbat { .. } => None,
        }
    }

    /// Grows by `num / den` bytes, keeping the fraction.
    fn grow(&mut self, num: u64, den: u64) {
        let den = den.max(1);
        self.credit += num;
        self.cwnd += self.credit / den;
        self.credit %= den;
    }

    pub(super) fn on_ack(&mut self, info: &AckInfo) {
        // A window that is not used does not grow.
        let limited = info.in_flight + info.acked_bytes + 3 * MSS >= self.cwnd;
        match &mut self.kind {
            Kind::Bbr(bbr) => self.cwnd = bbr.on_ack(info),
            _ if !limited => {}
            Kind::Ledbat { base } if self.cwnd >= self.ssthresh || info.one_way.saturating_sub(*base) > 75_000_000 => {
                *base = (*base).min(info.one_way);
                // RFC 6817 §2.4.2, with a gain of one.
                const TARGET: i64 = 100_000_000;
                let off = TARGET - (info.one_way - *base);
                let change = mul_div(info.acked_bytes * MSS, off.unsigned_abs(), TARGET.unsigned_abs());
                if off >= 0 {
                    let cwnd = self.cwnd;
                    self.grow(change, cwnd);
                } else {
                    self.cwnd = (self.cwnd - (change / self.cwnd).min(self.cwnd / 2)).max(2 * MSS);
                    self.ssthresh = self.ssthresh.min(self.cwnd);
                }
            }
            kind if self.cwnd < self.ssthresh => {
                if let Kind::Ledbat { base } = kind {
                    *base = (*base).min(info.one_way);
                }
                self.cwnd += info.acked_bytes;
            }
            Kind::NewReno | Kind::Ledbat { .. } => {
                let cwnd = self.cwnd;
                self.grow(info.acked_bytes * MSS, cwnd);
            }
            Kind::Cubic { w_max, epoch, k_ms, w_est, prior } => {
                let start = *epoch.get_or_insert_with(|| {
                    // RFC 9438 §4.2: K = cbrt((W_max - cwnd) / C), C = 0.4, in milliseconds.
                    *k_ms = icbrt(mul_div(w_max.saturating_sub(self.cwnd), 2_500_000_000, MSS));
                    *w_est = self.cwnd;
                    info.now
                });
                // §4.3: alpha is 3 (1 - 0.7) / (1 + 0.7) until the window of before is reached.
                let (num, den) = if *w_est < *prior { (9, 17) } else { (1, 1) };
                *w_est += mul_div(info.acked_bytes * num, MSS, self.cwnd * den);
                let t_ms = (info.now.since(start) + info.rtt).0 / 1_000_000;
                let off = i128::from(t_ms) - i128::from(*k_ms);
                let cubic = i128::from(*w_max) + i128::from(MSS) * 4 * off.pow(3) / 10_000_000_000;
                let (low, high) = (i128::from(self.cwnd), i128::from(self.cwnd * 3 / 2));
                let target = u64::try_from(cubic.clamp(low, high)).unwrap_or(self.cwnd);
                if target <= *w_est {
                    self.cwnd = self.cwnd.max(*w_est);
                } else {
                    let (gap, cwnd) = (target - self.cwnd, self.cwnd);
                    self.grow(mul_div(gap, info.acked_bytes, 1), cwnd);
                }
            }
        }
    }

    /// Something was lost, for the first time in this window.
    pub(super) fn on_loss(&mut self) {
        match &mut self.kind {
            Kind::Bbr(_) => return,
            Kind::NewReno | Kind::Ledbat { .. } => self.cwnd = (self.cwnd / 2).max(2 * MSS),
            Kind::Cubic { w_max, epoch, prior, .. } => {
                // §4.7: fast convergence.
                *w_max = if self.cwnd < *w_max { self.cwnd * 17 / 20 } else { self.cwnd };
                *prior = self.cwnd;
                *epoch = None;
                self.cwnd = (self.cwnd * 7 / 10).max(2 * MSS);
            }
        }
        self.ssthresh = self.cwnd;
        self.credit = 0;
    }

    /// Nothing was heard for the whole timeout.
    pub(super) fn on_timeout(&mut self) {
        if !matches!(self.kind, Kind::Bbr(_)) {
            self.on_loss();
        }
        self.cwnd = if matches!(self.kind, Kind::Bbr(_)) { 4 * MSS } else { MSS };
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Phase {
    #[default]
    Startup,
    Drain,
    ProbeBandwidth,
    ProbeRtt,
}

#[derive(Clone, Debug, Default)]
struct Bbr {
    phase: Phase,
    /// The highest rate of each of the last ten rounds, the present one first.
    rates: [u64; 10],
    min_rtt: Duration,
    min_rtt_at: Time,
    full: u64,
    full_rounds: u8,
    cycle: usize,
    cycle_at: Time,
    probe_until: Time,
}

/// 2 / ln 2, and its inverse, in thousandths.
const HIGH_GAIN: u64 = 2_885;
const CYCLE: [u64; 8] = [1_250, 750, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000];

impl Bbr {
    fn rate(&self) -> u64 {
        self.rates.iter().copied().max().unwrap_or(0)
    }

    fn gain(&self) -> u64 {
        match self.phase {
            Phase::Startup => HIGH_GAIN,
            Phase::Drain => 347,
            Phase::ProbeBandwidth => CYCLE.get(self.cycle).copied().unwrap_or(1_000),
            Phase::ProbeRtt => 1_000,
        }
    }

    fn pacing(&self) -> Option<Rate> {
        let rate = self.rate();
        (rate > 0).then(|| Rate(mul_div(rate, self.gain(), 1_000).max(12_000)))
    }

    fn bdp(&self) -> u64 {
        Rate(self.rate()).bytes_in(self.min_rtt)
    }

    fn on_ack(&mut self, info: &AckInfo) -> u64 {
        if info.round {
            self.rates.rotate_right(1);
            if let Some(first) = self.rates.first_mut() {
                *first = 0;
            }
        }
        if let Some(first) = self.rates.first_mut() {
            *first = (*first).max(info.rate.0);
        }
        let stale = info.now.since(self.min_rtt_at) > Duration::secs(10);
        if self.min_rtt == Duration::ZERO || info.rtt <= self.min_rtt || (stale && self.phase == Phase::ProbeRtt) {
            self.min_rtt = info.rtt.max(Duration(1));
            self.min_rtt_at = info.now;
        }
        self.change_phase(info, stale);
        match self.phase {
            Phase::ProbeRtt => 4 * MSS,
            _ if self.rate() == 0 => 10 * MSS,
            Phase::Startup | Phase::Drain => (mul_div(self.bdp(), HIGH_GAIN, 1_000) + 3 * MSS).max(10 * MSS),
            Phase::ProbeBandwidth => (2 * self.bdp() + 3 * MSS).max(4 * MSS),
        }
    }

    fn change_phase(&mut self, info: &AckInfo, stale: bool) {
        if self.phase == Phase::Startup && info.round {
            // The pipe is full when the rate has not grown by a quarter for three rounds.
            if self.rate() >= self.full + self.full / 4 {
                (self.full, self.full_rounds) = (self.rate(), 0);
            } else {
                self.full_rounds += 1;
            }
            if self.full_rounds >= 3 {
                self.phase = Phase::Drain;
            }
        }
        match self.phase {
            Phase::Drain if info.in_flight <= self.bdp() => self.probe_bandwidth(info.now),
            Phase::ProbeBandwidth if stale => {
                self.phase = Phase::ProbeRtt;
                self.probe_until = info.now + Duration::millis(200) + info.min_rtt;
            }
            Phase::ProbeBandwidth => {
                let drained = self.gain() < 1_000 && info.in_flight <= self.bdp();
                if drained || info.now.since(self.cycle_at) >= self.min_rtt {
                    self.cycle = (self.cycle + 1) % CYCLE.len();
                    self.cycle_at = info.now;
                }
            }
            Phase::ProbeRtt if info.now >= self.probe_until => {
                self.min_rtt_at = info.now;
                self.probe_bandwidth(info.now);
            }
            Phase::Startup | Phase::Drain | Phase::ProbeRtt => {}
        }
    }

    const fn probe_bandwidth(&mut self, now: Time) {
        self.phase = Phase::ProbeBandwidth;
        self.cycle = 2;
        self.cycle_at = now;
    }
}
