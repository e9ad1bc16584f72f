//! What a wait for a time and the endpoint share.

use std::sync::Mutex;

use rtmfp_core::Instant;

use super::Awaited;
use crate::endpoint::wakers::WakerSet;

/// When a wait ends, and in what order of those that end together.
pub(crate) type Place = (Instant, u64);

#[derive(Debug, Default)]
pub(crate) struct SleepShared(pub(crate) Mutex<SleepState>);

#[derive(Debug, Default)]
pub(crate) struct SleepState {
    pub(crate) place: Option<Place>,
    pub(crate) over: bool,
    /// The endpoint has stopped before.
    pub(crate) stopped: bool,
    /// Nobody waits any more.
    pub(crate) given_up: bool,
    pub(crate) wakers: WakerSet,
}

impl Awaited for SleepState {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}
