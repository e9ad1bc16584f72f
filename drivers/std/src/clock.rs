//! The system's monotonic clock as the core's.

use core::time::Duration;

use rtmfp_core::Instant;

/// Maps the system's monotonic clock to the core's [`Instant`], whose origin is when the `Clock` was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: system_now() }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::ORIGIN + system_now().saturating_duration_since(self.origin)
    }

    /// How long until `deadline`; zero if it has passed.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Duration {
        deadline.saturating_duration_since(self.now())
    }

    /// `moment` on the system's clock, as timers of the system take it. `None` if it is beyond the range of that.
    #[must_use]
    pub fn to_system(&self, moment: Instant) -> Option<std::time::Instant> {
        self.origin.checked_add(Duration::from_micros(moment.as_micros()))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where this driver reads the clock")]
pub(crate) fn system_now() -> std::time::Instant {
    std::time::Instant::now()
}
