//! Links, modes, times and holes.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use super::*;

fn mode(path: PathBuf) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn with_mode(mut entry: Entry, mode: u32) -> Entry {
    entry.mode = Some(mode);
    entry
}

/// The partial file that is there.
fn part(scratch: &Scratch) -> PathBuf {
    let names = there(scratch);
    scratch.path("to").join(names.iter().find(|name| name.contains(".rtmfp-part-")).unwrap())
}

#[test]
fn nothing_is_written_through_a_link_of_the_same_transfer() {
    let scratch = Scratch::new("store-link-same");
    fs::create_dir(scratch.path("outside")).unwrap();
    let options = StoreOptions { any_links: true, force: true, ..StoreOptions::default() };
    let outside = scratch.path("outside").to_str().unwrap().to_owned();
    let entries = [
        link("l", &outside),
        file("l/x", 1),
        dir("l"),
        file("l/y", 1),
        link("f", &format!("{outside}/z")),
        file("f", 1),
    ];
    let mut directory = prepared(&scratch, &entries, &options);
    for index in [1, 3, 5] {
        assert_eq!(put(&mut directory, index, b"x").unwrap_err().kind, StorageFailure::BadName);
    }
    drop(directory.conclude());
    assert!(fs::read_dir(scratch.path("outside")).unwrap().next().is_none());
}

#[test]
fn nothing_is_written_through_a_link_of_an_earlier_transfer_or_of_anybody() {
    for (number, target) in ["../outside", "inside", "/tmp"].into_iter().enumerate() {
        let scratch = Scratch::new(&format!("store-link-earlier-{number}"));
        fs::create_dir(scratch.path("outside")).unwrap();
        let options = StoreOptions { any_links: true, ..StoreOptions::default() };
        let first = [dir("inside"), link("d", target), link("f", "../outside/new")];
        assert!(prepared(&scratch, &first, &options).conclude().is_empty());
        assert!(scratch.path("to/d").is_symlink());

        // The same names as a directory and a file, with all that a receiver can allow.
        let second = [dir("d"), file("d/x", 1), dir("d/e"), link("d/l", "x"), file("f", 1)];
        for options in [options.clone(), resumed(), StoreOptions { force: true, ..options.clone() }] {
            let force = options.force;
            let mut directory = prepared(&scratch, &second, &options);
            let refused = put(&mut directory, 1, b"x").unwrap_err();
            assert!(refused.text.contains("symbolic link"), "{refused}");
            assert!(directory.stored(4).is_none(), "what a link leads to is not stored");
            assert_eq!(put(&mut directory, 4, b"x").is_ok(), force, "a link itself is replaced if that is asked for");
            let failed: Vec<_> = directory.conclude().into_iter().map(|(index, _)| index).collect();
            assert_eq!(failed, [0, 2, 3]);
        }
        assert!(fs::read_dir(scratch.path("outside")).unwrap().next().is_none());
        assert!(fs::read_dir(scratch.path("to/inside")).unwrap().next().is_none());
        assert!(scratch.path("to/d").is_symlink());
        assert!(!scratch.path("to/f").is_symlink());
    }
}

#[test]
fn a_directory_that_becomes_a_link_meanwhile_is_not_followed() {
    let scratch = Scratch::new("store-link-race");
    fs::create_dir(scratch.path("outside")).unwrap();
    let entries = [dir("a"), file("a/x", 1), dir("b"), dir("b/c"), file("b/c/x", 1), link("b/c/l", "x")];
    let mut directory = prepared(&scratch, &entries, &StoreOptions::default());
    let mut arriving = directory.create(1, 0).unwrap();
    // Somebody else replaces a directory before the first file of it comes.
    fs::rename(scratch.path("to/b"), scratch.path("to/moved")).unwrap();
    symlink("../outside", scratch.path("to/b")).unwrap();
    fs::create_dir(scratch.path("outside/c")).unwrap();
    assert!(put(&mut directory, 4, b"x").is_err());
    // And while a file arrives: it goes where the directory is now.
    arriving.write(b"x").unwrap();
    fs::rename(scratch.path("to/a"), scratch.path("to/away")).unwrap();
    symlink("../outside", scratch.path("to/a")).unwrap();
    arriving.commit().unwrap();
    assert!(scratch.path("to/away/x").exists());
    let failed: Vec<_> = directory.conclude().into_iter().map(|(index, _)| index).collect();
    assert_eq!(failed, [0, 2, 3, 5]);
    assert_eq!(scratch.names().iter().filter(|name| name.starts_with("outside/")).count(), 2, "nothing but `c`");
}

#[test]
fn what_lies_under_the_name_of_a_partial_file_is_not_written_into() {
    let scratch = Scratch::new("store-part-link");
    let victim = scratch.write("victim", "precious");
    let entries = [file("a", 3)];
    // To learn the name.
    prepared(&scratch, &entries, &StoreOptions::default()).create(0, 0).unwrap();
    let part = part(&scratch);
    for trick in ["link", "hard link", "pipe"] {
        fs::remove_file(&part).unwrap();
        match trick {
            "link" => symlink(&victim, &part).unwrap(),
            "hard link" => fs::hard_link(&victim, &part).unwrap(),
            _ => assert!(std::process::Command::new("mkfifo").arg(&part).status().unwrap().success()),
        }
        let mut directory = prepared(&scratch, &entries, &resumed());
        assert!(directory.stored(0).is_none(), "{trick}");
        assert!(directory.create(0, 3).is_err(), "{trick}");
        let mut arriving = directory.create(0, 0).unwrap();
        arriving.write(b"new").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious", "{trick}");
        assert!(fs::symlink_metadata(&part).unwrap().is_file());
    }
}

#[test]
fn links_to_files_beside_them_are_not_followed_either() {
    let scratch = Scratch::new("store-beside");
    let entries = [file("a", 3), file("b", 3)];
    prepared(&scratch, &entries, &StoreOptions::default()).create(0, 0).unwrap();
    let part = part(&scratch);
    let victim = scratch.write("to/victim", "old");
    fs::remove_file(&part).unwrap();
    symlink("victim", &part).unwrap();
    symlink("victim", scratch.path("to/b")).unwrap();
    let mut directory = prepared(&scratch, &entries, &resumed());
    for index in 0..2 {
        assert!(directory.stored(index).is_none());
        assert!(directory.create(index, 3).is_err());
    }
    assert_eq!(directory.create(1, 0).unwrap_err().kind, StorageFailure::Exists);
    put(&mut directory, 0, b"new").unwrap();
    assert_eq!(fs::read(victim).unwrap(), b"old");
}

#[test]
fn links_come_last_and_point_where_they_may() {
    let scratch = Scratch::new("store-links");
    let mut first = link("d/l", "f");
    first.modified = Some(Time { seconds: 1_000_000, nanos: 5 });
    let entries = [
        dir("d"),
        file("d/f", 1),
        first,
        link("d/abs", "/etc/passwd"),
        link("d/up", "../../x"),
        link("d/dangling", "nothing"),
    ];
    let mut directory = prepared(&scratch, &entries, &StoreOptions::default());
    put(&mut directory, 1, b"x").unwrap();
    assert_eq!(there(&scratch), ["d/", "d/f"]);
    assert_eq!(directory.refused(&manifest(&entries)).iter().map(|(index, _)| *index).collect::<Vec<_>>(), [3, 4]);
    assert!(directory.conclude().is_empty());
    assert_eq!(there(&scratch), ["d/", "d/dangling", "d/f", "d/l"]);
    assert_eq!(fs::read_link(scratch.path("to/d/l")).unwrap(), PathBuf::from("f"));
    let made = fs::symlink_metadata(scratch.path("to/d/l")).unwrap();
    assert_eq!((made.mtime(), made.mtime_nsec()), (1_000_000, 5));

    // Once more: what is there is right. Another target is not taken unless asked for, and never a file's place.
    assert!(prepared(&scratch, &entries, &resumed()).conclude().is_empty());
    let other = [dir("d"), link("d/l", "dangling"), link("d/f", "l")];
    let failed = prepared(&scratch, &other, &StoreOptions::default()).conclude();
    assert_eq!(
        failed.iter().map(|(index, error)| (*index, error.kind)).collect::<Vec<_>>(),
        [(1, StorageFailure::Exists), (2, StorageFailure::Exists)]
    );
    let options = StoreOptions { force: true, ..StoreOptions::default() };
    assert!(prepared(&scratch, &other, &options).conclude().is_empty());
    assert_eq!(fs::read_link(scratch.path("to/d/l")).unwrap(), PathBuf::from("dangling"));
    assert_eq!(there(&scratch), ["d/", "d/dangling", "d/f", "d/l"], "no partial name is left");
}

#[test]
fn a_private_file_is_private_at_every_moment() {
    let scratch = Scratch::new("store-private");
    let entries = [with_mode(file("a", 1), 0o600), with_mode(file("b", 1), 0o644)];
    let mut directory = prepared(&scratch, &entries, &StoreOptions::default());
    for index in 0..2 {
        let mut arriving = directory.create(index, 0).unwrap();
        assert_eq!(mode(part(&scratch)), 0o600);
        arriving.write(b"x").unwrap();
        assert_eq!(mode(part(&scratch)), 0o600);
        arriving.commit().unwrap();
    }
    assert_eq!(mode(scratch.path("to/a")), 0o600);
    assert_eq!(mode(scratch.path("to/b")), 0o644 & !system::umask());
    // A partial file that was made public in between is private again when it is gone on with.
    let entries = [with_mode(file("c", 1), 0o600)];
    let mut directory = prepared(&scratch, &entries, &resumed());
    directory.create(0, 0).unwrap().write(b"x").unwrap();
    fs::set_permissions(part(&scratch), fs::Permissions::from_mode(0o644)).unwrap();
    let arriving = directory.create(0, 1).unwrap();
    assert_eq!(mode(part(&scratch)), 0o600);
    arriving.commit().unwrap();
}

#[test]
fn special_bits_are_dropped_and_the_umask_is_respected() {
    let scratch = Scratch::new("store-modes");
    let entries = [
        with_mode(file("setuid", 1), 0o6755),
        with_mode(file("open", 1), 0o666),
        with_mode(dir("sticky"), 0o7777),
        with_mode(dir("locked"), 0o555),
        file("locked/inner", 1),
        with_mode(file("read-only", 1), 0o400),
    ];
    let mask = system::umask();
    for keep_modes in [false, true] {
        let options = StoreOptions { keep_modes, force: true, ..StoreOptions::default() };
        let mut directory = prepared(&scratch, &entries, &options);
        for index in [0, 1, 4, 5] {
            put(&mut directory, index, b"x").unwrap();
        }
        assert!(directory.conclude().is_empty());
        let mask = if keep_modes { 0 } else { mask };
        assert_eq!(mode(scratch.path("to/setuid")), 0o755 & !mask);
        assert_eq!(mode(scratch.path("to/open")), 0o666 & !mask);
        assert_eq!(mode(scratch.path("to/sticky")), 0o777 & !mask);
        assert_eq!(mode(scratch.path("to/locked")), 0o555 & !mask);
        assert_eq!(mode(scratch.path("to/read-only")), 0o400);
        for name in ["sticky", "locked/inner", "locked"] {
            fs::set_permissions(scratch.path("to/locked"), fs::Permissions::from_mode(0o755)).unwrap();
            let path = scratch.path("to").join(name);
            if path.is_dir() { fs::remove_dir(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
    }
}

#[test]
fn directories_of_the_user_keep_their_modes_and_times() {
    let scratch = Scratch::new("store-own-directory");
    scratch.write("to/d/own", "");
    fs::set_permissions(scratch.path("to/d"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut theirs = with_mode(dir("d"), 0o777);
    theirs.modified = Some(Time { seconds: 1, nanos: 0 });
    for options in
        [StoreOptions { keep_modes: true, ..StoreOptions::default() }, StoreOptions { keep_modes: true, ..resumed() }]
    {
        let was_resumed = options.resumed;
        assert!(prepared(&scratch, &[theirs.clone()], &options).conclude().is_empty());
        assert_eq!(mode(scratch.path("to/d")), 0o700);
        assert_eq!(fs::metadata(scratch.path("to/d")).unwrap().mtime() == 1, was_resumed);
    }
}

#[test]
fn times_are_kept_and_those_of_directories_come_last() {
    let scratch = Scratch::new("store-times");
    let time = Some(Time { seconds: 1_234_567_890, nanos: 123_456_789 });
    let mut entries = [dir("d"), dir("d/e"), file("d/e/a", 1), link("d/e/l", "a")];
    for entry in &mut entries {
        entry.modified = time;
    }
    let mut directory = prepared(&scratch, &entries, &StoreOptions::default());
    put(&mut directory, 2, b"x").unwrap();
    assert!(directory.conclude().is_empty());
    for name in ["d", "d/e", "d/e/a", "d/e/l"] {
        let there = fs::symlink_metadata(scratch.path("to").join(name)).unwrap();
        assert_eq!((there.mtime(), there.mtime_nsec()), (1_234_567_890, 123_456_789), "{name}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn holes_stay_holes_also_after_an_interruption() {
    let scratch = Scratch::new("store-holes");
    let size = (64 << 20) + 3;
    let entries = [file("a", size), file("b", size)];
    let mut directory = prepared(&scratch, &entries, &StoreOptions::default());
    let mut arriving = directory.create(0, 0).unwrap();
    arriving.write(b"abc").unwrap();
    arriving.hole(32 << 20).unwrap();
    drop(arriving);
    let mut stored = directory.stored(0).unwrap();
    let mut buffer = [9; 4096];
    assert_eq!(stored.read(&mut buffer).unwrap(), 4096);
    assert_eq!(stored.hole(), (32 << 20) + 3 - 4096);
    let mut arriving = directory.create(0, (32 << 20) + 3).unwrap();
    arriving.hole(32 << 20).unwrap();
    arriving.commit().unwrap();
    let there = fs::metadata(scratch.path("to/a")).unwrap();
    assert_eq!(there.len(), size);
    assert!(there.blocks() < 100, "{}", there.blocks());
    // A hole that is longer than a file can be.
    let mut arriving = directory.create(1, 0).unwrap();
    arriving.write(b"x").unwrap();
    assert!(arriving.hole(u64::MAX).is_err());
    assert!(arriving.hole(i64::MAX as u64).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_keeps_what_is_there() {
    let scratch = Scratch::new("store-full");
    let mut directory = prepared(&scratch, &[file("a", 4)], &StoreOptions::default());
    let mut arriving = directory.create(0, 0).unwrap();
    arriving.write(b"ab").unwrap();
    drop(arriving);
    // What the kernel says of a full disk, by its own means.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let target = Target {
        directory: directory.target(0).unwrap().directory,
        name: "a".into(),
        part: "p".into(),
        shown: "a".into(),
    };
    let error = failure(&target.shown, &io::Write::write_all(&mut &full, b"x").unwrap_err());
    assert_eq!(error.kind, StorageFailure::Full);
    assert_eq!(read(&mut *directory.stored(0).unwrap()), b"ab");
    let mut arriving = directory.create(0, 2).unwrap();
    arriving.write(b"cd").unwrap();
    arriving.commit().unwrap();
    assert_eq!(fs::read(scratch.path("to/a")).unwrap(), b"abcd");
}
