//! A session between two ends, and what the dissector shows of it.

use core::net::{SocketAddr, SocketAddrV4};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rtmfp_core::profile::{CryptoProfile, KeyLog};
use rtmfp_core::{
    CloseMode, Endpoint, EndpointConfig, Event, FlowOptions, Instant, InterfaceId, Path, RecvMeta, Target, TransmitBuf,
};
use rtmfp_tests::duo::{TestRng, home};

use super::capture::Capture;
use super::expected::COMPARED;
use super::tap::{Plaintexts, Tap};
use super::tshark::{Fields, Scratch, fields};

/// Lines of a key log.
#[derive(Debug, Default)]
pub(crate) struct Lines(pub(crate) Mutex<String>);

impl KeyLog for Lines {
    fn log(&self, line: &str) {
        let mut lines = self.0.lock().unwrap();
        lines.push_str(line);
        lines.push('\n');
    }
}

/// A session from its first hello to its end.
pub(crate) struct Conversation {
    /// Who sent, and what.
    pub(crate) datagrams: Vec<(usize, Vec<u8>)>,
    plaintexts: Plaintexts,
    pub(crate) keys: String,
}

/// Where an end is.
pub(crate) fn address(node: usize) -> SocketAddrV4 {
    let SocketAddr::V4(address) = home(node) else { panic!("of IPv4") };
    address
}

/// One session opens to a name, moves messages of several sizes both ways, and closes. `profile` makes the profile of each
/// end.
pub(crate) fn converse<P: CryptoProfile + 'static>(
    seed: u64,
    name: Vec<u8>,
    profile: impl Fn(u64, Arc<Lines>) -> P,
) -> Conversation {
    let (plaintexts, lines) = (Plaintexts::default(), Arc::<Lines>::default());
    let start = Instant::from_millis(1_000);
    let endpoint = |index| {
        let tap = Tap { inner: profile(index, lines.clone()), seen: Arc::clone(&plaintexts) };
        let rng = Box::new(TestRng(seed * 10 + 5 + index));
        Endpoint::new(EndpointConfig::default(), Arc::new(tap), rng, start).unwrap()
    };
    let mut ends = [endpoint(0), endpoint(1)];
    ends[0].open(start, Target::new(name, Path::new(InterfaceId(0), home(1)))).unwrap();
    let (mut datagrams, mut buf, mut closing) = (Vec::new(), TransmitBuf::new(8), false);
    for round in 0..400 {
        let now = start + Duration::from_millis(5) * round;
        for from in 0..2 {
            while let Some(event) = ends[from].poll_event() {
                if let Event::SessionOpened { session } = event {
                    // The metadata of RTMP messages on stream 7 (RFC 7425 §5.1.1), and a video message.
                    let mut session = ends[from].session_mut(now, session).unwrap();
                    let flow = session.open_flow(FlowOptions::new(&b"TC\x04\x07"[..])).unwrap();
                    let mut flow = ends[from].send_flow_mut(now, flow).unwrap();
                    for size in [5, 100, 4_000] {
                        let message = [&[9, 0, 0, 0, 40][..], &vec![0xab; size]].concat();
                        flow.write(message).unwrap();
                    }
                    flow.close();
                } else if let Event::FlowReadable { flow } = event {
                    while ends[from].recv_flow_mut(now, flow).is_some_and(|mut flow| flow.read().is_some()) {}
                }
            }
            while ends[from].poll_transmit(now, &mut buf).is_some() {
                for datagram in buf.datagrams() {
                    datagrams.push((from, datagram.to_vec()));
                    let path = Path::new(InterfaceId(0), home(from));
                    let mut received = datagram.to_vec();
                    let _ = ends[1 - from].handle_datagram(now, path, RecvMeta::default(), &mut received);
                }
            }
            ends[from].handle_timeout(now);
        }
        if round == 300 && !closing {
            closing = true;
            ends[0].close_all(now, CloseMode::Orderly);
        }
    }
    let keys = lines.0.lock().unwrap().clone();
    Conversation { datagrams, plaintexts, keys }
}

impl Conversation {
    pub(crate) fn capture(&self) -> Capture {
        let mut capture = Capture::new();
        for (from, bytes) in &self.datagrams {
            capture.push(address(*from), address(1 - from), bytes);
        }
        capture
    }

    pub(crate) fn plain(&self, datagram: &(usize, Vec<u8>)) -> Vec<u8> {
        self.plaintexts.lock().unwrap()[&datagram.1[4..]].clone()
    }

    pub(crate) fn is_startup(&self, datagram: &(usize, Vec<u8>)) -> bool {
        self.plain(datagram)[0] & 3 == 3
    }

    /// All plain packets, by what they became.
    pub(crate) fn plaintexts(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.plaintexts.lock().unwrap().clone()
    }

    /// What the dissector shows with this key log: what is compared of all packets, complaints, and `more`.
    pub(crate) fn shown(&self, keys: Option<&str>, more: &[&str]) -> Option<Vec<Fields>> {
        let file = keys.map(|keys| Scratch::new(keys.as_bytes()));
        let preference = file.as_ref().map(|file| format!("rtmfp.keylog:{}", file.0.display()));
        let wanted: Vec<&str> = COMPARED.iter().chain(&["_ws.expert.message"]).chain(more).copied().collect();
        let preferences: Vec<&str> = preference.as_deref().into_iter().collect();
        let shown = fields(&self.capture(), &preferences, &wanted)?;
        assert_eq!(shown.len(), self.datagrams.len());
        Some(shown)
    }
}

/// The complaints about a packet.
pub(crate) fn told(shown: &Fields) -> String {
    shown.get("_ws.expert.message").map_or(String::new(), |lines| lines.join("\n"))
}
