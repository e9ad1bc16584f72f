//! Reports: one HTML file without anything from elsewhere, and ladders as text.

mod html;
mod ladder;
mod plot;

pub use html::html;
pub use ladder::{ladder_svg, ladder_text};
