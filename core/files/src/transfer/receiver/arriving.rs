//! Files on their way in.

use alloc::boxed::Box;
use alloc::string::String;

use rtmfp_core::{Endpoint, Instant, RecvFlowHandle};

use super::super::{MAX_HOLE, SMALL};
use super::{Duration, Fault, MAX_WAITING, Mark, OfContent, Receiver, State, TransferEvent, Verdict, VerdictCode};
use crate::storage::{Sink, StorageError, StorageFailure};
use crate::tree::{GROUP, HASH, Hash, Tree, hash};

/// A group that is a hole.
static ZEROS: [u8; GROUP] = [0; GROUP];

/// What a content flow is at.
#[derive(Debug, Default)]
pub(super) enum Slot {
    /// Between files.
    #[default]
    None,
    /// The rest of this file counts for nothing.
    Skipping(usize),
    Storing(Arriving),
    /// All of a file is there, with this hash, and its store is not ready.
    Committing {
        index: usize,
        sink: Box<dyn Sink>,
        root: Hash,
    },
}

impl Slot {
    /// Whether what comes next can be stored without waiting.
    fn is_ready(&mut self) -> bool {
        match self {
            Self::None | Self::Skipping(_) => true,
            Self::Storing(arriving) => arriving.sink.is_ready(),
            Self::Committing { sink, .. } => sink.is_ready(),
        }
    }
}

/// A file that is being stored.
#[derive(Debug)]
pub(super) struct Arriving {
    index: usize,
    /// As the manifest says.
    size: Option<u64>,
    sink: Box<dyn Sink>,
    tree: Tree,
}

/// Why content was not stored.
enum Unstored {
    Fault(Fault),
    Storage(StorageError),
}

impl From<Fault> for Unstored {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Arriving {
    /// Whether so much more content may come.
    fn expects(&self, bytes: u64) -> Result<(), Fault> {
        let sum = self.tree.bytes().saturating_add(bytes);
        let most = self.size.unwrap_or(crate::manifest::MAX_SIZE);
        if !self.tree.is_aligned() {
            return Err(Fault::OutOfPlace);
        }
        if sum > most { Err(Fault::TooMuch) } else { Ok(()) }
    }

    /// Checks content, and stores it.
    fn add(&mut self, content: &[u8], values: &[u8]) -> Result<(), Unstored> {
        self.expects(content.len() as u64)?;
        for (group, value) in content.chunks(GROUP).zip(values.chunks(HASH)) {
            if self.tree.add(group) != *value {
                return Err(Fault::WrongGroup.into());
            }
        }
        self.sink.write(content).map_err(Unstored::Storage)
    }

    fn hole(&mut self, groups: u64) -> Result<u64, Unstored> {
        if groups == 0 || groups > MAX_HOLE {
            return Err(Fault::Malformed.into());
        }
        let bytes = groups * GROUP as u64;
        self.expects(bytes)?;
        (0..groups).for_each(|_| {
            self.tree.add(&ZEROS);
        });
        self.sink.hole(bytes).map_err(Unstored::Storage)?;
        Ok(bytes)
    }
}

impl Receiver {
    /// Reads a content flow as far as there is anything, once content is wanted.
    pub(super) fn read_content(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        while self.state == State::Receiving {
            if self.answers.as_ref().is_some_and(|answers| answers.waiting() > MAX_WAITING) {
                // FlowWritable tells when to go on.
                return;
            }
            if self.turn == 0 {
                self.due = Some(now + Duration::from_micros(1));
                return;
            }
            let Some(slot) = self.lanes.get_mut(&flow) else { return };
            if !slot.is_ready() {
                self.is_blocked = true;
                return;
            }
            let taken = match core::mem::take(slot) {
                Slot::Committing { index, sink, root } => self.commit(index, sink, root),
                slot @ (Slot::None | Slot::Skipping(_) | Slot::Storing(_)) => {
                    let message = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read());
                    let Some(message) = message else {
                        self.lanes.insert(flow, slot);
                        return;
                    };
                    // Nothing is ever abandoned by a sender: a gap is a fault too.
                    let parsed = OfContent::parse(&message.data).ok().filter(|_| !message.gap);
                    let parsed = parsed.ok_or(Unstored::Fault(Fault::Malformed));
                    parsed.and_then(|message| self.take_content(slot, message))
                }
            };
            match taken {
                Ok(slot) => {
                    self.lanes.insert(flow, slot);
                }
                Err(Unstored::Fault(fault)) => self.fault(now, endpoint, fault),
                Err(Unstored::Storage(error)) => self.fail_to_store(now, endpoint, error),
            }
        }
    }

    fn take_content(&mut self, slot: Slot, message: OfContent<'_>) -> Result<Slot, Unstored> {
        match (message, slot) {
            (OfContent::File { index, from, unasked }, Slot::None | Slot::Skipping(_)) => {
                self.begin(index, from, unasked)
            }
            (OfContent::Whole { index, content, unasked }, Slot::None | Slot::Skipping(_)) => {
                self.whole(index, content, unasked)
            }
            (OfContent::Unreadable { index, text, unasked }, slot) => self.unreadable(index, text, unasked, slot),
            (OfContent::Data { content, values }, Slot::Storing(mut arriving)) => {
                let added = arriving.add(content, values).map(|()| content.len() as u64);
                self.added(arriving, added)
            }
            (OfContent::Hole { groups }, Slot::Storing(mut arriving)) => {
                let added = arriving.hole(groups);
                self.added(arriving, added)
            }
            (OfContent::End { size, root }, Slot::Storing(arriving)) => self.finish(arriving, size, root),
            // What was under way when the verdict reached the sender, or came unasked and is not wanted.
            (OfContent::Data { .. } | OfContent::Hole { .. } | OfContent::End { .. }, Slot::Skipping(index)) => {
                Ok(Slot::Skipping(index))
            }
            (
                OfContent::File { .. }
                | OfContent::Whole { .. }
                | OfContent::Data { .. }
                | OfContent::Hole { .. }
                | OfContent::End { .. },
                _,
            ) => Err(Fault::OutOfPlace.into()),
        }
    }

    /// Notes that a file begins. `None` if it came unasked, and counts for nothing.
    fn note(&mut self, index: u64, unasked: bool) -> Result<Option<usize>, Fault> {
        let is_first = !core::mem::replace(&mut self.begun, true);
        let index = usize::try_from(index).map_err(|_| Fault::NoSuchFile)?;
        let mark = self.marks.get_mut(index).ok_or(Fault::NoSuchFile)?;
        if unasked {
            if !is_first || *mark == Mark::NoContent {
                return Err(Fault::OutOfPlace);
            }
            if *mark == Mark::Refused || self.prefixes.contains_key(&index) {
                return Ok(None);
            }
        }
        match mark {
            Mark::Wanted => {
                *mark = Mark::Begun;
                Ok(Some(index))
            }
            Mark::NoContent | Mark::Refused => Err(Fault::NoSuchFile),
            Mark::Begun | Mark::Judged => Err(Fault::Twice),
        }
    }

    fn begin(&mut self, index: u64, from: u64, unasked: bool) -> Result<Slot, Unstored> {
        let Some(index) = self.note(index, unasked)? else { return Ok(Slot::Skipping(skipped(index))) };
        let prefix = self.prefixes.remove(&index);
        let tree = if from == 0 { Some(Tree::default()) } else { prefix.filter(|tree| tree.bytes() == from) };
        let tree = tree.ok_or(Fault::NoSuchPrefix)?;
        match self.create(index, from) {
            Ok(sink) => {
                self.events.push(TransferEvent::Begun { index, from });
                let size = self.manifest.entries.get(index).and_then(|entry| entry.size());
                Ok(Slot::Storing(Arriving { index, size, sink, tree }))
            }
            Err(error) => self.unstored(index, error),
        }
    }

    fn create(&mut self, index: usize, from: u64) -> Result<Box<dyn Sink>, StorageError> {
        match &mut self.store {
            Some(store) => store.create(index, from),
            None => Err(StorageError { kind: StorageFailure::Other, text: String::new() }),
        }
    }

    /// A small file.
    fn whole(&mut self, index: u64, content: Option<(Hash, &[u8])>, unasked: bool) -> Result<Slot, Unstored> {
        let Some(index) = self.note(index, unasked)? else { return Ok(Slot::Skipping(skipped(index))) };
        self.prefixes.remove(&index);
        let Some((root, content)) = content else {
            return Ok(self.judge(index, Verdict::of(VerdictCode::Changed), None));
        };
        let length = content.len() as u64;
        let size = self.manifest.entries.get(index).and_then(|entry| entry.size());
        match size.filter(|size| *size <= SMALL) {
            Some(size) if length < size => return Err(Fault::TooLittle.into()),
            Some(size) if length == size => {}
            _ => return Err(Fault::TooMuch.into()),
        }
        if hash(content) != root {
            return Ok(self.judge(index, Verdict::of(VerdictCode::Mismatch), None));
        }
        let stored = self.create(index, 0).and_then(|mut sink| {
            if !content.is_empty() {
                sink.write(content)?;
            }
            Ok(sink)
        });
        match stored {
            Ok(sink) => {
                self.events.push(TransferEvent::Progress { bytes: length });
                self.commit(index, sink, root)
            }
            Err(error) => self.unstored(index, error),
        }
    }

    fn added(&mut self, arriving: Arriving, added: Result<u64, Unstored>) -> Result<Slot, Unstored> {
        match added {
            Ok(bytes) => {
                self.turn = self.turn.saturating_sub(bytes);
                self.events.push(TransferEvent::Progress { bytes });
                Ok(Slot::Storing(arriving))
            }
            Err(Unstored::Storage(error)) => self.unstored(arriving.index, error),
            Err(fault @ Unstored::Fault(_)) => Err(fault),
        }
    }

    fn finish(&mut self, arriving: Arriving, size: u64, root: Option<Hash>) -> Result<Slot, Unstored> {
        let Arriving { index, size: said, sink, tree } = arriving;
        if tree.bytes() != size {
            return Err(Fault::TooLittle.into());
        }
        let Some(root) = root else { return Ok(self.judge(index, Verdict::of(VerdictCode::Changed), None)) };
        if said.is_some_and(|said| said != size) {
            return Err(Fault::TooLittle.into());
        }
        if tree.root() != root {
            return Ok(self.judge(index, Verdict::of(VerdictCode::Mismatch), None));
        }
        self.commit(index, sink, root)
    }

    /// Puts a file in its place, now or when its store is ready.
    fn commit(&mut self, index: usize, mut sink: Box<dyn Sink>, root: Hash) -> Result<Slot, Unstored> {
        if !sink.is_ready() {
            return Ok(Slot::Committing { index, sink, root });
        }
        match sink.commit() {
            Ok(()) => Ok(self.judge(index, Verdict::of(VerdictCode::Verified), Some(root))),
            Err(error) => self.unstored(index, error),
        }
    }

    fn unreadable(&mut self, index: u64, text: String, unasked: bool, slot: Slot) -> Result<Slot, Unstored> {
        let file = match slot {
            Slot::Storing(arriving) if arriving.index as u64 == index => arriving.index,
            Slot::Storing(_) | Slot::Committing { .. } => return Err(Fault::OutOfPlace.into()),
            // What came of it unasked counted for nothing: it is still to come.
            Slot::Skipping(skipped)
                if skipped as u64 == index && (unasked || self.marks.get(skipped) != Some(&Mark::Wanted)) =>
            {
                return Ok(Slot::None);
            }
            Slot::None | Slot::Skipping(_) => match self.note(index, unasked)? {
                Some(index) => index,
                None => return Ok(Slot::None),
            },
        };
        Ok(self.judge(file, Verdict { code: VerdictCode::Unreadable, text }, None))
    }

    /// A file could not be stored. If that is for want of room, no other can.
    fn unstored(&mut self, index: usize, error: StorageError) -> Result<Slot, Unstored> {
        let is_full = error.kind == StorageFailure::Full;
        let slot = self.judge(index, Verdict::storage(error.clone()), None);
        if is_full { Err(Unstored::Storage(error)) } else { Ok(slot) }
    }

    fn judge(&mut self, index: usize, verdict: Verdict, hash: Option<Hash>) -> Slot {
        if let Some(mark) = self.marks.get_mut(index) {
            *mark = Mark::Judged;
            self.open = self.open.saturating_sub(1);
        }
        self.summary.count(verdict.is_verified());
        self.record(index, verdict, hash);
        Slot::Skipping(index)
    }
}

fn skipped(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
