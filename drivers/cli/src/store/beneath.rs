//! Opening directories one name after another, without following links.

use std::io;
use std::sync::Arc;

use cap_fs_ext::DirExt as _;
use cap_std::fs::Dir;
use rtmfp_files::manifest::Manifest;
use rtmfp_files::name::{Names, PART_MARK};
use sha2::{Digest as _, Sha256};

use super::Shared;

/// Bytes of a file's name that are repeated in the name of its partial file, so that this is not too long.
const STEM_MAX: usize = 160;

/// The receiver's directory, and those beneath it that lead to the file before, as most files are in the same.
#[derive(Debug)]
pub(super) struct Beneath {
    root: Shared,
    open: Vec<(usize, Shared)>,
}

impl Beneath {
    pub(super) fn new(root: Dir) -> Self {
        Self { root: Arc::new(root), open: Vec::new() }
    }

    /// Opens the directory that is an entry of the manifest; the receiver's own for `None`.
    pub(super) fn open(&mut self, index: Option<usize>, names: &Names, manifest: &Manifest) -> io::Result<Shared> {
        let mut chain = Vec::new();
        let mut next = index;
        while let Some(index) = next {
            chain.push(index);
            next = names.parent(index);
        }
        chain.reverse();
        let same = self.open.iter().zip(&chain).take_while(|((open, _), index)| open == *index).count();
        self.open.truncate(same);
        for index in chain.into_iter().skip(same) {
            let name = names.name(manifest, index).ok_or(io::ErrorKind::InvalidFilename)?;
            let above = self.open.last().map_or(&self.root, |(_, directory)| directory);
            let directory = above.open_dir_nofollow(name).map_err(|e| told(e, above, name))?;
            self.open.push((index, Arc::new(directory)));
        }
        Ok(Arc::clone(self.open.last().map_or(&self.root, |(_, directory)| directory)))
    }
}

/// The error, with what is in the way: systems say only that something is no directory.
fn told(error: io::Error, above: &Dir, name: &str) -> io::Error {
    match above.symlink_metadata(name) {
        Ok(there) if there.is_symlink() => io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("{name} is a symbolic link here, and none is followed"),
        ),
        Ok(_) | Err(_) => error,
    }
}

/// The name of a partial file. Another transfer has others, and so has each file of this one.
pub(super) fn part_name(name: &str, id: &[u8; 32], path: &str) -> String {
    let hash = Sha256::new().chain_update(id).chain_update(path).finalize();
    let hash = hash.iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    let mut end = STEM_MAX.min(name.len());
    while !name.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    format!(".{}{PART_MARK}{hash:016x}", name.get(..end).unwrap_or_default())
}
