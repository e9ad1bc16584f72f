//! A peer made by hand: it speaks the handshake with an [`Endpoint`] and can then seal any bytes
//! as a packet of the session, right or wrong. For tests of what an endpoint does with a far end that knows the keys
//! and keeps no rule.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use rtmfp_core::profile::{CryptoProfile, PendingKeying, SessionKeys, Span};
use rtmfp_core::rand_core::Rng as _;
use rtmfp_core::wire::{
    Chunk, EncodeChunk, InitiatorHello, InitiatorKeying, Mode, PacketHeader, PacketWriter, ResponderHello,
    ResponderKeying, session_id,
};
use rtmfp_core::{Endpoint, Instant, InterfaceId, Path, RecvMeta, Role, TransmitBuf};

use crate::duo::TestRng;

/// Seals a plain packet and puts the scrambled session ID before it.
pub fn seal(keys: &mut dyn SessionKeys, id: u32, plain: &[u8]) -> Vec<u8> {
    let (start, front) = (session_id::LEN, keys.front_len(0));
    let span = Span { start, front, plain: plain.len(), sealed: keys.sealed_len(front, plain.len()) };
    let mut bytes = vec![0; start + front];
    bytes.extend_from_slice(plain);
    bytes.resize(start + span.sealed, 0);
    keys.seal(&mut bytes, &[span]);
    let scrambled = session_id::scramble(id, &bytes[start..]);
    bytes[..start].copy_from_slice(&scrambled);
    bytes
}

/// A plain packet of these chunks; what does not fit 65,000 bytes is left out.
#[must_use]
pub fn packet(mode: Mode, chunks: &[Chunk<'_>]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut writer = PacketWriter::new(&mut plain, 65_000);
    writer.header(&PacketHeader::new(mode));
    for chunk in chunks {
        chunk.write(&mut writer);
    }
    plain
}

/// The peer's end of an established session.
#[derive(Debug)]
pub struct RawSession {
    /// Its keys.
    pub keys: Box<dyn SessionKeys>,
    /// The session ID of packets for the peer.
    pub rx_id: u32,
    /// The session ID of packets for the endpoint.
    pub tx_id: u32,
    /// The mode that the peer's packets bear.
    pub mode: Mode,
}

impl RawSession {
    /// Seals a plain packet, whatever it holds, for the endpoint.
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        seal(self.keys.as_mut(), self.tx_id, plain)
    }

    /// Seals a packet of these chunks.
    pub fn chunks(&mut self, chunks: &[Chunk<'_>]) -> Vec<u8> {
        let plain = packet(self.mode, chunks);
        self.seal(&plain)
    }
}

/// See the module.
#[derive(Debug)]
pub struct RawPeer {
    /// Its identity.
    pub profile: Arc<dyn CryptoProfile>,
    /// Where it is.
    pub address: SocketAddr,
    /// Draws its tags, session IDs and keys.
    pub rng: TestRng,
    /// Keys of startup packets.
    pub default_keys: Box<dyn SessionKeys>,
    /// Its newest session.
    pub session: Option<RawSession>,
    /// Datagrams for the endpoint that the handshake asks for.
    pub out: VecDeque<Vec<u8>>,
    /// The last cookie that the endpoint gave.
    pub cookie: Vec<u8>,
    /// The tag of the last hello from the endpoint.
    pub seen_tag: Vec<u8>,
    far_certificate: Vec<u8>,
    pending: Option<(u32, Box<dyn PendingKeying>)>,
}

impl RawPeer {
    /// A peer without a session.
    #[must_use]
    pub fn new(profile: Arc<dyn CryptoProfile>, address: SocketAddr, seed: u64) -> Self {
        Self {
            default_keys: profile.default_keys(),
            profile,
            address,
            rng: TestRng(seed),
            session: None,
            out: VecDeque::new(),
            cookie: Vec::new(),
            seen_tag: Vec::new(),
            far_certificate: Vec::new(),
            pending: None,
        }
    }

    /// The path that the endpoint sees its datagrams on.
    #[must_use]
    pub fn path(&self) -> Path {
        Path::new(InterfaceId(0), self.address)
    }

    /// Seals a startup packet of one chunk.
    pub fn startup(&mut self, id: u32, chunk: &impl EncodeChunk) -> Vec<u8> {
        let mut plain = Vec::new();
        let mut writer = PacketWriter::new(&mut plain, 65_000);
        writer.header(&PacketHeader::new(Mode::Startup));
        writer.push(chunk);
        seal(self.default_keys.as_mut(), id, &plain)
    }

    /// Begins a session: puts a hello for the endpoint that `discriminator` selects into `out`.
    pub fn hello(&mut self, discriminator: &[u8]) {
        let mut tag = [0; 16];
        self.rng.fill_bytes(&mut tag);
        let hello = self.startup(0, &InitiatorHello { discriminator, tag: &tag });
        self.out.push_back(hello);
    }

    /// Takes a datagram from the endpoint: answers startup through `out`, and gives the plain packet of anything
    /// that it could open, with whether that was a packet of the session.
    pub fn receive(&mut self, datagram: &[u8]) -> Option<(Vec<u8>, bool)> {
        let (id, offset) = session_id::unscramble(datagram)?;
        let mut bytes = datagram[offset..].to_vec();
        if let Some(session) = self.session.as_mut().filter(|session| session.rx_id == id) {
            let plain = session.keys.open(&mut bytes).ok()?;
            return Some((bytes[plain].to_vec(), true));
        }
        let plain = self.default_keys.open(&mut bytes).ok()?;
        let plain = bytes[plain].to_vec();
        let (_, chunks) = PacketHeader::parse(&plain).ok()?;
        for chunk in chunks.flatten() {
            self.on_startup(id, &chunk);
        }
        Some((plain, false))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only startup is spoken by itself")]
    fn on_startup(&mut self, id: u32, chunk: &Chunk<'_>) {
        match chunk {
            Chunk::ResponderHello(hello) => {
                self.cookie = hello.cookie.to_vec();
                self.far_certificate = hello.certificate.to_vec();
                self.keying();
            }
            Chunk::ResponderKeying(keying) => {
                let Some((rx_id, pending)) = self.pending.take().filter(|(rx_id, _)| *rx_id == id) else { return };
                if let Ok(keys) = pending.finish(keying.component) {
                    let tx_id = keying.session_id;
                    self.session = Some(RawSession { keys, rx_id, tx_id, mode: Mode::Initiator });
                }
            }
            Chunk::InitiatorHello(hello) => {
                self.seen_tag = hello.tag.to_vec();
                let profile = Arc::clone(&self.profile);
                let answer =
                    ResponderHello { tag_echo: hello.tag, cookie: &[7; 64], certificate: profile.certificate() };
                let answer = self.startup(0, &answer);
                self.out.push_back(answer);
            }
            Chunk::InitiatorKeying(keying) => self.answer_keying(keying),
            _ => {}
        }
    }

    /// Sends an IIKeying with the last cookie.
    pub fn keying(&mut self) {
        let profile = Arc::clone(&self.profile);
        let Ok(initiation) = profile.initiate(&self.far_certificate, None, &mut self.rng) else { return };
        let rx_id = self.rng.next_u32() | 1;
        let (cookie, component) = (self.cookie.clone(), initiation.component);
        let signed = InitiatorKeying::signed_parameters(rx_id, &cookie, profile.certificate(), &component);
        let signature = profile.sign(Role::Initiator, &self.far_certificate, &[&signed]);
        let keying = InitiatorKeying {
            session_id: rx_id,
            cookie_echo: &cookie,
            certificate: profile.certificate(),
            component: &component,
            signature: &signature,
            signed: &signed,
        };
        self.pending = Some((rx_id, initiation.pending));
        let keying = self.startup(0, &keying);
        self.out.push_back(keying);
    }

    fn answer_keying(&mut self, keying: &InitiatorKeying<'_>) {
        let profile = Arc::clone(&self.profile);
        let Ok(response) = profile.respond(keying.certificate, keying.component, None, &mut self.rng) else { return };
        let rx_id = self.rng.next_u32() | 1;
        let signed = ResponderKeying::signed_parameters(rx_id, &response.component);
        let signature = profile.sign(Role::Responder, keying.certificate, &[&signed, keying.component]);
        let answer = ResponderKeying {
            session_id: rx_id,
            component: &response.component,
            signature: &signature,
            signed: &signed,
        };
        let answer = self.startup(keying.session_id, &answer);
        self.out.push_back(answer);
        self.session = Some(RawSession { keys: response.keys, rx_id, tx_id: keying.session_id, mode: Mode::Responder });
    }

    /// Lets the peer and the endpoint, alone in the world, say what they have to say at this moment. Gives the plain
    /// packets of the session that came.
    pub fn talk(&mut self, endpoint: &mut Endpoint, now: Instant) -> Vec<Vec<u8>> {
        let mut buf = TransmitBuf::new(6);
        let mut plain = Vec::new();
        loop {
            while let Some(mut datagram) = self.out.pop_front() {
                let _ = endpoint.handle_datagram(now, self.path(), RecvMeta::default(), &mut datagram);
            }
            while let Some(transmit) = endpoint.poll_transmit(now, &mut buf) {
                if transmit.path.remote != self.address {
                    continue;
                }
                for datagram in buf.datagrams() {
                    plain.extend(self.receive(datagram).filter(|(_, session)| *session).map(|(plain, _)| plain));
                }
            }
            if self.out.is_empty() {
                return plain;
            }
        }
    }

    /// Opens a session to the endpoint that `discriminator` selects.
    ///
    /// # Panics
    /// If the endpoint does not take it.
    pub fn connect(&mut self, endpoint: &mut Endpoint, now: Instant, discriminator: &[u8]) {
        self.session = None;
        self.hello(discriminator);
        self.talk(endpoint, now);
        assert!(self.session.is_some(), "no session");
    }

    /// Hands the endpoint a packet of the session that holds these chunks.
    ///
    /// # Panics
    /// If there is no session.
    #[expect(clippy::expect_used, reason = "a test without a session should stop")]
    pub fn send(&mut self, endpoint: &mut Endpoint, now: Instant, chunks: &[Chunk<'_>]) {
        let path = self.path();
        let mut datagram = self.session.as_mut().expect("a session").chunks(chunks);
        let _ = endpoint.handle_datagram(now, path, RecvMeta::default(), &mut datagram);
    }
}
