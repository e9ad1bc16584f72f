//! What is written, and what another attempt finds of it.

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::*;

#[test]
fn an_interrupted_file_is_found_again_and_gone_on_with() {
    let scratch = Scratch::new("store-resume");
    let entries = [dir("d"), file("d/a", 6)];
    let mut directory = prepared(&scratch, &entries, &StoreOptions::default());
    assert!(directory.stored(1).is_none());
    let mut arriving = directory.create(1, 0).unwrap();
    arriving.write(b"abcX").unwrap();
    drop(arriving);
    assert!(there(&scratch)[1].starts_with("d/.a.rtmfp-part-"));

    // Another process, with the same id. What is there is read and hashed, and only the first bytes are right.
    let mut directory = prepared(&scratch, &entries, &resumed());
    assert_eq!(read(&mut *directory.stored(1).unwrap()), b"abcX");
    let mut arriving = directory.create(1, 3).unwrap();
    arriving.write(b"def").unwrap();
    arriving.commit().unwrap();
    assert_eq!(fs::read(scratch.path("to/d/a")).unwrap(), b"abcdef");
    assert_eq!(there(&scratch), ["d/", "d/a"]);
}

#[test]
fn an_interrupted_file_can_begin_again_and_be_forgotten() {
    let scratch = Scratch::new("store-again");
    let entries = [file("a", 6), file("b", 1)];
    let mut directory = prepared(&scratch, &entries, &StoreOptions::default());
    let mut arriving = directory.create(0, 0).unwrap();
    arriving.write(b"wrong and long").unwrap();
    drop(arriving);
    put(&mut directory, 0, b"abcdef").unwrap();
    assert_eq!(fs::read(scratch.path("to/a")).unwrap(), b"abcdef");
    directory.create(1, 0).unwrap().write(b"x").unwrap();
    assert_eq!(there(&scratch).len(), 2);
    directory.remove_partial_files();
    assert_eq!(there(&scratch), ["a"]);
    // Nothing goes on where nothing is.
    assert_eq!(directory.create(1, 1).unwrap_err().kind, StorageFailure::Other);
}

#[test]
fn what_failed_for_good_leaves_nothing_behind() {
    let scratch = Scratch::new("store-failed");
    let entries = [dir("d"), file("d/a", 1), file("d/b", 1)];
    let mut directory = prepared(&scratch, &entries, &StoreOptions::default());
    put(&mut directory, 1, b"x").unwrap();
    // Its content is not what was announced, so that nobody commits it.
    directory.create(2, 0).unwrap().write(b"x").unwrap();
    assert_eq!(there(&scratch).len(), 3);
    assert!(directory.conclude().is_empty());
    assert_eq!(there(&scratch), ["d/", "d/a"]);
    // Nor what an earlier attempt had begun.
    directory.create(2, 0).unwrap().write(b"x").unwrap();
    assert!(prepared(&scratch, &entries, &resumed()).conclude().is_empty());
    assert_eq!(there(&scratch), ["d/", "d/a"]);
}

#[test]
fn partial_files_of_other_transfers_are_left_alone() {
    let scratch = Scratch::new("store-ids");
    let entries = [file("a", 3)];
    let mut directory = prepared(&scratch, &entries, &StoreOptions::default());
    let mut arriving = directory.create(0, 0).unwrap();
    arriving.write(b"one").unwrap();
    // Nor do two write into one file.
    let refused = directory.create(0, 0).unwrap_err();
    assert!(refused.text.contains("another transfer"), "{refused}");
    let options = StoreOptions { id: [1; 32], ..resumed() };
    let mut other = prepared(&scratch, &entries, &options);
    assert!(other.stored(0).is_none());
    put(&mut other, 0, b"two").unwrap();
    assert_eq!(arriving.commit().unwrap_err().kind, StorageFailure::Exists, "the first that is whole has the name");
    assert_eq!(fs::read(scratch.path("to/a")).unwrap(), b"two");
}

#[test]
fn a_whole_file_counts_as_stored_only_when_a_transfer_goes_on() {
    let scratch = Scratch::new("store-whole");
    scratch.write("to/a", "abcdef");
    let entries = [file("a", 6)];
    let mut fresh = prepared(&scratch, &entries, &StoreOptions::default());
    assert!(fresh.stored(0).is_none());
    assert_eq!(fresh.create(0, 6).unwrap_err().kind, StorageFailure::Exists);

    for force in [false, true] {
        let options = StoreOptions { force, ..resumed() };
        let mut directory = prepared(&scratch, &entries, &options);
        assert_eq!(read(&mut *directory.stored(0).unwrap()), b"abcdef");
        directory.create(0, 6).unwrap().commit().unwrap();
        // The tail may come once more, and is compared.
        let mut again = directory.create(0, 4).unwrap();
        again.write(b"ef").unwrap();
        again.commit().unwrap();
        let mut other = directory.create(0, 4).unwrap();
        assert_eq!(other.write(b"XX").unwrap_err().kind, StorageFailure::Exists);
        assert_eq!(fs::read(scratch.path("to/a")).unwrap(), b"abcdef");
    }
    // Of another length, it is another file.
    let mut directory = prepared(&scratch, &[file("a", 7)], &resumed());
    assert!(directory.stored(0).is_none());
    assert_eq!(directory.create(0, 0).unwrap_err().kind, StorageFailure::Exists);
}

#[test]
fn a_whole_file_with_holes_is_compared_too() {
    let scratch = Scratch::new("store-zeros");
    scratch.write("to/a", vec![0; 100_000]);
    let mut directory = prepared(&scratch, &[file("a", 100_000)], &resumed());
    let mut again = directory.create(0, 0).unwrap();
    again.hole(70_000).unwrap();
    again.hole(30_000).unwrap();
    assert!(again.hole(1).is_err());
    again.commit().unwrap();
}

#[test]
fn a_large_file_that_is_written_through_arrives_whole() {
    let scratch = Scratch::new("store-large");
    let mut directory = prepared(&scratch, &[file("a", 17 << 20)], &StoreOptions::default());
    let mut arriving = directory.create(0, 0).unwrap();
    let piece = vec![5; 1 << 20];
    for _ in 0..17 {
        arriving.write(&piece).unwrap();
    }
    arriving.commit().unwrap();
    assert_eq!(fs::metadata(scratch.path("to/a")).unwrap().len(), 17 << 20);
}

#[test]
fn too_little_room_is_told_before_anything_is_sent() {
    let scratch = Scratch::new("store-room");
    let entries = [dir("d"), file("d/a", u64::MAX / 2), file("d/b", u64::MAX / 2)];
    let mut directory = Directory::new(&scratch.path("to"), StoreOptions::default()).unwrap();
    let full = directory.prepare(&manifest(&entries)).unwrap_err();
    assert_eq!(full.kind, StorageFailure::Full);
    assert!(full.text.contains("bytes free"), "{full}");
    assert!(there(&scratch).is_empty());
    let options = StoreOptions { ignore_space: true, ..StoreOptions::default() };
    prepared(&scratch, &entries, &options);
    // Refused files need no room.
    prepared(&scratch, &[file("../a", u64::MAX / 2)], &StoreOptions::default());
}

#[test]
fn room_that_an_earlier_attempt_has_taken_is_not_needed_again() {
    let scratch = Scratch::new("store-room-again");
    let entries = [file("a", 10), file("b", 20), file("c", 30)];
    let mut directory = prepared(&scratch, &entries, &StoreOptions::default());
    put(&mut directory, 0, &[0; 10]).unwrap();
    directory.create(1, 0).unwrap().write(&[0; 15]).unwrap();
    assert_eq!(directory.missing(), 60);
    assert_eq!(prepared(&scratch, &entries, &resumed()).missing(), 35);
}

#[test]
fn what_the_system_says_is_told_apart() {
    for (kind, expected) in [
        (io::ErrorKind::StorageFull, StorageFailure::Full),
        (io::ErrorKind::QuotaExceeded, StorageFailure::Full),
        (io::ErrorKind::AlreadyExists, StorageFailure::Exists),
        (io::ErrorKind::InvalidFilename, StorageFailure::BadName),
        (io::ErrorKind::PermissionDenied, StorageFailure::Other),
    ] {
        assert_eq!(failure("x", &kind.into()).kind, expected);
    }
}

#[test]
fn a_text_is_kept_for_the_terminal_and_not_stored() {
    let scratch = Scratch::new("store-text");
    let text = |size| entry("../text", EntryKind::Text { size });
    let mut directory = prepared(&scratch, &[text(12), text(2 << 20)], &StoreOptions::default());
    let texts = directory.texts();
    let mut arriving = directory.create(0, 0).unwrap();
    arriving.write(b"hello\n").unwrap();
    assert!(texts.take().is_empty(), "it is not verified yet");
    arriving.write(b"\x1b[2J\xff").unwrap();
    assert!(arriving.write(b"more than was said").is_err());
    assert!(arriving.hole(u64::MAX).is_err());
    arriving.commit().unwrap();
    assert_eq!(crate::text::shown_lines(&texts.take()[0]), "hello\n\u{fffd}[2J\u{fffd}");
    assert!(texts.take().is_empty());
    assert!(directory.create(1, 0).is_err(), "it is too long");
    assert!(there(&scratch).is_empty());
}

/// A stream that can be looked at.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u8>>>);

impl Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn standard_output_takes_one_file() {
    let seen = Seen::default();
    let mut output = StandardOutput::new(Box::new(seen.clone()));
    for entries in [vec![], vec![dir("d")], vec![link("l", "x")], vec![file("a", 1), file("b", 1)]] {
        assert_eq!(output.prepare(&manifest(&entries)).unwrap_err().kind, StorageFailure::BadName);
    }
    output.prepare(&manifest(&[file("../a", 1)])).unwrap();
    assert!(output.stored(0).is_none());
    assert!(output.create(0, 1).is_err());
    let mut arriving = output.create(0, 0).unwrap();
    arriving.write(b"abc").unwrap();
    arriving.hole(100_000).unwrap();
    arriving.write(b"d").unwrap();
    arriving.commit().unwrap();
    let seen = seen.0.lock().unwrap();
    assert_eq!((seen.len(), &seen[..4], seen[100_003]), (100_004, &b"abc\0"[..], b'd'));
    assert!(output.create(0, 0).is_err(), "and not again");
    assert!(output.conclude().is_empty());
}

/// Nobody reads it any more.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_cannot_be_written_is_told_by_the_next_call_and_all_after_it() {
    let mut arriving = StandardOutput::new(Box::new(Broken)).create(0, 0).unwrap();
    // Whether it fails at once is the thread's pace.
    let _ = arriving.write(b"abc");
    let error = loop {
        assert!(arriving.is_ready());
        if let Err(error) = arriving.write(b"d") {
            break error;
        }
    };
    assert!(error.text.contains("standard output"), "{error}");
    assert_eq!(arriving.hole(1).unwrap_err(), error);
    assert_eq!(arriving.commit().unwrap_err(), error);
}

#[test]
fn a_strange_time_does_not_cost_the_file() {
    let scratch = Scratch::new("store-time");
    for (n, seconds) in [i64::MIN, i64::MAX, -1].into_iter().enumerate() {
        let mut entry = file(&n.to_string(), 1);
        entry.modified = Some(Time { seconds, nanos: u32::MAX });
        let mut inner = dir("d");
        inner.modified = entry.modified;
        let mut directory = prepared(&scratch, &[entry, inner], &StoreOptions::default());
        put(&mut directory, 0, b"x").unwrap();
        drop(directory.conclude());
        assert!(scratch.path(&format!("to/{n}")).exists());
    }
}
