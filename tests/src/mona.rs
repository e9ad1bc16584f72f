//! Stand-ins for the Mona family (MonaServer2 as a server, librtmfp as a client), which read packets as those programs
//! were seen to do: startup packets only with a timestamp, and a timestamp in each packet of a session, whatever its
//! flags say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rtmfp_core::profile::flash::{FlashProfile, Group, Protection, StaticKeys};
use rtmfp_core::profile::{CryptoProfile, PendingKeying, SessionKeys};
use rtmfp_core::rand_core::Rng as _;
use rtmfp_core::wire::{Mode, session_id};

use crate::duo::TestRng;
use crate::raw_peer::{RawSession, seal};

/// The header that a startup packet must have: mode 3, with a timestamp and nothing else.
const STARTUP: u8 = 0x0b;
/// The receive window that they advertise, always.
const WINDOW: [u8; 3] = [0x83, 0xfe, 0x7f];
/// What a signature is if there is no password.
const NO_SIGNATURE: u8 = 0x58;
/// How a librtmfp client wants a server's keying component to begin.
const COMPONENT: [u8; 7] = [0x03, 0x1a, 0x00, 0x00, 0x02, 0x1e, 0x00];

/// Reads bytes; `None` at their end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vlu(&mut self) -> Option<u64> {
        let mut value = 0;
        loop {
            let byte = self.u8()?;
            value = value << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = self.vlu()?;
        self.bytes(usize::try_from(count).ok()?)
    }
}

fn put_vlu(value: u64, out: &mut Vec<u8>) {
    let groups = (64 - value.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        out.push((value >> (7 * group)) as u8 & 0x7f | if group > 0 { 0x80 } else { 0 });
    }
}

fn put_counted(bytes: &[u8], out: &mut Vec<u8>) {
    put_vlu(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// A chunk.
#[must_use]
pub fn chunk(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// The chunk of a startup packet, if it is one that the family takes.
#[must_use]
pub fn startup_chunk(plain: &[u8]) -> Option<(u8, &[u8])> {
    let mut reader = Reader(plain);
    (reader.u8()? == STARTUP).then_some(())?;
    reader.u16()?;
    let kind = reader.u8()?;
    let length = reader.u16()?;
    Some((kind, reader.bytes(length.into())?))
}

/// A chunk's type and payload.
pub type RawChunk<'a> = (u8, &'a [u8]);

/// A packet of a session, as the family reads it: its chunks, and the time that the sender put in, or seems to have.
#[must_use]
pub fn session_chunks(plain: &[u8]) -> Option<(u16, Vec<RawChunk<'_>>)> {
    let mut reader = Reader(plain);
    let flags = reader.u8()?;
    let time = reader.u16()?;
    if flags & 0x04 != 0 {
        reader.u16()?;
    }
    let mut chunks = Vec::new();
    while let Some(kind) = reader.u8()
        && kind != 0xff
        && let Some(length) = reader.u16()
        && let Some(payload) = reader.bytes(length.into())
    {
        chunks.push((kind, payload));
    }
    Some((time, chunks))
}

/// What one flow brought.
#[derive(Debug, Default)]
struct Inbound {
    done: u64,
    held: BTreeMap<u64, (u8, Vec<u8>)>,
    partial: Vec<u8>,
}

/// Which program it stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// MonaServer2: takes the initiator's key from its certificate.
    Server,
    /// A librtmfp client: drops the rest of a packet after a chunk that it does not know.
    Client,
}

/// See the module.
#[derive(Debug)]
pub struct StandIn {
    part: Part,
    profile: FlashProfile,
    default_keys: Box<dyn SessionKeys>,
    rng: TestRng,
    tag: [u8; 16],
    cookie: [u8; 64],
    pending: Option<(u32, Box<dyn PendingKeying>)>,
    session: Option<RawSession>,
    flows: BTreeMap<u64, Inbound>,
    their_time: Option<u16>,
    next_sequence: u64,
    /// Datagrams to be sent.
    pub out: VecDeque<Vec<u8>>,
    /// Messages that came whole and in order.
    pub messages: Vec<Vec<u8>>,
    /// Pings of the far end that were answered, and answers to its own.
    pub pings: (usize, usize),
    /// Why the session has ended.
    pub closed: Option<&'static str>,
}

impl StandIn {
    /// One that has no session yet.
    ///
    /// # Panics
    /// If the profile cannot be made.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without a peer should stop")]
    pub fn new(part: Part, seed: u64) -> Self {
        let mut rng = TestRng(seed);
        let builder = FlashProfile::builder();
        let builder = match part {
            Part::Server => {
                builder.groups(&[Group::Modp1024]).hmac(Protection::never()).sequence_numbers(Protection::never())
            }
            Part::Client => builder
                .static_keys(StaticKeys::generate(&[Group::Modp1024], &mut rng))
                .hmac(Protection::on_request())
                .sequence_numbers(Protection::on_request()),
        };
        let profile = builder.build(&mut rng).expect("a profile");
        let mut tag = [0; 16];
        rng.fill_bytes(&mut tag);
        let mut cookie = [0; 64];
        rng.fill_bytes(&mut cookie);
        Self {
            part,
            default_keys: profile.default_keys(),
            profile,
            rng,
            tag,
            cookie,
            pending: None,
            session: None,
            flows: BTreeMap::new(),
            their_time: None,
            next_sequence: 0,
            out: VecDeque::new(),
            messages: Vec::new(),
            pings: (0, 0),
            closed: None,
        }
    }

    /// Whether it has a session.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.session.is_some() && self.closed.is_none()
    }

    fn startup(&mut self, id: u32, time: u16, kind: u8, payload: &[u8]) {
        let mut plain = vec![STARTUP];
        plain.extend_from_slice(&time.to_be_bytes());
        plain.extend_from_slice(&chunk(kind, payload));
        self.out.push_back(seal(self.default_keys.as_mut(), id, &plain));
    }

    /// A packet of the session. Its marks of time critical data are constants.
    fn send(&mut self, time: u16, chunks: &[u8]) {
        let Some(session) = self.session.as_mut() else { return };
        let mut flags = match self.part {
            Part::Server => 0x4a,
            Part::Client => 0x89,
        };
        flags |= if self.their_time.is_some() { 0x04 } else { 0 };
        let mut plain = vec![flags];
        for time in [Some(time), self.their_time].into_iter().flatten() {
            plain.extend_from_slice(&time.to_be_bytes());
        }
        plain.extend_from_slice(chunks);
        let datagram = session.seal(&plain);
        self.out.push_back(datagram);
    }

    /// Begins a session, as a client.
    pub fn hello(&mut self, time: u16) {
        let mut payload = Vec::new();
        let mut discriminator = Vec::new();
        put_counted(b"\x0alive", &mut discriminator);
        put_counted(&discriminator, &mut payload);
        payload.extend_from_slice(&self.tag);
        self.startup(0, time, 0x30, &payload);
    }

    /// Sends a message of one fragment on the flow with ID 1.
    pub fn write(&mut self, time: u16, message: &[u8]) {
        self.next_sequence += 1;
        let mut payload = vec![0x80, 0x01];
        put_vlu(self.next_sequence, &mut payload);
        put_vlu(self.next_sequence, &mut payload);
        // Metadata, as a NetConnection's.
        payload.extend_from_slice(b"\x05\x00TC\x04\x40\x00");
        payload.extend_from_slice(message);
        self.send(time, &chunk(0x10, &payload));
    }

    /// Sends a ping, which is empty.
    pub fn ping(&mut self, time: u16) {
        self.send(time, &chunk(0x01, b""));
    }

    /// Asks for an end of the session.
    pub fn close(&mut self, time: u16) {
        self.send(time, &chunk(0x0c, b""));
    }

    /// Takes a datagram.
    pub fn receive(&mut self, time: u16, datagram: &[u8]) {
        let Some((id, offset)) = session_id::unscramble(datagram) else { return };
        let mut bytes = datagram[offset..].to_vec();
        if let Some(session) = self.session.as_mut().filter(|session| session.rx_id == id) {
            if let Ok(plain) = session.keys.open(&mut bytes) {
                self.on_session_packet(time, &bytes[plain]);
            }
        } else if let Ok(plain) = self.default_keys.open(&mut bytes)
            && let Some((kind, payload)) = startup_chunk(&bytes[plain])
        {
            let _ = match kind {
                0x30 => self.on_hello(time, payload),
                0x38 => self.on_keying(time, payload),
                0x70 => self.on_responder_hello(time, payload),
                0x78 => self.on_responder_keying(id, payload),
                _ => None,
            };
        }
    }

    fn on_hello(&mut self, time: u16, payload: &[u8]) -> Option<()> {
        let mut reader = Reader(payload);
        let mut discriminator = Reader(reader.counted()?);
        let kind = Reader(discriminator.counted()?).u8()?;
        (matches!(kind, 0x0a | 0x0f) && reader.0.len() == 16).then_some(())?;
        let mut answer = Vec::new();
        put_counted(reader.0, &mut answer);
        put_counted(&self.cookie, &mut answer);
        // Says that it knows groups 2, 5 and 14; it knows only group 2.
        let mut randomness = [0x0e; 65];
        self.rng.fill_bytes(&mut randomness[1..]);
        answer.extend_from_slice(&[0x01, 0x0a]);
        put_counted(&randomness, &mut answer);
        answer.extend_from_slice(&[0x02, 0x15, 0x02, 0x02, 0x15, 0x05, 0x02, 0x15, 0x0e]);
        self.startup(0, time, 0x70, &answer);
        Some(())
    }

    fn on_keying(&mut self, time: u16, payload: &[u8]) -> Option<()> {
        let mut reader = Reader(payload);
        let tx_id = u32::from_be_bytes(reader.bytes(4)?.try_into().ok()?);
        (reader.counted()? == self.cookie).then_some(())?;
        let certificate = reader.counted()?;
        // Its first option is the key, in group 2.
        let key = Reader(certificate).counted()?;
        (key.starts_with(&[0x1d, 0x02]) && key.len() > 120).then_some(())?;
        let component = reader.counted()?;
        (reader.0.first() == Some(&NO_SIGNATURE)).then_some(())?;
        if self.session.is_some() {
            return None;
        }
        let response = self.profile.respond(certificate, component, None, &mut self.rng).ok()?;
        let rx_id = self.rng.next_u32() | 1;
        let mut answer = rx_id.to_be_bytes().to_vec();
        put_counted(&response.component, &mut answer);
        answer.push(NO_SIGNATURE);
        self.startup(tx_id, time, 0x78, &answer);
        self.session = Some(RawSession { keys: response.keys, rx_id, tx_id, mode: Mode::Responder });
        Some(())
    }

    fn on_responder_hello(&mut self, time: u16, payload: &[u8]) -> Option<()> {
        let mut reader = Reader(payload);
        (reader.counted()? == self.tag).then_some(())?;
        let cookie = reader.counted()?;
        (cookie.len() == 64 && self.pending.is_none()).then_some(())?;
        let initiation = self.profile.initiate(reader.0, None, &mut self.rng).ok()?;
        let rx_id = self.rng.next_u32() | 1;
        let mut keying = rx_id.to_be_bytes().to_vec();
        put_counted(cookie, &mut keying);
        put_counted(self.profile.certificate(), &mut keying);
        put_counted(&initiation.component, &mut keying);
        keying.push(NO_SIGNATURE);
        self.pending = Some((rx_id, initiation.pending));
        self.startup(0, time, 0x38, &keying);
        Some(())
    }

    fn on_responder_keying(&mut self, id: u32, payload: &[u8]) -> Option<()> {
        let mut reader = Reader(payload);
        let tx_id = u32::from_be_bytes(reader.bytes(4)?.try_into().ok()?);
        let component = reader.counted()?;
        (reader.0 == [NO_SIGNATURE]).then_some(())?;
        // It takes all after the eleventh byte for the key.
        (component.starts_with(&COMPONENT) && component.get(9..11)? == [0x0d, 0x02]).then_some(())?;
        (component.len() >= 138).then_some(())?;
        let (rx_id, pending) = self.pending.take().filter(|(rx_id, _)| *rx_id == id)?;
        let keys = pending.finish(component).ok()?;
        self.session = Some(RawSession { keys, rx_id, tx_id, mode: Mode::Initiator });
        Some(())
    }

    fn on_session_packet(&mut self, time: u16, plain: &[u8]) {
        let Some((their_time, chunks)) = session_chunks(plain) else { return };
        self.their_time = Some(their_time);
        let (mut answers, mut touched, mut flow, mut sequence) = (Vec::new(), BTreeSet::new(), 0, 0);
        for (kind, payload) in chunks {
            match kind {
                0x10 | 0x11 => {
                    if self.on_data(kind, payload, &mut flow, &mut sequence).is_none() {
                        break;
                    }
                    touched.insert(flow);
                }
                0x01 => {
                    self.pings.0 += 1;
                    answers.extend_from_slice(&chunk(0x41, payload));
                }
                0x41 => self.pings.1 += 1,
                0x50 | 0x51 if Self::window(payload) == Some(0) => self.closed = Some("a window of zero"),
                0x50 | 0x51 => {}
                0x18 => self.closed = Some("a buffer probe"),
                0x0c => {
                    answers.extend_from_slice(&chunk(0x4c, b""));
                    self.closed = Some("the far end asked for it");
                }
                0x4c => self.closed = Some("the far end agreed"),
                _ if self.part == Part::Client => break,
                _ => {}
            }
        }
        for (id, flow) in self.flows.iter().filter(|(id, _)| touched.contains(id)) {
            let mut ack = Vec::new();
            put_vlu(*id, &mut ack);
            ack.extend_from_slice(&WINDOW);
            put_vlu(flow.done, &mut ack);
            answers.extend_from_slice(&chunk(0x51, &ack));
        }
        if !answers.is_empty() {
            self.send(time, &answers);
        }
    }

    fn window(ack: &[u8]) -> Option<u64> {
        let mut reader = Reader(ack);
        reader.vlu()?;
        reader.vlu()
    }

    fn on_data(&mut self, kind: u8, payload: &[u8], id: &mut u64, sequence: &mut u64) -> Option<()> {
        let mut reader = Reader(payload);
        let flags = reader.u8()?;
        if kind == 0x10 {
            *id = reader.vlu()?;
            *sequence = reader.vlu()?;
            reader.vlu()?;
            if flags & 0x80 != 0 {
                while !reader.counted()?.is_empty() {}
            }
        } else {
            *sequence += 1;
        }
        let flow = self.flows.entry(*id).or_default();
        if *sequence > flow.done {
            flow.held.insert(*sequence, (flags, reader.0.to_vec()));
        }
        while let Some((flags, data)) = flow.held.remove(&(flow.done + 1)) {
            flow.done += 1;
            flow.partial.extend_from_slice(&data);
            // Whole, or the last fragment of it.
            if matches!(flags & 0x30, 0x00 | 0x20) && flags & 0x02 == 0 {
                self.messages.push(std::mem::take(&mut flow.partial));
            }
        }
        Some(())
    }
}
