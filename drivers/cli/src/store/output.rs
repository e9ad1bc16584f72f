//! One file to standard output.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rtmfp_files::manifest::{EntryKind, Manifest};
use rtmfp_files::storage::{Content, Sink, StorageError, StorageFailure, Store};

use super::{failure, other};

/// Zeros that are written at once.
const ZEROS: usize = 64 << 10;

/// Writes one file or text to a stream as it comes, each part of it verified.
pub struct StandardOutput {
    to: Arc<Mutex<Box<dyn Write + Send>>>,
    begun: bool,
}

impl fmt::Debug for StandardOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandardOutput").field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl Default for StandardOutput {
    fn default() -> Self {
        Self::new(Box::new(io::stdout()))
    }
}

impl StandardOutput {
    /// Writes to any stream.
    #[must_use]
    pub fn new(to: Box<dyn Write + Send>) -> Self {
        Self { to: Arc::new(Mutex::new(to)), begun: false }
    }
}

impl Store for StandardOutput {
    fn prepare(&mut self, manifest: &Manifest) -> Result<(), StorageError> {
        match &manifest.entries[..] {
            [entry] if matches!(entry.kind, EntryKind::File { .. } | EntryKind::Text { .. }) => Ok(()),
            _ => Err(StorageError {
                kind: StorageFailure::BadName,
                text: "standard output takes one file, and no more or else was offered".to_owned(),
            }),
        }
    }

    fn stored(&mut self, _: usize) -> Option<Box<dyn Content>> {
        None
    }

    fn create(&mut self, index: usize, from: u64) -> Result<Box<dyn Sink>, StorageError> {
        if index != 0 || from != 0 || self.begun {
            return Err(other("standard output takes one file, once, from its beginning"));
        }
        self.begun = true;
        Ok(Box::new(Stream(Arc::clone(&self.to))))
    }

    fn conclude(&mut self) -> Vec<(usize, StorageError)> {
        Vec::new()
    }
}

struct Stream(Arc<Mutex<Box<dyn Write + Send>>>);

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

impl Stream {
    fn with(&self, act: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), StorageError> {
        let mut to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut **to).map_err(|e| failure("standard output", &e))
    }
}

impl Sink for Stream {
    fn write(&mut self, content: &[u8]) -> Result<(), StorageError> {
        self.with(|to| to.write_all(content))
    }

    fn hole(&mut self, mut bytes: u64) -> Result<(), StorageError> {
        let zeros = vec![0; ZEROS];
        self.with(|to| {
            while bytes > 0 {
                let now = usize::try_from(bytes).unwrap_or(ZEROS).min(ZEROS);
                to.write_all(zeros.get(..now).unwrap_or_default())?;
                bytes = bytes.saturating_sub(now as u64);
            }
            Ok(())
        })
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        self.with(|to| to.flush())
    }
}
