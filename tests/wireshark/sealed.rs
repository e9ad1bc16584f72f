//! Encrypted sessions of the Flash profile, with and without the key log.

use rtmfp_core::profile::flash::{Builder, Discriminator, FlashProfile, Group, Protection, StaticKeys};
use rtmfp_tests::duo::TestRng;

use super::conversation::{Conversation, converse as converse_between, told};
use super::expected::Expected;
use super::tshark::fields;

/// What is compared beside the chunks.
const MORE: [&str; 8] = [
    "rtmfp.key",
    "rtmfp.sseq",
    "rtmfp.hmac",
    "rtmfp.checksum",
    "rtmfp.rtmp.type",
    "rtmfp.flash.stream",
    "rtmfp.flash.ancillary",
    "rtmfp.flash.group",
];

/// A session between two ends with these settings.
pub(crate) fn converse(seed: u64, hmac: Protection, sequence: Protection, set: fn(Builder) -> Builder) -> Conversation {
    let name = Discriminator::new().ancillary_data(b"rtmfp://192.0.2.2/test").to_bytes();
    converse_between(seed, name, |index, lines| {
        let builder = FlashProfile::builder().groups(&[Group::Modp1024]).accept_ancillary(true);
        let builder = set(builder).hmac(hmac).sequence_numbers(sequence);
        // One end is enough to know the keys.
        let builder = if index == 0 { builder.key_log(lines) } else { builder };
        builder.build(&mut TestRng(seed * 10 + index)).unwrap()
    })
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
        let Some(shown) = conversation.shown(Some(&conversation.keys), &MORE) else { return };
        let plaintexts = conversation.plaintexts();
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
        let Some(shown) = conversation.shown(Some(&keys), &MORE) else { return };
        for (at, (datagram, shown)) in conversation.datagrams.iter().zip(&shown).enumerate() {
            Expected::of(&conversation.plain(datagram))
                .unwrap()
                .check(shown, &format!("packet {at} of session {seed}"));
        }
        assert_eq!(shown[0]["rtmfp.key"], ["session key (found by trial)"]);
        // Without the right line nothing is made up.
        let Some(shown) = conversation.shown(Some(&others), &MORE) else { return };
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
            let Some(shown) = conversation.shown(keys.as_deref(), &MORE) else { return };
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
