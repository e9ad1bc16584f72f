//! A code to be read by a camera.

/// Two rows of a QR code in each line of text, with a quiet zone. Nothing if the text is too long for one.
#[must_use]
pub fn half_blocks(text: &str) -> String {
    let Ok(code) = fast_qr::QRBuilder::new(text).build() else { return String::new() };
    let mut lines = code.to_str();
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_fits_on_any_terminal() {
        let shown = half_blocks("7214-castle-river");
        assert!(shown.lines().count() >= 11 && shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert_ne!(shown, half_blocks("7215-castle-river"));
        assert_eq!(half_blocks(&"x".repeat(10_000)), "");
    }
}
