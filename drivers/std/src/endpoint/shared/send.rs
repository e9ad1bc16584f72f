//! What the handle of a flow to the far end and the endpoint share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rtmfp_core::{Bytes, SendFlowHandle, Undelivered};

use super::{Awaited, RecvShared, SessionShared};
use crate::endpoint::Error;
use crate::endpoint::wakers::WakerSet;

/// Where a flow is opened.
#[derive(Debug)]
pub(crate) enum Within {
    Session(Arc<SessionShared>),
    ReturnTo(Arc<RecvShared>),
}

/// Asked of a flow to the far end.
#[derive(Debug)]
pub(crate) enum SendCommand {
    /// There are messages to send, or the flow is to be closed.
    HandOver,
}

#[derive(Debug, Default)]
pub(crate) struct SendShared(pub(crate) Mutex<SendState>);

#[derive(Debug, Default)]
pub(crate) struct SendState {
    pub(crate) handle: Option<SendFlowHandle>,
    pub(crate) messages: VecDeque<Bytes>,
    pub(crate) bytes: usize,
    /// A [`SendCommand::HandOver`] is under way.
    pub(crate) scheduled: bool,
    /// To be closed after the last message.
    pub(crate) closing: bool,
    /// Everything that was sent is delivered, and nothing more can be.
    pub(crate) completed: bool,
    pub(crate) error: Option<Error>,
    pub(crate) wakers: WakerSet,
}

impl SendState {
    /// What waits in the queue.
    pub(crate) fn queued(&self) -> Undelivered {
        let messages = self.messages.len() as u64;
        let bytes = self.messages.iter().map(|message| message.len() as u64).sum();
        Undelivered { messages, unsent: messages, bytes }
    }

    pub(crate) fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
        self.messages.clear();
        self.bytes = 0;
        self.wakers.wake();
    }
}

impl Awaited for SendState {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}
