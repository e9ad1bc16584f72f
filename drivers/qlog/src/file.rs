//! Writes a file on a thread of its own, so that a slow disk does not hold up packets.

use core::fmt;
use core::mem;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use rtmfp_core::{Instant, SessionHandle, Trace, TraceEvent};

use crate::event::{Header, write_event, write_header, write_lost};

/// Bytes that are handed over at once.
const BLOCK: usize = 64 << 10;
/// Blocks that may wait to be written.
const MAX_BLOCKS: usize = 64;
/// What a sink holds beside them when they are full. Events beyond are lost, and counted.
const MAX_HELD: usize = 4 * BLOCK;
/// Events that are older than this are handed over with the next, however few there are.
const MAX_AGE: Duration = Duration::from_millis(100);

/// What goes to the thread that writes.
enum Order {
    Write(Vec<u8>),
    End,
}

/// A file that is being written.
///
/// The file is complete after [`finish`](Self::finish), once the sink is dropped.
#[derive(Debug)]
pub struct QlogFile {
    orders: SyncSender<Order>,
    writer: JoinHandle<io::Result<()>>,
    max_bytes: u64,
    lost: Arc<Lost>,
}

/// Events that are not in the file.
#[derive(Debug, Default)]
struct Lost {
    /// They came faster than they could be written.
    slow: AtomicU64,
    /// The file had no room for them.
    beyond: AtomicU64,
}

/// Takes the events of one endpoint, for [`Endpoint::set_trace`](rtmfp_core::Endpoint::set_trace).
///
/// It never waits for the disk: what has no room is lost, and the file and [`QlogFile::finish`] say how much that is. When
/// it is dropped it hands over the rest, and then waits for room.
pub struct QlogSink {
    orders: SyncSender<Order>,
    held: Vec<u8>,
    /// The time of the first event in `held`.
    since: Option<Instant>,
    now: Instant,
    /// Bytes that were handed over before.
    handed: u64,
    max_bytes: u64,
    /// Whether the file has reached that: no more events are kept.
    full: bool,
    /// Events lost since the last one that was kept.
    lost_now: u64,
    lost: Arc<Lost>,
    /// The file cannot be written any more.
    broken: bool,
}

/// Why a file is not complete.
#[derive(Debug)]
pub enum QlogError {
    /// It could not be written to.
    Write(io::Error),
    /// So many events came faster than they could be written.
    Lost(u64),
    /// It reached its greatest size.
    Full {
        /// The greatest size.
        max_bytes: u64,
        /// Events that came later.
        lost: u64,
    },
}

impl fmt::Display for QlogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(_) => f.write_str("it could not be written"),
            Self::Lost(count) => write!(f, "{count} events came faster than they could be written"),
            Self::Full { max_bytes, lost } => {
                write!(f, "it reached its greatest size, {max_bytes} bytes, and {lost} later events are not in it")
            }
        }
    }
}

impl core::error::Error for QlogError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        if let Self::Write(error) = self { Some(error) } else { None }
    }
}

impl QlogFile {
    /// Creates a file, or replaces it, and writes the header. `failed` is called at once, on another thread, when the file
    /// cannot be written any more; later events are thrown away then.
    ///
    /// Events that would make the file larger than `max_bytes` are not written: strangers can cause any number of them. A
    /// record at the end says how many they are, and is beyond the limit itself.
    ///
    /// # Errors
    /// The file cannot be created, or the thread cannot be started.
    pub fn create(
        path: &Path,
        header: &Header<'_>,
        max_bytes: u64,
        failed: impl FnOnce(&io::Error) + Send + 'static,
    ) -> io::Result<(Self, QlogSink)> {
        Self::start(File::create(path)?, header, max_bytes, failed)
    }

    /// The same with anything that can be written to.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        mut out: impl Write + Send + 'static,
        header: &Header<'_>,
        max_bytes: u64,
        failed: impl FnOnce(&io::Error) + Send + 'static,
    ) -> io::Result<(Self, QlogSink)> {
        let (orders, waiting) = sync_channel(MAX_BLOCKS);
        let mut held = Vec::with_capacity(BLOCK);
        write_header(&mut held, header)?;
        let writer = thread::Builder::new().name("qlog".to_owned()).spawn(move || {
            let result = write_all(&mut out, waiting);
            if let Err(error) = &result {
                failed(error);
            }
            result
        })?;
        let lost = Arc::<Lost>::default();
        let sink = QlogSink {
            orders: orders.clone(),
            held,
            since: Some(Instant::ORIGIN),
            now: Instant::ORIGIN,
            handed: 0,
            max_bytes,
            full: false,
            lost_now: 0,
            lost: Arc::clone(&lost),
            broken: false,
        };
        Ok((Self { orders, writer, max_bytes, lost }, sink))
    }

    /// Waits until all is written that was handed over. Drop the endpoint or take the sink from it first: what it still
    /// holds is not in the file otherwise.
    ///
    /// # Errors
    /// The file is not complete.
    pub fn finish(self) -> Result<(), QlogError> {
        // The thread has ended already if the file cannot be written.
        let _ended = self.orders.send(Order::End);
        let panicked = |_| Err(io::Error::other("the thread that writes it panicked"));
        self.writer.join().unwrap_or_else(panicked).map_err(QlogError::Write)?;
        match (self.lost.beyond.load(Ordering::Relaxed), self.lost.slow.load(Ordering::Relaxed)) {
            (0, 0) => Ok(()),
            (0, lost) => Err(QlogError::Lost(lost)),
            (lost, _) => Err(QlogError::Full { max_bytes: self.max_bytes, lost }),
        }
    }
}

/// With an error the orders end: sinks see that.
#[expect(clippy::needless_pass_by_value, reason = "it ends here")]
fn write_all(out: &mut impl Write, orders: Receiver<Order>) -> io::Result<()> {
    while let Ok(Order::Write(block)) = orders.recv() {
        out.write_all(&block)?;
    }
    out.flush()
}

impl fmt::Debug for QlogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QlogSink").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl QlogSink {
    /// Hands over what is held, if there is room.
    fn hand_over(&mut self) {
        let len = self.held.len() as u64;
        match self.orders.try_send(Order::Write(mem::take(&mut self.held))) {
            Ok(()) => {
                self.held = Vec::with_capacity(BLOCK);
                self.since = None;
                self.handed += len;
            }
            Err(TrySendError::Full(Order::Write(held))) => self.held = held,
            Err(_) => self.broken = true,
        }
    }

    /// Says in the file that events are missing, where they are.
    fn tell_lost(&mut self) {
        let count = mem::take(&mut self.lost_now);
        if count > 0 {
            let lost = if self.full { &self.lost.beyond } else { &self.lost.slow };
            lost.fetch_add(count, Ordering::Relaxed);
            self.keep(|held, now| write_lost(held, now, count));
        }
    }

    /// Adds a record. A `Vec` takes everything, and numbers and strings always have a form in JSON.
    fn keep(&mut self, write: impl FnOnce(&mut Vec<u8>, Instant) -> io::Result<()>) {
        let before = self.held.len();
        if write(&mut self.held, self.now).is_err() {
            self.held.truncate(before);
            self.lost_now += 1;
        }
    }
}

impl Trace for QlogSink {
    fn event(&mut self, at: Instant, session: Option<SessionHandle>, event: &TraceEvent<'_>) {
        if self.broken {
            return;
        }
        self.now = at;
        if self.full {
            self.lost_now += 1;
            return;
        }
        if self.held.len() >= MAX_HELD {
            self.hand_over();
        }
        if self.held.len() >= MAX_HELD {
            self.lost_now += 1;
            return;
        }
        self.tell_lost();
        let since = *self.since.get_or_insert(at);
        let before = self.held.len();
        self.keep(|held, at| write_event(held, at, session, event));
        if self.handed + self.held.len() as u64 > self.max_bytes {
            self.held.truncate(before);
            self.full = true;
            self.lost_now += 1;
            self.hand_over();
            return;
        }
        if self.held.len() >= BLOCK || at.saturating_duration_since(since) >= MAX_AGE {
            self.hand_over();
        }
    }
}

impl Drop for QlogSink {
    fn drop(&mut self) {
        if !self.broken {
            self.tell_lost();
            // If nobody takes it, the file could not be written, which is reported.
            let _broken = self.orders.send(Order::Write(mem::take(&mut self.held)));
        }
    }
}

#[cfg(test)]
mod tests;
