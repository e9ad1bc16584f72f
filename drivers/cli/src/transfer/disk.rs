//! Files of the local file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::name::{self, PART_MARK};
use super::protocol::{Verdict, VerdictCode, clip};
use super::store::{Content, Incoming, Outgoing, Store};

/// Bytes of a file's name that are repeated in the name of its partial file, so that this is not too long.
const STEM_MAX: usize = 160;
/// Attempts at a partial file's random name.
const ATTEMPTS: usize = 16;

/// Why a name with a leading dot is refused.
const DOT_NAME: &str = "names that begin with a dot are not taken (the receiver can allow this with --dot-files)";
/// Why a pipe or device is not sent.
const NOT_REGULAR: &str = "is not a regular file: write what it gives to a file first, and send that";
/// Bytes after which a file is written through to the disk, and again after as many: errors that the system tells late
/// are heard before the file is verified, and no write keeps the session waiting for long. Smaller files are not, as
/// each would cost several milliseconds.
const SYNC_BYTES: u64 = 16 << 20;
/// A file of this length is written through before it gets its name.
const SYNC_MIN: u64 = 1 << 20;

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
    if !meta.is_file() {
        return Err(format!("{shown} {NOT_REGULAR}"));
    }
    let name = path.file_name().ok_or_else(|| format!("{shown} has no file name"))?;
    let name = name.to_str().ok_or_else(|| format!("{shown}: the name is not UTF-8; rename it or send a copy"))?;
    name::check(name).map_err(|e| format!("{shown}: {e}; rename it or send a copy"))?;
    // Opened once now, so that what cannot be read is told of before anything is sent.
    let (_, size) = open_regular(path).map_err(|e| format!("{shown}: {e}"))?;
    Ok((Outgoing { name: name.to_owned(), content: Box::new(DiskContent(path.to_owned())) }, size))
}

/// Opens a file for reading and tells its length. Fails for anything without a length that can be told, and never
/// waits, as for the other end of a pipe.
fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    let file = options.open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, NOT_REGULAR));
    }
    Ok((file, meta.len()))
}

#[derive(Debug)]
struct DiskContent(PathBuf);

impl Content for DiskContent {
    fn open(&mut self) -> io::Result<(u64, Box<dyn Read + Send>)> {
        let (file, size) = open_regular(&self.0)?;
        Ok((size, Box::new(file)))
    }
}

/// A directory that takes files, and never anything outside it.
///
/// A file is written as `.NAME.rtmfp-part-XXXXXXXX` and gets its own name only by [`commit`](Incoming::commit). One of
/// 1 MiB or more is on the disk by then; a smaller one may be lost with the power, or an error of the disk that the
/// system tells of only later go unheard.
///
/// A name is taken by the first file of it that is committed, and not before: nobody can keep it from others by beginning
/// a file.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    force: bool,
    dot_names: bool,
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
        Ok(Self { path: path.to_owned(), force, dot_names: false })
    }

    /// Takes names that begin with a dot too. By default they are refused: such files are not seen in listings, and
    /// some, as `.bashrc`, are run.
    #[must_use]
    pub const fn with_dot_names(mut self, dot_names: bool) -> Self {
        self.dot_names = dot_names;
        self
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
        if name.starts_with('.') && !self.dot_names {
            return Err(Verdict::new(VerdictCode::BadName, DOT_NAME));
        }
        let target = self.path.join(name);
        if !self.force && target.symlink_metadata().is_ok() {
            return Err(exists());
        }
        let (file, part) = self.create_part(name).map_err(|e| storage(&e))?;
        Ok(Box::new(Partial { file: Some(file), length: 0, part, target, force: self.force }))
    }
}

#[derive(Debug)]
struct Partial {
    /// `None` once it is closed.
    file: Option<File>,
    length: u64,
    part: PathBuf,
    target: PathBuf,
    force: bool,
}

impl Incoming for Partial {
    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(content)?;
        let before = self.length / SYNC_BYTES;
        self.length += content.len() as u64;
        if self.length / SYNC_BYTES > before { file.sync_data() } else { Ok(()) }
    }

    fn commit(mut self: Box<Self>) -> Result<(), Verdict> {
        if let Some(file) = self.file.take()
            && self.length >= SYNC_MIN
        {
            file.sync_data().map_err(|e| storage(&e))?;
        }
        let placed = if self.force { fs::rename(&self.part, &self.target) } else { place(&self.part, &self.target) };
        // A partial name that is still there goes with `self`.
        placed.map_err(|e| if e.kind() == io::ErrorKind::AlreadyExists { exists() } else { storage(&e) })
    }
}

/// Gives a file its name, unless something has it.
///
/// # Errors
/// `AlreadyExists` if something has it.
fn place(part: &Path, target: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, part, CWD, target, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::EXIST) => return Err(io::ErrorKind::AlreadyExists.into()),
            // Not every file system and kernel can.
            Err(_) => {}
        }
    }
    match fs::hard_link(part, target) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => place_over_own(part, target),
        other => other,
    }
}

/// [`place`] where neither such a rename nor a link is to be had: takes the name with an empty file first, which fails
/// if something has it, and replaces that. Only whoever replaces the empty file in between loses what they put there.
fn place_over_own(part: &Path, target: &Path) -> io::Result<()> {
    drop(OpenOptions::new().write(true).create_new(true).open(target)?);
    fs::rename(part, target).inspect_err(|_| {
        let _ = fs::remove_file(target);
    })
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

#[cfg(test)]
#[path = "disk/tests.rs"]
mod tests;
