//! RTMFP in a simulated network: scenarios in files, invariants, reports, and the search for failures.
//!
//! The network itself is the package [`datagram_sim`], which knows no RTMFP. [`rtmfp::EndpointNode`] runs an endpoint and
//! its application as a node of one of its worlds, and [`tasks`] a program written against the asynchronous handles. With the feature `files`, [`scenario`] describes worlds as data,
//! [`run`] runs and judges them, [`record`] and [`report`] show what happened, and [`search`] looks for failures.
#![forbid(unsafe_code)]

pub use datagram_sim as net;

#[cfg(feature = "files")]
pub mod record;
#[cfg(feature = "files")]
pub mod report;
pub mod rtmfp;
#[cfg(feature = "files")]
pub mod run;
#[cfg(feature = "files")]
pub mod scenario;
#[cfg(feature = "files")]
pub mod search;
#[cfg(feature = "tasks")]
pub mod tasks;
