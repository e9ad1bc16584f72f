//! What was asked of the endpoint.

use core::task::{Context, Poll};
use std::sync::Arc;

use crate::endpoint::shared::{Answer, Command, EndpointShared, Question, lock};
use crate::endpoint::wakers::Waiter;

/// An answer on its way from the endpoint, such as [`EndpointHandle::ask_stats`](super::EndpointHandle::ask_stats)
/// gives it.
#[derive(Debug)]
pub struct Asked<T> {
    answer: Arc<Answer<T>>,
    pub(super) endpoint: Arc<EndpointShared>,
}

impl<T> Asked<T> {
    /// Asks the endpoint. If nobody takes the question, it is dropped, which answers it.
    pub(super) fn new(endpoint: &Arc<EndpointShared>, command: impl FnOnce(Question<T>) -> Command) -> Self {
        let (question, answer) = Question::new();
        endpoint.send(command(question));
        Self { answer, endpoint: Arc::clone(endpoint) }
    }
}

impl<T: Clone> Asked<T> {
    /// The answer, once it is there. `None` if what was asked about has ended, or the endpoint has stopped.
    pub fn poll(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Option<T>> {
        let mut state = lock(&self.answer.0);
        match &state.answer {
            Some(answer) => Poll::Ready(answer.clone()),
            None => {
                state.wakers.add(context, waiter);
                Poll::Pending
            }
        }
    }
}
