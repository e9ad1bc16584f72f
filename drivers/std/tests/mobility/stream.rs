//! A stream of numbered messages over a session, and for how long nothing of it arrives.

use core::time::Duration;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;

use rtmfp_core::{FlowOptions, Instant};
use rtmfp_std::{Clock, Session};

/// Longer than this nothing may come while the network works: far more than it takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(2);
/// Nothing comes for so long: it is an outage.
const OUTAGE: Duration = Duration::from_millis(400);
const MESSAGE: usize = 1_000;

/// A stream of numbered messages over a session, some every millisecond, and when they arrive.
pub(crate) struct Stream {
    arrivals: Receiver<Instant>,
    stop: Sender<()>,
    threads: Vec<thread::JoinHandle<u64>>,
}

impl Stream {
    pub(crate) fn start(clock: Clock, from: &Session, to: &Session) -> Self {
        let flow = from.open_flow(FlowOptions::new("numbers"));
        let (stop, stopped) = channel();
        let sender = thread::spawn(move || {
            let mut number = 0;
            while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                for _ in 0..4 {
                    let mut message = vec![0; MESSAGE];
                    message[..8].copy_from_slice(&u64::to_be_bytes(number));
                    flow.send(message).unwrap();
                    number += 1;
                }
            }
            flow.finish().unwrap();
            number
        });
        let (arrived, arrivals) = channel();
        let to = to.clone();
        let receiver = thread::spawn(move || {
            let flow = to.accept_flow().unwrap();
            let mut number = 0;
            while let Some(message) = flow.recv().unwrap() {
                assert_eq!(message.data[..8], u64::to_be_bytes(number), "none is lost, and all are in order");
                number += 1;
                arrived.send(clock.now()).unwrap();
            }
            number
        });
        Self { arrivals, stop, threads: vec![sender, receiver] }
    }

    pub(crate) fn skip(&self, count: usize) {
        for _ in 0..count {
            self.arrivals.recv_timeout(LIMIT).unwrap();
        }
    }

    /// Waits until nothing has come for a while.
    pub(crate) fn wait_for_outage(&self) {
        while self.arrivals.recv_timeout(OUTAGE).is_ok() {}
    }

    /// How long nothing came after `since`, at most, within the time in which an outage would show.
    pub(crate) fn stall_since(&self, since: Instant) -> Duration {
        let (mut stall, mut last) = (Duration::ZERO, since);
        while last < since + OUTAGE {
            let at = self.arrivals.recv_timeout(LIMIT).unwrap();
            if at > last {
                stall = stall.max(at.saturating_duration_since(last));
                last = at;
            }
        }
        stall
    }

    /// All that was sent has arrived, and both ends agree on that.
    pub(crate) fn end(self) {
        self.stop.send(()).unwrap();
        let counts: Vec<u64> = self.threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(counts[0] > 0 && counts[0] == counts[1], "{counts:?}");
    }
}
