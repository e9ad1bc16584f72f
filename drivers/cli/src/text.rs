//! Text of far ends, made safe to show.

pub use rtmfp_files::name::is_invisible;

/// The text with every [invisible](is_invisible) character replaced: it neither drives a terminal nor seems to be
/// another text.
#[must_use]
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if is_invisible(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// As [`shown`], for a text of several lines: these stay, and tabulators too.
#[must_use]
pub fn shown_lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let safe = |c: char| if is_invisible(c) && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(safe).collect()
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

    #[test]
    fn lines_of_a_text_stay_lines() {
        assert_eq!(shown_lines("a\r\n\tb\nc\r\u{1b}[2J"), "a\n\tb\nc\u{fffd}\u{fffd}[2J");
    }
}
