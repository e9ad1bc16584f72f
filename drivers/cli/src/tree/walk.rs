//! Finding what is in directories.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rtmfp_files::manifest::{Entry, EntryKind, Manifest};
use rtmfp_files::name::{MAX_DEPTH, MAX_PATH, PART_MARK};

use super::content::{NOT_REGULAR, inode, open_regular};
use super::{ENTRIES_MAX, Offered, Origin, Skipped, Tree, TreeError, TreeOptions, unreadable};
use crate::times::time_of;

/// A file that the system calls shorter than this without any block on a disk may have more content than it says.
const DOUBTFUL: u64 = 4096;

/// The name under which a path is offered.
pub(super) fn top_name(path: &Path) -> Result<String, TreeError> {
    let whole;
    let name = match path.file_name() {
        Some(name) => name,
        // `.` and `..` have names too.
        None => {
            whole = fs::canonicalize(path).map_err(|e| unreadable(path, e))?;
            whole.file_name().ok_or_else(|| unreadable(path, "it has no name"))?
        }
    };
    let name = name.to_str().ok_or_else(|| unreadable(path, "its name is not Unicode: rename it, or send a copy"))?;
    Ok(name.to_owned())
}

/// What was found so far.
pub(super) struct Found {
    entries: Vec<(Entry, Origin)>,
    skipped: Vec<Skipped>,
    exclude: Gitignore,
    excluded: usize,
    /// Paths of entries that a list has named, as it may do that twice.
    listed: BTreeSet<String>,
}

impl Found {
    pub(super) fn new(options: &TreeOptions) -> Result<Self, TreeError> {
        let refused =
            |pattern: &str, e: &dyn ToString| TreeError::Pattern { pattern: pattern.to_owned(), why: e.to_string() };
        let mut builder = GitignoreBuilder::new("");
        for pattern in &options.exclude {
            builder.add_line(None, pattern).map_err(|e| refused(pattern, &e))?;
        }
        let exclude = builder.build().map_err(|e| refused(&options.exclude.join(" "), &e))?;
        Ok(Self { entries: Vec::new(), skipped: Vec::new(), exclude, excluded: 0, listed: BTreeSet::new() })
    }

    pub(super) fn tops(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(entry, _)| entry.path.as_str()).filter(|path| !path.contains('/'))
    }

    pub(super) fn skip(&mut self, path: &Path, why: impl ToString) {
        self.skipped.push(Skipped { path: path.to_owned(), why: why.to_string() });
    }

    pub(super) fn push(&mut self, entry: Entry, origin: Origin) -> Result<(), TreeError> {
        if self.entries.len() >= ENTRIES_MAX {
            return Err(TreeError::TooMany);
        }
        self.entries.push((entry, origin));
        Ok(())
    }

    /// Adds a path that the user named, with all that is in it.
    pub(super) fn named(&mut self, path: &Path, name: String) -> Result<(), TreeError> {
        let refused = |e: io::Error| unreadable(path, e);
        let metadata = fs::metadata(path).map_err(refused)?;
        if self.excludes(&name, metadata.is_dir()) {
            return Ok(());
        }
        // A link is followed here, and where it leads is opened without following any.
        let is_link = fs::symlink_metadata(path).map_err(refused)?.is_symlink();
        let real = if is_link { fs::canonicalize(path).map_err(refused)? } else { path.to_owned() };
        if metadata.is_dir() {
            fs::read_dir(&real).map_err(refused)?;
            return self.walk(real, name);
        }
        let (entry, origin) = described(&real, name, &metadata).map_err(|why| unreadable(path, why))?;
        self.push(entry, origin)
    }

    /// Adds a directory and what is in it.
    fn walk(&mut self, top: PathBuf, name: String) -> Result<(), TreeError> {
        let mut directories = vec![(top, name)];
        while let Some((directory, name)) = directories.pop() {
            let metadata = match fs::symlink_metadata(&directory) {
                Ok(metadata) => metadata,
                Err(e) => {
                    self.skip(&directory, e);
                    continue;
                }
            };
            self.push(entry_of(name.clone(), EntryKind::Directory, &metadata), Origin::None)?;
            // Before it is opened: a link in its place is not followed.
            let found =
                if metadata.is_dir() { fs::read_dir(&directory) } else { Err(io::ErrorKind::NotADirectory.into()) };
            match found {
                Ok(found) => {
                    for inner in found {
                        match inner {
                            Ok(inner) => self.inner(&inner.path(), &inner.file_name(), &name, &mut directories)?,
                            Err(e) => self.skip(&directory, e),
                        }
                    }
                }
                Err(e) => self.skip(&directory, format!("what is in it is not sent: {e}")),
            }
        }
        Ok(())
    }

    /// Adds what was found in a directory, unless it is a directory: then it comes to those.
    fn inner(
        &mut self,
        path: &Path,
        name: &std::ffi::OsStr,
        within: &str,
        directories: &mut Vec<(PathBuf, String)>,
    ) -> Result<(), TreeError> {
        let Some(name) = name.to_str() else {
            self.skip(path, "its name is not Unicode");
            return Ok(());
        };
        let offered = format!("{within}/{name}");
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(e) => {
                self.skip(path, e);
                return Ok(());
            }
        };
        if self.excludes(&offered, metadata.is_dir()) {
            return Ok(());
        }
        if let Err(why) = fits(&offered) {
            self.skip(path, why);
            return Ok(());
        }
        if metadata.is_dir() {
            directories.push((path.to_owned(), offered));
            return Ok(());
        }
        match described(path, offered, &metadata) {
            Ok((entry, origin)) => self.push(entry, origin),
            Err(why) => {
                self.skip(path, why);
                Ok(())
            }
        }
    }

    /// Adds a path of a list: a directory without what is in it. The directories above it come with it.
    pub(super) fn one(&mut self, path: &Path, offered: &str) -> Result<(), TreeError> {
        if let Err(why) = fits(offered) {
            self.skip(path, why);
            return Ok(());
        }
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(e) => {
                self.skip(path, e);
                return Ok(());
            }
        };
        if self.exclude.matched_path_or_any_parents(offered, metadata.is_dir()).is_ignore() {
            self.excluded = self.excluded.saturating_add(1);
            return Ok(());
        }
        for (end, _) in offered.match_indices('/') {
            let (above, below) = offered.split_at(end);
            let mut real = path;
            for _ in below.matches('/') {
                real = real.parent().unwrap_or(real);
            }
            match fs::metadata(real) {
                Ok(metadata) if !self.listed.contains(above) => {
                    self.listed.insert(above.to_owned());
                    self.push(entry_of(above.to_owned(), EntryKind::Directory, &metadata), Origin::None)?;
                }
                Ok(_) => {}
                Err(e) => {
                    self.skip(real, e);
                    return Ok(());
                }
            }
        }
        if self.listed.contains(offered) {
            return Ok(());
        }
        let (entry, origin) = if metadata.is_dir() {
            (entry_of(offered.to_owned(), EntryKind::Directory, &metadata), Origin::None)
        } else {
            match described(path, offered.to_owned(), &metadata) {
                Ok(described) => described,
                Err(why) => {
                    self.skip(path, why);
                    return Ok(());
                }
            }
        };
        self.listed.insert(offered.to_owned());
        self.push(entry, origin)
    }

    fn excludes(&mut self, path: &str, is_directory: bool) -> bool {
        let excluded = self.exclude.matched(path, is_directory).is_ignore();
        self.excluded = self.excluded.saturating_add(usize::from(excluded));
        excluded
    }

    pub(super) fn into_tree(mut self) -> Result<Tree, TreeError> {
        if self.entries.is_empty() {
            return Err(match self.skipped.into_iter().next() {
                Some(Skipped { path, why }) => TreeError::Unreadable { path, why },
                None => TreeError::Nothing,
            });
        }
        // By their names, and not by the whole text: a directory comes right before what is in it.
        self.entries.sort_by(|(a, _), (b, _)| a.path.split('/').cmp(b.path.split('/')));
        self.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let (entries, origins) = self.entries.into_iter().unzip();
        Ok(Tree {
            manifest: Manifest { entries },
            origins,
            skipped: self.skipped,
            excluded: self.excluded,
            waker: None,
        })
    }
}

fn fits(path: &str) -> Result<(), &'static str> {
    if path.len() > MAX_PATH {
        return Err("its path is longer than 4,096 bytes");
    }
    if path.matches('/').count() > MAX_DEPTH {
        return Err("it is in more than 128 directories, one in another");
    }
    if path.to_ascii_lowercase().contains(PART_MARK) {
        return Err("it is a partial file of this program");
    }
    Ok(())
}

fn entry_of(path: String, kind: EntryKind, metadata: &Metadata) -> Entry {
    #[cfg(unix)]
    let mode = {
        use std::os::unix::fs::MetadataExt as _;
        Some(metadata.mode() & 0o7777)
    };
    #[cfg(not(unix))]
    let mode = None;
    Entry { path, kind, mode, modified: metadata.modified().ok().and_then(time_of) }
}

/// The entry of something that is no directory, or why it cannot be sent.
fn described(path: &Path, offered: String, metadata: &Metadata) -> Result<(Entry, Origin), String> {
    if metadata.is_symlink() {
        let target = fs::read_link(path).map_err(|e| e.to_string())?;
        let target = target.to_str().ok_or("the path that the link holds is not Unicode")?.to_owned();
        return Ok((entry_of(offered, EntryKind::Symlink { target }, metadata), Origin::None));
    }
    if !metadata.is_file() {
        return Err(NOT_REGULAR.to_owned());
    }
    may_be_read(path).map_err(|e| e.to_string())?;
    let endless = is_doubtful(metadata) && has_other_length(path, metadata.len()).map_err(|e| e.to_string())?;
    let size = (!endless).then_some(metadata.len());
    let entry = entry_of(offered, EntryKind::File { size }, metadata);
    let origin = Offered {
        path: path.to_owned(),
        size: metadata.len(),
        modified: entry.modified,
        inode: inode(metadata),
        endless,
    };
    Ok((entry, Origin::File(origin)))
}

/// Whether this user may read a file, as far as the system tells without opening it.
fn may_be_read(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::fs::{Access, AtFlags, CWD, accessat};
        Ok(accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS)?)
    }
    #[cfg(not(unix))]
    {
        open_regular(path).map(drop)
    }
}

/// Whether the length that the system tells may be wrong, as in `/proc` and `/sys`.
fn is_doubtful(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        metadata.len() <= DOUBTFUL && metadata.blocks() == 0
    }
    #[cfg(not(unix))]
    {
        let _ = (metadata, DOUBTFUL);
        false
    }
}

fn has_other_length(path: &Path, length: u64) -> io::Result<bool> {
    let (file, _) = open_regular(path)?;
    let read = io::copy(&mut file.take(length.saturating_add(1)), &mut io::sink())?;
    Ok(read != length)
}
