//! Transfers that go on after an interruption.
