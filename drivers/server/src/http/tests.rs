//! Requests, good and bad, over real connections.

use core::net::Ipv4Addr;

use rtmfp_std::ProfileKind;

use super::*;
use crate::status::Snapshot;

fn serve(timeout: Duration) -> (Http, Arc<Status>) {
    let [status, other] = [ProfileKind::Modern, ProfileKind::Flash].map(|profile| Arc::new(Status::new(profile)));
    status.publish(Snapshot::default());
    other.publish(Snapshot::default());
    let servers = Arc::new([Arc::clone(&status), other]);
    (Http::serve_with((Ipv4Addr::LOCALHOST, 0).into(), servers, timeout).unwrap(), status)
}

fn connect(http: &Http) -> TcpStream {
    TcpStream::connect(http.local_addr()).unwrap()
}

/// What comes until the far end closes.
fn rest(mut stream: &TcpStream) -> String {
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => text,
    }
}

fn ask(http: &Http, request: &str) -> String {
    let mut stream = connect(http);
    stream.write_all(request.as_bytes()).unwrap();
    rest(&stream)
}

#[test]
fn health_and_metrics_are_served() {
    let (http, status) = serve(TIMEOUT);
    let well = ask(&http, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(well.starts_with("HTTP/1.1 200 OK\r\n") && well.ends_with("\r\n\r\nwell\n"), "{well}");
    let metrics = ask(&http, "GET /metrics?x=y HTTP/1.1\r\n\r\n");
    let (head, body) = metrics.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert!(
        head.contains(metrics::CONTENT_TYPE) && body.contains("\nrtmfp_sessions{profile=\"flash\"} 0\n"),
        "{metrics}"
    );
    let head = ask(&http, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");

    status.publish(Snapshot { draining: true, ..Snapshot::default() });
    let draining = ask(&http, "GET /health HTTP/1.1\r\n\r\n");
    assert!(draining.starts_with("HTTP/1.1 503 ") && draining.ends_with("draining\n"), "{draining}");
}

#[test]
fn other_requests_are_refused() {
    let (http, _) = serve(TIMEOUT);
    for (request, code) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
        ("GET /health HTTP/9.9\r\n\r\n", "400"),
        ("\u{0}\r\n\r\n", "400"),
    ] {
        let response = ask(&http, request);
        assert!(response.starts_with(&format!("HTTP/1.1 {code} ")), "{request:?}: {response}");
    }
    let fields: String = (0..=FIELDS).map(|field| format!("f{field}: x\r\n")).collect();
    assert!(ask(&http, &format!("GET /health HTTP/1.1\r\n{fields}\r\n")).starts_with("HTTP/1.1 400 "));
}

/// A head without end is not collected for ever.
#[test]
fn a_request_has_a_limit() {
    let (http, _) = serve(TIMEOUT);
    let response = ask(&http, &"x".repeat(HEAD + 1));
    assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
}

#[test]
fn who_says_nothing_is_sent_away() {
    let (http, _) = serve(Duration::from_millis(50));
    let (silent, half) = (connect(&http), connect(&http));
    (&half).write_all(b"GET /health HTTP/1.1\r\n").unwrap();
    assert_eq!((rest(&silent), rest(&half)), (String::new(), String::new()));
    // Nor does one who has gone take a place for ever.
    drop(connect(&http));
}

#[test]
fn connections_have_a_limit_and_give_their_places_back() {
    let (http, _) = serve(Duration::from_secs(600));
    let mut idle: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect(&http)).collect();
    assert_eq!(ask(&http, "GET /health HTTP/1.1\r\n\r\n"), "", "there is no place");
    let one = idle.pop().unwrap();
    (&one).write_all(b"GET /health HTTP/1.1\r\n\r\n").unwrap();
    assert!(rest(&one).ends_with("well\n"));
    // Its place is free a moment after it was answered.
    while !ask(&http, "GET /health HTTP/1.1\r\n\r\n").ends_with("well\n") {}
}

#[test]
fn the_address_is_free_again_when_the_server_is_dropped() {
    let (http, status) = serve(TIMEOUT);
    let address = http.local_addr();
    drop(http);
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(Arc::strong_count(&status), 1, "its thread has ended");
}
