//! Tokens of those who may use the server.

use core::fmt;
use core::net::SocketAddr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rtmfp_meet::{Admit, Asker};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Tokens in a file. Each is compared with whatever is shown.
const MAX_TOKENS: usize = 4_096;
/// Bytes of a file.
const MAX_FILE: u64 = 1 << 20;

/// A hash of a token.
type Hash = [u8; 32];

/// Lets those alone use the server who show a token of a file. Without one, a client may show one, and have probes sent.
///
/// Each line has a name, for people, and the SHA-256 of a token in hexadecimal. What follows is ignored. So are empty lines
/// and those that begin with `#`. Nobody who reads the file learns a token, if tokens are random: a short one could be
/// guessed. There may be 4,096 tokens in 1 MiB.
///
/// A file that has changed is read again when the next token is shown. If it cannot be used then, what it said before holds.
/// A client that was let in stays until its session ends, also if its token is removed.
#[derive(Clone)]
pub struct Tokens(Arc<Mutex<Known>>);

struct Known {
    file: PathBuf,
    /// The file as it was read last. `None` if it could not be.
    stamp: Option<Stamp>,
    hashes: Vec<Hash>,
    complain: Box<dyn FnMut(TokensError) + Send>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// Reads a file. `complain` is told when it has changed and cannot be used.
    ///
    /// # Errors
    /// The file cannot be read, others may write to it, or it does not say what it should.
    pub fn open(file: &Path, complain: impl FnMut(TokensError) + Send + 'static) -> Result<Self, TokensError> {
        let (stamp, hashes) = read(file)?;
        let (file, complain) = (file.to_owned(), Box::new(complain));
        Ok(Self(Arc::new(Mutex::new(Known { file, stamp: Some(stamp), hashes, complain }))))
    }

    fn accepts(&self, token: &[u8]) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.refresh();
        let hash: Hash = Sha256::digest(token).into();
        // With all of them, so that the time tells nothing.
        known.hashes.iter().fold(0, |found, other| found | hash.ct_eq(other).unwrap_u8()) == 1
    }

    /// What a file has for a token.
    #[must_use]
    pub fn line(name: &str, token: &[u8]) -> String {
        let hash = Sha256::digest(token);
        let digits = hash.iter().map(|byte| format!("{byte:02x}"));
        format!("{name} {}", digits.collect::<String>())
    }
}

impl Admit for Tokens {
    fn accepts_token(&mut self, _: &Asker, token: &[u8]) -> bool {
        self.accepts(token)
    }

    fn may_use(&mut self, asker: &Asker) -> bool {
        asker.accepted
    }

    fn may_be_introduced_unasked(&mut self, _: SocketAddr, _: &[u8]) -> bool {
        false
    }
}

impl Known {
    /// Reads the file if it has changed.
    fn refresh(&mut self) {
        let stamp = fs::metadata(&self.file).ok().map(|metadata| Stamp::of(&metadata));
        if stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        match read(&self.file) {
            Ok((stamp, hashes)) => (self.stamp, self.hashes) = (Some(stamp), hashes),
            Err(error) => (self.complain)(error),
        }
    }
}

/// By what a changed file is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    /// A file that is replaced is another one.
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self { modified: metadata.modified().ok(), len: metadata.len(), inode }
    }
}

/// Opens a file. Nobody is waited for at the other end of a pipe.
fn open(file: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    options.open(file)
}

fn read(file: &Path) -> Result<(Stamp, Vec<Hash>), TokensError> {
    let mut opened = open(file).map_err(TokensError::Unreadable)?;
    let metadata = opened.metadata().map_err(TokensError::Unreadable)?;
    if !metadata.is_file() {
        return Err(TokensError::NoFile);
    }
    if is_writable_by_others(&metadata) {
        return Err(TokensError::Exposed);
    }
    let mut text = String::new();
    opened.by_ref().take(MAX_FILE + 1).read_to_string(&mut text).map_err(TokensError::Unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(TokensError::TooLong);
    }
    Ok((Stamp::of(&metadata), parse(&text)?))
}

#[cfg(unix)]
fn is_writable_by_others(metadata: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o022 != 0
}

#[cfg(not(unix))]
const fn is_writable_by_others(_: &Metadata) -> bool {
    false
}

fn parse(text: &str) -> Result<Vec<Hash>, TokensError> {
    let mut hashes = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split_whitespace();
        if words.next().is_none_or(|name| name.starts_with('#')) {
            continue;
        }
        let hash = words.next().and_then(hash).ok_or(TokensError::Line(number))?;
        if hashes.len() >= MAX_TOKENS {
            return Err(TokensError::TooLong);
        }
        hashes.push(hash);
    }
    Ok(hashes)
}

/// 64 hexadecimal digits.
fn hash(text: &str) -> Option<Hash> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let bytes = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit));
    (digits.len() == 64).then(|| bytes.collect::<Vec<u8>>())?.try_into().ok()
}

/// Why a file of tokens cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum TokensError {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is no file, but a pipe or a directory.
    NoFile,
    /// Others than its owner may write to it, and so let anybody in.
    Exposed,
    /// It has more tokens, or more bytes, than a file may.
    TooLong,
    /// This line, from 1, has no hash.
    Line(usize),
}

impl core::error::Error for TokensError {}

impl fmt::Display for TokensError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => error.fmt(f),
            Self::NoFile => f.write_str("it is no file"),
            Self::Exposed => f.write_str("others than its owner may write to it: take that away (chmod go-w)"),
            Self::TooLong => write!(f, "it may have at most {MAX_TOKENS} tokens, in {MAX_FILE} bytes"),
            // What stands there may be a token, which is not to be shown.
            Self::Line(number) => {
                write!(f, "line {number} is none of `rtmfp token`: a name, and the SHA-256 of a token (64 digits)")
            }
        }
    }
}

#[cfg(test)]
mod tests;
