//! What is kept of a transfer that was interrupted, so that the same command goes on with it: never the words of the code.
//!
//! One file for each transfer, in `transfers` beside the identity, which its owner alone can read. It is named after what
//! the command was about: the directory at the receiver, the paths at the sender. A command has it for itself: another one
//! about the same, while the first runs, gets the next name, and so another transfer.

use core::fmt;
use core::time::Duration;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rtmfp_core::profile::Fingerprint;
use rtmfp_core::profile::flash::Zeroizing;
use rtmfp_core::profile::modern;
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;
use crate::keyring;
use crate::report::hex;

/// Where the files are.
const DIRECTORY: &str = "transfers";
/// What each begins with.
const MAGIC: &str = "rtmfp-transfer-1";
/// For how long one is good.
const LIFETIME: Duration = Duration::from_secs(7 * 86_400);
/// How many are kept. Beyond them the oldest goes.
const KEPT: usize = 64;
/// How many transfers at once can be about the same.
const SLOTS: usize = 8;
/// How the name ends of a file that is locked while a command runs.
const LOCK: &str = "lock";
/// The most bytes of one.
const BYTES: u64 = 4_096;

/// What is kept of a transfer.
#[derive(Clone)]
pub struct Saved {
    /// What the two have in common.
    pub secret: Zeroizing<[u8; 32]>,
    /// Who is at the far end.
    pub far: Fingerprint,
    /// Who this end is, for this transfer alone.
    pub identity: modern::Identity,
    /// What was offered.
    pub root: [u8; 32],
    /// Through which server the two have met.
    pub server: Option<String>,
}

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saved").field("far", &self.far).field("server", &self.server).finish_non_exhaustive()
    }
}

/// The file of one transfer, for this command alone.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// `None` where there are no locks.
    _lock: Option<Lock>,
}

impl Place {
    /// That of a command about this, if the user has a home directory.
    #[must_use]
    pub fn of(command: &str, about: &[&[u8]]) -> Option<Self> {
        let mut hash = Sha256::new().chain_update(command);
        for part in about {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let name = hex(hash.finalize().get(..16).unwrap_or_default());
        Self::free(&keyring::in_home(DIRECTORY).ok()?, &name)
    }

    /// The first that nobody else has and that has something, or else the first that nobody else has.
    fn free(directory: &Path, name: &str) -> Option<Self> {
        // If it cannot be made, that is told when there is something to keep.
        let _ = make_directory(directory);
        let mut empty = None;
        for slot in 0..SLOTS {
            let path = directory.join(if slot == 0 { name.to_owned() } else { format!("{name}-{slot}") });
            if empty.is_some() && !path.exists() {
                continue;
            }
            let Ok(lock) = Lock::take(&path) else { continue };
            let place = Self { path, _lock: lock };
            if place.path.exists() {
                return Some(place);
            }
            empty = empty.or(Some(place));
        }
        empty
    }

    #[cfg(test)]
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, _lock: None }
    }

    /// What was kept, if it is there and not too old.
    ///
    /// # Errors
    /// If it cannot be read, or others can read it.
    pub fn load(&self) -> Result<Option<Saved>, Failure> {
        let fail = |e: &dyn fmt::Display| Failure::local(self.path.display(), e);
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use rustix::fs::OFlags;
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
            std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits().cast_signed());
        }
        let file = match options.open(&self.path) {
            Ok(file) => file,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(fail(&e)),
        };
        let metadata = file.metadata().map_err(|e| fail(&e))?;
        if !metadata.is_file() || metadata.len() > BYTES || is_old(&metadata) {
            self.remove();
            return Ok(None);
        }
        keyring::check_owner(&self.path, &file)?;
        let mut text = Zeroizing::new(String::with_capacity(1_024));
        file.take(BYTES).read_to_string(&mut text).map_err(|e| fail(&e))?;
        Ok(read(&text))
    }

    /// Keeps it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, saved: &Saved) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        make_directory(directory)?;
        prune(directory);
        let part = with_end(&self.path, "new");
        let _ = fs::remove_file(&part);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&part)?;
        file.write_all(write(saved).as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, &self.path)?;
        #[cfg(unix)]
        File::open(directory)?.sync_all()?;
        Ok(())
    }

    /// Forgets it: the transfer is over.
    pub fn remove(&self) {
        // If it stays, the next command finds nobody, and says how to begin anew.
        let _ = fs::remove_file(&self.path);
    }
}

/// Another command has the place.
#[derive(Debug)]
struct Taken;

/// A lock for as long as a command runs, beside the file of a transfer: that one is replaced as a whole.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Locks the file of a transfer. `None` if there are no locks where it is.
    fn take(of: &Path) -> Result<Option<Self>, Taken> {
        let path = with_end(of, LOCK);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // Whoever had it may remove it just now: then the next one counts.
        for _ in 0..SLOTS {
            let Ok(file) = options.open(&path) else { return Ok(None) };
            match file.try_lock() {
                Ok(()) if keyring::is_at(&path, &file).unwrap_or(false) => return Ok(Some(Self { path, _file: file })),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(Taken),
                Err(TryLockError::Error(_)) => return Ok(None),
            }
        }
        Err(Taken)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // It is still locked. If it stays, it is locked again by the next one.
        let _ = fs::remove_file(&self.path);
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(format!(".{end}"));
    PathBuf::from(path)
}

fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn is_old(metadata: &fs::Metadata) -> bool {
    // A time in the future is that of a clock that was wrong.
    metadata.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LIFETIME))
}

/// Makes room for one more. What a running command has stays.
fn prune(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut kept: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        // Locks, and what was being written when its command was killed.
        let is_aside = entry.path().extension().is_some();
        if is_old(&metadata) {
            remove_unused(&entry.path());
        } else if !is_aside {
            kept.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path()));
        }
    }
    kept.sort();
    let excess = (kept.len() + 1).saturating_sub(KEPT);
    for (_, path) in kept.into_iter().take(excess) {
        remove_unused(&path);
    }
}

/// Removes a file of a transfer that no command is about now.
fn remove_unused(path: &Path) {
    if let Ok(_lock) = Lock::take(&path.with_extension("")) {
        let _ = fs::remove_file(path);
    }
}

fn write(saved: &Saved) -> Zeroizing<String> {
    let identity = saved.identity.to_bytes();
    let mut text = Zeroizing::new(String::with_capacity(1_024));
    let fields = [
        ("secret", &saved.secret[..]),
        ("far", saved.far.as_bytes()),
        ("identity", &identity[..]),
        ("root", &saved.root[..]),
    ];
    text.push_str(MAGIC);
    for (key, value) in fields {
        text.push_str(&format!("\n{key} "));
        text.push_str(&Zeroizing::new(hex(value)));
    }
    if let Some(server) = &saved.server {
        text.push_str("\nserver ");
        text.push_str(server);
    }
    text.push('\n');
    text
}

/// What the text of a file says; `None` if it is of another version, or is none.
fn read(text: &str) -> Option<Saved> {
    let mut lines = text.lines();
    if lines.next()? != MAGIC {
        return None;
    }
    let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(' ')).collect();
    let field = |wanted: &str| fields.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
    // 32 bytes in the digits of a fingerprint.
    let bytes = |wanted: &str| field(wanted)?.parse::<Fingerprint>().ok().map(|bytes| bytes.0);
    let identity = Zeroizing::new(bytes("identity")?);
    Some(Saved {
        secret: Zeroizing::new(bytes("secret")?),
        far: Fingerprint(bytes("far")?),
        identity: modern::Identity::from_bytes(&*identity).ok()?,
        root: bytes("root")?,
        server: field("server").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        Saved {
            secret: Zeroizing::new([1; 32]),
            far: Fingerprint([2; 32]),
            identity: modern::Identity::from_bytes(&[3; 32]).unwrap(),
            root: [4; 32],
            server: Some("rtmfp://h/".to_owned()),
        }
    }

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("rtmfp-resume-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn what_is_kept_is_read_again_by_its_owner_alone() {
        let directory = scratch("kept");
        let place = Place::at(directory.join("one"));
        assert!(place.load().unwrap().is_none());
        place.save(&saved()).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            assert_eq!(fs::metadata(directory.join("one")).unwrap().mode() & 0o777, 0o600);
            assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        }
        let read = place.load().unwrap().unwrap();
        assert_eq!((&*read.secret, read.far, read.root), (&[1; 32], Fingerprint([2; 32]), [4; 32]));
        assert_eq!(read.identity.peer_id(), saved().identity.peer_id());
        assert_eq!(read.server.as_deref(), Some("rtmfp://h/"));
        place.remove();
        assert!(place.load().unwrap().is_none());
        let _ = fs::remove_dir_all(&directory);
    }

    #[test]
    fn old_ones_and_those_that_are_too_many_go() {
        let directory = scratch("many");
        for number in 0..KEPT + 5 {
            Place::at(directory.join(format!("{number:03}"))).save(&saved()).unwrap();
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), KEPT);
        let last = Place::at(directory.join(format!("{:03}", KEPT + 4)));
        assert!(last.load().unwrap().is_some());
        let file = fs::File::options().write(true).open(&last.path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(last.load().unwrap().is_none());
        last.save(&saved()).unwrap();
        fs::write(&last.path, "something else\n").unwrap();
        assert!(last.load().unwrap().is_none());
        let _ = fs::remove_dir_all(&directory);
    }

    #[test]
    fn a_second_command_about_the_same_gets_a_transfer_of_its_own() {
        let directory = scratch("locked");
        let first = Place::free(&directory, "one").unwrap();
        first.save(&saved()).unwrap();
        let second = Place::free(&directory, "one").unwrap();
        assert_ne!(first.path, second.path);
        assert!(second.load().unwrap().is_none(), "what the first has is its own");
        second.save(&saved()).unwrap();
        let all: Vec<_> = (2..SLOTS).map(|_| Place::free(&directory, "one").unwrap()).collect();
        assert!(Place::free(&directory, "one").is_none());
        drop(all);
        drop(first);
        let again = Place::free(&directory, "one").unwrap();
        assert!(again.path.ends_with("one") && again.load().unwrap().is_some());
        drop(second);
        assert!(Place::free(&directory, "one").unwrap().path.ends_with("one-1"));
        drop(again);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "no lock stays");
        let _ = fs::remove_dir_all(&directory);
    }

    #[test]
    fn what_a_running_command_has_is_not_removed_for_another() {
        let directory = scratch("running");
        let first = Place::free(&directory, "aaa").unwrap();
        first.save(&saved()).unwrap();
        let file = File::options().write(true).open(&first.path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        Place::at(directory.join("other")).save(&saved()).unwrap();
        assert!(first.path.exists());
        drop(first);
        Place::at(directory.join("other")).save(&saved()).unwrap();
        assert!(!directory.join("aaa").exists());
        let _ = fs::remove_dir_all(&directory);
    }

    #[cfg(unix)]
    #[test]
    fn what_others_can_read_or_put_there_is_refused() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let directory = scratch("open");
        let place = Place::at(directory.join("one"));
        place.save(&saved()).unwrap();
        fs::set_permissions(&place.path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(place.load().is_err());
        let linked = Place::at(directory.join("linked"));
        fs::set_permissions(&place.path, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&place.path, &linked.path).unwrap();
        assert!(linked.load().is_err());
        let _ = fs::remove_dir_all(&directory);
    }

    #[test]
    fn no_log_shows_the_secret() {
        let saved = Saved { secret: Zeroizing::new([0xab; 32]), ..saved() };
        let shown = format!("{saved:?}");
        assert!(!shown.contains("171") && !shown.contains("identity"), "{shown}");
    }
}
