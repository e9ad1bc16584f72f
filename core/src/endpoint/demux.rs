//! Datagrams in: who they are for (RFC 7016 §2.2.2, §3.3), and startup packets to their chunk's handler.

use super::Endpoint;
use super::env::Env;
use super::handshake::Handshake;
use super::introduce::Introduction;
use super::limits::Asking;
use crate::error::DropReason;
use crate::params::TAG_MIN;
use crate::time::Instant;
use crate::trace::TraceEvent;
use crate::transmit::{Disposition, Path, RecvMeta};
use crate::wire::{self, Chunk, Chunks, HeaderError, Mode, PacketFragment, PacketHeader};

impl Endpoint {
    /// Takes a received datagram, which is decrypted in place. Whatever it holds, nothing worse happens than that it
    /// is dropped and counted in [`stats`](Self::stats).
    pub fn handle_datagram(&mut self, now: Instant, path: Path, meta: RecvMeta, datagram: &mut [u8]) -> Disposition {
        self.shared.advance(now);
        self.shared.stats.datagrams_received += 1;
        self.shared.stats.bytes_received += datagram.len() as u64;
        self.shared.asking = Asking { len: datagram.len(), answered: false };
        let result = self.dispatch(path, meta, datagram);
        self.handshake.answer_forwarded(&mut self.shared);
        match result {
            Ok(()) => Disposition::Processed,
            Err(reason) => {
                self.shared.count_datagram(path, datagram.len(), reason);
                Disposition::Dropped
            }
        }
    }

    fn dispatch(&mut self, path: Path, meta: RecvMeta, datagram: &mut [u8]) -> Result<(), DropReason> {
        let (session_id, offset) = wire::session_id::unscramble(datagram).ok_or(DropReason::TooShort)?;
        let encrypted = datagram.get_mut(offset..).ok_or(DropReason::TooShort)?;
        let Self { table, shared, handshake, introduction } = self;
        let mut env = Env { table, shared };
        if session_id == 0 {
            return handshake.handle_startup_packet(&mut env, introduction, path, meta, encrypted);
        }
        let slot = env.table.by_id(session_id).ok_or(DropReason::UnknownSession)?;
        if env.table.get(slot).is_some_and(|entry| entry.opening().is_some()) {
            return handshake.handle_keying_packet(&mut env, slot, path, meta, encrypted);
        }
        env.handle_packet(slot, path, meta, encrypted)
    }
}

impl Handshake {
    /// A packet for session ID 0.
    fn handle_startup_packet(
        &mut self,
        env: &mut Env<'_>,
        introduction: &mut Introduction,
        path: Path,
        meta: RecvMeta,
        encrypted: &mut [u8],
    ) -> Result<(), DropReason> {
        let plain = env.shared.default_keys.open(encrypted)?;
        let packet = encrypted.get(plain).ok_or(DropReason::Malformed)?;
        let chunks = startup_chunks(packet)?;
        let size = encrypted.len() + wire::session_id::LEN;
        env.shared.trace(None, || TraceEvent::PacketReceived { path, size, ecn: meta.ecn, plain: packet });
        for chunk in chunks {
            let result = match chunk {
                Ok(Chunk::PacketFragment(fragment)) => self.on_startup_fragment(env, introduction, path, &fragment),
                chunk => self.handle_startup_chunk(env, introduction, path, chunk),
            };
            // §2.3: a chunk that is malformed or has no use is as if it were not there.
            if let Err(reason) = result {
                env.shared.count(reason);
            }
        }
        Ok(())
    }

    /// §3.4. A fragmented packet within a fragmented packet is never put together.
    fn on_startup_fragment(
        &mut self,
        env: &mut Env<'_>,
        introduction: &mut Introduction,
        path: Path,
        fragment: &PacketFragment<'_>,
    ) -> Result<(), DropReason> {
        let key = (path.remote, 0, fragment.packet_id);
        let whole = self.reassemble(env.shared, key, fragment)?;
        // What was forged in part is put together more than once, and pays for one answer all the same.
        env.shared.asking.len = env.shared.asking.len.max(self.reassembly.fresh());
        for packet in whole {
            let chunks = startup_chunks(&packet).map_err(|reason| env.shared.count(reason));
            for chunk in chunks.into_iter().flatten() {
                if let Err(reason) = self.handle_startup_chunk(env, introduction, path, chunk) {
                    env.shared.count(reason);
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every chunk that is not named is out of place (§2.3)")]
    fn handle_startup_chunk(
        &mut self,
        env: &mut Env<'_>,
        introduction: &mut Introduction,
        path: Path,
        chunk: Result<Chunk<'_>, wire::Malformed>,
    ) -> Result<(), DropReason> {
        match chunk.map_err(|_| DropReason::Malformed)? {
            Chunk::InitiatorHello(hello) if hello.tag.len() < TAG_MIN => Err(DropReason::Malformed),
            Chunk::InitiatorHello(hello) if env.shared.profile.selects_near(hello.discriminator) => {
                self.on_initiator_hello(env.shared, path, &hello)
            }
            Chunk::InitiatorHello(hello) => introduction.on_unmatched_hello(env, path, &hello),
            Chunk::ResponderHello(hello) => self.on_responder_hello(env, path, &hello),
            Chunk::Redirect(redirect) => self.on_redirect(env, path, &redirect),
            Chunk::InitiatorKeying(keying) => self.on_initiator_keying(env, path, &keying),
            Chunk::Padding | Chunk::Unknown { .. } => Ok(()), // §2.3: ignored
            _ => Err(DropReason::WrongMode),
        }
    }
}

impl Env<'_> {
    /// A packet under the keys of a session. It may be the first that proves them.
    pub(super) fn handle_packet(
        &mut self,
        slot: u32,
        path: Path,
        meta: RecvMeta,
        encrypted: &mut [u8],
    ) -> Result<(), DropReason> {
        let handled = self.with(slot, |entry, shared| {
            entry.session.handle_packet(&mut shared.context(), path, meta, encrypted)?;
            Ok(entry.keys_newly_proved())
        });
        if let Some(initiated_here) = handled.unwrap_or(Err(DropReason::UnknownSession))? {
            self.on_keys_proved(slot, initiated_here);
        }
        Ok(())
    }
}

/// The chunks of a plain packet that must be a startup packet (§2.2.4).
pub(super) fn startup_chunks(packet: &[u8]) -> Result<Chunks<'_>, DropReason> {
    let (header, chunks) = PacketHeader::parse(packet).map_err(|error| match error {
        HeaderError::ForbiddenMode => DropReason::WrongMode,
        HeaderError::Truncated => DropReason::Malformed,
    })?;
    if header.mode == Mode::Startup { Ok(chunks) } else { Err(DropReason::WrongMode) }
}
