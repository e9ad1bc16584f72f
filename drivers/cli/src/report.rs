//! What the user sees: lines for people with a progress bar, or lines of JSON.
//!
//! With `--json` standard output has one object a line, see [`json`](crate::json):
//!
//! | `event` | fields |
//! |---|---|
//! | `listening` | `address`, `fingerprint` (if static keys prove it) |
//! | `opened` | `peer` (address), `fingerprint` (if it has proved to own it by then), and at the end that began it `seconds` |
//! | `file` | `name`, `bytes`, `verified`, `sha256` if verified, else `error` |
//! | `echoed` | `metadata`, `messages`, `bytes` |
//! | `reply` | `flow`, `sequence`, `seconds` |
//! | `closed` | `complete` |
//! | `done` | `files`, `failed`, `bytes`, `seconds`; for a ping `replies`, `least`, `mean`, `most` |
//! | `error` | `code` (the exit code), `message` |
//!
//! Without it, lines for people go to standard output, the bar to standard error if that is a terminal.

use core::fmt::Write as _;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, IsTerminal, Write};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::failure::Failure;
use crate::json::Line;
use crate::transfer::Verdict;

/// Tells the user how it goes.
#[derive(Debug)]
pub struct Report {
    json: bool,
    /// Whether people look on, who like to know of each file.
    verbose: bool,
    bar: Option<ProgressBar>,
    /// Bytes of content verified.
    bytes: u64,
}

impl Report {
    /// For `--json`, or for people.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let verbose = !json && io::stderr().is_terminal();
        Self { json, verbose, bar: None, bytes: 0 }
    }

    /// Shows a bar for so many bytes, if people look on.
    pub fn expect(&mut self, bytes: u64) {
        if !self.verbose {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{bar:32} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.inc_length(bytes);
    }

    /// Moves the bar.
    pub fn progress(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// This end listens.
    pub fn listening(&mut self, addresses: &[SocketAddr], fingerprint: Option<&str>) {
        for address in addresses {
            if self.json {
                let line = Line::new("listening").text("address", &address.to_string());
                let line = match fingerprint {
                    Some(fingerprint) => line.text("fingerprint", fingerprint),
                    None => line,
                };
                self.line(&line.end());
            } else {
                self.line(&format!("listening on {address}"));
            }
        }
        if let (Some(fingerprint), false) = (fingerprint, self.json) {
            self.line(&format!("fingerprint {fingerprint}"));
        }
    }

    /// A session is open; `took` is known at the end that began it.
    pub fn opened(&mut self, peer: Option<SocketAddr>, fingerprint: Option<&str>, took: Option<Duration>) {
        let peer = peer.map_or_else(String::new, |peer| peer.to_string());
        if self.json {
            let mut line = Line::new("opened").text("peer", &peer);
            if let Some(fingerprint) = fingerprint {
                line = line.text("fingerprint", fingerprint);
            }
            if let Some(took) = took {
                line = line.seconds("seconds", took);
            }
            self.line(&line.end());
        } else if self.verbose {
            let mut line = format!("session with {peer} open");
            if let Some(took) = took {
                let _ = write!(line, " after {}", milliseconds(took));
            }
            self.line(&line);
        }
    }

    /// A file has its verdict.
    pub fn file(&mut self, name: &str, bytes: u64, hash: Option<&[u8]>, verdict: &Verdict) {
        if verdict.is_verified() {
            self.bytes += bytes;
        }
        if self.json {
            let line = Line::new("file").text("name", name).number("bytes", bytes);
            let line = line.truth("verified", verdict.is_verified());
            let line = match hash.filter(|_| verdict.is_verified()) {
                Some(hash) => line.text("sha256", &hex(hash)),
                None => line.text("error", &verdict.text),
            };
            self.line(&line.end());
        } else if !verdict.is_verified() {
            self.line(&format!("not verified: {}: {}", shown(name), verdict.text));
        }
    }

    /// Everything is over: how many files, and in which time.
    pub fn transferred(&mut self, verified: u64, failed: u64, took: Duration) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if self.json {
            let line = Line::new("done").number("files", verified).number("failed", failed);
            self.line(&line.number("bytes", self.bytes).seconds("seconds", took).end());
        } else {
            let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
            let rate = rate(self.bytes, took);
            let files = if verified == 1 { "file" } else { "files" };
            self.line(&format!("{verified} {files} verified{failed}: {}, {rate}", HumanBytes(self.bytes)));
        }
    }

    /// A line of JSON, if those are wanted, or else one for people.
    pub fn either(&mut self, json: impl FnOnce() -> Line, human: impl FnOnce() -> String) {
        if self.json {
            self.line(&json().end());
        } else {
            self.line(&human());
        }
    }

    /// Why the program ends.
    pub fn failure(&mut self, failure: &Failure) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if self.json {
            let line = Line::new("error").number("code", failure.code as u64).text("message", &failure.message);
            self.line(&line.end());
        }
        let _ = writeln!(io::stderr(), "rtmfp: {failure}");
    }

    /// A whole line, at once to whoever reads it.
    fn line(&self, line: &str) {
        let write = || {
            let mut out = io::stdout().lock();
            // Nobody reading is no reason to stop.
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// A far end's file name, made safe to show.
#[must_use]
pub fn shown(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Milliseconds with two decimals.
#[must_use]
pub fn milliseconds(duration: Duration) -> String {
    let hundredths = duration.as_micros() / 10;
    format!("{}.{:02} ms", hundredths / 100, hundredths % 100)
}

/// Bytes a second, for people.
#[must_use]
pub fn rate(bytes: u64, took: Duration) -> String {
    let micros = took.as_micros().max(1);
    let rate = u128::from(bytes) * 1_000_000 / micros;
    format!(
        "{}/s in {}.{:02} s",
        HumanBytes(u64::try_from(rate).unwrap_or(u64::MAX)),
        took.as_secs(),
        took.subsec_millis() / 10
    )
}
