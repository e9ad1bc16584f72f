//! A disk in memory, for tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

extern crate std;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::Mutex;

use crate::manifest::{Entry, EntryKind, Manifest};
use crate::storage::{Content, Sink, Source, StorageError, StorageFailure, Store};

/// A file to send.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    /// Whether its holes are told.
    pub(super) sparse: bool,
    pub(super) changes: bool,
    /// Reading fails here.
    pub(super) broken_at: Option<usize>,
    /// How much of it has come, if not all.
    pub(super) come: Option<Arc<Mutex<usize>>>,
}

/// Files by their index.
#[derive(Clone, Debug, Default)]
pub(super) struct MemorySource {
    pub(super) files: BTreeMap<usize, File>,
    /// Bytes that were read.
    pub(super) read: Arc<Mutex<u64>>,
}

#[derive(Debug)]
struct Reading {
    file: File,
    at: usize,
    read: Arc<Mutex<u64>>,
}

pub(super) fn failure(kind: StorageFailure) -> StorageError {
    StorageError { kind, text: "in a test".into() }
}

impl Source for MemorySource {
    fn open(&mut self, index: usize) -> Result<Box<dyn Content>, StorageError> {
        let file = self.files.get(&index).cloned().ok_or_else(|| failure(StorageFailure::Unreadable))?;
        Ok(Box::new(Reading { file, at: 0, read: Arc::clone(&self.read) }))
    }
}

impl Content for Reading {
    fn is_ready(&mut self, bytes: usize) -> bool {
        let come = self.file.come.as_ref().map_or(usize::MAX, |come| *come.lock().unwrap());
        come >= self.file.content.len().min(self.at + bytes)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StorageError> {
        let left = self.file.content.get(self.at..).unwrap();
        let length = left.len().min(buffer.len());
        if self.file.broken_at.is_some_and(|broken| broken < self.at + length) {
            return Err(failure(StorageFailure::Unreadable));
        }
        buffer.get_mut(..length).unwrap().copy_from_slice(left.get(..length).unwrap());
        self.at += length;
        *self.read.lock().unwrap() += length as u64;
        Ok(length)
    }

    fn hole(&mut self) -> u64 {
        let left = self.file.content.get(self.at..).unwrap();
        if self.file.sparse { left.iter().take_while(|byte| **byte == 0).count() as u64 } else { 0 }
    }

    fn skip(&mut self, bytes: u64) -> Result<(), StorageError> {
        self.at += usize::try_from(bytes).unwrap();
        Ok(())
    }

    fn is_unchanged(&mut self) -> bool {
        !self.file.changes
    }
}

/// What a store holds: it outlives transfers.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Beginnings of files.
    pub(super) partial: BTreeMap<usize, Vec<u8>>,
    pub(super) committed: BTreeMap<usize, Vec<u8>>,
    /// Entries that are refused.
    pub(super) refused: BTreeMap<usize, StorageFailure>,
    /// Files that cannot be created.
    pub(super) bad: BTreeMap<usize, StorageFailure>,
    /// What goes wrong at the end.
    pub(super) late: BTreeSet<usize>,
    /// Room that is left.
    pub(super) room: Option<u64>,
    /// Bytes of a file beyond which it is not ready for more.
    pub(super) ready_until: Option<usize>,
    pub(super) holes: u64,
    /// Bytes that were written, in all transfers.
    pub(super) written: u64,
    pub(super) concluded: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct MemoryStore(pub(super) Arc<Mutex<Held>>);

#[derive(Debug)]
struct Writing {
    held: Arc<Mutex<Held>>,
    index: usize,
}

impl Store for MemoryStore {
    fn refused(&mut self, _manifest: &Manifest) -> Vec<(usize, StorageError)> {
        self.0.lock().unwrap().refused.iter().map(|(index, kind)| (*index, failure(*kind))).collect()
    }

    fn prepare(&mut self, _manifest: &Manifest) -> Result<(), StorageError> {
        if self.0.lock().unwrap().room == Some(0) { Err(failure(StorageFailure::Full)) } else { Ok(()) }
    }

    fn stored(&mut self, index: usize) -> Option<Box<dyn Content>> {
        let held = self.0.lock().unwrap();
        let content = held.partial.get(&index).or_else(|| held.committed.get(&index))?.clone();
        let file = File { content, ..File::default() };
        Some(Box::new(Reading { file, at: 0, read: Arc::default() }))
    }

    fn create(&mut self, index: usize, from: u64) -> Result<Box<dyn Sink>, StorageError> {
        let mut held = self.0.lock().unwrap();
        if let Some(kind) = held.bad.get(&index) {
            return Err(failure(*kind));
        }
        if let Some(content) = held.committed.remove(&index) {
            held.partial.insert(index, content);
        }
        held.partial.entry(index).or_default().truncate(usize::try_from(from).unwrap());
        Ok(Box::new(Writing { held: Arc::clone(&self.0), index }))
    }

    fn conclude(&mut self) -> Vec<(usize, StorageError)> {
        let mut held = self.0.lock().unwrap();
        held.concluded = true;
        held.late.iter().map(|index| (*index, failure(StorageFailure::Other))).collect()
    }
}

impl Sink for Writing {
    fn is_ready(&mut self) -> bool {
        let held = self.held.lock().unwrap();
        let length = held.partial.get(&self.index).map_or(0, Vec::len);
        held.ready_until.is_none_or(|until| length < until)
    }

    fn write(&mut self, content: &[u8]) -> Result<(), StorageError> {
        let mut held = self.held.lock().unwrap();
        if let Some(room) = &mut held.room {
            *room = room.checked_sub(content.len() as u64).ok_or_else(|| failure(StorageFailure::Full))?;
        }
        held.written += content.len() as u64;
        held.partial.entry(self.index).or_default().extend_from_slice(content);
        Ok(())
    }

    fn hole(&mut self, bytes: u64) -> Result<(), StorageError> {
        let mut held = self.held.lock().unwrap();
        held.holes += bytes;
        let partial = held.partial.entry(self.index).or_default();
        partial.resize(partial.len() + usize::try_from(bytes).unwrap(), 0);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        let mut held = self.held.lock().unwrap();
        let content = held.partial.remove(&self.index).unwrap_or_default();
        held.committed.insert(self.index, content);
        Ok(())
    }
}

pub(super) fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry { path: String::from(path), kind, mode: Some(0o644), modified: None }
}

/// Content in which no two groups are the same.
pub(super) fn content(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at ^ at >> 8 ^ at >> 15).to_le_bytes().first().unwrap().wrapping_add(seed)).collect()
}

/// Files of these contents, with the lengths told.
pub(super) fn files(contents: &[Vec<u8>]) -> (Manifest, MemorySource) {
    let mut source = MemorySource::default();
    let mut manifest = Manifest::default();
    for (index, content) in contents.iter().enumerate() {
        let size = Some(content.len() as u64);
        manifest.entries.push(entry(&alloc::format!("file {index}"), EntryKind::File { size }));
        source.files.insert(index, File { content: content.clone(), ..File::default() });
    }
    (manifest, source)
}
