//! Datagrams in: who they are for (RFC 7016 §2.2.2, §3.3), and startup packets to their chunk's handler.

use alloc::vec::Vec;

use super::Endpoint;
use super::fragments::PacketKey;
use super::limits::Asking;
use crate::error::DropReason;
use crate::time::Instant;
use crate::transmit::{Disposition, Path, RecvMeta};
use crate::wire::{self, Chunk, Chunks, HeaderError, Mode, PacketFragment, PacketHeader};

impl Endpoint {
    /// Takes a received datagram, which is decrypted in place. Whatever it holds, nothing worse happens than that it
    /// is dropped and counted in [`stats`](Self::stats).
    pub fn handle_datagram(&mut self, now: Instant, path: Path, meta: RecvMeta, datagram: &mut [u8]) -> Disposition {
        self.advance(now);
        self.stats.datagrams_received += 1;
        self.stats.bytes_received += datagram.len() as u64;
        self.asking = Asking { len: datagram.len(), answered: false };
        let result = self.dispatch(path, meta, datagram);
        self.answer_forwarded();
        match result {
            Ok(()) => Disposition::Processed,
            Err(reason) => {
                self.count(reason);
                Disposition::Dropped
            }
        }
    }

    fn dispatch(&mut self, path: Path, meta: RecvMeta, datagram: &mut [u8]) -> Result<(), DropReason> {
        let (session_id, offset) = wire::session_id::unscramble(datagram).ok_or(DropReason::TooShort)?;
        let encrypted = datagram.get_mut(offset..).ok_or(DropReason::TooShort)?;
        if session_id == 0 {
            return self.handle_startup(path, encrypted);
        }
        let slot = self.ids.get(session_id).ok_or(DropReason::UnknownSession)?;
        let opening = self.slots.get(slot).is_some_and(|occupant| occupant.opening.is_some());
        let result = if opening {
            self.handle_keying_packet(slot, path, meta, encrypted)
        } else {
            let handled = self.with_session(slot, |session, cx| session.handle_packet(cx, path, meta, encrypted));
            handled.unwrap_or(Err(DropReason::UnknownSession)).inspect(|()| self.on_keys_used(slot))
        };
        self.settle(slot);
        result
    }

    /// A packet for session ID 0.
    fn handle_startup(&mut self, path: Path, encrypted: &mut [u8]) -> Result<(), DropReason> {
        let plain = self.default_keys.open(encrypted)?;
        let packet = encrypted.get(plain).ok_or(DropReason::Malformed)?;
        for chunk in startup_chunks(packet)? {
            let result = match chunk {
                Ok(Chunk::PacketFragment(fragment)) => self.on_startup_fragment(path, &fragment),
                chunk => self.handle_startup_chunk(path, chunk),
            };
            // §2.3: a chunk that is malformed or has no use is as if it were not there.
            if let Err(reason) = result {
                self.count(reason);
            }
        }
        Ok(())
    }

    /// §3.4. A fragmented packet within a fragmented packet is never put together.
    fn on_startup_fragment(&mut self, path: Path, fragment: &PacketFragment<'_>) -> Result<(), DropReason> {
        for packet in self.reassemble((path.remote, 0, fragment.packet_id), fragment)? {
            self.asking.len = self.asking.len.max(packet.len());
            self.handle_whole(&packet, |this, chunk| this.handle_startup_chunk(path, chunk));
        }
        Ok(())
    }

    /// The packets that a fragment completes.
    pub(super) fn reassemble(
        &mut self,
        key: PacketKey,
        fragment: &PacketFragment<'_>,
    ) -> Result<Vec<Vec<u8>>, DropReason> {
        let whole = self.reassembly.add(self.now, key, fragment);
        for _ in 0..self.reassembly.take_evicted() {
            self.count(DropReason::OverLimit);
        }
        whole
    }

    /// A packet that was put together, which may have been forged in part.
    pub(super) fn handle_whole(
        &mut self,
        packet: &[u8],
        mut handle: impl FnMut(&mut Self, Result<Chunk<'_>, wire::Malformed>) -> Result<(), DropReason>,
    ) {
        let chunks = match startup_chunks(packet) {
            Ok(chunks) => chunks,
            Err(reason) => return self.count(reason),
        };
        for chunk in chunks {
            if let Err(reason) = handle(self, chunk) {
                self.count(reason);
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every chunk that is not named is out of place (§2.3)")]
    fn handle_startup_chunk(
        &mut self,
        path: Path,
        chunk: Result<Chunk<'_>, wire::Malformed>,
    ) -> Result<(), DropReason> {
        match chunk.map_err(|_| DropReason::Malformed)? {
            Chunk::InitiatorHello(hello) => self.on_initiator_hello(path, &hello),
            Chunk::ResponderHello(hello) => self.on_responder_hello(path, &hello),
            Chunk::Redirect(redirect) => self.on_redirect(path, &redirect),
            Chunk::InitiatorKeying(keying) => self.on_initiator_keying(path, &keying),
            Chunk::Padding | Chunk::Unknown { .. } => Ok(()), // §2.3: ignored
            _ => Err(DropReason::WrongMode),
        }
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
