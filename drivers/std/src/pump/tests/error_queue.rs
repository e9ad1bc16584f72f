//! Sockets of a program that keep a queue of errors (Linux).

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use rtmfp_core::{App, Endpoint, Event, Instant};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::socket::Socket;

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

/// A driver turned without a wait for as long as there was an error in the queue, which nobody read.
#[test]
fn the_error_queue_of_a_programs_socket_does_not_keep_its_driver_busy() {
    let given = UdpSocket::bind("127.0.0.1:0").unwrap();
    quinn_udp::UdpSocketState::new((&given).into()).unwrap().enable_transport_errors((&given).into()).unwrap();
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
