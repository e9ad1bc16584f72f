//! Text of far ends, made safe to show.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Whether a character is not shown, and changes what is shown around it: controls, format characters (Unicode `Cf`:
/// directions, joiners, byte order marks, tags), and separators of lines and paragraphs.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

/// The text with every [invisible](is_invisible) character replaced: it neither drives a terminal nor seems to be
/// another text.
#[must_use]
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if is_invisible(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_replaced() {
        for c in
            "\0\n\u{7f}\u{9b}\u{ad}\u{61c}\u{200b}\u{200d}\u{202e}\u{2028}\u{2029}\u{2066}\u{feff}\u{e0041}".chars()
        {
            assert!(is_invisible(c), "{c:?}");
            assert_eq!(shown(&format!("a{c}b")), "a\u{fffd}b");
        }
        assert_eq!(shown("naïve наука 科学 👍\u{a0}"), "naïve наука 科学 👍\u{a0}");
    }
}
