//! The Wireshark dissector of `drivers/wireshark`, run by tshark: on every packet it shows what our own decoder reads.
//! Where tshark is not installed, each test says that it was skipped.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

mod any_profile;
mod capture;
mod chunks;
mod conversation;
mod crypto;
mod draw;
mod expected;
mod hostile;
mod modern;
mod modern_hostile;
mod sealed;
mod tap;
mod tshark;
