//! What was asked of the endpoint.

use core::task::{Context, Poll};
use std::sync::Arc;

use crate::endpoint::shared::{Answer, lock};
use crate::endpoint::wakers::Waiter;

/// An answer on its way from the endpoint, such as [`EndpointHandle::ask_stats`](super::EndpointHandle::ask_stats)
/// gives it.
#[derive(Debug)]
pub struct Asked<T>(pub(super) Arc<Answer<T>>);

impl<T: Clone> Asked<T> {
    /// The answer, once it is there. `None` if what was asked about has ended, or the endpoint has stopped.
    pub fn poll(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Option<T>> {
        let mut state = lock(&self.0.0);
        match &state.answer {
            Some(answer) => Poll::Ready(answer.clone()),
            None => {
                state.wakers.add(context, waiter);
                Poll::Pending
            }
        }
    }
}
