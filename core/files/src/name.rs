//! Which names of a manifest a receiver takes, and under which other name it takes what it cannot take as offered.
//!
//! The sender is a stranger: its names are made to lead out of the directory, to look like others, to mean devices, to
//! replace what the receiver has. [`Names::of`] judges a whole manifest, as many of these tricks need two entries. The
//! judgement is a pure function: a transfer that goes on after an interruption comes to the same names.
//!
//! An entry is refused if nothing that it can have meant is safe, and renamed if only its spelling is in the way. Both are
//! told, so that nothing happens unseen.

mod single;
mod target;

use alloc::borrow::{Cow, ToOwned as _};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::manifest::{Entry, EntryKind, Manifest};

pub use single::is_invisible;

/// The longest path that is taken, in bytes.
pub const MAX_PATH: usize = 4096;
/// The longest name between two `/`, in bytes: what common file systems allow.
pub const MAX_NAME: usize = 255;
/// Directories one in another, at most.
pub const MAX_DEPTH: usize = 128;
/// Stands in the names of partial files: `.NAME.rtmfp-part-XXXX`. No name that contains it is taken.
pub const PART_MARK: &str = ".rtmfp-part-";
/// Names that are tried for an entry whose own is taken.
const MAX_ATTEMPTS: usize = 16;

/// What the receiver's system and user make of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// Whether the names must be good for Windows.
    pub windows: bool,
    /// Whether the file system was seen to tell `A` from `a`. Two spellings of one Unicode text are one name in any case.
    pub case_matters: bool,
    /// Whether names at the top of the directory may begin with a dot. Such files are not seen, and some are run.
    pub dot_names: bool,
    /// Whether symbolic links may point anywhere.
    pub any_links: bool,
}

/// Why an entry is not taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// A name is empty.
    Empty,
    /// More than [`MAX_PATH`] or [`MAX_NAME`] bytes.
    TooLong,
    /// More than [`MAX_DEPTH`] directories one in another.
    TooDeep,
    /// A name is `.` or `..`.
    Dots,
    /// The path begins at a root or a drive.
    Absolute,
    /// A name has a NUL character.
    Nul,
    /// The name is one of this program's partial files.
    Reserved,
    /// A name at the top begins with a dot.
    LeadingDot,
    /// There is an entry of this path already.
    Duplicate,
    /// The name is taken, and so is every other that was tried.
    Collision,
    /// The directory that it is in does not come before it.
    NoDirectory,
    /// The directory that it is in is refused.
    DirectoryRefused,
    /// What it is in is a file.
    InFile,
    /// What it is in is a symbolic link.
    InLink,
    /// The link points to nothing, or has characters that no link should have.
    LinkTarget,
    /// The link points to a place by its path from a root or drive.
    LinkAbsolute,
    /// The link points out of what was offered, or may.
    LinkLeaves,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the name is empty",
            Self::TooLong => "the name is longer than 255 bytes, or the path longer than 4,096",
            Self::TooDeep => "it is in more than 128 directories, one in another",
            Self::Dots => "the path has \"..\" or \".\" in it",
            Self::Absolute => "the path begins at a root or a drive",
            Self::Nul => "the name has a NUL character",
            Self::Reserved => "the name is one of this program's own partial files",
            Self::LeadingDot => "names that begin with a dot are not taken",
            Self::Duplicate => "there is an entry of this path already",
            Self::Collision => "its name differs from others only by case or spelling, and so do other names for it",
            Self::NoDirectory => "its directory is not offered before it",
            Self::DirectoryRefused => "its directory is refused",
            Self::InFile => "it is in something that is offered as a file",
            Self::InLink => "it is in something that is offered as a link",
            Self::LinkTarget => "the link's target is empty, too long, or has an invisible character",
            Self::LinkAbsolute => "the link points to an absolute path",
            Self::LinkLeaves => "the link points out of what is offered",
        })
    }
}

impl core::error::Error for Refusal {}

/// What becomes of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It has its own name.
    AsOffered,
    /// It has this name instead of the last of its path.
    Renamed(String),
    /// It is not taken.
    Refused(Refusal),
}

/// An entry, and the directory it is in.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    parent: Option<usize>,
    taken: Taken,
}

/// What becomes of each entry of one manifest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    places: Vec<Place>,
}

impl Names {
    /// Judges all entries of a manifest. Takes time n·log n in the number of entries.
    #[must_use]
    pub fn of(manifest: &Manifest, rules: &Rules) -> Self {
        let mut judge = Judge::new(manifest, rules);
        let places = manifest.entries.iter().enumerate().map(|(index, entry)| judge.place(index, entry)).collect();
        let mut names = Self { places };
        if !rules.any_links {
            names.refuse_links_that_leave(manifest);
        }
        names
    }

    /// Refuses the links that lead to no entry that is taken: where they point, the receiver may have something of its own.
    fn refuse_links_that_leave(&mut self, manifest: &Manifest) {
        // By the name that each has here: links to one that was renamed have another.
        let is_text = |index: usize| {
            manifest.entries.get(index).is_some_and(|entry| matches!(entry.kind, EntryKind::Text { .. }))
        };
        let tops = (0..self.places.len()).filter(|index| self.parent(*index).is_none() && !is_text(*index));
        let mut tops: BTreeSet<String> =
            tops.filter_map(|index| Some(self.name(manifest, index)?.to_owned())).collect();
        let mut links: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut leave = Vec::new();
        for (index, entry) in manifest.entries.iter().enumerate() {
            let EntryKind::Symlink { target } = &entry.kind else { continue };
            let Some(top) = target::top(target, &entry.path).filter(|_| self.refusal(index).is_none()) else {
                continue;
            };
            links.entry(top).or_default().push(index);
            if !tops.contains(top) {
                leave.push(top);
            }
        }
        // A link that is refused is none that others may lead to.
        while let Some(top) = leave.pop() {
            for index in links.remove(top).unwrap_or_default() {
                if self.parent(index).is_none()
                    && let Some(name) = self.name(manifest, index).filter(|name| tops.remove(*name))
                    && let Some((top, _)) = links.get_key_value(name)
                {
                    leave.push(top);
                }
                if let Some(place) = self.places.get_mut(index) {
                    place.taken = Taken::Refused(Refusal::LinkLeaves);
                }
            }
        }
    }

    /// What becomes of an entry; `None` if there is none of this index.
    #[must_use]
    pub fn taken(&self, index: usize) -> Option<&Taken> {
        self.places.get(index).map(|place| &place.taken)
    }

    /// Why an entry is refused; `None` if it is taken.
    #[must_use]
    pub fn refusal(&self, index: usize) -> Option<Refusal> {
        match self.taken(index)? {
            Taken::Refused(refusal) => Some(*refusal),
            Taken::AsOffered | Taken::Renamed(_) => None,
        }
    }

    /// The index of the directory that an entry is in; `None` at the top.
    #[must_use]
    pub fn parent(&self, index: usize) -> Option<usize> {
        self.places.get(index)?.parent
    }

    /// The name that an entry has in its directory; `None` if it is refused.
    #[must_use]
    pub fn name<'a>(&'a self, manifest: &'a Manifest, index: usize) -> Option<&'a str> {
        match self.taken(index)? {
            Taken::Refused(_) => None,
            Taken::Renamed(name) => Some(name),
            Taken::AsOffered => Some(split(&manifest.entries.get(index)?.path).1),
        }
    }

    /// The path that an entry has at the receiver; `None` if it is refused.
    #[must_use]
    pub fn path(&self, manifest: &Manifest, index: usize) -> Option<String> {
        let mut names = Vec::new();
        let mut next = Some(index);
        // A directory comes before what is in it, so this ends.
        while let Some(index) = next {
            names.push(self.name(manifest, index)?);
            next = self.parent(index);
        }
        names.reverse();
        Some(names.join("/"))
    }

    /// What is refused, by its index.
    pub fn refused(&self) -> impl Iterator<Item = (usize, Refusal)> + '_ {
        (0..self.places.len()).filter_map(|index| Some((index, self.refusal(index)?)))
    }

    /// What has another name, by its index.
    pub fn renamed(&self) -> impl Iterator<Item = (usize, &str)> + '_ {
        self.places.iter().enumerate().filter_map(|(index, place)| match &place.taken {
            Taken::Renamed(name) => Some((index, name.as_str())),
            Taken::AsOffered | Taken::Refused(_) => None,
        })
    }
}

/// The directory of a path, and the name in it.
fn split(path: &str) -> (Option<&str>, &str) {
    path.rsplit_once('/').map_or((None, path), |(directory, name)| (Some(directory), name))
}

/// What is known of the entries so far.
struct Judge<'a> {
    manifest: &'a Manifest,
    rules: &'a Rules,
    /// Entries by their offered path, the first of each, and whether they are refused.
    by_path: BTreeMap<&'a str, (usize, bool)>,
    /// The names that are taken in each directory, folded, and by which entry.
    names: BTreeMap<(Option<usize>, String), usize>,
    /// The directory of the entry before, as most have the same.
    last: Option<(&'a str, usize)>,
}

impl<'a> Judge<'a> {
    fn new(manifest: &'a Manifest, rules: &'a Rules) -> Self {
        Self { manifest, rules, by_path: BTreeMap::new(), names: BTreeMap::new(), last: None }
    }

    fn place(&mut self, index: usize, entry: &'a Entry) -> Place {
        if matches!(entry.kind, EntryKind::Text { .. }) {
            // It gets no name on any disk.
            return Place { parent: None, taken: Taken::AsOffered };
        }
        let (parent, taken) = match self.parent(&entry.path) {
            Ok(parent) => (parent, self.judge(index, entry, parent).unwrap_or_else(Taken::Refused)),
            Err(refusal) => (None, Taken::Refused(refusal)),
        };
        let refused = matches!(taken, Taken::Refused(_));
        self.by_path.entry(&entry.path).or_insert((index, refused));
        Place { parent, taken }
    }

    /// The directory that a path is in.
    fn parent(&mut self, path: &'a str) -> Result<Option<usize>, Refusal> {
        if path.len() > MAX_PATH {
            return Err(Refusal::TooLong);
        }
        let (Some(directory), _) = split(path) else { return Ok(None) };
        if let Some((_, index)) = self.last.filter(|(last, _)| *last == directory) {
            return Ok(Some(index));
        }
        if directory.bytes().filter(|byte| *byte == b'/').count() + 1 > MAX_DEPTH {
            return Err(Refusal::TooDeep);
        }
        // What leads elsewhere is called so, and not only a directory that is missing.
        let index =
            self.offered_directory(directory).map_err(|missing| single::leads_elsewhere(path).unwrap_or(missing))?;
        self.last = Some((directory, index));
        Ok(Some(index))
    }

    fn offered_directory(&self, path: &str) -> Result<usize, Refusal> {
        let (index, refused) = *self.by_path.get(path).ok_or(Refusal::NoDirectory)?;
        match self.manifest.entries.get(index).map(|entry| &entry.kind) {
            Some(EntryKind::Directory) if refused => Err(Refusal::DirectoryRefused),
            Some(EntryKind::Directory) => Ok(index),
            Some(EntryKind::Symlink { .. }) => Err(Refusal::InLink),
            Some(EntryKind::File { .. } | EntryKind::Text { .. }) | None => Err(Refusal::InFile),
        }
    }

    fn judge(&mut self, index: usize, entry: &'a Entry, parent: Option<usize>) -> Result<Taken, Refusal> {
        let (_, offered) = split(&entry.path);
        if let Some(refusal) = single::leads_elsewhere(offered) {
            return Err(refusal);
        }
        let name = single::adapted(offered, self.rules.windows)?;
        if parent.is_none() && name.starts_with('.') && !self.rules.dot_names {
            return Err(Refusal::LeadingDot);
        }
        if let EntryKind::Symlink { target } = &entry.kind {
            let depth = entry.path.bytes().filter(|byte| *byte == b'/').count();
            // Whether what it leads to is taken is known once all is judged.
            target::check(target, depth, self.rules.any_links)?;
        }
        let is_file = matches!(entry.kind, EntryKind::File { .. });
        let name = self.free(index, &entry.path, parent, name, is_file)?;
        Ok(if name == offered { Taken::AsOffered } else { Taken::Renamed(name.into_owned()) })
    }

    /// Takes a name in a directory, or the next that is free.
    fn free(
        &mut self,
        index: usize,
        path: &str,
        parent: Option<usize>,
        name: Cow<'a, str>,
        is_file: bool,
    ) -> Result<Cow<'a, str>, Refusal> {
        let mut candidate = name.clone();
        for attempt in 2..=MAX_ATTEMPTS {
            let key = (parent, single::folded(&candidate, self.rules.case_matters));
            let Some(first) = self.names.get(&key) else {
                self.names.insert(key, index);
                return Ok(candidate);
            };
            if self.manifest.entries.get(*first).is_some_and(|entry| entry.path == path) {
                return Err(Refusal::Duplicate);
            }
            candidate = Cow::Owned(single::numbered(&name, attempt, is_file));
        }
        Err(Refusal::Collision)
    }
}

/// Whether a name is one plain name that is taken as it is by the strictest rules, so that a sender can warn.
///
/// # Errors
/// The rule that it breaks.
pub fn check(name: &str) -> Result<(), Refusal> {
    if name.contains('/') {
        return Err(Refusal::Dots);
    }
    single::leads_elsewhere(name).map_or(Ok(()), Err)?;
    single::adapted(name, false).map(drop)
}

#[cfg(test)]
#[path = "name/tests.rs"]
mod tests;
