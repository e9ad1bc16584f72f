//! The rules of the source tree: which module may import which, and what no file may contain; and the statements of the
//! RFCs. Apart from the other tests because it needs nothing of the workspace, so that it is there at once after a change.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that panics has failed, as it should")]

#[path = "../conformance/mod.rs"]
mod conformance;
mod layers;
mod readme;
mod source;
mod tree;
mod words;
