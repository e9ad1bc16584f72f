//! A file that is arriving.

use std::fs::{File, FileTimes, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::fs::OpenOptions;
use rtmfp_files::manifest::Time;
use rtmfp_files::storage::{Sink, StorageError};

use super::{Failed, Shared, Unfinished, exists, failure, other, system};
use crate::times::system_time;

/// Bytes after which a file is written through to the disk, and again after as many: errors that the system tells late
/// are heard before the file is verified, and no write keeps the session waiting for long. Smaller files are not, as
/// each would cost several milliseconds.
const SYNC_BYTES: u64 = 16 << 20;
/// A file of this length is written through before it gets its name.
const SYNC_MIN: u64 = 1 << 20;
/// Bytes that are compared at once.
const COMPARED: usize = 64 << 10;

/// Where a file goes.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) directory: Shared,
    pub(super) name: String,
    /// The name of its partial file.
    pub(super) part: String,
    /// Its path, for people.
    pub(super) shown: String,
}

impl Target {
    /// Opens the partial file of an earlier attempt, if it is this user's own and has no other name: it is written into.
    pub(super) fn open_part(&self, write: bool) -> Option<(File, Metadata)> {
        let (file, metadata) = self.open(&self.part, write)?;
        // It may have got its last mode already.
        let is_private = !write || system::set_mode(&file, 0o600).is_ok();
        (system::is_own(&metadata) && is_private).then_some((file, metadata))
    }

    /// Opens the file of its own name, if it has the length that is expected.
    pub(super) fn open_whole(&self, size: Option<u64>) -> Option<(File, Metadata)> {
        let whole = self.open(&self.name, false)?;
        (size == Some(whole.1.len())).then_some(whole)
    }

    fn open(&self, name: &str, write: bool) -> Option<(File, Metadata)> {
        let mut options = OpenOptions::new();
        options.read(true).write(write).follow(FollowSymlinks::No);
        #[cfg(unix)]
        {
            // Nobody is waited for at the other end of a pipe.
            use cap_std::fs::OpenOptionsExt as _;
            options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
        }
        let file = self.directory.open_with(name, &options).ok()?.into_std();
        let metadata = file.metadata().ok().filter(Metadata::is_file)?;
        Some((file, metadata))
    }

    /// Creates the partial file, or takes the one of an earlier attempt. Anything else of its name is removed.
    pub(super) fn create_part(&self) -> Result<File, StorageError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).follow(FollowSymlinks::No);
        #[cfg(unix)]
        {
            use cap_std::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let created = match self.directory.open_with(&self.part, &options) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if let Some((file, _)) = self.open_part(true) {
                    return Ok(file);
                }
                self.directory.remove_file(&self.part).and_then(|()| self.directory.open_with(&self.part, &options))
            }
            created => created,
        };
        created.map(cap_std::fs::File::into_std).map_err(|e| failure(&self.shown, &e))
    }
}

/// What is done when a file is whole.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) mode: u32,
    pub(super) modified: Option<Time>,
    /// Whether it replaces what has its name.
    pub(super) force: bool,
    pub(super) index: usize,
    /// Where it is noted that a whole file has not the time that was offered.
    pub(super) failed: Failed,
    /// Where it is noted that the file is whole, or that its partial file is gone.
    pub(super) unfinished: Unfinished,
}

/// A file under the name of its partial file.
#[derive(Debug)]
pub(super) struct Partial {
    file: File,
    length: u64,
    target: Target,
    last: Last,
}

impl Partial {
    /// Goes on after the first `from` bytes.
    pub(super) fn new(file: File, from: u64, target: Target, last: Last) -> Result<Self, StorageError> {
        match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) => return Err(other("another transfer writes this file")),
            // Not every file system has locks.
            Ok(()) | Err(std::fs::TryLockError::Error(_)) => {}
        }
        last.unfinished.begin(last.index);
        let mut partial = Self { file, length: from, target, last };
        let cut = partial.file.set_len(from).and_then(|()| partial.file.seek(SeekFrom::Start(from)));
        cut.map_err(|e| partial.failed(&e))?;
        Ok(partial)
    }

    fn failed(&self, e: &io::Error) -> StorageError {
        failure(&self.target.shown, e)
    }

    fn put(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        self.grown(content.len() as u64)
    }

    fn put_hole(&mut self, bytes: u64) -> io::Result<()> {
        let end = self.length.checked_add(bytes).ok_or(io::ErrorKind::FileTooLarge)?;
        self.file.set_len(end)?;
        self.file.seek(SeekFrom::Start(end))?;
        self.length = end;
        Ok(())
    }

    fn grown(&mut self, bytes: u64) -> io::Result<()> {
        let before = self.length / SYNC_BYTES;
        self.length = self.length.saturating_add(bytes);
        if self.length / SYNC_BYTES > before { self.file.sync_data() } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.length >= SYNC_MIN {
            self.file.sync_data()?;
        }
        system::set_mode(&self.file, self.last.mode)?;
        let times = self.last.modified.and_then(system_time).map(|modified| FileTimes::new().set_modified(modified));
        let dated = times.map_or(Ok(()), |times| self.file.set_times(times));
        let Target { directory, name, part, .. } = &self.target;
        if self.last.force {
            directory.rename(part, directory, name)?;
        } else {
            system::place(directory, part, name)?;
        }
        if let Err(e) = dated {
            self.last.failed.note(self.last.index, failure(&format!("{}: its time", self.target.shown), &e));
        }
        Ok(())
    }
}

impl Sink for Partial {
    fn write(&mut self, content: &[u8]) -> Result<(), StorageError> {
        self.put(content).map_err(|e| self.failed(&e))
    }

    fn hole(&mut self, bytes: u64) -> Result<(), StorageError> {
        self.put_hole(bytes).map_err(|e| self.failed(&e))
    }

    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        let Err(e) = self.finish() else {
            self.last.unfinished.end(self.last.index);
            return Ok(());
        };
        if e.kind() == io::ErrorKind::AlreadyExists {
            let _ = self.target.directory.remove_file(&self.target.part);
            return Err(exists(&self.target.shown, "a file of this name"));
        }
        Err(self.failed(&e))
    }
}

/// A file that an earlier attempt has put in its place. What comes is compared with it, and nothing is written.
#[derive(Debug)]
pub(super) struct Existing {
    file: File,
    shown: String,
}

impl Existing {
    pub(super) fn new(mut file: File, from: u64, shown: String) -> Result<Self, StorageError> {
        file.seek(SeekFrom::Start(from)).map_err(|e| failure(&shown, &e))?;
        Ok(Self { file, shown })
    }

    fn compare(&mut self, mut content: &[u8]) -> Result<(), StorageError> {
        let mut there = vec![0; COMPARED.min(content.len())];
        while !content.is_empty() {
            let (now, rest) = content.split_at(COMPARED.min(content.len()));
            let there = there.get_mut(..now.len()).unwrap_or_default();
            let same = self.file.read_exact(there).is_ok() && there == now;
            if !same {
                return Err(exists(&self.shown, "a file of this name with other content"));
            }
            content = rest;
        }
        Ok(())
    }
}

impl Sink for Existing {
    fn write(&mut self, content: &[u8]) -> Result<(), StorageError> {
        self.compare(content)
    }

    fn hole(&mut self, mut bytes: u64) -> Result<(), StorageError> {
        let zeros = vec![0; COMPARED];
        while bytes > 0 {
            let now = usize::try_from(bytes).unwrap_or(COMPARED).min(COMPARED);
            self.compare(zeros.get(..now).unwrap_or_default())?;
            bytes = bytes.saturating_sub(now as u64);
        }
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        Ok(())
    }
}
