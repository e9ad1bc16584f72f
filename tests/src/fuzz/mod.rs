//! What a fuzzer does with its bytes. `tests/fuzz` hands them to `cargo fuzz`; the corpus that it found is replayed by
//! the test `corpus` on every toolchain.
//!
//! Each target takes any bytes, and panics if the core does something that it never may.

mod files;
mod handshake;
mod names;
mod packets;
mod proof;
mod reassembly;
mod sealed;
mod startup;

/// What a fuzzer calls.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its folder in `tests/fuzz/corpus` too.
pub const TARGETS: [(&str, Target); 8] = [
    ("packets", packets::run),
    ("startup", startup::run),
    ("handshake", handshake::run),
    ("sealed", sealed::run),
    ("reassembly", reassembly::run),
    ("proof", proof::run),
    ("names", names::run),
    ("files", files::run),
];

/// Runs a target on these bytes.
///
/// # Panics
/// If there is no target of this name, or if the core did what it never may.
pub fn run(name: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    assert!(found.is_some(), "no target is called {name}");
    if let Some((_, target)) = found {
        target(data);
    }
}
