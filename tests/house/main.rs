//! The rules of the source tree: which module may import which, and what no file may contain.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that panics has failed, as it should")]

mod layers;
mod readme;
mod source;
mod tree;
mod words;
