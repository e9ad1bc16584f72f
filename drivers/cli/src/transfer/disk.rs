//! Files of the local file system.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::name::{self, PART_MARK};
use super::protocol::{Verdict, VerdictCode, clip};
use super::store::{Content, Incoming, Outgoing, Store};

/// Bytes of a file's name that are repeated in the name of its partial file, so that this is not too long.
const STEM_MAX: usize = 160;
/// Attempts at a partial file's random name.
const ATTEMPTS: usize = 16;

/// A file of the local file system to be sent under its own name.
///
/// # Errors
/// If it is not a readable file with a name that a receiver takes.
pub fn outgoing(path: &Path) -> Result<(Outgoing, u64), String> {
    let shown = path.display();
    let meta = fs::metadata(path).map_err(|e| format!("{shown}: {e}"))?;
    if meta.is_dir() {
        return Err(format!("{shown} is a directory: pack it first, for example with tar"));
    }
    let name = path.file_name().ok_or_else(|| format!("{shown} has no file name"))?;
    let name = name.to_str().ok_or_else(|| format!("{shown}: the name is not UTF-8; rename it or send a copy"))?;
    name::check(name).map_err(|e| format!("{shown}: {e}; rename it or send a copy"))?;
    // Opened once now, so that what cannot be read is told of before anything is sent.
    File::open(path).map_err(|e| format!("{shown}: {e}"))?;
    Ok((Outgoing { name: name.to_owned(), content: Box::new(DiskContent(path.to_owned())) }, meta.len()))
}

#[derive(Debug)]
struct DiskContent(PathBuf);

impl Content for DiskContent {
    fn open(&mut self) -> io::Result<(u64, Box<dyn Read + Send>)> {
        let file = File::open(&self.0)?;
        Ok((file.metadata()?.len(), Box::new(file)))
    }
}

/// A directory that takes files, and never anything outside it.
///
/// A file is written as `.NAME.rtmfp-part-XXXXXXXX` and gets its own name only by [`commit`](Incoming::commit).
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    force: bool,
    /// Names on their way.
    busy: Arc<Mutex<BTreeSet<String>>>,
}

impl Directory {
    /// Takes files into `path`; files that are there already are replaced only with `force`.
    ///
    /// # Errors
    /// If it is not a directory.
    pub fn new(path: &Path, force: bool) -> io::Result<Self> {
        if !fs::metadata(path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { path: path.to_owned(), force, busy: Arc::default() })
    }

    /// Creates a partial file under a name that nobody has.
    fn create_part(&self, name: &str) -> io::Result<(File, PathBuf)> {
        let stem = clip(name, STEM_MAX);
        for _ in 0..ATTEMPTS {
            let mut random = [0; 4];
            getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
            let path = self.path.join(format!(".{stem}{PART_MARK}{:08x}", u32::from_be_bytes(random)));
            // `create_new` follows no symbolic link.
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other.map(|file| (file, path)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Store for Directory {
    fn create(&mut self, name: &str, _size: u64) -> Result<Box<dyn Incoming>, Verdict> {
        name::check(name).map_err(|e| Verdict::new(VerdictCode::BadName, e.to_string()))?;
        let target = self.path.join(name);
        if !self.force && target.symlink_metadata().is_ok() {
            return Err(exists());
        }
        if !lock(&self.busy).insert(name.to_owned()) {
            return Err(Verdict::new(VerdictCode::Exists, "a file of this name is being received already"));
        }
        let busy = Busy { names: Arc::clone(&self.busy), name: name.to_owned() };
        let (file, part) = self.create_part(name).map_err(|e| storage(&e))?;
        Ok(Box::new(Partial { file: Some(file), part, target, force: self.force, _busy: busy }))
    }
}

/// Keeps a name taken as long as it lives.
#[derive(Debug)]
struct Busy {
    names: Arc<Mutex<BTreeSet<String>>>,
    name: String,
}

impl Drop for Busy {
    fn drop(&mut self) {
        lock(&self.names).remove(&self.name);
    }
}

#[derive(Debug)]
struct Partial {
    /// `None` once it is closed.
    file: Option<File>,
    part: PathBuf,
    target: PathBuf,
    force: bool,
    _busy: Busy,
}

impl Incoming for Partial {
    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(content))
    }

    fn commit(mut self: Box<Self>) -> Result<(), Verdict> {
        drop(self.file.take());
        if self.force {
            return fs::rename(&self.part, &self.target).map_err(|e| storage(&e));
        }
        // A link fails where a rename would replace what has come there meanwhile. The partial name goes with `self`.
        match fs::hard_link(&self.part, &self.target) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(exists()),
            // No links on this file system.
            Err(_) if self.target.symlink_metadata().is_ok() => Err(exists()),
            Err(_) => fs::rename(&self.part, &self.target).map_err(|e| storage(&e)),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        drop(self.file.take());
        let _ = fs::remove_file(&self.part);
    }
}

fn exists() -> Verdict {
    Verdict::new(VerdictCode::Exists, "there is a file of this name (the receiver can allow this with --force)")
}

fn storage(error: &io::Error) -> Verdict {
    Verdict::new(VerdictCode::Storage, format!("the receiver could not store it: {error}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
