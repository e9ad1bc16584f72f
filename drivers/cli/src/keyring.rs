//! What the program keeps about who is who: the near identity, and the peers that the user has pinned.

use core::time::Duration;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread::park_timeout;

use rtmfp_core::Instant;
use rtmfp_core::profile::Fingerprint;
use rtmfp_core::profile::flash::Zeroizing;
use rtmfp_core::profile::modern;
use rtmfp_std::{Clock, MODERN_PORT, system_rng};

use crate::failure::{Code, Failure};
use crate::text::shown;

mod place;

pub use place::place;

/// Names another directory for the files of this module.
const HOME_VARIABLE: &str = "RTMFP_HOME";
/// What an identity file begins with.
const MAGIC: &str = "rtmfp-identity-1 ";
/// The most bytes of an identity file.
const IDENTITY_BYTES: u64 = 256;
/// How often an identity file is opened anew because it was replaced before it was locked.
const LOCK_TRIES: u32 = 8;
/// The most bytes of the file of pinned peers.
const PEERS_BYTES: u64 = 4 << 20;
/// The longest name of a peer: a host name, a colon and a port.
const LONGEST_NAME: usize = 262;
/// Told of an IPv6 address that may or may not end in a port.
const BRACKETS: &str = "an IPv6 address stands in brackets, with its port after them, as in [2001:db8::1]:1936";

/// A file in the program's directory: `RTMFP_HOME`, or `rtmfp` in the user's directory for settings.
pub(crate) fn in_home(name: &str) -> Result<PathBuf, Failure> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable(HOME_VARIABLE)
        .or_else(|| variable("XDG_CONFIG_HOME").map(|path| path.join("rtmfp")))
        .or_else(|| variable("HOME").map(|path| path.join(".config").join("rtmfp")))
        .or_else(|| variable("APPDATA").map(|path| path.join("rtmfp")));
    match home {
        Some(home) => Ok(home.join(name)),
        None => {
            Err(Failure::new(Code::Local, format!("there is no home directory: set {HOME_VARIABLE} to a directory")))
        }
    }
}

/// The file of the near identity, unless another is named.
///
/// # Errors
/// If the user has no home directory.
pub fn identity_path(named: Option<&Path>) -> Result<PathBuf, Failure> {
    named.map_or_else(|| in_home("identity"), |path| Ok(path.to_path_buf()))
}

/// An identity that was read from its file. The file stays locked as long as this lives, so that no other process is
/// reachable under the same identity.
#[derive(Debug)]
pub struct Kept {
    /// The identity.
    pub identity: modern::Identity,
    _lock: File,
}

impl Kept {
    /// Reads an identity from its file, and locks it.
    ///
    /// # Errors
    /// If it cannot be read, is locked by another process, can be read by others than its owner, or holds no identity.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        for _ in 0..LOCK_TRIES {
            if let Some(file) = lock(path, open(path)?)? {
                return Ok(Self { identity: read(path, &file)?, _lock: file });
            }
        }
        Err(Failure::local(path.display(), "this file is being replaced again and again: try again"))
    }

    /// [Opens](Self::open) an identity if its file is there.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if nobody can tell whether it is there.
    pub fn open_if_there(path: &Path) -> Result<Option<Self>, Failure> {
        let there = path.try_exists().map_err(|e| Failure::local(path.display(), e))?;
        if there { Self::open(path).map(Some) } else { Ok(None) }
    }

    /// The peer ID of the identity in a file, which may be in use.
    ///
    /// # Errors
    /// As [`open`](Self::open), if it is not locked.
    pub fn look(path: &Path) -> Result<Fingerprint, Failure> {
        Ok(read(path, &open(path)?)?.peer_id())
    }

    /// Makes an identity, and its file, which must not be there.
    ///
    /// # Errors
    /// If the file is there or cannot be written.
    pub fn create(path: &Path) -> Result<modern::Identity, Failure> {
        let fail = |e: io::Error| {
            let advice =
                if e.kind() == io::ErrorKind::AlreadyExists { "; `rtmfp identity rotate` replaces it" } else { "" };
            Failure::local(path.display(), format_args!("{e}{advice}"))
        };
        let identity = modern::Identity::generate(&mut *system_rng()?);
        make_directory_of(path).and_then(|()| write_identity(path, &identity)).map_err(fail)?;
        Ok(identity)
    }

    /// Replaces the identity in a file. The old one is gone then.
    ///
    /// # Errors
    /// If a process is reachable under it, or the file cannot be read or written.
    pub fn rotate(path: &Path) -> Result<(Fingerprint, modern::Identity), Failure> {
        let old = Self::open(path)?;
        let identity = modern::Identity::generate(&mut *system_rng()?);
        let mut part = path.as_os_str().to_owned();
        part.push(".new");
        let part = PathBuf::from(part);
        write_identity(&part, &identity).map_err(|e| {
            // It may be another identity of the user, and so it is not removed here.
            let there = e.kind() == io::ErrorKind::AlreadyExists;
            let advice =
                if there { "; a rotation that was cut short may have left it: remove it, or move it" } else { "" };
            Failure::local(part.display(), format_args!("{e}{advice}"))
        })?;
        if let Err(error) = fs::rename(&part, path) {
            let _ = fs::remove_file(&part);
            return Err(Failure::local(path.display(), error));
        }
        Ok((old.identity.peer_id(), identity))
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    let file = File::open(path).map_err(|e| {
        let advice = if e.kind() == io::ErrorKind::NotFound { "; `rtmfp identity new` makes one" } else { "" };
        Failure::local(path.display(), format_args!("{e}{advice}"))
    })?;
    check_owner(path, &file)?;
    Ok(file)
}

/// How long a lock may be held by what is about to end: the process before, or a child that has this program's files open
/// until it begins.
const LOCK_WAIT: Duration = Duration::from_millis(500);
/// How often it is tried again.
const LOCK_TICK: Duration = Duration::from_millis(10);

/// Locks a file, and waits a little for that.
fn try_lock(file: &File) -> Result<(), TryLockError> {
    let clock = Clock::new();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if clock.now() < Instant::ORIGIN + LOCK_WAIT => park_timeout(LOCK_TICK),
            other => return other,
        }
    }
}

/// Locks an open file. `None` if the path names another one by now: whoever has replaced it has the lock of that one.
fn lock(path: &Path, file: File) -> Result<Option<File>, Failure> {
    match try_lock(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let advice = "another process is reachable under this identity: wait until it has ended, or give --identity another file";
            return Err(Failure::local(path.display(), advice));
        }
        Err(TryLockError::Error(error)) => return Err(Failure::local(path.display(), error)),
    }
    let same = is_at(path, &file).map_err(|e| Failure::local(path.display(), e))?;
    Ok(same.then_some(file))
}

/// Whether a path names an open file.
#[cfg(unix)]
pub(crate) fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (named, open) = (fs::metadata(path)?, file.metadata()?);
    Ok((named.dev(), named.ino()) == (open.dev(), open.ino()))
}

/// Elsewhere, a file that is open is not replaced.
#[cfg(not(unix))]
pub(crate) fn is_at(_path: &Path, _file: &File) -> io::Result<bool> {
    Ok(true)
}

fn read(path: &Path, file: &File) -> Result<modern::Identity, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(512));
    let read = file.take(IDENTITY_BYTES).read_to_string(&mut text);
    read.map_err(|e| Failure::local(path.display(), e))?;
    let advice = "this is no identity: restore the file, or remove it, and `rtmfp identity new` makes another";
    parse_identity(&text).ok_or_else(|| Failure::local(path.display(), advice))
}

/// Makes a file that its owner alone can read.
fn write_identity(path: &Path, identity: &modern::Identity) -> io::Result<()> {
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str(MAGIC);
    for byte in &**identity.to_bytes() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn parse_identity(text: &str) -> Option<modern::Identity> {
    // The same digits as those of a fingerprint.
    let secret: Fingerprint = text.strip_prefix(MAGIC)?.trim_end().parse().ok()?;
    let secret = Zeroizing::new(secret.0);
    modern::Identity::from_bytes(&*secret).ok()
}

/// Refuses a file that others than its owner can read or write.
#[cfg(unix)]
pub(crate) fn check_owner(path: &Path, file: &File) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt as _;
    let found = file.metadata().map_err(|e| Failure::local(path.display(), e))?;
    if found.mode() & 0o077 != 0 {
        let advice = format!("others can read or change this file: run `chmod 600 {}`", path.display());
        return Err(Failure::local(path.display(), advice));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(Failure::local(path.display(), "this file belongs to another user, who knows what is in it"));
    }
    Ok(())
}

/// Elsewhere, files in a user's directory are that user's.
#[cfg(not(unix))]
pub(crate) fn check_owner(_path: &Path, _file: &File) -> Result<(), Failure> {
    Ok(())
}

fn make_directory_of(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) else { return Ok(()) };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// The peers that the user has pinned: a line each, `NAME FINGERPRINT`. A server's name is `HOST:PORT`; those of people
/// are chosen.
#[derive(Debug)]
pub struct Peers {
    path: PathBuf,
    lines: Vec<(String, Fingerprint)>,
    /// The last line has no end, as some editors leave it.
    cut: bool,
}

impl Peers {
    /// Reads them. Without a file there are none.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is wrong.
    pub fn load() -> Result<Self, Failure> {
        Self::load_from(in_home("known_peers")?)
    }

    fn load_from(path: PathBuf) -> Result<Self, Failure> {
        let mut text = String::new();
        match File::open(&path) {
            Ok(file) => {
                let read = file.take(PEERS_BYTES + 1).read_to_string(&mut text);
                let read = read.map_err(|e| Failure::local(path.display(), e))?;
                // A pin that is not seen accepts everybody.
                if read as u64 > PEERS_BYTES {
                    let message = format!("this file is too long: leave at most {PEERS_BYTES} bytes");
                    return Err(Failure::local(path.display(), message));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Failure::local(path.display(), e)),
        }
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| Failure::local(path.display(), format_args!("line {}: {what}", number + 1));
            let parsed = line.split_once(char::is_whitespace).and_then(|(name, text)| Some((name, fingerprint(text)?)));
            let (name, fingerprint) =
                parsed.ok_or_else(|| wrong("write a name and a fingerprint, or remove the line"))?;
            // It would pin nobody, and whoever answers there would be accepted.
            if place::lacks_brackets(name) {
                return Err(wrong(BRACKETS));
            }
            lines.push((place::canonical(name), fingerprint));
        }
        let cut = !text.is_empty() && !text.ends_with('\n');
        Ok(Self { path, lines, cut })
    }

    /// Where they are kept.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The fingerprint of a name, or of a place in any of its forms.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Fingerprint> {
        let name = place::canonical(name);
        self.lines.iter().find(|(known, _)| *known == name).map(|(_, fingerprint)| *fingerprint)
    }

    /// The fingerprint of whoever is pinned at a place. A name without a port is one of its names, if the port is that
    /// of a URI without one.
    #[must_use]
    pub fn at(&self, host: &str, port: u16) -> Option<Fingerprint> {
        let found = self.get(&place(host, port));
        if port == MODERN_PORT { found.or_else(|| self.get(host)) } else { found }
    }

    /// Adds a peer at the end of the file.
    ///
    /// # Errors
    /// If the name cannot be one, is there with another fingerprint, or the file cannot be written.
    pub fn pin(&mut self, name: &str, fingerprint: Fingerprint) -> Result<(), Failure> {
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains(odd) || name.starts_with('#') {
            let message = format!("`{}` cannot be a name: use up to {LONGEST_NAME} bytes without spaces", shown(name));
            return Err(Failure::new(Code::Usage, message));
        }
        // --fingerprint would take it for a fingerprint.
        if self::fingerprint(name).is_some() {
            return Err(Failure::new(Code::Usage, "64 hexadecimal digits are a fingerprint, and cannot be a name"));
        }
        if place::lacks_brackets(name) {
            return Err(Failure::new(Code::Usage, BRACKETS));
        }
        match self.get(name) {
            Some(known) if known == fingerprint => return Ok(()),
            Some(known) => {
                let name = shown(name);
                let message = format!("{name} is pinned to {known}: remove that line if {name} really has another now");
                return Err(Failure::local(self.path.display(), message));
            }
            None => {}
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // In one call: other processes may append to the same file.
        let line = format!("{}{name} {fingerprint}\n", if self.cut { "\n" } else { "" });
        let written = make_directory_of(&self.path)
            .and_then(|()| options.open(&self.path))
            .and_then(|mut file| file.write_all(line.as_bytes()));
        written.map_err(|e| Failure::local(self.path.display(), e))?;
        self.cut = false;
        self.lines.push((place::canonical(name), fingerprint));
        Ok(())
    }
}

/// A fingerprint, with or without the spaces, dashes and colons of a form for people.
#[must_use]
pub fn fingerprint(text: &str) -> Option<Fingerprint> {
    let digits: String = text.trim().chars().filter(|c| !matches!(c, ' ' | '-' | ':')).collect();
    digits.parse().ok()
}

/// A fingerprint in groups of four digits, eight in a line, which two people can read to each other.
#[must_use]
pub fn grouped(fingerprint: &Fingerprint) -> String {
    let mut text = String::new();
    for (place, digit) in fingerprint.to_string().chars().enumerate() {
        match place {
            0 => {}
            32 => text.push('\n'),
            place if place % 4 == 0 => text.push(' '),
            _ => {}
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
