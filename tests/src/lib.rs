//! Helpers shared by the tests that cross packages.

pub mod duo;
