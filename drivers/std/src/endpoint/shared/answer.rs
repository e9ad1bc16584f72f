//! Questions to the endpoint, and their answers.

use std::sync::{Arc, Mutex};

use super::{Awaited, lock};
use crate::endpoint::wakers::WakerSet;

/// The endpoint's half of a question. Dropped without an answer it tells that there is none.
#[derive(Debug)]
pub(crate) struct Question<T>(Arc<Answer<T>>);

/// The half of whoever has asked.
#[derive(Debug)]
pub(crate) struct Answer<T>(pub(crate) Mutex<AnswerState<T>>);

#[derive(Debug)]
pub(crate) struct AnswerState<T> {
    /// `Some(None)` if what was asked about is gone.
    pub(crate) answer: Option<Option<T>>,
    /// Whoever has asked wants no answer any more.
    pub(crate) withdrawn: bool,
    pub(crate) wakers: WakerSet,
}

impl<T> Question<T> {
    pub(crate) fn new() -> (Self, Arc<Answer<T>>) {
        let state = AnswerState { answer: None, withdrawn: false, wakers: WakerSet::default() };
        let answer = Arc::new(Answer(Mutex::new(state)));
        (Self(Arc::clone(&answer)), answer)
    }

    /// Whether nobody waits for the answer.
    pub(crate) fn is_void(&self) -> bool {
        Arc::strong_count(&self.0) == 1 || lock(&self.0.0).withdrawn
    }

    pub(crate) fn answer(self, answer: Option<T>) {
        lock(&self.0.0).answer = Some(answer);
    }
}

impl<T> Drop for Question<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.0);
        state.answer.get_or_insert(None);
        state.wakers.wake();
    }
}

impl<T> Awaited for AnswerState<T> {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}
