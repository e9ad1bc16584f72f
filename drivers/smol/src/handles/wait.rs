//! Waits for what a handle polls, and tells if nobody runs its endpoint.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::future::Future;

use async_io::Timer;
use rtmfp_core::MessageOutcome;
use rtmfp_std::{Driven, Error, Waiter};

/// How long a call waits for a driver that nobody has polled yet.
const DRIVEN_WITHIN: Duration = if cfg!(test) { Duration::from_millis(1) } else { Duration::from_secs(5) };

/// What a call gives if nobody runs the endpoint.
pub(super) trait IfUndriven {
    fn if_undriven() -> Self;
}

impl<T> IfUndriven for Result<T, Error> {
    fn if_undriven() -> Self {
        Err(Error::NotDriven)
    }
}

impl<T> IfUndriven for Option<T> {
    fn if_undriven() -> Self {
        None
    }
}

impl IfUndriven for Error {
    fn if_undriven() -> Self {
        Self::NotDriven
    }
}

impl IfUndriven for MessageOutcome {
    fn if_undriven() -> Self {
        Self::Unknown
    }
}

/// What a future or stream waits with. The task is forgotten when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Wait {
    waiter: Waiter,
    driver: Late,
}

/// How late a driver is.
#[derive(Debug, Default)]
enum Late {
    #[default]
    No,
    /// The time is not over.
    Until(Timer),
    Yes,
}

impl Wait {
    /// What `poll` gives, or that no driver has begun to run the endpoint in time.
    pub(super) fn poll<T: IfUndriven>(
        &mut self,
        driven: bool,
        context: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>, &mut Waiter) -> Poll<T>,
    ) -> Poll<T> {
        let polled = poll(context, &mut self.waiter);
        if polled.is_pending() && !driven {
            return self.poll_late(context).map(|()| T::if_undriven());
        }
        self.driver = Late::No;
        polled
    }

    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.driver {
                Late::No => self.driver = Late::Until(Timer::after(DRIVEN_WITHIN)),
                Late::Until(timer) => {
                    ready!(Pin::new(timer).poll(context));
                    self.driver = Late::Yes;
                    // The driver's task may be next, if this thread was busy.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Late::Yes => return Poll::Ready(()),
            }
        }
    }
}

/// Waits for what a handle polls.
pub(super) async fn wait<T: IfUndriven>(
    handle: &impl Driven,
    mut poll: impl FnMut(&mut Context<'_>, &mut Waiter) -> Poll<T>,
) -> T {
    let mut wait = Wait::default();
    poll_fn(|context| wait.poll(handle.is_driven(), context, &mut poll)).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use futures_lite::StreamExt as _;
    use futures_lite::future::{block_on, or, poll_once};
    use rtmfp_core::FlowOptions;
    use rtmfp_std::{IntroducePolicy, Remote, SendOptions};

    use super::*;
    use crate::{Driver, Endpoint};

    const LONG: Duration = Duration::from_secs(60);

    fn endpoint() -> (Endpoint, Driver) {
        let local = "127.0.0.1:0".parse().unwrap();
        Endpoint::builder().introduce(IntroducePolicy::Ask).bind(local).build().unwrap()
    }

    /// What a call gives that is not to wait for ever.
    async fn ends<T>(call: impl Future<Output = T>) -> T {
        let late = async {
            Timer::after(LONG).await;
            panic!("it waits for a driver that nobody polls")
        };
        or(call, late).await
    }

    const NOT_DRIVEN: Option<Error> = Some(Error::NotDriven);

    #[test]
    fn no_call_of_an_endpoint_waits_for_a_driver_that_nobody_polls() {
        let (endpoint, _driver) = endpoint();
        let far = "127.0.0.1:1935".parse().unwrap();
        block_on(async {
            assert_eq!(ends(endpoint.connect("far", &[far])).await.err(), NOT_DRIVEN);
            assert!(ends(endpoint.accept()).await.is_none() && ends(endpoint.incoming().next()).await.is_none());
            assert!(ends(endpoint.introductions().next()).await.is_none() && ends(endpoint.stats()).await.is_none());
            assert_eq!(ends(endpoint.sleep(Duration::ZERO)).await.err(), NOT_DRIVEN);
            let registration = endpoint.register(Remote::new("far").at(far)).await.unwrap();
            assert_eq!(ends(registration.wait_registered()).await.err(), NOT_DRIVEN);
            assert_eq!(ends(registration.next_event()).await, None);
            assert_eq!(ends(registration.events().next()).await, None);
            assert_eq!(ends(endpoint.shutdown(LONG)).await.err(), NOT_DRIVEN);
        });
    }

    #[test]
    fn no_call_of_a_session_or_flow_waits_for_a_driver_that_nobody_polls() {
        let (endpoint, _driver) = endpoint();
        block_on(async {
            let session = endpoint.begin("far", &["127.0.0.1:1935".parse().unwrap()]);
            assert_eq!(ends(session.opened()).await.err(), NOT_DRIVEN);
            assert_eq!(ends(session.far_keys_proved()).await.err(), NOT_DRIVEN);
            assert_eq!(ends(session.accept_flow()).await.err(), NOT_DRIVEN);
            assert!(ends(session.incoming_flows().next()).await.is_none());
            assert!(ends(session.events().next()).await.is_none() && ends(session.stats()).await.is_none());
            assert!(ends(session.near_nonce()).await.is_none());
            let flow = session.open_flow(FlowOptions::new("flow"));
            let receipt = flow.send_with("message", SendOptions::new()).await.unwrap();
            assert_eq!(ends(receipt).await, MessageOutcome::Unknown);
            while flow.try_send(vec![7; 100_000]).is_ok() {}
            assert_eq!(ends(flow.send("message")).await.err(), NOT_DRIVEN);
            assert_eq!(ends(flow.send_with("message", SendOptions::new().deadline(LONG))).await.err(), NOT_DRIVEN);
            assert_eq!(ends(flow.ready()).await.err(), NOT_DRIVEN);
            assert_eq!(ends(flow.flush()).await.err(), NOT_DRIVEN);
            let mut sink = flow.sink();
            let ready = poll_fn(|context| futures_sink::Sink::<Vec<u8>>::poll_ready(Pin::new(&mut sink), context));
            assert_eq!(ends(ready).await.err(), NOT_DRIVEN);
            assert!(ends(flow.stats()).await.is_none());
            assert_eq!(Some(ends(flow.closed()).await), NOT_DRIVEN);
            assert_eq!(ends(flow.finish()).await.err(), NOT_DRIVEN);
            assert_eq!(Some(ends(session.closed()).await), NOT_DRIVEN);
            assert_eq!(ends(session.close(LONG)).await.err(), NOT_DRIVEN);
        });
    }

    #[test]
    fn once_a_driver_runs_a_call_has_all_the_time_that_it_needs() {
        let (endpoint, mut driver) = endpoint();
        block_on(async {
            let mut accepting = core::pin::pin!(endpoint.accept());
            assert!(poll_once(accepting.as_mut()).await.is_none());
            assert!(poll_once(&mut driver).await.is_none());
            let sleeping = async { endpoint.sleep(20 * DRIVEN_WITHIN).await.is_ok() };
            let stopped = async { driver.await.is_err() };
            assert!(or(or(sleeping, async { accepting.await.is_some() }), stopped).await);
        });
    }
}
