//! A server has restarted, and all of its clients are back.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;

use super::pair::{A, address, path_to};
use crate::endpoint::KeyAgreement;
use crate::event::Event;
use crate::profile::plain::PlainProfile;
use crate::{Endpoint, EndpointConfig, Instant, InterfaceId, Path, RecvMeta, Target, TransmitBuf};

const DELAY: Duration = Duration::from_millis(25);
/// One thread computes them, one after the other.
const AGREEMENT: Duration = Duration::from_micros(830);

enum What {
    Open(usize),
    ToServer(usize, Vec<u8>),
    ToClient(usize, Vec<u8>),
    Timer(usize),
    Agreed(Box<KeyAgreement>),
}

struct Crowd {
    server: Endpoint,
    clients: Vec<(SocketAddr, Endpoint, Option<Instant>)>,
    by_address: BTreeMap<SocketAddr, usize>,
    queue: BTreeMap<(Instant, u64), What>,
    next: u64,
    now: Instant,
    busy: bool,
}

fn endpoint(name: &str, seed: u64) -> Endpoint {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    let mut config = EndpointConfig::default();
    config.session.keepalive = Duration::from_secs(3_600);
    config.session.idle_limit = Duration::from_secs(3_600);
    Endpoint::new(config, profile, Box::new(ChaCha20Rng::seed_from_u64(seed)), Instant::ORIGIN).unwrap()
}

impl Crowd {
    /// Clients, each at an address of its own or all at one, that open their sessions within this time.
    fn new(count: usize, one_address: bool, within: Duration) -> Self {
        let mut server = endpoint("server", 0);
        server.offload_key_agreements();
        let mut crowd = Self {
            server,
            clients: Vec::new(),
            by_address: BTreeMap::new(),
            queue: BTreeMap::new(),
            next: 0,
            now: Instant::ORIGIN,
            busy: false,
        };
        for index in 0..count {
            let ip = if one_address { [192, 0, 2, 200] } else { (0x0a00_0000 + index as u32).to_be_bytes() };
            let from = SocketAddr::from((ip, 1_000 + index as u16));
            crowd.clients.push((from, endpoint("client", 1 + index as u64), None));
            crowd.by_address.insert(from, index);
            crowd.at(Instant::ORIGIN + within * index as u32 / count as u32, What::Open(index));
        }
        crowd
    }

    fn at(&mut self, at: Instant, what: What) {
        self.next += 1;
        self.queue.insert((at, self.next), what);
    }

    fn flush_client(&mut self, index: usize) {
        let mut buf = TransmitBuf::new(4);
        let now = self.now;
        let (_, endpoint, opened) = &mut self.clients[index];
        let mut sent = Vec::new();
        while endpoint.poll_transmit(now, &mut buf).is_some() {
            sent.extend(buf.datagrams().map(<[u8]>::to_vec));
        }
        while let Some(event) = endpoint.poll_event() {
            if matches!(event, Event::SessionOpened { .. }) {
                *opened = Some(now);
            }
        }
        let timer = endpoint.poll_timeout();
        sent.into_iter().for_each(|bytes| self.at(now + DELAY, What::ToServer(index, bytes)));
        if let Some(at) = timer {
            self.at(at, What::Timer(index));
        }
    }

    fn flush_server(&mut self) {
        let mut buf = TransmitBuf::new(4);
        while let Some(transmit) = self.server.poll_transmit(self.now, &mut buf) {
            let index = self.by_address[&transmit.path.remote];
            let sent: Vec<_> = buf.datagrams().map(<[u8]>::to_vec).collect();
            sent.into_iter().for_each(|bytes| self.at(self.now + DELAY, What::ToClient(index, bytes)));
        }
        while self.server.poll_event().is_some() {}
        if !self.busy
            && let Some(job) = self.server.poll_key_agreement()
        {
            self.busy = true;
            self.at(self.now + AGREEMENT, What::Agreed(Box::new(job)));
        }
    }

    /// When each of them got in, in order.
    fn run(mut self, seconds: u64) -> Vec<Duration> {
        while let Some(entry) = self.queue.first_entry() {
            self.now = entry.key().0;
            if self.now > Instant::ORIGIN + Duration::from_secs(seconds) {
                break;
            }
            let what = entry.remove();
            if self.server.poll_timeout().is_some_and(|at| at <= self.now) {
                self.server.handle_timeout(self.now);
            }
            match what {
                What::Open(index) => {
                    let target = Target::new(&b"server"[..], path_to(A));
                    self.clients[index].1.open(self.now, target).unwrap();
                    self.flush_client(index);
                }
                What::Timer(index) => {
                    self.clients[index].1.handle_timeout(self.now);
                    self.flush_client(index);
                }
                What::ToClient(index, mut bytes) => {
                    let path = Path::new(InterfaceId(0), address(A));
                    let _ = self.clients[index].1.handle_datagram(self.now, path, RecvMeta::default(), &mut bytes);
                    self.flush_client(index);
                }
                What::ToServer(index, mut bytes) => {
                    let path = Path::new(InterfaceId(0), self.clients[index].0);
                    let _ = self.server.handle_datagram(self.now, path, RecvMeta::default(), &mut bytes);
                }
                What::Agreed(job) => {
                    self.busy = false;
                    self.server.handle_key_agreement(self.now, job.run());
                }
            }
            self.flush_server();
        }
        let since = |at: Instant| at.saturating_duration_since(Instant::ORIGIN);
        let mut times: Vec<_> = self.clients.iter().filter_map(|(.., opened)| opened.map(since)).collect();
        times.sort_unstable();
        times
    }
}

/// How many got in, and when half and the last of them did.
fn times(count: usize, one_address: bool, within: u64) -> (usize, Duration, Duration) {
    let times = Crowd::new(count, one_address, Duration::from_secs(within)).run(200);
    let (half, last) = (times[times.len() / 2], times[times.len() - 1]);
    (times.len(), half, last)
}

/// All at once, again and again at the same times, 3,072 of 5,000 had their sessions before they gave up, half after 63 s.
#[test]
fn five_thousand_clients_that_lost_their_server_in_one_instant_come_back() {
    let (count, half, last) = times(5_000, false, 0);
    assert_eq!(count, 5_000);
    assert!(half < Duration::from_secs(20) && last < Duration::from_secs(60), "{half:?} {last:?}");
    let (count, .., last) = times(5_000, false, 15);
    assert!(count == 5_000 && last < Duration::from_secs(17), "{last:?}");
}

/// A carrier may have thousands of subscribers at one address, of which 50 a second are answered: 600 got in.
#[test]
fn a_crowd_at_one_address_comes_back_at_the_rate_of_one_source() {
    let (count, ..) = times(2_000, true, 0);
    assert!(count > 1_900, "{count}");
}
