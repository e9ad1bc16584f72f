//! What systems do differently: modes, places and renaming.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;

use cap_std::fs::{Dir, OpenOptions};
use rtmfp_files::manifest::Time;

use crate::times::system_time;

/// Permissions that files of this process are not created with.
pub(super) fn umask() -> u32 {
    #[cfg(unix)]
    {
        use rustix::fs::Mode;
        use std::sync::OnceLock;
        // It can only be read by setting it. Until it is set again, files of other threads are more private.
        static UMASK: OnceLock<u32> = OnceLock::new();
        *UMASK.get_or_init(|| {
            let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
            rustix::process::umask(mask);
            bits(mask.as_raw_mode())
        })
    }
    #[cfg(not(unix))]
    {
        0
    }
}

/// The bits of a mode, of which some systems have 16.
#[cfg(unix)]
fn bits(mode: impl Into<u32>) -> u32 {
    mode.into()
}

/// Sets a file's permissions.
pub(super) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(fs::Permissions::from_mode(mode))
    }
    #[cfg(not(unix))]
    {
        let _ = (file, mode);
        Ok(())
    }
}

/// Whether a file is this user's, and has one name only.
pub(super) fn is_own(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        metadata.nlink() == 1 && metadata.uid() == rustix::process::geteuid().as_raw()
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        true
    }
}

/// Creates a directory that this user can write into, whatever its mode is to be in the end.
pub(super) fn create_directory(above: &Dir, name: &str, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    {
        use cap_std::fs::{DirBuilder, DirBuilderExt as _};
        above.create_dir_with(name, DirBuilder::new().mode(mode | WHILE_WRITTEN))?;
        // What the umask takes was taken off the mode already, unless modes are kept.
        if mode & umask() != 0 { change_mode(&open_directory(above, name)?, mode | WHILE_WRITTEN) } else { Ok(()) }
    }
    #[cfg(not(unix))]
    {
        let _ = mode;
        above.create_dir(name)
    }
}

/// Permissions that this user needs while there is something to be put into a directory.
#[cfg(unix)]
const WHILE_WRITTEN: u32 = 0o700;

/// Opens a directory as more than a place, and no link.
#[cfg(unix)]
fn open_directory(above: &Dir, name: &str) -> io::Result<std::os::fd::OwnedFd> {
    use rustix::fs::{Mode, OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(above, name, flags, Mode::empty())?)
}

/// Sets the permissions of a directory, and leaves it the special bits that it has from the one above.
#[cfg(unix)]
fn change_mode(directory: &std::os::fd::OwnedFd, mode: u32) -> io::Result<()> {
    use rustix::fs::{Mode, RawMode, fchmod, fstat};
    let mode = mode | bits(fstat(directory)?.st_mode) & 0o7000;
    let mode = RawMode::try_from(mode).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(fchmod(directory, Mode::from_raw_mode(mode))?)
}

/// Sets the mode and time of a directory.
pub(super) fn finish_directory(above: &Dir, name: &str, mode: u32, modified: Option<Time>) -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::fs::{Timespec, Timestamps, UTIME_OMIT, fstat, futimens};
        let directory = open_directory(above, name)?;
        // The mode is narrowed from what it was created with, and never widened: the directory may be the user's own.
        if mode & WHILE_WRITTEN != WHILE_WRITTEN && bits(fstat(&directory)?.st_mode) & 0o777 == mode | WHILE_WRITTEN {
            change_mode(&directory, mode)?;
        }
        if let Some(time) = modified {
            let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            let modified = Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.min(999_999_999).into() };
            futimens(&directory, &Timestamps { last_access: omitted, last_modification: modified })?;
        }
        Ok(())
    }
    #[cfg(not(unix))]
    {
        let _ = mode;
        set_link_time(above, name, modified)
    }
}

/// Sets the time of a link, and not of what it leads to.
pub(super) fn set_link_time(above: &Dir, name: &str, modified: Option<Time>) -> io::Result<()> {
    use cap_fs_ext::{DirExt as _, SystemTimeSpec};
    let Some(modified) = modified.and_then(system_time) else { return Ok(()) };
    let modified = cap_std::time::SystemTime::from_std(modified);
    above.set_symlink_times(name, None, Some(SystemTimeSpec::Absolute(modified)))
}

/// Gives a file its name, unless something has it.
///
/// # Errors
/// `AlreadyExists` if something has it.
pub(super) fn place(directory: &Dir, part: &str, name: &str) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        match renameat_with(directory, part, directory, name, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::EXIST) => return Err(io::ErrorKind::AlreadyExists.into()),
            // Not every file system and kernel can.
            Err(_) => {}
        }
    }
    match directory.hard_link(part, directory, name) {
        Ok(()) => directory.remove_file(part),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(e),
        Err(_) => place_over_own(directory, part, name),
    }
}

/// [`place`] where neither such a rename nor a link is to be had: takes the name with an empty file first, which fails
/// if something has it, and replaces that. Only whoever replaces the empty file in between loses what they put there.
pub(super) fn place_over_own(directory: &Dir, part: &str, name: &str) -> io::Result<()> {
    drop(directory.open_with(name, OpenOptions::new().write(true).create_new(true))?);
    directory.rename(part, directory, name).inspect_err(|_| {
        let _ = directory.remove_file(name);
    })
}

/// Whether a directory's file system was seen to tell `A` from `a`. Nothing is written for that.
pub(super) fn case_matters(path: &Path) -> bool {
    let Ok(path) = existing(path) else { return false };
    if is_marked(&path) {
        return false;
    }
    // What is in it, or else the directory itself: one with a letter, sought by the other case.
    let inner = fs::read_dir(&path).into_iter().flatten().filter_map(Result::ok).map(|inner| inner.path());
    inner.take(64).chain(path.ancestors().map(Path::to_owned)).find_map(|known| tells_case(&known)).unwrap_or(false)
}

/// The path, or the nearest above it that there is.
fn existing(path: &Path) -> io::Result<std::path::PathBuf> {
    let path = std::path::absolute(path)?;
    let found = path.ancestors().find_map(|path| fs::canonicalize(path).ok());
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Whether something is not found by the other case of its name, or is another thing then.
fn tells_case(known: &Path) -> Option<bool> {
    let name = known.file_name()?.to_str()?;
    let swapped: String = name
        .chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    if swapped == name {
        return None;
    }
    match fs::symlink_metadata(known.with_file_name(swapped)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Some(true),
        Err(_) => None,
        Ok(found) => Some(is_another(&found, &fs::symlink_metadata(known).ok()?)),
    }
}

#[cfg(unix)]
fn is_another(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (a.dev(), a.ino()) != (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_another(_: &Metadata, _: &Metadata) -> bool {
    false
}

/// Whether this directory alone was set not to tell case, as ext4 and F2FS can.
fn is_marked(path: &Path) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        /// `FS_CASEFOLD_FL`.
        const CASEFOLD: u32 = 0x4000_0000;
        File::open(path)
            .is_ok_and(|file| rustix::fs::ioctl_getflags(&file).is_ok_and(|flags| flags.bits() & CASEFOLD != 0))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = path;
        false
    }
}
