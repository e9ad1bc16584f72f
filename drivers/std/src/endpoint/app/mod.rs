//! The endpoint's side: carries out commands and fills and empties the flows' queues.

mod accepting;
mod closing;
mod expiring;
mod introducing;
mod leaving;
mod meeting;
mod receiving;
mod registering;
mod sending;
mod sessions;
mod sleeping;
mod updates;

use core::net::SocketAddr;
use core::sync::atomic::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::Fingerprint;
use rtmfp_core::{App, Endpoint, Event, Instant, InterfaceId, Path, SessionHandle};

use self::closing::Shutdown;
use self::expiring::Expiries;
use self::meeting::Meeting;
use self::registering::Registering;
use self::sessions::Entry;
use self::sleeping::Sleepers;
use super::Error;
use super::handles::{self, EndpointHandle};
use super::introduction::IntroducePolicy;
use super::shared::{Command, EndpointShared, MeetingCommand, lock};
use crate::kind::{ProfileKind, peer_id_of};

/// The application that [`EndpointHandle`]s talk to. Any driver can run it; [`Endpoint`](super::Endpoint) runs it on a
/// thread.
#[derive(Debug)]
pub struct EndpointApp {
    shared: Arc<EndpointShared>,
    sessions: BTreeMap<SessionHandle, Entry>,
    /// Sessions that drain, and of which the endpoint has not everything yet, by deadline.
    drains: BTreeSet<(Instant, SessionHandle)>,
    /// Sessions to look at for what has changed.
    looks: BTreeSet<(Instant, SessionHandle)>,
    shutdown: Option<Shutdown>,
    /// There is nobody who could accept a session.
    unattended: bool,
    done: bool,
    sleepers: Sleepers,
    /// When messages in the queues of handles expire.
    expiries: Expiries,
    introduce: Option<IntroducePolicy>,
    registrations: Vec<Registering>,
    meetings: Vec<Meeting>,
    /// What the meetings know of this end's addresses.
    locals_version: u64,
    /// Sessions that others opened are kept though nobody holds them.
    keeps_sessions: bool,
}

impl EndpointApp {
    /// An application for an endpoint with these local addresses, in the order of their interfaces, and a first handle
    /// to it. `wake` must make the driver call [`on_wake`](App::on_wake) soon; it is called from any thread.
    pub fn new(locals: Vec<SocketAddr>, wake: impl Fn() + Send + Sync + 'static) -> (Self, EndpointHandle) {
        // As those are treated that are not known.
        Self::with_kind(locals, ProfileKind::Flash, None, wake)
    }

    /// The same, for an endpoint of this profile: handles know its peer ID.
    pub fn with_profile(
        locals: Vec<SocketAddr>,
        profile: &dyn CryptoProfile,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> (Self, EndpointHandle) {
        Self::with_kind(locals, ProfileKind::of(profile), near_peer_id(profile), wake)
    }

    /// For an endpoint that others use too, such as the services of a [`Router`](rtmfp_core::Router): sessions that this
    /// application did not open are kept, though nobody holds them.
    #[must_use]
    pub const fn share_sessions(mut self) -> Self {
        self.keeps_sessions = true;
        self
    }

    /// For an endpoint that [ignores](rtmfp_core::ForwardedHelloPolicy::Ignore) forwarded hellos: handles may
    /// [join](EndpointHandle::join_resolved) a server over its relay only.
    #[must_use]
    pub fn ignore_forwarded_hellos(self) -> Self {
        self.shared.ignores_forwarded.store(true, Ordering::Relaxed);
        self
    }

    fn with_kind(
        locals: Vec<SocketAddr>,
        kind: ProfileKind,
        peer_id: Option<Fingerprint>,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> (Self, EndpointHandle) {
        let shared = Arc::new(EndpointShared::new(locals, kind, peer_id, Box::new(wake)));
        let app = Self {
            shared: Arc::clone(&shared),
            sessions: BTreeMap::new(),
            drains: BTreeSet::new(),
            looks: BTreeSet::new(),
            shutdown: None,
            unattended: false,
            done: false,
            sleepers: Sleepers::default(),
            expiries: Expiries::default(),
            introduce: None,
            registrations: Vec::new(),
            meetings: Vec::new(),
            locals_version: 0,
            keeps_sessions: false,
        };
        (app, handles::handle(shared))
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &EndpointShared {
        &self.shared
    }

    /// How many it knows of.
    #[cfg(test)]
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn carry_out(&mut self, now: Instant, endpoint: &mut Endpoint, command: Command) {
        match command {
            Command::Open(shared, target, limit) => self.open(now, endpoint, shared, target, limit),
            Command::Session(shared, command) => self.carry_out_of_session(now, endpoint, &shared, command),
            Command::OpenFlow(shared, within, options) => self.open_flow(now, endpoint, shared, &within, options),
            Command::SendFlow(shared, command) => self.carry_out_of_send(now, endpoint, &shared, command),
            Command::RecvFlow(shared, command) => self.carry_out_of_recv(now, endpoint, &shared, command),
            Command::Sleep(shared, duration) => self.sleepers.begin(now, shared, duration),
            Command::ForgetSleep(shared) => self.sleepers.forget(&shared),
            Command::Stats(asked) => asked.answer(Some(endpoint.stats())),
            Command::Introduce(hello, how, asked) => {
                asked.answer(Some(introducing::answer(now, endpoint, &hello, how)));
            }
            Command::Register(shared, target, limit) => self.register(now, endpoint, shared, target, limit),
            Command::Unregister(shared) => self.unregister(now, endpoint, &shared),
            Command::Meeting(shared, command) => self.carry_out_of_meeting(now, endpoint, &shared, command),
            Command::StopAccepting => self.stop_accepting(now, endpoint),
            Command::Shutdown(within) => self.shut_down(now, endpoint, now + within),
            Command::ReleaseAll => self.release_all(now, endpoint),
        }
    }
}

/// The peer ID of a near identity that the profile's keys prove.
fn near_peer_id(profile: &dyn CryptoProfile) -> Option<Fingerprint> {
    let certificate = profile.certificate();
    let peer_id = peer_id_of(certificate, &profile.canonical_discriminator(certificate));
    peer_id.filter(|_| profile.keys_prove_owner(certificate))
}

impl App for EndpointApp {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        if self.offer_to_meetings(now, endpoint, &event) {
            return;
        }
        let of_session = matches!(
            event,
            Event::SessionOpened { .. }
                | Event::SessionFailed { .. }
                | Event::SessionClosed { .. }
                | Event::SessionUpdated { .. }
        );
        match event {
            Event::SessionOpened { session } => self.opened(now, endpoint, session),
            Event::SessionFailed { session, reason } => self.session_ended(session, Error::NotOpened(reason)),
            Event::SessionClosed { session, reason } => self.session_ended(session, Error::SessionClosed(reason)),
            Event::PathChanged { session, path } => self.path_changed(session, path),
            Event::SessionUpdated { session } => self.updated(now, endpoint, session),
            Event::FlowOpened { flow } => self.flow_opened(now, endpoint, flow),
            Event::FlowReadable { flow } => self.receive(now, endpoint, flow),
            Event::FlowFinished { flow, end } => self.flow_finished(flow, end),
            Event::FlowWritable { flow } => {
                if let Some(shared) = self.sending(flow).cloned() {
                    self.hand_over(now, endpoint, &shared);
                }
            }
            Event::FlowRejected { flow, code, rejected, .. } => {
                self.sending_ended(now, endpoint, flow, Some(code), rejected);
            }
            Event::FlowCompleted { flow, rejected, .. } => self.sending_ended(now, endpoint, flow, None, rejected),
            Event::MessageDone { flow, message, outcome } => self.message_done(flow, message, outcome),
            Event::SessionDrained { session, undelivered } => self.drained(session, undelivered),
            Event::UnmatchedHello { hello } => self.unmatched_hello(now, endpoint, hello),
            _ => {}
        }
        if of_session {
            self.review_registrations(now, endpoint);
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.shared.driven.store(true, Ordering::Relaxed);
        // The first command after this wakes again.
        let commands = lock(&self.shared.queue).commands.take();
        for command in commands {
            self.carry_out(now, endpoint, command);
        }
        self.on_closing_timeout(now, endpoint);
        self.expire(now, endpoint);
        self.on_look_timeout(now, endpoint);
        self.sleepers.wake(now);
        self.review_registrations(now, endpoint);
        self.wake_meetings(now, endpoint);
    }

    fn carries(&self, interface: InterfaceId) -> bool {
        self.meeting_carries(interface)
    }

    fn carry(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        self.carry_over_meeting(now, endpoint, path, datagram);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let own = [self.next_closing_timeout(), self.next_look(), self.next_registration()];
        let timeouts = own.into_iter().chain([self.sleepers.next(), self.expiries.next(), self.next_of_meetings()]);
        timeouts.flatten().min()
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

impl Drop for EndpointApp {
    /// Nobody is to wait for what will not come.
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.stopped = true;
        queue.wakers.wake();
        let commands = queue.commands.take();
        drop(queue);
        for command in commands {
            match command {
                Command::Open(session, ..) => Entry::new(session).end(Error::Stopped),
                Command::OpenFlow(flow, ..) | Command::SendFlow(flow, _) => lock(&flow.0).fail(Error::Stopped),
                Command::Sleep(shared, _) => sleeping::stop(&shared),
                Command::Register(shared, ..) => lock(&shared.0).stop(),
                Command::Meeting(_, MeetingCommand::Connect(session, ..)) => Entry::new(session).end(Error::Stopped),
                Command::Meeting(shared, _) => lock(&shared.0).stop(),
                // Whoever has asked is told when the question is dropped.
                Command::Stats(_)
                | Command::Introduce(..)
                | Command::Unregister(_)
                | Command::Session(..)
                | Command::RecvFlow(..)
                | Command::ForgetSleep(_)
                | Command::StopAccepting
                | Command::Shutdown(_)
                | Command::ReleaseAll => {}
            }
        }
        for entry in core::mem::take(&mut self.sessions).into_values() {
            entry.end(Error::Stopped);
        }
        self.sleepers.stop();
        self.stop_registrations();
        self.stop_meetings();
        let mut introductions = lock(&self.shared.introductions);
        introductions.stopped = true;
        introductions.wakers.wake();
    }
}
