//! Attempts to connect: how long they last, and what ends them.

use super::*;
use crate::endpoint::Remote;
use rtmfp_core::OpenFailure;
use rtmfp_core::profile::flash::Fingerprint;

impl Server {
    /// Lets the time pass that it has something to do at, up to a limit. Returns how many datagrams it sent.
    fn run_alone_for(&mut self, limit: Duration) -> usize {
        let (end, mut sent) = (self.now + limit, 0);
        let mut flight = TransmitBuf::new(8);
        loop {
            self.settle();
            while self.endpoint.poll_transmit(self.now, &mut flight).is_some() {
                sent += flight.datagrams().count();
            }
            self.settle();
            let due = [self.endpoint.poll_timeout(), self.app.next_timeout()].into_iter().flatten().min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.endpoint.handle_timeout(self.now);
        }
        self.now = end;
        sent
    }
}

fn silent() -> SocketAddr {
    "198.51.100.1:1".parse().unwrap()
}

fn opened(session: &Session) -> Option<Result<(), Error>> {
    match session.poll_opened(&mut context(), &mut Waiter::default()) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

#[test]
fn an_attempt_ends_when_nobody_waits_for_it_any_more() {
    let mut server = Server::new(EndpointConfig::default());
    let mut session = server.handle.begin("nobody", &[silent()]);
    assert!(session.poll_connected(&mut context(), &mut Waiter::default()).is_pending());
    assert_eq!((server.run_alone_for(Duration::from_millis(100)), server.app.sessions()), (1, 1));
    // As a future does that is dropped before it is ready.
    drop(session);
    assert_eq!((server.run_alone_for(Duration::from_secs(200)), server.app.sessions()), (0, 0));
    assert_eq!(server.endpoint.sessions().count(), 0);
}

#[test]
fn an_attempt_lasts_as_long_as_it_is_allowed_to() {
    for (timeout, before, after) in [(None, 94, 96), (Some(3), 2, 4), (Some(200), 199, 201)] {
        let mut server = Server::new(EndpointConfig::default());
        let remote = Remote::new("nobody").at(silent());
        let remote = match timeout {
            Some(seconds) => remote.timeout(Duration::from_secs(seconds)),
            None => remote,
        };
        let session = server.handle.begin_to(&remote);
        server.run_alone_for(Duration::from_secs(before));
        assert_eq!(opened(&session), None);
        server.run_alone_for(Duration::from_secs(after - before));
        assert_eq!(opened(&session), Some(Err(Error::NotOpened(OpenFailure::TimedOut))));
    }
}

#[test]
fn whoever_asks_an_introducer_in_vain_learns_that_it_may_not_know_the_peer() {
    let mut server = Server::new(EndpointConfig::default());
    let session = server.handle.begin_to(&Remote::peer(Fingerprint([7; 32])).through(silent()));
    server.run_alone_for(Duration::from_secs(96));
    assert_eq!(opened(&session), Some(Err(Error::NotIntroduced)));
    assert!(Error::NotIntroduced.to_string().contains("may not know this peer"));
}

#[test]
fn addresses_are_tried_one_after_the_other() {
    let mut server = Server::new(EndpointConfig::default());
    let remotes: Vec<SocketAddr> = (1..=4).map(|port| (silent().ip(), port).into()).collect();
    let _session = server.handle.begin("nobody", &remotes);
    let sent: Vec<_> = (0..3).map(|_| server.run_alone_for(Duration::from_millis(250))).collect();
    // The first is sent at 0 ms, and with it, at the end of each time, the one that is due then.
    assert_eq!(sent, [2, 1, 1]);
}
