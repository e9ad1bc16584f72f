//! What a session tells of itself and its far end, and what can be asked of it.

use core::net::SocketAddr;

use rtmfp_core::profile::flash::Fingerprint;
use rtmfp_core::wire::Address;
use rtmfp_core::{Bytes, Path, SessionStats};
use rtmfp_std::{Error, Nonces, PathKind};

use super::{Session, SessionEvents, wait};

impl Session {
    /// Where its packets go, once it is open.
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        self.0.path()
    }

    /// What kind of path it has, for endpoints that have [joined](crate::Endpoint::join) a server: as
    /// [`SessionEvent::PathKind`](rtmfp_std::SessionEvent::PathKind) told it last.
    #[must_use]
    pub fn path_kind(&self) -> Option<PathKind> {
        self.0.path_kind()
    }

    /// The far end's address, once it is open. Of a relayed path that is one which stands for the circuit.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.0.remote_addr()
    }

    /// The address of this end that its packets leave by, once it is open: as far as the system tells, or else what the
    /// socket is bound to.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addr()
    }

    /// Who the far end says it is, once it is open: its canonical endpoint discriminator, which for the Flash profile
    /// holds its fingerprint (RFC 7425 §4.4.4). Anybody can say so: [`peer_id`](Self::peer_id) is what is proved.
    #[must_use]
    pub fn far_discriminator(&self) -> Vec<u8> {
        self.0.far_discriminator()
    }

    /// The far end's certificate in the profile's syntax, once it is open. It is a claim, as
    /// [`far_discriminator`](Self::far_discriminator) is.
    #[must_use]
    pub fn far_certificate(&self) -> Bytes {
        self.0.far_certificate()
    }

    /// Whether its keys also depend on a key agreement that no quantum computer is known to break. Those of the modern
    /// profile's [hybrid](rtmfp_core::profile::modern::Hybrid) do. False while it opens.
    #[must_use]
    pub fn is_post_quantum(&self) -> bool {
        self.0.is_post_quantum()
    }

    /// Who the far end is: its peer ID, shown as 64 hexadecimal digits. With the Flash profile that is the fingerprint of
    /// its certificate (RFC 7425 §4.3.2).
    ///
    /// `None` until the far end has shown that it has the session's keys; [`far_keys_proved`](Self::far_keys_proved)
    /// waits for that. `None` for good if it has a Flash certificate without static keys: anybody could show a copy. So
    /// too with profiles that are not known here.
    #[must_use]
    pub fn peer_id(&self) -> Option<Fingerprint> {
        self.0.peer_id()
    }

    /// Waits until the far end has shown that it has the session's keys, and pings it for that. It does so with its first
    /// packet. Cancel-safe.
    ///
    /// In a session without HMAC there is no such proof for the end that began it, and this waits for the session's end.
    ///
    /// # Errors
    /// Why it did not open, or was closed.
    pub async fn far_keys_proved(&self) -> Result<(), Error> {
        self.opened().await?;
        self.0.begin_proof();
        wait(&self.0, |context, waiter| self.0.poll_far_keys_proved(context, waiter)).await
    }

    /// This end's secret, which the far end knows as its [`far_nonce`](Self::far_nonce). Empty if the session's keys have
    /// none, or while it opens; `None` some time after it has ended. Cancel-safe.
    pub async fn near_nonce(&self) -> Option<Bytes> {
        Some(self.nonces().await?.near)
    }

    /// The far end's secret: see [`near_nonce`](Self::near_nonce).
    pub async fn far_nonce(&self) -> Option<Bytes> {
        Some(self.nonces().await?.far)
    }

    async fn nonces(&self) -> Option<Nonces> {
        let asked = self.0.ask_nonces();
        wait(&asked, |context, waiter| asked.poll(context, waiter)).await
    }

    /// Counters and measurements, as they are when the endpoint answers. `None` some time after the session has ended. Cancel-safe.
    pub async fn stats(&self) -> Option<SessionStats> {
        let asked = self.0.ask_stats();
        wait(&asked, |context, waiter| asked.poll(context, waiter)).await
    }

    /// Bytes of user data a second that an encoder is to be set to, once the round trip is measured: as
    /// [`SessionEvent::TargetRate`] told it last.
    ///
    /// [`SessionEvent::TargetRate`]: rtmfp_std::SessionEvent::TargetRate
    #[must_use]
    pub fn target_rate(&self) -> Option<u64> {
        self.0.target_rate()
    }

    /// Whether the network has lost or marked packets of this end within about a second.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.0.is_congested()
    }

    /// What happens to the session from now on, as a stream. Each reader gets everything, and sees the session's end last.
    /// One that does not read keeps nothing: of each kind only the last change is told. It is no handle of the session:
    /// that is closed with its last [`Session`] or flow all the same.
    pub fn events(&self) -> SessionEvents {
        SessionEvents::new(self.0.events())
    }

    /// Pings the far end now (RFC 7016 §3.5.4.1), unless a ping is unanswered. If nothing answers for the configured
    /// [`retransmit_limit`](rtmfp_core::SessionConfig::retransmit_limit), the session ends.
    pub fn ping(&self) {
        self.0.ping();
    }

    /// Sets further addresses at which the far end can be reached, as it told them, for introductions
    /// (RFC 7016 §3.5.1.6). The address that its packets come from is always told. At most 23 are kept.
    pub fn introduce_at(&self, addresses: &[Address]) {
        self.0.introduce_at(addresses);
    }

    /// Sends no more than so many bytes of user data a second from now on, in place of
    /// [`SessionConfig::max_rate`](rtmfp_core::SessionConfig::max_rate). `None`: as fast as the congestion controller allows.
    pub fn set_max_rate(&self, rate: Option<u64>) {
        self.0.set_max_rate(rate);
    }

    /// Names an address of somebody who can introduce this end to the far end again, should both lose sight of each other
    /// (RFC 7016 §3.5.1.6). Those who did so when the session was opened are known already; four are kept.
    ///
    /// # Errors
    /// [`AddressFamily`](Error::AddressFamily) if the endpoint has no socket of the address's family.
    pub fn add_introducer(&self, address: SocketAddr) -> Result<(), Error> {
        self.0.add_introducer(address)
    }
}
