//! Whether what is measured of a session has changed enough for its user to hear of it.

use alloc::boxed::Box;

use super::delivery::Delivery;
use super::transport::Transport;

/// What the user may hear of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measured {
    /// See [`SessionStats::send_rate`](crate::SessionStats::send_rate).
    pub(super) send_rate: Option<u64>,
    pub(super) congestion_events: u64,
    pub(super) far_keys_proved: bool,
}

/// Off until the user asks, and again once a change was told: a user who does not ask again costs nothing.
///
/// Most sessions have no such user, so it takes no more than a pointer in each.
#[derive(Debug, Default)]
pub(super) struct Watch(Option<Box<Asked>>);

/// There is a user who asks.
#[derive(Debug, Default)]
struct Asked {
    on: bool,
    /// What the user knows of.
    known: Measured,
}

impl Watch {
    /// The user has seen this, and wants to hear of the next change.
    pub(super) fn arm(&mut self, seen: Measured) {
        let Asked { on, known } = &mut **self.0.get_or_insert_default();
        // Small changes add up: they are measured from what was worth telling last.
        let send_rate = if differs(known.send_rate, seen.send_rate) { seen.send_rate } else { known.send_rate };
        *known = Measured { send_rate, ..seen };
        *on = true;
    }

    /// Whether the user is to be told of a change now. That is said once.
    #[inline]
    pub(super) fn take_news(&mut self, now: impl FnOnce() -> Measured) -> bool {
        let Some(asked) = self.0.as_deref_mut().filter(|asked| asked.on) else { return false };
        asked.on = !asked.known.is_news(&now());
        !asked.on
    }
}

impl Measured {
    pub(super) fn now(transport: &Transport, delivery: &Delivery) -> Self {
        let recovery = &delivery.sending.recovery;
        Self {
            send_rate: recovery.send_rate(transport),
            congestion_events: recovery.congestion_events,
            far_keys_proved: transport.keys_proved(),
        }
    }

    /// Whether a user who knows of this is to hear of that.
    fn is_news(&self, now: &Self) -> bool {
        now.congestion_events != self.congestion_events
            || now.far_keys_proved != self.far_keys_proved
            || differs(self.send_rate, now.send_rate)
    }
}

/// Whether one is more than a tenth larger or smaller than the other.
fn differs(known: Option<u64>, now: Option<u64>) -> bool {
    match (known, now) {
        (Some(known), Some(now)) => known.abs_diff(now) > known / 10,
        (known, now) => known.is_some() != now.is_some(),
    }
}
