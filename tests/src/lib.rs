//! Helpers shared by the tests that cross packages.
