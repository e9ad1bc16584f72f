//! A manifest that comes in pieces.

use alloc::vec::Vec;

use blake3::Hasher;
use rtmfp_core::wire::Cursor;

use super::encoding::{self, Unread};
use super::{MAX_ENTRIES, MAX_MANIFEST, Manifest, ManifestError, Totals};

/// Reads a manifest piece by piece, and keeps no more than the limits allow.
#[derive(Clone, Debug)]
pub struct ManifestReader {
    announced: Totals,
    so_far: Totals,
    manifest: Manifest,
    /// The beginning of an entry whose rest has not come.
    cut: Vec<u8>,
    cost: usize,
    hash: Hasher,
}

impl ManifestReader {
    /// Reads a manifest that has been announced with these totals.
    ///
    /// # Errors
    /// [`ManifestError::TooManyEntries`].
    pub fn new(announced: Totals) -> Result<Self, ManifestError> {
        if announced.entries > MAX_ENTRIES as u64 {
            return Err(ManifestError::TooManyEntries);
        }
        let hash = Hasher::new();
        Ok(Self { announced, so_far: Totals::default(), manifest: Manifest::default(), cut: Vec::new(), cost: 0, hash })
    }

    /// What has been read so far, of entries that are whole.
    #[must_use]
    pub const fn so_far(&self) -> Totals {
        self.so_far
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// If there is anything wrong with it.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), ManifestError> {
        self.hash.update(piece);
        let mut cut = core::mem::take(&mut self.cut);
        let bytes = if cut.is_empty() {
            piece
        } else {
            cut.extend_from_slice(piece);
            &cut
        };
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            let mut ahead = cursor;
            let before = self.manifest.entries.last().map_or("", |entry| entry.path.as_str());
            let entry = match encoding::parse(&mut ahead, before) {
                Ok(entry) => entry,
                Err(Unread::Cut) => break,
                Err(Unread::Bad(error)) => return Err(error),
            };
            cursor = ahead;
            self.cost = self.cost.saturating_add(encoding::cost_of(&entry));
            if self.cost > MAX_MANIFEST {
                return Err(ManifestError::TooLong);
            }
            self.so_far = self.so_far.and(&entry);
            if self.so_far.entries > self.announced.entries {
                return Err(ManifestError::TooManyEntries);
            }
            self.manifest.entries.push(entry);
        }
        // An entry has two texts of limited length, so that what is kept here is limited too.
        self.cut = cursor.as_slice().to_vec();
        Ok(())
    }

    /// Takes the end, with the root.
    ///
    /// # Errors
    /// If the manifest is not whole, or not what was announced.
    pub fn finish(self, root: &[u8; 32]) -> Result<Manifest, ManifestError> {
        if !self.cut.is_empty() {
            return Err(ManifestError::Malformed);
        }
        if self.so_far != self.announced || self.hash.finalize().as_bytes() != root {
            return Err(ManifestError::NotAsAnnounced);
        }
        Ok(self.manifest)
    }
}
