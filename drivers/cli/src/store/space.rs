//! Whether there is room for what comes.

use std::path::Path;

use rtmfp_files::storage::{StorageError, StorageFailure};

/// Compares the room on a file system with what is needed.
///
/// # Errors
/// [`StorageFailure::Full`] if there is less. If the system does not tell, there is none.
pub(super) fn check(path: &Path, needed: u64) -> Result<(), StorageError> {
    match free(path) {
        Some(free) if free < needed => Err(full(needed, free)),
        Some(_) | None => Ok(()),
    }
}

fn full(needed: u64, free: u64) -> StorageError {
    let text = format!("there are {free} bytes free, and {needed} are missing");
    StorageError { kind: StorageFailure::Full, text }
}

fn free(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let found = rustix::fs::statvfs(path).ok()?;
        // Some file systems tell nothing.
        (found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}
