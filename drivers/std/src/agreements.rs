//! Key agreements on a thread of their own.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::{fmt, io, thread};

use rtmfp_core::{Endpoint, Instant, KeyAgreed, KeyAgreement};

/// Jobs that the thread has at once: the one it is at, and another for when that is done. The rest stays with the
/// endpoint, which puts its own before those of peers and forgets what nobody waits for any more.
const AT_ONCE: usize = 2;

/// A thread that computes key agreements one after the other. It ends when this is dropped, after the one that it is at.
pub(crate) struct Agreements {
    jobs: Sender<KeyAgreement>,
    done: Receiver<KeyAgreed>,
    /// Jobs that the thread has.
    out: usize,
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
        Ok(Self { jobs, done, out: 0 })
    }

    /// Gives the endpoint what is done. False: the thread has ended, as it does if a job panics, and what it had is lost:
    /// whoever asked for that asks again.
    #[must_use]
    pub(crate) fn collect(&mut self, now: Instant, endpoint: &mut Endpoint) -> bool {
        loop {
            match self.done.try_recv() {
                Ok(agreed) => {
                    self.out -= 1;
                    endpoint.handle_key_agreed(now, agreed);
                }
                Err(ended) => return ended == TryRecvError::Empty,
            }
        }
    }

    /// Takes what the endpoint hands out, as far as the thread has time for it. Each job that is done leads here again.
    pub(crate) fn take(&mut self, endpoint: &mut Endpoint) {
        while self.out < AT_ONCE
            && let Some(job) = endpoint.poll_key_agreement()
        {
            // A job that is lost is repeated by whoever asked for it; that the thread has ended is seen in `collect`.
            self.out += usize::from(self.jobs.send(job).is_ok());
        }
    }
}

impl fmt::Debug for Agreements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreements").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rtmfp_core::EndpointConfig;
    use rtmfp_core::profile::flash::FlashProfile;

    use super::*;

    #[test]
    fn a_thread_that_has_ended_is_seen() {
        let mut rng = crate::system_rng().unwrap();
        let profile = FlashProfile::builder().build(&mut *rng).unwrap();
        let mut endpoint = Endpoint::new(EndpointConfig::default(), Arc::new(profile), rng, Instant::ORIGIN).unwrap();
        let mut agreements = Agreements::start(|| {}).unwrap();
        assert!(agreements.collect(Instant::ORIGIN, &mut endpoint));
        // As if a job had panicked there, with another waiting.
        (agreements.done, agreements.out) = (channel().1, AT_ONCE);
        assert!(!agreements.collect(Instant::ORIGIN, &mut endpoint));
    }
}
