#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;

/// A directory of one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rtmfp-disk-{}-{test}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_comes_under_the_name_meanwhile_is_not_replaced() {
    let scratch = Scratch::new("meanwhile");
    let mut directory = Directory::new(&scratch.0, false).unwrap();
    let mut arriving = directory.create("a", 3).unwrap();
    arriving.write(b"new").unwrap();
    fs::write(scratch.0.join("a"), "precious").unwrap();
    assert_eq!(arriving.commit().unwrap_err().code, VerdictCode::Exists);
    assert_eq!(fs::read(scratch.0.join("a")).unwrap(), b"precious");
    assert_eq!(scratch.names(), ["a"], "and the partial file is gone");
}

#[test]
fn without_links_and_exclusive_renames_nothing_is_replaced_either() {
    let scratch = Scratch::new("fallback");
    let (part, target) = (scratch.0.join("part"), scratch.0.join("target"));
    fs::write(&part, "new").unwrap();
    fs::write(&target, "precious").unwrap();
    assert_eq!(place_over_own(&part, &target).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    fs::remove_file(&target).unwrap();
    place_over_own(&part, &target).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"new");
    assert_eq!(scratch.names(), ["target"]);
    // With nothing to rename, the name is free again.
    assert!(place_over_own(&part, &scratch.0.join("other")).is_err());
    assert_eq!(scratch.names(), ["target"]);
}

#[test]
fn a_large_file_that_is_written_through_arrives_whole() {
    let scratch = Scratch::new("large");
    let mut arriving = Directory::new(&scratch.0, false).unwrap().create("a", 2 * SYNC_BYTES).unwrap();
    let piece = vec![5; 1 << 20];
    for _ in 0..(2 * SYNC_BYTES) >> 20 {
        arriving.write(&piece).unwrap();
    }
    arriving.commit().unwrap();
    assert_eq!(fs::metadata(scratch.0.join("a")).unwrap().len(), 2 * SYNC_BYTES);
    assert_eq!(scratch.names(), ["a"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_or_device_is_refused_and_never_waited_for() {
    let scratch = Scratch::new("pipe");
    let pipe = scratch.0.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for path in [pipe.as_path(), Path::new("/dev/null")] {
        let refused = outgoing(path).unwrap_err();
        assert!(refused.contains("not a regular file") && refused.contains("to a file first"), "{refused}");
        // It may become one between the look and the opening.
        let error = DiskContent(path.to_owned()).open().err().unwrap();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}

#[test]
fn of_two_files_of_one_name_the_first_that_is_whole_has_it() {
    let scratch = Scratch::new("one-name");
    let mut directory = Directory::new(&scratch.0, false).unwrap();
    let mut begun_first = directory.create("a", 8).unwrap();
    let mut whole_first = directory.create("a", 3).unwrap();
    begun_first.write(b"stranger").unwrap();
    whole_first.write(b"own").unwrap();
    whole_first.commit().unwrap();
    assert_eq!(begun_first.commit().unwrap_err().code, VerdictCode::Exists);
    assert_eq!(fs::read(scratch.0.join("a")).unwrap(), b"own");
    assert_eq!(scratch.names(), ["a"], "and the partial files are gone");
}

#[test]
fn a_leading_dot_is_taken_only_if_asked_for() {
    let scratch = Scratch::new("dots");
    let mut directory = Directory::new(&scratch.0, false).unwrap();
    for name in [".bashrc", "...", ".a"] {
        let refused = directory.create(name, 0).unwrap_err();
        assert_eq!(refused.code, VerdictCode::BadName, "{name}");
        assert!(refused.text.contains("--dot-files"), "{refused:?}");
    }
    assert!(scratch.names().is_empty());
    let mut directory = directory.with_dot_names(true);
    directory.create(".bashrc", 0).unwrap().commit().unwrap();
    assert_eq!(directory.create("..", 0).unwrap_err().code, VerdictCode::BadName);
    assert_eq!(scratch.names(), [".bashrc"]);
}
