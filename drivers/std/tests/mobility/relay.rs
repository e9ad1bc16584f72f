//! A long way: what it carries takes time in each direction. To the far end each address of the near one is another port.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use rtmfp_core::Instant;
use rtmfp_std::Clock;

pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    /// Where the near end was seen last.
    client: Arc<Mutex<SocketAddr>>,
}

/// Sent when it is due.
struct Held {
    due: Instant,
    bytes: Vec<u8>,
    over: Arc<UdpSocket>,
    to: SocketAddr,
}

/// Sends in order what it is given.
fn line(clock: Clock) -> Sender<Held> {
    let (sender, held) = channel::<Held>();
    thread::spawn(move || {
        for held in held {
            while clock.now() < held.due {
                thread::park_timeout(clock.until(held.due));
            }
            // The network may be away.
            let _ = held.over.send_to(&held.bytes, held.to);
        }
    });
    sender
}

/// Takes from `over` what comes, for ever.
fn carry(over: &UdpSocket, mut take: impl FnMut(Vec<u8>, SocketAddr)) {
    let mut buffer = vec![0; 65_536];
    loop {
        if let Ok((len, from)) = over.recv_from(&mut buffer) {
            take(buffer[..len].to_vec(), from);
        }
    }
}

impl Relay {
    /// Listens at `address` for what goes to `far`.
    pub(crate) fn start(address: SocketAddr, far: SocketAddr, delay: Duration) -> Self {
        let near = Arc::new(UdpSocket::bind(address).unwrap());
        let relay = Self { address: near.local_addr().unwrap(), client: Arc::new(Mutex::new(address)) };
        let (clock, client) = (Clock::new(), Arc::clone(&relay.client));
        thread::spawn(move || {
            let (there, back) = (line(clock), line(clock));
            let mut sockets = BTreeMap::new();
            carry(&Arc::clone(&near), |bytes, from| {
                *client.lock().unwrap() = from;
                let over = sockets.entry(from).or_insert_with(|| {
                    let over = Arc::new(UdpSocket::bind(SocketAddr::new(far.ip(), 0)).unwrap());
                    let (far_side, near, back) = (Arc::clone(&over), Arc::clone(&near), back.clone());
                    thread::spawn(move || {
                        carry(&far_side, |bytes, _| {
                            let held = Held { due: clock.now() + delay, bytes, over: Arc::clone(&near), to: from };
                            back.send(held).unwrap();
                        });
                    });
                    over
                });
                there.send(Held { due: clock.now() + delay, bytes, over: Arc::clone(over), to: far }).unwrap();
            });
        });
        relay
    }

    pub(crate) fn client(&self) -> SocketAddr {
        *self.client.lock().unwrap()
    }
}
