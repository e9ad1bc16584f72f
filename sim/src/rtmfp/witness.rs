//! What the node and the taps of one end tell each other, so that its conduct can be judged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use datagram_sim::Time;
use rtmfp_core::profile::SessionKeys;
use rtmfp_core::wire::{Chunk, PacketHeader};

use super::referee::{EndWatch, Referee};
use super::tap::{Tap, Tapper};

/// Sees the packets of a node in plain, and knows the node's clock.
#[derive(Clone, Debug)]
pub struct Witness(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: Box<str>,
    referee: Referee,
    /// Whether what comes is sound: from somebody who spoils packets, marks of any kind may come and be ignored.
    sound: bool,
    /// By the node's own clock. This and the next two are asked for with every packet, and need no lock.
    now: AtomicU64,
    /// [`Held`], as bits.
    held: AtomicU8,
    /// Whether anything was ever noted of an end.
    noted: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    ends: Vec<EndNotes>,
    /// When messages expire, by work and index.
    expiries: BTreeMap<(u32, u64), Time>,
}

/// What is known of one end of a session.
#[derive(Debug, Default)]
pub(super) struct EndNotes {
    nonce: Box<[u8]>,
    /// When new time critical data came.
    pub(super) got_critical: Option<Time>,
    /// When time critical data was sent.
    pub(super) sent_critical: Option<Time>,
    /// When a packet said that the far end gets such data from elsewhere.
    pub(super) asked_to_yield: Option<Time>,
}

/// What the datagram held that the node was given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    /// Something that was encrypted with the right keys.
    pub(super) opened: bool,
    /// A Ping Reply, or a keying with its cookie: what can prove the address that it comes from.
    pub(super) proves: bool,
    /// An Initiator Hello.
    pub(super) hello: bool,
}

impl Held {
    const fn bits(self) -> u8 {
        self.opened as u8 | (self.proves as u8) << 1 | (self.hello as u8) << 2
    }

    const fn of_bits(bits: u8) -> Self {
        Self { opened: bits & 1 != 0, proves: bits & 2 != 0, hello: bits & 4 != 0 }
    }
}

impl Witness {
    /// A witness of the node `name`, who reports to `referee`. `sound` tells that nobody spoils packets before they are
    /// encrypted.
    #[must_use]
    pub fn new(name: &str, referee: Referee, sound: bool) -> Self {
        Self(Arc::new(Inner {
            name: name.into(),
            referee,
            sound,
            now: AtomicU64::new(0),
            held: AtomicU8::new(0),
            noted: AtomicBool::new(false),
            seen: Mutex::default(),
        }))
    }

    pub(super) fn is_sound(&self) -> bool {
        self.0.sound
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn referee(&self) -> &Referee {
        &self.0.referee
    }

    pub(super) fn breach(&self, what: &str) {
        self.referee().breach(what);
    }

    fn seen<R>(&self, act: impl FnOnce(&mut Seen) -> R) -> R {
        act(&mut self.0.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The node acts; it is this time by its clock.
    pub(super) fn set_clock(&self, now: Time) {
        self.0.now.store(now.0, Ordering::Relaxed);
    }

    /// The node is given a datagram.
    pub(super) fn begin_datagram(&self) {
        self.0.held.store(0, Ordering::Relaxed);
    }

    /// What it held.
    pub(super) fn held(&self) -> Held {
        Held::of_bits(self.0.held.load(Ordering::Relaxed))
    }

    /// The clock of the node.
    pub(super) fn clock(&self) -> Time {
        Time(self.0.now.load(Ordering::Relaxed))
    }

    fn opened(&self, plain: &[u8]) {
        let Ok((_, chunks)) = PacketHeader::parse(plain) else { return };
        let mut held = Held::default();
        for chunk in chunks.flatten() {
            self.sees(&mut held, &chunk);
        }
        self.holds(held);
    }

    /// Adds what a chunk is to what the packet holds.
    pub(super) fn sees(&self, held: &mut Held, chunk: &Chunk<'_>) {
        if let Chunk::ForwardedHello(hello) = chunk {
            self.referee().introduce(hello.reply_address.socket);
        }
        held.proves |= matches!(chunk, Chunk::PingReply(_) | Chunk::InitiatorKeying(_));
        held.hello |= matches!(chunk, Chunk::InitiatorHello(_));
    }

    /// A packet of the datagram was opened, and held this.
    pub(super) fn holds(&self, held: Held) {
        self.0.held.fetch_or(Held { opened: true, ..held }.bits(), Ordering::Relaxed);
    }

    /// A number for another end of a session, which has this nonce.
    pub(super) fn new_end(&self, nonce: &[u8]) -> usize {
        self.seen(|seen| {
            seen.ends.push(EndNotes { nonce: nonce.into(), ..EndNotes::default() });
            seen.ends.len() - 1
        })
    }

    /// Changes what is known of an end, at the time of the node's clock.
    pub(super) fn note(&self, end: usize, note: impl FnOnce(&mut EndNotes, Time)) {
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

    /// When the end with this nonce was last asked to make way, and sent time critical data itself.
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

impl Tapper for Witness {
    fn session(&self, keys: &dyn SessionKeys) -> Box<dyn Tap> {
        Box::new(EndWatch::new(self.clone(), keys.near_nonce()))
    }
    fn startup(&self) -> Option<Box<dyn Tap>> {
        Some(Box::new(Startup(self.clone())))
    }
}

#[derive(Debug)]
struct Startup(Witness);

impl Tap for Startup {
    fn opened(&mut self, plain: &[u8]) {
        self.0.opened(plain);
    }
}
