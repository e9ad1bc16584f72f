//! A transfer by a code that is interrupted again and again, at either end and between them.
//!
//! `.ci/long` runs the same with 1 GiB and 20,000 files: `RTMFP_INTERRUPTED=1`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::harness::{Running, Scratch, field, noise, run};

/// How much is sent, and how it is interrupted.
struct Size {
    big: usize,
    files: usize,
    interruptions: usize,
    /// Lines of progress before an interruption, at most.
    lines: u64,
    limit: &'static str,
    seed: u64,
}

const SMALL: Size = Size { big: 3_000_000, files: 40, interruptions: 4, lines: 3, limit: "1500k", seed: 7 };
const LARGE: Size = Size { big: 1 << 30, files: 20_000, interruptions: 10, lines: 1_000, limit: "40M", seed: 7 };

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Interruption {
    SenderKilled,
    ReceiverKilled,
    SenderStopped,
    ReceiverStopped,
    ServerKilled,
    DiskFull,
}

const KINDS: [Interruption; 6] = [
    Interruption::DiskFull,
    Interruption::SenderKilled,
    Interruption::ServerKilled,
    Interruption::ReceiverKilled,
    Interruption::SenderStopped,
    Interruption::ReceiverStopped,
];

/// What may be sent twice for an interruption, beside what is on its way: 1 MiB.
const TWICE: u64 = 1 << 20;

/// A file system of its own, where root may mount one: seen from here through its process.
struct Disk(Child, PathBuf);

impl Disk {
    fn new(scratch: &Scratch, bytes: usize) -> Option<Self> {
        let at = scratch.directory();
        let script = format!("mount -t tmpfs -o size={bytes} tmpfs {0} && echo ready && exec cat", at.display());
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
        let root = PathBuf::from(format!("/proc/{}/root", child.id()));
        let disk = Self(child, root.join(at.strip_prefix("/").ok()?));
        (line == "ready\n").then_some(disk)
    }

    /// Takes all the room there is, until the file is removed.
    fn fill(&self) {
        let mut file = fs::File::create(self.1.join("filler")).unwrap();
        while file.write_all(&[1; 4_096]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything that a transfer needs, and what it has moved so far.
struct Transfer {
    scratch: Scratch,
    disk: Option<Disk>,
    directory: PathBuf,
    size: Size,
    server: Running,
    uri: String,
    code: String,
    sent: u64,
    stored: u64,
    random: u64,
}

impl Transfer {
    fn new(size: Size) -> Self {
        let scratch = Scratch::new();
        let disk = Disk::new(&scratch, size.big * 2 + size.files * 8_192);
        if disk.is_none() {
            println!("no file system can be mounted here: no full disk was tried");
        }
        let directory = disk.as_ref().map_or_else(|| scratch.directory(), |disk| disk.1.clone()).join("new");
        tree(&scratch.source("tree"), &size);
        let (server, uri) = start_server(&scratch, &own_port());
        let random = size.seed;
        Self { scratch, disk, directory, size, server, uri, code: String::new(), sent: 0, stored: 0, random }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    /// Runs the same two commands as ever. A code is made and used the first time only.
    fn begin(&mut self) -> (Running, Running) {
        let (home, tree) = (self.scratch.source("home"), self.scratch.source("tree"));
        let home = home.to_str().unwrap();
        let arguments = ["send", "--json", "--limit", self.size.limit, "--via", &self.uri, tree.to_str().unwrap()];
        let mut sender = run(None, &arguments, &[("RTMFP_HOME", home)]);
        let is_first = self.code.is_empty();
        let line = sender.wait_for(if is_first { "\"code\"" } else { "\"resuming\"" });
        self.code = if is_first { field(&line, "code").unwrap() } else { "none".to_owned() };
        let arguments = ["receive", "--yes", "--json", "--via", &self.uri, self.directory.to_str().unwrap()];
        let code: &[(&str, &str)] = if is_first { &[("RTMFP_CODE", &self.code)] } else { &[] };
        let receiver = run(None, &arguments, &[&[("RTMFP_HOME", home)], code].concat());
        (sender, receiver)
    }

    /// Waits for some progress, and does it. Whether the two go on by themselves.
    fn interrupt(&mut self, what: Interruption, left: u64, sender: &mut Running, receiver: &mut Running) -> bool {
        let lines = (self.size.big as u64).saturating_sub(self.stored) / TWICE;
        let most = (lines * 8 / 5 / (left + 1)).clamp(3, self.size.lines);
        for _ in 0..=self.random(most) {
            receiver.wait_for("\"progress\"");
        }
        match (what, &self.disk) {
            (Interruption::SenderKilled, _) => sender.child.kill().unwrap(),
            (Interruption::ReceiverKilled, _) => receiver.child.kill().unwrap(),
            (Interruption::SenderStopped, _) => stop(sender),
            (Interruption::ReceiverStopped, _) => stop(receiver),
            (Interruption::DiskFull, Some(disk)) => {
                disk.fill();
            }
            (Interruption::DiskFull, None) => return true,
            (Interruption::ServerKilled, _) => {
                self.server.child.kill().unwrap();
                let at = self.uri.trim_start_matches("rtmfp://").trim_end_matches('/').to_owned();
                receiver.wait_for("\"progress\"");
                self.server = start_server(&self.scratch, &at).0;
                return true;
            }
        }
        false
    }

    /// Waits for the end of both, and counts what they have moved.
    fn end(&mut self, sender: Running, receiver: Running, is_whole: bool) {
        let (sender, receiver) = (sender.end(), receiver.end());
        let (sent, stored) = (moved(&sender.out), moved(&receiver.out));
        println!("sent {sent}, stored {stored}, exit codes {:?} and {:?}", sender.code, receiver.code);
        assert_eq!(sender.code == Some(0) && receiver.code == Some(0), is_whole, "{sender:?} {receiver:?}");
        self.sent += sent;
        self.stored += stored;
    }
}

/// An address for a server that is started again there. Its port is none that a system gives to whoever asks for any:
/// another test would have it meanwhile.
fn own_port() -> String {
    let first = 20_000 + std::process::id() % 10_000;
    let free = |port: &u32| std::net::UdpSocket::bind(format!("127.0.0.1:{port}")).is_ok();
    let port = (first..30_000).chain(20_000..first).find(free).unwrap();
    format!("127.0.0.1:{port}")
}

fn start_server(scratch: &Scratch, listen: &str) -> (Running, String) {
    let home = scratch.source("server");
    let arguments = ["serve", "--json", "--listen", listen];
    let mut server = run(None, &arguments, &[("RTMFP_HOME", home.to_str().unwrap())]);
    let line = server.wait_for("\"listening\"");
    let uri = format!("rtmfp://{}/", field(&line, "address").unwrap());
    (server, uri)
}

fn stop(running: &Running) {
    // One that has ended already stays until it is waited for.
    let _ = Command::new("kill").args(["-INT", &running.child.id().to_string()]).status();
}

/// The last that was told of how much was moved.
fn moved(out: &str) -> u64 {
    let line = out.lines().rfind(|line| line.contains("\"progress\""));
    let number = line.and_then(|line| line.split_once("\"bytes\":")).map(|(_, rest)| rest.trim_end_matches('}'));
    number.map_or(0, |number| number.parse().unwrap())
}

/// A large file, many small ones, and one of each other kind.
fn tree(tree: &Path, size: &Size) {
    fs::create_dir_all(tree.join("empty")).unwrap();
    fs::write(tree.join("big"), noise(size.big, 1)).unwrap();
    for file in 0..size.files {
        // Some come before the large one, and some after it.
        let directory = tree.join(format!("{}-small-{}", if file % 2 == 0 { "a" } else { "z" }, file / 500));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("file-{file}")), noise(file * 37 % 3_000, file as u64)).unwrap();
    }
    fs::write(tree.join("run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(tree.join("run"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::File::open(tree.join("run")).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    symlink("z-small-0/file-1", tree.join("link")).unwrap();
}

/// Compares content, modes, times and links, and that there is nothing else.
fn assert_same(left: &Path, right: &Path) -> u64 {
    let (a, b) = (fs::symlink_metadata(left).unwrap(), fs::symlink_metadata(right).unwrap());
    assert_eq!(a.file_type(), b.file_type(), "{}", left.display());
    if a.is_symlink() {
        assert_eq!(fs::read_link(left).unwrap(), fs::read_link(right).unwrap());
        return 0;
    }
    assert_eq!((a.mode(), a.mtime(), a.mtime_nsec()), (b.mode(), b.mtime(), b.mtime_nsec()), "{}", left.display());
    if a.is_dir() {
        let names = |path: &Path| {
            let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let all = names(left);
        assert_eq!(all, names(right), "{}", left.display());
        return all.iter().map(|name| assert_same(&left.join(name), &right.join(name))).sum();
    }
    assert_eq!(a.len(), b.len(), "{}", left.display());
    let [mut ours, mut theirs] =
        [left, right].map(|path| BufReader::with_capacity(1 << 20, fs::File::open(path).unwrap()));
    loop {
        let (our_bytes, their_bytes) = (ours.fill_buf().unwrap(), theirs.fill_buf().unwrap());
        let length = our_bytes.len().min(their_bytes.len());
        assert!(our_bytes.get(..length) == their_bytes.get(..length), "{}", left.display());
        if length == 0 {
            break;
        }
        ours.consume(length);
        theirs.consume(length);
    }
    a.len()
}

#[test]
fn a_transfer_that_is_interrupted_again_and_again_arrives_whole_and_little_is_sent_twice() {
    let is_large = std::env::var_os("RTMFP_INTERRUPTED").is_some();
    let mut transfer = Transfer::new(if is_large { LARGE } else { SMALL });
    let (mut sender, mut receiver) = transfer.begin();
    let first = if is_large { transfer.random(KINDS.len() as u64) as usize } else { 0 };
    let (mut in_flight, mut interruptions) = (0, 0);
    let kinds = KINDS.into_iter().cycle().skip(first);
    for (number, what) in kinds.enumerate().take(transfer.size.interruptions) {
        let left = transfer.size.interruptions - number;
        println!("{what:?}");
        if transfer.interrupt(what, left as u64, &mut sender, &mut receiver) {
            continue;
        }
        let before = (transfer.sent, transfer.stored);
        if what == Interruption::DiskFull {
            // Both are told, and end.
            transfer.end(sender, receiver, false);
            fs::remove_file(transfer.disk.as_ref().unwrap().1.join("filler")).unwrap();
        } else {
            // So does a user who sees that one of them is gone.
            stop(&sender);
            stop(&receiver);
            transfer.end(sender, receiver, false);
        }
        in_flight += (transfer.sent - before.0).saturating_sub(transfer.stored - before.1);
        interruptions += 1;
        if left == 1 {
            transfer.size.limit = "1000M";
        }
        (sender, receiver) = transfer.begin();
    }
    transfer.end(sender, receiver, true);
    let size = assert_same(&transfer.scratch.source("tree"), &transfer.directory.join("tree"));
    let twice = transfer.sent.saturating_sub(size);
    println!("{size} bytes, {} sent, {twice} twice, {in_flight} of them in flight", transfer.sent);
    assert!(transfer.sent >= size, "not all is counted");
    assert!(
        twice <= in_flight + interruptions * TWICE,
        "{twice} bytes were sent twice, and {in_flight} were in flight"
    );
    let remembered = fs::read_dir(transfer.scratch.source("home/transfers")).map_or(0, Iterator::count);
    assert_eq!(remembered, 0);
}
