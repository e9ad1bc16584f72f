//! Standard output and standard error. The reader may close the pipe at any time, as `head` does, and the disk may be
//! full. Neither stops the program or changes its result. The first error is kept, and [`finish`] reports it.

use core::fmt::Arguments;
use std::io::{self, ErrorKind, Write as _};
use std::sync::OnceLock;

/// Like `println!`.
macro_rules! outln {
    ($($words:tt)*) => { $crate::cli::output::write(format_args!("{}\n", format_args!($($words)*))) };
}

/// Like `print!`.
macro_rules! out {
    ($($words:tt)*) => { $crate::cli::output::write(format_args!($($words)*)) };
}

pub(crate) use {out, outln};

/// Why standard output was given up. Nothing is written to it from then on.
static BROKEN: OnceLock<io::Error> = OnceLock::new();

/// Writes to standard output, unless an earlier write failed.
pub(crate) fn write(words: Arguments<'_>) {
    if BROKEN.get().is_some() {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_fmt(words).and_then(|()| out.flush()) {
        let _ = BROKEN.set(error);
    }
}

/// Writes a message to standard error, if that is possible. Unlike `eprintln!`, this does not panic.
pub(crate) fn report_error(message: &str) {
    let _ = writeln!(io::stderr(), "rtmfp-sim: {message}");
}

/// The exit code of a program that came to `code`. A closed pipe leaves it as it is. Any other error in writing is
/// reported, and is a failure even if all else passed.
pub(crate) fn finish(code: u8) -> u8 {
    match BROKEN.get().filter(|error| error.kind() != ErrorKind::BrokenPipe) {
        Some(error) => {
            report_error(&format!("standard output could not be written, and is incomplete: {error}"));
            if code == super::PASSED { super::USAGE } else { code }
        }
        None => code,
    }
}
