//! The server's loop.

use core::fmt;
use core::time::Duration;
use std::io;
use std::sync::{Arc, mpsc};

use rtmfp_core::{Instant, Router};
use rtmfp_meet::probe::{ProbeEvent, ProbeLimits, ProbePlace, ProbeService};
use rtmfp_meet::{Admit, Limits, Rendezvous, ServerEvent};
use rtmfp_std::{Driver, ProfileKind, system_rng};

use crate::status::{Snapshot, Status, Totals};

/// How often the status is published.
const TICK: Duration = Duration::from_millis(200);

/// A rendezvous service on a driver.
pub struct Server {
    driver: Driver,
    router: Router,
    events: mpsc::Receiver<ServerEvent>,
    probes: mpsc::Receiver<ProbeEvent>,
    totals: Totals,
    status: Arc<Status>,
    published: Instant,
    /// When sessions are given up that do not end in order.
    drain_until: Option<Instant>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("totals", &self.totals).finish_non_exhaustive()
    }
}

impl Server {
    /// A server on a driver, whose endpoint has the settings of [`Config::apply`](crate::Config::apply). `places` are
    /// sockets of the driver from which clients may have probes sent; without any, they still learn their addresses.
    ///
    /// # Errors
    /// As the system tells, if it has no random numbers.
    pub fn new(
        driver: Driver,
        limits: Limits,
        places: Vec<ProbePlace>,
        admit: impl Admit + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, events) = mpsc::channel();
        // The receivers live as long as the services.
        let observer = move |event| {
            let _ = sender.send(event);
        };
        let rendezvous = Rendezvous::new(limits, admit, system_rng()?, observer);
        let (sender, probes) = mpsc::channel();
        let observer = move |event| {
            let _ = sender.send(event);
        };
        let prober = ProbeService::new(ProbeLimits::default(), places, system_rng()?, observer);
        let router = Router::new().with(Box::new(rendezvous)).with(Box::new(prober));
        let status = Arc::new(Status::new(ProfileKind::of(driver.pump().endpoint().profile())));
        let mut server = Self {
            driver,
            router,
            events,
            probes,
            totals: Totals::default(),
            status,
            published: Instant::ORIGIN,
            drain_until: None,
        };
        server.publish();
        Ok(server)
    }

    /// The driver, and in it the endpoint.
    #[must_use]
    pub const fn driver(&self) -> &Driver {
        &self.driver
    }

    /// What others may look at, such as [`Http`](crate::Http).
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// What was done so far.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// One round: serves what there is to serve, or else waits for it, for a fifth of a second at most. `observe` is told
    /// of each event.
    ///
    /// # Errors
    /// As the system tells, if no socket works.
    pub fn step(&mut self, mut observe: impl FnMut(&Driver, ServerEvent)) -> io::Result<()> {
        self.driver.step(&mut self.router, Some(TICK))?;
        for event in self.events.try_iter() {
            self.totals.count(&event);
            observe(&self.driver, event);
        }
        self.probes.try_iter().for_each(|event| self.totals.count_probe(&event));
        // It looks at all sessions.
        if self.driver.pump().clock().now().saturating_duration_since(self.published) >= TICK {
            self.publish();
        }
        Ok(())
    }

    /// Closes all sessions in order, and takes no new ones. After `limit` nobody is waited for any more. Only the first
    /// call does something.
    ///
    /// # Errors
    /// As the system tells, if no socket works.
    pub fn drain(&mut self, limit: Duration) -> io::Result<()> {
        if self.drain_until.is_none() {
            let now = self.driver.pump().clock().now();
            self.drain_until = Some(now + limit);
            self.driver.pump_mut().endpoint_mut().drain_all(now, now + limit);
            self.driver.pump_mut().turn(&mut self.router)?;
            self.publish();
        }
        Ok(())
    }

    /// All sessions have ended after [`drain`](Self::drain), or its limit is over.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let endpoint = self.driver.pump().endpoint();
        let awaits = |session| endpoint.session(session).is_some_and(|session| session.awaits_far_end());
        let now = self.driver.pump().clock().now();
        self.drain_until.is_some_and(|until| now >= until || !endpoint.sessions().any(awaits))
    }

    fn publish(&mut self) {
        let pump = self.driver.pump();
        self.published = pump.clock().now();
        self.status.publish(Snapshot {
            endpoint: pump.endpoint().stats(),
            sessions: pump.endpoint().sessions().count(),
            overflows: pump.sockets().filter_map(|(_, socket)| socket.overflows()).sum(),
            totals: self.totals,
            draining: self.drain_until.is_some(),
        });
    }
}
