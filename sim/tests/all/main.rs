//! Scenarios, tables and the program; and tasks, which need no scenario files.

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
