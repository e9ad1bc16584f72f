//! Lines of JSON: flat objects of strings, numbers and truth values.
//!
//! Every line has an `event` first. Fields may be added to a kind of line in later versions, but none changes its
//! name or meaning.

use std::io::{self, Write};

use serde::Serializer as _;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

use crate::text::is_invisible;

/// One line being built.
#[derive(Clone, Debug)]
pub struct Line(Vec<(String, Value)>);

impl Line {
    /// A line that tells of this event.
    #[must_use]
    pub fn new(event: &str) -> Self {
        Self(Vec::new()).field("event", event)
    }

    /// Adds a string.
    #[must_use]
    pub fn text(self, key: &str, value: &str) -> Self {
        self.field(key, value)
    }

    /// Adds a whole number.
    #[must_use]
    pub fn number(self, key: &str, value: u64) -> Self {
        self.field(key, value)
    }

    /// Adds a time in seconds, with microseconds.
    #[must_use]
    pub fn seconds(self, key: &str, value: core::time::Duration) -> Self {
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.field(key, micros as f64 / 1e6)
    }

    /// Adds a truth value.
    #[must_use]
    pub fn truth(self, key: &str, value: bool) -> Self {
        self.field(key, value)
    }

    /// The whole line, without a line end.
    #[must_use]
    pub fn end(self) -> String {
        let mut line = Vec::new();
        // Neither a vector nor a plain value fails.
        let _ = Serializer::with_formatter(&mut line, Escaping).collect_map(self.0);
        String::from_utf8(line).unwrap_or_default()
    }

    fn field(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.push((key.to_owned(), value.into()));
        self
    }
}

/// Compact, and with every character escaped that would act on a terminal or hide in it.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for part in fragment.split_inclusive(is_invisible) {
            let visible = part.trim_end_matches(is_invisible);
            writer.write_all(visible.as_bytes())?;
            for unit in part.get(visible.len()..).unwrap_or_default().encode_utf16() {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json() {
        let line = Line::new("file").text("name", "a\"\\\n\u{1b}é").number("bytes", 7).truth("ok", true);
        let line = line.seconds("time", core::time::Duration::from_micros(1_000_042)).end();
        assert_eq!(line, r#"{"event":"file","name":"a\"\\\n\u001bé","bytes":7,"ok":true,"time":1.000042}"#);
    }

    #[test]
    fn characters_that_cannot_be_seen_are_escaped_and_read_back() {
        let name = "a\u{9b}2J\u{202e}\u{202e}fdp\u{2028}\u{feff}\u{e0041}é";
        let line = Line::new("file").text("name", name).end();
        assert!(line.contains(r"a\u009b2J\u202e\u202efdp\u2028\ufeff\udb40\udc41é"), "{line}");
        let read: Value = serde_json::from_str(&line).unwrap_or_default();
        assert_eq!(read.get("name").and_then(Value::as_str), Some(name));
    }
}
