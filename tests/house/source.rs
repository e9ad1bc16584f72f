//! Reading the tree's Rust files, without their comments and string literals.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file of the tree.
pub(crate) struct Source {
    /// Path from the root of the tree, with forward slashes.
    pub(crate) path: String,
    /// The file as it is.
    pub(crate) text: String,
    /// The file with comments and the contents of string and character literals blanked; line breaks are kept.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// `path:line` for each line of code that contains one of `needles` as whole words.
    pub(crate) fn lines_with(&self, needles: &[&str]) -> Vec<String> {
        let hit = |line: &str| needles.iter().any(|needle| contains_word(line, needle));
        self.code
            .lines()
            .enumerate()
            .filter(|(_, line)| hit(line))
            .map(|(at, line)| format!("{}:{}: {}", self.path, at + 1, line.trim()))
            .collect()
    }
}

/// The root of the tree.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the tree").to_path_buf()
}

/// Every Rust file below `folder` (from the root), in order of path. Build output is left out.
pub(crate) fn rust_files(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut pending = vec![root().join(folder)];
    while let Some(at) = pending.pop() {
        for entry in fs::read_dir(&at).unwrap_or_else(|e| panic!("{}: {e}", at.display())) {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !name.starts_with('.') && !matches!(name, "target" | "fuzz-target" | "corpus") {
                    pending.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                let relative = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
                found.push(Source::new(&relative, &text));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no Rust file below {folder}: the test would pass for nothing");
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(crate) fn contains_word(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + needle.len()..].chars().next();
        let open_start = !needle.starts_with(is_word) || !before.is_some_and(is_word);
        let open_end = !needle.ends_with(is_word) || !after.is_some_and(is_word);
        open_start && open_end
    })
}

/// Replaces comments and the insides of literals by spaces. Line breaks stay, so that line numbers hold.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment or literal that starts at `at` ends; `at` when none starts there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let peek = |ahead: usize| chars.get(at + ahead).copied();
    let after_word = at > 0 && is_word(chars[at - 1]);
    match chars[at] {
        '/' if peek(1) == Some('/') => find(chars, at, &['\n']),
        '/' if peek(1) == Some('*') => find(chars, at + 2, &['*', '/']) + 2,
        'r' if !after_word && matches!(peek(1), Some('"' | '#')) => raw_string_end(chars, at).unwrap_or(at),
        'b' if !after_word && peek(1) == Some('r') => raw_string_end(chars, at + 1).unwrap_or(at),
        '"' => quoted_end(chars, at, '"'),
        // A lifetime has no closing quote; a character literal has one after one character or an escape.
        '\'' if peek(1) == Some('\\') || peek(2) == Some('\'') => quoted_end(chars, at, '\''),
        _ => at,
    }
    .min(chars.len())
}

fn find(chars: &[char], from: usize, what: &[char]) -> usize {
    let rest = chars.get(from..).unwrap_or_default();
    rest.windows(what.len()).position(|w| w == what).map_or(chars.len(), |offset| from + offset)
}

fn quoted_end(chars: &[char], at: usize, quote: char) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != quote {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    end + 1
}

fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return None;
    }
    let mut close = vec!['"'];
    close.resize(1 + hashes, '#');
    Some(find(chars, at + 2 + hashes, &close) + close.len())
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = "a /* b\n c */ d // e\nf(\"g \\\" h\", 'i', '\\'', r#\"j \" k\"#, b\"l\"); fn m<'n>(o: &'n u8) {}";
    let words: Vec<String> = blank(text).split(|c| !is_word(c)).filter(|w| !w.is_empty()).map(str::to_owned).collect();
    assert_eq!(words, ["a", "d", "f", "b", "fn", "m", "n", "o", "n", "u8"]);
    assert_eq!(blank(text).lines().count(), text.lines().count());
}

#[test]
fn words_are_whole() {
    assert!(contains_word("let x = Instant::now();", "Instant::now"));
    assert!(!contains_word("let x = MyInstant::now();", "Instant::now"));
    assert!(!contains_word("forbid(unsafe_code)", "unsafe"));
}
