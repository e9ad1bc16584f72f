//! What a session tells of itself and its far end, and what can be asked of it.

use core::fmt;
use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::sync::Arc;

use rtmfp_core::profile::flash::Fingerprint;
use rtmfp_core::wire::Address;
use rtmfp_core::{Bytes, Path, SessionStats};
use rtmfp_meet::PathKind;

use super::{Asked, Session, SessionEvents};
use crate::endpoint::shared::{Command, CoreCommand, Question, SessionCommand, lock};
use crate::endpoint::wakers::Waiter;
use crate::endpoint::{Error, block_on};

/// The two secrets of a session that both ends know, and nobody else (RFC 7016 §3.5). A redirector may ask for them when an
/// endpoint registers with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Nonces {
    /// This end's, which the far end knows as its far nonce.
    pub near: Bytes,
    /// The far end's.
    pub far: Bytes,
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").finish_non_exhaustive()
    }
}

impl Session {
    /// Where its packets go, once it is open.
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        lock(&self.0.shared().0).path
    }

    /// What kind of path it has, for endpoints that have [joined](crate::EndpointHandle::join) a server: as
    /// [`SessionEvent::PathKind`](super::SessionEvent::PathKind) told it last.
    #[must_use]
    pub fn path_kind(&self) -> Option<PathKind> {
        let updates = Arc::clone(&lock(&self.0.shared().0).updates);
        lock(&updates.0).path_kind()
    }

    /// The far end's address, once it is open. Of a relayed path that is one which stands for the circuit.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        Some(self.path()?.remote)
    }

    /// The address of this end that its packets leave by, once it is open: as far as the system tells, or else what the
    /// socket is bound to.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        let path = self.path()?;
        let bound = self.0.endpoint().locals.get(path.interface)?;
        Some(path.local.map_or(bound, |ip| SocketAddr::new(ip, bound.port())))
    }

    /// Who the far end says it is, once it is open: its canonical endpoint discriminator, which for the Flash profile
    /// holds its fingerprint (RFC 7425 §4.4.4). Anybody can say so: [`peer_id`](Self::peer_id) is what is proved.
    #[must_use]
    pub fn far_discriminator(&self) -> Vec<u8> {
        lock(&self.0.shared().0).far_discriminator.clone()
    }

    /// The far end's certificate in the profile's syntax, once it is open. It is a claim, as
    /// [`far_discriminator`](Self::far_discriminator) is.
    #[must_use]
    pub fn far_certificate(&self) -> Bytes {
        lock(&self.0.shared().0).far_certificate.clone()
    }

    /// Whether its keys also depend on a key agreement that no quantum computer is known to break. Those of the modern
    /// profile's [hybrid](rtmfp_core::profile::modern::Hybrid) do. False while it opens.
    #[must_use]
    pub fn is_post_quantum(&self) -> bool {
        lock(&self.0.shared().0).is_post_quantum
    }

    /// Who the far end is: its peer ID, shown as 64 hexadecimal digits. With the Flash profile that is the fingerprint of
    /// its certificate (RFC 7425 §4.3.2).
    ///
    /// `None` until the far end has shown that it has the session's keys; [`far_keys_proved`](Self::far_keys_proved)
    /// waits for that. `None` for good if it has a Flash certificate without static keys: anybody could show a copy. So
    /// too with profiles that are not known here.
    #[must_use]
    pub fn peer_id(&self) -> Option<Fingerprint> {
        lock(&self.0.shared().0).peer_id
    }

    /// Waits until the far end has shown that it has the session's keys, and pings it for that. It does so with its first
    /// packet.
    ///
    /// In a session without HMAC there is no such proof for the end that began it, and this waits for the session's end.
    ///
    /// # Errors
    /// Why it did not open, or was closed.
    pub fn far_keys_proved(&self) -> Result<(), Error> {
        self.opened()?;
        self.begin_proof();
        block_on(|context, waiter| self.poll_far_keys_proved(context, waiter))
    }

    /// The ping of [`far_keys_proved`](Self::far_keys_proved), without waiting. Nothing is sent before the session is open.
    pub fn begin_proof(&self) {
        self.command(CoreCommand::Prove);
    }

    /// [`far_keys_proved`](Self::far_keys_proved), polled, after [`begin_proof`](Self::begin_proof).
    pub fn poll_far_keys_proved(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<(), Error>> {
        let mut state = lock(&self.0.shared().0);
        match state.end {
            Some(end) => Poll::Ready(Err(end)),
            None if state.far_keys_proved => Poll::Ready(Ok(())),
            None => {
                state.wakers.add(context, waiter);
                Poll::Pending
            }
        }
    }

    /// This end's secret, which the far end knows as its [`far_nonce`](Self::far_nonce). Empty if the session's keys have
    /// none, or while it opens; `None` some time after it has ended.
    #[must_use]
    pub fn near_nonce(&self) -> Option<Bytes> {
        Some(self.nonces()?.near)
    }

    /// The far end's secret: see [`near_nonce`](Self::near_nonce).
    #[must_use]
    pub fn far_nonce(&self) -> Option<Bytes> {
        Some(self.nonces()?.far)
    }

    fn nonces(&self) -> Option<Nonces> {
        let asked = self.ask_nonces();
        block_on(|context, waiter| asked.poll(context, waiter))
    }

    /// [`near_nonce`](Self::near_nonce) and [`far_nonce`](Self::far_nonce), polled: asks once.
    #[must_use]
    pub fn ask_nonces(&self) -> Asked<Nonces> {
        self.ask(CoreCommand::Nonces)
    }

    /// Counters and measurements, as they are when the endpoint answers. `None` some time after the session has ended.
    #[must_use]
    pub fn stats(&self) -> Option<SessionStats> {
        let asked = self.ask_stats();
        block_on(|context, waiter| asked.poll(context, waiter))
    }

    /// [`stats`](Self::stats), polled: asks once.
    #[must_use]
    pub fn ask_stats(&self) -> Asked<SessionStats> {
        self.ask(CoreCommand::Stats)
    }

    /// Bytes of user data a second that an encoder is to be set to, once the round trip is measured: as
    /// [`SessionEvent::TargetRate`] told it last.
    ///
    /// [`SessionEvent::TargetRate`]: super::SessionEvent::TargetRate
    #[must_use]
    pub fn target_rate(&self) -> Option<u64> {
        let updates = Arc::clone(&lock(&self.0.shared().0).updates);
        lock(&updates.0).target_rate()
    }

    /// Whether the network has lost or marked packets of this end within about a second.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        let updates = Arc::clone(&lock(&self.0.shared().0).updates);
        lock(&updates.0).is_congested()
    }

    /// What happens to the session from now on. Each reader gets everything, and sees its end last. One that does not
    /// read keeps nothing: of each kind only the last change is told. It is no handle of the session: that is closed with
    /// its last [`Session`] or flow all the same.
    #[must_use]
    pub fn events(&self) -> SessionEvents {
        SessionEvents::new(self.0.shared(), self.0.endpoint())
    }

    /// Pings the far end now (RFC 7016 §3.5.4.1), unless a ping is unanswered. If nothing answers for the configured
    /// [`retransmit_limit`](rtmfp_core::SessionConfig::retransmit_limit), the session ends.
    pub fn ping(&self) {
        self.command(CoreCommand::Ping);
    }

    /// Sets further addresses at which the far end can be reached, as it told them, for introductions
    /// (RFC 7016 §3.5.1.6). The address that its packets come from is always told. At most 23 are kept.
    pub fn introduce_at(&self, addresses: &[Address]) {
        self.command(CoreCommand::IntroduceAt(addresses.to_vec()));
    }

    /// Sends no more than so many bytes of user data a second from now on, in place of
    /// [`SessionConfig::max_rate`](rtmfp_core::SessionConfig::max_rate). `None`: as fast as the congestion controller allows.
    pub fn set_max_rate(&self, rate: Option<u64>) {
        self.command(CoreCommand::MaxRate(rate));
    }

    /// Names an address of somebody who can introduce this end to the far end again, should both lose sight of each other
    /// (RFC 7016 §3.5.1.6). Those who did so when the session was opened are known already; four are kept.
    ///
    /// # Errors
    /// [`AddressFamily`](Error::AddressFamily) if the endpoint has no socket of the address's family.
    pub fn add_introducer(&self, address: SocketAddr) -> Result<(), Error> {
        let path = self.0.endpoint().path_to(address).ok_or(Error::AddressFamily)?;
        self.command(CoreCommand::AddIntroducer(path));
        Ok(())
    }

    fn ask<T>(&self, command: impl FnOnce(Question<T>) -> CoreCommand) -> Asked<T> {
        let session = Arc::clone(self.0.shared());
        let command = |question| Command::Session(session, SessionCommand::Core(command(question)));
        Asked::new(self.0.endpoint(), command)
    }

    fn command(&self, command: CoreCommand) {
        let command = SessionCommand::Core(command);
        self.0.endpoint().send(Command::Session(Arc::clone(self.0.shared()), command));
    }
}
