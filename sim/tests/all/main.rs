//! Scenarios, tables and the program; and tasks, which need no scenario files.

#[cfg(feature = "tasks")]
mod encoder;
#[cfg(feature = "cli")]
mod program;
#[cfg(feature = "tasks")]
mod receipts;
#[cfg(feature = "files")]
mod scenarios;
#[cfg(feature = "files")]
mod tables;
#[cfg(feature = "tasks")]
mod tasks;

/// Whether the long part is asked for: `RTMFP_LONG=1`, as `.ci/long` does.
fn is_long() -> bool {
    std::env::var_os("RTMFP_LONG").is_some()
}
