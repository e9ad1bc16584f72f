//! Where `receive` puts files: a [`Directory`], or [`StandardOutput`].
//!
//! Everything is opened beneath the directory, one name after another, and no link is followed: not one of this transfer,
//! not one that an earlier transfer has made, and not one that somebody puts there meanwhile.
//!
//! A file is written as `.NAME.rtmfp-part-XXXXXXXXXXXXXXXX`, readable by its owner only, and gets its name, mode and time
//! when it is whole. The name of a partial file follows from the transfer's id and the file's path, so that the same
//! transfer finds it again. What it contains is hashed again then, and not believed.

mod beneath;
mod links;
mod output;
mod sink;
mod space;
mod system;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rtmfp_files::manifest::{Entry, EntryKind, Manifest};
use rtmfp_files::name::{Names, Refusal, Rules};
use rtmfp_files::storage::{Content, Sink, StorageError, StorageFailure, Store};

pub use output::StandardOutput;
pub use texts::Texts;

use crate::text::shown;
use crate::tree::FileContent;
use beneath::{Beneath, part_name};
use sink::{Existing, Last, Partial, Target};

/// How files are taken.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreOptions {
    /// Whether files that are there already are replaced.
    pub force: bool,
    /// Whether names at the top may begin with a dot.
    pub dot_names: bool,
    /// Whether links may point anywhere.
    pub any_links: bool,
    /// Whether modes are kept as they are offered, and not reduced by the umask. Setuid, setgid and sticky never are.
    pub keep_modes: bool,
    /// Whether this goes on with an earlier transfer. Then a file of the same name and length counts as stored, and is
    /// hashed. Directories get the times that are offered even if they were there.
    pub resumed: bool,
    /// Tells the partial files of this transfer from those of others. The same for every attempt at one transfer.
    pub id: [u8; 32],
    /// Whether to go on although there seems to be too little room, as for files with large holes.
    pub ignore_space: bool,
}

/// A directory that takes files, and never anything outside it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    options: StoreOptions,
    rules: Rules,
    manifest: Manifest,
    names: Names,
    beneath: Option<Beneath>,
    texts: Texts,
    /// Directories that are of this transfer, and not the user's.
    made: BTreeSet<usize>,
    failed: Failed,
    unfinished: Unfinished,
}

impl Directory {
    /// Takes files into `path`, which is created when it is needed.
    ///
    /// # Errors
    /// If something is there that is no directory.
    pub fn new(path: &Path, options: StoreOptions) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => return Err(io::ErrorKind::NotADirectory.into()),
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(_) | Err(_) => {}
        }
        let rules = Rules {
            windows: cfg!(windows),
            case_matters: system::case_matters(path),
            dot_names: options.dot_names,
            any_links: options.any_links,
        };
        Ok(Self {
            path: path.to_owned(),
            options,
            rules,
            manifest: Manifest::default(),
            names: Names::default(),
            beneath: None,
            texts: Texts::default(),
            made: BTreeSet::new(),
            failed: Failed::default(),
            unfinished: Unfinished::default(),
        })
    }

    /// Where the texts that were received come to.
    #[must_use]
    pub fn texts(&self) -> Texts {
        self.texts.clone()
    }

    /// What becomes of the names of a manifest here: which have another name, and which are refused.
    #[must_use]
    pub fn names(&self, manifest: &Manifest) -> Names {
        Names::of(manifest, &self.rules)
    }

    /// Removes the partial files of this transfer, for one that nobody goes on with. Call it after
    /// [`prepare`](Store::prepare).
    pub fn remove_partial_files(&mut self) {
        for index in 0..self.manifest.entries.len() {
            if self.manifest.entries.get(index).is_some_and(|entry| matches!(entry.kind, EntryKind::File { .. })) {
                self.remove_partial_file(index);
            }
        }
    }

    fn remove_partial_file(&mut self, index: usize) {
        if let Ok(target) = self.target(index) {
            let _ = target.directory.remove_file(&target.part);
        }
    }

    fn entry(&self, index: usize) -> Result<&Entry, StorageError> {
        self.manifest.entries.get(index).ok_or_else(|| other("there is no such file"))
    }

    /// Where an entry goes. The directories above it are opened.
    fn target(&mut self, index: usize) -> Result<Target, StorageError> {
        if let Some(refusal) = self.names.refusal(index) {
            return Err(refused(&self.manifest, index, refusal));
        }
        let (Some(entry), Some(beneath)) = (self.manifest.entries.get(index), &mut self.beneath) else {
            return Err(other("nothing was prepared"));
        };
        let shown_path = shown(&entry.path);
        let name = self.names.name(&self.manifest, index).unwrap_or_default().to_owned();
        let directory = beneath
            .open(self.names.parent(index), &self.names, &self.manifest)
            .map_err(|e| failure(&shown_path, &e))?;
        let part = part_name(&name, &self.options.id, &entry.path);
        Ok(Target { directory, name, part, shown: shown_path })
    }

    /// Creates the directory of an entry, or takes what is there.
    fn make_directory(&mut self, index: usize) -> Result<(), StorageError> {
        let target = self.target(index)?;
        let mode = self.entry(index)?.mode;
        match system::create_directory(&target.directory, &target.name, self.mode(mode, 0o777)) {
            Ok(()) => {
                self.made.insert(index);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let there = target.directory.symlink_metadata(&target.name).map_err(|e| failure(&target.shown, &e))?;
                if !there.is_dir() {
                    return Err(exists(&target.shown, "something that is no directory"));
                }
                if self.options.resumed {
                    self.made.insert(index);
                }
                Ok(())
            }
            Err(e) => Err(failure(&target.shown, &e)),
        }
    }

    fn finish_directory(&mut self, index: usize) -> Result<(), StorageError> {
        let target = self.target(index)?;
        let entry = self.entry(index)?;
        let mode = self.mode(entry.mode, 0o777);
        let finished = system::finish_directory(&target.directory, &target.name, mode, entry.modified);
        finished.map_err(|e| failure(&target.shown, &e))
    }

    /// The permissions that something gets here.
    fn mode(&self, offered: Option<u32>, otherwise: u32) -> u32 {
        let mask = if self.options.keep_modes && offered.is_some() { 0 } else { system::umask() };
        offered.unwrap_or(otherwise) & 0o777 & !mask
    }

    fn prepare_directories(&mut self) -> Result<(), StorageError> {
        for index in 0..self.manifest.entries.len() {
            let Some(entry) = self.manifest.entries.get(index) else { break };
            if entry.kind != EntryKind::Directory || self.names.refusal(index).is_some() {
                continue;
            }
            match self.make_directory(index) {
                Ok(()) => {}
                Err(e) if e.kind == StorageFailure::Full => return Err(e),
                Err(e) => {
                    self.failed.note(index, e);
                }
            }
        }
        Ok(())
    }

    /// Bytes that are still missing of what is taken, as far as lengths are known.
    fn missing(&mut self) -> u64 {
        let mut missing: u64 = 0;
        for index in 0..self.manifest.entries.len() {
            let Some(EntryKind::File { size: Some(size) }) =
                self.manifest.entries.get(index).map(|entry| entry.kind.clone())
            else {
                continue;
            };
            if self.names.refusal(index).is_some() {
                continue;
            }
            let there = if self.options.resumed { self.stored_length(index) } else { 0 };
            missing = missing.saturating_add(size.saturating_sub(there));
        }
        missing
    }

    fn stored_length(&mut self, index: usize) -> u64 {
        let Ok(target) = self.target(index) else { return 0 };
        [&target.part, &target.name]
            .into_iter()
            .find_map(|name| target.directory.symlink_metadata(name).ok())
            .map_or(0, |metadata| metadata.len())
    }
}

impl Store for Directory {
    fn refused(&mut self, manifest: &Manifest) -> Vec<(usize, StorageError)> {
        let names = self.names(manifest);
        names.refused().map(|(index, refusal)| (index, refused(manifest, index, refusal))).collect()
    }

    fn prepare(&mut self, manifest: &Manifest) -> Result<(), StorageError> {
        let what = self.path.display().to_string();
        fs::create_dir_all(&self.path).map_err(|e| failure(&what, &e))?;
        let root = Dir::open_ambient_dir(&self.path, ambient_authority()).map_err(|e| failure(&what, &e))?;
        // It may have been created just now, and on a file system of its own.
        self.rules.case_matters = system::case_matters(&self.path);
        self.names = self.names(manifest);
        self.manifest = manifest.clone();
        self.beneath = Some(Beneath::new(root));
        drop(self.failed.take());
        if !self.options.ignore_space {
            let missing = self.missing();
            space::check(&self.path, missing)?;
        }
        self.prepare_directories()
    }

    fn stored(&mut self, index: usize) -> Option<Box<dyn Content>> {
        let EntryKind::File { size } = self.entry(index).ok()?.kind else { return None };
        let target = self.target(index).ok()?;
        let (file, metadata) = match target.open_part(false) {
            Some(part) => part,
            None if self.options.resumed => target.open_whole(size)?,
            None => return None,
        };
        Some(Box::new(FileContent::stored(file, &metadata, target.shown)))
    }

    fn create(&mut self, index: usize, from: u64) -> Result<Box<dyn Sink>, StorageError> {
        let entry = self.entry(index)?.clone();
        let size = match entry.kind {
            EntryKind::File { size } => size,
            EntryKind::Text { size } => return self.texts.sink(size),
            EntryKind::Directory | EntryKind::Symlink { .. } | _ => return Err(other("it has no content")),
        };
        let target = self.target(index)?;
        let is_there = target.directory.symlink_metadata(&target.name).is_ok();
        let part = if from > 0 { target.open_part(true) } else { None };
        // Without a partial file, what is stored is the whole one.
        let goes_on_with_whole = from > 0 && part.is_none() || from == 0 && is_there && !self.options.force;
        if self.options.resumed
            && goes_on_with_whole
            && let Some((file, _)) = target.open_whole(size)
        {
            return Ok(Box::new(Existing::new(file, from, target.shown)?));
        }
        if is_there && !self.options.force {
            return Err(exists(&target.shown, "a file of this name"));
        }
        let file = match part {
            _ if from == 0 => target.create_part()?,
            Some((file, metadata)) if from <= metadata.len() => file,
            Some(_) | None => return Err(other("what was stored is gone")),
        };
        let mode = self.mode(entry.mode, 0o666);
        let last = Last {
            mode,
            modified: entry.modified,
            force: self.options.force,
            index,
            failed: self.failed.clone(),
            unfinished: self.unfinished.clone(),
        };
        Ok(Box::new(Partial::new(file, from, target, last)?))
    }

    fn conclude(&mut self) -> Vec<(usize, StorageError)> {
        links::make(self);
        // What has not got its name by now has failed for good.
        for index in self.unfinished.take() {
            self.remove_partial_file(index);
        }
        if self.options.resumed {
            // Also what an earlier attempt had begun.
            self.remove_partial_files();
        }
        for index in self.made.clone().into_iter().rev() {
            if let Err(e) = self.finish_directory(index) {
                self.failed.note(index, e);
            }
        }
        self.failed.take()
    }
}

/// What the system says, about a file that is written.
fn failure(what: &str, e: &io::Error) -> StorageError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's list of kinds grows")]
    let kind = match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageFailure::Full,
        io::ErrorKind::AlreadyExists => StorageFailure::Exists,
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => StorageFailure::BadName,
        _ => StorageFailure::Other,
    };
    crate::tree::error(kind, what, e)
}

fn exists(what: &str, there: &str) -> StorageError {
    StorageError { kind: StorageFailure::Exists, text: format!("{what}: there is {there} (--force replaces files)") }
}

fn refused(manifest: &Manifest, index: usize, refusal: Refusal) -> StorageError {
    let path = manifest.entries.get(index).map_or_else(String::new, |entry| shown(&entry.path));
    let hint = if refusal == Refusal::LeadingDot { " (the receiver can allow this with --dot-files)" } else { "" };
    StorageError { kind: StorageFailure::BadName, text: format!("{path}: {refusal}{hint}") }
}

fn other(text: &str) -> StorageError {
    StorageError { kind: StorageFailure::Other, text: text.to_owned() }
}

/// A directory that is shared by the files that arrive in it.
type Shared = Arc<Dir>;

/// What could not be done so far, the first of each entry.
#[derive(Clone, Debug, Default)]
struct Failed(Arc<Mutex<BTreeMap<usize, StorageError>>>);

impl Failed {
    fn note(&self, index: usize, error: StorageError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(index).or_insert(error);
    }

    fn take(&self) -> Vec<(usize, StorageError)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }
}

/// The entries that have a partial file.
#[derive(Clone, Debug, Default)]
struct Unfinished(Arc<Mutex<BTreeSet<usize>>>);

impl Unfinished {
    fn begin(&self, index: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(index);
    }

    fn end(&self, index: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&index);
    }

    fn take(&self) -> BTreeSet<usize> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
