//! Packets by chance, the same in every run.

use core::net::{Ipv6Addr, SocketAddr};

use rtmfp_core::rand_core::Rng;
use rtmfp_core::wire::{
    AckBitmap, AckRanges, Address, AddressOrigin, BufferProbe, Chunk, Close, CloseAck, CookieChange, EcnReport,
    FlowException, ForwardedHello, FragmentControl, InitiatorHello, InitiatorKeying, Mode, NextUserData,
    PacketFragment, PacketHeader, PacketWriter, Ping, PingReply, Redirect, ResponderHello, ResponderKeying, UserData,
    encode_option,
};
use rtmfp_tests::duo::TestRng;

/// The types of all chunks, and of padding.
const TYPES: [u8; 21] = [
    0x7f, 0x30, 0x0f, 0x70, 0x71, 0x79, 0x38, 0x78, 0x01, 0x41, 0x10, 0x11, 0x50, 0x51, 0x18, 0x5e, 0x0c, 0x4c, 0x00,
    0xff, 0xec,
];

pub(crate) struct Draw(pub(crate) TestRng);

impl Draw {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.0.next_u64() % limit as u64) as usize
    }

    fn bytes(&mut self, limit: usize) -> Vec<u8> {
        (0..self.below(limit)).map(|_| self.0.next_u32() as u8).collect()
    }

    /// Of any magnitude.
    fn number(&mut self) -> u64 {
        let bits = self.below(64) as u32;
        self.0.next_u64() >> bits
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    fn address(&mut self) -> Address {
        use AddressOrigin::{Local, Observed, Relay, Unknown};
        let origin = [Unknown, Local, Observed, Relay][self.below(4)];
        let (host, port) = (self.0.next_u32(), self.0.next_u32() as u16);
        let socket = if self.coin() {
            SocketAddr::from((Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(host)), port))
        } else {
            SocketAddr::from((host.to_be_bytes(), port))
        };
        Address { origin, socket }
    }

    pub(crate) fn header(&mut self) -> PacketHeader {
        PacketHeader {
            time_critical: self.coin(),
            time_critical_reverse: self.coin(),
            timestamp: self.coin().then(|| self.0.next_u32() as u16),
            timestamp_echo: self.coin().then(|| self.0.next_u32() as u16),
            mode: [Mode::Initiator, Mode::Responder, Mode::Startup][self.below(3)],
        }
    }

    /// A packet with a few chunks, of which each type comes about as often as the others.
    pub(crate) fn packet(&mut self) -> Vec<u8> {
        let mut packet = Vec::new();
        let header = self.header();
        let mut writer = PacketWriter::new(&mut packet, 4_000);
        assert!(writer.header(&header));
        for _ in 0..=self.below(5) {
            self.chunk(&mut writer);
        }
        packet
    }

    fn chunk(&mut self, packet: &mut PacketWriter<'_>) {
        let [a, b, c] = [self.bytes(40), self.bytes(40), self.bytes(40)];
        let [flow_id, blocks_available, cumulative_ack] = [self.number(), self.number(), self.number()];
        let session_id = self.0.next_u32();
        let addresses: Vec<Address> = (0..self.below(4)).map(|_| self.address()).collect();
        let mut list = Vec::new();
        for _ in 0..self.below(3) {
            let kind = [0, 0x0a, 0x2000, self.number()][self.below(4)];
            encode_option(kind, &self.bytes(12), &mut list);
        }
        let options = self.coin().then_some(&list[..]);
        let (abandon, last) = (self.coin(), self.below(8) == 0);
        let control = [FragmentControl::Whole, FragmentControl::Begin, FragmentControl::End, FragmentControl::Middle];
        let control = control[self.below(4)];
        let sequence_number = self.number().max(1);
        let fsn_offset = (self.number() % sequence_number).max(u64::from(!abandon));
        let initiator = InitiatorKeying::signed_parameters(session_id, &a, &b, &c);
        let responder = ResponderKeying::signed_parameters(session_id, &c);
        let chunk = match self.below(19) {
            // Never the first, so that no packet becomes whole.
            0 => Chunk::PacketFragment(PacketFragment {
                more_fragments: last,
                packet_id: flow_id,
                fragment_number: blocks_available.max(1),
                fragment: if a.is_empty() { &[0] } else { &a },
            }),
            1 => Chunk::InitiatorHello(InitiatorHello { discriminator: &a, tag: &b }),
            2 => Chunk::ForwardedHello(ForwardedHello { discriminator: &a, reply_address: self.address(), tag: &b }),
            3 => Chunk::ResponderHello(ResponderHello { tag_echo: &a, cookie: &b, certificate: &c }),
            4 => Chunk::Redirect(Redirect::new(&a, &addresses)),
            5 => Chunk::CookieChange(CookieChange { old_cookie: &a, new_cookie: &b }),
            6 => Chunk::InitiatorKeying(InitiatorKeying {
                signature: &b,
                ..InitiatorKeying::from_signed(&initiator, &[]).unwrap()
            }),
            7 => Chunk::ResponderKeying(ResponderKeying {
                signature: &b,
                ..ResponderKeying::from_signed(&responder, &[]).unwrap()
            }),
            8 => Chunk::Ping(Ping { message: &a }),
            9 => Chunk::PingReply(PingReply { message: &a }),
            10 => Chunk::UserData(UserData {
                control,
                abandon,
                last,
                flow_id,
                sequence_number,
                fsn_offset,
                options,
                data: &c,
            }),
            11 => Chunk::NextUserData(NextUserData { control, abandon, last, options, data: &c }),
            12 => Chunk::AckBitmap(AckBitmap { flow_id, blocks_available, cumulative_ack, bits: &a }),
            13 => Chunk::AckRanges(AckRanges { flow_id, blocks_available, cumulative_ack, encoded: &a }),
            14 => Chunk::BufferProbe(BufferProbe { flow_id }),
            15 => Chunk::FlowException(FlowException { flow_id, code: blocks_available }),
            16 => Chunk::Close(Close),
            17 => Chunk::CloseAck(CloseAck),
            _ => Chunk::EcnReport(EcnReport { ce_count: session_id as u8 }),
        };
        assert!(chunk.write(packet));
    }

    /// Bytes that look like chunks, more or less: their types, lengths that fit, small numbers, long VLUs.
    pub(crate) fn noise(&mut self) -> Vec<u8> {
        let mut bytes = vec![self.0.next_u32() as u8];
        for _ in 0..self.below(6) {
            let mut payload = self.bytes(40);
            let style = self.below(4);
            for byte in &mut payload {
                match style {
                    0 => *byte %= 4,
                    1 => *byte = [*byte, *byte % 8, *byte | 0x80, 0][self.below(4)],
                    _ => {}
                }
            }
            bytes.extend([TYPES[self.below(TYPES.len())], 0, payload.len() as u8]);
            bytes.extend(payload);
        }
        if self.below(4) == 0 {
            bytes.truncate(self.below(bytes.len() + 1));
        }
        bytes
    }
}
