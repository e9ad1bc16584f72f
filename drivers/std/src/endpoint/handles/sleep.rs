//! Waits for a time on the endpoint's clock.

use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use super::EndpointHandle;
use crate::endpoint::shared::{Command, EndpointShared, SleepShared, lock};
use crate::endpoint::wakers::Waiter;
use crate::endpoint::{Error, block_on};

/// A wait that began when it was made, as [`EndpointHandle::begin_sleep`] gives it. The endpoint forgets it when it is
/// dropped.
#[derive(Debug)]
pub struct Sleep {
    pub(super) endpoint: Arc<EndpointShared>,
    shared: Arc<SleepShared>,
}

impl EndpointHandle {
    /// Waits on the endpoint's own clock: in a simulation that is the simulated one, so that what is written with this
    /// runs there unchanged.
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped) if the endpoint stops before.
    pub fn sleep(&self, duration: Duration) -> Result<(), Error> {
        let sleep = self.begin_sleep(duration);
        block_on(|context, waiter| sleep.poll(context, waiter))
    }

    /// [`sleep`](Self::sleep), polled.
    #[must_use]
    pub fn begin_sleep(&self, duration: Duration) -> Sleep {
        let sleep = Sleep { endpoint: Arc::clone(self.shared()), shared: Arc::default() };
        if !sleep.endpoint.send(Command::Sleep(Arc::clone(&sleep.shared), duration)) {
            lock(&sleep.shared.0).stopped = true;
        }
        sleep
    }
}

impl Sleep {
    /// Ready when the time is over.
    pub fn poll(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<(), Error>> {
        let mut state = lock(&self.shared.0);
        if state.over {
            Poll::Ready(Ok(()))
        } else if state.stopped {
            Poll::Ready(Err(Error::Stopped))
        } else {
            state.wakers.add(context, waiter);
            Poll::Pending
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.0);
        state.given_up = true;
        let waits = !state.over && !state.stopped;
        drop(state);
        if waits {
            self.endpoint.send(Command::ForgetSleep(Arc::clone(&self.shared)));
        }
    }
}
