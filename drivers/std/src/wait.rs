//! Waits for sockets, a deadline, or another thread.
//!
//! Two ways to the same end. On Linux one system call is a wait; every other system has its own, and `polling` knows
//! them. Linux builds test both.

#[cfg(any(not(any(target_os = "linux", target_os = "android")), test))]
mod poller;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod ppoll;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use crate::notifier::Notifier;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use poller::{Notifier, Sources};
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use ppoll::Sources;

#[cfg(any(target_os = "linux", target_os = "android"))]
#[cfg(test)]
mod tests;
