//! What becomes of a message.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use rtmfp_core::MessageOutcome;

use rtmfp_std::Driven as _;

use super::Wait;

/// Tells what becomes of a message, as [`SendFlow::send_with`](super::SendFlow::send_with) gives it: a future. To go on
/// using it, wait for `&mut receipt`, or for a clone. It may be dropped and changes nothing by that; it does not keep the
/// session open.
///
/// The outcome is certain. [`Delivered`](MessageOutcome::Delivered): the far end has it.
/// [`Abandoned`](MessageOutcome::Abandoned): the far end cannot have got it, because not all of it was ever sent.
/// [`Unknown`](MessageOutcome::Unknown): it was abandoned, or its session ended, when all of it was sent and not all
/// acknowledged. If a message is abandoned on its way, that is told when it is acknowledged or lost.
#[derive(Debug)]
pub struct Receipt {
    receipt: rtmfp_std::Receipt,
    wait: Wait,
}

impl Receipt {
    pub(super) fn new(receipt: rtmfp_std::Receipt) -> Self {
        Self { receipt, wait: Wait::default() }
    }

    /// What became of the message, if that is known.
    #[must_use]
    pub fn outcome(&self) -> Option<MessageOutcome> {
        self.receipt.outcome()
    }

    /// Abandons the message (RFC 7016 §3.6.2.7): what of it was not sent yet, or was lost, is not sent any more. What
    /// depends on it is abandoned too. Nothing happens if its outcome is known.
    pub fn abandon(&self) {
        self.receipt.abandon();
    }
}

impl Clone for Receipt {
    fn clone(&self) -> Self {
        Self::new(self.receipt.clone())
    }
}

impl Future for Receipt {
    type Output = MessageOutcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<MessageOutcome> {
        let Self { receipt, wait } = self.get_mut();
        wait.poll(receipt.is_driven(), context, |context, waiter| receipt.poll(context, waiter))
    }
}

/// For [`SendOptions::after`](rtmfp_std::SendOptions::after).
impl AsRef<rtmfp_std::Receipt> for Receipt {
    fn as_ref(&self) -> &rtmfp_std::Receipt {
        &self.receipt
    }
}
