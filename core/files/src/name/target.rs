//! Where a symbolic link may point to.

use super::single::{has_root_or_drive, is_invisible};
use super::{MAX_PATH, Refusal};

/// Checks a link's target.
///
/// `depth` is the number of directories that the link is in, all of which are directories of the manifest. The target may
/// go up first and down then, and ends within an entry at the top, see [`top`]. One that goes up again after a
/// name is refused: that name may be a link itself, and then only the disk knows what is above.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn check(target: &str, depth: usize, any: bool) -> Result<(), Refusal> {
    if target.is_empty() || target.len() > MAX_PATH || target.contains(is_invisible) {
        return Err(Refusal::LinkTarget);
    }
    if any {
        return Ok(());
    }
    if has_root_or_drive(target) {
        return Err(Refusal::LinkAbsolute);
    }
    let mut above = depth;
    let mut went_down = false;
    // A `\` separates on Windows, and is nobody's loss elsewhere.
    for part in target.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." if went_down => return Err(Refusal::LinkLeaves),
            ".." => above = above.checked_sub(1).ok_or(Refusal::LinkLeaves)?,
            _ => went_down = true,
        }
    }
    // Up to the receiver's directory, which is not the sender's, and not down again.
    if above == 0 && !went_down { Err(Refusal::LinkLeaves) } else { Ok(()) }
}

/// The name at the top that a link of this path leads into, of a target that was checked. `None` if it goes no further up
/// than to a directory of the manifest.
pub(super) fn top<'a>(target: &'a str, path: &str) -> Option<&'a str> {
    let depth = path.bytes().filter(|byte| *byte == b'/').count();
    let mut parts = target.split(['/', '\\']).filter(|part| !matches!(*part, "" | "."));
    let up = parts.clone().take_while(|part| *part == "..").count();
    if up < depth { None } else { parts.nth(up) }
}
