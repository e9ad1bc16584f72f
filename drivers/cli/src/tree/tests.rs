#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::Write as _;

use super::*;
use crate::scratch::Scratch;

fn options(paths: &[PathBuf]) -> TreeOptions {
    TreeOptions { paths: paths.to_vec(), ..TreeOptions::default() }
}

fn offered(tree: &Tree) -> Vec<&str> {
    tree.manifest().entries.iter().map(|entry| entry.path.as_str()).collect()
}

fn index(tree: &Tree, path: &str) -> usize {
    tree.manifest().entries.iter().position(|entry| entry.path == path).unwrap()
}

fn size(tree: &Tree, path: &str) -> Option<u64> {
    let EntryKind::File { size } = tree.manifest().entries[index(tree, path)].kind else { panic!("{path} is no file") };
    size
}

fn read(content: &mut dyn Content) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 1000];
    loop {
        let read = content.read(&mut buffer).unwrap();
        all.extend_from_slice(&buffer[..read]);
        if read < buffer.len() {
            return all;
        }
    }
}

#[test]
fn a_tree_is_offered_sorted_and_a_directory_before_what_is_in_it() {
    let scratch = Scratch::new("tree-sorted");
    for name in ["t/b/x", "t/b.txt", "t/a", "t/b-c/y", "t/.hidden"] {
        scratch.write(name, name);
    }
    fs::create_dir(scratch.path("t/empty")).unwrap();
    let mut tree = Tree::new(&options(&[scratch.path("t")])).unwrap();
    let expected = ["t", "t/.hidden", "t/a", "t/b", "t/b/x", "t/b-c", "t/b-c/y", "t/b.txt", "t/empty"];
    assert_eq!(offered(&tree), expected);
    assert_eq!(size(&tree, "t/b-c/y"), Some(7));
    assert!(tree.manifest().entries.iter().all(|entry| entry.modified.is_some()));
    let mut content = tree.open(6).unwrap();
    assert_eq!(read(&mut *content), b"t/b-c/y");
    assert!(content.is_unchanged());
    assert!(tree.open(0).is_err(), "a directory has no content");
    assert!(tree.open(99).is_err());
}

#[test]
fn a_receiver_takes_what_is_offered_as_it_is() {
    let scratch = Scratch::new("tree-taken");
    scratch.write("t/a b/.c/d", "");
    let tree = Tree::new(&options(&[scratch.path("t"), scratch.write("f", "")])).unwrap();
    let names = rtmfp_files::name::Names::of(tree.manifest(), &rtmfp_files::name::Rules::default());
    assert_eq!(names.refused().count() + names.renamed().count(), 0);
}

#[test]
fn names_at_the_top_are_the_last_of_each_path_and_differ() {
    let scratch = Scratch::new("tree-tops");
    let (first, second) = (scratch.write("a/same", "1"), scratch.write("b/same", "2"));
    let refused = Tree::new(&options(&[first.clone(), second])).unwrap_err();
    assert!(matches!(&refused, TreeError::SameName { name, .. } if name == "same"), "{refused}");
    // A path that ends with dots has a name too.
    let tree = Tree::new(&options(&[scratch.path("b/../a/."), scratch.path("b/..")])).unwrap();
    assert!(offered(&tree).contains(&"a/same"));
    let top = scratch.0.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(offered(&tree).contains(&format!("{top}/b/same").as_str()));
    assert!(Tree::new(&options(&[PathBuf::from("/")])).is_err());
    assert!(Tree::new(&options(&[scratch.path("missing")])).is_err());
    assert!(matches!(Tree::new(&TreeOptions::default()), Err(TreeError::Nothing)));
}

#[test]
fn patterns_leave_out_as_gitignore_does() {
    let scratch = Scratch::new("tree-exclude");
    for name in ["t/src/a.c", "t/src/a.o", "t/build/x", "t/src/build/y", "t/keep.o", "t/doc/b.txt"] {
        scratch.write(name, "");
    }
    let exclude = |patterns: &[&str]| {
        let exclude = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let options = TreeOptions { exclude, ..options(&[scratch.path("t")]) };
        Tree::new(&options)
    };
    let tree = exclude(&["*.o", "!keep.o", "/t/build/"]).unwrap();
    let expected = ["t", "t/doc", "t/doc/b.txt", "t/keep.o", "t/src", "t/src/a.c", "t/src/build", "t/src/build/y"];
    assert_eq!(offered(&tree), expected);
    assert_eq!(tree.excluded(), 2);
    assert_eq!(
        offered(&exclude(&["build", "**/*.txt", "src/*.o"]).unwrap()),
        ["t", "t/doc", "t/keep.o", "t/src", "t/src/a.c", "t/src/a.o"]
    );
    assert!(matches!(exclude(&["t"]), Err(TreeError::Nothing)));
    assert!(matches!(exclude(&["a[z-a]"]), Err(TreeError::Pattern { .. })));
}

#[test]
fn a_list_offers_what_is_in_it_with_its_directories_and_no_more() {
    let scratch = Scratch::new("tree-list");
    for name in ["d/e/one", "d/e/two", "d/three", "f/four"] {
        scratch.write(name, name);
    }
    let top = scratch.0.to_str().unwrap();
    let lines = format!("{top}/d/./e//one\n{top}/f\n\n{top}/d/e/one\n{top}/../x\n{top}/missing\n{top}/d/three\r\n");
    let path = scratch.write("list", lines);
    let mut options = TreeOptions { list: Some(PathList { path: path.clone(), nul: false }), ..TreeOptions::default() };
    let mut tree = Tree::new(&options).unwrap();
    let within: Vec<_> =
        offered(&tree).iter().filter_map(|path| path.strip_prefix(&top[1..])).map(str::to_owned).collect();
    assert_eq!(within, ["", "/d", "/d/e", "/d/e/one", "/d/three", "/f"]);
    assert!(offered(&tree).iter().all(|path| !path.starts_with('/')), "as `tar` leaves out the root");
    assert_eq!(tree.skipped().len(), 2, "{:?}", tree.skipped());
    let one = tree.manifest().entries.iter().position(|entry| entry.path.ends_with("/one")).unwrap();
    assert_eq!(read(&mut *tree.open(one).unwrap()), b"d/e/one");

    fs::write(&path, format!("{top}/d/e/two\0{top}/d/three\0")).unwrap();
    options.list = Some(PathList { path, nul: true });
    options.exclude = vec!["e/".to_owned()];
    let tree = Tree::new(&options).unwrap();
    assert!(offered(&tree).last().unwrap().ends_with("d/three"));
    assert_eq!(tree.excluded(), 1);
}

#[test]
fn a_text_and_standard_input_are_offered_beside_files() {
    let scratch = Scratch::new("tree-text");
    let mut options = options(&[PathBuf::from("-"), scratch.write("a", "1")]);
    options.text = Some("grüße".to_owned());
    options.stdin_name = Some("dump.sql".to_owned());
    let mut tree = Tree::new(&options).unwrap();
    assert_eq!(offered(&tree), ["a", "dump.sql", "text"]);
    assert_eq!(size(&tree, "dump.sql"), None);
    assert_eq!(tree.manifest().entries[2].kind, EntryKind::Text { size: 7 });
    assert_eq!(read(&mut *tree.open(2).unwrap()), "grüße".as_bytes());
    options.list = Some(PathList { path: PathBuf::from("-"), nul: false });
    // Not read: the list is refused before.
    options.paths.clear();
    options.list = Some(PathList { path: scratch.path("missing"), nul: false });
    assert!(Tree::new(&options).is_err());
}

#[test]
fn a_pipe_is_read_once_and_to_its_end() {
    let mut piped = Piped::new(Box::new(io::Cursor::new(vec![7; 2500])), "stdin", None).unwrap();
    assert_eq!(read(&mut piped).len(), 2500);
    let mut piped = Piped::new(Box::new(io::Cursor::new(vec![7; 2500])), "stdin", None).unwrap();
    piped.skip(2400).unwrap();
    assert_eq!(read(&mut piped).len(), 100);
}

#[test]
fn a_file_that_changed_since_it_was_offered_is_not_unchanged() {
    let scratch = Scratch::new("tree-changed");
    let path = scratch.write("a", "content");
    // Long ago, so that no coarse clock hides a change.
    let old = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    fs::File::options().write(true).open(&path).unwrap().set_times(old).unwrap();
    let mut tree = Tree::new(&options(std::slice::from_ref(&path))).unwrap();
    let mut content = tree.open(0).unwrap();
    assert!(content.is_unchanged());
    // It grows while it is read.
    fs::File::options().append(true).open(&path).unwrap().write_all(b" more").unwrap();
    assert_eq!(read(&mut *content), b"content more");
    assert!(!content.is_unchanged());
    // It has the same length and other content.
    fs::write(&path, "CONTENT").unwrap();
    assert!(!tree.open(0).unwrap().is_unchanged());
}

#[cfg(unix)]
mod unix {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn pipe(path: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn links_are_offered_as_links_and_one_that_is_named_is_followed() {
        let scratch = Scratch::new("tree-links");
        scratch.write("real/f", "content");
        symlink("f", scratch.path("real/l")).unwrap();
        symlink("/", scratch.path("real/root")).unwrap();
        symlink("real", scratch.path("named")).unwrap();
        symlink("real/f", scratch.path("latest")).unwrap();
        let mut tree = Tree::new(&options(&[scratch.path("named"), scratch.path("latest")])).unwrap();
        assert_eq!(offered(&tree), ["latest", "named", "named/f", "named/l", "named/root"], "none is walked into");
        assert_eq!(tree.manifest().entries[3].kind, EntryKind::Symlink { target: "f".to_owned() });
        assert_eq!(read(&mut *tree.open(0).unwrap()), b"content");
        assert!(tree.open(3).is_err());
        // In a list, links are links.
        let path = scratch.write("list", scratch.path("latest").to_str().unwrap());
        let tree =
            Tree::new(&TreeOptions { list: Some(PathList { path, nul: false }), ..TreeOptions::default() }).unwrap();
        assert!(matches!(tree.manifest().entries.last().unwrap().kind, EntryKind::Symlink { .. }));
    }

    #[test]
    fn what_cannot_be_sent_is_told_and_the_rest_is_sent() {
        let scratch = Scratch::new("tree-skipped");
        scratch.write("t/good", "");
        scratch.write("t/.good.rtmfp-part-0000000000000000", "");
        pipe(&scratch.path("t/pipe"));
        drop(std::os::unix::net::UnixListener::bind(scratch.path("t/socket")).unwrap());
        fs::write(scratch.path("t").join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
        let tree = Tree::new(&options(&[scratch.path("t")])).unwrap();
        assert_eq!(offered(&tree), ["t", "t/good"]);
        let why: Vec<_> = tree.skipped().iter().map(|skipped| skipped.why.as_str()).collect();
        assert_eq!(why.len(), 4, "{why:?}");
        for part in ["partial file", "not a regular file", "not Unicode"] {
            assert!(why.iter().any(|why| why.contains(part)), "{why:?}");
        }
        // Named, it is an error.
        for path in [scratch.path("t/pipe"), PathBuf::from("/dev/null")] {
            let refused = Tree::new(&options(&[path])).unwrap_err().to_string();
            assert!(refused.contains("not a regular file"), "{refused}");
        }
    }

    #[test]
    fn what_comes_to_a_files_place_is_not_opened() {
        let scratch = Scratch::new("tree-swapped");
        let secret = scratch.write("secret", "secret");
        let path = scratch.write("d/a", "public");
        let mut tree = Tree::new(&options(&[scratch.path("d")])).unwrap();
        let refused = |tree: &mut Tree| tree.open(1).unwrap_err();
        // A link to the file itself.
        fs::rename(&path, scratch.path("d/b")).unwrap();
        symlink("b", &path).unwrap();
        assert_eq!(refused(&mut tree).kind, StorageFailure::Unreadable);
        // A link to another file.
        fs::remove_file(&path).unwrap();
        symlink(&secret, &path).unwrap();
        assert_eq!(refused(&mut tree).kind, StorageFailure::Unreadable);
        // A pipe, for which nobody waits.
        fs::remove_file(&path).unwrap();
        pipe(&path);
        assert!(refused(&mut tree).text.contains("not a regular file"));
        // Another file.
        fs::remove_file(&path).unwrap();
        fs::rename(&secret, &path).unwrap();
        assert!(refused(&mut tree).text.contains("another file"));
        // A directory above it that became a link.
        scratch.write("other/a", "other");
        fs::remove_dir_all(scratch.path("d")).unwrap();
        symlink("other", scratch.path("d")).unwrap();
        assert!(refused(&mut tree).text.contains("another file"));
    }

    #[test]
    fn modes_are_offered() {
        let scratch = Scratch::new("tree-modes");
        let path = scratch.write("t/a", "");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let tree = Tree::new(&options(&[scratch.path("t")])).unwrap();
        assert_eq!(tree.manifest().entries[1].mode, Some(0o640));
        assert!(tree.manifest().entries[0].mode.is_some());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn files_of_the_system_are_read_to_their_end() {
        let mut tree = Tree::new(&options(&[PathBuf::from("/proc/self/status")])).unwrap();
        assert_eq!(size(&tree, "status"), None);
        let mut content = tree.open(0).unwrap();
        assert!(read(&mut *content).len() > 100);
        assert!(content.is_unchanged());
        // An empty file is just that.
        let scratch = Scratch::new("tree-empty");
        assert_eq!(size(&Tree::new(&options(&[scratch.write("a", "")])).unwrap(), "a"), Some(0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn holes_are_found_and_not_read() {
        let scratch = Scratch::new("tree-holes");
        let path = scratch.path("a");
        let mut file = fs::File::create(&path).unwrap();
        file.set_len(10 << 20).unwrap();
        io::Seek::seek(&mut file, io::SeekFrom::Start(4 << 20)).unwrap();
        file.write_all(&[1; 100]).unwrap();
        drop(file);
        assert!(fs::metadata(&path).unwrap().blocks() < 100, "this file system has holes");
        let mut tree = Tree::new(&options(&[path])).unwrap();
        let mut content = tree.open(0).unwrap();
        assert_eq!(content.hole(), 4 << 20);
        content.skip(4 << 20).unwrap();
        assert_eq!(content.hole(), 0);
        let mut buffer = [0; 4096];
        assert_eq!(content.read(&mut buffer).unwrap(), 4096);
        assert_eq!((buffer[99], buffer[100]), (1, 0));
        let rest = content.hole();
        assert_eq!(rest, (6 << 20) - 4096);
        content.skip(rest).unwrap();
        assert_eq!((content.hole(), content.read(&mut buffer).unwrap()), (0, 0));
        assert!(content.is_unchanged());
    }
}

#[test]
fn ten_thousand_files_are_found_quickly() {
    let scratch = Scratch::in_memory("tree-many");
    for directory in 0..10 {
        let path = scratch.path(&format!("t/{directory}"));
        fs::create_dir_all(&path).unwrap();
        for file in 0..1000 {
            fs::File::create(path.join(file.to_string())).unwrap();
        }
    }
    let tree = Tree::new(&options(&[scratch.path("t")])).unwrap();
    assert_eq!(tree.manifest().entries.len(), 10_011);
}
