//! Key agreements on a thread of their own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SendError, Sender, TryRecvError, channel};
use std::{fmt, io, thread};

use rtmfp_core::{Endpoint, Instant, KeyAgreement, KeyAgreementResult};

/// Jobs that the thread has at once: the one it is at, and another for when that is done. The rest stays with the
/// endpoint, which puts its own before those of peers and forgets what nobody waits for any more.
const AT_ONCE: usize = 2;

/// A thread that computes key agreements one after the other. It ends when this is dropped, after the one that it is at.
pub(crate) struct KeyAgreementThread {
    jobs: Sender<KeyAgreement>,
    done: Receiver<KeyAgreementResult>,
    /// Jobs that the thread has.
    out: usize,
}

impl KeyAgreementThread {
    /// `wake` is called after each.
    pub(crate) fn start(wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (jobs, todo) = channel::<KeyAgreement>();
        let (results, done) = channel();
        thread::Builder::new().name("rtmfp-keys".to_owned()).spawn(move || {
            for job in todo {
                // A profile must not panic, but a peer that finds out how to make it must not stop all others. Nothing is
                // left of the job but what it returns.
                let abandoned = job.abandoned();
                let result = catch_unwind(AssertUnwindSafe(|| job.run())).unwrap_or(abandoned);
                if results.send(result).is_err() {
                    return;
                }
                wake();
            }
        })?;
        Ok(Self { jobs, done, out: 0 })
    }

    /// Gives the endpoint what is done. False: the thread has ended, and what it had is lost.
    #[must_use]
    pub(crate) fn collect(&mut self, now: Instant, endpoint: &mut Endpoint) -> bool {
        loop {
            match self.done.try_recv() {
                Ok(result) => {
                    self.out -= 1;
                    endpoint.handle_key_agreement(now, result);
                }
                Err(ended) => return ended == TryRecvError::Empty,
            }
        }
    }

    /// Takes what the endpoint offloads, as far as the thread has time for it. Each job that is done leads here again.
    /// Gives a job back if the thread has ended.
    pub(crate) fn take(&mut self, endpoint: &mut Endpoint) -> Option<KeyAgreement> {
        while self.out < AT_ONCE
            && let Some(job) = endpoint.poll_key_agreement()
        {
            if let Err(SendError(job)) = self.jobs.send(job) {
                return Some(job);
            }
            self.out += 1;
        }
        None
    }
}

impl fmt::Debug for KeyAgreementThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyAgreementThread").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use rtmfp_core::EndpointConfig;
    use rtmfp_core::Role;
    use rtmfp_core::profile::plain::PlainProfile;
    use rtmfp_core::profile::{CryptoProfile, Initiation, KeyingError, PreparedKey, Response, SessionKeys};
    use rtmfp_core::rand_core::CryptoRng;

    use super::*;

    /// Panics when it is to make its first key, and counts what it was asked for.
    #[derive(Debug)]
    struct Faulty(PlainProfile, Arc<AtomicUsize>);

    impl CryptoProfile for Faulty {
        fn certificate(&self) -> &[u8] {
            self.0.certificate()
        }
        fn is_authentic(&self, certificate: &[u8]) -> bool {
            self.0.is_authentic(certificate)
        }
        fn accepts(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
            self.0.accepts(discriminator, certificate)
        }
        fn selects(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
            self.0.selects(discriminator, certificate)
        }
        fn canonical_discriminator(&self, certificate: &[u8]) -> Vec<u8> {
            self.0.canonical_discriminator(certificate)
        }
        fn sign(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]]) -> Vec<u8> {
            self.0.sign(signer, far_certificate, message)
        }
        fn verify(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]], signature: &[u8]) -> bool {
            self.0.verify(signer, far_certificate, message, signature)
        }
        fn prevails(&self, far_certificate: &[u8]) -> bool {
            self.0.prevails(far_certificate)
        }
        fn overrides(&self, new: &[u8], existing: &[u8]) -> bool {
            self.0.overrides(new, existing)
        }
        fn default_keys(&self) -> Box<dyn SessionKeys> {
            self.0.default_keys()
        }
        fn prepare(&self, _rng: &mut dyn CryptoRng) -> Option<PreparedKey> {
            assert!(self.1.fetch_add(1, Ordering::SeqCst) > 0, "as a faulty profile would");
            None
        }
        fn initiate(
            &self,
            far_certificate: &[u8],
            prepared: Option<PreparedKey>,
            rng: &mut dyn CryptoRng,
        ) -> Result<Initiation, KeyingError> {
            self.0.initiate(far_certificate, prepared, rng)
        }
        fn respond(
            &self,
            far_certificate: &[u8],
            component: &[u8],
            prepared: Option<PreparedKey>,
            rng: &mut dyn CryptoRng,
        ) -> Result<Response, KeyingError> {
            self.0.respond(far_certificate, component, prepared, rng)
        }
    }

    /// With three keys to make, which are jobs at once.
    fn endpoint() -> (Endpoint, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let (profile, rng) = (Faulty(PlainProfile::new(b"near"), Arc::clone(&asked)), crate::system_rng().unwrap());
        let mut config = EndpointConfig::default();
        (config.max_waiting_key_agreements, config.max_prepared_keys) = (1, 3);
        let mut endpoint = Endpoint::new(config, Arc::new(profile), rng, Instant::ORIGIN).unwrap();
        endpoint.offload_key_agreements();
        (endpoint, asked)
    }

    #[test]
    fn a_thread_that_has_ended_is_seen_and_takes_nothing() {
        let (mut endpoint, _) = endpoint();
        let mut key_agreements = KeyAgreementThread::start(|| {}).unwrap();
        assert!(key_agreements.collect(Instant::ORIGIN, &mut endpoint));
        (key_agreements.done, key_agreements.jobs) = (channel().1, channel().0);
        assert!(!key_agreements.collect(Instant::ORIGIN, &mut endpoint));
        assert!(key_agreements.take(&mut endpoint).is_some());
        assert_eq!(core::iter::from_fn(|| endpoint.poll_key_agreement()).count(), 2, "one was taken, and given back");
    }

    /// It ended the thread, and the next would have ended the program.
    #[test]
    fn a_job_that_panics_takes_nothing_with_it() {
        let (mut endpoint, asked) = endpoint();
        let (woken, wakes) = sync_channel(10);
        let mut key_agreements = KeyAgreementThread::start(move || woken.send(()).unwrap()).unwrap();
        assert!(key_agreements.take(&mut endpoint).is_none());
        for done in 1..=AT_ONCE {
            wakes.recv_timeout(Duration::from_secs(60)).unwrap();
            assert!(key_agreements.collect(Instant::ORIGIN, &mut endpoint), "after {done}");
        }
        assert_eq!((key_agreements.out, asked.load(Ordering::SeqCst)), (0, AT_ONCE), "the next was computed");
        assert_eq!(endpoint.stats().unexpected, 0, "the endpoint was told of the one that was lost");
        assert!(endpoint.poll_key_agreement().is_none(), "and has no more of them");
    }
}
