//! Times of files, as the system and as a manifest has them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rtmfp_files::manifest::Time;

/// Nanoseconds in a second.
const NANOS: u32 = 1_000_000_000;

/// A time of the system's; `None` if it is further away than can be told.
pub(crate) fn time_of(time: SystemTime) -> Option<Time> {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Some(Time { seconds: i64::try_from(since.as_secs()).ok()?, nanos: since.subsec_nanos() }),
        Err(before) => {
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).ok()?.checked_neg()?;
            match before.subsec_nanos() {
                0 => Some(Time { seconds, nanos: 0 }),
                nanos => Some(Time { seconds: seconds.checked_sub(1)?, nanos: NANOS.checked_sub(nanos)? }),
            }
        }
    }
}

/// The system's time; `None` if it has none such.
pub(crate) fn system_time(time: Time) -> Option<SystemTime> {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = if time.seconds < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    whole?.checked_add(Duration::from_nanos(u64::from(time.nanos.min(NANOS.saturating_sub(1)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_were() {
        for (seconds, nanos) in [(0, 0), (1, 999_999_999), (-1, 0), (-1, 1), (-2, 999_999_999), (1 << 33, 5)] {
            let time = Time { seconds, nanos };
            assert_eq!(system_time(time).and_then(time_of), Some(time));
        }
        // What a stranger can send is a time or none.
        for seconds in [i64::MIN, i64::MAX] {
            let _ = system_time(Time { seconds, nanos: u32::MAX });
        }
    }
}
