//! The statements of RFC 7016 and RFC 7425 §4, checked against the code and the tests that they name.
