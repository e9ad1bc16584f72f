//! A profile without security, for tests and fuzzing.
