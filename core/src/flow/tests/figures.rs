//! The examples of RFC 7016 §3.6.2.8 and §3.6.3.4.7, line by line.
