//! What the program says. Whoever reads it may go at any time, as `head` does: then there is nothing more to do.

use core::fmt::Arguments;
use std::io::{self, ErrorKind, Write as _};
use std::process;

/// Like `println!`.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::say::write(format_args!("{}\n", format_args!($($words)*))) };
}

/// Like `print!`.
macro_rules! put {
    ($($words:tt)*) => { $crate::cli::say::write(format_args!($($words)*)) };
}

pub(crate) use {put, say};

/// Writes to the standard output. If nobody reads it any more, the program ends; if it cannot be written, it fails.
pub(crate) fn write(words: Arguments<'_>) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_fmt(words).and_then(|()| out.flush()) {
        process::exit(if error.kind() == ErrorKind::BrokenPipe { 0 } else { super::USAGE.into() });
    }
}
