//! One file on its way out, message by message.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use rtmfp_core::Bytes;

use crate::storage::{Content, Source, StorageError};
use crate::transfer::message::{DATA_START, Have, OfContent, data_buffer};
use crate::transfer::{MAX_HOLE, PIECE, SMALL};
use crate::tree::{Digest, GROUP, Hash, Tree, hash};

/// A group that is a hole.
static ZEROS: [u8; GROUP] = [0; GROUP];

/// A file that is being sent.
#[derive(Debug)]
pub(super) struct Sending {
    index: usize,
    /// As the manifest says.
    size: Option<u64>,
    unasked: bool,
    tree: Tree,
    content: Option<Box<dyn Content>>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// What the receiver has is compared with what is here.
    Checking {
        have: Have,
        digest: Digest,
    },
    /// The beginning is told next.
    Begin,
    Content,
    /// All has been read.
    End,
}

/// What comes next of a file.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing in this turn.
    Later,
    /// Nothing before the receiver has accepted.
    Paused,
    /// Nothing before the content is ready.
    NotReady,
    /// So many bytes were hashed.
    Hashed(u64),
    /// The file begins after so many bytes.
    Begin(u64, Bytes),
    /// So many bytes of content.
    Content(u64, Bytes),
    /// The last message, with the hash if the file was read to its end and has not changed.
    Last { bytes: u64, hash: Option<Hash>, message: Bytes },
}

impl Sending {
    pub(super) fn new(index: usize, size: Option<u64>, have: Option<Have>, unasked: bool) -> Self {
        let stage = have.map_or(Stage::Begin, |have| Stage::Checking { have, digest: Digest::default() });
        Self { index, size, unasked, tree: Tree::default(), content: None, stage }
    }

    pub(super) const fn index(&self) -> usize {
        self.index
    }

    /// The receiver has accepted the file: it goes on.
    pub(super) const fn accepted(&mut self) {
        self.unasked = false;
    }

    /// What comes next, with at most `piece` bytes of content: whole groups.
    pub(super) fn step(&mut self, source: &mut dyn Source, piece: usize, turn: &mut u64) -> Step {
        match self.try_step(source, piece, turn) {
            Ok(step) => step,
            Err(error) => {
                let message =
                    OfContent::Unreadable { index: self.index as u64, text: error.text, unasked: self.unasked };
                Step::Last { bytes: 0, hash: None, message: message.to_bytes().into() }
            }
        }
    }

    fn try_step(&mut self, source: &mut dyn Source, piece: usize, turn: &mut u64) -> Result<Step, StorageError> {
        let content = match &mut self.content {
            Some(content) => content,
            None => self.content.insert(source.open(self.index)?),
        };
        match &mut self.stage {
            Stage::Checking { .. } => self.check(turn),
            Stage::Begin => match self.size.filter(|size| *size <= SMALL.min(piece as u64) && self.tree.bytes() == 0) {
                Some(size) => whole(self.index, self.unasked, size, &mut **content),
                None => {
                    self.stage = Stage::Content;
                    let from = self.tree.bytes();
                    let message = OfContent::File { index: self.index as u64, from, unasked: self.unasked };
                    Ok(Step::Begin(from, message.to_bytes().into()))
                }
            },
            Stage::Content if self.unasked && self.tree.bytes() >= PIECE as u64 => Ok(Step::Paused),
            Stage::Content => self.read(piece, turn),
            Stage::End => self.end(),
        }
    }

    /// Hashes some more of what the receiver has.
    fn check(&mut self, turn: &mut u64) -> Result<Step, StorageError> {
        let (Stage::Checking { have, digest }, Some(content)) = (&mut self.stage, &mut self.content) else {
            return Ok(Step::Later);
        };
        let left = have.bytes.saturating_sub(self.tree.bytes());
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        if !content.is_ready(wanted) {
            return Ok(Step::NotReady);
        }
        let mut buffer = vec![0; wanted];
        let read = content.read(&mut buffer)?;
        for group in buffer.get(..read).unwrap_or_default().chunks(GROUP) {
            digest.add(&self.tree.add(group));
        }
        *turn = turn.saturating_sub(read as u64);
        let is_shorter = read < wanted;
        if is_shorter || self.tree.bytes() >= have.bytes {
            if is_shorter || digest.value() != have.digest {
                // From the beginning: it is opened again.
                (self.content, self.tree) = (None, Tree::default());
            }
            self.stage = Stage::Begin;
        }
        Ok(Step::Hashed(read as u64))
    }

    /// The next content, or what comes in its place.
    fn read(&mut self, piece: usize, turn: &mut u64) -> Result<Step, StorageError> {
        let Some(content) = &mut self.content else { return Ok(Step::Later) };
        let left = self.size.map_or(u64::MAX, |size| size.saturating_sub(self.tree.bytes()));
        // Up to the end, or to where somebody else knows what is there.
        let groups = if self.unasked { 0 } else { (content.hole().min(left) / GROUP as u64).min(MAX_HOLE) };
        if groups > 0 && self.tree.is_aligned() {
            let bytes = groups * GROUP as u64;
            content.skip(bytes)?;
            (0..groups).for_each(|_| {
                self.tree.add(&ZEROS);
            });
            *turn = turn.saturating_sub(bytes);
            return Ok(Step::Content(bytes, OfContent::Hole { groups }.to_bytes().into()));
        }
        // One byte more than there should be tells whether the file has grown.
        // A short message is whole at the receiver after few round trips of a new session.
        let piece = if self.unasked { GROUP } else { piece };
        let mut wanted = usize::try_from(left.saturating_add(1)).unwrap_or(piece).min(piece);
        if !content.is_ready(wanted) {
            // What comes slowly goes out group by group.
            wanted = wanted.min(GROUP);
            if !content.is_ready(wanted) {
                return Ok(Step::NotReady);
            }
        }
        let mut buffer = data_buffer(wanted);
        let read = content.read(buffer.get_mut(DATA_START..).unwrap_or_default())?;
        if read < wanted || read as u64 > left {
            self.stage = Stage::End;
        }
        if read == 0 || read as u64 > left {
            // If it has grown the size is wrong, too.
            self.size = if read == 0 { self.size } else { Some(u64::MAX) };
            return self.end();
        }
        buffer.truncate(DATA_START + read);
        for start in (DATA_START..DATA_START + read).step_by(GROUP) {
            let end = buffer.len().min(start + GROUP).min(DATA_START + read);
            let value = self.tree.add(buffer.get(start..end).unwrap_or_default());
            buffer.extend_from_slice(&value);
        }
        Ok(Step::Content(read as u64, buffer.into()))
    }

    fn end(&mut self) -> Result<Step, StorageError> {
        let size = self.tree.bytes();
        let is_unchanged = self.content.as_mut().is_some_and(|content| content.is_unchanged());
        let root = (is_unchanged && self.size.is_none_or(|said| said == size)).then(|| self.tree.root());
        Ok(Step::Last { bytes: 0, hash: root, message: OfContent::End { size, root }.to_bytes().into() })
    }
}

/// A small file in one message.
fn whole(index: usize, unasked: bool, size: u64, content: &mut dyn Content) -> Result<Step, StorageError> {
    let wanted = usize::try_from(size).unwrap_or(PIECE) + 1;
    if !content.is_ready(wanted) {
        return Ok(Step::NotReady);
    }
    let mut buffer: Vec<u8> = vec![0; wanted];
    let read = content.read(&mut buffer)?;
    let is_unchanged = read as u64 == size && content.is_unchanged();
    let content = buffer.get(..read).filter(|_| is_unchanged).map(|content| (hash(content), content));
    let message = OfContent::Whole { index: index as u64, content, unasked };
    let (hash, bytes) = content.map_or((None, 0), |(hash, content)| (Some(hash), content.len() as u64));
    Ok(Step::Last { bytes, hash, message: message.to_bytes().into() })
}
