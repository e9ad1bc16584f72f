//! The statements of RFC 7016, of RFC 7425 §4, and of the modern profile, checked against the code and the tests that they
//! name.
//!
//! `rfc7016.txt`, `rfc7425.txt` and `modern.txt` hold a section a paragraph and a statement a line, in our own words:
//!
//! ```text
//! = 2.1.2
//! 1 SHOULD A VLU up to 2^64 - 1 is handled.
//!   code core/src/wire/vlu.rs::read_vlu
//!   test core/src/wire/vlu.rs::the_largest_value
//! 2-3 SHOULD,MUST_NOT One statement behind the second and third keyword of the section.
//!   reason why there is no code for it
//! n1 NUMBER A statement without a keyword that carries a number.
//! r1 RULE A statement of the modern profile, whose specification has no keywords.
//! ```
//!
//! The ordinals are those of the section's keywords, and reach the numbers in `counts/`, which `count.py` makes from
//! the RFCs. A statement has code and a test (each may be several), or a reason; with neither it is pending.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that panics has failed, as it should")]

mod check;
mod coverage;
mod list;

use std::fs;
use std::path::{Path, PathBuf};

use check::{named_places, reach_the_counts, unfinished};
use list::{Statement, parse, parse_counts};

/// Which sections of each RFC are listed: all of RFC 7016, the profile (section 4) of RFC 7425.
const LISTED: [(&str, &str); 2] = [("rfc7016", ""), ("rfc7425", "4.")];

/// Every list.
const ALL: [&str; 3] = ["rfc7016", "rfc7425", "modern"];

/// The parts of the modern profile's specification that oblige an implementation.
const PARTS: [&str; 12] = [
    "Notation",
    "Identity and certificate",
    "Endpoint Discriminator",
    "Glare and override",
    "Keying components",
    "Hybrid key agreement",
    "Signatures",
    "Rules for both ends",
    "Key schedule",
    "Packets",
    "Startup packets",
    "Channel signatures",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the tree").to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join("tests/conformance").join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn statements(rfc: &str) -> Vec<Statement> {
    parse(&read(&format!("{rfc}.txt"))).unwrap_or_else(|e| panic!("{rfc}.txt: {e}"))
}

#[test]
fn every_keyword_is_listed_once() {
    for (rfc, prefix) in LISTED {
        let mut counts = parse_counts(&read(&format!("counts/{rfc}.txt"))).unwrap_or_else(|e| panic!("{rfc}: {e}"));
        counts.retain(|(section, _), _| section.starts_with(prefix));
        assert!(counts.len() > 20, "{rfc}: the counts were not read");
        let found = reach_the_counts(&statements(rfc), &counts);
        assert!(found.is_empty(), "{rfc}: {found:#?}");
    }
}

/// In the order of the specification. Of its numbered rules, each is a statement.
#[test]
fn every_part_of_the_modern_profile_is_listed() {
    let specification = fs::read_to_string(root().join("core/src/profile/modern/README.md")).expect("a specification");
    let headings: Vec<&str> = specification.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let told = ["What is protected, and against whom", "Test vectors", "Symbolic model"];
    assert_eq!(headings, [&PARTS[..], &told].concat(), "a part is new, or has another name");
    let list = statements("modern");
    let (_, rules) = specification.split_once("## Rules for both ends").expect("the rules");
    let rules = rules.split("\n## ").next().into_iter().flat_map(str::lines);
    let numbered =
        rules.filter(|line| line.split_once(". **").is_some_and(|(at, _)| at.parse::<u32>().is_ok())).count();
    for part in PARTS {
        let labels: Vec<&str> =
            list.iter().filter(|statement| statement.section == part).map(|statement| &*statement.label).collect();
        let least = if part == "Rules for both ends" { numbered } else { 1 };
        assert!(labels.len() >= least, "{part}: {} statements of {least}", labels.len());
        let expected: Vec<String> = (1..=labels.len()).map(|at| format!("r{at}")).collect();
        assert_eq!(labels, expected, "{part}");
    }
    assert!(list.iter().all(|statement| PARTS.contains(&&*statement.section)), "a statement of no part");
}

#[test]
fn what_is_named_exists() {
    for rfc in ALL {
        let load = |path: &str| fs::read_to_string(root().join(path)).ok();
        let found = named_places(&statements(rfc), &load);
        assert!(found.is_empty(), "{rfc}: {found:#?}");
    }
}

#[test]
fn every_statement_is_accounted_for() {
    let mut pending = 0;
    for rfc in ALL {
        let list = statements(rfc);
        let half: Vec<String> = list.iter().filter_map(Statement::half_done).collect();
        assert!(half.is_empty(), "{rfc}: code without a test, or a test without code: {half:#?}");
        for statement in unfinished(&list) {
            println!("pending: {rfc} {statement}");
            pending += 1;
        }
        let done = list.iter().filter(|statement| !statement.tests.is_empty()).count();
        println!("{rfc}: {} statements, {done} with code and test", list.len());
    }
    assert_eq!(pending, 0, "statements that have neither code and test nor a reason");
}
