#![no_main]
//! See `tests/src/fuzz/handshake.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| rtmfp_tests::fuzz::run("handshake", data));
