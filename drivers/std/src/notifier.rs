//! Waits for descriptors or another thread with one system call, `ppoll` (Linux).

use core::time::Duration;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, read, write};

/// Ends a wait, the present one or the next, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Notifier(Arc<OwnedFd>);

impl Notifier {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// # Errors
    /// As the system tells. A notification that has not been taken yet is none.
    pub(crate) fn notify(&self) -> io::Result<()> {
        match write(&self.0, &1u64.to_ne_bytes()) {
            // The counter is full: a notification waits already.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits until one of `waited` is as it is waited for, or somebody notifies, but not longer than `timeout`. Takes
    /// the notification.
    ///
    /// # Errors
    /// As the system tells; an interrupted wait only ends early.
    pub(crate) fn wait<'a>(
        &'a self,
        waited: impl IntoIterator<Item = (BorrowedFd<'a>, PollFlags)>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let waited = waited.into_iter().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags));
        let mut waited: Vec<_> = core::iter::once(PollFd::new(&self.0, PollFlags::IN)).chain(waited).collect();
        // Longer than the system can count is for ever.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut waited, timeout.as_ref()) {
            Ok(_) if waited.first().is_none_or(|own| own.revents().is_empty()) => Ok(()),
            Ok(_) => self.take(),
            Err(Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// How many there are of this one.
    #[cfg(test)]
    pub(crate) fn clones(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    fn take(&self) -> io::Result<()> {
        match read(&self.0, &mut [0; 8]) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
