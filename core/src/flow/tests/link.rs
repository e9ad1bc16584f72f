//! Both ends of one flow and a link between them that holds packets until told what to do with them. What the
//! sender puts into packets is checked against the rules of RFC 7016 §3.6.2.3.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::config::{FlowOptions, SendOptions};
use crate::event::{Event, EventQueue};
use crate::flow::{
    Acknowledgement, Fragment, InFlight, LossEpoch, Lost, Message, RecvBudget, RecvFlow, SendFlow, SendLimits,
    parse_startup_options,
};
use crate::handle::{MessageId, RecvFlowHandle, SendFlowHandle, SessionHandle};
use crate::time::Instant;
use crate::wire::{Chunk, Mode, PacketHeader, PacketWriter, UserData};

const SESSION: SessionHandle = SessionHandle { slot: 0, generation: 0 };
pub(in crate::flow) const SEND: SendFlowHandle = SendFlowHandle { session: SESSION, slot: 0, generation: 0 };
pub(in crate::flow) const RECV: RecvFlowHandle = RecvFlowHandle { session: SESSION, slot: 0, generation: 0 };
pub(in crate::flow) const ERTO: Duration = Duration::from_millis(500);

/// Calls `each` for the chunks of a packet.
pub(in crate::flow) fn chunks(packet: &[u8]) -> Vec<Chunk<'_>> {
    let (_, chunks) = PacketHeader::parse(packet).unwrap();
    chunks.map(|chunk| chunk.unwrap()).collect()
}

/// Builds a packet of at most `limit` bytes.
pub(in crate::flow) fn packet(limit: usize, fill: impl FnOnce(&mut PacketWriter<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = PacketWriter::new(&mut bytes, limit);
    writer.header(&PacketHeader::new(Mode::Initiator));
    fill(&mut writer);
    bytes
}

/// The fragments in a packet, with what Next User Data leaves out filled in.
pub(in crate::flow) fn fragments(packet: &[u8]) -> Vec<UserData<'_>> {
    let mut fragments: Vec<UserData<'_>> = Vec::new();
    for chunk in chunks(packet) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "any other chunk is a failure")]
        match chunk {
            Chunk::UserData(data) => fragments.push(data),
            Chunk::NextUserData(next) => {
                let before = fragments.last().unwrap();
                fragments.push(UserData {
                    control: next.control,
                    abandon: next.abandon,
                    last: next.last,
                    flow_id: before.flow_id,
                    sequence_number: before.sequence_number + 1,
                    fsn_offset: before.fsn_offset + 1,
                    options: next.options,
                    data: next.data,
                });
            }
            _ => panic!("no data: {chunk}"),
        }
    }
    fragments
}

pub(in crate::flow) fn fragment<'a>(data: &UserData<'a>) -> Fragment<'a> {
    Fragment {
        sequence: data.sequence_number,
        fsn: data.forward_sequence_number(),
        control: data.control,
        abandon: data.abandon,
        last: data.last,
        options: data.options,
        data: data.data,
    }
}

pub(in crate::flow) struct Link {
    pub(in crate::flow) now: Instant,
    pub(in crate::flow) send: SendFlow,
    pub(in crate::flow) recv: Option<RecvFlow>,
    pub(in crate::flow) in_flight: InFlight,
    pub(in crate::flow) budget: RecvBudget,
    pub(in crate::flow) events: EventQueue,
    pub(in crate::flow) data: Vec<Vec<u8>>,
    pub(in crate::flow) acks: Vec<Vec<u8>>,
    pub(in crate::flow) recv_buffer: usize,
    pub(in crate::flow) limit: usize,
    /// Outstanding, and whether abandoned when sent.
    outstanding: BTreeMap<u64, bool>,
    /// What each number was sent with; None: abandoned.
    contents: BTreeMap<u64, Option<Vec<u8>>>,
    fsn: u64,
}

impl Link {
    pub(in crate::flow) fn new(options: &FlowOptions, send_buffer: usize, recv_buffer: usize) -> Self {
        Self {
            now: Instant::from_millis(1),
            send: SendFlow::new(SEND, 3, options, None, SendLimits { buffer: send_buffer, unsent: usize::MAX }),
            recv: None,
            in_flight: InFlight::new(false),
            budget: RecvBudget::new(1 << 20),
            events: EventQueue::default(),
            data: Vec::new(),
            acks: Vec::new(),
            recv_buffer,
            limit: 300,
            outstanding: BTreeMap::new(),
            contents: BTreeMap::new(),
            fsn: 0,
        }
    }

    pub(in crate::flow) fn write(&mut self, data: impl Into<Bytes>) -> MessageId {
        self.send.write(self.now, data.into(), SendOptions::default(), &mut self.events).unwrap()
    }

    /// Sends one packet with at most `budget` bytes of chunks, if there is anything to send.
    pub(in crate::flow) fn transmit(&mut self, budget: u64) -> Option<Vec<u8>> {
        let (send, in_flight, now) = (&mut self.send, &mut self.in_flight, self.now);
        let ready = send.is_ready();
        let mut count = 0;
        let bytes = packet(self.limit, |writer| {
            count = send.assemble(now, writer, in_flight, budget, self.limit, false).fragments
        });
        assert_eq!(count > 0, ready && budget > 0, "an empty packet takes something from a ready flow");
        assert!(bytes.len() <= self.limit);
        if count == 0 {
            return None;
        }
        assert_eq!(fragments(&bytes).len(), count as usize);
        assert!(matches!(chunks(&bytes).first(), Some(Chunk::UserData(_))));
        for data in fragments(&bytes) {
            self.check(&data);
        }
        Some(bytes)
    }

    /// RFC 7016 §3.6.2.3, §2.3.11: what the sender must keep to.
    fn check(&mut self, data: &UserData<'_>) {
        let (sequence, fsn) = (data.sequence_number, data.forward_sequence_number());
        assert!(fsn < sequence || (data.abandon && fsn == sequence));
        assert!(fsn >= self.fsn, "the FSN never falls");
        assert!(sequence > self.fsn || data.abandon, "not sent again at or below the FSN");
        self.fsn = fsn;
        if let Some((&lowest, &abandoned)) = self.outstanding.first_key_value() {
            assert!(fsn < lowest || (fsn == lowest && abandoned), "fsn {fsn}, outstanding {lowest}");
        }
        assert!(!self.outstanding.contains_key(&sequence), "in flight already");
        self.outstanding.insert(sequence, data.abandon);
        let content = (!data.abandon).then(|| data.data.to_vec());
        let before = self.contents.insert(sequence, content.clone());
        match (before, content) {
            (Some(None), content) => assert_eq!(content, None, "MUST NOT be un-abandoned"),
            (Some(before), Some(content)) => assert_eq!(before, Some(content), "the same number, the same data"),
            _ => assert!(data.abandon || !data.data.is_empty() || data.control == crate::wire::FragmentControl::Whole),
        }
        assert!(!data.abandon || data.data.is_empty());
    }

    /// Gives a packet to the receiver. Returns whether an acknowledgement is due at once.
    pub(in crate::flow) fn receive(&mut self, bytes: &[u8]) -> bool {
        let mut ack_now = false;
        for data in fragments(bytes) {
            if self.recv.is_none() {
                let startup = parse_startup_options(data.options);
                assert!(!startup.unacceptable);
                let metadata = startup.metadata.expect("until acknowledged, every packet has the metadata");
                self.recv = Some(RecvFlow::new(RECV, data.flow_id, metadata, None, self.recv_buffer));
            }
            let recv = self.recv.as_mut().unwrap();
            ack_now |= recv.on_fragment(self.now, &fragment(&data), &mut self.budget, &mut self.events) == Ok(true);
        }
        ack_now
    }

    /// Writes an acknowledgement, if the flow has begun.
    pub(in crate::flow) fn acknowledge(&mut self, ranges_only: bool) -> Option<Vec<u8>> {
        let recv = self.recv.as_mut()?;
        let bytes = packet(self.limit, |writer| assert!(recv.write_ack(writer, true, ranges_only)));
        Some(bytes)
    }

    /// Gives an acknowledgement to the sender, and does what follows for losses.
    pub(in crate::flow) fn process(&mut self, bytes: &[u8]) -> String {
        let mut seen = String::new();
        for chunk in chunks(bytes) {
            seen = chunk.to_string();
            #[expect(clippy::wildcard_enum_match_arm, reason = "any other chunk is a failure")]
            let (ack, cumulative, ranges): (_, _, Vec<_>) = match &chunk {
                Chunk::AckRanges(ack) => (Acknowledgement::Ranges(ack), ack.cumulative_ack, ack.ranges().collect()),
                Chunk::AckBitmap(ack) => (Acknowledgement::Bitmap(ack), ack.cumulative_ack, ack.ranges().collect()),
                Chunk::FlowException(report) => {
                    self.send.on_exception(self.now, report.code, &mut self.events);
                    continue;
                }
                _ => panic!("no acknowledgement: {seen}"),
            };
            self.no_longer_outstanding(cumulative, &ranges);
            let outcome = self.send.on_ack(self.now, ack, &mut self.in_flight, &mut self.events);
            assert!(!outcome.impossible);
        }
        let mut lost = Vec::new();
        self.in_flight.end_of_acks(self.now, true, &mut lost);
        self.lose(&lost, self.in_flight.loss_epoch());
        seen
    }

    /// Takes what is acknowledged off what the checks hold to be outstanding.
    pub(in crate::flow) fn no_longer_outstanding(&mut self, cumulative: u64, ranges: &[(u64, u64)]) {
        self.outstanding.retain(|&sequence, _| {
            sequence > cumulative && !ranges.iter().any(|&(from, to)| (from..=to).contains(&sequence))
        });
    }

    pub(in crate::flow) fn time_out(&mut self) {
        let mut lost = Vec::new();
        self.in_flight.time_out(&mut lost);
        self.lose(&lost, LossEpoch::NONE);
    }

    fn lose(&mut self, lost: &[Lost], loss_epoch: LossEpoch) {
        for lost in lost {
            self.outstanding.remove(&lost.sequence);
            self.send.on_lost(lost.sequence, loss_epoch, &mut self.events);
        }
    }

    pub(in crate::flow) fn read(&mut self) -> Option<Message> {
        self.recv.as_mut()?.read(self.now, &mut self.budget, &mut self.events)
    }

    pub(in crate::flow) fn drain_events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.events.pop()).collect()
    }
}
