//! A sending and a receiving flow against each other.

mod figures;
mod link;
mod properties;
