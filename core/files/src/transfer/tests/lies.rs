//! Ends that lie.
