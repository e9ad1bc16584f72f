//! Recordings of a run: captures, JSON lines, CSV.

mod lines;
mod pcapng;
mod plain;

pub use lines::csv;
#[cfg(feature = "files")]
pub use lines::json_lines;
pub use pcapng::{Layer, capture};
pub use plain::{chunk_names, chunks};
