#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use rtmfp_files::manifest::Time;

use super::*;
use crate::scratch::Scratch;

mod content;
#[cfg(unix)]
mod unix;

pub(super) fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry { path: path.to_owned(), kind, mode: None, modified: None }
}

pub(super) fn dir(path: &str) -> Entry {
    entry(path, EntryKind::Directory)
}

pub(super) fn file(path: &str, size: u64) -> Entry {
    entry(path, EntryKind::File { size: Some(size) })
}

pub(super) fn link(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::Symlink { target: target.to_owned() })
}

pub(super) fn manifest(entries: &[Entry]) -> Manifest {
    Manifest { entries: entries.to_vec() }
}

/// A directory that a manifest was prepared in.
pub(super) fn prepared(scratch: &Scratch, entries: &[Entry], options: &StoreOptions) -> Directory {
    let mut directory = Directory::new(&scratch.path("to"), options.clone()).unwrap();
    directory.prepare(&manifest(entries)).unwrap();
    directory
}

pub(super) fn resumed() -> StoreOptions {
    StoreOptions { resumed: true, ..StoreOptions::default() }
}

pub(super) fn put(directory: &mut Directory, index: usize, content: &[u8]) -> Result<(), StorageError> {
    let mut sink = directory.create(index, 0)?;
    sink.write(content)?;
    sink.commit()
}

/// What is beneath the directory.
pub(super) fn there(scratch: &Scratch) -> Vec<String> {
    scratch
        .names()
        .into_iter()
        .filter_map(|name| name.strip_prefix("to/").map(str::to_owned))
        .filter(|name| !name.is_empty())
        .collect()
}

pub(super) fn read(content: &mut dyn Content) -> Vec<u8> {
    let mut all = vec![0; 1 << 16];
    let read = content.read(&mut all).unwrap();
    all.truncate(read);
    all
}

#[test]
fn names_that_lead_elsewhere_write_nothing_anywhere() {
    let scratch = Scratch::new("store-names");
    let bad = ["../x", "/tmp/x", "..\\x", "C:\\x", "a\0b", "d/../../x", ".bashrc", ".x.rtmfp-part-0", "nothing/x", "d"];
    let mut entries = vec![dir("d")];
    entries.extend(bad.iter().map(|name| file(name, 1)));
    let mut directory = Directory::new(&scratch.path("to"), StoreOptions::default()).unwrap();
    assert_eq!(directory.refused(&manifest(&entries)).len(), bad.len());
    assert!(scratch.names().is_empty(), "nothing is written before the receiver has agreed");
    directory.prepare(&manifest(&entries)).unwrap();
    for index in 1..=bad.len() {
        let refused = put(&mut directory, index, b"x").unwrap_err();
        assert_eq!(refused.kind, StorageFailure::BadName, "{refused}");
        assert!(!refused.text.contains(crate::text::is_invisible), "{refused}");
        assert!(directory.stored(index).is_none());
    }
    assert!(directory.conclude().is_empty());
    assert_eq!(scratch.names(), ["to/", "to/d/"]);
}

#[test]
fn a_tree_arrives_with_empty_directories_and_files() {
    let scratch = Scratch::new("store-tree");
    let entries = [dir("t"), dir("t/empty"), file("t/f", 3), file("t/nothing", 0), file("top\u{200b}", 1)];
    let mut directory = prepared(&scratch, &entries, &StoreOptions::default());
    for (index, content) in [(2, &b"abc"[..]), (3, b""), (4, b"x")] {
        put(&mut directory, index, content).unwrap();
    }
    assert!(directory.create(0, 0).is_err() && directory.create(9, 0).is_err());
    assert!(directory.conclude().is_empty());
    assert_eq!(there(&scratch), ["t/", "t/empty/", "t/f", "t/nothing", "top_"]);
    assert_eq!(fs::read(scratch.path("to/t/f")).unwrap(), b"abc");
}

#[test]
fn nothing_that_is_there_is_replaced_unless_asked_for() {
    let scratch = Scratch::new("store-exists");
    scratch.write("to/a", "precious");
    let entries = [file("a", 3), file("b", 3)];
    let mut directory = prepared(&scratch, &entries, &StoreOptions::default());
    assert_eq!(directory.create(0, 0).unwrap_err().kind, StorageFailure::Exists);
    // It comes while the file arrives.
    let mut arriving = directory.create(1, 0).unwrap();
    arriving.write(b"new").unwrap();
    scratch.write("to/b", "precious");
    assert_eq!(arriving.commit().unwrap_err().kind, StorageFailure::Exists);
    assert_eq!(fs::read(scratch.path("to/a")).unwrap(), b"precious");
    assert_eq!(fs::read(scratch.path("to/b")).unwrap(), b"precious");
    assert_eq!(there(&scratch), ["a", "b"], "and the partial file is gone");

    let mut directory = prepared(&scratch, &entries, &StoreOptions { force: true, ..StoreOptions::default() });
    put(&mut directory, 0, b"new").unwrap();
    assert_eq!(fs::read(scratch.path("to/a")).unwrap(), b"new");
}

#[test]
fn a_directory_is_not_replaced_by_a_file_or_the_other_way_round() {
    let scratch = Scratch::new("store-kinds");
    scratch.write("to/f", "precious");
    scratch.write("to/d/x", "precious");
    let entries = [file("d", 1), dir("f"), file("f/x", 1)];
    let mut directory = prepared(&scratch, &entries, &StoreOptions { force: true, ..StoreOptions::default() });
    assert!(put(&mut directory, 0, b"x").is_err());
    assert!(put(&mut directory, 2, b"x").is_err());
    let failed = directory.conclude();
    assert_eq!(
        failed.iter().map(|(index, error)| (*index, error.kind)).collect::<Vec<_>>(),
        [(1, StorageFailure::Exists)]
    );
    directory.remove_partial_files();
    assert_eq!(there(&scratch), ["d/", "d/x", "f"]);
}

#[test]
fn without_links_and_exclusive_renames_nothing_is_replaced_either() {
    let scratch = Scratch::new("store-fallback");
    let (part, target) = (scratch.write("part", "new"), scratch.write("target", "precious"));
    let root = Dir::open_ambient_dir(&scratch.0, ambient_authority()).unwrap();
    let refused = system::place_over_own(&root, "part", "target").unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    fs::remove_file(&target).unwrap();
    system::place_over_own(&root, "part", "target").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"new");
    assert!(!part.exists());
    // With nothing to rename, the name is free again.
    assert!(system::place_over_own(&root, "part", "other").is_err());
    assert_eq!(scratch.names(), ["target"]);
}

#[test]
fn the_directory_is_created_when_it_is_needed_and_is_no_file() {
    let scratch = Scratch::new("store-root");
    let path = scratch.path("new/deep");
    let mut directory = Directory::new(&path, StoreOptions::default()).unwrap();
    assert!(!path.exists());
    directory.prepare(&manifest(&[])).unwrap();
    assert!(path.is_dir());
    let file = scratch.write("file", "");
    assert_eq!(Directory::new(&file, StoreOptions::default()).unwrap_err().kind(), io::ErrorKind::NotADirectory);
}

#[test]
fn case_is_looked_at_and_not_guessed() {
    let scratch = Scratch::new("Store-case");
    scratch.write("to/Known", "");
    let really = !scratch.path("to/kNOWN").exists();
    assert_eq!(system::case_matters(&scratch.path("to")), really);
    assert_eq!(system::case_matters(&scratch.path("to/not/yet/there")), really);
    // A receiver whose disk takes `A` for `a` gives one of them another name.
    let entries = [file("a", 1), file("A", 1)];
    let names = prepared(&scratch, &entries, &StoreOptions::default()).names(&manifest(&entries));
    assert_eq!(names.renamed().count(), usize::from(!really));
}

#[test]
fn ten_thousand_files_are_stored_quickly() {
    let scratch = Scratch::in_memory("store-many");
    let mut entries = Vec::new();
    for directory in 0..10 {
        entries.push(dir(&format!("{directory}")));
        entries.extend((0..1000).map(|n| file(&format!("{directory}/{n}"), 1)));
    }
    let mut directory = prepared(&scratch, &entries, &StoreOptions::default());
    for (index, entry) in entries.iter().enumerate() {
        if entry.kind != EntryKind::Directory {
            put(&mut directory, index, b"x").unwrap();
        }
    }
    assert!(directory.conclude().is_empty());
    assert_eq!(there(&scratch).len(), 10_010);
}
