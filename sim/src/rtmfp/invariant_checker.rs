//! Checks one node's invariants. The node and the taps of its sessions share what they see.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use datagram_sim::Time;
use rtmfp_core::profile::SessionKeys;
use rtmfp_core::wire::{Chunk, PacketHeader};

use super::session_checker::SessionChecker;
use super::tap::{ProfileTap, ProfileTapFactory};
use super::violation_log::ViolationLog;

/// Checks the invariants of a node: sees its packets in plain, and knows its clock. Clones share their state.
#[derive(Clone, Debug)]
pub struct InvariantChecker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: Box<str>,
    violations: ViolationLog,
    /// Whether all peers send well-formed packets. A mark in a malformed packet may be ignored.
    well_formed: bool,
    /// By the node's own clock. This and the next two are asked for with every packet, and need no lock.
    now: AtomicU64,
    /// [`Contents`], as bits.
    contents: AtomicU8,
    /// Whether anything was ever noted of an end.
    noted: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    ends: Vec<SessionNotes>,
    /// When messages expire, by work and index.
    expiries: BTreeMap<(u32, u64), Time>,
}

/// What is known of one end of a session.
#[derive(Debug, Default)]
pub(super) struct SessionNotes {
    nonce: Box<[u8]>,
    /// When new time critical data came.
    pub(super) got_critical: Option<Time>,
    /// When time critical data was sent.
    pub(super) sent_critical: Option<Time>,
    /// When a packet said that the far end gets such data from elsewhere.
    pub(super) asked_to_yield: Option<Time>,
}

/// What the datagram that the node handles contains.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Contents {
    /// Something that was encrypted with the right keys.
    pub(super) opened: bool,
    /// A Ping Reply, or a keying with its cookie: what can prove the address that it comes from.
    pub(super) proves: bool,
    /// An Initiator Hello.
    pub(super) hello: bool,
}

impl Contents {
    const fn bits(self) -> u8 {
        self.opened as u8 | (self.proves as u8) << 1 | (self.hello as u8) << 2
    }

    const fn of_bits(bits: u8) -> Self {
        Self { opened: bits & 1 != 0, proves: bits & 2 != 0, hello: bits & 4 != 0 }
    }
}

impl InvariantChecker {
    /// A checker of the node `name`, which reports to `violations`. `well_formed` says that all its peers send
    /// well-formed packets.
    #[must_use]
    pub fn new(name: &str, violations: ViolationLog, well_formed: bool) -> Self {
        Self(Arc::new(Inner {
            name: name.into(),
            violations,
            well_formed,
            now: AtomicU64::new(0),
            contents: AtomicU8::new(0),
            noted: AtomicBool::new(false),
            seen: Mutex::default(),
        }))
    }

    pub(super) fn peers_well_formed(&self) -> bool {
        self.0.well_formed
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn violations(&self) -> &ViolationLog {
        &self.0.violations
    }

    pub(super) fn report_violation(&self, what: &str) {
        self.violations().report(what);
    }

    fn seen<R>(&self, act: impl FnOnce(&mut Seen) -> R) -> R {
        act(&mut self.0.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Sets the node's clock, before the node acts.
    pub(super) fn set_clock(&self, now: Time) {
        self.0.now.store(now.0, Ordering::Relaxed);
    }

    /// Forgets the contents of the last datagram, before the node handles another.
    pub(super) fn begin_datagram(&self) {
        self.0.contents.store(0, Ordering::Relaxed);
    }

    /// What the packets of this datagram contained.
    pub(super) fn contents(&self) -> Contents {
        Contents::of_bits(self.0.contents.load(Ordering::Relaxed))
    }

    /// The clock of the node.
    pub(super) fn clock(&self) -> Time {
        Time(self.0.now.load(Ordering::Relaxed))
    }

    fn opened(&self, plain: &[u8]) {
        let Ok((_, chunks)) = PacketHeader::parse(plain) else { return };
        let mut contents = Contents::default();
        for chunk in chunks.flatten() {
            self.classify(&mut contents, &chunk);
        }
        self.add_contents(contents);
    }

    /// Adds a chunk to the contents of its packet.
    pub(super) fn classify(&self, contents: &mut Contents, chunk: &Chunk<'_>) {
        if let Chunk::ForwardedHello(hello) = chunk {
            self.violations().introduce(hello.reply_address.socket);
        }
        contents.proves |= matches!(chunk, Chunk::PingReply(_) | Chunk::InitiatorKeying(_));
        contents.hello |= matches!(chunk, Chunk::InitiatorHello(_));
    }

    /// Adds the contents of a packet that was opened.
    pub(super) fn add_contents(&self, contents: Contents) {
        self.0.contents.fetch_or(Contents { opened: true, ..contents }.bits(), Ordering::Relaxed);
    }

    /// A number for another end of a session, which has this nonce.
    pub(super) fn new_end(&self, nonce: &[u8]) -> usize {
        self.seen(|seen| {
            seen.ends.push(SessionNotes { nonce: nonce.into(), ..SessionNotes::default() });
            seen.ends.len() - 1
        })
    }

    /// Changes what is known of an end, at the time of the node's clock.
    pub(super) fn note(&self, end: usize, note: impl FnOnce(&mut SessionNotes, Time)) {
        self.0.noted.store(true, Ordering::Relaxed);
        let now = self.clock();
        self.seen(|seen| {
            if let Some(end) = seen.ends.get_mut(end) {
                note(end, now);
            }
        });
    }

    /// When one of the other ends last got time critical data, if ever.
    pub(super) fn time_critical_elsewhere(&self, end: usize) -> Option<Time> {
        if !self.0.noted.load(Ordering::Relaxed) {
            return None;
        }
        self.seen(|seen| {
            let others = seen.ends.iter().enumerate().filter(|&(other, _)| other != end);
            others.filter_map(|(_, other)| other.got_critical).max()
        })
    }

    /// When the end with this nonce was last asked to yield, and sent time critical data itself.
    pub(super) fn notices(&self, nonce: &[u8]) -> (Option<Time>, Option<Time>) {
        if !self.0.noted.load(Ordering::Relaxed) {
            return (None, None);
        }
        self.seen(|seen| {
            let end = seen.ends.iter().rev().find(|end| *end.nonce == *nonce);
            end.map_or((None, None), |end| (end.asked_to_yield, end.sent_critical))
        })
    }

    /// A message of a work expires then, by the node's clock.
    pub fn expires(&self, work: u32, index: u64, at: Time) {
        self.seen(|seen| seen.expiries.insert((work, index), at));
    }

    pub(super) fn expiry(&self, work: u32, index: u64) -> Option<Time> {
        self.seen(|seen| seen.expiries.get(&(work, index)).copied())
    }
}

impl ProfileTapFactory for InvariantChecker {
    fn session(&self, keys: &dyn SessionKeys) -> Box<dyn ProfileTap> {
        Box::new(SessionChecker::new(self.clone(), keys.near_nonce()))
    }
    fn startup(&self) -> Option<Box<dyn ProfileTap>> {
        Some(Box::new(Startup(self.clone())))
    }
}

#[derive(Debug)]
struct Startup(InvariantChecker);

impl ProfileTap for Startup {
    fn opened(&mut self, plain: &[u8]) {
        self.0.opened(plain);
    }
}
