//! How devices, links and directions are named.

/// Names a device of a world: a host, router, NAT, firewall or tap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// Its number, as it stands in trace records: devices count from 0 in the order in which they were added.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Names a link of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub(crate) u32);

impl LinkId {
    /// Its number: links count from 0 in the order in which they were made.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The number of one of its directions, as it stands in trace records: twice its own, plus 1 backward.
    #[must_use]
    pub const fn lane(self, direction: Direction) -> u32 {
        self.0 * 2 + direction as u32
    }
}

/// One of the two directions of a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Direction {
    /// From the first end to the second.
    #[default]
    Forward = 0,
    /// From the second end to the first.
    Backward = 1,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
        }
    }
}
