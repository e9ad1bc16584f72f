//! Symbolic links, which come last: until then there is none that anything could be written through.

use std::io;
use std::path::Path;

use cap_std::fs::Dir;
use rtmfp_files::manifest::EntryKind;
use rtmfp_files::storage::StorageError;

use super::sink::Target;
use super::{Directory, exists, failure, system};

/// Makes all links of the manifest, and notes what could not be made.
pub(super) fn make(directory: &mut Directory) {
    for index in 0..directory.manifest.entries.len() {
        let Some(entry) = directory.manifest.entries.get(index) else { break };
        let EntryKind::Symlink { target: to } = &entry.kind else { continue };
        if directory.names.refusal(index).is_some() {
            continue;
        }
        let (to, modified) = (to.clone(), entry.modified);
        let made = directory.target(index).and_then(|target| {
            one(&target, &to, directory.options.force)?;
            system::set_link_time(&target.directory, &target.name, modified).map_err(|e| failure(&target.shown, &e))
        });
        if let Err(e) = made {
            directory.failed.note(index, e);
        }
    }
}

fn one(target: &Target, to: &str, force: bool) -> Result<(), StorageError> {
    let Target { directory, name, part, shown } = target;
    let failed = |e: io::Error| failure(shown, &e);
    match link(directory, to, name) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.map_err(failed),
    }
    if directory.read_link_contents(name).is_ok_and(|there| there == Path::new(to)) {
        return Ok(());
    }
    if !force {
        return Err(exists(shown, "something of this name"));
    }
    let _ = directory.remove_file(part);
    link(directory, to, part).and_then(|()| directory.rename(part, directory, name)).map_err(failed)
}

fn link(directory: &Dir, to: &str, name: &str) -> io::Result<()> {
    #[cfg(not(windows))]
    {
        directory.symlink_contents(to, name)
    }
    #[cfg(windows)]
    {
        directory.symlink_file(to, name)
    }
}
