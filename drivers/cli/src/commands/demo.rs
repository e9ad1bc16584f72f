//! `rtmfp demo`

use core::cell::Cell;
use core::fmt::Display;
use core::net::Ipv4Addr;
use core::time::Duration;
use std::io::{self, Read};
use std::thread;

use rtmfp_core::SessionStats;
use rtmfp_std::{Driver, Uri};

use crate::args::{Common, Connect, Demo, Profile, ProfileArgs};
use crate::failure::{Chain, Code, Failure};
use crate::identity::{Identity, Part, destination};
use crate::report::{milliseconds, rate};
use crate::trace::TraceFile;
use crate::transfer::store::{Content, Incoming, Outgoing, Store};
use crate::transfer::{Received, Receiver, ReceiverEvent, Sender, SenderEvent, Verdict};
use crate::{net, output};

/// Files that the data is split into, to be sent as parallel flows.
const FILES: u64 = 4;
const MEBI: u64 = 1 << 20;
/// Limit for either end.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Parts of the way that are told of.
const STEPS: u64 = 4;

pub(super) fn run(args: &Demo, trace: &mut TraceFile) -> Result<(), Failure> {
    let total = args.size * MEBI;
    say(format_args!("Two endpoints in this process, each with a UDP socket and a thread of its own."));
    let server = Identity::new(&common(), Part::Server { lasting: true, listen: None })?;
    let mut driver = net::listen(&[(Ipv4Addr::LOCALHOST, 0).into()], &server, TIMEOUT, None)?;
    let address = net::local_addresses(&driver).first().copied();
    let address = address.ok_or_else(|| Failure::new(Code::Local, "the receiver has no address"))?;
    if let Some(fingerprint) = server.fingerprint {
        say(format_args!("The receiver listens on {address} with fingerprint {fingerprint}."));
    }
    let uri: Uri = format!("rtmfp://{address}/demo").parse().map_err(|e| Failure::local("address", e))?;
    let fingerprint = server.fingerprint.map(|fingerprint| fingerprint.to_string());
    thread::scope(|scope| {
        let receiving = scope.spawn(move || receive(&mut driver));
        let sent = send(&uri, fingerprint, total, trace);
        let received = receiving.join().map_err(|_| Failure::new(Code::Local, "the receiver failed"))?;
        sent?;
        let received = received?;
        if received.verified != FILES || received.failed != 0 || received.complete != 1 {
            return Err(Failure::new(Code::Files, "the receiver did not verify everything: run it again"));
        }
        say(format_args!("Verified: the receiver's SHA-256 of each file is the sender's. Both ends closed in order."));
        Ok(())
    })
}

fn receive(driver: &mut Driver) -> Result<Received, Failure> {
    let mut receiver = Receiver::new(Box::new(Nowhere), false, |_: ReceiverEvent<'_>| {});
    net::run(driver, &mut receiver, |_| {})?;
    Ok(receiver.received())
}

fn send(uri: &Uri, fingerprint: Option<String>, total: u64, trace: &mut TraceFile) -> Result<(), Failure> {
    let identity = Identity::new(&common(), Part::Client)?;
    let connect = Connect { fingerprint, pin: false, peer: String::new() };
    let destination = destination(&common(), &connect, uri, &identity)?;
    let files = (0..FILES).map(|index| generated(index, total)).collect();
    let (mut driver, session) = net::connect(uri, &destination, &identity, TIMEOUT, Some(trace))?;
    let clock = *driver.pump().clock();
    let begun = clock.now();
    let opened = Cell::new(None);
    let (bytes, told) = (Cell::new(0), Cell::new(0));
    let mut sender = Sender::new(session, files, usize::try_from(FILES).unwrap_or(1), |event| match event {
        SenderEvent::Opened { .. } => opened.set(Some(clock.now())),
        SenderEvent::Progress { bytes: more } => bytes.set(bytes.get() + more),
        SenderEvent::Begun { .. } | SenderEvent::Finished { .. } => {}
    });
    let (mut stats, mut introduced) = (None, false);
    net::run(&mut driver, &mut sender, |driver| {
        let Some(at) = opened.get() else { return };
        stats = driver.pump().endpoint().session(session).map(|session| session.stats()).or(stats);
        if !introduced {
            introduced = true;
            let took = at.saturating_duration_since(begun);
            introduce(took);
        }
        let step = bytes.get() * STEPS / total;
        if step > told.get() {
            told.set(step);
            let took = clock.now().saturating_duration_since(at);
            say(format_args!("  {:3} %  {}", step * 100 / STEPS, rate(bytes.get(), took)));
        }
    })?;
    let failure = sender.failure();
    let verified = sender.verified();
    drop(sender);
    if failure.is_some() || verified != FILES {
        let why = failure.map_or_else(|| "not all was verified".to_owned(), |failure| Chain(&failure).to_string());
        let message = format!("the transfer failed: {why} ({verified} of {FILES} files verified): run it again");
        return Err(Failure::new(Code::Lost, message));
    }
    let took = clock.now().saturating_duration_since(opened.get().unwrap_or(begun));
    say(format_args!("Moved {} MiB at {}.", total / MEBI, rate(total, took)));
    if let Some(stats) = stats {
        say(format_args!("{}", summary(&stats, &driver)));
    }
    Ok(())
}

/// Tells of the handshake.
fn introduce(took: Duration) {
    say(format_args!(
        "Session open after {}: fresh X25519 keys, signed by both ends with Ed25519;",
        milliseconds(took)
    ));
    say(format_args!("packets under AES-GCM or ChaCha20-Poly1305; the receiver's fingerprint is the pinned one."));
    say(format_args!("Sending {FILES} files as parallel flows:"));
}

fn summary(stats: &SessionStats, driver: &Driver) -> String {
    let srtt = stats.srtt.map_or_else(|| "not measured".to_owned(), milliseconds);
    let sends = driver.pump().stats().sends.max(1);
    format!(
        "Smoothed RTT {srtt} (in steps of 4 ms); {} packets in {sends} sends, {} fragments lost.",
        stats.packets_sent, stats.fragments_lost
    )
}

/// The defaults of the other commands.
fn common() -> Common {
    let profile = ProfileArgs {
        compatible: false,
        mona: false,
        profile: Some(Profile::Modern),
        hybrid: None,
        name: String::new(),
        hmac: None,
        sequence: None,
    };
    Common { json: false, verbose: false, password_file: None, timeout: TIMEOUT, trace: None, trace_limit: 0, profile }
}

fn say(line: impl Display) {
    output::line(&line.to_string());
}

/// Content that looks random and needs no disk.
#[derive(Debug)]
struct Generated {
    seed: u64,
    size: u64,
}

fn generated(index: u64, total: u64) -> Outgoing {
    let content = Box::new(Generated { seed: index + 1, size: total / FILES });
    Outgoing { name: format!("demo-{index}.bin"), content }
}

impl Content for Generated {
    fn open(&mut self) -> io::Result<(u64, Box<dyn Read + Send>)> {
        Ok((self.size, Box::new(Noise(self.seed).take(self.size))))
    }
}

/// xorshift64: quick, and no two blocks alike.
#[derive(Debug)]
struct Noise(u64);

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for chunk in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            for (byte, value) in chunk.iter_mut().zip(self.0.to_le_bytes()) {
                *byte = value;
            }
        }
        Ok(buffer.len())
    }
}

/// Stores nothing: the receiver has hashed the content by then.
#[derive(Debug)]
struct Nowhere;

impl Store for Nowhere {
    fn create(&mut self, _name: &str, _size: u64) -> Result<Box<dyn Incoming>, Verdict> {
        Ok(Box::new(Self))
    }
}

impl Incoming for Nowhere {
    fn write(&mut self, _content: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), Verdict> {
        Ok(())
    }
}
