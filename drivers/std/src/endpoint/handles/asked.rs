//! What was asked of the endpoint.

use core::task::{Context, Poll};
use std::sync::Arc;

use crate::endpoint::shared::{Answer, Command, EndpointShared, Question, lock};
use crate::endpoint::wakers::Waiter;

/// An answer on its way from the endpoint, such as [`EndpointHandle::ask_stats`](super::EndpointHandle::ask_stats)
/// gives it. The question is withdrawn when this is dropped.
#[derive(Debug)]
pub struct Asked<T> {
    answer: Arc<Answer<T>>,
    /// Has the endpoint look for what was withdrawn, if a question takes room there until it is answered.
    withdraw: Option<Command>,
    pub(super) endpoint: Arc<EndpointShared>,
}

impl<T> Asked<T> {
    /// Asks the endpoint. If nobody takes the question, it is dropped, which answers it.
    pub(super) fn new(endpoint: &Arc<EndpointShared>, command: impl FnOnce(Question<T>) -> Command) -> Self {
        let (question, answer) = Question::new();
        endpoint.send(command(question));
        Self { answer, withdraw: None, endpoint: Arc::clone(endpoint) }
    }

    /// Has the endpoint carry this out if the question is withdrawn.
    pub(super) fn or_else(mut self, withdraw: Command) -> Self {
        self.withdraw = Some(withdraw);
        self
    }
}

impl<T> Drop for Asked<T> {
    fn drop(&mut self) {
        let Some(withdraw) = self.withdraw.take() else { return };
        let mut state = lock(&self.answer.0);
        state.withdrawn = true;
        let is_answered = state.answer.is_some();
        drop(state);
        if !is_answered {
            self.endpoint.send(withdraw);
        }
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
