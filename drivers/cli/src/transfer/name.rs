//! Which file names a receiver takes from a stranger.

use core::fmt;

/// Stands in the names of partial files; see [`disk`](super::disk).
pub(crate) use rtmfp_files::name::PART_MARK;

use crate::text::is_invisible;

/// The longest name, in bytes: what common file systems allow.
const NAME_MAX: usize = 255;
/// Names that Windows gives to devices, with any extension.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// Why a name is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadName {
    /// Nothing.
    Empty,
    /// More than 255 bytes.
    TooLong,
    /// `.` or `..`, which name directories.
    Directory,
    /// A separator of directories (of any system), or on Windows of drives and streams.
    Separator,
    /// A character that cannot be seen, and makes the name look like another or acts on a terminal.
    Invisible,
    /// A character that the system forbids.
    Character,
    /// A name that means something else: a device on Windows, a partial file of this program.
    Reserved,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the name is empty",
            Self::TooLong => "the name is longer than 255 bytes",
            Self::Directory => "the name is that of a directory",
            Self::Separator => "the name has a path separator",
            Self::Invisible => "the name has an invisible character (a control or format character)",
            Self::Character => "the name has a character that is not allowed",
            Self::Reserved => "the name is reserved",
        })
    }
}

impl core::error::Error for BadName {}

/// Checks that a name is one plain file name, which joined to a directory stays in it on the system this runs on.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(name: &str) -> Result<(), BadName> {
    check_for(name, cfg!(windows))
}

/// [`check`] by the rules of Windows too, if told so.
fn check_for(name: &str, windows: bool) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name.len() > NAME_MAX {
        return Err(BadName::TooLong);
    }
    if name == "." || name == ".." {
        return Err(BadName::Directory);
    }
    if name.contains(['/', '\\']) || windows && name.contains(':') {
        return Err(BadName::Separator);
    }
    if name.contains(is_invisible) {
        return Err(BadName::Invisible);
    }
    if windows && name.contains(['<', '>', '"', '|', '?', '*']) {
        return Err(BadName::Character);
    }
    if name.contains(PART_MARK) || windows && means_something_else_on_windows(name) {
        return Err(BadName::Reserved);
    }
    Ok(())
}

/// Devices, and names of which Windows silently drops the end.
fn means_something_else_on_windows(name: &str) -> bool {
    if name.ends_with(['.', ' ']) {
        return true;
    }
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_uppercase();
    let numbered = ["COM", "LPT"].iter().any(|port| {
        let mut rest = stem.strip_prefix(port).unwrap_or_default().chars();
        matches!((rest.next(), rest.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    });
    numbered || DEVICES.contains(&stem.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::{TestResult, quickcheck};
    use std::path::{Component, Path};

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for (name, why) in [
            ("", BadName::Empty),
            (".", BadName::Directory),
            ("..", BadName::Directory),
            ("/etc/passwd", BadName::Separator),
            ("../x", BadName::Separator),
            ("a/b", BadName::Separator),
            ("..\\x", BadName::Separator),
            ("C:\\x", BadName::Separator),
            ("a\0b", BadName::Invisible),
            ("a\nb", BadName::Invisible),
            ("\u{9b}2J", BadName::Invisible),
            ("song\u{202e}3pm.exe", BadName::Invisible),
            ("a\u{200b}", BadName::Invisible),
            ("a\u{2028}b", BadName::Invisible),
            ("a\u{2029}b", BadName::Invisible),
            ("\u{feff}a", BadName::Invisible),
            ("a\u{ad}b", BadName::Invisible),
            ("a\u{e0041}", BadName::Invisible),
            (".a.rtmfp-part-00000000", BadName::Reserved),
        ] {
            assert_eq!(check_for(name, false), Err(why), "{name:?}");
        }
        assert_eq!(check(&"x".repeat(256)), Err(BadName::TooLong));
    }

    #[test]
    fn ordinary_names_are_taken() {
        for name in ["a", "a b.tar.gz", ".profile", "...", "12:30.log", "наука.txt", "-rf", "~"] {
            assert_eq!(check_for(name, false), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn on_windows_devices_streams_and_drives_are_refused() {
        for name in ["nul", "NUL.txt", "com1", "LPT9.x", "CON .txt", "COM¹", "a:b", "C:", "a.", "a ", "what?", "con"] {
            assert!(check_for(name, true).is_err(), "{name:?}");
        }
        for name in ["null", "com", "com10", "console.txt", "lpt.txt"] {
            assert_eq!(check_for(name, true), Ok(()), "{name:?}");
        }
    }

    quickcheck! {
        fn a_name_that_is_taken_stays_in_its_directory(name: String) -> TestResult {
            if check(&name).is_err() {
                return TestResult::discard();
            }
            let mut parts = Path::new(&name).components();
            TestResult::from_bool(
                matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name.as_str())
                    && Path::new("dir").join(&name).parent() == Some(Path::new("dir")),
            )
        }

        fn a_name_with_a_separator_is_refused(before: String, after: String, back: bool) -> bool {
            check(&format!("{before}{}{after}", if back { '\\' } else { '/' })).is_err()
        }
    }
}
