//! Waits on the endpoint's clock.

use super::*;
use crate::endpoint::Sleep;

fn poll(sleep: &Sleep) -> Poll<Result<(), Error>> {
    sleep.poll(&mut context(), &mut Waiter::default())
}

#[test]
fn waits_end_in_their_order_and_not_before() {
    let mut server = Server::new(EndpointConfig::default());
    let sleeps = [30, 10, 20, 10].map(|millis| server.handle.begin_sleep(Duration::from_millis(millis)));
    server.settle();
    let mut over = Vec::new();
    while let Some(next) = server.app.next_timeout() {
        assert!(next > server.now, "a deadline that was served has gone");
        server.now = next;
        server.settle();
        over.push(sleeps.iter().map(|sleep| poll(sleep).is_ready()).collect::<Vec<_>>());
    }
    let rounds = [[false, true, false, true], [false, true, true, true], [true; 4]];
    assert_eq!(over, rounds.map(Vec::from));
    assert_eq!(server.now, Instant::from_millis(30));
}

#[test]
fn waits_that_are_given_up_leave_nothing() {
    let mut server = Server::new(EndpointConfig::default());
    for settled in [true, false] {
        for _ in 0..100_000 {
            let sleep = server.handle.begin_sleep(Duration::from_secs(3_600));
            if settled {
                server.settle();
                assert_eq!(server.app.next_timeout(), Some(server.now + Duration::from_secs(3_600)));
            }
            drop(sleep);
        }
        server.settle();
        assert_eq!(server.app.next_timeout(), None);
    }
}

#[test]
fn waits_end_when_the_endpoint_stops() {
    let mut server = Server::new(EndpointConfig::default());
    let begun = server.handle.begin_sleep(Duration::from_secs(1));
    server.settle();
    let not_begun = server.handle.begin_sleep(Duration::from_secs(1));
    let Server { app, handle, .. } = server;
    drop(app);
    for sleep in [begun, not_begun, handle.begin_sleep(Duration::from_secs(1))] {
        assert_eq!(poll(&sleep), Poll::Ready(Err(Error::Stopped)));
    }
}
