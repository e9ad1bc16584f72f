//! `rtmfp echo --via` and `rtmfp ping --via`: two that know no address of each other.

use super::harness::{Running, field, serve, start};

/// A server that relays, its URI and its fingerprint; and an echo that is registered there, with its number.
fn echo_at_server(more: &[&str]) -> (Running, String, String, Running, String, String) {
    let (server, uri, fingerprint) = serve("serve", &["--relay"], None);
    let via = ["--via", &uri, "--via-fingerprint", &fingerprint];
    let (mut echo, _, peer_id) = serve("echo", &[&via[..], more].concat(), None);
    let line = echo.wait_for("\"reachable\"");
    let number: String = line.split_once("\"number\":").unwrap().1.chars().take_while(char::is_ascii_digit).collect();
    assert_eq!(field(&line, "fingerprint").as_deref(), Some(&*peer_id));
    (server, uri, fingerprint, echo, number, peer_id)
}

#[test]
fn pings_reach_an_echo_by_its_number_over_the_path_that_is_allowed() {
    let (_server, uri, fingerprint, mut echo, number, peer_id) = echo_at_server(&[]);
    let paths =
        [(&[][..], "lan"), (&["--relay-only"], "relayed"), (&["--direct-only"], "lan"), (&["--lan-only"], "lan")];
    for (more, kind) in paths {
        let ping = ["ping", "--json", "-i", "0", "-c", "3", "--via", &uri, "--via-fingerprint", &fingerprint];
        let ended = start(&[&ping[..], more, &[&number]].concat()).end();
        assert_eq!(ended.code, Some(0), "{more:?} {ended:?}");
        let path = ended.out.lines().find(|line| line.contains("\"path\"")).unwrap();
        assert_eq!((field(path, "kind").unwrap(), field(path, "fingerprint").unwrap()), (kind.into(), peer_id.clone()));
        assert!(ended.out.contains("\"done\",\"replies\":3"), "{}", ended.out);
        let path = echo.wait_for("\"path\"");
        assert_eq!(field(&path, "kind").as_deref(), Some(kind));
        echo.wait_for("\"closed\"");
    }
    let ended = start(&["ping", "-i", "0", "-c", "1", "--via", &uri, &peer_id]).end();
    assert_eq!(ended.code, Some(0), "by its fingerprint: {ended:?}");
    assert!(ended.out.contains("path: lan, to 127.0.0.1:"), "{}", ended.out);
}

#[test]
fn who_is_not_reached_is_told_the_step_that_failed() {
    let (_server, uri, fingerprint) = serve("serve", &[], None);
    let nobody = "0".repeat(64);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = format!("rtmfp://{}/", silent.local_addr().unwrap());
    for (via, more, whom, code, text) in [
        (&*uri, &[][..], "1", 3, "nobody is registered with the server"),
        (&uri, &[], &nobody, 3, "nobody is registered with the server"),
        (&uri, &["--relay-only"], &nobody, 3, "the server does not relay"),
        (&silent, &["--timeout", "1"], "1", 3, "the server was not reached"),
        (&uri, &["--timeout", "1", "--via-fingerprint", &nobody], "1", 3, "the server was not reached"),
        (&uri, &["--token-file", "/nonexistent"], "1", 1, "/nonexistent"),
        (&uri, &[], &uri, 2, "rather than a URI"),
    ] {
        let ended = start(&[&["ping", "--via", via][..], more, &[whom]].concat()).end();
        assert_eq!(ended.code, Some(code), "{whom} {more:?}: {ended:?}");
        assert!(ended.errors.contains(text), "{whom} {more:?}: {}", ended.errors);
    }
    for line in [
        &["ping", "1234"][..],
        &["ping", "--map-port", &fingerprint],
        &["ping", "--direct-only", "1234"],
        &["ping", "--pin", &fingerprint],
    ] {
        let ended = start(line).end();
        assert_eq!(ended.code, Some(2), "{ended:?}");
    }
}
