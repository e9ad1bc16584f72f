//! Helpers shared by the tests that cross packages.
#![allow(clippy::indexing_slicing, reason = "a test that indexes wrongly should stop")]

pub mod back_to_back;
pub mod counting;
pub mod duo;
pub mod fuzz;
pub mod mona;
pub mod pipe;
pub mod raw_peer;
pub mod registered;
pub mod siege;
