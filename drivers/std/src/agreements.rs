//! Key agreements on a thread of their own.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::{fmt, io, thread};

use rtmfp_core::{Endpoint, Instant, KeyAgreed, KeyAgreement};

/// A thread that computes key agreements one after the other. It ends when this is dropped, after the one that it is at.
pub(crate) struct Agreements {
    jobs: Sender<KeyAgreement>,
    done: Receiver<KeyAgreed>,
}

impl Agreements {
    /// `wake` is called after each.
    pub(crate) fn start(wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (jobs, todo) = channel::<KeyAgreement>();
        let (results, done) = channel();
        thread::Builder::new().name("rtmfp-keys".to_owned()).spawn(move || {
            for job in todo {
                if results.send(job.run()).is_err() {
                    return;
                }
                wake();
            }
        })?;
        Ok(Self { jobs, done })
    }

    /// Gives the endpoint what is done.
    pub(crate) fn collect(&self, now: Instant, endpoint: &mut Endpoint) {
        while let Ok(agreed) = self.done.try_recv() {
            endpoint.handle_key_agreed(now, agreed);
        }
    }

    /// Takes what the endpoint hands out. The endpoint limits how many there are.
    pub(crate) fn take(&self, endpoint: &mut Endpoint) {
        while let Some(job) = endpoint.poll_key_agreement() {
            // The thread ends only with this. A job that is lost is repeated by whoever asked for it.
            let _ = self.jobs.send(job);
        }
    }
}

impl fmt::Debug for Agreements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreements").finish_non_exhaustive()
    }
}
