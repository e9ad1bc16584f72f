//! Over loopback sockets. Times are only ever judged from below: a loaded machine may be late, and never early.

use super::*;

const LOCAL: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
/// Long enough for any machine that is still alive.
const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy at work until dropped, a client's socket that is connected to it, and the server's.
struct Bench {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<Result<(), String>>>,
    client: UdpSocket,
    server: UdpSocket,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

fn bench(spec: &str, rebind_at: &[&str]) -> Bench {
    let socket = || {
        let socket = UdpSocket::bind(SocketAddr::from(LOCAL)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let (client, server) = (socket(), socket());
    let arguments = ProxyArguments {
        listen: LOCAL.into(),
        to: server.local_addr().unwrap(),
        link_or_scenario: spec.to_owned(),
        link: None,
        rebind_at: rebind_at.iter().map(|text| (*text).to_owned()).collect(),
        lasts: None,
        seed: 1,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // The world is not to be sent between threads, so it is made where it runs.
    let (tell, told) = sync_channel(1);
    let thread = std::thread::spawn(move || {
        let (mut proxy, came) = make(&arguments)?;
        tell.send(proxy.listen.local_addr().map_err(failed("socket"))?).map_err(|error| error.to_string())?;
        proxy.run(&came, None, &flag)
    });
    client.connect(told.recv_timeout(PATIENCE).unwrap()).unwrap();
    Bench { stop, thread: Some(thread), client, server }
}

#[test]
fn datagrams_pass_both_ways_and_late() {
    let bench = bench("delay 40ms", &[]);
    let mut buffer = [0; 64];
    let before = began();
    bench.client.send(b"ask").unwrap();
    let (len, from) = bench.server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"ask");
    assert!(before.elapsed() >= Duration::from_millis(40), "{:?}", before.elapsed());
    bench.server.send_to(b"answer", from).unwrap();
    let len = bench.client.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"answer");
    assert!(before.elapsed() >= Duration::from_millis(80), "{:?}", before.elapsed());
}

#[test]
fn what_the_link_loses_is_lost() {
    let bench = bench("loss list 0,2", &[]);
    let mut buffer = [0; 64];
    for number in 0..4_u8 {
        bench.client.send(&[number]).unwrap();
    }
    let got: Vec<u8> = (0..2).map(|_| (bench.server.recv(&mut buffer).unwrap(), buffer[0]).1).collect();
    assert_eq!(got, [1, 3]);
}

#[test]
fn a_rebind_shows_the_server_another_port() {
    let bench = bench("delay 1ms", &["100ms"]);
    let mut buffer = [0; 64];
    let mut ports = std::collections::BTreeSet::new();
    let before = began();
    while ports.len() < 2 && before.elapsed() < PATIENCE {
        bench.client.send(b"here").unwrap();
        ports.insert(bench.server.recv_from(&mut buffer).unwrap().1.port());
    }
    assert_eq!(ports.len(), 2);
}

#[test]
fn two_clients_are_told_apart() {
    let bench = bench("delay 1ms", &[]);
    let other = UdpSocket::bind(SocketAddr::from(LOCAL)).unwrap();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    other.connect(bench.client.peer_addr().unwrap()).unwrap();
    let mut buffer = [0; 64];
    for socket in [&bench.client, &other] {
        socket.send(&socket.local_addr().unwrap().port().to_be_bytes()).unwrap();
        let (len, from) = bench.server.recv_from(&mut buffer).unwrap();
        bench.server.send_to(&buffer[..len], from).unwrap();
    }
    for socket in [&other, &bench.client] {
        let len = socket.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..len], socket.local_addr().unwrap().port().to_be_bytes());
    }
}

#[test]
fn links_are_read_from_stages_and_scenarios() {
    assert_eq!(link("delay 5ms, loss random 1%", None).unwrap().0.spec().unwrap().forward.len(), 2);
    assert!(link("delay 5parsec", None).is_err());
    assert!(link("no-such-scenario", None).is_err());
    assert!(!link("mob-sender", Some("wan")).unwrap().1.is_empty());
    assert!(link("fair-intra", None).is_err_and(|error| error.contains("--link")));
}
