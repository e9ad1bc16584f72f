//! Starts the program, reads what it says, and never waits for ever.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

/// After this long a test has failed. Debug builds on a busy machine are slow.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A directory of this test alone, removed at its end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rtmfp-cli-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(path.join("in")).unwrap();
        fs::create_dir_all(path.join("out")).unwrap();
        Self(path)
    }

    /// Where files come from.
    pub(crate) fn source(&self, name: &str) -> PathBuf {
        self.0.join("in").join(name)
    }

    /// Where files go.
    pub(crate) fn directory(&self) -> PathBuf {
        self.0.join("out")
    }

    /// Makes a file with content that depends on the seed.
    pub(crate) fn file(&self, name: &str, size: usize, seed: u64) -> PathBuf {
        let path = self.source(name);
        fs::write(&path, noise(size, seed)).unwrap();
        path
    }

    /// The names in the receiving directory.
    pub(crate) fn received(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.directory())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A running program. Killed if the test ends first.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
    pub(crate) seen: Vec<String>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) errors: String,
}

pub(crate) fn start(arguments: &[&str]) -> Running {
    start_with(arguments, None)
}

pub(crate) fn start_with(arguments: &[&str], password: Option<&str>) -> Running {
    start_in(None, arguments, password)
}

/// Starts the program in a network namespace.
pub(crate) fn start_in(namespace: Option<&str>, arguments: &[&str], password: Option<&str>) -> Running {
    run(namespace, arguments, &password.map_or(vec![], |password| vec![("RTMFP_PASSWORD", password)]))
}

/// Starts the program so that it writes its keys to a file.
pub(crate) fn start_logging(arguments: &[&str], key_log: &Path) -> Running {
    run(None, arguments, &[("RTMFP_KEYLOG", key_log.to_str().unwrap())])
}

pub(crate) fn run(namespace: Option<&str>, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
    Running::new(command(namespace, arguments, environment).spawn().unwrap())
}

/// How the program is started: with nothing to read, and all that it says to be read here.
pub(crate) fn command(namespace: Option<&str>, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let program = env!("CARGO_BIN_EXE_rtmfp");
    let mut command = match namespace {
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace, program]);
            command
        }
        None => Command::new(program),
    };
    command.args(arguments);
    for variable in ["RTMFP_PASSWORD", "RTMFP_KEYLOG", "RTMFP_CODE", "RTMFP_VIA"] {
        command.env_remove(variable);
    }
    // Nobody's identity and pinned peers, unless a test has its own.
    command.env("RTMFP_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("no home"));
    command.envs(environment.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn lines_of(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Running {
    /// Reads what a program says, but for an output that somebody has taken already.
    pub(crate) fn new(mut child: Child) -> Self {
        let lines = child.stdout.take().map_or_else(|| channel().1, lines_of);
        let errors = lines_of(child.stderr.take().unwrap());
        Self { child, lines, errors, seen: Vec::new() }
    }

    /// As Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        let ended = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(ended.unwrap().success());
    }

    /// The next line of its output that contains `text`.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(e) => {
                    let errors: Vec<_> = self.errors.try_iter().collect();
                    panic!("no line with {text:?} ({e}); out: {:?}; errors: {errors:?}", self.seen);
                }
            }
        }
    }

    /// The next line of its standard error that contains `text`, and all before are taken.
    pub(crate) fn wait_for_error(&mut self, text: &str) {
        let mut seen = Vec::new();
        while !seen.last().is_some_and(|line: &String| line.contains(text)) {
            match self.errors.recv_timeout(DEADLINE) {
                Ok(line) => seen.push(line),
                Err(e) => panic!("no error with {text:?} ({e}), but {seen:?}"),
            }
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut out = core::mem::take(&mut self.seen);
        collect(&self.lines, &mut out);
        let mut errors = Vec::new();
        collect(&self.errors, &mut errors);
        // Both pipes are closed: it has ended, or is about to.
        let code = self.child.wait().unwrap().code();
        Ended { code, out: out.join("\n"), errors: errors.join("\n") }
    }
}

fn collect(lines: &Receiver<String>, into: &mut Vec<String>) {
    loop {
        match lines.recv_timeout(DEADLINE) {
            Ok(line) => into.push(line),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => panic!("it did not end in time, after saying {into:?}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with `--json` on a port of the system's choice, its URI and its fingerprint.
pub(crate) fn serve(command: &str, arguments: &[&str], password: Option<&str>) -> (Running, String, String) {
    let listen = ["--json", "--listen", "127.0.0.1:0", "--timeout", "5"];
    let all: Vec<&str> = [command].into_iter().chain(arguments.iter().copied()).chain(listen).collect();
    let mut running = start_with(&all, password);
    let line = running.wait_for("\"listening\"");
    let uri = format!("rtmfp://{}/", field(&line, "address").unwrap());
    let fingerprint = field(&line, "fingerprint").unwrap_or_default();
    (running, uri, fingerprint)
}

/// The value of a string field of a line of JSON.
pub(crate) fn field(line: &str, key: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!("\"{key}\":\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// Runs `rtmfp send` to its end.
pub(crate) fn send(files: &[&Path], uri: &str, more: &[&str], password: Option<&str>) -> Ended {
    start_send(files, uri, more, password).end()
}

/// Starts `rtmfp send`.
pub(crate) fn start_send(files: &[&Path], uri: &str, more: &[&str], password: Option<&str>) -> Running {
    let mut arguments = vec!["send", "--json"];
    if !more.contains(&"--timeout") {
        arguments.extend(["--timeout", "5"]);
    }
    arguments.extend_from_slice(more);
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    arguments.push(uri);
    start_with(&arguments, password)
}
