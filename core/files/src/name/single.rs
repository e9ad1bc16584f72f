//! One name between two `/`.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use super::{MAX_NAME, PART_MARK, Refusal};

/// Stands for a character that is not taken.
const INSTEAD: char = '_';
/// Names that Windows gives to devices, with any extension.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// Whether a character is not shown, and changes what is shown around it: controls, format characters (Unicode `Cf`:
/// directions, joiners, byte order marks, tags), and separators of lines and paragraphs.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

/// Why a path or name leads elsewhere than beneath the directory, on any system.
pub(super) fn leads_elsewhere(path: &str) -> Option<Refusal> {
    if path.is_empty() {
        return Some(Refusal::Empty);
    }
    if is_absolute(path) {
        return Some(Refusal::Absolute);
    }
    path.split(['/', '\\']).any(|part| part == "." || part == "..").then_some(Refusal::Dots)
}

/// Whether a path begins at a root, or is a drive or begins at one, on any system. `C:x` is a name on most.
fn is_absolute(path: &str) -> bool {
    if path.starts_with(['/', '\\']) {
        return true;
    }
    let mut chars = path.chars();
    matches!((chars.next(), chars.next(), chars.next()), (Some(drive), Some(':'), None | Some('/' | '\\')) if drive.is_ascii_alphabetic())
}

/// Whether a link's target is absolute, or goes on from where a drive of Windows is.
pub(super) fn has_root_or_drive(path: &str) -> bool {
    let mut chars = path.chars();
    is_absolute(path) || matches!((chars.next(), chars.next()), (Some(drive), Some(':')) if drive.is_ascii_alphabetic())
}

/// The name with what cannot be in it replaced: `\`, invisible characters, and what means something else on Windows.
pub(super) fn adapted(name: &str, windows: bool) -> Result<Cow<'_, str>, Refusal> {
    if name.contains('\0') {
        return Err(Refusal::Nul);
    }
    let unfit = |c: char| c == '\\' || is_invisible(c) || windows && "<>:\"|?*".contains(c);
    let mut adapted = Cow::Borrowed(name);
    if name.contains(unfit) {
        adapted = name.chars().map(|c| if unfit(c) { INSTEAD } else { c }).collect::<String>().into();
    }
    if windows {
        adapted = fit_for_windows(adapted);
    }
    if adapted.len() > MAX_NAME {
        return Err(Refusal::TooLong);
    }
    if folded(&adapted, false).contains(PART_MARK) {
        return Err(Refusal::Reserved);
    }
    Ok(adapted)
}

/// The name without an end that Windows silently drops, and not that of a device.
fn fit_for_windows(name: Cow<'_, str>) -> Cow<'_, str> {
    let kept = name.trim_end_matches(['.', ' ']);
    let dropped = name.len().saturating_sub(kept.len());
    let name = if dropped > 0 { format!("{kept}{}", String::from(INSTEAD).repeat(dropped)).into() } else { name };
    if is_device(&name) {
        let (stem, extension) = name.split_at(name.find('.').unwrap_or(name.len()));
        return format!("{stem}{INSTEAD}{extension}").into();
    }
    name
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_uppercase();
    let numbered = ["COM", "LPT"].iter().any(|port| {
        let mut rest = stem.strip_prefix(port).unwrap_or_default().chars();
        matches!((rest.next(), rest.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    });
    numbered || DEVICES.contains(&stem.as_str())
}

/// The same text for all names that a file system may take for one.
///
/// Upper case before lower case makes `ß`, `ẞ` and `ss` one name, as Unicode's full case folding does.
pub(super) fn folded(name: &str, case_matters: bool) -> String {
    match (name.is_ascii(), case_matters) {
        (true, true) => name.to_string(),
        (true, false) => name.to_ascii_lowercase(),
        (false, true) => name.nfd().collect(),
        (false, false) => name.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfd().collect(),
    }
}

/// `name (2).txt` for the second `name.txt`, not longer than a name may be.
pub(super) fn numbered(name: &str, number: usize, has_extension: bool) -> String {
    let dot = name.rfind('.').filter(|dot| has_extension && *dot > 0).unwrap_or(name.len());
    let (stem, extension) = name.split_at(dot);
    let extension = clip(extension, MAX_NAME / 2);
    let number = format!(" ({number})");
    let room = MAX_NAME.saturating_sub(number.len()).saturating_sub(extension.len());
    format!("{}{number}{extension}", clip(stem, room))
}

/// The beginning of a text, of at most so many bytes.
fn clip(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}
