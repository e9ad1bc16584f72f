//! What strangers may send into a session of the modern profile, or as its handshake.

use rtmfp_core::profile::modern::Cipher;
use rtmfp_core::rand_core::Rng as _;
use rtmfp_core::wire::{encode_option, session_id, vlu};
use rtmfp_tests::duo::TestRng;

use super::capture::Capture;
use super::conversation::{Conversation, address, told};
use super::expected::{COMPARED, Expected};
use super::modern::{chunk, converse, datagram, one, startup};
use super::tshark::{Fields, Scratch, dissector, fields, run};

/// Shows these datagrams of one end, and then the whole session, in which nothing may be spoilt.
fn shown_before(conversation: &Conversation, forged: &[Vec<u8>], skip: usize) -> Option<Vec<Fields>> {
    let mut capture = Capture::new();
    let (handshake, rest) = conversation.datagrams.split_at(skip);
    let real = |capture: &mut Capture, datagrams: &[(usize, Vec<u8>)]| {
        datagrams.iter().for_each(|(from, bytes)| capture.push(address(*from), address(1 - from), bytes));
    };
    real(&mut capture, handshake);
    forged.iter().for_each(|bytes| capture.push(address(0), address(1), bytes));
    real(&mut capture, rest);
    let file = Scratch::new(conversation.keys.as_bytes());
    let preference = format!("rtmfp.keylog:{}", file.0.display());
    let wanted: Vec<&str> = COMPARED.into_iter().chain(["_ws.expert.message", "rtmfp.modern.counter"]).collect();
    let mut shown = fields(&capture, &[&preference], &wanted)?;
    let behind = shown.split_off(skip + forged.len());
    for (at, (datagram, shown)) in rest.iter().zip(&behind).enumerate() {
        Expected::of(&conversation.plain(datagram)).unwrap().check(shown, &format!("packet {at} of the session"));
    }
    Some(shown.split_off(skip))
}

/// Where the session's packets begin, and the first of the initiator.
fn first(conversation: &Conversation) -> (usize, &[u8]) {
    let mut datagrams = conversation.datagrams.iter();
    let at = datagrams.position(|datagram| !conversation.is_startup(datagram)).unwrap();
    let initiator = conversation.datagrams[at..].iter().find(|(from, _)| *from == 0).unwrap();
    (at, &initiator.1)
}

/// In the counter, the sample, the text and the tag; and cut anywhere.
#[test]
fn altered_packets_are_told_and_spoil_nothing() {
    for (seed, cipher) in (41..).zip(Cipher::ALL) {
        let conversation = converse(seed, cipher);
        let (begin, packet) = first(&conversation);
        let id = session_id::unscramble(packet).unwrap().0;
        let sealed = &packet[4..];
        let mut forged = Vec::new();
        for at in (0..sealed.len()).step_by(3).chain([sealed.len() - 1]) {
            let mut altered = sealed.to_vec();
            altered[at] ^= 0x40;
            forged.push(datagram(id, &altered));
        }
        forged.extend((1..sealed.len()).step_by(2).map(|length| datagram(id, &sealed[..length])));
        let Some(shown) = shown_before(&conversation, &forged, begin) else { return };
        for shown in &shown {
            assert!(told(shown).contains("but with them it"), "{shown:#?}");
            assert!(!shown.contains_key("rtmfp.chunk.type"), "{shown:#?}");
        }
        for complaint in ["shorter than counter and tag", "its tag is wrong", "its counter"] {
            let complaint = complaint.trim_start_matches("its counter");
            assert!(shown.iter().any(|shown| told(shown).contains(complaint)), "{complaint}");
        }
    }
}

/// Each claims an epoch of its own, whose keys have to be made. They are more than are kept.
#[test]
fn forged_counters_spoil_nothing() {
    let conversation = converse(44, Cipher::Aes128Gcm);
    let (begin, packet) = first(&conversation);
    let id = session_id::unscramble(packet).unwrap().0;
    let mut rng = TestRng(45);
    let mut forged = || {
        let mut bytes = [0; 40];
        rng.fill_bytes(&mut bytes);
        datagram(id, &bytes)
    };
    let forged: Vec<Vec<u8>> = (0..400).map(|_| forged()).collect();
    let Some(shown) = shown_before(&conversation, &forged, begin) else { return };
    assert!(shown.iter().all(|shown| told(shown).contains("but with them it")), "{shown:#?}");
}

/// Forged packets would have it make as many as they like.
#[test]
fn keys_of_a_limited_number_of_epochs_are_kept() {
    let script = format!(
        r#"
        local folder = "{}/"
        local function part(name, ...) return assert(loadfile(folder .. name .. ".lua"))(...) end
        local modern = part("modern_keys", part("crypto", part))
        local secret = ("5"):rep(64)
        local session = modern.session(("1 H %s I %s R %s"):format(secret, secret, secret), function(hex) return hex:sub(1, 32) end)
        local function upvalue(of, wanted)
            for index = 1, 20 do
                local name, value = debug.getupvalue(of, index)
                if name == wanted then return value end
            end
        end
        local most = 0
        for number = 1, 600 do
            assert(not session.I:open("mask" .. ("%016d"):format(number) .. ("x"):rep(20)))
            local count = 0
            for _ in pairs(upvalue(upvalue(session.I.open, "keys_of"), "keys")) do count = count + 1 end
            most = math.max(most, count)
        end
        print(most)
        "#,
        dissector("keys.lua").parent().unwrap().display()
    );
    let file = Scratch::new(script.as_bytes());
    let Some(out) = run(&file.0, &Capture::new(), &[]) else { return };
    assert_eq!(out.trim_end(), "256");
}

#[test]
fn an_altered_startup_packet_is_none() {
    let conversation = converse(46, Cipher::Aes128Gcm);
    let hello = &conversation.datagrams[0].1[4..];
    let mut forged: Vec<Vec<u8>> = Vec::new();
    for at in (0..hello.len()).step_by(5).chain([hello.len() - 1]) {
        let mut altered = hello.to_vec();
        altered[at] ^= 1;
        forged.push(datagram(0, &altered));
    }
    forged.extend((1..hello.len()).step_by(3).map(|length| datagram(0, &hello[..length])));
    let Some(shown) = shown_before(&conversation, &forged, 0) else { return };
    for shown in &shown {
        assert!(told(shown).contains("Default Session Key of no profile opens it"), "{shown:#?}");
        assert!(!shown.contains_key("rtmfp.chunk.type"), "{shown:#?}");
    }
}

/// Behind their length.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    vlu::encode(bytes.len() as u64, &mut out);
    [&out[..], bytes].concat()
}

/// What the dissector shows of a keying with this certificate and component.
fn keyings(cases: &[(Vec<u8>, Vec<u8>)], wanted: &[&str]) -> Option<Vec<Fields>> {
    let mut capture = Capture::new();
    for (certificate, component) in cases {
        let keying = chunk(0x38, &[&[0; 4], &[0], &sized(certificate), &sized(component), &[1; 64]]);
        capture.push(address(0), address(1), &startup(0, &keying));
        let keying = chunk(0x78, &[&[0; 4], &sized(component), &[1; 63]]);
        capture.push(address(1), address(0), &startup(0, &keying));
    }
    fields(&capture, &[], wanted)
}

fn options(options: &[(u64, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    options.iter().for_each(|(kind, value)| encode_option(*kind, value, &mut out));
    out
}

/// They are in the bytes of the field, and no other field is made of them.
#[test]
fn layouts_that_break_the_rules_are_left_as_bytes() {
    let key = [7; 32];
    let broken = [
        (options(&[(0x41, &key[..31]), (0x42, b""), (0x44, b"x")]), options(&[(0x51, &[&key[..], &[7]].concat())])),
        (options(&[(0x43, b"odd"), (0x46, b"even")]), options(&[(0x53, b""), (0x53, &[1; 17])])),
        // A marker; and an option that is longer than the field.
        ([vec![0], options(&[(0x46, b"even")])].concat(), [options(&[(0x53, &[1])]), vec![9, 0x51]].concat()),
    ];
    let names = ["identity", "peer_id", "hostname", "accepts_ancillary", "x25519", "cipher"];
    let wanted: Vec<String> = names.iter().map(|name| format!("rtmfp.modern.{name}")).collect();
    let rest = ["rtmfp.option.value", "rtmfp.certificate", "rtmfp.component", "rtmfp.modern.signature"];
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).chain(rest).collect();
    let Some(shown) = keyings(&broken, &wanted) else { return };
    for shown in &shown {
        assert!(wanted[..names.len()].iter().all(|field| !shown.contains_key(*field)), "{shown:#?}");
        assert!(shown.contains_key("rtmfp.component"), "{shown:#?}");
    }
    assert_eq!(shown[0]["rtmfp.option.value"].len(), 4, "{shown:#?}");
    assert_eq!(shown[2]["rtmfp.option.value"].len(), 4, "{shown:#?}");
    assert_eq!(shown[4]["rtmfp.option.value"].len(), 2, "the marker, and what is behind it: {shown:#?}");
    assert!(shown[0].contains_key("rtmfp.modern.signature"));
    assert!(!shown[1].contains_key("rtmfp.modern.signature"), "of 63 bytes");
}

/// A hybrid key agreement: the initiator's key has 1,184 bytes, and the responder's ciphertext 1,088.
#[test]
fn ml_kem_has_its_name() {
    let (key, ciphertext) = (vec![3; 1_184], vec![4; 1_088]);
    let component = |value: &[u8]| options(&[(0x51, &[7; 32]), (0x53, &[3, 1, 200]), (0x56, value)]);
    let certificate = options(&[(0x41, &[7; 32])]);
    let cases = [(certificate.clone(), component(&key)), (certificate, component(&ciphertext))];
    let wanted = ["rtmfp.modern.ml_kem_key", "rtmfp.modern.ml_kem_ciphertext", "rtmfp.modern.cipher"];
    let Some(shown) = keyings(&cases, &wanted) else { return };
    assert_eq!(one(&shown[0], wanted[0]), "03".repeat(1_184));
    assert!(!shown[0].contains_key(wanted[1]));
    assert_eq!(one(&shown[3], wanted[1]), "04".repeat(1_088));
    assert!(!shown[3].contains_key(wanted[0]));
    assert_eq!(one(&shown[0], wanted[2]), "3|1|200");
}

/// A field has room for lists whose display takes minutes.
#[test]
fn options_of_a_field_end_after_a_thousand() {
    let many = options(&vec![(0x46, &b""[..]); 3_000]);
    let Some(shown) = keyings(&[(many, options(&[(0x53, &[1])]))], &["rtmfp.option.value"]) else { return };
    assert_eq!(shown[0]["rtmfp.option.value"].len(), 1_000);
}

/// Options with types that mean something, and values of any length.
fn noise(rng: &mut TestRng) -> Vec<u8> {
    let mut below = |limit: u32| rng.next_u32() % limit;
    let mut out = Vec::new();
    for _ in 0..below(5) {
        let kinds = [0x41, 0x42, 0x44, 0x4f, 0x51, 0x53, 0x56, 0x47, 0x1d];
        let length = [0, 1, 5, 16, 17, 32, 32, 32, 64][below(9) as usize];
        let value: Vec<u8> = (0..length).map(|_| below(256) as u8).collect();
        encode_option(kinds[below(9) as usize], &value, &mut out);
    }
    out.truncate(out.len() - below(2) as usize * out.len().min(below(4) as usize));
    if below(4) == 0 {
        out.insert(0, below(3) as u8);
    }
    out
}

/// In handshakes, and in plain packets, where the profile is guessed.
#[test]
fn noise_in_layouts_is_no_lua_error() {
    let (mut rng, mut capture) = (TestRng(47), Capture::new());
    for _ in 0..150 {
        let [a, b, c] = core::array::from_fn(|_| noise(&mut rng));
        let (first, second) = (sized(&a), sized(&b));
        let chunks = [
            chunk(0x30, &[&first, &c]),
            chunk(0x70, &[&[0], &first, &c]),
            chunk(0x38, &[&[0; 4], &[0], &first, &second, &c]),
            chunk(0x78, &[&[0; 4], &first, &c]),
        ];
        for chunk in chunks {
            capture.push(address(0), address(1), &startup(0, &chunk));
            capture.push(address(0), address(1), &datagram(0, &[&[3][..], &chunk].concat()));
        }
    }
    let Some(out) = run(&dissector("rtmfp.lua"), &capture, &["-V".to_owned()]) else { return };
    for label in ["Identity: ", "Hostname: ", "X25519 public key: ", "Cipher: ", "critical", "Ancillary Data: "] {
        assert!(out.matches(label).count() > 20, "{label}");
    }
}
