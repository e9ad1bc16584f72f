//! Content of files and texts.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Cursor, Read, Seek as _, SeekFrom};
use std::path::Path;

use rtmfp_files::storage::{Content, StorageError, StorageFailure};

use super::Offered;
use crate::times::time_of;

/// Why a pipe or device is not sent.
pub(super) const NOT_REGULAR: &str = "is not a regular file: write what it gives to a file, or pass it as `-`";

/// A failure of the system's, about a file.
pub(crate) fn error(kind: StorageFailure, what: &str, e: &io::Error) -> StorageError {
    StorageError { kind, text: format!("{what}: {e}") }
}

/// Opens a file for reading, if it is one that ends. Never waits, as for the other end of a pipe, and follows no link that
/// came to its place.
pub(super) fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY).bits().cast_signed());
    }
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, NOT_REGULAR));
    }
    Ok((file, metadata))
}

/// Device and number of a file.
pub(super) fn inode(metadata: &Metadata) -> Option<(u64, u64)> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        Some((metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        None
    }
}

/// Whether a file takes less room than it is long.
fn has_holes(metadata: &Metadata) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use std::os::unix::fs::MetadataExt as _;
        metadata.blocks().saturating_mul(512) < metadata.len()
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    {
        let _ = metadata;
        false
    }
}

/// A regular file.
#[derive(Debug)]
pub(crate) struct FileContent {
    file: File,
    name: String,
    place: u64,
    /// What it was when it was offered; `None` if nobody asks.
    offered: Option<Offered>,
    /// Whether to look for holes.
    sparse: bool,
    /// From the current place up to here there is no hole.
    no_hole_until: u64,
}

impl FileContent {
    pub(super) fn open(offered: &Offered) -> Result<Self, StorageError> {
        let name = offered.path.display().to_string();
        let (file, metadata) = open_regular(&offered.path).map_err(|e| error(StorageFailure::Unreadable, &name, &e))?;
        if inode(&metadata) != offered.inode {
            let text = format!("{name}: another file has come to its place since it was offered");
            return Err(StorageError { kind: StorageFailure::Unreadable, text });
        }
        let sparse = !offered.endless && has_holes(&metadata);
        Ok(Self { file, name, place: 0, offered: Some(offered.clone()), sparse, no_hole_until: 0 })
    }

    /// What is in a file that is there already.
    pub(crate) fn stored(file: File, metadata: &Metadata, name: String) -> Self {
        Self { file, name, place: 0, offered: None, sparse: has_holes(metadata), no_hole_until: 0 }
    }

    fn unreadable(&self, e: &io::Error) -> StorageError {
        error(StorageFailure::Unreadable, &self.name, e)
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    fn find_hole(&mut self) -> io::Result<u64> {
        use rustix::fs::{SeekFrom as Place, seek};
        use rustix::io::Errno;
        match seek(&self.file, Place::Data(self.place)) {
            Ok(data) if data > self.place => Ok(data.saturating_sub(self.place)),
            Ok(_) => {
                self.no_hole_until = seek(&self.file, Place::Hole(self.place))?;
                Ok(0)
            }
            // There is no more data.
            Err(Errno::NXIO) => Ok(self.file.metadata()?.len().saturating_sub(self.place)),
            Err(e) => Err(e.into()),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    fn find_hole(&mut self) -> io::Result<u64> {
        Ok(0)
    }
}

impl Content for FileContent {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StorageError> {
        let read = fill(&mut self.file, buffer).map_err(|e| self.unreadable(&e))?;
        self.place = self.place.saturating_add(read as u64);
        Ok(read)
    }

    fn hole(&mut self) -> u64 {
        if !self.sparse || self.place < self.no_hole_until {
            return 0;
        }
        let found = self.find_hole();
        self.sparse = found.is_ok();
        // The search has moved the file's place.
        if self.file.seek(SeekFrom::Start(self.place)).is_err() {
            self.sparse = false;
            return 0;
        }
        found.unwrap_or(0)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), StorageError> {
        self.place = self.place.saturating_add(bytes);
        self.file.seek(SeekFrom::Start(self.place)).map_err(|e| self.unreadable(&e))?;
        Ok(())
    }

    fn is_unchanged(&mut self) -> bool {
        let Some(offered) = &self.offered else { return true };
        if offered.endless {
            return true;
        }
        self.file
            .metadata()
            .is_ok_and(|now| now.len() == offered.size && now.modified().ok().and_then(time_of) == offered.modified)
    }
}

/// Content in memory.
#[derive(Debug)]
pub(super) struct Bytes(Cursor<Vec<u8>>);

impl Bytes {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(Cursor::new(bytes.to_vec()))
    }
}

impl Content for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StorageError> {
        fill(&mut self.0, buffer).map_err(|e| error(StorageFailure::Unreadable, "text", &e))
    }

    fn skip(&mut self, bytes: u64) -> Result<(), StorageError> {
        self.0.set_position(self.0.position().saturating_add(bytes));
        Ok(())
    }

    fn is_unchanged(&mut self) -> bool {
        true
    }
}

/// Reads until the buffer is full or the content ends.
pub(super) fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(more) => read = read.saturating_add(more),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}
