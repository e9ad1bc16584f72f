//! Writing a plain packet (RFC 7016 §2.2.4) at the end of a buffer.

use alloc::vec::Vec;

use super::packet::{CHUNK_HEADER_LEN, TIME_CRITICAL, TIME_CRITICAL_REVERSE};
use super::{EncodeChunk, PacketHeader};

/// Writes one plain packet at the end of a buffer, never longer than a limit. What does not fit is taken back
/// wholly. The bytes that were in the buffer before stay untouched.
#[derive(Debug)]
pub struct PacketWriter<'a> {
    buf: &'a mut Vec<u8>,
    start: usize,
    limit: usize,
    /// Zero until the header is written.
    header_len: usize,
}

/// A state of a [`PacketWriter`] to go back to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    len: usize,
    flags: u8,
    header_len: usize,
}

impl<'a> PacketWriter<'a> {
    /// Begins a packet of at most `limit` bytes behind what `buf` holds.
    pub const fn new(buf: &'a mut Vec<u8>, limit: usize) -> Self {
        let start = buf.len();
        Self { buf, start, limit, header_len: 0 }
    }

    /// Writes the header: the first thing to do. False, and nothing written: it does not fit, or there is one.
    pub fn header(&mut self, header: &PacketHeader) -> bool {
        let fits = self.header_len == 0 && header.encoded_len() <= self.limit;
        if fits {
            header.encode(self.buf);
            self.header_len = header.encoded_len();
        }
        fits
    }

    /// Appends a chunk. False, and nothing appended: it does not fit, or there is no header yet.
    pub fn push<C: EncodeChunk>(&mut self, chunk: &C) -> bool {
        // Checked before encoding, so that a chunk that will not fit does not make the buffer grow.
        chunk.payload_len() <= self.remaining() && self.push_with(C::TYPE, |out| chunk.encode_payload(out))
    }

    /// Appends a chunk of type `kind` whose payload `payload` appends to the buffer, doing nothing else to it.
    /// False, and nothing appended: it does not fit, or there is no header yet.
    pub fn push_with(&mut self, kind: u8, payload: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.try_push_with(kind, |out| {
            payload(out);
            true
        })
    }

    /// As [`push_with`](Self::push_with), but `payload` may give up by returning false.
    pub fn try_push_with(&mut self, kind: u8, payload: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let Some(room) = self.room() else {
            return false;
        };
        let begin = self.buf.len();
        self.buf.extend_from_slice(&[kind, 0, 0]);
        let done = payload(self.buf);
        let length = self.buf.len().checked_sub(begin + CHUNK_HEADER_LEN).filter(|&length| done && length <= room);
        if let Some(length) = length.and_then(|length| u16::try_from(length).ok())
            && let Some(field) = self.buf.get_mut(begin + 1..begin + CHUNK_HEADER_LEN)
        {
            field.copy_from_slice(&length.to_be_bytes());
            return true;
        }
        self.buf.truncate(begin);
        false
    }

    /// How long the payload of one more chunk may be, in bytes. Zero also when no chunk fits at all.
    pub fn remaining(&self) -> usize {
        self.room().unwrap_or(0)
    }

    /// Lets the packet become at most `more` bytes longer than it is, unless its limit is lower; returns the limit
    /// until now, for [`set_limit`](Self::set_limit).
    pub fn limit_to(&mut self, more: usize) -> usize {
        let limit = self.len().saturating_add(more).min(self.limit);
        core::mem::replace(&mut self.limit, limit)
    }

    /// Sets how long the packet may become, in bytes.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// How long the packet is, in bytes.
    pub fn len(&self) -> usize {
        self.buf.len().saturating_sub(self.start)
    }

    /// Whether nothing was written, not even a header.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a chunk in the packet.
    pub fn has_chunks(&self) -> bool {
        self.len() > self.header_len
    }

    /// Sets the Time Critical flag of the header.
    pub fn set_time_critical(&mut self) {
        self.set_flag(TIME_CRITICAL);
    }

    /// Sets the Time Critical Reverse flag of the header.
    pub fn set_time_critical_reverse(&mut self) {
        self.set_flag(TIME_CRITICAL_REVERSE);
    }

    /// The state to go back to with [`rollback`](Self::rollback).
    pub fn mark(&self) -> Mark {
        // Before the header there are none.
        let flags = self.buf.get(self.start).copied().unwrap_or(0);
        Mark { len: self.buf.len(), flags, header_len: self.header_len }
    }

    /// Goes back to the state of `mark`, flags of the header included. The mark must be of this writer, and from
    /// before whatever else was rolled back.
    pub fn rollback(&mut self, mark: Mark) {
        self.buf.truncate(mark.len.max(self.start));
        self.header_len = mark.header_len.min(self.len());
        if let Some(flags) = self.buf.get_mut(self.start) {
            *flags = mark.flags;
        }
    }

    fn set_flag(&mut self, flag: u8) {
        if self.header_len > 0
            && let Some(flags) = self.buf.get_mut(self.start)
        {
            *flags |= flag;
        }
    }

    /// How long the payload of one more chunk may be; None if not even its header fits.
    fn room(&self) -> Option<usize> {
        let room = self.limit.checked_sub(self.len())?.checked_sub(CHUNK_HEADER_LEN)?;
        (!self.is_empty() && self.header_len > 0).then_some(room.min(u16::MAX.into()))
    }
}
