//! What `send` offers: the files and directories that the user names, as a manifest and its content.
//!
//! A path that is named goes under its last component, so `a/b` is offered as `b` with all that is in it. A symbolic link
//! that is named is followed, as `scp` and `cp -H` do: whoever sends `latest` means what it leads to. Links within
//! directories are offered as links, as `tar` and `rsync -l` do, and never followed.

mod content;
mod listed;
mod piped;
mod walk;

use core::fmt;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rtmfp_files::manifest::{Entry, EntryKind, Manifest, Time};
use rtmfp_files::storage::{Content, Source, StorageError, StorageFailure};
use rtmfp_std::Waker;

use content::Bytes;
pub(crate) use content::{FileContent, error};
use piped::Piped;

/// The most entries that are offered.
const ENTRIES_MAX: usize = 1_000_000;
/// The name of standard input.
const STDIN_NAME: &str = "stdin";
/// The most bytes of a list of paths.
const LIST_MAX: u64 = 256 << 20;

/// What is to be sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TreeOptions {
    /// Files and directories, with all that is in them; `-` is standard input.
    pub paths: Vec<PathBuf>,
    /// A list of more paths.
    pub list: Option<PathList>,
    /// What is left out, in the syntax of `.gitignore`. A leading `/` stands for the top of what is offered.
    pub exclude: Vec<String>,
    /// A text that is shown to the receiver and not stored.
    pub text: Option<String>,
    /// The name that standard input is offered under; `stdin` if there is none.
    pub stdin_name: Option<String>,
}

/// A file with paths, as `--files-from` names it.
///
/// Unlike the paths of a command line, these keep their directories: `a/b` is offered as `a/b`. Only what is listed is
/// sent: a directory in the list is created, and what is in it is not sent unless it is listed too. Links are sent as links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathList {
    /// The file; `-` is standard input.
    pub path: PathBuf,
    /// Whether paths end with a NUL instead of a line's end.
    pub nul: bool,
}

/// What is not offered, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// Its path.
    pub path: PathBuf,
    /// For people.
    pub why: String,
}

/// Why nothing can be offered.
#[derive(Debug)]
#[non_exhaustive]
pub enum TreeError {
    /// What was named cannot be read, or cannot be sent.
    Unreadable {
        /// What was named.
        path: PathBuf,
        /// For people.
        why: String,
    },
    /// Two paths would have one name.
    SameName {
        /// That name.
        name: String,
        /// One of the paths.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A pattern cannot be understood.
    Pattern {
        /// The pattern.
        pattern: String,
        /// For people.
        why: String,
    },
    /// There are more than 1,000,000 entries.
    TooMany,
    /// Nothing is left to be sent.
    Nothing,
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, why } => write!(f, "{}: {why}", path.display()),
            Self::SameName { name, first, second } => write!(
                f,
                "{} and {} would both be named {name}: rename one, or send them one after the other",
                first.display(),
                second.display()
            ),
            Self::Pattern { pattern, why } => write!(f, "{pattern} is no pattern: {why}"),
            Self::TooMany => f.write_str("there are more than 1,000,000 files and directories: pack them first"),
            Self::Nothing => f.write_str("nothing is left to be sent"),
        }
    }
}

impl core::error::Error for TreeError {}

/// A file as it was when it was offered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Offered {
    path: PathBuf,
    /// As the system says, which is 0 for many files that have content.
    size: u64,
    modified: Option<Time>,
    /// Device and number, where a system has them.
    inode: Option<(u64, u64)>,
    /// Whether it is read to its end, wherever that is.
    endless: bool,
}

/// Where the content of an entry comes from.
#[derive(Clone, Debug)]
enum Origin {
    /// It has none.
    None,
    File(Offered),
    Stdin,
    Text(String),
}

/// What is sent. A clone reads it once more.
#[derive(Clone, Debug)]
pub struct Tree {
    manifest: Manifest,
    origins: Vec<Origin>,
    skipped: Vec<Skipped>,
    excluded: usize,
    waker: Option<Waker>,
}

impl Tree {
    /// Looks at everything that is named, without reading content.
    ///
    /// # Errors
    /// If something that is named cannot be sent. What is found in directories and cannot be sent is
    /// [skipped](Self::skipped), and told there.
    pub fn new(options: &TreeOptions) -> Result<Self, TreeError> {
        let mut found = walk::Found::new(options)?;
        let mut tops: BTreeMap<String, PathBuf> = BTreeMap::new();
        if let Some(list) = &options.list {
            listed::read(list, &mut found)?;
            tops.extend(found.tops().map(|top| (top.to_owned(), list.path.clone())));
        }
        for path in &options.paths {
            let is_stdin = path == Path::new("-");
            if is_stdin && options.list.as_ref().is_some_and(|list| list.path == *path) {
                return Err(unreadable(path, "the list of paths is read from standard input already"));
            }
            let name = if is_stdin {
                options.stdin_name.as_deref().unwrap_or(STDIN_NAME).to_owned()
            } else {
                walk::top_name(path)?
            };
            if let Some(first) = tops.insert(name.clone(), path.clone()) {
                return Err(TreeError::SameName { name, first, second: path.clone() });
            }
            if is_stdin {
                let entry = Entry { path: name, kind: EntryKind::File { size: None }, mode: None, modified: None };
                found.push(entry, Origin::Stdin)?;
            } else {
                found.named(path, name)?;
            }
        }
        if let Some(text) = &options.text {
            let kind = EntryKind::Text { size: text.len() as u64 };
            let entry = Entry { path: "text".to_owned(), kind, mode: None, modified: None };
            found.push(entry, Origin::Text(text.clone()))?;
        }
        found.into_tree()
    }

    /// Has standard input wake this driver whenever more of it has come. Without, who reads it waits.
    #[must_use]
    pub fn waking(mut self, waker: Waker) -> Self {
        self.waker = Some(waker);
        self
    }

    /// What is offered: a directory before what is in it, and names sorted by their bytes.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What was found and is not offered: it cannot be read or sent, or its name is not Unicode.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// How many files and directories the patterns left out. What is in such a directory is not counted.
    #[must_use]
    pub const fn excluded(&self) -> usize {
        self.excluded
    }
}

impl Source for Tree {
    fn open(&mut self, index: usize) -> Result<Box<dyn Content>, StorageError> {
        match self.origins.get_mut(index) {
            Some(Origin::File(offered)) => Ok(Box::new(FileContent::open(offered)?)),
            Some(origin @ Origin::Stdin) => {
                // It can be read once.
                *origin = Origin::None;
                Ok(Box::new(Piped::new(Box::new(io::stdin()), STDIN_NAME, self.waker.clone())?))
            }
            Some(Origin::Text(text)) => Ok(Box::new(Bytes::new(text.as_bytes()))),
            Some(Origin::None) | None => Err(StorageError {
                kind: StorageFailure::Unreadable,
                text: "it has no content, or was read already".to_owned(),
            }),
        }
    }
}

fn unreadable(path: &Path, why: impl fmt::Display) -> TreeError {
    TreeError::Unreadable { path: path.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests;
