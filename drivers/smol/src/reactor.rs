//! The loop of a driver, over whatever it turns and waits for.

use core::future::poll_fn;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::io;
use std::sync::{Mutex, PoisonError};

use rtmfp_core::App;
use rtmfp_std::Turn;

/// Turns in a row before other tasks of the executor have their turn.
const TURNS: usize = 4;

/// What a [`Driver`](crate::Driver) turns, and waits for: a pump over sockets, unless [`Endpoint::over`](crate::Endpoint::over) is given
/// another. One of a program's own can run an endpoint over something else, or in a simulation.
pub trait Reactor: Send {
    /// Makes the next [`turn`](Self::turn) call [`App::on_wake`].
    fn wake(&mut self);

    /// Does what there is to do, as [`Pump::turn`](rtmfp_std::Pump::turn) does.
    ///
    /// # Errors
    /// What ends the driver.
    fn turn(&mut self, app: &mut dyn App) -> io::Result<Turn>;

    /// Ready when there may be something to do after `turn`: something has come, what was blocked is no more, or the
    /// deadline is over.
    ///
    /// # Errors
    /// What ends the driver.
    fn poll_ready(&mut self, context: &mut Context<'_>, turn: &Turn) -> Poll<io::Result<()>>;
}

/// Has the driver's task look at its queue.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    pub(crate) fn set(&self) {
        self.set.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready if it was set since the last look. Otherwise the task is woken when it is.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        let replaced = self.waker.lock().unwrap_or_else(PoisonError::into_inner).replace(waker);
        // Dropping a waker may run anything: nothing is locked here.
        drop(replaced);
        // Looked at after the waker is there, so that no signal falls between.
        if self.take() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether it was set since the last look.
    fn take(&self) -> bool {
        self.set.swap(false, Ordering::SeqCst)
    }
}

/// Runs an application until it is done.
pub(crate) async fn drive(reactor: &mut dyn Reactor, app: &mut (dyn App + Send), signal: &Signal) -> io::Result<()> {
    let mut turns = 0;
    loop {
        // A peer that keeps the pump busy does not keep commands waiting.
        if signal.take() {
            reactor.wake();
        }
        let turn = reactor.turn(app)?;
        if turn.done {
            return Ok(());
        }
        turns += 1;
        // Turns without a wait are limited, whether there was more to do or the wait was over before it began.
        if turns >= TURNS {
            futures_lite::future::yield_now().await;
            turns = 0;
        }
        if turn.more {
            continue;
        }
        let mut waited = false;
        let woken = poll_fn(|context| {
            let polled = poll_wait(reactor, context, &turn, signal);
            waited |= polled.is_pending();
            polled
        })
        .await?;
        if waited {
            turns = 0;
        }
        if woken {
            reactor.wake();
        }
    }
}

/// Ready when there may be something to do: true if the signal tells so.
fn poll_wait(
    reactor: &mut dyn Reactor,
    context: &mut Context<'_>,
    turn: &Turn,
    signal: &Signal,
) -> Poll<io::Result<bool>> {
    if signal.poll(context).is_ready() {
        return Poll::Ready(Ok(true));
    }
    reactor.poll_ready(context, turn).map(|result| result.map(|()| false))
}
