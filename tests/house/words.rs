//! What users read is plain words: errors have a text of their own, and no program prints what is for programmers.

use super::source::{Source, contains_word, rust_files};

/// Where public types are looked for.
const LIBRARIES: [&str; 11] = [
    "core/src",
    "core/meet/src",
    "core/files/src",
    "drivers/std/src",
    "drivers/smol/src",
    "drivers/qlog/src",
    "drivers/server/src",
    "drivers/local/src",
    "drivers/cli/src",
    "sim/src",
    "sim/net/src",
];
/// What the names of errors and reasons end in.
const ENDINGS: [&str; 5] = ["Error", "Reason", "Failure", "Refusal", "Cause"];
/// Packages whose errors are [`core::error::Error`]s too; causes of lesser events are none. Those of the simulator are for
/// its own programs.
const PROPER: [&str; 2] = ["core/", "drivers/"];
/// What is printed by programs.
const PRINTED: [&str; 8] = [
    "drivers/std/src",
    "drivers/smol/src",
    "drivers/qlog/src",
    "drivers/server/src",
    "drivers/local/src",
    "drivers/cli/src",
    "drivers/bench/src",
    "sim/src/cli",
];
/// Lines that print a value's `Debug` text on purpose, each with its reason.
const ON_PURPOSE: [(&str, &str, &str); 1] =
    [("sim/src/cli/search.rs", "include_str!({:?})", "it prints Rust code, with a path as a literal")];

/// The public errors and reasons that a file declares.
fn declared(file: &Source) -> Vec<String> {
    let declaration = |line: &str| {
        let rest = line.strip_prefix("pub enum ").or_else(|| line.strip_prefix("pub struct "))?;
        Some(rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned())
    };
    let names = file.code.lines().filter_map(declaration);
    names.filter(|name| ENDINGS.iter().any(|ending| name.ends_with(ending))).collect()
}

/// Whether one of the files has `impl … TRAIT for NAME`.
fn implements(files: &[Source], name: &str, what: &str) -> bool {
    let tail = format!("{what} for {name}");
    files.iter().flat_map(|file| file.code.lines()).any(|line| line.starts_with("impl") && contains_word(line, &tail))
}

fn without_words(files: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for name in declared(file) {
            let proper = PROPER.iter().any(|package| file.path.starts_with(package)) && !name.ends_with("Cause");
            for what in ["Display", "Error"].iter().take(if proper { 2 } else { 1 }) {
                if !implements(files, &name, what) {
                    found.push(format!("{}: {name} does not implement {what}", file.path));
                }
            }
        }
    }
    found
}

/// Lines outside of tests, comments and assertions that format with `Debug`.
fn prints_debug(file: &Source) -> Vec<String> {
    if file.path.contains("/tests/") || file.path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let tests = file.code.lines().position(|line| line.trim_start().starts_with("#[cfg(test)]"));
    let code = file.text.lines().enumerate().take(tests.unwrap_or(usize::MAX));
    let debug = |line: &str| {
        let line = line.trim_start();
        (line.contains(":?}") || line.contains(":#?}")) && !line.starts_with("//") && !line.contains("assert")
    };
    let meant = |line: &str| ON_PURPOSE.iter().any(|(path, text, _)| file.path == *path && line.contains(text));
    code.filter(|(_, line)| debug(line) && !meant(line))
        .map(|(at, line)| format!("{}:{}: {}", file.path, at + 1, line.trim()))
        .collect()
}

#[test]
fn every_error_and_reason_has_a_text() {
    let found: Vec<String> = LIBRARIES.iter().flat_map(|folder| without_words(&rust_files(folder))).collect();
    assert!(found.is_empty(), "whoever prints it gets a name of ours instead of a sentence:\n{found:#?}");
}

#[test]
fn no_program_prints_debug_text() {
    let found: Vec<String> =
        PRINTED.iter().flat_map(|folder| rust_files(folder)).flat_map(|f| prints_debug(&f)).collect();
    assert!(found.is_empty(), "debug text is for programmers, and changes with every name:\n{found:#?}");
}

#[test]
fn the_rules_can_be_broken() {
    let file = |path: &str, text: &str| vec![Source::new(path, text)];
    let with = |rest: &str| file("core/src/a.rs", &format!("pub enum ReadError {{ Short }}\n{rest}"));
    assert_eq!(without_words(&with("")).len(), 2);
    assert_eq!(without_words(&with("impl fmt::Display for ReadError {")).len(), 1);
    let both = "impl fmt::Display for ReadError {\nimpl core::error::Error for ReadError {}";
    assert!(without_words(&with(both)).is_empty());
    assert_eq!(without_words(&file("sim/src/a.rs", "pub struct LossCause(u8);")).len(), 1);
    assert!(without_words(&file("core/src/a.rs", "pub struct ReadErrors;\nenum HiddenError {}")).is_empty());
    let line = "    println!(\"{error:?}\");";
    assert_eq!(prints_debug(&Source::new("drivers/cli/src/a.rs", line)).len(), 1);
    assert!(
        prints_debug(&Source::new("drivers/cli/src/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{line}\n}}")))
            .is_empty()
    );
    assert!(prints_debug(&Source::new("drivers/cli/src/a/tests.rs", line)).is_empty());
}
