//! What is kept of a transfer that was interrupted, so that the same command goes on with it: never the words of the code.
//!
//! One file for each transfer, in `transfers` beside the identity, which its owner alone can read. It is named after what
//! the command was about: the directory at the receiver, the paths at the sender.

use core::time::Duration;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
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
/// The most bytes of one.
const BYTES: u64 = 4_096;

/// What is kept of a transfer.
#[derive(Clone, Debug)]
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

/// The file of one transfer.
#[derive(Clone, Debug)]
pub struct Place(PathBuf);

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
        Some(Self(keyring::in_home(DIRECTORY).ok()?.join(name)))
    }

    /// What was kept, if it is there and not too old.
    ///
    /// # Errors
    /// If it cannot be read, or others can read it.
    pub fn load(&self) -> Result<Option<Saved>, Failure> {
        let fail = |e: &dyn core::fmt::Display| Failure::local(self.0.display(), e);
        let metadata = match fs::symlink_metadata(&self.0) {
            Ok(metadata) => metadata,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(fail(&e)),
        };
        if !metadata.is_file() || metadata.len() > BYTES || is_old(&metadata) {
            self.remove();
            return Ok(None);
        }
        let text = Zeroizing::new(fs::read_to_string(&self.0).map_err(|e| fail(&e))?);
        Ok(read(&text))
    }

    /// Keeps it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, saved: &Saved) -> io::Result<()> {
        let directory = self.0.parent().unwrap_or(Path::new("."));
        make_directory(directory)?;
        prune(directory);
        let mut part = self.0.as_os_str().to_owned();
        part.push(format!(".{}", std::process::id()));
        let part = PathBuf::from(part);
        let _ = fs::remove_file(&part);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&part)?.write_all(write(saved).as_bytes())?;
        fs::rename(&part, &self.0)
    }

    /// Forgets it: the transfer is over.
    pub fn remove(&self) {
        // If it stays, the next command finds nobody, and says how to begin anew.
        let _ = fs::remove_file(&self.0);
    }
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

/// Makes room for one more.
fn prune(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut kept: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if is_old(&metadata) {
            let _ = fs::remove_file(entry.path());
        } else {
            kept.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path()));
        }
    }
    kept.sort();
    let excess = (kept.len() + 1).saturating_sub(KEPT);
    for (_, path) in kept.into_iter().take(excess) {
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
        let place = Place(directory.join("one"));
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
            Place(directory.join(format!("{number:03}"))).save(&saved()).unwrap();
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), KEPT);
        let last = Place(directory.join(format!("{:03}", KEPT + 4)));
        assert!(last.load().unwrap().is_some());
        let file = fs::File::options().write(true).open(&last.0).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(last.load().unwrap().is_none());
        fs::write(&last.0, "something else\n").unwrap();
        assert!(last.load().unwrap().is_none());
        let _ = fs::remove_dir_all(&directory);
    }
}
