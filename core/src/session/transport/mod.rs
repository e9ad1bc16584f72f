//! Path and keys: where the packets of a session go, what seals them, and what was measured on the way.

mod black_hole;
mod ecn;
pub(super) mod mobility;
pub(super) mod mtu;
mod no_keys;
mod rtt;
mod seal;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use rand_core::CryptoRng;

use super::alarm::Alarm;
use super::context::Established;
use crate::config::SessionConfig;
use crate::error::DropReason;
use crate::invariant::cannot_happen;
use crate::params::{DATAGRAM_SAFE, UNPROVED_IDLE_LIMIT};
use crate::profile::Role;
use crate::profile::SessionKeys;
use crate::stats::SessionStats;
use crate::time::Instant;
use crate::transmit::{Path, RecvMeta};
use crate::wire::{CHUNK_HEADER_LEN, Mode, PacketHeader, session_id};

use mobility::Mobility;
use mtu::Mtu;
use no_keys::NoKeys;

pub(super) use ecn::EcnState;
pub(super) use rtt::Rtt;

/// Room left free when fragments are cut: the profile's front (a sequence number) may grow by as much until one is
/// sent again, and then it must still fit. Room for the longest header is left by the flow.
pub(super) const GROWTH_RESERVE: usize = 4;

/// Which paths a session may move to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum PathRule {
    #[default]
    Any,
    /// As when an interface of last resort leads over this session.
    NoLastResort,
    OnlyLastResort,
}

impl PathRule {
    const fn allows(self, path: Path) -> bool {
        match self {
            Self::Any => true,
            Self::NoLastResort => !path.interface.is_last_resort(),
            Self::OnlyLastResort => path.interface.is_last_resort(),
        }
    }
}

/// What exists from S_OPEN on.
pub(super) struct Link {
    pub(super) keys: Box<dyn SessionKeys>,
    pub(super) tx_id: u32,
    /// DESTADDR, and our interface to it.
    pub(super) path: Path,
    pub(super) far_certificate: Bytes,
}

/// See the module.
pub(crate) struct Transport {
    pub(super) role: Role,
    pub(super) link: Option<Link>,
    /// See [`keys_proved`](Self::keys_proved).
    keys_proved: bool,
    /// The far end has not shown for long that it has the keys.
    pub(super) proof: Alarm,
    /// An interface of last resort leads over this session.
    carries: bool,
    rule: PathRule,
    /// The local address of the path is gone, and nothing has come to it since.
    local_removed: bool,
    /// Where the far end was before it claimed to be elsewhere, which few do.
    first_path: Option<Box<Path>>,
    mobility: Option<Box<Mobility>>,
    pub(super) rtt: Rtt,
    pub(super) ecn: EcnState,
    pub(super) mtu: Mtu,
    base_datagram: usize,
    /// With nothing of the size that is needed for so long, the path is given up.
    retransmit_limit: Duration,
    packets_received: u64,
    packets_sent: u64,
    bytes_received: u64,
    bytes_sent: u64,
}

impl Transport {
    pub(super) fn new(role: Role, config: &SessionConfig) -> Self {
        Self {
            role,
            link: None,
            keys_proved: false,
            carries: false,
            rule: PathRule::Any,
            local_removed: false,
            proof: Alarm::default(),
            first_path: None,
            mobility: None,
            rtt: if config.mona { Rtt::stamping_every_packet() } else { Rtt::new() },
            ecn: EcnState::new(config.ecn && !config.mona),
            mtu: Mtu::new(config.base_datagram, config.max_datagram),
            base_datagram: config.base_datagram,
            retransmit_limit: config.retransmit_limit,
            packets_received: 0,
            packets_sent: 0,
            bytes_received: 0,
            bytes_sent: 0,
        }
    }

    /// Keys exist.
    pub(super) fn establish(&mut self, established: Established) {
        let Established { keys, tx_id, path, far_certificate } = established;
        self.link = Some(Link { keys, tx_id, path, far_certificate });
    }

    pub(crate) const fn role(&self) -> Role {
        self.role
    }

    /// Where packets go, from S_OPEN on.
    pub(crate) fn path(&self) -> Option<Path> {
        self.link.as_ref().map(|link| link.path)
    }

    /// The path of last resort to go back to.
    #[inline]
    pub(super) fn fallback(&self) -> Option<Path> {
        self.mobility.as_ref()?.fallback
    }

    pub(super) const fn carries(&self) -> bool {
        self.carries
    }

    /// It never goes over an interface of last resort itself then.
    pub(super) const fn carry(&mut self) {
        self.carries = true;
        self.rule = PathRule::NoLastResort;
    }

    pub(super) const fn set_path_rule(&mut self, rule: PathRule) {
        self.rule = rule;
    }

    /// Whether its rule allows it to go there.
    pub(super) const fn may_move_to(&self, path: Path) -> bool {
        self.rule.allows(path)
    }

    /// What was sent is not answered, time and again. A relay may go, and a path that a relay was left for may fail, before
    /// it was measured.
    pub(super) fn is_struggling(&self) -> bool {
        let is_relayed = || self.path().is_some_and(|path| path.interface.is_last_resort());
        self.rtt.is_far_backed_off() || self.rtt.is_unanswered() && (self.fallback().is_some() || is_relayed())
    }

    /// Where the far end is, from S_OPEN on.
    #[inline]
    pub(crate) fn remote(&self) -> Option<&SocketAddr> {
        self.link.as_ref().map(|link| &link.path.remote)
    }

    /// The session ID on packets to the far end, from S_OPEN on.
    pub(crate) fn tx_id(&self) -> Option<u32> {
        self.link.as_ref().map(|link| link.tx_id)
    }

    /// Empty before S_OPEN, as are the nonces.
    pub(crate) fn far_certificate(&self) -> &[u8] {
        self.link.as_ref().map_or(&[], |link| &link.far_certificate)
    }

    pub(crate) fn near_nonce(&self) -> &[u8] {
        self.link.as_ref().map_or(&[], |link| link.keys.near_nonce())
    }

    pub(crate) fn far_nonce(&self) -> &[u8] {
        self.link.as_ref().map_or(&[], |link| link.keys.far_nonce())
    }

    pub(crate) fn is_post_quantum(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.keys.is_post_quantum())
    }

    /// Whether only the far end can have made what the keys open. False before there are keys.
    pub(super) fn authenticates(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.keys.authenticates())
    }

    /// The far end, and nobody else, has shown that it has the keys: with a packet, if those authenticate what they open,
    /// else with the answer to a question that takes the keys to read.
    pub(crate) const fn keys_proved(&self) -> bool {
        self.keys_proved
    }

    /// Whether that can be: without authentication, only the initiator is asked.
    pub(crate) fn can_prove_keys(&self) -> bool {
        self.role == Role::Responder || self.authenticates()
    }

    /// Whether the session may be somebody's who cannot prove to have its keys.
    pub(crate) fn is_unproved(&self) -> bool {
        self.role == Role::Responder && !self.keys_proved
    }

    /// How long the session may have no flows, if that is the limit for one whose far end has shown the keys.
    pub(super) fn idle_limit(&self, limit: Duration) -> Duration {
        if self.is_unproved() { limit.min(UNPROVED_IDLE_LIMIT) } else { limit }
    }

    /// They are proved now.
    fn prove_keys(&mut self) {
        self.keys_proved = true;
        self.proof.clear();
    }

    /// The session is over: nothing is sealed or opened any more, and its secrets go, however long it is kept to be read.
    pub(super) fn forget_secrets(&mut self) {
        if let Some(link) = &mut self.link {
            link.keys = Box::new(NoKeys);
        }
        self.mobility = None;
    }

    /// Opens a packet in place; returns the plain one.
    ///
    /// # Errors
    /// The keys do not open it, or there are none.
    pub(super) fn open<'a>(&mut self, encrypted: &'a mut [u8]) -> Result<&'a [u8], DropReason> {
        // The far end has its keys first, and may use them at once.
        let link = self.link.as_mut().ok_or(DropReason::Unexpected)?;
        let range = link.keys.open(encrypted)?;
        encrypted.get(range).ok_or_else(|| cannot_happen!(DropReason::Malformed, "keys open what is within a packet"))
    }

    /// A packet of the far end was opened.
    pub(super) fn received(&mut self, datagram_len: usize) {
        if !self.keys_proved && self.authenticates() {
            self.prove_keys();
        }
        self.packets_received += 1;
        self.bytes_received += datagram_len as u64;
    }

    /// What the header of a packet of the far end tells of the path.
    pub(super) fn on_header(&mut self, now: Instant, header: &PacketHeader, meta: RecvMeta) {
        self.rtt.received(now, header.timestamp, header.timestamp_echo);
        self.ecn.on_packet(meta.ecn);
    }

    /// A Ping Reply came that is not the answer to a question.
    pub(super) fn on_ping_reply(&mut self, now: Instant, message: &[u8]) {
        self.mtu.on_reply(now, message);
        self.mtu.on_answer();
    }

    /// Data was acknowledged (0: none), or declared lost, that was sent in packets up to so many bytes long.
    pub(super) fn on_sizes(&mut self, now: Instant, acknowledged: usize, lost: Option<usize>) {
        if acknowledged > 0 {
            self.mtu.on_acknowledged(acknowledged);
        }
        if let Some(lost) = lost {
            let small = self.plain_capacity(DATAGRAM_SAFE - session_id::LEN);
            self.mtu.on_lost(now, lost, small, self.retransmit_limit);
        }
    }

    /// Path MTU discovery, if it is due. Whether the path has carried small packets only for the retransmit limit.
    pub(super) fn on_path_mtu(&mut self, now: Instant) -> bool {
        let due = self.mtu.next_timeout().is_some_and(|at| at <= now);
        due && self.mtu.handle_timeout(now, self.retransmit_limit)
    }

    /// The question to ask over `path`, where a packet came from, if it is not known who sent it (RFC 7016 §3.5.4.2).
    pub(super) fn question(&mut self, now: Instant, rng: &mut dyn CryptoRng, path: Path) -> Option<Vec<u8>> {
        let link = self.link.as_ref()?;
        let (here, authenticates) = (link.path.matches(&path), link.keys.authenticates());
        if !self.rule.allows(path) {
            return None;
        }
        if self.local_removed && here {
            self.local_removed = false;
        }
        let at_first = self.first_path.as_ref().is_some_and(|first| first.matches(&path));
        // Packets that are not authenticated say nothing of who sent them: one of 65,536 that are made up passes for
        // good. So this end asks whether the far end can read what is sent to it.
        let of_keys = self.role == Role::Responder && !self.keys_proved && (here || at_first);
        // A valid packet from elsewhere makes this end ask whether the far end is there now. RFC 7016 §5: without
        // authenticated packets this would be "session hijacking support".
        let of_place = !here && authenticates;
        if !of_keys && !of_place {
            return None;
        }
        self.mobility(rng).check(now, path)
    }

    /// The question that `path` is probed with, if the far end can prove with it that it is there.
    pub(super) fn probe(&mut self, now: Instant, rng: &mut dyn CryptoRng, path: Path) -> Option<Vec<u8>> {
        if !self.authenticates() {
            return None;
        }
        self.mobility(rng).message(now, path)
    }

    fn mobility(&mut self, rng: &mut dyn CryptoRng) -> &mut Mobility {
        self.mobility.get_or_insert_with(|| Box::new(Mobility::new(rng)))
    }

    /// The answer to a question came from `path`. Whether it proves that the far end is there.
    pub(super) fn proves(&mut self, now: Instant, path: Path, message: &[u8]) -> bool {
        if !self.mobility.as_mut().is_some_and(|mobility| mobility.proves(now, path, message)) {
            return false;
        }
        self.prove_keys();
        self.authenticates() || self.first_path.take().is_some_and(|first| first.matches(&path))
    }

    /// Packets go to `path` from now on. False: they do already, or there are no keys. A far end that merely claims to be
    /// there is heard still where it was first, until it has shown that it has the keys: anybody may have said so.
    pub(super) fn move_to(&mut self, path: Path, claimed: bool) -> bool {
        if !self.rule.allows(path) {
            return false;
        }
        if claimed && !self.keys_proved {
            self.first_path = self.first_path.take().or_else(|| self.path().map(Box::new));
        }
        let Some(link) = self.link.as_mut().filter(|link| !link.path.matches(&path)) else {
            return false;
        };
        let left = core::mem::replace(&mut link.path, path);
        if let Some(mobility) = &mut self.mobility {
            mobility.moved(left, path);
        }
        self.local_removed = false;
        self.rtt.on_path_change();
        self.ecn.on_path_change();
        true
    }

    /// The session's path with the local address to send from.
    ///
    /// A responder answers from the address that was asked: firewalls on the way know no other. An initiator leaves
    /// the choice to the system, which follows the routes when this end moves to another network. A responder that
    /// gets no answers any more may have moved too, so it tries both in turn. An address that is gone is not sent from.
    pub(super) fn outgoing_path(&self, open: bool) -> Option<Path> {
        let path = self.path()?;
        let struggling = || open && self.rtt.is_far_backed_off();
        let free = self.role == Role::Initiator || self.local_removed || (self.packets_sent % 2 == 1 && struggling());
        Some(if free { path.with_local(None) } else { path })
    }

    /// The local address of the path is gone: the system chooses, until something comes to it again.
    /// False if that is known.
    pub(super) const fn local_address_removed(&mut self) -> bool {
        !core::mem::replace(&mut self.local_removed, true)
    }

    /// The mark of this end's packets.
    pub(super) const fn mode(&self) -> Mode {
        match self.role {
            Role::Initiator => Mode::Initiator,
            Role::Responder => Mode::Responder,
        }
    }

    /// The mark of the far end's packets.
    pub(super) const fn far_mode(&self) -> Mode {
        match self.role {
            Role::Initiator => Mode::Responder,
            Role::Responder => Mode::Initiator,
        }
    }

    /// The header of a packet that is not to measure the path.
    pub(super) fn bare_header(&self, now: Instant) -> PacketHeader {
        PacketHeader { timestamp: self.rtt.obligatory_timestamp(now), ..PacketHeader::new(self.mode()) }
    }

    /// Counters and measurements of the path, for the session's statistics.
    pub(super) fn stats(&self) -> SessionStats {
        SessionStats {
            packets_received: self.packets_received,
            packets_sent: self.packets_sent,
            bytes_received: self.bytes_received,
            bytes_sent: self.bytes_sent,
            srtt: self.rtt.srtt(),
            rttvar: self.rtt.rttvar(),
            erto: self.rtt.erto(),
            ecn_ce_received: self.ecn.ce_received(),
            ecn_arrives: self.ecn.arrives(),
            datagram: self.mtu.datagram(),
            ..SessionStats::default()
        }
    }
}

/// Sizes, in bytes. `window` is the congestion window.
impl Transport {
    /// Of a datagram, what follows the scrambled session ID.
    ///
    /// A large datagram is not used before the congestion window holds three of them: a single one in flight would
    /// wait for a delayed acknowledgement each time.
    pub(super) fn packet_room(&self, window: u64) -> usize {
        let share = usize::try_from(window / 3).unwrap_or(usize::MAX);
        self.mtu.datagram().min(share.max(self.base_datagram)) - session_id::LEN
    }

    /// Payload of one chunk alone in a packet with the longest header.
    pub(super) fn single_chunk_room(&self, window: u64) -> usize {
        let capacity = self.plain_capacity(self.packet_room(window));
        capacity.saturating_sub(PacketHeader::MAX_LEN + CHUNK_HEADER_LEN + GROWTH_RESERVE)
    }

    /// The most that a packet carries in chunks now; 0 before there are keys.
    pub(super) fn segment(&self, window: u64) -> u64 {
        self.plain_capacity(self.packet_room(window)).saturating_sub(PacketHeader::MAX_LEN) as u64
    }

    /// What of a datagram is no chunks.
    pub(super) fn overhead(&self, window: u64) -> usize {
        let room = self.packet_room(window);
        room + session_id::LEN - self.plain_capacity(room).saturating_sub(PacketHeader::MAX_LEN).min(room)
    }

    /// The longest plain packet for which fragments are cut, after a front of `front` bytes, less what must be left for
    /// growth.
    pub(super) fn fragment_limit(&self, front: usize) -> usize {
        let room = self.mtu.fragment_datagram() - session_id::LEN;
        let capacity = self.link.as_ref().map_or(0, |link| link.keys.plain_capacity(front, room));
        capacity.saturating_sub(GROWTH_RESERVE)
    }

    /// What a datagram of the base size has after the scrambled session ID.
    pub(super) const fn base_room(&self) -> usize {
        self.base_datagram - session_id::LEN
    }

    fn plain_capacity(&self, room: usize) -> usize {
        self.link.as_ref().map_or(0, |link| link.keys.plain_capacity(link.keys.front_len(0), room))
    }
}
