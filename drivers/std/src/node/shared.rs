//! What handles and the endpoint's thread share: a queue of commands, and one small state for each session and flow.

use core::fmt;
use core::net::SocketAddr;
use core::task::{Context, Waker};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtmfp_core::{
    Bytes, CloseMode, FlowEnd, FlowOptions, Message, RecvFlowHandle, SendFlowHandle, SessionHandle, Target,
};

use super::NodeError;

/// Bytes of messages that wait between a handle and the endpoint, in either direction, for each flow. One message of
/// any size is always taken.
pub(super) const QUEUE_BYTES: usize = 262_144;

/// Locks what cannot be left in disorder: every change is complete before anything that can panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tasks that wait for a change.
#[derive(Debug, Default)]
pub(super) struct Waiting(Vec<Waker>);

impl Waiting {
    pub(super) fn add(&mut self, context: &Context<'_>) {
        if !self.0.iter().any(|waker| waker.will_wake(context.waker())) {
            self.0.push(context.waker().clone());
        }
    }

    pub(super) fn wake(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

/// Asked of the endpoint's thread by a handle.
#[derive(Debug)]
pub(super) enum Command {
    Open(Arc<SessionShared>, Target),
    Close(Arc<SessionShared>, CloseMode),
    OpenFlow(Arc<SendShared>, Within, FlowOptions),
    /// There are messages to send, or the flow is to be closed.
    Send(Arc<SendShared>),
    /// There is room for received messages again.
    Receive(Arc<RecvShared>),
    Reject(Arc<RecvShared>, u64),
    Stop,
}

/// Where a flow is opened.
#[derive(Debug)]
pub(super) enum Within {
    Session(Arc<SessionShared>),
    ReturnTo(Arc<RecvShared>),
}

pub(super) struct Hub {
    pub(super) queue: Mutex<Queue>,
    pub(super) locals: Vec<SocketAddr>,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) commands: VecDeque<Command>,
    /// Sessions that far ends opened.
    pub(super) accepted: VecDeque<Arc<SessionShared>>,
    pub(super) waiting: Waiting,
    pub(super) stopped: bool,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("locals", &self.locals).finish_non_exhaustive()
    }
}

impl Hub {
    pub(super) fn new(locals: Vec<SocketAddr>, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { queue: Mutex::default(), locals, wake }
    }

    /// False if nobody will carry it out.
    pub(super) fn send(&self, command: Command) -> bool {
        let mut queue = lock(&self.queue);
        if queue.stopped {
            return false;
        }
        queue.commands.push_back(command);
        let first = queue.commands.len() == 1;
        drop(queue);
        if first {
            (self.wake)();
        }
        true
    }
}

#[derive(Debug, Default)]
pub(super) struct SessionShared(pub(super) Mutex<SessionState>);

#[derive(Debug, Default)]
pub(super) struct SessionState {
    pub(super) handle: Option<SessionHandle>,
    pub(super) open: bool,
    pub(super) end: Option<NodeError>,
    pub(super) remote: Option<SocketAddr>,
    pub(super) far_discriminator: Vec<u8>,
    /// Flows that the far end opened.
    pub(super) flows: VecDeque<Arc<RecvShared>>,
    pub(super) waiting: Waiting,
}

#[derive(Debug, Default)]
pub(super) struct SendShared(pub(super) Mutex<SendState>);

#[derive(Debug, Default)]
pub(super) struct SendState {
    pub(super) handle: Option<SendFlowHandle>,
    pub(super) messages: VecDeque<Bytes>,
    pub(super) bytes: usize,
    /// A [`Command::Send`] is under way.
    pub(super) told: bool,
    /// To be closed after the last message.
    pub(super) closing: bool,
    pub(super) completed: bool,
    pub(super) error: Option<NodeError>,
    pub(super) waiting: Waiting,
}

impl SendState {
    pub(super) fn fail(&mut self, error: NodeError) {
        if !self.completed {
            self.error.get_or_insert(error);
        }
        self.messages.clear();
        self.bytes = 0;
        self.waiting.wake();
    }
}

#[derive(Debug)]
pub(super) struct RecvShared {
    pub(super) handle: RecvFlowHandle,
    pub(super) metadata: Bytes,
    pub(super) association: Option<SendFlowHandle>,
    pub(super) state: Mutex<RecvState>,
}

#[derive(Debug, Default)]
pub(super) struct RecvState {
    pub(super) messages: VecDeque<Message>,
    pub(super) bytes: usize,
    /// More may be there than there was room for.
    pub(super) held: bool,
    pub(super) end: Option<FlowEnd>,
    pub(super) error: Option<NodeError>,
    pub(super) waiting: Waiting,
}
