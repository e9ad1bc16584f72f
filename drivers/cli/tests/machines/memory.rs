//! Files that are none.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use rtmfp_cli::transfer::store::{Content, Incoming, Outgoing, Store};
use rtmfp_cli::transfer::{Verdict, VerdictCode, name};

/// What is to go wrong, with the file of which name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Refused from the start.
    pub(crate) refuse: &'static str,
    /// The disk is full in the middle of it.
    pub(crate) full: &'static str,
    /// It cannot get its name.
    pub(crate) uncommitted: &'static str,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    faults: Faults,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    unfinished: usize,
}

impl Files {
    pub(crate) fn with(faults: Faults) -> Self {
        Self { faults, state: Arc::default() }
    }

    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.state.lock().unwrap().files.get(name).cloned()
    }

    pub(crate) fn count(&self) -> usize {
        self.state.lock().unwrap().files.len()
    }

    /// Files begun and neither committed nor dropped.
    pub(crate) fn unfinished(&self) -> usize {
        self.state.lock().unwrap().unfinished
    }
}

impl Store for Files {
    fn create(&mut self, name: &str, _size: u64) -> Result<Box<dyn Incoming>, Verdict> {
        name::check(name).map_err(|e| Verdict::new(VerdictCode::BadName, e.to_string()))?;
        if name == self.faults.refuse {
            return Err(Verdict::new(VerdictCode::Exists, "it is there"));
        }
        self.state.lock().unwrap().unfinished += 1;
        Ok(Box::new(Arriving { name: name.to_owned(), content: Vec::new(), files: self.clone() }))
    }
}

#[derive(Debug)]
struct Arriving {
    name: String,
    content: Vec<u8>,
    files: Files,
}

impl Incoming for Arriving {
    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        if self.name == self.files.faults.full && self.content.len() > 100_000 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.content.extend_from_slice(content);
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<(), Verdict> {
        if self.name == self.files.faults.uncommitted {
            return Err(Verdict::new(VerdictCode::Storage, "no"));
        }
        if self.files.content(&self.name).is_some() {
            return Err(Verdict::new(VerdictCode::Exists, "it is there"));
        }
        let content = core::mem::take(&mut self.content);
        self.files.state.lock().unwrap().files.insert(self.name.clone(), content);
        Ok(())
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.files.state.lock().unwrap().unfinished -= 1;
    }
}

/// What a file of this name and length holds.
pub(crate) fn content(name: &str, size: usize) -> Vec<u8> {
    let seed = name.bytes().fold(7_usize, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    (0..size).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 11).to_le_bytes()[0]).collect()
}

pub(crate) fn outgoing(name: &str, size: usize) -> Outgoing {
    of(name, size, content(name, size))
}

/// Says that it is one byte longer than it is.
pub(crate) fn shorter_than_it_says(name: &str, size: usize) -> Outgoing {
    of(name, size + 1, content(name, size))
}

fn of(name: &str, size: usize, content: Vec<u8>) -> Outgoing {
    Outgoing { name: name.to_owned(), content: Box::new(Held { size: size as u64, content }) }
}

#[derive(Debug)]
struct Held {
    size: u64,
    content: Vec<u8>,
}

impl Content for Held {
    fn open(&mut self) -> io::Result<(u64, Box<dyn Read + Send>)> {
        Ok((self.size, Box::new(io::Cursor::new(core::mem::take(&mut self.content)))))
    }
}

/// Cannot be opened.
pub(crate) fn failing(name: &str, error: io::ErrorKind) -> Outgoing {
    Outgoing { name: name.to_owned(), content: Box::new(Failing(error)) }
}

#[derive(Debug)]
struct Failing(io::ErrorKind);

impl Content for Failing {
    fn open(&mut self) -> io::Result<(u64, Box<dyn Read + Send>)> {
        Err(self.0.into())
    }
}
