//! What the user sees: lines for people with a progress bar, or lines of JSON.
//!
//! With `--json` standard output has one object a line, see [`json`](crate::json):
//!
//! | `event` | fields |
//! |---|---|
//! | `listening` | `address`, `fingerprint` (if static keys prove it), `profile` (of the second endpoint of a server) |
//! | `code` | `code`: what `rtmfp send` has the user tell the receiver |
//! | `proved` | `receiver` (of several): the far end knows the code, or is that of the earlier transfer |
//! | `offer` | `entries`, `files`, `bytes`: what a sender offers |
//! | `skipped` | `name`, `error`: what a sender finds and does not offer, as it cannot be read or sent |
//! | `resuming` | an interrupted transfer goes on |
//! | `progress` | `bytes`: of content that this end has sent or stored since it began; at most a line each 64 KiB |
//! | `text` | `text`: a text that was received |
//! | `opened` | `peer` (address; of a relayed session one in 100::/64 that stands for the circuit), `fingerprint` (if it has proved to own it by then), `post_quantum` (true, if ML-KEM protects it), and at the end that began it `seconds` |
//! | `file` | `receiver` (of several), `name`, `bytes`, `verified`, `sha256` or, by a code, `blake3` if verified, else `error` |
//! | `echoed` | `metadata`, `messages`, `bytes` |
//! | `reply` | `flow`, `sequence`, `seconds` |
//! | `closed` | `complete` |
//! | `registered`, `unregistered` | an end with `--via` is known to its server, or not any more: `error`, `retry` (seconds) |
//! | `reachable`, `unreachable` | `number`, `fingerprint`: where others find this end; or why there is no number: `error` |
//! | `path` | `kind` (`lan`, `direct`, `relayed`, `searching`), `fingerprint` of the far end, `peer` (address) unless relayed |
//! | `relays` | a server relays datagrams between its clients |
//! | `probes` | `address`: from which a server sends probes for `rtmfp doctor` |
//! | `report` | what `rtmfp doctor` has found out: see [`diagnosis`](crate::diagnosis) |
//! | `meeting` | `how` (`directly`, `perhaps`, `relay` or `not-at-all`), `reason`, `first` and `second` (whose reports): whether two ends will meet |
//! | `explaining`, `step` | `rtmfp doctor --explain`: `whom`, `via`; and how far it comes: see [`explain`](crate::explain) |
//! | `route` | `family`, `address`: from which this machine sends; left out if it has no route |
//! | `waiting` | `seconds`: how long it takes to find out for how long mappings are kept |
//! | any of a server | `profile`: `flash`, if it is about the endpoint of `--listen-flash` |
//! | `http` | `address`: where a server shows metrics and health |
//! | `tokens` | a server asks its clients for a token |
//! | `token-rejected` | `peer`: who shows a token that is not accepted |
//! | `joined`, `number`, `found`, `nobody`, `refused`, `circuit` | `peer`: of a rendezvous server, who asks |
//! | `introduced`, `unknown` | `peer`: the address, not proved, that asks to be introduced |
//! | `served` | `sessions`, `introduced`, `numbers`, `circuits`, `refused`: at the end of a server |
//! | `omitted` | `lines`: so many lines about far ends were left out before this one |
//! | `done` | `receiver` (of several), `files`, `failed`, by a code `refused` and `skipped`, `bytes`, `seconds`; for a ping `replies`, `least`, `mean`, `most` |
//! | `dropped` | with `--verbose`: a count for each [reason](rtmfp_core::error::DropReason), by its name, if it is not 0 |
//! | `buffers` | with `--verbose`: bytes that the system has granted of the `asked` to `receive` and to `send`, and `overflows` |
//! | `error` | `code` (the exit code), `message` |
//!
//! At an end that anyone can reach, lines about far ends (`opened`, `file` unless verified, `echoed`, `closed`) are
//! limited to [`LINES_AT_ONCE`] at once and [`LINES_PER_SECOND`], so that nobody can fill a log.
//!
//! Without it, lines for people go to standard output, the bar to standard error if that is a terminal.

mod steps;

use core::fmt::Write as _;
use core::net::SocketAddr;
use core::num::NonZeroU8;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use rtmfp_core::{EndpointStats, Instant};
use rtmfp_std::{Clock, Socket};

use crate::buffers::Buffers;
use crate::failure::Failure;
use crate::json::Line;
use crate::output;
use crate::text::{shown, shown_lines};
use crate::transfer::Verdict;
use crate::tree::Skipped;
use rtmfp_files::manifest::{EntryKind, Manifest, Totals};
use rtmfp_files::transfer;
use steps::Steps;

/// Lines about far ends that are written at once, at an end that anyone can reach.
pub const LINES_AT_ONCE: u32 = 100;
/// Lines about far ends that are written a second beyond those.
pub const LINES_PER_SECOND: u32 = 5;

/// Names of an offer that are shown.
const SHOWN: usize = 20;

/// Tells the user how it goes.
#[derive(Debug)]
pub struct Report {
    json: bool,
    /// Whether lines for people go to standard error, as standard output is for what the command brings.
    aside: bool,
    /// Whether people look on, who like to know of each file.
    verbose: bool,
    bar: Option<ProgressBar>,
    /// Bytes of content verified.
    bytes: u64,
    /// The same, of each of several receivers.
    bytes_of: BTreeMap<NonZeroU8, u64>,
    /// Bytes of content moved by a code, for lines of JSON.
    steps: Steps,
    /// Whether the size of something is known only at its end.
    unsized_content: bool,
    /// What was found and is not offered.
    skipped: u64,
    /// For lines about far ends, if anyone can cause them.
    limit: Option<(Clock, LineLimit)>,
}

impl Report {
    /// For `--json`, or for people.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let verbose = !json && io::stderr().is_terminal();
        let (steps, bytes_of) = (Steps::default(), BTreeMap::new());
        Self {
            json,
            aside: false,
            verbose,
            bar: None,
            bytes: 0,
            bytes_of,
            steps,
            unsized_content: false,
            skipped: 0,
            limit: None,
        }
    }

    /// The same, with lines for people on standard error: standard output is for what they ask for.
    #[must_use]
    pub const fn aside(mut self) -> Self {
        self.aside = !self.json;
        self
    }

    /// What the other end is to be told: alone on a line of standard output.
    pub fn code(&mut self, code: &str) {
        let line = if self.json { Line::new("code").text("code", code).end() } else { code.to_owned() };
        output::line(&line);
    }

    /// The same, with the number of lines about far ends limited.
    #[must_use]
    pub fn limited(mut self) -> Self {
        let clock = Clock::new();
        self.limit = Some((clock, LineLimit::new(clock.now())));
        self
    }

    /// Shows a bar for so many bytes, if people look on.
    pub fn expect(&mut self, bytes: u64) {
        if !self.verbose {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style =
                ProgressStyle::with_template("{msg}{bar:32} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left");
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

    /// Shows how far the hashing of what is there already has come, if people look on.
    pub fn hashing(&mut self, bytes: u64) {
        self.expect(bytes);
        if let Some(bar) = &self.bar {
            bar.set_message("hashed ");
            bar.inc(bytes);
        }
    }

    /// Shows the bar for content, rather than for hashing.
    pub fn transferring(&mut self, bytes: u64) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.steps = Steps::of(bytes);
        self.expect(bytes);
    }

    /// So many more bytes of content were sent, or stored.
    pub fn moved(&mut self, bytes: u64) {
        self.progress(bytes);
        let told = self.steps.add(bytes);
        self.moved_in_all(told);
    }

    /// No more bytes of content come: what was not told yet is.
    pub fn moved_all(&mut self) {
        let told = self.steps.rest();
        self.moved_in_all(told);
    }

    fn moved_in_all(&self, told: Option<u64>) {
        if let (Some(bytes), true) = (told, self.json) {
            self.line(&Line::new("progress").number("bytes", bytes).end());
        }
    }

    /// An entry of a transfer by a code has its verdict.
    pub fn entry(&mut self, path: &str, bytes: u64, hash: Option<&[u8; 32]>, verdict: &transfer::Verdict) {
        self.entry_of(None, path, bytes, hash, verdict);
    }

    /// The same, at one of several receivers.
    pub fn entry_of(
        &mut self,
        receiver: Option<NonZeroU8>,
        path: &str,
        bytes: u64,
        hash: Option<&[u8; 32]>,
        verdict: &transfer::Verdict,
    ) {
        if verdict.is_verified() {
            *self.bytes_at(receiver) += bytes;
        }
        if self.json {
            let line = numbered(Line::new("file"), receiver).text("name", path).number("bytes", bytes);
            let line = line.truth("verified", verdict.is_verified());
            match hash.filter(|_| verdict.is_verified()) {
                Some(hash) => self.line(&line.text("blake3", &hex(hash)).end()),
                None => self.line(&line.text("error", &verdict.to_string()).end()),
            }
        } else if !verdict.is_verified() {
            let who = prefix(receiver);
            self.line(&format!("{who}not verified: {}: {}", shown(path), shown(&verdict.to_string())));
        }
    }

    /// What is offered: names, sizes and counts, those of directories together.
    pub fn offer(&mut self, manifest: &Manifest) {
        let totals = manifest.totals();
        self.unsized_content = totals.unknown > 0;
        if self.json {
            let line = Line::new("offer").number("entries", totals.entries).number("files", totals.files);
            return self.line(&line.number("bytes", totals.bytes).end());
        }
        let size = if totals.unknown > 0 { "of unknown size".to_owned() } else { HumanBytes(totals.bytes).to_string() };
        self.line(&format!("{}, {size}:", count(totals.files)));
        let tops = tops(manifest);
        for (name, totals, is_directory) in tops.iter().take(SHOWN) {
            let size =
                if totals.unknown > 0 { "of unknown size".to_owned() } else { HumanBytes(totals.bytes).to_string() };
            let line = if *is_directory {
                format!("  {}/  {}, {size}", shown(name), count(totals.files))
            } else {
                format!("  {}  {size}", shown(name))
            };
            self.line(&line);
        }
        if let Some(more) = tops.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            self.line(&format!("  and {more} more"));
        }
    }

    /// What is found and not offered.
    pub fn skipped(&mut self, skipped: &[Skipped]) {
        if self.json {
            for Skipped { path, why } in skipped {
                self.line(&Line::new("skipped").text("name", &path.display().to_string()).text("error", why).end());
            }
        }
        for Skipped { path, why } in skipped.iter().take(SHOWN) {
            output::complain("rtmfp", format_args!("left out: {}: {why}", shown(&path.display().to_string())));
        }
        if let Some(more) = skipped.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            output::complain("rtmfp", format_args!("and {more} more are left out"));
        }
        self.skipped = skipped.len() as u64;
    }

    /// A text that was received, as it is to be shown.
    pub fn text(&mut self, text: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if self.json {
            self.line(&Line::new("text").text("text", text).end());
        } else {
            output::line(text.strip_suffix('\n').unwrap_or(text));
        }
    }

    /// A transfer by a code is over: how many files, and in which time.
    pub fn finished(&mut self, summary: &transfer::Summary, took: Duration) {
        self.finished_of(None, summary, took);
    }

    /// The same, at one of several receivers. The others may go on.
    pub fn finished_of(&mut self, receiver: Option<NonZeroU8>, summary: &transfer::Summary, took: Duration) {
        if let Some(bar) = self.bar.take_if(|_| receiver.is_none()) {
            bar.finish_and_clear();
        }
        let known = *self.bytes_at(receiver);
        // There is one receiver of what can be read once.
        let bytes = if self.unsized_content && receiver.is_none() { self.steps.moved() } else { known };
        let transfer::Summary { verified, failed, refused, .. } = *summary;
        if self.json {
            let line = numbered(Line::new("done"), receiver).number("files", verified).number("failed", failed);
            let line = line.number("refused", refused).number("skipped", self.skipped).number("bytes", bytes);
            return self.line(&line.seconds("seconds", took).end());
        }
        let more = |count: u64, what: &str| if count == 0 { String::new() } else { format!(", {count} {what}") };
        let rest = more(failed, "failed") + &more(refused, "refused") + &more(self.skipped, "left out");
        let rate = rate(bytes, took);
        let who = prefix(receiver);
        self.line(&format!("{who}{} verified{rest}: {}, {rate}", count(verified), HumanBytes(bytes)));
    }

    /// This end listens. `profile`: the name of its profile, if there are two.
    pub fn listening(&mut self, addresses: &[SocketAddr], fingerprint: Option<&str>, profile: Option<&str>) {
        let before = profile.map_or_else(String::new, |profile| format!("{profile}: "));
        for address in addresses {
            let line = || {
                let line = Line::new("listening").text("address", &address.to_string());
                let line = profile.iter().fold(line, |line, profile| line.text("profile", profile));
                fingerprint.iter().fold(line, |line, fingerprint| line.text("fingerprint", fingerprint))
            };
            self.either(line, || format!("{before}listening on {address}"));
        }
        if let (Some(fingerprint), false) = (fingerprint, self.json) {
            self.line(&format!("{before}fingerprint {fingerprint}"));
        }
    }

    /// A session is open; `took` is known at the end that began it.
    pub fn opened(
        &mut self,
        peer: Option<SocketAddr>,
        fingerprint: Option<&str>,
        post_quantum: bool,
        took: Option<Duration>,
    ) {
        let peer = peer.map_or_else(String::new, |peer| peer.to_string());
        if self.json {
            let mut line = Line::new("opened").text("peer", &peer);
            if let Some(fingerprint) = fingerprint {
                line = line.text("fingerprint", fingerprint);
            }
            if post_quantum {
                line = line.truth("post_quantum", true);
            }
            if let Some(took) = took {
                line = line.seconds("seconds", took);
            }
            self.far_line(&line.end());
        } else if self.verbose {
            let hybrid = if post_quantum { "hybrid " } else { "" };
            let mut line = format!("{hybrid}session with {peer} open");
            if let Some(took) = took {
                let _ = write!(line, " after {}", milliseconds(took));
            }
            self.far_line(&line);
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
            match hash.filter(|_| verdict.is_verified()) {
                Some(hash) => self.line(&line.text("sha256", &hex(hash)).end()),
                None => self.far_line(&line.text("error", &verdict.text).end()),
            }
        } else if !verdict.is_verified() {
            self.far_line(&format!("not verified: {}: {}", shown(name), verdict.text));
        }
    }

    /// Everything is over: how many files, and in which time.
    pub fn transferred(&mut self, verified: u64, failed: u64, took: Duration) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.omitted();
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

    /// The same about a far end, which is left out if far ends cause too many.
    pub fn either_of_far(&mut self, json: impl FnOnce() -> Line, human: impl FnOnce() -> String) {
        let line = if self.json { json().end() } else { human() };
        self.far_line(&line);
    }

    /// Packets and chunks that were dropped, by reason.
    pub fn drops(&mut self, stats: &EndpointStats) {
        let human = || {
            let reasons: Vec<String> = stats.drops().map(|(reason, count)| format!("{count} {reason}")).collect();
            if reasons.is_empty() { "dropped: none".to_owned() } else { format!("dropped: {}", reasons.join(", ")) }
        };
        let json =
            || stats.drops().fold(Line::new("dropped"), |line, (reason, count)| line.number(reason.name(), count));
        self.either(json, human);
    }

    /// The socket buffers that there are, and what to do if they are small.
    pub fn buffers(&mut self, buffers: &Buffers) {
        let json = || {
            let line =
                Line::new("buffers").number("receive", buffers.receive as u64).number("send", buffers.send as u64);
            line.number("asked", Socket::BUFFER_BYTES as u64).number("overflows", buffers.overflows)
        };
        self.either(json, || buffers.granted());
        if let Some(advice) = buffers.advice() {
            output::complain("rtmfp", advice);
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
        output::complain("rtmfp", failure);
    }

    /// Bytes verified, those of one of several receivers by themselves.
    fn bytes_at(&mut self, receiver: Option<NonZeroU8>) -> &mut u64 {
        match receiver {
            Some(receiver) => self.bytes_of.entry(receiver).or_default(),
            None => &mut self.bytes,
        }
    }

    /// A line that a far end causes.
    fn far_line(&mut self, line: &str) {
        if let Some((clock, limit)) = &mut self.limit {
            if !limit.admit(clock.now()) {
                return;
            }
            self.omitted();
        }
        self.line(line);
    }

    /// Says how many lines were left out, if any were.
    fn omitted(&mut self) {
        let omitted = self.limit.as_mut().map_or(0, |(_, limit)| core::mem::take(&mut limit.omitted));
        if omitted > 0 {
            self.either(
                || Line::new("omitted").number("lines", omitted),
                || format!("({omitted} lines were left out)"),
            );
        }
    }

    /// A whole line, at once.
    fn line(&self, line: &str) {
        // Lines of JSON have their own escapes.
        let line = if self.json { line.to_owned() } else { shown_lines(line) };
        let write = || if self.aside { output::status(&format!("{line}\n")) } else { output::line(&line) };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Report {
    /// The last lines that were left out are counted too, and no bar stays.
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.omitted();
    }
}

/// How many lines far ends may cause: a token bucket.
#[derive(Debug)]
struct LineLimit {
    /// Lines that may be written at once, in thousandths.
    level: u64,
    filled: Instant,
    omitted: u64,
}

impl LineLimit {
    const FULL: u64 = LINES_AT_ONCE as u64 * 1_000;

    const fn new(now: Instant) -> Self {
        Self { level: Self::FULL, filled: now, omitted: 0 }
    }

    /// Whether one more may be written.
    fn admit(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_millis();
        let gained = u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_mul(LINES_PER_SECOND.into());
        // Time too short for a thousandth of a line is kept for the next.
        if gained > 0 {
            self.level = Self::FULL.min(self.level.saturating_add(gained));
            self.filled = now;
        }
        let Some(level) = self.level.checked_sub(1_000) else {
            self.omitted += 1;
            return false;
        };
        self.level = level;
        true
    }
}

/// A line about one of several receivers.
fn numbered(line: Line, receiver: Option<NonZeroU8>) -> Line {
    receiver.iter().fold(line, |line, receiver| line.number("receiver", receiver.get().into()))
}

/// What stands before a line about one of several receivers.
fn prefix(receiver: Option<NonZeroU8>) -> String {
    receiver.map_or_else(String::new, |receiver| format!("receiver {receiver}: "))
}

fn count(files: u64) -> String {
    format!("{files} {}", if files == 1 { "file" } else { "files" })
}

/// What is at the top of an offer, with all that is in it, and whether it is a directory.
fn tops(manifest: &Manifest) -> Vec<(&str, Totals, bool)> {
    let mut tops: Vec<(&str, Totals, bool)> = Vec::new();
    for entry in &manifest.entries {
        let within = entry.path.split_once('/');
        let top = within.map_or(entry.path.as_str(), |(top, _)| top);
        let is_directory = within.is_some() || entry.kind == EntryKind::Directory;
        match tops.last_mut().filter(|(name, ..)| *name == top) {
            Some((_, totals, is)) => (*totals, *is) = (totals.and(entry), *is || is_directory),
            None => tops.push((top, Totals::default().and(entry), is_directory)),
        }
    }
    tops
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_ends_cause_a_limited_number_of_lines() {
        let start = Instant::ORIGIN;
        let mut limit = LineLimit::new(start);
        assert_eq!((0..1_000).filter(|_| limit.admit(start)).count(), LINES_AT_ONCE as usize);
        assert_eq!(limit.omitted, 1_000 - u64::from(LINES_AT_ONCE));
        // One a millisecond for ten seconds.
        let ten = (1..=10_000).filter(|ms| limit.admit(start + Duration::from_millis(*ms))).count();
        assert_eq!(ten, 10 * LINES_PER_SECOND as usize);
        assert!(limit.admit(start + Duration::from_secs(3_600)));
    }
}
