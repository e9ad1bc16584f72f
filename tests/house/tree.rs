//! What no file of the tree may be or contain, each rule with its reason.

use super::source::{Source, rust_files};

/// Above this a second subject has moved in.
const MOST_LINES: usize = 700;
/// Above this a file is named in the output.
const MANY_LINES: usize = 400;
/// Test modules in files of their own may be longer: they are read one test at a time.
const MOST_LINES_OF_TESTS: usize = 1_000;

/// Folders that may read a clock, each with the reason.
const MAY_READ_CLOCKS: [(&str, &str); 3] = [
    ("sim/src/cli/", "the program says how long it took, and keeps to budgets of time; no outcome depends on it"),
    ("drivers/", "this is where time enters"),
    ("tests/benches/", "a benchmark measures real time; no outcome depends on it"),
];

fn every_file() -> Vec<Source> {
    ["core", "drivers", "sim", "tests"].into_iter().flat_map(rust_files).collect()
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn too_long(file: &Source) -> Option<String> {
    let limit = if is_test_file(&file.path) { MOST_LINES_OF_TESTS } else { MOST_LINES };
    let lines = file.text.lines().count();
    (lines > limit).then(|| format!("{}: {lines} lines, at most {limit}", file.path))
}

fn reads_a_clock(file: &Source) -> Vec<String> {
    if MAY_READ_CLOCKS.iter().any(|(folder, _)| file.path.starts_with(folder)) {
        return Vec::new();
    }
    file.lines_with(&["Instant::now", "SystemTime", "UNIX_EPOCH"])
}

fn is_unsafe(file: &Source) -> Vec<String> {
    file.lines_with(&["unsafe"])
}

fn is_unfinished(file: &Source) -> Vec<String> {
    let mut found = file.lines_with(&["todo!", "unimplemented!"]);
    found.extend(file.lines_with(&["#[ignore"]));
    found
}

#[test]
fn a_file_has_one_subject() {
    let files = every_file();
    for file in files.iter().filter(|file| !is_test_file(&file.path)) {
        let lines = file.text.lines().count();
        if lines > MANY_LINES {
            println!("long: {} ({lines} lines)", file.path);
        }
    }
    let found: Vec<String> = files.iter().filter_map(too_long).collect();
    assert!(found.is_empty(), "a file this long has two subjects; split it:\n{found:#?}");
}

#[test]
fn core_has_no_unsafe_code() {
    let found: Vec<String> = rust_files("core").iter().flat_map(is_unsafe).collect();
    assert!(found.is_empty(), "core parses what strangers send; memory safety there is the compiler's:\n{found:#?}");
}

#[test]
fn only_drivers_read_clocks() {
    let found: Vec<String> = every_file().iter().flat_map(reads_a_clock).collect();
    assert!(found.is_empty(), "time enters as an argument, else a run cannot be repeated:\n{found:#?}");
}

#[test]
fn nothing_is_left_for_later() {
    let found: Vec<String> = every_file().iter().flat_map(is_unfinished).collect();
    assert!(found.is_empty(), "a stub panics at a user, an ignored test shows nothing:\n{found:#?}");
}

#[test]
fn the_rules_can_be_broken() {
    let file = |path: &str, text: &str| Source::new(path, text);
    assert!(too_long(&file("core/src/a.rs", &"//\n".repeat(MOST_LINES + 1))).is_some());
    assert!(too_long(&file("core/src/a.rs", &"//\n".repeat(MOST_LINES))).is_none());
    assert!(too_long(&file("core/src/a/tests.rs", &"//\n".repeat(MOST_LINES_OF_TESTS + 1))).is_some());
    assert_eq!(is_unsafe(&file("core/src/a.rs", "#![forbid(unsafe_code)]\nunsafe { x() }")).len(), 1);
    assert_eq!(reads_a_clock(&file("sim/src/a.rs", "let a = std::time::Instant::now();")).len(), 1);
    assert_eq!(reads_a_clock(&file("core/src/a.rs", "use std::time::SystemTime;")).len(), 1);
    assert!(reads_a_clock(&file("drivers/std/src/a.rs", "let a = Instant::now();")).is_empty());
    assert!(reads_a_clock(&file("sim/src/a.rs", "let a = self.now(); // Instant::now()")).is_empty());
    assert_eq!(is_unfinished(&file("core/src/a.rs", "todo!()")).len(), 1);
    assert_eq!(
        is_unfinished(&file("core/src/a.rs", "#[ignore = \"slow\"]\nfn f() { unimplemented!(\"x\") }")).len(),
        2
    );
}
