//! Whom the program takes for whom: passwords, fingerprints, and somebody between the two ends.
#![expect(clippy::indexing_slicing, reason = "a test that panics has failed, as it should")]

use core::net::SocketAddr;
use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use rtmfp_core::EndpointConfig;
use rtmfp_core::profile::flash::{FlashProfile, Group, StaticKeys};
use rtmfp_core::profile::{CryptoProfile, Span};
use rtmfp_core::wire::{Chunk, Mode, PacketHeader, PacketWriter, ResponderHello, session_id};
use rtmfp_std::{Endpoint, system_rng};

use super::harness::{Ended, Scratch, field, run, send, serve, start, start_with};

fn profile(
    set: impl FnOnce(rtmfp_core::profile::flash::Builder) -> rtmfp_core::profile::flash::Builder,
) -> FlashProfile {
    set(FlashProfile::builder().accept_ancillary(true)).build(&mut *system_rng().unwrap()).unwrap()
}

/// A password made by the program.
fn password(scratch: &Scratch) -> PathBuf {
    let file = scratch.source("password");
    let ended = start(&["password", file.to_str().unwrap()]).end();
    assert_eq!((ended.code, &*ended.out), (Some(0), ""), "{ended:?}");
    file
}

/// Forwards everything between a sender and `receiver`, and puts his own certificate into each RHello.
fn man_in_the_middle(receiver: &str, certificate: Vec<u8>) -> SocketAddr {
    let receiver: SocketAddr = receiver.trim_start_matches("rtmfp://").trim_end_matches('/').parse().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let (mut buffer, mut sender) = ([0; 65_535], None);
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let datagram = &buffer[..len];
            if from == receiver {
                let changed = with_certificate(datagram, &certificate);
                let to = sender.unwrap_or(receiver);
                let _ = socket.send_to(changed.as_deref().unwrap_or(datagram), to);
            } else {
                sender = Some(from);
                let _ = socket.send_to(datagram, receiver);
            }
        }
    });
    address
}

fn with_certificate(datagram: &[u8], certificate: &[u8]) -> Option<Vec<u8>> {
    let mut keys = profile(|builder| builder.groups(&[Group::Modp1024])).default_keys();
    let mut bytes = datagram.to_vec();
    let (id, start) = session_id::unscramble(&bytes)?;
    let range = keys.open(&mut bytes[start..]).ok()?;
    let (_, mut chunks) = PacketHeader::parse(&bytes[start..][range]).ok()?;
    let Some(Ok(Chunk::ResponderHello(hello))) = chunks.next() else { return None };
    let mut plain = Vec::new();
    let mut writer = PacketWriter::new(&mut plain, 1_300);
    writer.header(&PacketHeader::new(Mode::Startup));
    writer.push(&ResponderHello { certificate, ..hello });
    let front = keys.front_len(0);
    let span = Span { start, front, plain: plain.len(), sealed: keys.sealed_len(front, plain.len()) };
    let mut out = vec![0; start + front];
    out.extend(plain);
    out.resize(start + span.sealed, 0);
    keys.seal(&mut out, &[span]);
    let scrambled = session_id::scramble(id, &out[start..]);
    out[..start].copy_from_slice(&scrambled);
    Some(out)
}

/// With a fingerprint of his own to show, or none.
#[test]
fn a_man_in_the_middle_without_the_password_gets_no_file() {
    let mallory =
        profile(|builder| builder.static_keys(StaticKeys::generate(&[Group::Modp2048], &mut *system_rng().unwrap())));
    let scratch = Scratch::new();
    let file = scratch.file("a", 10, 1);
    let secret = password(&scratch);
    let (directory, shown) = (scratch.directory(), scratch.source("fingerprint"));
    let common = [directory.to_str().unwrap(), "--password-file", secret.to_str().unwrap()];
    for more in [&[][..], &["--fingerprint-file", shown.to_str().unwrap()]] {
        let (_receiver, uri, _) = serve("receive", &[&common[..], more].concat(), None);
        let middle = format!("rtmfp://{}/", man_in_the_middle(&uri, mallory.certificate().to_vec()));
        let sent = send(&[&file], &middle, &["--password-file", secret.to_str().unwrap()], None);
        assert_eq!(sent.code, Some(3), "{sent:?}");
        assert!(sent.errors.contains("a password does not vouch for"), "{}", sent.errors);
    }
    assert!(scratch.received().is_empty());
}

#[test]
fn a_receiver_with_a_password_shows_a_fingerprint_only_if_senders_are_to_pin_it() {
    let scratch = Scratch::new();
    let file = scratch.file("a", 10, 1);
    let secret = password(&scratch);
    let secret = ["--password-file", secret.to_str().unwrap()];
    let (directory, shown) = (scratch.directory(), scratch.source("fingerprint"));
    let (receiver, uri, none) = serve("receive", &[&[directory.to_str().unwrap()][..], &secret].concat(), None);
    assert_eq!(none, "");
    let sent = send(&[&file], &uri, &secret, None);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let received = receiver.end();
    assert!(!received.out.contains("fingerprint") && !sent.out.contains("fingerprint"), "{}", received.out);

    fs::remove_file(scratch.directory().join("a")).unwrap();
    let lasting = ["--fingerprint-file", shown.to_str().unwrap()];
    let arguments = [&[directory.to_str().unwrap()][..], &secret, &lasting].concat();
    let (receiver, uri, fingerprint) = serve("receive", &arguments, None);
    assert_eq!(fingerprint.len(), 64);
    let unpinned = send(&[&file], &uri, &secret, None);
    assert_eq!(unpinned.code, Some(3), "{unpinned:?}");
    assert!(unpinned.errors.contains("Pin them with --fingerprint"), "{}", unpinned.errors);
    let sent = send(&[&file], &uri, &[&secret[..], &["--fingerprint", &fingerprint]].concat(), None);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(receiver.end().code, Some(0));
}

/// Whoever copies a certificate without static keys is as good as its owner.
#[test]
fn a_fingerprint_that_proves_nothing_is_neither_shown_nor_accepted() {
    let scratch = Scratch::new();
    let file = scratch.file("a", 10, 1);
    let (receiver, uri, none) = serve("receive", &[scratch.directory().to_str().unwrap(), "--compatible"], None);
    assert_eq!(none, "");
    let sent = send(&[&file], &uri, &["--compatible"], None);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert!(!receiver.end().out.contains("fingerprint"));

    let copied = profile(|builder| builder);
    let fingerprint = copied.fingerprint().to_string();
    let thief = Endpoint::bind(EndpointConfig::default(), Arc::new(copied), &["127.0.0.1:0".parse().unwrap()]).unwrap();
    let uri = format!("rtmfp://{}/", thief.local_addrs()[0]);
    for flash in [&["--profile", "flash"][..], &["--compatible"]] {
        let sent = send(&[&file], &uri, &[&["--fingerprint", &*fingerprint], flash].concat(), None);
        assert_eq!(sent.code, Some(3), "{sent:?}");
        assert!(sent.errors.contains("no static keys to prove it"), "{}", sent.errors);
    }

    fs::remove_file(scratch.directory().join("a")).unwrap();
    let shown = scratch.source("fingerprint");
    let directory = scratch.directory();
    let lasting = [directory.to_str().unwrap(), "--compatible", "--fingerprint-file", shown.to_str().unwrap()];
    let (receiver, uri, fingerprint) = serve("receive", &lasting, None);
    let sent = send(&[&file], &uri, &["--fingerprint", &fingerprint, "--profile", "flash"], None);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(receiver.end().code, Some(0));
}

/// The fingerprint that a command about identities shows.
fn shown(ended: &Ended) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let line = ended.out.lines().find_map(|line| line.strip_prefix("fingerprint "));
    line.unwrap().to_owned()
}

#[test]
fn a_receiver_is_reached_under_the_identity_of_its_file_by_one_process_at_a_time() {
    let scratch = Scratch::new();
    let path = scratch.source("identity");
    let identity = path.to_str().unwrap();
    let file = scratch.file("a", 10, 1);
    let made = shown(&start(&["identity", "new", identity]).end());
    assert_eq!(shown(&start(&["identity", "show", identity]).end()), made);

    let directory = scratch.directory();
    let arguments = [directory.to_str().unwrap(), "--identity", identity];
    let (receiver, uri, fingerprint) = serve("receive", &arguments, None);
    assert_eq!(fingerprint, made);
    let second = start(&["echo", "--listen", "127.0.0.1:0", "--identity", identity]).end();
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.errors.contains("another process is reachable"), "{}", second.errors);
    assert_eq!(shown(&start(&["identity", "show", identity]).end()), made, "that locks nothing");
    assert_eq!(start(&["identity", "rotate", identity]).end().code, Some(1), "it is in use");
    let sent = send(&[&file], &uri, &["--fingerprint", &made], None);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(receiver.end().code, Some(0));
    assert_ne!(shown(&start(&["identity", "rotate", identity]).end()), made);
}

#[cfg(unix)]
#[test]
fn an_identity_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new();
    let path = scratch.source("identity");
    let identity = path.to_str().unwrap();
    shown(&start(&["identity", "new", identity]).end());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = start(&["echo", "--listen", "127.0.0.1:0", "--identity", identity]).end();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.errors.contains("chmod 600"), "{}", refused.errors);
}

#[test]
fn whoever_is_pinned_at_a_place_is_the_only_one_there() {
    let scratch = Scratch::new();
    let home = scratch.source("home");
    let home = [("RTMFP_HOME", home.to_str().unwrap())];
    let run = |arguments: &[&str]| run(None, arguments, &home).end();
    let (echo, uri, fingerprint) = serve("echo", &[], None);
    let ping = |more: &[&str]| run(&[&["ping", "--json", "-c", "1", "--timeout", "2", &*uri], more].concat());
    assert_eq!(ping(&["--pin"]).code, Some(0));
    assert_eq!(ping(&[]).code, Some(0));
    assert_eq!(run(&["identity", "pin", "ada", &fingerprint]).code, Some(0));
    assert_eq!(ping(&["--fingerprint", "ada"]).code, Some(0));
    assert_eq!(ping(&["--fingerprint", "ben"]).code, Some(2), "nobody has that name");

    // Another takes the place.
    drop(echo);
    let place = uri.trim_start_matches("rtmfp://").trim_end_matches('/');
    let mut other = start(&["echo", "--json", "--listen", place]);
    other.wait_for("\"listening\"");
    for more in [&[][..], &["--pin"], &["--fingerprint", "ada"]] {
        let ended = ping(more);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.errors.contains("nobody with this fingerprint"), "{}", ended.errors);
    }
    assert_eq!(start(&["ping", "-c", "1", &uri]).end().code, Some(0), "who has pinned nobody");
}

#[test]
fn one_profile_is_chosen_and_contradictions_are_told() {
    for (line, hint) in [
        (&["ping", "--profile", "modern", "--compatible", "rtmfp://127.0.0.1/"][..], "belong to the Flash profile"),
        (&["ping", "--profile", "modern", "--mona", "rtmfp://127.0.0.1/"], "belong to the Flash profile"),
        (
            &["echo", "--profile", "flash", "--identity", "file", "--listen", "127.0.0.1:0"],
            "belong to the modern profile",
        ),
        (&["ping", "--pin", "--profile", "flash", "rtmfp://127.0.0.1/"], "--pin belongs to the modern profile"),
        (&["ping", "--pin", "--compatible", "rtmfp://127.0.0.1/"], "--pin belongs to the modern profile"),
    ] {
        let ended = start(line).end();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.errors.contains(hint), "{}", ended.errors);
    }
    let ended = start_with(&["ping", "--pin", "rtmfp://127.0.0.1/"], Some("secret")).end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.errors.contains("--pin belongs to the modern profile"), "{}", ended.errors);
    let ended = start_with(&["ping", "--profile", "modern", "rtmfp://127.0.0.1/"], Some("secret")).end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.errors.contains("passwords belong to the Flash profile"), "{}", ended.errors);
}

#[test]
fn pins_are_not_passed_over_by_another_profile() {
    let scratch = Scratch::new();
    let home = scratch.source("home");
    let home = ("RTMFP_HOME", home.to_str().unwrap());
    let fingerprint = "ab".repeat(32);
    for place in ["127.0.0.1:9", "10.0.0.1:1936"] {
        assert_eq!(run(None, &["identity", "pin", place, &fingerprint], &[home]).end().code, Some(0));
    }
    for uri in ["rtmfp://127.0.0.1:9/", "rtmfp://10.0.0.1/"] {
        let line = ["ping", "-c", "1", "--timeout", "1", uri];
        let password = run(None, &line, &[home, ("RTMFP_PASSWORD", "secret")]).end();
        let compatible = run(None, &[&line[..], &["--compatible"]].concat(), &[home]).end();
        for ended in [password, compatible] {
            assert_eq!(ended.code, Some(2), "{ended:?}");
            assert!(ended.errors.contains("is pinned in"), "{}", ended.errors);
        }
    }
    let chosen = ["ping", "--timeout", "1", "--compatible", "--fingerprint", &fingerprint, "rtmfp://127.0.0.1:9/"];
    assert_eq!(run(None, &chosen, &[home]).end().code, Some(3), "the user has said whom");
}

#[test]
fn a_server_pinned_by_its_ipv6_address_is_the_only_one_there() {
    let scratch = Scratch::new();
    let home = scratch.source("home");
    let home = [("RTMFP_HOME", home.to_str().unwrap())];
    let mut echo = start(&["echo", "--json", "--listen", "[::1]:0"]);
    let line = echo.wait_for("\"listening\"");
    let place = field(&line, "address").unwrap();
    let uri = format!("rtmfp://{place}/");
    let ping = || run(None, &["ping", "-c", "1", "--timeout", "2", &uri], &home).end();
    let written = place.replace("[::1]", "[0:0::1]");
    let wrong = "ab".repeat(32);
    assert_eq!(run(None, &["identity", "pin", &written, &wrong], &home).end().code, Some(0));
    let ended = ping();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.errors.contains("nobody with this fingerprint"), "{}", ended.errors);
    fs::remove_file(scratch.source("home").join("known_peers")).unwrap();
    let right = field(&line, "fingerprint").unwrap();
    assert_eq!(run(None, &["identity", "pin", &written, &right], &home).end().code, Some(0));
    assert_eq!(ping().code, Some(0));
}

#[test]
fn passwords_are_strong_and_their_files_are_private() {
    let scratch = Scratch::new();
    let passwords = [(); 2].map(|()| start(&["password"]).end().out);
    assert_ne!(passwords[0], passwords[1]);
    for password in &passwords {
        assert_eq!(password.split('-').map(str::len).collect::<Vec<_>>(), [4; 4], "{password}");
    }
    let file = password(&scratch);
    let first = fs::read_to_string(&file).unwrap();
    assert_eq!(first.len(), 20, "with its dashes and the end of the line");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = start(&["password", file.to_str().unwrap()]).end();
    assert_eq!(again.code, Some(1), "{again:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), first, "nothing is overwritten");
}

#[test]
fn the_help_says_what_a_password_and_compatible_do_not_protect_from() {
    let help = |arguments: &[&str]| start(arguments).end().out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help(&["--help"]).contains("can be guessed offline"));
    assert!(help(&["send", "--help"]).contains("stalls it for good"));
    assert!(help(&["receive", "--help"]).contains("try others offline"));
}
