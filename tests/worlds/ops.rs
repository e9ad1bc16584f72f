//! What users and the wire may do, made to be generated and to shrink.

use quickcheck::{Arbitrary, Gen};
use rtmfp_tests::duo::Fault;

/// One thing that happens. Numbers that pick something count modulo what there is to pick from.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Node opens a session.
    Open(u8),
    /// Node opens a flow at a priority in its newest session.
    OpenFlow(u8, u8),
    /// Node writes a message of that many bytes to a flow of its own.
    Write(u8, u8, u32),
    /// The same, sent once and not again.
    WriteUnreliable(u8, u8, u16),
    /// The same, abandoned after that many milliseconds.
    WriteUntil(u8, u8, u16, u16),
    /// Node reads what a flow has.
    Read(u8, u8),
    /// Node closes a flow of its own.
    CloseFlow(u8, u8),
    /// Node rejects a flow.
    Reject(u8, u8),
    /// Node suspends or resumes a flow.
    Suspend(u8, u8, bool),
    /// Node closes its newest session, abruptly or not.
    CloseSession(u8, bool),
    /// The wire spoils the next datagrams.
    Fault(Fault),
    /// Many of the next datagrams are lost.
    Outage(u8),
    /// Node gets a new port.
    Rebind(u8),
    /// Time passes, in milliseconds.
    Advance(u16),
}

/// The cryptography of a world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Profile {
    /// None.
    Plain,
    Flash,
    Modern,
}

/// A whole story.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) profile: Profile,
    pub(crate) ops: Vec<Op>,
}

fn below(g: &mut Gen, n: u32) -> u32 {
    u32::arbitrary(g) % n
}

impl Arbitrary for Op {
    fn arbitrary(g: &mut Gen) -> Self {
        let (node, pick) = (u8::arbitrary(g) % 2, u8::arbitrary(g) % 8);
        match below(g, 40) {
            0..=1 => Self::Open(node),
            2..=4 => Self::OpenFlow(node, pick),
            5..=11 => {
                let sizes = [0, 1, 100, 1_100, 1_200, 5_000, 60_000];
                Self::Write(node, pick, *g.choose(&sizes).unwrap_or(&1) + below(g, 100))
            }
            12..=13 => Self::WriteUnreliable(node, pick, u16::arbitrary(g) % 8_000),
            14..=15 => Self::WriteUntil(node, pick, u16::arbitrary(g) % 8_000, u16::arbitrary(g) % 2_000),
            16..=18 => Self::Read(node, pick),
            19 => Self::CloseFlow(node, pick),
            20 => Self::Reject(node, pick),
            21 => Self::Suspend(node, pick, bool::arbitrary(g)),
            22 => Self::CloseSession(node, bool::arbitrary(g)),
            23..=30 => Self::Fault(match below(g, 5) {
                0 => Fault::Drop,
                1 => Fault::Duplicate(u16::arbitrary(g) % 3_000),
                2 => Fault::Delay(u16::arbitrary(g) % 500),
                3 => Fault::Corrupt(u16::arbitrary(g)),
                _ => Fault::Truncate(u8::arbitrary(g)),
            }),
            31 => Self::Outage(u8::arbitrary(g) % 40),
            32 => Self::Rebind(node),
            _ => Self::Advance(*g.choose(&[0, 1, 10, 25, 50, 100, 300, 2_000]).unwrap_or(&1)),
        }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        match *self {
            Self::Write(node, pick, len) => Box::new(len.shrink().map(move |len| Self::Write(node, pick, len))),
            Self::Advance(millis) => Box::new(millis.shrink().map(Self::Advance)),
            Self::Outage(count) => Box::new(count.shrink().map(Self::Outage)),
            _ => Box::new(std::iter::empty()),
        }
    }
}

impl Arbitrary for Scenario {
    fn arbitrary(g: &mut Gen) -> Self {
        let mut ops = vec![Op::Open(0)];
        let count = 5 + below(g, 120);
        ops.extend((0..count).map(|_| Op::arbitrary(g)));
        // Key agreement is slow: most worlds do without.
        let profile = match below(g, 20) {
            0 => Profile::Flash,
            1..=2 => Profile::Modern,
            _ => Profile::Plain,
        };
        Self { seed: u64::arbitrary(g) % 1_000, profile, ops }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let Self { seed, profile, .. } = *self;
        let plain = (profile != Profile::Plain).then(|| Self { profile: Profile::Plain, ..self.clone() });
        Box::new(plain.into_iter().chain(self.ops.shrink().map(move |ops| Self { seed, profile, ops })))
    }
}
