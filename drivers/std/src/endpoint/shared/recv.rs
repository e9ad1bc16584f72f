//! What the handle of a flow from the far end and the endpoint share.

use std::collections::VecDeque;
use std::sync::Mutex;

use rtmfp_core::{Bytes, FlowEnd, FlowStats, Message, ReceiveOrder, RecvFlowHandle, SendFlowHandle};

use super::{Awaited, Question};
use crate::endpoint::Error;
use crate::endpoint::wakers::WakerSet;

/// Asked of a flow from the far end.
#[derive(Debug)]
pub(crate) enum RecvCommand {
    /// There is room for received messages again.
    Receive,
    /// To be refused with this exception code.
    Reject(u64),
    /// To hold messages back.
    Suspend,
    /// To deliver again.
    Resume,
    /// To deliver in this order.
    Order(ReceiveOrder),
    /// To have a receive buffer of so many bytes.
    Window(usize),
    /// The counters are asked for.
    Stats(Question<FlowStats>),
}

#[derive(Debug)]
pub(crate) struct RecvShared {
    pub(crate) handle: RecvFlowHandle,
    pub(crate) metadata: Bytes,
    pub(crate) association: Option<SendFlowHandle>,
    pub(crate) state: Mutex<RecvState>,
}

#[derive(Debug, Default)]
pub(crate) struct RecvState {
    /// Not in [`SessionState::flows`] any more. Whoever locks both locks the session first.
    pub(crate) accepted: bool,
    pub(crate) messages: VecDeque<Message>,
    pub(crate) bytes: usize,
    /// More may be there than there was room for.
    pub(crate) paused: bool,
    /// Nothing is to be taken from the endpoint.
    pub(crate) suspended: bool,
    pub(crate) end: Option<FlowEnd>,
    pub(crate) error: Option<Error>,
    pub(crate) wakers: WakerSet,
}

impl Awaited for RecvState {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}
