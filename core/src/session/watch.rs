//! Whether what is measured of a session has changed enough for its user to hear of it.

use alloc::boxed::Box;

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

    /// What the user knows of, if a change is to be told.
    pub(super) fn known(&self) -> Option<&Measured> {
        self.0.as_deref().filter(|asked| asked.on).map(|asked| &asked.known)
    }

    /// A change is told.
    pub(super) fn disarm(&mut self) {
        if let Some(asked) = &mut self.0 {
            asked.on = false;
        }
    }
}

impl Measured {
    /// Whether a user who knows of this is to hear of that.
    pub(super) fn is_news(&self, now: &Self) -> bool {
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
