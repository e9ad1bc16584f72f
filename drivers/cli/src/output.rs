//! Standard output and standard error, for the programs of this project that are made of this package.
//!
//! The reader of standard output may close the pipe at any time, as `head` does, and a disk may be full: neither stops
//! a program or changes what it came to. After the first error nothing more is written, and [`exit_code`] reports it.

use core::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;

use crate::failure::{Code, Failure};
use crate::text::shown_lines;

/// Why standard output was given up.
static BROKEN: OnceLock<io::Error> = OnceLock::new();

/// Writes a line to standard output and flushes it, unless an earlier one failed.
pub fn line(text: &str) {
    if BROKEN.get().is_some() {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        let _ = BROKEN.set(error);
    }
}

/// Writes a message to standard error, if that is possible. Unlike `eprintln!`, this does not panic. What the message
/// repeats of others, as names of files, neither drives a terminal nor looks like another message.
pub fn complain(program: &str, message: impl Display) {
    let _ = writeln!(io::stderr(), "{}", told(program, message));
}

/// A message as it is shown. Lines after the first are indented.
fn told(program: &str, message: impl Display) -> String {
    shown_lines(&format!("{program}: {message}")).replace('\n', "\n  ")
}

/// Writes to standard error as it is, if that is possible: for what is overwritten in place.
pub fn status(text: &str) {
    let _ = write!(io::stderr(), "{text}");
}

/// The exit code of a program that came to `result`. A closed pipe does not change it. Any other error in writing
/// standard output is reported, and is a failure of this end even if all else was done.
pub fn exit_code(program: &str, result: &Result<(), Failure>) -> ExitCode {
    let mut code = result.as_ref().err().map(|failure| failure.code);
    if let Some(error) = BROKEN.get().filter(|error| error.kind() != ErrorKind::BrokenPipe) {
        complain(program, format_args!("standard output could not be written, and is incomplete: {error}"));
        code = code.or(Some(Code::Local));
    }
    code.map_or(ExitCode::SUCCESS, |code| ExitCode::from(code as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_message_drive_no_terminal_and_look_like_no_other_message() {
        let message = format!("left out: a\u{1b}[2Jb\u{9b}c\u{202e}d: {}", "x\nrtmfp: 1 file verified");
        let told = told("rtmfp", message);
        assert_eq!(told, "rtmfp: left out: a\u{fffd}[2Jb\u{fffd}c\u{fffd}d: x\n  rtmfp: 1 file verified");
    }
}
