//! Reports: one HTML file without anything from elsewhere, and ladders as text.

mod axis;
mod html;
mod ladder;
mod palette;
mod plot;
mod series;

#[cfg(test)]
mod tests;

pub use html::html;
pub use ladder::ladder_text;
