//! The sessions of an endpoint, and everything that they are found by.
//!
//! [`SessionTable::with`] is the only way to change a session. It brings all indices, the deadlines and the ready ring
//! in line afterwards, so that nobody can forget to.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::entry::{Phase, Seen, SessionEntry};
use super::ids::SessionIds;
use super::index::{Place, SessionIndex};
use super::memory::MemoryPools;
use super::reintroduce::MAX_INTRODUCERS;
use super::schedule::{Deadlines, ReadyRing};
use super::shared::Shared;
use super::sources::SourceCounts;
use super::traced::Traced;
use crate::config::EndpointConfig;
use crate::error::DropReason;
use crate::handle::SessionHandle;
use crate::params::TAG_LEN;
use crate::session::{Context, Session, SessionState};
use crate::slab::Slab;
use crate::time::Instant;
use crate::trace::TraceEvent;

/// What an initiator knows an answer to its hello by.
pub(super) type Tag = [u8; TAG_LEN];

/// If nothing is configured, a source has one part in so many of all sessions, and at least [`LEAST_SHARE`].
const SHARES: usize = 4;
/// See [`SHARES`].
const LEAST_SHARE: usize = 16;

/// All sessions of an endpoint.
#[derive(Debug)]
pub(super) struct SessionTable {
    sessions: Slab<Box<SessionEntry>>,
    ids: SessionIds,
    pub(super) index: SessionIndex,
    /// Tags of hellos: of opening sessions, and of those that ask to be introduced again.
    tags: BTreeMap<Tag, u32>,
    /// Digests of the IIKeyings that sessions began with.
    keyings: BTreeMap<[u8; 32], u32>,
    opening: usize,
    /// Sessions that ceased to open since [`take_ended`](Self::take_ended), if there may be jobs for them.
    ended: Vec<SessionHandle>,
    deadlines: Deadlines,
    ready: ReadyRing,
    /// What all of them hold.
    memory: MemoryPools,
    /// Sessions that are over but for complete flows to read, by since when next to nothing of them was.
    unread: BTreeSet<(Instant, u32)>,
    /// Where the far ends are that began sessions, those apart that are only kept to be read.
    sources: SourceCounts,
    /// The session in work, as it was before, if there is a sink.
    traced: Traced,
}

/// What a session is found by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct FoundBy {
    /// Where it belongs in the index.
    pub(super) place: Option<Place>,
    /// Of its hello.
    pub(super) tag: Option<Tag>,
    /// The digest of the IIKeying that it began with.
    pub(super) keying: Option<[u8; 32]>,
}

/// What the table knows of a session.
#[derive(Debug, Default)]
pub(super) struct Indexed {
    /// What it was when it was indexed; None before.
    pub(super) seen: Option<Seen>,
    found_by: FoundBy,
    /// How many addresses of an opening session.
    addresses: usize,
    /// Since when it is only kept to be read.
    unread: Option<Instant>,
}

impl Indexed {
    /// What the session counts for, if it takes up a place that its far end has asked for.
    fn source(&self) -> Option<IpAddr> {
        let is_from_far = self.found_by.keying.is_some() && self.unread.is_none();
        self.seen.and_then(|seen| seen.remote).filter(|_| is_from_far).map(|remote| remote.ip())
    }
}

impl SessionTable {
    pub(super) fn new(config: &EndpointConfig) -> Self {
        Self {
            sessions: Slab::new(),
            ids: SessionIds::new(),
            index: SessionIndex::default(),
            tags: BTreeMap::new(),
            keyings: BTreeMap::new(),
            opening: 0,
            ended: Vec::new(),
            deadlines: Deadlines::default(),
            ready: ReadyRing::default(),
            memory: MemoryPools::new(config),
            unread: BTreeSet::new(),
            sources: SourceCounts::default(),
            traced: Traced::default(),
        }
    }

    /// Sessions in it.
    pub(super) const fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether another session would find room, if one that is only kept to be read gave way.
    pub(super) fn has_room(&self, shared: &Shared) -> bool {
        self.len() < shared.config.max_sessions || !self.unread.is_empty()
    }

    /// Whether a far end at this address may begin another session.
    pub(super) fn has_share(&self, source: IpAddr, shared: &Shared) -> bool {
        let EndpointConfig { max_sessions, max_sessions_per_source, .. } = shared.config;
        let share = max_sessions_per_source.unwrap_or((max_sessions / SHARES).max(LEAST_SHARE));
        self.sources.has_room(source, share)
    }

    /// Whether another session finds room. A session that is only kept to be read gives way, the longest unread first.
    pub(super) fn make_room(&mut self, shared: &mut Shared) -> bool {
        if self.len() >= shared.config.max_sessions
            && let Some(&(_, slot)) = self.unread.first()
        {
            self.session(slot, shared, Session::discard_unread);
        }
        self.len() < shared.config.max_sessions
    }

    /// Sessions in it that are being opened from here.
    pub(super) const fn opening(&self) -> usize {
        self.opening
    }

    /// Puts a session in, and has `begin` do the first that there is to do with it.
    pub(super) fn insert(
        &mut self,
        shared: &mut Shared,
        make: impl FnOnce(SessionHandle) -> SessionEntry,
        begin: impl FnOnce(&mut SessionEntry, &mut Shared),
    ) -> u32 {
        let slot = self.sessions.insert(|slot, generation| Box::new(make(SessionHandle { slot, generation })));
        if let Some(entry) = self.get(slot) {
            let state = entry.session.state();
            shared.trace(Some(entry.handle()), || TraceEvent::StateChanged { from: None, to: state });
            self.opening += usize::from(entry.opening().is_some());
        }
        self.with(slot, shared, begin);
        slot
    }

    pub(super) fn get(&self, slot: u32) -> Option<&SessionEntry> {
        self.sessions.get(slot).map(AsRef::as_ref)
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut SessionEntry> {
        self.sessions.get_mut(slot).map(AsMut::as_mut)
    }

    /// The slot of a handle that is not stale.
    pub(super) fn resolve(&self, handle: SessionHandle) -> Option<u32> {
        self.sessions.get_exact(handle.slot, handle.generation).map(|_| handle.slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &SessionEntry)> {
        self.sessions.iter().map(|(slot, entry)| (slot, entry.as_ref()))
    }

    /// Has `call` do anything with a session. Afterwards whatever the session is found by is true, and if it is over, it
    /// is gone.
    pub(super) fn with<R>(
        &mut self,
        slot: u32,
        shared: &mut Shared,
        call: impl FnOnce(&mut SessionEntry, &mut Shared) -> R,
    ) -> Option<R> {
        let Self { sessions, memory, deadlines, ready, traced, .. } = self;
        let entry = sessions.get_mut(slot)?;
        entry.session.grant(&memory.grant(&entry.session));
        let is_traced = shared.events.tracer.is_on();
        if is_traced {
            traced.begin(entry, shared);
        }
        let result = call(entry, shared);
        if is_traced {
            traced.tell_state(entry, shared);
        }
        if !shared.carriers.is_empty() {
            shared.carriers.on_changed(shared.now, entry);
        }
        if entry.is_indexed() {
            update(slot, entry, shared.now, deadlines, ready, memory);
        } else {
            self.reindex(slot, shared);
        }
        if is_traced {
            self.trace_timers(slot, shared);
        }
        Some(result)
    }

    #[cold]
    fn trace_timers(&self, slot: u32, shared: &mut Shared) {
        if let Some(entry) = self.get(slot) {
            self.traced.tell_timers(entry, shared);
        }
    }

    /// [`with`](Self::with) for the transport session alone.
    pub(super) fn session<R>(
        &mut self,
        slot: u32,
        shared: &mut Shared,
        call: impl FnOnce(&mut Session, &mut Context<'_>) -> R,
    ) -> Option<R> {
        self.with(slot, shared, |entry, shared| call(&mut entry.session, &mut shared.context()))
    }

    /// Brings all in line with a session, and takes it out if it is over.
    #[cold]
    fn reindex(&mut self, slot: u32, shared: &mut Shared) {
        self.follow_opening(slot, shared);
        if let Some(begins) = self.get(slot).and_then(SessionEntry::wants_reintroduction) {
            let tag = begins.then(|| self.unused_tag(shared));
            self.get_mut(slot).into_iter().for_each(|entry| entry.change_reintroduction(tag, shared));
        }
        let Self { sessions, index, tags, keyings, deadlines, ready, memory, unread, sources, .. } = self;
        let Some(entry) = sessions.get_mut(slot) else { return };
        if entry.session.is_gone() {
            self.remove(slot);
            return;
        }
        entry.note_open(shared);
        let seen = entry.seen();
        let (before, now) = (entry.indexed.found_by, entry.known.found_by(seen));
        if before.place != now.place {
            index.replace(slot, before.place, now.place);
        }
        if before.tag != now.tag {
            replace(tags, slot, before.tag, now.tag);
        }
        if before.keying != now.keying {
            replace(keyings, slot, before.keying, now.keying);
        }
        let source = entry.indexed.source();
        let since = entry.session.unread_since();
        if entry.indexed.unread != since {
            entry.indexed.unread.map(|before| unread.remove(&(before, slot)));
            unread.extend(since.map(|since| (since, slot)));
            entry.indexed.unread = since;
        }
        (entry.indexed.seen, entry.indexed.found_by) = (Some(seen), now);
        if entry.indexed.source() != source {
            source.into_iter().for_each(|source| sources.remove(source));
            entry.indexed.source().into_iter().for_each(|source| sources.add(source));
        }
        entry.known.settle();
        update(slot, entry, shared.now, deadlines, ready, memory);
    }

    /// Indexes where a session is being opened to. Once it is opened, or has failed, that is over.
    fn follow_opening(&mut self, slot: u32, shared: &mut Shared) {
        let Some(entry) = self.sessions.get_mut(slot) else { return };
        let Some(opening) = entry.opening() else { return };
        if entry.session.state().is_opening() {
            let addresses = opening.addresses().count();
            if entry.indexed.addresses != addresses {
                opening.addresses().for_each(|address| self.index.add_candidate(address, slot));
                entry.indexed.addresses = addresses;
            }
            return;
        }
        opening.addresses().for_each(|address| self.index.remove_candidate(address, slot));
        let introducers: Vec<_> = opening.introducers.iter().take(MAX_INTRODUCERS).copied().collect();
        entry.introducers.extend(introducers);
        self.opening -= 1;
        shared.stats.sessions_failed += u64::from(entry.session.state() == SessionState::OpenFailed);
        if shared.offloads() {
            self.ended.push(entry.session.handle());
        }
        entry.known.phase = Phase::Initiated { opened: shared.now, proved: false };
    }

    /// Takes out a session that is over; handles of it are stale from now on.
    fn remove(&mut self, slot: u32) {
        self.deadlines.set(slot, None);
        self.ready.set(slot, None);
        let Some(mut entry) = self.sessions.remove(slot) else { return };
        self.memory.forget(slot, &mut entry.charge);
        entry.indexed.source().into_iter().for_each(|source| self.sources.remove(source));
        self.ids.remove(entry.rx_id);
        let FoundBy { place, tag, keying } = entry.indexed.found_by;
        self.index.replace(slot, place, None);
        replace(&mut self.tags, slot, tag, None);
        replace(&mut self.keyings, slot, keying, None);
        entry.indexed.unread.map(|since| self.unread.remove(&(since, slot)));
    }

    /// Sessions that ceased to open since this was asked last: nobody waits for their key agreements.
    pub(super) fn take_ended(&mut self) -> Vec<SessionHandle> {
        core::mem::take(&mut self.ended)
    }

    /// Draws the receive session ID of a session, if it has none yet.
    pub(super) fn give_id(&mut self, slot: u32, shared: &mut Shared) -> u32 {
        match self.get(slot).map(|entry| entry.rx_id) {
            None | Some(0) => {}
            Some(id) => return id,
        }
        let id = self.ids.allocate(slot, &mut shared.public_rng);
        if let Some(entry) = self.get_mut(slot) {
            entry.rx_id = id;
        }
        id
    }

    /// A tag that no hello has.
    pub(super) fn unused_tag(&self, shared: &mut Shared) -> Tag {
        loop {
            let tag = shared.draw_tag();
            if !self.tags.contains_key(&tag) {
                return tag;
            }
        }
    }

    /// The session with this receive session ID.
    pub(super) fn by_id(&self, id: u32) -> Option<u32> {
        self.ids.get(id)
    }

    /// The session whose hello has this tag.
    pub(super) fn by_tag(&self, tag: &[u8]) -> Result<u32, DropReason> {
        let tag: Tag = tag.try_into().map_err(|_| DropReason::Unexpected)?;
        self.tags.get(&tag).copied().ok_or(DropReason::Unexpected)
    }

    /// The session that began with the IIKeying of this digest.
    pub(super) fn by_keying(&self, digest: &[u8; 32]) -> Option<u32> {
        self.keyings.get(digest).copied()
    }

    /// The session to close because it holds what others need.
    pub(super) fn stalled(&self, now: Instant) -> Option<u32> {
        self.memory.victim(now)
    }

    /// A session with a writer that was refused because memory was short, and for whom there is some now.
    pub(super) fn writable(&self) -> Option<u32> {
        self.memory.next_writable()
    }

    /// When one may have to be closed because memory is short.
    pub(super) fn scarcity_timeout(&self) -> Option<Instant> {
        self.memory.next_timeout()
    }

    /// A session whose deadline has come.
    #[inline]
    pub(super) fn first_due(&self, now: Instant) -> Option<u32> {
        self.deadlines.first().filter(|(at, _)| *at <= now).map(|(_, slot)| slot)
    }

    /// The earliest deadline, and whose it is.
    pub(super) fn first_deadline(&self) -> Option<(Instant, u32)> {
        self.deadlines.first()
    }

    /// Puts off a deadline that its session does not.
    pub(super) fn postpone(&mut self, slot: u32, until: Instant) {
        self.deadlines.set(slot, Some(until));
    }

    /// Whether a session may have something to send.
    #[inline]
    pub(super) const fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next session that has something to send.
    pub(super) fn take_ready(&mut self) -> Option<u32> {
        self.ready.pop()
    }

    /// A session has nothing to send although it said so, or cannot for now.
    pub(super) fn not_ready(&mut self, slot: u32) {
        self.ready.set(slot, None);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let unlisted = self.index.is_empty() && self.tags.is_empty() && self.keyings.is_empty();
        unlisted && self.unread.is_empty() && self.sources.is_empty() && self.opening == 0 && self.len() == 0
    }
}

/// Brings all that is not the index in line with a session that may have changed in any way.
fn update(
    slot: u32,
    entry: &mut SessionEntry,
    now: Instant,
    deadlines: &mut Deadlines,
    ready: &mut ReadyRing,
    memory: &mut MemoryPools,
) {
    debug_assert_eq!(entry.indexed.found_by, entry.known.found_by(entry.seen()), "it is found by what is true");
    debug_assert_eq!(entry.indexed.unread, entry.session.unread_since(), "it is listed by what is true");
    deadlines.set(slot, entry.next_timeout());
    ready.set(slot, entry.wants());
    memory.update(now, slot, &mut entry.charge, &entry.session);
}

/// Moves the entry of a session, unless another one has its place by now.
fn replace<K: Ord>(map: &mut BTreeMap<K, u32>, slot: u32, old: Option<K>, new: Option<K>) {
    if let Some(old) = old
        && map.get(&old) == Some(&slot)
    {
        map.remove(&old);
    }
    if let Some(new) = new {
        map.insert(new, slot);
    }
}
