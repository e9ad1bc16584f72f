//! What is in the store from an earlier attempt, hashed again before the offer is accepted.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::super::PIECE;
use super::super::message::{Have, Record, Records, Refused};
use super::{BATCH, FromReceiver, Mark, Receiver, State, TransferEvent, VerdictCode};
use crate::storage::Content;
use crate::tree::{Digest, GROUP, Tree};

/// What one look into the store counts for, in bytes that are hashed.
const LOOK: u64 = 1_024;

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Scan {
    next: usize,
    current: Option<Found>,
    refused: BTreeMap<usize, VerdictCode>,
    records: Vec<u8>,
}

/// A file of which something is there.
#[derive(Debug)]
struct Found {
    index: usize,
    size: u64,
    content: Box<dyn Content>,
    tree: Tree,
    digest: Digest,
}

impl Scan {
    pub(super) fn refuse(&mut self, index: usize, code: VerdictCode) {
        self.refused.insert(index, code);
    }

    /// The ranges that are refused for one reason each.
    fn refusals(&mut self) -> Vec<Refused> {
        let mut ranges: Vec<Refused> = Vec::new();
        for (index, code) in core::mem::take(&mut self.refused) {
            let index = index as u64;
            match ranges.last_mut() {
                Some(last) if last.first + last.count == index && last.code == code => last.count += 1,
                _ => ranges.push(Refused { first: index, count: 1, code }),
            }
        }
        ranges
    }
}

impl Found {
    /// Hashes some more. Gives how much, and whether that was all. What cannot be read is not there.
    fn read(&mut self) -> (u64, bool) {
        let wanted = usize::try_from(self.size.saturating_sub(self.tree.bytes())).unwrap_or(PIECE).min(PIECE);
        let mut buffer = vec![0; wanted];
        let read = self.content.read(&mut buffer).unwrap_or(0);
        let is_whole = self.tree.bytes() + read as u64 == self.size;
        // Of a file that is not whole only whole groups count.
        let counted = if is_whole { read } else { read - read % GROUP };
        for group in buffer.get(..counted).unwrap_or_default().chunks(GROUP) {
            self.digest.add(&self.tree.add(group));
        }
        (read as u64, is_whole || read < wanted)
    }
}

impl Receiver {
    /// Goes on until it is through, and accepts then; false if it has to go on later.
    pub(super) fn scan_on(&mut self) -> bool {
        while self.turn > 0 {
            if let Some(found) = &mut self.scan.current {
                let (bytes, is_over) = found.read();
                self.turn = self.turn.saturating_sub(bytes);
                self.events.push(TransferEvent::Hashing { bytes });
                if is_over {
                    self.found();
                }
                continue;
            }
            let index = self.scan.next;
            let Some(entry) = self.manifest.entries.get(index) else {
                self.say_accepted();
                return true;
            };
            self.scan.next += 1;
            if self.marks.get(index) != Some(&Mark::Wanted) {
                continue;
            }
            self.turn = self.turn.saturating_sub(LOOK);
            // What a pipe has given it does not give again, so that its beginning is of no use.
            let Some(size) = entry.size().filter(|size| *size > 0) else { continue };
            let stored = self.store.as_mut().and_then(|store| store.stored(index));
            let begin = |content| Found { index, size, content, tree: Tree::default(), digest: Digest::default() };
            self.scan.current = stored.map(begin);
        }
        false
    }

    fn found(&mut self) {
        let Some(found) = self.scan.current.take().filter(|found| found.tree.bytes() > 0) else { return };
        let (index, bytes) = (found.index as u64, found.tree.bytes());
        Have { index, bytes, digest: found.digest.value() }.encode(&mut self.scan.records);
        self.prefixes.insert(found.index, found.tree);
        if self.scan.records.len() > BATCH {
            self.say_have();
        }
    }

    fn say_have(&mut self) {
        let records = core::mem::take(&mut self.scan.records);
        if let Some(answers) = self.answers.as_mut().filter(|_| !records.is_empty()) {
            answers.push(FromReceiver::Have(Records::new(&records)).to_bytes());
        }
    }

    fn say_accepted(&mut self) {
        self.say_have();
        let mut records = Vec::new();
        let refusals = self.scan.refusals();
        let Some(answers) = &mut self.answers else { return };
        let mut refused = refusals.iter().peekable();
        while let Some(range) = refused.next() {
            range.encode(&mut records);
            if records.len() > BATCH || refused.peek().is_none() {
                answers.push(FromReceiver::Refuse(Records::new(&core::mem::take(&mut records))).to_bytes());
            }
        }
        answers.push(FromReceiver::Accept.to_bytes());
        self.state = State::Receiving;
        self.events.push(TransferEvent::Accepted);
    }
}
