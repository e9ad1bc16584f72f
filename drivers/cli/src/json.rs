//! Lines of JSON: flat objects of strings, numbers and truth values.
//!
//! Every line has an `event` first. Fields may be added to a kind of line in later versions, but none changes its
//! name or meaning.

use core::fmt::Write as _;

/// One line being built.
#[derive(Clone, Debug)]
pub struct Line(String);

impl Line {
    /// A line that tells of this event.
    #[must_use]
    pub fn new(event: &str) -> Self {
        let mut line = Self("{\"event\":".to_owned());
        line.quote(event);
        line
    }

    /// Adds a string.
    #[must_use]
    pub fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        self.quote(value);
        self
    }

    /// Adds a whole number.
    #[must_use]
    pub fn number(mut self, key: &str, value: u64) -> Self {
        self.key(key);
        let _ = write!(self.0, "{value}");
        self
    }

    /// Adds a time in seconds, with microseconds.
    #[must_use]
    pub fn seconds(mut self, key: &str, value: core::time::Duration) -> Self {
        self.key(key);
        let _ = write!(self.0, "{}.{:06}", value.as_secs(), value.subsec_micros());
        self
    }

    /// Adds a truth value.
    #[must_use]
    pub fn truth(mut self, key: &str, value: bool) -> Self {
        self.key(key);
        self.0.push_str(if value { "true" } else { "false" });
        self
    }

    /// The whole line, without a line end.
    #[must_use]
    pub fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn key(&mut self, key: &str) {
        self.0.push(',');
        self.quote(key);
        self.0.push(':');
    }

    fn quote(&mut self, text: &str) {
        self.0.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => {
                    self.0.push('\\');
                    self.0.push(c);
                }
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(c));
                }
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json() {
        let line = Line::new("file").text("name", "a\"\\\n\u{1b}é").number("bytes", 7).truth("ok", true);
        let line = line.seconds("time", core::time::Duration::from_micros(1_000_042)).end();
        assert_eq!(line, r#"{"event":"file","name":"a\"\\\u000a\u001bé","bytes":7,"ok":true,"time":1.000042}"#);
    }
}
