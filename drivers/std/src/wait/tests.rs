//! Both ways to wait do the same. A wait without an end hangs here if its end is lost.

use core::time::Duration;
use std::net::UdpSocket;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{App, Endpoint, EndpointConfig, Event, InterfaceId};

use crate::clock::Clock;
use crate::entropy::system_rng;
use crate::pump::Pump;
use crate::socket::Socket;

fn pump() -> Pump {
    let (profile, clock) = (Arc::new(PlainProfile::new(b"waiting")), Clock::new());
    let endpoint = Endpoint::new(EndpointConfig::default(), profile, system_rng().unwrap(), clock.now()).unwrap();
    let sockets = (0..2).map(|_| Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    Pump::new(endpoint, clock, sockets.collect())
}

#[expect(clippy::disallowed_methods, reason = "some waits are of a microsecond, and the driver's clock counts those")]
fn now() -> Instant {
    Instant::now()
}

/// Has nothing to say.
struct Idle;

impl App for Idle {
    fn on_event(&mut self, _: rtmfp_core::Instant, _: &mut Endpoint, _: Event) {}
}

macro_rules! test_each {
    ($($way:ident),*) => {
        $(mod $way {
            use super::*;
            use crate::wait::$way::Sources;

            #[test]
            fn every_notification_ends_a_wait_and_is_taken_once() {
                let pump = pump();
                let mut sources = Sources::new(&pump).unwrap();
                let notifier = sources.notifier();
                for _ in 0..3 {
                    notifier.notify().unwrap();
                    notifier.notify().unwrap();
                    sources.wait(&pump, None).unwrap();
                    let other = notifier.clone();
                    let thread = thread::spawn(move || other.notify().unwrap());
                    sources.wait(&pump, None).unwrap();
                    thread.join().unwrap();
                }
                // All of them are taken: nothing ends this but its time.
                let (begun, short) = (now(), Duration::from_millis(20));
                sources.wait(&pump, Some(short)).unwrap();
                assert!(begun.elapsed() >= short);
            }

            #[test]
            fn a_datagram_at_any_socket_ends_a_wait() {
                let mut pump = pump();
                let mut sources = Sources::new(&pump).unwrap();
                let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
                for (received, interface) in [(1, 0), (2, 1), (3, 0)] {
                    let address = pump.local_addr(InterfaceId(interface)).unwrap();
                    sender.send_to(b"hello", address).unwrap();
                    while pump.stats().receives < received {
                        sources.wait(&pump, None).unwrap();
                        pump.turn(&mut Idle).unwrap();
                    }
                }
            }

            #[test]
            fn room_in_a_blocked_socket_ends_a_wait() {
                let pump = Pump::blocked();
                let mut sources = Sources::new(&pump).unwrap();
                sources.wait(&pump, None).unwrap();
            }

            /// The socket is readable all the while: a driver span for a second, until the socket had failed.
            #[test]
            fn a_receive_error_that_does_not_pass_is_waited_for() {
                let mut pump = Pump::failing(std::io::ErrorKind::OutOfMemory);
                let mut sources = Sources::new(&pump).unwrap();
                let (begun, address) = (now(), pump.local_addr(InterfaceId(0)).unwrap());
                UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", address).unwrap();
                let mut turns = 0;
                while pump.stats().socket_failures == 0 {
                    let turn = pump.turn(&mut Idle).unwrap();
                    turns += 1;
                    assert!(turns < 100 && begun.elapsed() < Duration::from_secs(60), "{turns} turns");
                    sources.wait(&pump, turn.deadline.map(|deadline| pump.clock().until(deadline))).unwrap();
                }
                assert!(pump.stats().receive_errors >= 16);
            }

            #[test]
            fn a_wait_is_not_shorter_than_its_time() {
                let pump = pump();
                let mut sources = Sources::new(&pump).unwrap();
                for time in [Duration::ZERO, Duration::from_micros(1), Duration::from_millis(3)] {
                    let begun = now();
                    sources.wait(&pump, Some(time)).unwrap();
                    assert!(begun.elapsed() >= time);
                }
            }
        })*
    };
}

test_each!(ppoll, poller);
