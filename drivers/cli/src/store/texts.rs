//! Texts that are shown and not stored.

use std::sync::{Arc, Mutex, PoisonError};

use rtmfp_files::storage::{Sink, StorageError, StorageFailure};

/// The longest text, in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// Texts that were received and verified, until somebody takes them.
#[derive(Clone, Debug, Default)]
pub struct Texts(Arc<Mutex<Vec<String>>>);

impl Texts {
    /// Takes the texts that have come. On a terminal they are shown by [`shown_lines`](crate::text::shown_lines): what
    /// a stranger sends may drive it.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a text.
    ///
    /// # Errors
    /// If it is longer than `MAX_TEXT`.
    pub(super) fn sink(&self, size: u64) -> Result<Box<dyn Sink>, StorageError> {
        if size > MAX_TEXT {
            return Err(too_long());
        }
        Ok(Box::new(Text { bytes: Vec::new(), size, texts: self.clone() }))
    }
}

fn too_long() -> StorageError {
    StorageError {
        kind: StorageFailure::Other,
        text: "the text is longer than 1 MiB or than it was said to be".to_owned(),
    }
}

#[derive(Debug)]
struct Text {
    bytes: Vec<u8>,
    size: u64,
    texts: Texts,
}

impl Sink for Text {
    fn write(&mut self, content: &[u8]) -> Result<(), StorageError> {
        if self.bytes.len().saturating_add(content.len()) as u64 > self.size {
            return Err(too_long());
        }
        self.bytes.extend_from_slice(content);
        Ok(())
    }

    fn hole(&mut self, bytes: u64) -> Result<(), StorageError> {
        let zeros = usize::try_from(bytes).ok().filter(|_| bytes <= self.size).ok_or_else(too_long)?;
        self.write(&vec![0; zeros])
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        self.texts.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        Ok(())
    }
}
