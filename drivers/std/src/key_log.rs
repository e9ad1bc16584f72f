//! The key log as a file.

use core::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rtmfp_core::profile::flash::KeyLog;

/// A file that gets the keys of sessions, for a packet analyser: give it to
/// [`Builder::key_log`](rtmfp_core::profile::flash::Builder::key_log), which says what a line holds.
///
/// Whoever can read the file can read what the sessions carried.
pub struct KeyLogFile(Mutex<State>);

struct State {
    file: File,
    error: Option<io::Error>,
    /// The last line may have been written in part.
    torn: bool,
}

impl KeyLogFile {
    /// Opens a file to append to. A new one can be read by its owner only (mode 0600 on Unix); the permissions of one
    /// that exists stay.
    ///
    /// # Errors
    /// As the system tells.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self(Mutex::new(State { file: options.open(path)?, error: None, torn: false })))
    }

    /// The first error in writing a line since the last call. Lines after it are tried all the same, and begin on a line
    /// of their own.
    pub fn take_error(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).error.take()
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, line: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // In one call: other processes may append to the same file.
        let before = if state.torn { "\n" } else { "" };
        let whole = rtmfp_core::profile::flash::Zeroizing::new(format!("{before}{line}\n"));
        let written = state.file.write_all(whole.as_bytes());
        state.torn = written.is_err();
        if let Err(error) = written {
            state.error.get_or_insert(error);
        }
    }
}

impl fmt::Debug for KeyLogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLogFile").finish_non_exhaustive()
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn lines_are_appended_to_a_file_of_the_owner() {
        let path = std::env::temp_dir().join(format!("rtmfp-key-log-{}", std::process::id()));
        for line in ["one", "two"] {
            let log = KeyLogFile::open(&path).unwrap();
            log.log(line);
            assert!(log.take_error().is_none());
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        std::fs::remove_file(&path).unwrap();
    }

    /// `/dev/full` takes nothing.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_error_is_kept_until_asked_for() {
        let log = KeyLogFile::open("/dev/full").unwrap();
        log.log("one");
        assert_eq!(log.take_error().unwrap().kind(), io::ErrorKind::StorageFull);
        assert!(log.take_error().is_none());
    }

    /// The disk has room again after a part of a line.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_line_after_an_error_is_whole() {
        let path = std::env::temp_dir().join(format!("rtmfp-key-log-torn-{}", std::process::id()));
        let log = KeyLogFile::open(&path).unwrap();
        let with = |file| core::mem::replace(&mut log.0.lock().unwrap().file, file);
        let good = with(OpenOptions::new().append(true).open("/dev/full").unwrap());
        log.log("two");
        std::fs::write(&path, "tw").unwrap();
        let _full = with(good);
        log.log("three");
        log.log("four");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "tw\nthree\nfour\n");
        std::fs::remove_file(&path).unwrap();
    }
}
