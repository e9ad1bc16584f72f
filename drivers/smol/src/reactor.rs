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

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
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
        if turn.more {
            if turns % TURNS == 0 {
                futures_lite::future::yield_now().await;
            }
            continue;
        }
        let woken = poll_fn(|context| {
            if signal.poll(context).is_ready() {
                return Poll::Ready(Ok(true));
            }
            reactor.poll_ready(context, &turn).map(|result| result.map(|()| false))
        })
        .await?;
        if woken {
            reactor.wake();
        }
    }
}
