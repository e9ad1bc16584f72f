//! The server of the Flash profile, on a thread of its own beside that of the modern one.

use core::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rtmfp_server::{Config, Server, Status, Tokens};

use super::settings;
use crate::args::{Common, Serve};
use crate::commands::conclude;
use crate::failure::{Code, Failure};
use crate::identity::Identity;
use crate::net::{self, Interrupt};
use crate::report::Report;

/// A second server, which has not begun.
pub(super) struct Beside {
    server: Server,
    interrupt: Interrupt,
    identity: Identity,
}

impl Beside {
    pub(super) fn new(
        args: &Serve,
        config: &Config,
        identity: Identity,
        tokens: Option<Tokens>,
    ) -> Result<Self, Failure> {
        let bind = |address| net::bind(address, "--listen-flash");
        let sockets = config.listen_flash.iter().copied().map(bind).collect::<Result<_, _>>()?;
        // There is one trace, and it is that of the first server.
        let driver = net::driver(sockets, &identity, settings(args, config, &identity), None)?;
        let interrupt = Interrupt::watch(driver.waker())?;
        let server = super::new_server(driver, config, Vec::new(), tokens)?;
        Ok(Self { server, interrupt, identity })
    }

    pub(super) fn status(&self) -> Arc<Status> {
        self.server.status()
    }

    fn profile(&self) -> String {
        self.identity.kind().to_string()
    }

    /// Tells where it listens, and who it is.
    pub(super) fn announce(&self, report: &mut Report) {
        let fingerprint = self.identity.fingerprint.map(|fingerprint| fingerprint.to_string());
        let addresses = net::local_addresses(self.server.driver());
        report.listening(&addresses, fingerprint.as_deref(), Some(&self.profile()));
    }

    /// Begins to serve, until the user interrupts or the other server ends: `ends` tells each of them.
    pub(super) fn start(mut self, common: &Common, ends: &Arc<AtomicBool>) -> Result<Started, Failure> {
        let (common, ends) = (common.clone(), Arc::clone(ends));
        let run = move || {
            let profile = self.profile();
            let mut report = Report::new(common.json).limited();
            let result = super::serve(&mut self.server, &self.interrupt, &ends, Some(&profile), &mut report);
            conclude(self.server.driver(), &common, &mut report);
            result
        };
        let thread = thread::Builder::new().name("rtmfp-flash".to_owned()).spawn(run)?;
        Ok(Started(thread))
    }
}

/// The thread of a second server.
pub(super) struct Started(JoinHandle<Result<(), Failure>>);

impl Started {
    /// Waits for its end.
    pub(super) fn end(self) -> Result<(), Failure> {
        let panicked = |_| Err(Failure::new(Code::Local, "the server of the Flash profile has failed"));
        self.0.join().unwrap_or_else(panicked)
    }
}
