//! Sockets of a program that keep a queue of errors (Linux).

use core::time::Duration;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use rtmfp_core::{App, Endpoint, Event, Instant, InterfaceId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::pump::Pump;
use crate::socket::{ReceiveErrors, Socket};

/// Has nothing to say.
struct Idle;

impl App for Idle {
    fn on_event(&mut self, _: Instant, _: &mut Endpoint, _: Event) {}
}

fn is_ready(socket: &UdpSocket) -> bool {
    let mut waited = [PollFd::new(socket, PollFlags::IN)];
    poll(&mut waited, Some(&Timespec::default())).unwrap() > 0
}

/// Has the system say that nobody is at a port.
fn refuse(socket: &UdpSocket, errors: usize) {
    let nobody: SocketAddr = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for _ in 0..errors {
        // The error of the one before is told by this call, which sends nothing then.
        while socket.send_to(b"hello", nobody).is_err() {}
    }
    assert!(is_ready(socket));
}

/// A socket that keeps its errors.
fn with_queue() -> UdpSocket {
    let given = UdpSocket::bind("127.0.0.1:0").unwrap();
    quinn_udp::UdpSocketState::new((&given).into()).unwrap().enable_transport_errors((&given).into()).unwrap();
    given
}

/// A driver turned without a wait for as long as there was an error in the queue, which nobody read.
#[test]
fn the_error_queue_of_a_programs_socket_does_not_keep_its_driver_busy() {
    let given = with_queue();
    refuse(&given, 100);
    let given = Socket::from_std(given).unwrap();
    let socket = Arc::clone(given.std_socket());
    let mut pump = super::pump("near", 0);
    pump.add_socket(given).unwrap();
    pump.turn(&mut Idle).unwrap();
    assert!(!is_ready(&socket), "what there was when it was taken over");
    // One that a receive call tells of, and one that it does not.
    for told in [true, false] {
        refuse(&socket, 3);
        if !told {
            let _ = socket.take_error();
        }
        let mut turns = 0;
        while is_ready(&socket) {
            pump.turn(&mut Idle).unwrap();
            turns += 1;
            assert!(turns <= 16);
        }
    }
}

/// Whoever could forge an ICMP message closed the socket, or kept it from receiving.
#[test]
fn no_error_of_the_queue_is_taken_for_the_sockets_own() {
    for kind in [io::ErrorKind::Unsupported, io::ErrorKind::PermissionDenied, io::ErrorKind::Other] {
        let mut given = Socket::from_std(with_queue()).unwrap();
        given.renamed = Some(kind);
        let socket = Arc::clone(given.std_socket());
        let mut pump = super::pump("near", 0);
        pump.add_socket(given).unwrap();
        for told in 1..=20 {
            refuse(&socket, 3);
            pump.turn(&mut Idle).unwrap();
            assert_eq!(pump.stats().receive_errors, told);
            assert!(pump.is_receiving(InterfaceId(0)) && pump.stats().socket_failures == 0, "{kind}");
        }
    }
}

fn first(pump: &mut Pump) -> &mut Socket {
    pump.interfaces[0].socket.as_mut().unwrap()
}

/// One that waits for room to send is waited for all the same, and an error ends that wait.
#[test]
fn the_error_queue_of_a_socket_that_is_not_receiving_is_emptied() {
    let mut pump = super::pump("near", 0);
    pump.add_socket(Socket::from_std(with_queue()).unwrap()).unwrap();
    let socket = Arc::clone(first(&mut pump).std_socket());
    let mut errors = ReceiveErrors::since(pump.clock().now());
    errors.retry += Duration::from_secs(3_600);
    first(&mut pump).receive_errors = Some(errors);
    refuse(&socket, 3);
    pump.turn(&mut Idle).unwrap();
    assert!(!is_ready(&socket) && !pump.is_receiving(InterfaceId(0)));
}
