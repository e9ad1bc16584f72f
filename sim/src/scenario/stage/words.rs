//! The words of a stage's parameters.

use core::str::FromStr;

/// The words of a stage: plain ones in order, and `key=value`.
pub(super) struct Words<'a> {
    plain: std::vec::IntoIter<&'a str>,
    keyed: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let (mut plain, mut keyed) = (Vec::new(), Vec::new());
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(pair) => keyed.push(pair),
                None => plain.push(word),
            }
        }
        Self { plain: plain.into_iter(), keyed }
    }

    pub(super) fn next(&mut self, what: &str) -> Result<&'a str, String> {
        self.plain.next().ok_or_else(|| format!("{what} is missing"))
    }

    pub(super) fn next_if_any(&mut self) -> Option<&'a str> {
        self.plain.next()
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        let mut rest: Vec<&str> = self.plain.by_ref().collect();
        let before = rest.len();
        rest.retain(|word| *word != name);
        let found = rest.len() != before;
        self.plain = rest.into_iter();
        found
    }

    pub(super) fn key<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        let Some(at) = self.keyed.iter().position(|(key, _)| *key == name) else { return Ok(None) };
        let (_, value) = self.keyed.remove(at);
        read(value).map(Some)
    }

    pub(super) fn end(mut self) -> Result<(), String> {
        match (self.plain.next(), self.keyed.first()) {
            (Some(word), _) => Err(format!("`{word}` is not understood here")),
            (None, Some((key, _))) => Err(format!("`{key}=` is not understood here")),
            (None, None) => Ok(()),
        }
    }
}

pub(super) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number that fits here"))
}
