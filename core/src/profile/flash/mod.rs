//! The Flash profile (RFC 7425 §4).
