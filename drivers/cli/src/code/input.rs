//! The code, as the user gives it: never in the command line, which others can read.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

use rtmfp_files::Code as Words;
use rtmfp_std::Waker;

use crate::failure::{Code, Failure};
use crate::output;

/// Names the code in the environment.
const VARIABLE: &str = "RTMFP_CODE";
/// Bytes of a line of standard input that are read.
const LINE: u64 = 1_024;

/// Refuses an argument that looks like a code.
///
/// # Errors
/// With the reason.
pub fn refuse_in_arguments(argument: &OsStr) -> Result<(), Failure> {
    let Some(text) = argument.to_str() else { return Ok(()) };
    let looks_like = text.parse::<Words>().is_ok()
        || text.split_once('-').is_some_and(|(number, words)| {
            let digits = number.len() >= 4 && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            digits && !words.is_empty() && words.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        });
    if looks_like {
        let message = "a code in the command line can be read by all users of this machine, and stays in the shell's \
                       history: leave it out, and type it when asked (or set RTMFP_CODE, or write it to standard input). \
                       A directory of this name is written as ./NAME";
        return Err(Failure::new(Code::Usage, message));
    }
    Ok(())
}

/// What the user says, line by line, while an endpoint runs.
#[derive(Debug)]
pub struct Answers {
    lines: Option<Receiver<io::Result<String>>>,
    environment: Option<String>,
    is_terminal: bool,
    waker: Waker,
}

impl Answers {
    /// The code comes from the environment, or else from standard input.
    #[must_use]
    pub fn new(waker: Waker) -> Self {
        let environment = std::env::var(VARIABLE).ok().filter(|code| !code.trim().is_empty());
        Self { lines: None, environment, is_terminal: io::stdin().is_terminal(), waker }
    }

    /// Whether somebody can be asked.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether the code is given already.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        self.environment.is_some()
    }

    /// The code, once it is known. It is asked for at the first call.
    ///
    /// # Errors
    /// If it is none, and nobody can be asked again; or if the input ended.
    pub fn code(&mut self) -> Result<Option<Words>, Failure> {
        if let Some(code) = self.environment.take() {
            let refused = |e| Failure::new(Code::Usage, format!("{VARIABLE}: {e}"));
            return code.parse().map(Some).map_err(refused);
        }
        loop {
            let Some(line) = self.line("Code: ")? else { return Ok(None) };
            match line.parse() {
                Ok(code) => return Ok(Some(code)),
                Err(e) if self.is_terminal => {
                    output::complain("rtmfp", e);
                }
                Err(e) => return Err(Failure::new(Code::Usage, e.to_string())),
            }
        }
    }

    /// Whether the user agrees, once that is known. The question is asked at the first call.
    ///
    /// # Errors
    /// If the input ended.
    pub fn agrees(&mut self, question: &str) -> Result<Option<bool>, Failure> {
        let line = self.line(question)?;
        Ok(line.map(|line| matches!(line.trim().to_lowercase().as_str(), "y" | "yes")))
    }

    fn line(&mut self, prompt: &str) -> Result<Option<String>, Failure> {
        let lines = match &self.lines {
            Some(lines) => lines,
            None => {
                if self.is_terminal {
                    output::status(prompt);
                }
                self.lines.insert(read_line(self.waker.clone())?)
            }
        };
        match lines.try_recv() {
            Ok(Ok(line)) if line.is_empty() => Err(ended()),
            Ok(Ok(line)) => {
                self.lines = None;
                Ok(Some(line))
            }
            Ok(Err(e)) => Err(Failure::local("standard input", e)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(ended()),
        }
    }
}

fn ended() -> Failure {
    Failure::new(Code::Usage, format!("no code: standard input has ended; type the code, or set {VARIABLE}"))
}

/// Reads one line in a thread, which nobody waits for.
fn read_line(waker: Waker) -> Result<Receiver<io::Result<String>>, Failure> {
    let (sender, lines) = channel();
    let read = move || {
        let mut line = String::new();
        let read = io::Read::take(io::stdin().lock(), LINE).read_line(&mut line);
        // Nobody listens any more if it is not taken.
        let _ = sender.send(read.map(|_| line));
        waker.wake();
    };
    thread::Builder::new().name("rtmfp-input".to_owned()).spawn(read).map_err(|e| Failure::local("no thread", e))?;
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_code_is_no_directory() {
        for code in ["7214-crossover-clockwork", "7214-abandon-zebra", "7214-zebra", "10000-a-b", "7214.2-a-b"] {
            assert!(refuse_in_arguments(code.as_ref()).is_err(), "{code}");
        }
        for directory in ["downloads", ".", "./7214-abandon-zebra", "2026-12-01", "2026", "v1-beta", "7214-"] {
            assert!(refuse_in_arguments(directory.as_ref()).is_ok(), "{directory}");
        }
    }
}
