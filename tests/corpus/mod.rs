//! What a fuzzer found worth keeping, once more, on every toolchain: the files of `tests/fuzz/corpus`, each through its
//! target. A file that fails here is a bug of the core, or of the target; `cargo fuzz` is not needed to see it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::Path;

use rtmfp_tests::fuzz::TARGETS;

fn replay(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 20, "{}: {} files are no corpus", folder.display(), files.len());
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    for file in files {
        println!("{}", file.display());
        target(&fs::read(&file).unwrap());
    }
}

#[test]
fn packets() {
    replay("packets");
}

#[test]
fn startup() {
    replay("startup");
}

#[test]
fn handshake() {
    replay("handshake");
}

#[test]
fn sealed() {
    replay("sealed");
}

#[test]
fn files() {
    replay("files");
}

#[test]
fn reassembly() {
    replay("reassembly");
}

#[test]
fn proof() {
    replay("proof");
}

#[test]
fn names() {
    replay("names");
}
