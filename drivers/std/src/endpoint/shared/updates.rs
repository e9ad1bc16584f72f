//! What has changed about a session, for those who follow it.

use std::sync::Mutex;

use rtmfp_core::Path;
use rtmfp_meet::PathKind;

use super::Awaited;
use crate::endpoint::handles::{Moved, SessionEvent};
use crate::endpoint::wakers::WakerSet;

/// Whoever locks this and a [`SessionState`](super::SessionState) locks this first.
#[derive(Debug, Default)]
pub(crate) struct UpdatesShared(pub(crate) Mutex<Updates>);

/// The last change of each kind, with its place among all changes. Readers remember how far they are, so that none takes
/// anything from another, and one that does not read takes no memory.
#[derive(Debug, Default)]
pub(crate) struct Updates {
    changes: u64,
    path: (u64, Option<(Path, Moved)>),
    path_kind: (u64, Option<PathKind>),
    target_rate: (u64, Option<u64>),
    congested: (u64, bool),
    /// A flow is held up by its reader.
    unread: u64,
    /// The session is over: those who wait are to look why.
    pub(crate) wakers: WakerSet,
}

impl Updates {
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) const fn target_rate(&self) -> Option<u64> {
        self.target_rate.1
    }

    pub(crate) const fn is_congested(&self) -> bool {
        self.congested.1
    }

    fn next_change(&mut self) -> u64 {
        self.wakers.wake();
        self.changes += 1;
        self.changes
    }

    pub(crate) fn set_path(&mut self, path: Path, moved: Moved) {
        self.path = (self.next_change(), Some((path, moved)));
    }

    pub(crate) const fn path_kind(&self) -> Option<PathKind> {
        self.path_kind.1
    }

    pub(crate) fn set_path_kind(&mut self, kind: PathKind) {
        if self.path_kind.1 != Some(kind) {
            self.path_kind = (self.next_change(), Some(kind));
        }
    }

    /// Core leaves out small changes.
    pub(crate) fn set_target_rate(&mut self, rate: Option<u64>) {
        if self.target_rate.1 != rate {
            self.target_rate = (self.next_change(), rate);
        }
    }

    pub(crate) fn set_congested(&mut self, congested: bool) {
        if self.congested.1 != congested {
            self.congested = (self.next_change(), congested);
        }
    }

    pub(crate) fn set_unread(&mut self) {
        self.unread = self.next_change();
    }

    /// The first change after `seen`, and its place.
    pub(crate) fn after(&self, seen: u64) -> Option<(u64, SessionEvent)> {
        let path = self.path.1.map(|(path, moved)| (self.path.0, SessionEvent::PathChanged { path, moved }));
        let rate = self.target_rate.1.map(|rate| (self.target_rate.0, SessionEvent::TargetRate(rate)));
        let congestion = if self.congested.1 { SessionEvent::CongestionBegan } else { SessionEvent::CongestionEnded };
        let kind = self.path_kind.1.map(|kind| (self.path_kind.0, SessionEvent::PathKind(kind)));
        let all =
            [path, kind, rate, Some((self.congested.0, congestion)), Some((self.unread, SessionEvent::UnreadFlow))];
        all.into_iter().flatten().filter(|(place, _)| *place > seen).min_by_key(|(place, _)| *place)
    }
}

impl Awaited for Updates {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}

#[cfg(test)]
mod tests {
    use rtmfp_core::InterfaceId;

    use super::*;

    fn path(port: u16) -> Path {
        Path::new(InterfaceId(0), ([192, 0, 2, 1], port).into())
    }

    #[test]
    fn a_reader_gets_the_last_of_each_kind_in_the_order_of_the_changes() {
        let mut updates = Updates::default();
        assert_eq!(updates.after(0), None);
        for round in 0..1_000 {
            updates.set_target_rate(Some(1_000 << (round % 8)));
            updates.set_path(path(round), Moved::FarEnd);
            updates.set_congested(round % 2 == 0);
            updates.set_unread();
        }
        updates.set_path(path(7), Moved::ThisEnd);
        let mut seen = 0;
        let events = core::iter::from_fn(|| {
            let (place, event) = updates.after(seen)?;
            seen = place;
            Some(event)
        });
        let expected = [
            SessionEvent::TargetRate(1_000 << 7),
            SessionEvent::CongestionEnded,
            SessionEvent::UnreadFlow,
            SessionEvent::PathChanged { path: path(7), moved: Moved::ThisEnd },
        ];
        assert!(events.eq(expected));
        assert_eq!(seen, updates.changes());
    }

    #[test]
    fn the_same_rate_is_no_change_however_often_it_comes() {
        let mut updates = Updates::default();
        for rate in [1_000, 1_000, 1_000] {
            updates.set_target_rate(Some(rate));
        }
        assert_eq!((updates.changes(), updates.target_rate()), (1, Some(1_000)));
        updates.set_target_rate(Some(1_200));
        updates.set_target_rate(Some(990));
        assert_eq!((updates.changes(), updates.target_rate()), (3, Some(990)));
    }
}
