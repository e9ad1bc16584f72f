//! A driver for `rtmfp-core`.
