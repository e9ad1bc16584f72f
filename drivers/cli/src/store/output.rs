//! One file to standard output.

use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, channel, sync_channel};
use std::thread;

use rtmfp_files::manifest::{EntryKind, Manifest};
use rtmfp_files::storage::{Content, Sink, StorageError, StorageFailure, Store};
use rtmfp_std::Waker;

use super::{failure, other};

/// Zeros that are written at once.
const ZEROS: usize = 64 << 10;
/// Parts of the content that wait to be written, beside the one that is. Who adds more waits.
const QUEUE: usize = 1;

/// Writes one file or text to a stream as it comes, each part of it verified.
///
/// A thread writes, as whoever reads may take any time.
pub struct StandardOutput {
    /// Until it is written to.
    to: Option<Box<dyn Write + Send>>,
    waker: Option<Waker>,
}

impl fmt::Debug for StandardOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandardOutput").field("begun", &self.to.is_none()).finish_non_exhaustive()
    }
}

impl Default for StandardOutput {
    fn default() -> Self {
        Self::new(standard_output())
    }
}

/// Standard output, without a lock that the thread would hold as long as nobody reads.
fn standard_output() -> Box<dyn Write + Send> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd as _;
        if let Ok(own) = io::stdout().as_fd().try_clone_to_owned() {
            return Box::new(std::fs::File::from(own));
        }
    }
    Box::new(io::stdout())
}

impl StandardOutput {
    /// Writes to any stream.
    #[must_use]
    pub fn new(to: Box<dyn Write + Send>) -> Self {
        Self { to: Some(to), waker: None }
    }

    /// Has this driver woken whenever something was written. Without, who adds content waits.
    #[must_use]
    pub fn waking(mut self, waker: Waker) -> Self {
        self.waker = Some(waker);
        self
    }
}

impl Store for StandardOutput {
    fn prepare(&mut self, manifest: &Manifest) -> Result<(), StorageError> {
        match &manifest.entries[..] {
            [entry] if matches!(entry.kind, EntryKind::File { .. } | EntryKind::Text { .. }) => Ok(()),
            _ => Err(StorageError {
                kind: StorageFailure::BadName,
                text: "standard output takes one file, and no more or else was offered".to_owned(),
            }),
        }
    }

    fn stored(&mut self, _: usize) -> Option<Box<dyn Content>> {
        None
    }

    fn create(&mut self, index: usize, from: u64) -> Result<Box<dyn Sink>, StorageError> {
        let to = self.to.take_if(|_| index == 0 && from == 0);
        let to = to.ok_or_else(|| other("standard output takes one file, once, from its beginning"))?;
        Ok(Box::new(Stream::new(to, self.waker.clone())?))
    }

    fn conclude(&mut self) -> Vec<(usize, StorageError)> {
        Vec::new()
    }
}

/// What is written next.
enum Part {
    Content(Vec<u8>),
    Zeros(u64),
}

impl Part {
    fn write(self, to: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Content(content) => to.write_all(&content)?,
            Self::Zeros(mut bytes) => {
                let zeros = vec![0; ZEROS];
                while bytes > 0 {
                    let now = usize::try_from(bytes).unwrap_or(ZEROS).min(ZEROS);
                    to.write_all(zeros.get(..now).unwrap_or_default())?;
                    bytes = bytes.saturating_sub(now as u64);
                }
            }
        }
        to.flush()
    }
}

/// What a thread writes. It is ready once all is written: then it can be ended, too.
struct Stream {
    parts: SyncSender<Part>,
    written: Receiver<io::Result<()>>,
    /// Parts of which nobody has heard that they are written.
    unwritten: usize,
    failed: Option<StorageError>,
    is_waking: bool,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("unwritten", &self.unwritten).finish_non_exhaustive()
    }
}

impl Stream {
    fn new(mut to: Box<dyn Write + Send>, waker: Option<Waker>) -> Result<Self, StorageError> {
        let (parts, queue) = sync_channel::<Part>(QUEUE);
        let (tell, written) = channel();
        let is_waking = waker.is_some();
        let write = move || {
            for part in queue {
                let told = part.write(&mut *to);
                let is_over = told.is_err();
                // Nobody listens any more if it is not taken.
                let _ = tell.send(told);
                if let Some(waker) = &waker {
                    waker.wake();
                }
                if is_over {
                    return;
                }
            }
        };
        // Nobody waits for it: whoever should read may never do.
        let thread = thread::Builder::new().name("rtmfp-output".to_owned());
        thread.spawn(write).map_err(|e| failure("standard output", &e))?;
        Ok(Self { parts, written, unwritten: 0, failed: None, is_waking })
    }

    fn take(&mut self, told: Result<io::Result<()>, RecvError>) {
        self.unwritten = self.unwritten.saturating_sub(1);
        let told = told.unwrap_or_else(|RecvError| Err(io::Error::other("writing has ended before the end")));
        if let Err(e) = told {
            self.failed.get_or_insert_with(|| failure("standard output", &e));
        }
    }

    fn look(&mut self) -> Result<(), StorageError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn add(&mut self, part: Part) -> Result<(), StorageError> {
        self.look()?;
        self.unwritten = self.unwritten.saturating_add(1);
        if self.parts.send(part).is_err() {
            // What the thread has said last tells why it is gone.
            self.wait();
        }
        self.look()
    }

    /// Waits until all is written, or nothing can be.
    fn wait(&mut self) {
        while self.unwritten > 0 && self.failed.is_none() {
            let told = self.written.recv();
            self.take(told);
        }
    }
}

impl Sink for Stream {
    fn is_ready(&mut self) -> bool {
        while self.unwritten > 0 && self.failed.is_none() {
            match self.written.try_recv() {
                Ok(told) => self.take(Ok(told)),
                Err(TryRecvError::Empty) => return !self.is_waking,
                Err(TryRecvError::Disconnected) => self.take(Err(RecvError)),
            }
        }
        true
    }

    fn write(&mut self, content: &[u8]) -> Result<(), StorageError> {
        self.add(Part::Content(content.to_vec()))
    }

    fn hole(&mut self, bytes: u64) -> Result<(), StorageError> {
        self.add(Part::Zeros(bytes))
    }

    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        self.wait();
        self.look()
    }
}
