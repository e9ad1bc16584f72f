//! A sending and a receiving flow against each other.

mod figures;
pub(in crate::flow) mod link;
mod properties;
