//! Putting fragments into packets (RFC 7016 §3.6.2.3).

use super::queue::{Cut, Next};
use super::{Assembled, SendFlow};
use crate::flow::in_flight::InFlight;
use crate::invariant::cannot_happen;
use crate::time::Instant;
use crate::wire::{CHUNK_HEADER_LEN, EncodeChunk, FragmentControl, NextUserData, PacketHeader, PacketWriter, UserData};

/// A message is not split to fill a packet with less than this.
const LEAST_SPLIT: usize = 128;

/// The fragment put into the packet last, which Next User Data continues (§3.6.2.3.2).
#[derive(Clone, Copy)]
struct Previous {
    sequence: u64,
    fsn: u64,
}

/// A fragment as it is to be encoded.
struct Chosen<'a> {
    sequence: u64,
    fsn: u64,
    control: FragmentControl,
    abandon: bool,
    last: bool,
    data: &'a [u8],
}

impl SendFlow {
    /// Puts as many fragments as fit into the packet, lowest sequence number first: lost ones, then new ones, User
    /// Data first and Next User Data where RFC 7016 §3.6.2.3.2 allows, startup options on the first chunk until
    /// acknowledged, FSN updates as §3.6.2.7.1 asks. Stops when the packet is full, the receive window is, or
    /// `budget` bytes of chunks have been added (the last one may exceed it).
    ///
    /// Fragments are cut for a plain packet of `base` bytes whatever this packet's length: where it has room for
    /// more, so that they fit whatever path the session may be on when they are sent again; where it has less, so that
    /// a message that would fit a packet of its own is left for one.
    ///
    /// If `withhold`, the first new fragment is kept back: see [`SendQueue::withhold`](super::queue::SendQueue::withhold).
    ///
    /// To be called once per packet. A message that fits into a packet is not split to fill up this one, so it may
    /// add nothing to a packet that has other chunks; to one without it adds something if the flow is ready, unless
    /// it reports an oversize.
    pub(crate) fn assemble(
        &mut self,
        now: Instant,
        packet: &mut PacketWriter<'_>,
        in_flight: &mut InFlight,
        budget: u64,
        base: usize,
        withhold: bool,
    ) -> Assembled {
        let mut result = Assembled::default();
        if withhold && self.may_withhold() && budget > 0 {
            let (sequence, fsn) = (self.queue.next_sn(), self.queue.next_sn() - 1);
            let len = self.fragment_len(packet, sequence, fsn, None, base);
            result.withheld = len.is_some_and(|len| self.queue.withhold(len));
        }
        let mut previous = None;
        let mut used = 0;
        while used < budget
            && self.is_ready()
            && let Some(next) = self.queue.next()
        {
            let added = match next {
                Next::Numbered(sequence) => self.add_numbered(sequence, packet, previous, &mut result),
                Next::New => self.add_new(packet, previous, base),
            };
            let Some((sequence, fsn, size)) = added else { break };
            let tsn = in_flight.sent(self.handle.slot, sequence, size);
            in_flight.mark_packet(packet.len());
            if self.queue.sent(sequence, tsn, size) {
                self.counters.repeated += 1;
                in_flight.mark_repeated(now);
            } else {
                in_flight.mark_fresh(now);
            }
            used += u64::from(size);
            previous = Some(Previous { sequence, fsn });
            result.fragments += 1;
            result.time_critical = self.time_critical;
        }
        result
    }

    /// A flow that carries a bulk, and whose receiver has room to wait for one fragment.
    fn may_withhold(&self) -> bool {
        let roomy = self.rx_buffer > self.queue.outstanding().saturating_mul(2);
        roomy && !self.time_critical && self.startup.is_none() && self.is_ready()
    }

    /// Adds an entry that has its sequence number. Returns that, the FSN, and the size of the chunk.
    fn add_numbered(
        &mut self,
        sequence: u64,
        packet: &mut PacketWriter<'_>,
        previous: Option<Previous>,
        result: &mut Assembled,
    ) -> Option<(u64, u64, u32)> {
        let fsn = self.queue.forward_sequence_number(sequence);
        let fragment = self.queue.fragment(sequence)?;
        let chosen = Chosen {
            sequence,
            fsn,
            control: fragment.control,
            abandon: fragment.abandoned,
            last: self.queue.is_final(sequence),
            data: &fragment.data,
        };
        let size = self.push(packet, &chosen, previous);
        if size.is_none() {
            let needed = PacketHeader::MAX_LEN + CHUNK_HEADER_LEN + self.user_data(&chosen, None).payload_len();
            result.oversize = (needed > limit(packet)).then_some(needed);
        }
        Some((sequence, chosen.fsn, size?))
    }

    /// Cuts a fragment off the first waiting message and adds it.
    fn add_new(
        &mut self,
        packet: &mut PacketWriter<'_>,
        previous: Option<Previous>,
        base: usize,
    ) -> Option<(u64, u64, u32)> {
        let sequence = self.queue.next_sn();
        let fsn = self.queue.forward_sequence_number(sequence);
        let cut = self.queue.preview(self.fragment_len(packet, sequence, fsn, previous, base)?)?;
        let Cut { ref data, control, last } = cut;
        let chosen = Chosen { sequence, fsn, control, abandon: false, last, data };
        let size = self.push(packet, &chosen, previous)?;
        let sequence = self.queue.commit(cut)?;
        Some((sequence, fsn, size))
    }

    /// How long the next fragment is to be; None if none is to be cut for this packet.
    fn fragment_len(
        &self,
        packet: &PacketWriter<'_>,
        sequence: u64,
        fsn: u64,
        previous: Option<Previous>,
        base: usize,
    ) -> Option<usize> {
        let empty = Chosen { sequence, fsn, control: FragmentControl::Whole, abandon: false, last: false, data: &[] };
        let room = packet.remaining().checked_sub(self.payload_len(&empty, previous))?;
        // §3.6.2.2: a fragment MUST fit a packet with the longest header and the startup options. Its FSN offset
        // only shrinks until it is sent again, as the FSN never falls.
        let most = base
            .checked_sub(PacketHeader::MAX_LEN + CHUNK_HEADER_LEN)?
            .checked_sub(self.user_data(&empty, None).payload_len())?;
        let rest = self.queue.rest()?;
        let len = rest.min(most).min(room);
        let fills_up = len < rest && len < most;
        // A message that would fit into a packet of its own is not split: it would be lost with either of two.
        let refused = (rest > 0 && len == 0) || (fills_up && (rest <= most || len < LEAST_SPLIT));
        (!refused).then_some(len)
    }

    /// Appends the chunk. Returns its size with the chunk header, or None if it does not fit.
    fn push(&self, packet: &mut PacketWriter<'_>, chosen: &Chosen<'_>, previous: Option<Previous>) -> Option<u32> {
        let fits = if continues(chosen, previous) {
            packet.push(&next_user_data(chosen))
        } else {
            packet.push(&self.user_data(chosen, previous))
        };
        let size = self.payload_len(chosen, previous) + CHUNK_HEADER_LEN;
        fits.then(|| u32::try_from(size).unwrap_or_else(|_| cannot_happen!(u32::MAX, "a chunk that fits is shorter")))
    }

    fn payload_len(&self, chosen: &Chosen<'_>, previous: Option<Previous>) -> usize {
        if continues(chosen, previous) {
            next_user_data(chosen).payload_len()
        } else {
            self.user_data(chosen, previous).payload_len()
        }
    }

    /// §3.6.2.3.1: startup options go with the first chunk of the flow in the packet.
    fn user_data<'a>(&'a self, chosen: &Chosen<'a>, previous: Option<Previous>) -> UserData<'a> {
        UserData {
            control: chosen.control,
            abandon: chosen.abandon,
            last: chosen.last,
            flow_id: self.flow_id,
            sequence_number: chosen.sequence,
            fsn_offset: chosen.sequence - chosen.fsn,
            options: self.startup.as_deref().filter(|_| previous.is_none()),
            data: chosen.data,
        }
    }
}

/// §2.3.12: Next User Data stands for the next sequence number and the same FSN.
fn continues(chosen: &Chosen<'_>, previous: Option<Previous>) -> bool {
    previous.is_some_and(|previous| chosen.sequence == previous.sequence + 1 && chosen.fsn == previous.fsn)
}

const fn next_user_data<'a>(chosen: &Chosen<'a>) -> NextUserData<'a> {
    let Chosen { control, abandon, last, data, .. } = *chosen;
    NextUserData { control, abandon, last, options: None, data }
}

/// The most that the plain packet can hold, as far as one more chunk can tell.
fn limit(packet: &PacketWriter<'_>) -> usize {
    packet.len() + CHUNK_HEADER_LEN + packet.remaining()
}
