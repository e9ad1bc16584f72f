//! Explicit faults as people read them: `wan up 3 drop`, `wan down 7 delay 20ms`.

use core::fmt;
use core::str::FromStr;

use datagram_sim::{Decision, Direction, DropCause, Edit, ExplicitFault};

use super::units;

/// An explicit fault: link, direction (`up` is along the link's path), packet (from 0; `3.1` is its first copy),
/// `@n` for the n-th stage, and what happens: `drop`, `delay TIME`, `duplicate N TIME`, `flip BIT`, `truncate N`,
/// `extend N`, `mark`, `bleach`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FaultText(pub ExplicitFault);

impl fmt::Display for FaultText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = &self.0;
        let direction = if fault.direction == Direction::Forward { "up" } else { "down" };
        write!(f, "{} {direction} {}", fault.link, fault.ordinal)?;
        if fault.copy != 0 {
            write!(f, ".{}", fault.copy)?;
        }
        if let Some(stage) = fault.stage {
            write!(f, " @{stage}")?;
        }
        match fault.decision {
            Decision::Pass => f.write_str(" pass"),
            Decision::Drop(DropCause::Fault) => f.write_str(" drop"),
            Decision::Drop(why) => write!(f, " drop {}", why.name()),
            Decision::Delay(span) => write!(f, " delay {}", units::show_span(span)),
            Decision::Duplicate(copies, late) => write!(f, " duplicate {copies} {}", units::show_span(late)),
            Decision::Corrupt(Edit::FlipBit(bit)) => write!(f, " flip {bit}"),
            Decision::Corrupt(Edit::Truncate(to)) => write!(f, " truncate {to}"),
            Decision::Corrupt(Edit::Extend(by)) => write!(f, " extend {by}"),
            Decision::Mark => f.write_str(" mark"),
            Decision::Bleach => f.write_str(" bleach"),
        }
    }
}

impl FromStr for FaultText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace().peekable();
        let mut next = |what: &str| words.next().ok_or_else(|| format!("`{text}`: {what} is missing"));
        let link = next("the link")?.to_owned();
        let direction = match next("up or down")? {
            "up" => Direction::Forward,
            "down" => Direction::Backward,
            other => return Err(format!("`{other}` should be up or down")),
        };
        let packet = next("the packet's number")?;
        let (ordinal, copy) = packet.split_once('.').unwrap_or((packet, "0"));
        let (ordinal, copy) = (number(ordinal)?, number(copy)?);
        let mut word = next("what happens")?;
        let mut stage = None;
        if let Some(at) = word.strip_prefix('@') {
            stage = Some(number(at)?);
            word = next("what happens")?;
        }
        let decision = match word {
            "pass" => Decision::Pass,
            "drop" => Decision::Drop(match words.next() {
                None => DropCause::Fault,
                Some(name) => {
                    DropCause::ALL.into_iter().find(|why| why.name() == name).ok_or("no such reason for a drop")?
                }
            }),
            "delay" => Decision::Delay(units::span(next("how long")?)?),
            "duplicate" => Decision::Duplicate(number(next("how many")?)?, units::span(next("how late")?)?),
            "flip" => Decision::Corrupt(Edit::FlipBit(number(next("the bit")?)?)),
            "truncate" => Decision::Corrupt(Edit::Truncate(units::packet_size(next("the length")?)?)),
            "extend" => Decision::Corrupt(Edit::Extend(units::packet_size(next("the length")?)?)),
            "mark" => Decision::Mark,
            "bleach" => Decision::Bleach,
            other => {
                return Err(format!(
                    "`{other}` is no fault: drop, delay, duplicate, flip, truncate, extend, mark, bleach"
                ));
            }
        };
        match words.next() {
            Some(word) => Err(format!("`{word}` is too much")),
            None => Ok(Self(ExplicitFault { link, direction, ordinal, copy, stage, decision })),
        }
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number that fits here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_round_trip() {
        for text in [
            "wan up 3 drop",
            "wan down 7.2 @1 delay 20ms",
            "wan up 0 duplicate 2 5s",
            "wan up 1 flip 77",
            "wan up 1 @0 drop queue-full",
            "wan down 9 mark",
        ] {
            assert_eq!(text.parse::<FaultText>().unwrap().to_string(), text);
        }
        for text in ["wan", "wan sideways 3 drop", "wan up x drop", "wan up 3", "wan up 3 explode", "wan up 3 drop x"] {
            assert!(text.parse::<FaultText>().is_err(), "{text}");
        }
    }
}
