#![no_main]
//! See `tests/src/fuzz/names.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| rtmfp_tests::fuzz::run("names", data));
