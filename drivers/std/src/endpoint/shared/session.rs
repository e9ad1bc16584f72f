//! What the handles of a session and the endpoint share.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use rtmfp_core::profile::flash::Fingerprint;
use rtmfp_core::wire::Address;
use rtmfp_core::{Bytes, CloseMode, FlowEnd, Path, SessionHandle, SessionStats, Undelivered};

use super::{Awaited, Question, RecvShared, UpdatesShared, lock};
use crate::endpoint::Error;
use crate::endpoint::handles::{Nonces, Owner};
use crate::endpoint::wakers::WakerSet;

/// Asked of a session.
#[derive(Debug)]
pub(crate) enum SessionCommand {
    /// To end now.
    Close(CloseMode),
    /// To end once all that was sent is delivered, or after this time.
    Drain(Duration),
    /// The last handle is gone.
    Release,
    /// Something that core does without more.
    Core(CoreCommand),
}

#[derive(Debug)]
pub(crate) enum CoreCommand {
    Ping,
    /// To ping, unless the far end has proved its keys.
    Prove,
    IntroduceAt(Vec<Address>),
    AddIntroducer(Path),
    MaxRate(Option<u64>),
    Nonces(Question<Nonces>),
    Stats(Question<SessionStats>),
}

#[derive(Debug, Default)]
pub(crate) struct SessionShared(pub(crate) Mutex<SessionState>);

#[derive(Debug, Default)]
pub(crate) struct SessionState {
    pub(crate) handle: Option<SessionHandle>,
    pub(crate) open: bool,
    pub(crate) end: Option<Error>,
    /// What was not delivered, if it was drained.
    pub(crate) undelivered: Option<Undelivered>,
    /// The session that there was already to the same far end, in place of which this one did not open.
    pub(crate) existing: Option<Arc<SessionShared>>,
    /// It is to end, so nobody else gets it any more.
    pub(crate) closing: bool,
    /// What closes it when nobody holds it any more.
    pub(crate) owner: Weak<Owner>,
    /// How many registrations keep it.
    pub(crate) registrations: usize,
    /// Its idle limit before there was one.
    pub(crate) idle_limit: Option<Duration>,
    /// No handle began it, but the far end or a service.
    pub(crate) is_incoming: bool,
    /// An introducer was asked for the far end.
    pub(crate) asks_introducer: bool,
    pub(crate) path: Option<Path>,
    pub(crate) far_discriminator: Vec<u8>,
    pub(crate) far_certificate: Bytes,
    /// See [`Session::is_post_quantum`](crate::Session::is_post_quantum).
    pub(crate) is_post_quantum: bool,
    pub(crate) far_keys_proved: bool,
    /// Once it is proved.
    pub(crate) peer_id: Option<Fingerprint>,
    pub(crate) updates: Arc<UpdatesShared>,
    /// It is in [`Queue::accepted`].
    pub(crate) unaccepted: bool,
    /// Flows that the far end opened and nobody has accepted yet, at most [`WAITING_FLOWS`].
    pub(crate) flows: VecDeque<Arc<RecvShared>>,
    /// What those hold in their queues.
    pub(crate) flows_bytes: usize,
    pub(crate) wakers: WakerSet,
}

impl SessionShared {
    /// Tells the handles that it is over. What was told before stays.
    pub(crate) fn end(&self, error: Error) {
        let mut state = lock(&self.0);
        state.end.get_or_insert(error);
        state.wakers.wake();
        let updates = Arc::clone(&state.updates);
        drop(state);
        lock(&updates.0).wakers.wake();
    }
}

impl SessionState {
    /// Whether somebody has a handle of it, or will get one.
    pub(crate) fn is_attended(&self) -> bool {
        self.owner.strong_count() > 0 || self.unaccepted
    }

    /// The next flow for the application, which from now on has a queue of its own.
    pub(crate) fn accept_flow(&mut self) -> Option<Arc<RecvShared>> {
        let shared = self.flows.pop_front()?;
        let mut flow = lock(&shared.state);
        flow.accepted = true;
        self.flows_bytes = self.flows_bytes.saturating_sub(flow.bytes);
        drop(flow);
        Some(shared)
    }

    /// Drops the flows that have nothing for the application any more: neither content nor a good end.
    pub(crate) fn drop_empty_flows(&mut self) {
        self.flows.retain(|shared| {
            let flow = lock(&shared.state);
            !flow.messages.is_empty() || matches!(flow.end, None | Some(FlowEnd::Complete))
        });
    }
}

impl Awaited for SessionState {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}
