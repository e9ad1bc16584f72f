//! The README and `.ci/run` tell the same story.

use std::fs;

use super::source::root;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The lines of the fenced `sh` blocks.
fn shell_lines(markdown: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        if line.starts_with("```") {
            inside = !inside && line.trim_end() == "```sh";
        } else if inside && !line.trim().is_empty() {
            lines.push(line.trim());
        }
    }
    lines
}

/// What is wrong between a README and the script; empty when they agree.
fn differences(readme: &str, script: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["cargo test", "cargo run"] {
        let promised = shell_lines(readme).into_iter().filter(|line| line.starts_with(start)).count();
        if promised != 1 {
            found.push(format!("README has {promised} lines starting with '{start}', not one"));
        }
        if !script.contains(&format!("readme_command '{start}'")) {
            found.push(format!(".ci/run does not take '{start}' from the README"));
        }
        // Without default features it is another build, which the README does not promise.
        let is_own = |line: &&str| !line.starts_with('#') && !line.contains("--no-default-features");
        let spelled = script.lines().map(str::trim_start).filter(is_own);
        for line in spelled.filter(|line| line.contains(start) && !line.contains("readme_command")) {
            found.push(format!(".ci/run spells the command itself: {line}"));
        }
    }
    found
}

#[test]
fn ci_runs_what_the_readme_promises() {
    let found = differences(&read("README.md"), &read(".ci/run"));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_readme_names_files_that_exist() {
    let readme = read("README.md");
    let quoted = readme.split('`').skip(1).step_by(2);
    let paths: Vec<&str> = quoted
        .filter(|text| !text.contains(' ') && (text.ends_with('/') || text.ends_with(".rs") || text.starts_with(".ci")))
        .collect();
    assert!(paths.len() >= 6, "paths of the README were not read: {paths:?}");
    for path in paths {
        assert!(root().join(path).exists(), "README names {path}, which does not exist");
    }
}

#[test]
fn the_minimum_rust_version_is_the_documented_one() {
    let manifest = read("Cargo.toml");
    let line = manifest.lines().find(|line| line.starts_with("rust-version")).expect("a rust-version");
    let version = line.split('"').nth(1).expect("a quoted version");
    assert!(read("README.md").contains(&format!("Rust {version} or newer")), "README does not say Rust {version}");
}

#[test]
fn a_difference_is_found() {
    let readme = "```sh\ncargo run --release -- demo\ncargo test --workspace\n```\n";
    let script = "A=$(readme_command 'cargo test')\nB=$(readme_command 'cargo run')\n";
    assert!(differences(readme, script).is_empty());
    assert_eq!(differences("```sh\ncargo test\n```\n", script).len(), 1);
    assert_eq!(differences(readme, "A=$(readme_command 'cargo test')\n").len(), 1);
    assert_eq!(differences(readme, &format!("{script}cargo test --workspace\n")).len(), 1);
}
