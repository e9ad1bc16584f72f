//! The code, as the user gives it: never in the command line, which others can read.

use core::time::Duration;
use std::ffi::OsStr;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::sync::{Arc, OnceLock};
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
    /// The code, as text, once it is given without being asked for.
    given: Option<String>,
    is_terminal: bool,
    waker: Arc<OnceLock<Waker>>,
}

impl Answers {
    /// The code comes from the environment, or else from standard input.
    #[must_use]
    pub fn of_user() -> Self {
        let given = std::env::var(VARIABLE).ok().filter(|code| !code.trim().is_empty());
        Self { lines: None, given, is_terminal: io::stdin().is_terminal(), waker: Arc::default() }
    }

    /// Wakes an endpoint whenever there is something new.
    pub fn wake_with(&self, waker: Waker) {
        // Only the first counts: there is one endpoint.
        let _ = self.waker.set(waker);
    }

    /// Whether somebody can be asked.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether the code is given without being asked for: by the environment, or within `wait` by standard input that is
    /// no terminal.
    ///
    /// # Errors
    /// If standard input cannot be read.
    pub fn is_given(&mut self, wait: Duration) -> Result<bool, Failure> {
        if self.given.is_none() && !self.is_terminal {
            let lines = match self.lines.take() {
                Some(lines) => lines,
                None => read_line(Arc::clone(&self.waker))?,
            };
            match lines.recv_timeout(wait) {
                Ok(Ok(line)) => self.given = Some(line).filter(|line| !line.trim().is_empty()),
                Ok(Err(e)) => return Err(Failure::local("standard input", e)),
                Err(RecvTimeoutError::Timeout) => self.lines = Some(lines),
                Err(RecvTimeoutError::Disconnected) => {}
            }
        }
        Ok(self.given.is_some())
    }

    /// The code, once it is known. It is asked for at the first call.
    ///
    /// # Errors
    /// If it is none, and nobody can be asked again; or if the input ended.
    pub fn code(&mut self) -> Result<Option<Words>, Failure> {
        if let Some(code) = self.given.take() {
            let refused = |e| Failure::new(Code::Usage, format!("the code of {VARIABLE} or standard input: {e}"));
            return code.trim().parse().map(Some).map_err(refused);
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
                self.lines.insert(read_line(Arc::clone(&self.waker))?)
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
fn read_line(waker: Arc<OnceLock<Waker>>) -> Result<Receiver<io::Result<String>>, Failure> {
    let (sender, lines) = channel();
    let read = move || {
        let mut line = String::new();
        let read = io::Read::take(io::stdin().lock(), LINE).read_line(&mut line);
        // Nobody listens any more if it is not taken.
        let _ = sender.send(read.map(|_| line));
        if let Some(waker) = waker.get() {
            waker.wake();
        }
    };
    thread::Builder::new().name("rtmfp-input".to_owned()).spawn(read).map_err(|e| Failure::local("no thread", e))?;
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_code_is_no_directory() {
        for code in ["7214-castle-river", "7214-abandon-zebra", "7214-zebra", "10000-a-b", "7214.2-a-b"] {
            assert!(refuse_in_arguments(code.as_ref()).is_err(), "{code}");
        }
        for directory in ["downloads", ".", "./7214-abandon-zebra", "2026-12-01", "2026", "v1-beta", "7214-"] {
            assert!(refuse_in_arguments(directory.as_ref()).is_ok(), "{directory}");
        }
    }
}
