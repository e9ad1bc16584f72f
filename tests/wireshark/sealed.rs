//! Encrypted sessions, with and without the key log.

use core::net::{SocketAddr, SocketAddrV4};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use rtmfp_core::profile::flash::{Builder, Discriminator, FlashProfile, Group, KeyLog, Protection, StaticKeys};
use rtmfp_core::{
    CloseMode, Endpoint, EndpointConfig, Event, FlowOptions, Instant, InterfaceId, Path, RecvMeta, Target, TransmitBuf,
};
use rtmfp_tests::duo::{TestRng, home};

use super::capture::Capture;
use super::expected::{COMPARED, Expected};
use super::tap::{Plaintexts, Tap};
use super::tshark::{Fields, Scratch, fields};

/// Lines of a key log.
#[derive(Debug, Default)]
struct Lines(Mutex<String>);

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

fn address(node: usize) -> SocketAddrV4 {
    let SocketAddr::V4(address) = home(node) else { panic!("of IPv4") };
    address
}

/// One session opens, moves messages of several sizes both ways, and closes.
pub(crate) fn converse(seed: u64, hmac: Protection, sequence: Protection, set: fn(Builder) -> Builder) -> Conversation {
    let (plaintexts, lines) = (Plaintexts::default(), Arc::<Lines>::default());
    let profile = |index: u64| {
        let mut rng = TestRng(seed * 10 + index);
        let builder = FlashProfile::builder().groups(&[Group::Modp1024]).accept_ancillary(true);
        let builder = set(builder).hmac(hmac).sequence_numbers(sequence);
        // One end is enough to know the keys.
        let builder = if index == 0 { builder.key_log(lines.clone()) } else { builder };
        Tap { inner: builder.build(&mut rng).unwrap(), seen: Arc::clone(&plaintexts) }
    };
    let start = Instant::from_millis(1_000);
    let endpoint = |index| {
        let rng = Box::new(TestRng(seed * 10 + 5 + index));
        Endpoint::new(EndpointConfig::default(), Arc::new(profile(index)), rng, start).unwrap()
    };
    let mut ends = [endpoint(0), endpoint(1)];
    let name = Discriminator::new().ancillary_data(b"rtmfp://192.0.2.2/test").to_bytes();
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
    fn capture(&self) -> Capture {
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

    /// What the dissector shows with this key log.
    fn shown(&self, keys: Option<&str>) -> Option<Vec<Fields>> {
        let file = keys.map(|keys| Scratch::new(keys.as_bytes()));
        let preference = file.as_ref().map(|file| format!("rtmfp.keylog:{}", file.0.display()));
        let more = ["_ws.expert.message", "rtmfp.key", "rtmfp.sseq", "rtmfp.hmac", "rtmfp.checksum"];
        let rest = ["rtmfp.rtmp.type", "rtmfp.flash.stream", "rtmfp.flash.ancillary", "rtmfp.flash.group"];
        let wanted: Vec<&str> = COMPARED.into_iter().chain(more).chain(rest).collect();
        let preferences: Vec<&str> = preference.as_deref().into_iter().collect();
        let shown = fields(&self.capture(), &preferences, &wanted)?;
        assert_eq!(shown.len(), self.datagrams.len());
        Some(shown)
    }
}

fn told(shown: &Fields) -> String {
    shown.get("_ws.expert.message").map_or(String::new(), |lines| lines.join("\n"))
}

#[test]
fn with_the_key_log_every_packet_is_read_as_it_was_written() {
    let (always, never) = (Protection::required(), Protection::never());
    let statics: fn(Builder) -> Builder =
        |builder| builder.static_keys(StaticKeys::generate(&[Group::Modp1024], &mut TestRng(77)));
    let plain: fn(Builder) -> Builder = |builder| builder;
    for (seed, hmac, sequence, set) in
        [(1, always, always, plain), (2, always, never, statics), (3, never, always, plain), (4, never, never, plain)]
    {
        let conversation = converse(seed, hmac, sequence, set);
        let Some(shown) = conversation.shown(Some(&conversation.keys)) else { return };
        let plaintexts = conversation.plaintexts.lock().unwrap().clone();
        let (mut startup, mut session) = (0, 0);
        for (at, ((_, bytes), shown)) in conversation.datagrams.iter().zip(&shown).enumerate() {
            let plain = &plaintexts[&bytes[4..]];
            Expected::of(plain).unwrap().check(shown, &format!("packet {at} of session {seed}"));
            assert_eq!(told(shown), "", "packet {at} of session {seed}");
            if plain[0] & 3 == 3 {
                startup += 1;
                assert_eq!(shown["rtmfp.key"], ["Default Session Key"]);
            } else {
                session += 1;
                assert_eq!(shown["rtmfp.key"], ["session key"]);
                assert_eq!(shown.contains_key("rtmfp.hmac"), hmac == always, "{shown:#?}");
                assert_eq!(shown.contains_key("rtmfp.checksum"), hmac == never, "{shown:#?}");
                assert_eq!(shown.contains_key("rtmfp.sseq"), sequence == always, "{shown:#?}");
            }
        }
        assert!(startup >= 4 && session > 10, "{startup} {session}");
        // What the Flash profile puts into the fields.
        let all =
            |field: &str| shown.iter().filter_map(|shown| shown.get(field)).flatten().cloned().collect::<Vec<_>>();
        assert!(all("rtmfp.flash.ancillary").contains(&"rtmfp://192.0.2.2/test".to_owned()));
        assert!(all("rtmfp.flash.group").contains(&"2".to_owned()));
        assert!(all("rtmfp.flash.stream").contains(&"7".to_owned()));
        assert!(all("rtmfp.rtmp.type").len() >= 6 && all("rtmfp.rtmp.type").iter().all(|kind| kind == "9"));
    }
}

/// A capture that began later has no keying to learn session IDs from.
#[test]
fn without_the_handshake_keys_are_found_by_trial() {
    for (seed, hmac) in [(5, Protection::required()), (6, Protection::never())] {
        let mut conversation = converse(seed, hmac, Protection::required(), |builder| builder);
        let others = converse(7, hmac, Protection::required(), |builder| builder).keys;
        let session = conversation.datagrams.iter().filter(|datagram| !conversation.is_startup(datagram));
        conversation.datagrams = session.cloned().collect();
        let keys = format!("# a comment\n{others}nonsense\n{}", conversation.keys);
        let Some(shown) = conversation.shown(Some(&keys)) else { return };
        for (at, (datagram, shown)) in conversation.datagrams.iter().zip(&shown).enumerate() {
            Expected::of(&conversation.plain(datagram))
                .unwrap()
                .check(shown, &format!("packet {at} of session {seed}"));
        }
        assert_eq!(shown[0]["rtmfp.key"], ["session key (found by trial)"]);
        // Without the right line nothing is made up.
        let Some(shown) = conversation.shown(Some(&others)) else { return };
        for shown in &shown {
            assert!(told(shown).contains("no key of the key log opens the packet"), "{shown:#?}");
            assert!(!shown.contains_key("rtmfp.chunk.type"), "{shown:#?}");
        }
    }
}

#[test]
fn a_key_log_that_does_not_fit_is_told_and_nothing_is_made_up() {
    for (seed, hmac, complaint) in
        [(8, Protection::required(), "fails the HMAC check"), (9, Protection::never(), "fails the checksum")]
    {
        let conversation = converse(seed, hmac, Protection::never(), |builder| builder);
        // Of the right session, with keys that are not its own.
        let line = conversation.keys.lines().next().unwrap();
        let (head, tail) = line.split_at("RTMFP_SESSION ".len() + 64);
        let invert = |c: char| c.to_digit(16).and_then(|digit| char::from_digit(15 - digit, 16)).unwrap_or(c);
        let parts = tail.split_inclusive([' ', ':']);
        let wrong: String = parts
            .map(|part| if part.len() > 31 { part.chars().map(invert).collect() } else { part.to_owned() })
            .collect();
        let other = converse(10, hmac, Protection::never(), |builder| builder).keys;
        let nowhere = "/nowhere/keys".to_owned();
        for (keys, complaint) in [
            (Some(format!("{head}{wrong}\n")), complaint),
            (Some(other), "no line for this session"),
            (Some(String::new()), "no line for this session"),
            (None, "No key log is set"),
        ] {
            let Some(shown) = conversation.shown(keys.as_deref()) else { return };
            for (datagram, shown) in conversation.datagrams.iter().zip(&shown) {
                if conversation.is_startup(datagram) {
                    assert_eq!(told(shown), "");
                } else {
                    assert!(told(shown).contains(complaint), "{complaint}: {shown:#?}");
                    assert!(!shown.contains_key("rtmfp.chunk.type"), "{shown:#?}");
                }
            }
        }
        let preference = format!("rtmfp.keylog:{nowhere}");
        let Some(shown) = fields(&conversation.capture(), &[&preference], &["_ws.expert.message"]) else { return };
        assert!(shown.iter().any(|shown| told(shown).contains("cannot be read")), "{shown:#?}");
    }
}

/// The heuristic takes the conversation by its handshake.
#[test]
fn a_session_is_found_on_any_port() {
    let conversation = converse(11, Protection::required(), Protection::required(), |builder| builder);
    let file = Scratch::new(conversation.keys.as_bytes());
    let preference = format!("rtmfp.keylog:{}", file.0.display());
    let mut capture = conversation.capture();
    // What follows is taken for RTMFP too, although nothing tells of its session.
    let other = converse(14, Protection::required(), Protection::required(), |builder| builder);
    let stranger = other.datagrams.iter().find(|datagram| !other.is_startup(datagram)).unwrap();
    capture.push(address(0), address(1), &stranger.1);
    let shown = fields(&capture, &["rtmfp.ports:", &preference], &["rtmfp.chunk.type", "rtmfp.sid"]);
    let Some(mut shown) = shown else { return };
    let last = shown.pop().unwrap();
    assert!(last.contains_key("rtmfp.sid") && !last.contains_key("rtmfp.chunk.type"), "{last:#?}");
    assert!(shown.iter().all(|shown| shown.contains_key("rtmfp.chunk.type")), "{shown:#?}");
}

/// As on a host whose network card cuts datagrams: those of one flight are one, the last of them maybe shorter.
#[test]
fn datagrams_that_a_host_has_joined_are_taken_apart() {
    let conversation = converse(12, Protection::required(), Protection::required(), |builder| builder);
    let mut flights: Vec<Vec<&(usize, Vec<u8>)>> = Vec::new();
    for datagram in &conversation.datagrams {
        let fits = flights.last().is_some_and(|flight| {
            let (first, last) = (flight[0], flight[flight.len() - 1]);
            first.0 == datagram.0
                && last.1.len() == first.1.len()
                && datagram.1.len() <= first.1.len()
                && flight.len() < 8
                && !conversation.is_startup(first)
        });
        match flights.last_mut().filter(|_| fits) {
            Some(flight) => flight.push(datagram),
            None => flights.push(vec![datagram]),
        }
    }
    assert!(flights.iter().filter(|flight| flight.len() > 2).count() > 1);
    let mut capture = Capture::new();
    for flight in &flights {
        let bytes: Vec<u8> = flight.iter().flat_map(|datagram| datagram.1.clone()).collect();
        capture.push(address(flight[0].0), address(1 - flight[0].0), &bytes);
    }
    // Not so if something is left over.
    let joined = flights.iter().find(|flight| flight.len() > 2).unwrap();
    let odd = [&joined[0].1[..], &joined[1].1, &[0; 5]].concat();
    capture.push(address(joined[0].0), address(1 - joined[0].0), &odd);
    let file = Scratch::new(conversation.keys.as_bytes());
    let preference = format!("rtmfp.keylog:{}", file.0.display());
    let wanted: Vec<&str> = COMPARED.into_iter().chain(["_ws.expert.message"]).collect();
    let Some(mut shown) = fields(&capture, &[&preference], &wanted) else { return };
    let odd = shown.pop().unwrap();
    assert!(!odd.contains_key("rtmfp.chunk.type") && told(&odd).contains("but with them it"), "{odd:#?}");
    for (at, (flight, shown)) in flights.iter().zip(&shown).enumerate() {
        let mut all = Expected::default();
        for datagram in flight {
            for (field, values) in Expected::of(&conversation.plain(datagram)).unwrap().fields {
                all.fields.entry(field).or_default().extend(values);
            }
        }
        all.check(shown, &format!("flight {at} of {}", flight.len()));
    }
}

/// Certificates, keying components and signatures (RFC 7425 §4.3, §4.5).
#[test]
fn the_layouts_of_the_flash_profile_are_shown() {
    let set: fn(Builder) -> Builder = |builder| {
        let signed = builder.sign_with(b"name", b"password").accept_password(b"name", b"password").require_signature();
        signed.hostname(b"host.example").hmac_length(20)
    };
    let conversation = converse(13, Protection::required(), Protection::on_request(), set);
    let names = ["hostname", "accepts_ancillary", "randomness", "group", "public_key", "hmac_length", "password_id"];
    let flags = ["will_send_always", "will_send_on_request", "request"];
    let wanted: Vec<String> = names.iter().chain(&flags).map(|name| format!("rtmfp.flash.{name}")).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).chain(["rtmfp.chunk.type"]).collect();
    let Some(shown) = fields(&conversation.capture(), &[], &wanted) else { return };
    let of = |kind: &str, name: &str| -> Vec<String> {
        let packet = shown.iter().find(|shown| shown.get("rtmfp.chunk.type").is_some_and(|types| types == &[kind]));
        packet.unwrap().get(&format!("rtmfp.flash.{name}")).cloned().unwrap_or_default()
    };
    for (certificate, chunk) in [("0x70", "Responder Hello"), ("0x38", "Initiator Initial Keying")] {
        assert_eq!(of(certificate, "hostname"), ["host.example"], "{chunk}");
        assert_eq!(of(certificate, "accepts_ancillary").len(), 1, "{chunk}");
        assert_eq!(of(certificate, "randomness")[0].len(), 2 * 64, "{chunk}");
    }
    for component in ["0x38", "0x78"] {
        assert_eq!(of(component, "hmac_length"), ["20"]);
        assert_eq!(of(component, "password_id"), ["name"]);
        assert!(of(component, "group").iter().all(|group| group == "2"));
        assert!(of(component, "public_key")[0].len() >= 2 * 127);
        // Of the HMAC, and of session sequence numbers.
        assert_eq!(of(component, "request").len(), 2);
    }
    let flags = |name| of("0x38", name).iter().map(|flag| flag == "1" || flag == "True").collect::<Vec<_>>();
    assert_eq!(flags("will_send_always"), [true, false]);
    assert!(flags("will_send_on_request")[1]);
}
