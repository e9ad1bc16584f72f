//! Whether two will meet.

use core::fmt;

use super::bounds::{Behaviour, Bounds};
use super::findings::{Findings, Report};

/// How two will meet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum How {
    /// Directly.
    Directly,
    /// Perhaps directly: too little is known to tell. Otherwise over a relay.
    Perhaps,
    /// Over a relay.
    Relay,
    /// Not at all.
    NotAtAll,
}

/// Why two will meet like that. Of the two ends, 1 is that of the first report, and 2 that of the second.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing is between the two that would keep the first packets of one of them out.
    Open {
        /// Which of the two is reached.
        reached: u8,
    },
    /// Both keep one address towards everybody: when both send, both get through.
    BothKeepTheirAddress,
    /// One has another address towards everybody, and the other one lets it in.
    OneKeepsItsAddress {
        /// Which of the two does.
        keeps: u8,
    },
    /// One has another address towards everybody, and the other one lets in only the address that it has sent to.
    OnePortIsNotFound {
        /// Whose address changes.
        changes: u8,
    },
    /// Both have other addresses towards everybody, so neither finds the other.
    NeitherIsFound,
    /// Both are seen at the same address, and that leads back in.
    SameAddressLeadsIn,
    /// Both are seen at the same address, and that does not lead back in. They meet if they are in the same local network.
    SameAddressLeadsNowhere,
    /// What a report does not tell would decide it.
    NotKnown,
    /// The two reached servers over different families of addresses only.
    NoCommonFamily,
    /// One of them has reached no server.
    NoServer {
        /// Which of the two.
        of: u8,
    },
}

impl core::error::Error for Reason {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |number: u8| if number == 1 { "the first" } else { "the second" };
        let other = |number: u8| end(3_u8.saturating_sub(number));
        match *self {
            Self::Open { reached } => {
                write!(f, "anybody can reach {} at the address that its server sees", end(reached))
            }
            Self::BothKeepTheirAddress => {
                f.write_str("both have one address towards everybody, so packets of both get through to each other")
            }
            Self::OneKeepsItsAddress { keeps } => write!(
                f,
                "{} has another port towards each far end, but {} keeps one, and lets in all ports of an address that it has \
                 sent to",
                other(keeps),
                end(keeps)
            ),
            Self::OnePortIsNotFound { changes } => write!(
                f,
                "{} has another port towards each far end, which nobody knows before, and {} lets in only ports that it has \
                 sent to",
                end(changes),
                other(changes)
            ),
            Self::NeitherIsFound => {
                f.write_str("both have another port towards each far end, so neither knows where to send to")
            }
            Self::SameAddressLeadsIn => {
                f.write_str("both are seen at the same address, and their NAT lets them back in")
            }
            Self::SameAddressLeadsNowhere => f.write_str(
                "both are seen at the same address, and their NAT does not let them back in: only in their local network can \
                 they meet directly",
            ),
            Self::NotKnown => f.write_str(
                "the reports do not tell what would decide it; a server with a second port and a second address does",
            ),
            Self::NoCommonFamily => f.write_str("one reached a server over IPv4 only, and the other one over IPv6 only"),
            Self::NoServer { of } => write!(f, "{} has reached no server: UDP may be blocked there", end(of)),
        }
    }
}

/// How two will meet, and why.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Verdict {
    /// How.
    pub how: How,
    /// Why.
    pub reason: Reason,
}

/// Whether two ends will meet directly, once a server has told each where it sees the other and both send packets
/// there. No port is guessed. Of two families of addresses the better one counts.
#[must_use]
pub fn will_meet(one: &Report, two: &Report) -> Verdict {
    let pairs = [(one.v4, two.v4), (one.v6, two.v6)];
    let both = pairs.into_iter().filter_map(|(one, two)| one.zip(two)).map(|(one, two)| over_one_family(&one, &two));
    let neither = |report: &Report| report.v4.is_none() && report.v6.is_none();
    both.min_by_key(|verdict| verdict.how).unwrap_or_else(|| match (neither(one), neither(two)) {
        (true, _) => Verdict { how: How::NotAtAll, reason: Reason::NoServer { of: 1 } },
        (false, true) => Verdict { how: How::NotAtAll, reason: Reason::NoServer { of: 2 } },
        (false, false) => Verdict { how: How::Relay, reason: Reason::NoCommonFamily },
    })
}

fn over_one_family(one: &Findings, two: &Findings) -> Verdict {
    let (at, other) = (one.seen.map(|seen| seen.ip()), two.seen.map(|seen| seen.ip()));
    let same = at.is_some() && at == other;
    if same && one.is_translated() != Some(false) && two.is_translated() != Some(false) {
        return match (one.hairpin, two.hairpin) {
            (Some(true), _) | (_, Some(true)) => Verdict { how: How::Directly, reason: Reason::SameAddressLeadsIn },
            (None, None) => Verdict { how: How::Perhaps, reason: Reason::NotKnown },
            _ => Verdict { how: How::Perhaps, reason: Reason::SameAddressLeadsNowhere },
        };
    }
    let side =
        |findings: &Findings| [findings.mapping, findings.filtering].map(|known| known.unwrap_or(Bounds::UNKNOWN));
    let ([map_one, let_one], [map_two, let_two]) = (side(one), side(two));
    let best = decide((map_one.least, let_one.least), (map_two.least, let_two.least));
    let worst = decide((map_one.most, let_one.most), (map_two.most, let_two.most));
    match (best, worst) {
        (Ok(_), Ok(reason)) => Verdict { how: How::Directly, reason },
        (Err(reason), Err(_)) => Verdict { how: How::Relay, reason },
        _ => Verdict { how: How::Perhaps, reason: Reason::NotKnown },
    }
}

/// Whether two meet of whom mapping and filtering are known, each behind a NAT of its own.
fn decide(one: (Behaviour, Behaviour), two: (Behaviour, Behaviour)) -> Result<Reason, Reason> {
    use Behaviour::{AddressAndPortDependent, EndpointIndependent};
    let ((map_one, let_one), (map_two, let_two)) = (one, two);
    let keeps = [map_one, map_two].map(|mapping| mapping == EndpointIndependent);
    let open = [let_one, let_two].map(|filter| filter == EndpointIndependent);
    // What comes from a port that nobody knows gets in wherever not the port counts.
    let lenient = [let_one, let_two].map(|filter| filter != AddressAndPortDependent);
    match (keeps, open, lenient) {
        ([true, true], [true, _], _) => Ok(Reason::Open { reached: 1 }),
        ([true, true], [_, true], _) => Ok(Reason::Open { reached: 2 }),
        ([true, true], ..) => Ok(Reason::BothKeepTheirAddress),
        ([true, false], [true, _], _) => Ok(Reason::Open { reached: 1 }),
        ([false, true], [_, true], _) => Ok(Reason::Open { reached: 2 }),
        ([true, false], _, [true, _]) => Ok(Reason::OneKeepsItsAddress { keeps: 1 }),
        ([false, true], _, [_, true]) => Ok(Reason::OneKeepsItsAddress { keeps: 2 }),
        ([true, false], ..) => Err(Reason::OnePortIsNotFound { changes: 2 }),
        ([false, true], ..) => Err(Reason::OnePortIsNotFound { changes: 1 }),
        ([false, false], [true, _], [_, true]) => Ok(Reason::Open { reached: 1 }),
        ([false, false], [_, true], [true, _]) => Ok(Reason::Open { reached: 2 }),
        ([false, false], ..) => Err(Reason::NeitherIsFound),
    }
}
