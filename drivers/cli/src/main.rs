//! The `rtmfp` program.

fn main() {}
