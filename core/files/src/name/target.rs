//! Where a symbolic link may point to.

use super::single::{has_root_or_drive, is_invisible};
use super::{MAX_PATH, Refusal};

/// Checks a link's target.
///
/// `depth` is the number of directories that the link is in, all of which are directories of the manifest. The target may
/// go up first and down then, and ends within an entry at the top that `is_top` knows. One that goes up again after a
/// name is refused: that name may be a link itself, and then only the disk knows what is above.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn check(target: &str, depth: usize, is_top: impl Fn(&str) -> bool, any: bool) -> Result<(), Refusal> {
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
            name => {
                if !went_down && above == 0 && !is_top(name) {
                    return Err(Refusal::LinkLeaves);
                }
                went_down = true;
            }
        }
    }
    // Up to the receiver's directory, which is not the sender's, and not down again.
    if above == 0 && !went_down { Err(Refusal::LinkLeaves) } else { Ok(()) }
}
