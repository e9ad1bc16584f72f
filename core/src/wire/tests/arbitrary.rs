//! Arbitrary chunks and bytes.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use quickcheck::{Arbitrary, Gen};

use crate::wire::{
    AckBitmap, AckRanges, Address, AddressOrigin, BufferProbe, Chunk, Close, CloseAck, CookieChange, EcnReport,
    FlowException, ForwardedHello, FragmentControl, InitiatorHello, InitiatorKeying, NextUserData, PacketFragment,
    Ping, PingReply, Redirect, ResponderHello, ResponderKeying, UserData, encode_option,
};

/// An integer of any length, small ones and the largest being as likely as others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) u64);

impl Arbitrary for Number {
    fn arbitrary(g: &mut Gen) -> Self {
        let (value, shift) = (u64::arbitrary(g), u32::arbitrary(g) % 80);
        Self(value.checked_shr(shift).unwrap_or(u64::MAX - value % 4))
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        Box::new(self.0.shrink().map(Self))
    }
}

impl Arbitrary for Address {
    fn arbitrary(g: &mut Gen) -> Self {
        let origins = [AddressOrigin::Unknown, AddressOrigin::Local, AddressOrigin::Observed, AddressOrigin::Relay];
        let origin = origins[usize::arbitrary(g) % 4];
        Self { origin, socket: SocketAddr::new(IpAddr::arbitrary(g), u16::arbitrary(g)) }
    }
}

impl Arbitrary for FragmentControl {
    fn arbitrary(g: &mut Gen) -> Self {
        [Self::Whole, Self::Begin, Self::End, Self::Middle][usize::arbitrary(g) % 4]
    }
}

/// What chunks are made of.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    numbers: [u64; 3],
    bytes: [Vec<u8>; 4],
    flags: [bool; 2],
    control: FragmentControl,
    addresses: Vec<Address>,
    options: Option<Vec<u8>>,
    session_id: u32,
    initiator_signed: Vec<u8>,
    responder_signed: Vec<u8>,
}

impl Arbitrary for Parts {
    fn arbitrary(g: &mut Gen) -> Self {
        let mut options = Vec::new();
        for (kind, value) in Vec::<(u64, Vec<u8>)>::arbitrary(g).into_iter().take(4) {
            encode_option(kind, &value, &mut options);
        }
        let bytes: [Vec<u8>; 4] = core::array::from_fn(|_| Vec::arbitrary(g));
        let session_id = u32::arbitrary(g);
        Self {
            numbers: core::array::from_fn(|_| Number::arbitrary(g).0),
            flags: [bool::arbitrary(g), bool::arbitrary(g)],
            control: FragmentControl::arbitrary(g),
            addresses: Vec::<Address>::arbitrary(g).into_iter().take(6).collect(),
            options: bool::arbitrary(g).then_some(options),
            session_id,
            initiator_signed: InitiatorKeying::signed_parameters(session_id, &bytes[0], &bytes[1], &bytes[2]),
            responder_signed: ResponderKeying::signed_parameters(session_id, &bytes[0]),
            bytes,
        }
    }
}

impl Parts {
    /// A chunk of each type.
    pub(super) fn chunks(&self) -> [Chunk<'_>; 19] {
        let [a, b, c, d] = self.bytes.each_ref().map(Vec::as_slice);
        let [flow_id, blocks_available, cumulative_ack] = self.numbers;
        let [abandon, last] = self.flags;
        let (control, session_id, options) = (self.control, self.session_id, self.options.as_deref());
        let fragment = if d.is_empty() { &[0][..] } else { d };
        let sequence_number = blocks_available.max(1);
        let fsn_offset = (cumulative_ack % sequence_number).max(u64::from(!abandon));
        let reply_address = self.addresses.first().copied();
        let reply_address = reply_address
            .unwrap_or(Address { origin: AddressOrigin::Relay, socket: SocketAddr::from(([192, 0, 2, 1], 1935)) });
        [
            Chunk::PacketFragment(PacketFragment {
                more_fragments: last,
                packet_id: flow_id,
                fragment_number: blocks_available,
                fragment,
            }),
            Chunk::InitiatorHello(InitiatorHello { discriminator: a, tag: b }),
            Chunk::ForwardedHello(ForwardedHello { discriminator: a, reply_address, tag: b }),
            Chunk::ResponderHello(ResponderHello { tag_echo: a, cookie: b, certificate: c }),
            Chunk::Redirect(Redirect::new(a, &self.addresses)),
            Chunk::CookieChange(CookieChange { old_cookie: a, new_cookie: b }),
            Chunk::InitiatorKeying(InitiatorKeying {
                session_id,
                cookie_echo: a,
                certificate: b,
                component: c,
                signature: d,
                signed: &self.initiator_signed,
            }),
            Chunk::ResponderKeying(ResponderKeying {
                session_id,
                component: a,
                signature: d,
                signed: &self.responder_signed,
            }),
            Chunk::Ping(Ping { message: a }),
            Chunk::PingReply(PingReply { message: a }),
            Chunk::UserData(UserData {
                control,
                abandon,
                last,
                flow_id,
                sequence_number,
                fsn_offset,
                options,
                data: d,
            }),
            Chunk::NextUserData(NextUserData { control, abandon, last, options, data: d }),
            Chunk::AckBitmap(AckBitmap { flow_id, blocks_available, cumulative_ack, bits: a }),
            Chunk::AckRanges(AckRanges { flow_id, blocks_available, cumulative_ack, encoded: a }),
            Chunk::BufferProbe(BufferProbe { flow_id }),
            Chunk::FlowException(FlowException { flow_id, code: blocks_available }),
            Chunk::Close(Close),
            Chunk::CloseAck(CloseAck),
            Chunk::EcnReport(EcnReport { ce_count: session_id as u8 }),
        ]
    }
}

/// Bytes, and how many of them are likely to look like packets: types of chunks, short lengths, VLUs, options.
#[derive(Clone, Debug)]
pub(super) struct Noise(pub(super) Vec<u8>);

impl Arbitrary for Noise {
    fn arbitrary(g: &mut Gen) -> Self {
        const TYPES: [u8; 21] = [
            0x7f, 0x30, 0x0f, 0x70, 0x71, 0x79, 0x38, 0x78, 0x01, 0x41, 0x10, 0x11, 0x50, 0x51, 0x18, 0x5e, 0x0c, 0x4c,
            0x00, 0xff, 0xec,
        ];
        let mut bytes = Vec::<u8>::arbitrary(g);
        let style = u8::arbitrary(g) % 3;
        for byte in &mut bytes {
            match style {
                0 => *byte %= 4,
                1 => *byte = [*byte, *byte % 8, *byte | 0x80, 0][usize::arbitrary(g) % 4],
                _ => {}
            }
        }
        // A run of chunks whose lengths fit.
        if bool::arbitrary(g) {
            let mut chunks = Vec::from([bytes.first().copied().unwrap_or(3)]);
            for payload in bytes.chunks(1 + usize::arbitrary(g) % 40) {
                chunks.extend_from_slice(&[TYPES[usize::arbitrary(g) % 21], 0, payload.len() as u8]);
                chunks.extend_from_slice(payload);
            }
            bytes = chunks;
        }
        Self(bytes)
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        Box::new(self.0.shrink().map(Self))
    }
}
