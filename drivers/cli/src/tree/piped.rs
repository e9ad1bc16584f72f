//! Content that comes once, when it comes, as from a pipe.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use rtmfp_files::storage::{Content, StorageError, StorageFailure};
use rtmfp_std::Waker;

use super::content::{error, fill};

/// The most that is read at once: what a pipe of Linux holds.
const PIECE: usize = 64 << 10;
/// Pieces that are read before anybody wants them, and no more.
const AHEAD: usize = 3;

/// Content that has no known end. A thread reads it, as nobody knows when it comes.
pub(super) struct Piped {
    pieces: Receiver<io::Result<Vec<u8>>>,
    /// What has come and was not read.
    come: VecDeque<u8>,
    /// What comes after it, if nothing does.
    over: Option<Result<(), StorageError>>,
    name: &'static str,
    is_waking: bool,
}

impl Piped {
    /// Begins to read. The driver is woken whenever more has come; without one, who reads waits.
    pub(super) fn new(
        from: Box<dyn Read + Send>,
        name: &'static str,
        waker: Option<Waker>,
    ) -> Result<Self, StorageError> {
        let (sender, pieces) = sync_channel(AHEAD);
        let is_waking = waker.is_some();
        // Nobody waits for it: it may be reading for ever.
        thread::Builder::new()
            .name("rtmfp-pipe".to_owned())
            .spawn(move || read_all(from, &sender, waker.as_ref()))
            .map_err(|e| error(StorageFailure::Unreadable, name, &e))?;
        Ok(Self { pieces, come: VecDeque::new(), over: None, name, is_waking })
    }

    /// Takes what the thread has to give.
    fn take(&mut self, piece: io::Result<Vec<u8>>) {
        match piece {
            Ok(piece) if piece.is_empty() => self.over = Some(Ok(())),
            Ok(piece) => self.come.extend(piece),
            Err(e) => self.over = Some(Err(error(StorageFailure::Unreadable, self.name, &e))),
        }
    }

    /// Waits until so many bytes are there, or no more come.
    fn wait_for(&mut self, bytes: usize) {
        while self.over.is_none() && self.come.len() < bytes {
            let piece = self.pieces.recv();
            self.take(piece.unwrap_or_else(|_| Err(ended())));
        }
    }
}

/// What a thread that is gone has left unsaid.
fn ended() -> io::Error {
    io::Error::other("reading has ended before the end")
}

/// Reads to the end, or to an error. An empty piece is the end.
fn read_all(mut from: Box<dyn Read + Send>, to: &SyncSender<io::Result<Vec<u8>>>, waker: Option<&Waker>) {
    loop {
        let mut piece = vec![0; PIECE];
        let read = from.read(&mut piece);
        if read.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::Interrupted) {
            continue;
        }
        let is_last = !matches!(read, Ok(1..));
        let read = read.map(|read| {
            piece.truncate(read);
            piece
        });
        // Nobody wants it any more if it is not taken.
        let is_taken = to.send(read).is_ok();
        if let Some(waker) = waker {
            waker.wake();
        }
        if is_last || !is_taken {
            return;
        }
    }
}

impl fmt::Debug for Piped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piped").field("name", &self.name).field("come", &self.come.len()).finish_non_exhaustive()
    }
}

impl Content for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StorageError> {
        self.wait_for(buffer.len());
        if let Some(Err(e)) = &self.over
            && self.come.len() < buffer.len()
        {
            return Err(e.clone());
        }
        fill(&mut self.come, buffer).map_err(|e| error(StorageFailure::Unreadable, self.name, &e))
    }

    fn is_ready(&mut self, bytes: usize) -> bool {
        while self.over.is_none() && self.come.len() < bytes {
            match self.pieces.try_recv() {
                Ok(piece) => self.take(piece),
                Err(TryRecvError::Empty) => return !self.is_waking,
                Err(TryRecvError::Disconnected) => self.take(Err(ended())),
            }
        }
        true
    }

    fn skip(&mut self, mut bytes: u64) -> Result<(), StorageError> {
        let mut buffer = [0; 4096];
        while bytes > 0 {
            let now = usize::try_from(bytes).unwrap_or(buffer.len()).min(buffer.len());
            let read = self.read(buffer.get_mut(..now).unwrap_or_default())?;
            if read < now {
                break;
            }
            bytes = bytes.saturating_sub(read as u64);
        }
        Ok(())
    }

    fn is_unchanged(&mut self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Gives what it is told to, when it is.
    struct Told(Receiver<io::Result<Vec<u8>>>, Sender<()>);

    impl Read for Told {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let _ = self.1.send(());
            let Ok(bytes) = self.0.recv() else { return Ok(0) };
            let bytes = bytes?;
            buffer[..bytes.len()].copy_from_slice(&bytes);
            Ok(bytes.len())
        }
    }

    /// A pipe as with a driver, what is written to it, and how often it was asked for more.
    fn piped() -> (Piped, Sender<io::Result<Vec<u8>>>, Receiver<()>) {
        let ((write, told), (asks, asked)) = (channel(), channel());
        let mut piped = Piped::new(Box::new(Told(told, asks)), "it", None).unwrap();
        piped.is_waking = true;
        (piped, write, asked)
    }

    #[test]
    fn what_has_not_come_is_not_waited_for() {
        let (mut piped, write, asked) = piped();
        asked.recv().unwrap();
        assert!(!piped.is_ready(1));
        write.send(Ok(vec![1, 2])).unwrap();
        // It asks again once it has given this.
        asked.recv().unwrap();
        assert!(piped.is_ready(2) && !piped.is_ready(3));
        write.send(Ok(vec![3])).unwrap();
        asked.recv().unwrap();
        assert!(piped.is_ready(3) && !piped.is_ready(4));
        let mut two = [0; 2];
        assert_eq!((piped.read(&mut two).unwrap(), two), (2, [1, 2]));
        drop(write);
        // The end is waited for by who reads, and is ready from then on.
        assert_eq!((piped.read(&mut two).unwrap(), two[0]), (1, 3));
        assert!(piped.is_ready(1));
        assert_eq!(piped.read(&mut two).unwrap(), 0);
    }

    #[test]
    fn no_more_is_read_ahead_than_there_is_room_for() {
        let (piped, write, asked) = piped();
        for _ in 0..100 {
            write.send(Ok(vec![7; PIECE])).unwrap();
        }
        // One more waits for room, and none after it is asked for.
        (0..=AHEAD).for_each(|_| asked.recv().unwrap());
        assert!(asked.try_recv().is_err());
        // Who gives it up ends the thread, and that drops what it reads.
        drop(piped);
        assert!(asked.recv().is_err());
    }

    #[test]
    fn an_error_stays_one() {
        let (mut piped, write, _asked) = piped();
        write.send(Ok(vec![1])).unwrap();
        write.send(Err(io::Error::other("broken"))).unwrap();
        let mut two = [0; 2];
        assert!(piped.read(&mut two).unwrap_err().text.contains("broken"));
        assert!(piped.is_ready(2));
        assert!(piped.read(&mut two).is_err());
    }
}
