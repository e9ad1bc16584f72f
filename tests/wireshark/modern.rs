//! Encrypted sessions of the modern profile, with and without the key log.

use std::sync::Arc;

use rtmfp_core::profile::modern::{
    Builder, Cipher, Discriminator, Hybrid, Identity, ModernProfile, Provider as _, PureRust,
};
use rtmfp_core::profile::{CryptoProfile as _, PreparedKey, SessionKeys, Span};
use rtmfp_core::wire::session_id;
use rtmfp_tests::duo::TestRng;

use super::capture::Capture;
use super::conversation::{Conversation, Lines, address, converse as converse_between, told};
use super::crypto::hex;
use super::expected::Expected;
use super::tshark::{Fields, Scratch, dissector, fields, run};

const MORE: [&str; 5] =
    ["rtmfp.key", "rtmfp.profile", "rtmfp.modern.counter", "rtmfp.modern.epoch", "rtmfp.modern.tag"];

fn profile(seed: u64, set: impl FnOnce(Builder) -> Builder) -> ModernProfile {
    let mut rng = TestRng(seed);
    set(ModernProfile::builder().identity(Identity::generate(&mut rng))).build(&mut rng).unwrap()
}

/// A session with one cipher.
pub(crate) fn converse(seed: u64, cipher: Cipher) -> Conversation {
    let name = Discriminator::new().ancillary_data("rtmfp://192.0.2.2/tést".as_bytes()).to_bytes();
    converse_between(seed, name, |index, lines| {
        profile(seed * 10 + index, |builder| {
            let builder = builder.ciphers(&[cipher]).accept_ancillary(true).hostname("hóst".as_bytes());
            if index == 0 { builder.key_log(lines) } else { builder }
        })
    })
}

pub(crate) fn one(shown: &Fields, field: &str) -> String {
    shown.get(field).map_or(String::new(), |values| values.join("|"))
}

#[test]
fn with_the_key_log_every_packet_is_read_as_it_was_written() {
    for (seed, cipher) in (1..).zip(Cipher::ALL) {
        let conversation = converse(seed, cipher);
        let Some(shown) = conversation.shown(Some(&conversation.keys), &MORE) else { return };
        let (mut startup, mut counters) = (0, [0, 0]);
        for (at, (datagram, shown)) in conversation.datagrams.iter().zip(&shown).enumerate() {
            let packet = format!("packet {at} with {cipher:?}");
            Expected::of(&conversation.plain(datagram)).unwrap().check(shown, &packet);
            assert_eq!(told(shown), "", "{packet}");
            assert_eq!(one(shown, "rtmfp.profile"), "modern", "{packet}");
            assert_eq!(one(shown, "rtmfp.modern.tag"), hex(&datagram.1[datagram.1.len() - 16..]), "{packet}");
            if conversation.is_startup(datagram) {
                startup += 1;
                assert_eq!(one(shown, "rtmfp.key"), "Default Session Key");
                assert!(!shown.contains_key("rtmfp.modern.counter"), "{packet}");
            } else {
                assert_eq!(one(shown, "rtmfp.key"), "session key");
                let counter = &mut counters[datagram.0];
                assert_eq!(one(shown, "rtmfp.modern.counter"), counter.to_string(), "{packet}");
                assert_eq!(one(shown, "rtmfp.modern.epoch"), "0", "{packet}");
                *counter += 1;
            }
        }
        assert!(startup >= 4 && counters.iter().all(|count| *count > 5), "{startup} {counters:?}");
    }
}

/// A capture that began later has no keying to learn session IDs from, and lacks the first packets.
#[test]
fn without_the_handshake_keys_are_found_by_trial() {
    for (seed, cipher) in (11..).zip(Cipher::ALL) {
        let mut conversation = converse(seed, cipher);
        let others = converse(seed + 10, cipher).keys;
        let session = conversation.datagrams.iter().filter(|datagram| !conversation.is_startup(datagram));
        conversation.datagrams = session.skip(3).cloned().collect();
        let keys = format!("# a comment\n{others}RTMFP_MODERN nonsense\n{}", conversation.keys);
        let Some(shown) = conversation.shown(Some(&keys), &MORE) else { return };
        for (at, (datagram, shown)) in conversation.datagrams.iter().zip(&shown).enumerate() {
            Expected::of(&conversation.plain(datagram)).unwrap().check(shown, &format!("packet {at} with {cipher:?}"));
        }
        assert_eq!(one(&shown[0], "rtmfp.key"), "session key (found by trial)");
        // Without the right line nothing is made up.
        let Some(shown) = conversation.shown(Some(&others), &[]) else { return };
        for shown in &shown {
            assert!(told(shown).contains("no key of the key log opens the packet"), "{shown:#?}");
            assert!(!shown.contains_key("rtmfp.chunk.type"), "{shown:#?}");
        }
    }
}

#[test]
fn a_key_log_that_does_not_fit_is_told_and_nothing_is_made_up() {
    let conversation = converse(31, Cipher::Aes256Gcm);
    let line = conversation.keys.lines().next().unwrap();
    let (head, tail) = line.split_at("RTMFP_MODERN ".len() + 64);
    let (cipher, secrets) = tail.split_at(" 2 ".len());
    assert_eq!(cipher, " 2 ");
    // The counter is wrong, or the key.
    let other_header = secrets.replacen("H ", "H f", 1);
    let other_header = [&other_header[..3 + 63], &other_header[3 + 64..]].concat();
    let swapped = secrets.replace(" I ", " X ").replace(" R ", " I ").replace(" X ", " R ");
    let mut parts: Vec<&str> = swapped.split(' ').collect();
    parts.swap(2, 4);
    for (keys, complaint) in [
        (format!("{head}{cipher}{other_header}\n"), "with them it"),
        (format!("{head}{cipher}{}\n", secrets.replace('0', "1")), "with them it"),
        (format!("{head} 3 {secrets}\n"), "with them it"),
        (format!("{head} 4 {secrets}\n"), "no line for this session"),
        (format!("{head} 0 {secrets}\n"), "no line for this session"),
        (format!("{head}{cipher}{}\n", &secrets[..secrets.len() - 1]), "no line for this session"),
        (format!("{head}{cipher}{secrets}"), "no line for this session"),
        (String::new(), "no line for this session"),
    ] {
        let Some(shown) = conversation.shown(Some(&keys), &[]) else { return };
        for (datagram, shown) in conversation.datagrams.iter().zip(&shown) {
            if conversation.is_startup(datagram) {
                assert_eq!(told(shown), "");
            } else {
                assert!(told(shown).contains(complaint), "{complaint}: {shown:#?}");
                assert!(!shown.contains_key("rtmfp.chunk.type"), "{shown:#?}");
            }
        }
    }
}

/// Certificates, discriminators, keying components and signatures.
#[test]
fn the_layouts_of_the_modern_profile_are_shown() {
    let conversation = converse(32, Cipher::ChaCha20Poly1305);
    let names = ["identity", "peer_id", "hostname", "accepts_ancillary", "ancillary", "x25519", "cipher", "signature"];
    let wanted: Vec<String> = names.iter().map(|name| format!("rtmfp.modern.{name}")).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).chain(["rtmfp.chunk.type"]).collect();
    let Some(shown) = fields(&conversation.capture(), &[], &wanted) else { return };
    let of = |kind: &str, name: &str| {
        let packet = shown.iter().find(|shown| one(shown, "rtmfp.chunk.type") == kind);
        one(packet.unwrap(), &format!("rtmfp.modern.{name}"))
    };
    assert_eq!(of("0x30", "ancillary"), "rtmfp://192.0.2.2/tést");
    for (index, chunk) in [(1, "0x70"), (0, "0x38")] {
        let identity = Identity::generate(&mut TestRng(320 + index));
        assert_eq!(of(chunk, "identity"), hex(&identity.public_key()));
        assert_eq!(of(chunk, "peer_id"), identity.peer_id().to_string().to_lowercase());
        assert_eq!(of(chunk, "hostname"), "hóst");
        assert_eq!(of(chunk, "accepts_ancillary"), "0144");
    }
    for component in ["0x38", "0x78"] {
        assert_eq!(of(component, "x25519").len(), 64);
        assert_eq!(of(component, "cipher"), "3");
        assert_eq!(of(component, "signature").len(), 128);
    }
}

/// The initiator's keying takes two packets then.
#[test]
fn a_session_with_ml_kem_is_read_as_any_other() {
    let name = Discriminator::new().ancillary_data(b"rtmfp://192.0.2.2/").to_bytes();
    let conversation = converse_between(34, name, |index, lines| {
        profile(340 + index, |builder| {
            let builder = builder.hybrid(Hybrid::Required).accept_ancillary(true);
            if index == 0 { builder.key_log(lines) } else { builder }
        })
    });
    let wanted = ["rtmfp.modern.ml_kem_key", "rtmfp.modern.ml_kem_ciphertext", "rtmfp.key", "rtmfp.chunk.type"];
    let Some(shown) = conversation.shown(Some(&conversation.keys), &wanted) else { return };
    let all = |field: &str| shown.iter().filter_map(|shown| shown.get(field)).flatten().cloned().collect::<Vec<_>>();
    assert_eq!(all(wanted[0]).iter().map(String::len).collect::<Vec<_>>(), [2 * 1_184]);
    assert_eq!(all(wanted[1]).iter().map(String::len).collect::<Vec<_>>(), [2 * 1_088]);
    assert!(all(wanted[2]).iter().filter(|key| *key == "session key").count() > 10);
    assert!(shown.iter().all(|shown| told(shown).is_empty() && shown.contains_key("rtmfp.chunk.type")));
}

/// A chunk.
pub(crate) fn chunk(kind: u8, payload: &[&[u8]]) -> Vec<u8> {
    let payload = payload.concat();
    [&[kind][..], &(payload.len() as u16).to_be_bytes(), &payload].concat()
}

/// Seals a packet.
fn seal(keys: &mut dyn SessionKeys, plain: &[u8]) -> Vec<u8> {
    let front = keys.front_len(0);
    let sealed = keys.sealed_len(front, plain.len());
    let mut bytes = vec![0; sealed];
    bytes[front..front + plain.len()].copy_from_slice(plain);
    keys.seal(&mut bytes, &[Span { start: 0, front, plain: plain.len(), sealed }]);
    bytes
}

/// A datagram to this session ID.
pub(crate) fn datagram(session: u32, packet: &[u8]) -> Vec<u8> {
    [&session_id::scramble(session, packet)[..], packet].concat()
}

/// A startup packet with this chunk, to this session ID.
pub(crate) fn startup(session: u32, chunk: &[u8]) -> Vec<u8> {
    let plain = [&[3][..], chunk].concat();
    datagram(session, &seal(&mut *profile(1, |builder| builder).default_keys(), &plain))
}

/// The session of the specification's test vectors: its packets, a Responder Initial Keying, and its key log.
struct Printed {
    vectors: Vec<(String, Vec<u8>)>,
    keying: Vec<u8>,
    keys: String,
}

/// The session IDs of initiator and responder.
const IDS: [u32; 2] = [0x0a0b_0c0d, 0x0102_0304];

impl Printed {
    fn new(cipher: Cipher) -> Self {
        let end = |byte: u8, log: Option<&Arc<Lines>>| {
            let identity = Identity::from_bytes(&[byte; 32]).unwrap();
            let builder = ModernProfile::builder().identity(identity).ciphers(&[cipher]);
            let builder = if let Some(log) = log { builder.key_log(Arc::clone(log) as _) } else { builder };
            builder.build(&mut TestRng(1)).unwrap()
        };
        let fresh = |profile: &ModernProfile, byte: u8| {
            let kind = profile.prepare(&mut TestRng(1)).unwrap().kind;
            let (private, public) = ([byte; 32], PureRust.x25519_public(&[byte; 32]).to_vec());
            Some(PreparedKey { kind, private: private.to_vec().into(), public })
        };
        let lines = Arc::<Lines>::default();
        let (near, far, mut rng) = (end(1, None), end(3, Some(&lines)), TestRng(1));
        let initiation = near.initiate(far.certificate(), fresh(&near, 2), &mut rng).unwrap();
        let response = far.respond(near.certificate(), &initiation.component, fresh(&far, 4), &mut rng).unwrap();
        let component = response.component;
        let keying = chunk(0x78, &[&IDS[1].to_be_bytes(), &[component.len() as u8], &component, &[0; 64]]);
        let keys = lines.0.lock().unwrap().clone();
        Self { vectors: vectors(&component), keying: startup(IDS[0], &keying), keys }
    }

    /// The packet of this name.
    fn packet(&self, name: &str) -> &[u8] {
        &self.vectors.iter().find(|(other, _)| other == name).unwrap().1
    }
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// The vectors of the session with this responder's component, by their names.
fn vectors(component: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = include_str!("../../core/src/profile/modern/README.md");
    let lines = text.lines().skip_while(|line| *line != "```vectors").skip(1).take_while(|line| *line != "```");
    let vectors = lines.map(|line| line.rsplit_once(' ').unwrap());
    let vectors = vectors.map(|(name, hex)| (name.trim_end().to_owned(), from_hex(hex)));
    let this = vectors.skip_while(|(name, value)| name != "SKRC" || value != component);
    let this: Vec<_> = this.skip(1).take_while(|(name, _)| name != "SKIC").collect();
    assert!(this.len() > 4);
    this
}

/// Beyond the 32 bits of a counter that are sent. No capture is that long, so the script says which packets came before.
#[test]
fn packets_beyond_the_counters_that_are_sent_are_opened() {
    for cipher in Cipher::ALL {
        let printed = Printed::new(cipher);
        let line = printed.keys.trim_end();
        let rest = line.splitn(3, ' ').last().unwrap();
        let script = format!(
            r#"
            local folder = "{}/"
            local function part(name, ...) return assert(loadfile(folder .. name .. ".lua"))(...) end
            local function raw(hex) return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)) end
            local session = part("modern_keys", part("crypto", part)).session("{rest}", raw)
            local packet = raw("{}")
            print((session.I:open(packet)))
            for _, highest in ipairs({{ 4294967290, 4294967290 + 1000000, 4294967290 + 3000000000 }}) do
                session.I.highest = highest
                local opened = session.I:open(packet)
                print(opened and opened.plain, opened and ("%.0f %d"):format(opened.counter, opened.epoch))
            end
            "#,
            dissector("keys.lua").parent().unwrap().display(),
            hex(printed.packet("packet I 4294967301")),
        );
        let file = Scratch::new(script.as_bytes());
        let Some(out) = run(&file.0, &Capture::new(), &[]) else { return };
        let opened = "RTMFP\t4294967301 1024";
        assert_eq!(out.lines().collect::<Vec<_>>(), ["nil", opened, opened, "nil\tnil"], "{cipher:?}");
    }
}

/// With packets that are late, of the epoch before, and with and without the handshake.
#[test]
fn packets_of_other_epochs_are_opened() {
    for cipher in Cipher::ALL {
        let printed = Printed::new(cipher);
        let file = Scratch::new(printed.keys.as_bytes());
        let preference = format!("rtmfp.keylog:{}", file.0.display());
        let names = ["packet I 4194304", "packet R 0", "packet I 0"];
        for handshake in [true, false] {
            let mut capture = Capture::new();
            if handshake {
                capture.push(address(1), address(0), &printed.keying);
            }
            for name in names {
                let (from, to) = if name.contains('I') { (0, 1) } else { (1, 0) };
                capture.push(address(from), address(to), &datagram(IDS[to], printed.packet(name)));
            }
            let wanted: Vec<&str> = MORE.into_iter().chain(["rtmfp.padding"]).collect();
            let Some(shown) = fields(&capture, &[&preference], &wanted) else { return };
            for (name, shown) in names.iter().zip(&shown[usize::from(handshake)..]) {
                let counter: u64 = name[9..].parse().unwrap();
                assert_eq!(one(shown, "rtmfp.modern.counter"), counter.to_string(), "{cipher:?}: {shown:#?}");
                assert_eq!(one(shown, "rtmfp.modern.epoch"), (counter >> 22).to_string());
                // The plain packet is "RTMFP", whose first byte is taken for the flags.
                assert_eq!(one(shown, "rtmfp.padding"), hex(b"TMFP"));
            }
        }
    }
}
