//! What every part of an endpoint uses.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use chacha20::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::carriers::Carriers;
use super::interfaces::Blocked;
use super::limits::{Asker, Asking, ReplyLimits, SharedRate};
use super::startup::{StartupPacket, StartupQueue};
use super::table::Tag;
use super::used_keyings::UsedKeyings;
use crate::config::EndpointConfig;
use crate::error::DropReason;
use crate::event::EventQueue;
use crate::handle::SessionHandle;
use crate::params::{REDIRECT_THRESHOLD, TAG_LEN};
use crate::profile::{CryptoProfile, SessionKeys};
use crate::session::{Context, ReceivedForward, TimeCriticalClock};
use crate::stats::EndpointStats;
use crate::time::Instant;
use crate::trace::TraceEvent;
use crate::transmit::{Path, Transmit, TransmitBuf};
use crate::wire::{Address, Redirect};

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: EndpointConfig,
    pub(super) profile: Arc<dyn CryptoProfile>,
    /// The time of the call that is being served.
    pub(super) now: Instant,
    /// The Default Session Key (§2.2.3).
    pub(super) default_keys: Box<dyn SessionKeys>,
    /// Values that others see: tags, session IDs.
    pub(super) public_rng: ChaCha20Rng,
    /// Secrets: cookies' keys, key agreement. See [`forget_draws`](Self::forget_draws).
    pub(super) private_rng: ChaCha20Rng,
    /// Startup packets on their way out.
    pub(super) startup: StartupQueue,
    pub(super) reply_limits: ReplyLimits,
    /// The datagram that is being handled.
    pub(super) asking: Asking,
    /// Hellos and pings to addresses that others named.
    pub(super) probe_limits: SharedRate,
    /// The caller computes key agreements.
    pub(super) offload: bool,
    /// Interfaces that take nothing more for now.
    pub(super) blocked: Blocked,
    /// Sessions that drain when others have.
    pub(super) carriers: Carriers,
    pub(super) events: EventQueue,
    pub(super) time_critical: TimeCriticalClock,
    /// Hellos that forwarders have handed on to this end.
    pub(super) forwarded: VecDeque<ReceivedForward>,
    /// IIKeyings whose sessions were used lately.
    pub(super) used_keyings: UsedKeyings,
    pub(super) stats: EndpointStats,
}

impl Shared {
    /// What a session needs for one call.
    pub(super) fn context(&mut self) -> Context<'_> {
        Context {
            now: self.now,
            events: &mut self.events,
            rng: &mut self.private_rng,
            time_critical: &mut self.time_critical,
            forwarded: &mut self.forwarded,
            stats: &mut self.stats,
        }
    }

    /// After a key was drawn from the generator of secrets: seeds that anew from its own output, and wipes what it was.
    /// Whoever reads the memory of this process later cannot go back to the key, and sessions keep forward secrecy.
    pub(super) fn forget_draws(&mut self) {
        self.private_rng = ChaCha20Rng::from_rng(&mut self.private_rng);
    }

    pub(super) fn draw_tag(&mut self) -> Tag {
        let mut tag = [0; TAG_LEN];
        self.public_rng.fill_bytes(&mut tag);
        tag
    }

    /// The clock of this call: never earlier than any before.
    pub(super) fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// Whether key agreements are handed out, rather than computed when they are needed.
    pub(super) const fn offloads(&self) -> bool {
        self.offload && self.config.max_waiting_key_agreements > 0
    }

    /// Seals the next startup packet into `buf`.
    #[inline]
    pub(super) fn poll_startup(&mut self, buf: &mut TransmitBuf) -> Option<Transmit> {
        if self.startup.is_empty() {
            return None;
        }
        if self.events.tracer.is_on() {
            self.events.tracer.enter(self.now, None);
        }
        self.startup.poll(&self.blocked, self.now, buf, self.default_keys.as_mut(), &mut self.events)
    }

    /// Traces what happens outside the work for a session, or for one that is not in work: `session`.
    #[inline]
    pub(super) fn trace<'a>(&mut self, session: Option<SessionHandle>, event: impl FnOnce() -> TraceEvent<'a>) {
        if self.events.tracer.is_on() {
            self.events.tracer.enter(self.now, session);
            self.events.trace(event);
        }
    }

    /// Counts a chunk that was not used.
    pub(super) fn count(&mut self, reason: DropReason) {
        self.stats.count(reason);
        self.trace(None, || TraceEvent::ChunkDropped { reason });
    }

    /// Counts a datagram of which nothing was used.
    pub(super) fn count_datagram(&mut self, path: Path, size: usize, reason: DropReason) {
        self.stats.count(reason);
        self.trace(None, || TraceEvent::DatagramDropped { path, size, reason });
    }

    /// Whether one more reply may go to an address that has proved nothing.
    pub(super) fn allow_reply(&mut self, path: Path, asker: Asker) -> Result<(), DropReason> {
        let (now, remote) = (self.now, path.remote.ip());
        let allowed = match asker {
            Asker::Datagram => !self.asking.answered && self.reply_limits.allow(now, remote),
            Asker::Earlier(_) => self.reply_limits.allow(now, remote),
            // Both: an introducer may name anybody, and many introducers may name the same one.
            Asker::Session(via, _) => {
                self.reply_limits.allow(now, via) && (via == remote || self.reply_limits.allow(now, remote))
            }
        };
        self.asking.answered |= matches!(asker, Asker::Datagram);
        if allowed { Ok(()) } else { Err(DropReason::OverLimit) }
    }

    /// Queues a reply to an address that has proved nothing, unless it is too much larger than what asks for it.
    pub(super) fn send_reply(&mut self, packet: StartupPacket, asker: Asker) -> Result<(), DropReason> {
        let size = packet.wire_len(self.default_keys.as_ref());
        let (source, asked) = match asker {
            Asker::Datagram => (packet.path.remote.ip(), self.asking.len),
            Asker::Earlier(len) => (packet.path.remote.ip(), len),
            Asker::Session(via, len) => (via, len),
        };
        let sent =
            self.reply_limits.allow_size(self.now, source, asked, size) && self.startup.push_reply(self.now, packet);
        if sent { Ok(()) } else { Err(DropReason::OverLimit) }
    }

    /// Answers a hello with addresses to try.
    pub(super) fn send_redirect(
        &mut self,
        path: Path,
        tag: &[u8],
        addresses: &[Address],
        asker: Asker,
    ) -> Result<(), DropReason> {
        self.allow_reply(path, asker)?;
        let addresses = addresses.get(..REDIRECT_THRESHOLD).unwrap_or(addresses);
        self.send_reply(StartupPacket::new(path, 0, &Redirect::new(tag, addresses)), asker)
    }
}
