//! Chunks of every type that are nearly right: the right shape, with values at and beyond every edge, and then, for
//! some, damage to the bytes.

use std::net::{IpAddr, SocketAddr};

use super::draw::Draw;
use rtmfp_core::wire::{
    AckBitmap, AckRanges, Address, AddressOrigin, BufferProbe, Chunk, Close, CloseAck, CookieChange, EcnReport,
    FlowException, ForwardedHello, FragmentControl, InitiatorHello, InitiatorKeying, NextUserData, PacketFragment,
    PacketWriter, Ping, PingReply, Redirect, ResponderHello, ResponderKeying, UserData, encode_option, vlu,
};

/// What the grammar has to know to hit anything.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Selects the endpoint.
    pub discriminator: Vec<u8>,
    /// The tag of its last hello.
    pub tag: Vec<u8>,
    /// The last cookie that it gave.
    pub cookie: Vec<u8>,
    /// A certificate of the right kind.
    pub certificate: Vec<u8>,
    /// One chunk in so many that is sure to end the session, such as a close, is let through.
    pub lethal_one_in: u64,
}

impl Draw {
    /// A flow: mostly one of a few.
    fn flow(&mut self) -> u64 {
        if self.one_in(4) { self.number() } else { self.below(6) }
    }

    /// Mostly short, at times the longest that fits, at times none.
    fn data(&mut self) -> Vec<u8> {
        let len = match self.below(20) {
            0..4 => 0,
            4..18 => self.below(64),
            18 => self.below(1_400),
            _ => 1_000 + self.below(3_000),
        };
        self.bytes(len as usize)
    }

    fn options(&mut self) -> Option<Vec<u8>> {
        let mut options = Vec::new();
        match self.below(8) {
            0..3 => return None,
            3..6 => encode_option(0, b"a name", &mut options),
            6 => {
                encode_option(0, &self.bytes(3), &mut options);
                let mut answers = Vec::new();
                vlu::encode(self.flow(), &mut answers);
                encode_option(0x0a, &answers, &mut options);
            }
            _ => {
                for _ in 0..self.below(5) {
                    let (kind, value) = (self.number(), self.data());
                    encode_option(kind, &value, &mut options);
                }
            }
        }
        Some(options)
    }

    fn address(&mut self) -> Address {
        let bytes: [u8; 16] = self.bytes(16).try_into().unwrap();
        let ip: IpAddr = match self.below(5) {
            0 => IpAddr::from(bytes),
            1 => IpAddr::from([0; 4]),
            2 => IpAddr::from([224, 0, 0, bytes[0]]),
            3 => IpAddr::from([255; 4]),
            _ => IpAddr::from([203, 0, 113, bytes[0]]),
        };
        let origins = [AddressOrigin::Unknown, AddressOrigin::Local, AddressOrigin::Observed, AddressOrigin::Relay];
        let port = if self.one_in(8) { 0 } else { self.below(65_536) as u16 };
        Address { origin: origins[self.below(4) as usize], socket: SocketAddr::new(ip, port) }
    }

    fn either(&mut self, known: &[u8]) -> Vec<u8> {
        if self.one_in(3) || known.is_empty() { self.data() } else { known.to_vec() }
    }

    /// Writes one chunk of session or startup. Boundary values first; whoever wants damage adds it after.
    #[expect(clippy::too_many_lines, reason = "one arm for each type of chunk")]
    pub fn chunk(&mut self, known: &Known, startup: bool, packet: &mut PacketWriter<'_>) {
        const STARTUP: [u8; 9] = [0x7f, 0x30, 0x70, 0x71, 0x79, 0x38, 0x78, 0x0f, 0x0c];
        const SESSION: [u8; 14] = [0x01, 0x41, 0x10, 0x10, 0x10, 0x11, 0x50, 0x51, 0x18, 0x5e, 0x0c, 0x4c, 0xec, 0x0f];
        // Anything may stand anywhere, but what belongs there gets deeper.
        let kind = if self.one_in(40) {
            self.below(256) as u8
        } else if startup {
            STARTUP[self.below(STARTUP.len() as u64) as usize]
        } else {
            SESSION[self.below(SESSION.len() as u64) as usize]
        };
        let (a, b, c) = (self.data(), self.data(), self.data());
        let (flow_id, control) = (
            self.flow(),
            [FragmentControl::Whole, FragmentControl::Begin, FragmentControl::End, FragmentControl::Middle]
                [self.below(4) as usize],
        );
        let session_id = self.below(1 << 32) as u32;
        let (abandon, last) = (self.one_in(12), self.one_in(60));
        let options = self.options();
        let lethal = self.one_in(known.lethal_one_in);
        let chunk = match kind {
            0x7f => {
                let chunk = PacketFragment {
                    more_fragments: !self.one_in(3),
                    packet_id: self.below(20),
                    fragment_number: if self.one_in(3) { self.number() } else { self.below(8) },
                    fragment: &a,
                };
                packet.push(&chunk);
                return;
            }
            0x30 => {
                let discriminator = self.either(&known.discriminator);
                packet.push(&InitiatorHello { discriminator: &discriminator, tag: &b });
                return;
            }
            0x0f => {
                let (discriminator, reply_address) = (self.either(&known.discriminator), self.address());
                packet.push(&ForwardedHello { discriminator: &discriminator, reply_address, tag: &b });
                return;
            }
            0x70 => {
                let (tag_echo, cookie) = (self.either(&known.tag), self.either(&[9; 64]));
                let certificate = self.either(&known.certificate);
                packet.push(&ResponderHello { tag_echo: &tag_echo, cookie: &cookie, certificate: &certificate });
                return;
            }
            0x71 => {
                let addresses: Vec<Address> = (0..self.below(60)).map(|_| self.address()).collect();
                let tag_echo = self.either(&known.tag);
                packet.push(&Redirect::new(&tag_echo, &addresses));
                return;
            }
            0x79 => {
                let old_cookie = self.either(&known.cookie);
                packet.push(&CookieChange { old_cookie: &old_cookie, new_cookie: &b });
                return;
            }
            0x38 => {
                // One that is right in all takes the place of the session that the peer has.
                let cookie = if self.one_in(8) { &known.cookie[..] } else { &[5; 64] };
                let (cookie_echo, certificate) = (self.either(cookie), self.either(&known.certificate));
                let signed = InitiatorKeying::signed_parameters(session_id, &cookie_echo, &certificate, &b);
                packet.push(&InitiatorKeying {
                    session_id,
                    cookie_echo: &cookie_echo,
                    certificate: &certificate,
                    component: &b,
                    signature: &c,
                    signed: &signed,
                });
                return;
            }
            0x78 => {
                let signed = ResponderKeying::signed_parameters(session_id, &a);
                packet.push(&ResponderKeying { session_id, component: &a, signature: &b, signed: &signed });
                return;
            }
            0x01 => Chunk::Ping(Ping { message: &a }),
            0x41 => Chunk::PingReply(PingReply { message: &a }),
            0x10 => {
                let sequence_number = if self.one_in(6) { self.number() } else { self.below(3_000) };
                let fsn_offset = match self.below(6) {
                    0 => self.number(),
                    1 => sequence_number,
                    2 => self.below(64),
                    _ => sequence_number.saturating_sub(1),
                };
                let options = options.as_deref();
                Chunk::UserData(UserData {
                    control,
                    abandon,
                    last,
                    flow_id,
                    sequence_number,
                    fsn_offset,
                    options,
                    data: &a,
                })
            }
            0x11 => Chunk::NextUserData(NextUserData { control, abandon, last, options: options.as_deref(), data: &a }),
            0x50 | 0x51 => {
                // An acknowledgement of what was never sent ends an authenticated session.
                let cumulative_ack = if lethal { self.number() } else { 0 };
                let (blocks_available, bits) = (self.number(), if lethal { &a[..] } else { &[] });
                if kind == 0x50 {
                    Chunk::AckBitmap(AckBitmap { flow_id, blocks_available, cumulative_ack, bits })
                } else {
                    Chunk::AckRanges(AckRanges { flow_id, blocks_available, cumulative_ack, encoded: bits })
                }
            }
            0x18 => Chunk::BufferProbe(BufferProbe { flow_id }),
            0x5e => Chunk::FlowException(FlowException { flow_id, code: self.number() }),
            0x0c if lethal => Chunk::Close(Close),
            0x4c if lethal => Chunk::CloseAck(CloseAck),
            0x0c | 0x4c if !startup => return,
            0xec => Chunk::EcnReport(EcnReport { ce_count: session_id as u8 }),
            kind => {
                packet.push_with(kind, |out| out.extend_from_slice(&a));
                return;
            }
        };
        chunk.write(packet);
    }

    /// Damages bytes in one of many ways.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = self.below(bytes.len() as u64) as usize;
        let to = at + self.below((bytes.len() - at) as u64) as usize;
        match self.below(9) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = self.below(256) as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, self.below(256) as u8),
            4 => drop(bytes.drain(at..to)),
            5 => bytes[at..to].fill(0xff),
            6 => bytes[at..to].fill(0),
            7 => {
                let again = bytes[at..to].to_vec();
                bytes.extend_from_slice(&again);
            }
            _ => bytes[at..to].reverse(),
        }
    }
}
