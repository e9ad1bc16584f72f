//! Metrics and health over HTTP/1.1: two pages, without state, for those who watch the server.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rtmfp_core::Instant;
use rtmfp_std::Clock;

use crate::metrics;
use crate::status::{Health, Status};

/// Connections at once. Each has a thread.
const CONNECTIONS: usize = 32;
/// The longest head of a request.
const HEAD: usize = 8 << 10;
/// Header fields of a request.
const FIELDS: usize = 64;
/// How long a connection may take for everything.
const TIMEOUT: Duration = Duration::from_secs(5);
/// After the system could not hand over a connection, as when there are too many open files.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves `/metrics` and `/health`, until it is dropped.
///
/// `/metrics` has the counts of the last [`Snapshot`](crate::Snapshot) in the text format of Prometheus. `/health` has
/// [`Health`], with status 200 if the server is well and 503 otherwise. Of several servers in one program, each sample has
/// the profile as a label, and the health is the worst. There are at most 32 connections at once, each
/// for one request and five seconds. There is no password.
#[derive(Debug)]
pub struct Http {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Http {
    /// Listens on an address, and serves what is known of these servers.
    ///
    /// # Errors
    /// As the system tells, if the address cannot be bound or no thread be started.
    pub fn serve(address: SocketAddr, servers: impl IntoIterator<Item = Arc<Status>>) -> io::Result<Self> {
        Self::serve_with(address, servers.into_iter().collect(), TIMEOUT)
    }

    fn serve_with(address: SocketAddr, servers: Arc<[Arc<Status>]>, timeout: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let ends = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ends);
        let accept = move || accept(&listener, &servers, timeout, &seen);
        let thread = thread::Builder::new().name("rtmfp-http".to_owned()).spawn(accept)?;
        Ok(Self { address, ends, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // The listener waits for somebody to come.
        let mut own = self.address;
        if own.ip().is_unspecified() {
            own.set_ip(if own.is_ipv6() {
                core::net::Ipv6Addr::LOCALHOST.into()
            } else {
                core::net::Ipv4Addr::LOCALHOST.into()
            });
        }
        let came = TcpStream::connect_timeout(&own, TIMEOUT).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| came) {
            // It does not panic; if it did, there is nobody to tell.
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, servers: &Arc<[Arc<Status>]>, timeout: Duration, ends: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    let clock = Clock::new();
    loop {
        let accepted = listener.accept();
        if ends.load(Ordering::SeqCst) {
            return;
        }
        let Ok((stream, _)) = accepted else {
            thread::park_timeout(BACK_OFF);
            continue;
        };
        let place = Place::take(&open);
        let servers = Arc::clone(servers);
        if let Some(place) = place {
            let answer = move || {
                // Who went away, or was too slow, needs no answer.
                let _ = answer(&stream, &servers, &Limit { clock, deadline: clock.now() + timeout });
                drop(place);
            };
            // If there is no thread for it, the connection is closed.
            let _ = thread::Builder::new().name("rtmfp-http".to_owned()).spawn(answer);
        }
    }
}

/// One of the connections that there may be.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        // Only one thread takes places.
        (open.load(Ordering::SeqCst) < CONNECTIONS).then(|| {
            open.fetch_add(1, Ordering::SeqCst);
            Self(Arc::clone(open))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reads a request and answers it.
fn answer(mut stream: &TcpStream, servers: &[Arc<Status>], limit: &Limit) -> io::Result<()> {
    let response = match read_head(stream, limit)? {
        Some(head) => respond(&head, servers),
        None => Response::plain("431 Request Header Fields Too Large", "too long\n"),
    };
    stream.set_write_timeout(Some(limit.left()?))?;
    stream.write_all(&response.to_bytes())?;
    stream.shutdown(Shutdown::Write)
}

/// How long a connection may take.
struct Limit {
    clock: Clock,
    deadline: Instant,
}

impl Limit {
    /// The time until then. Never zero, which would be no limit.
    fn left(&self) -> io::Result<Duration> {
        match self.clock.until(self.deadline) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

/// Everything up to the empty line. `None` if it is too long.
fn read_head(mut stream: &TcpStream, limit: &Limit) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut part = [0; 1_024];
    loop {
        stream.set_read_timeout(Some(limit.left()?))?;
        let read = stream.read(&mut part)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(part.get(..read).unwrap_or_default());
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(Some(head));
        }
        if head.len() > HEAD {
            return Ok(None);
        }
    }
}

fn respond(head: &[u8], servers: &[Arc<Status>]) -> Response {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let (Ok(_), Some(method), Some(target)) = (request.parse(head), request.method, request.path) else {
        return Response::plain("400 Bad Request", "not a request\n");
    };
    let mut response = match target.split('?').next() {
        _ if !matches!(method, "GET" | "HEAD") => Response::plain("405 Method Not Allowed", "GET or HEAD\n"),
        Some("/metrics") => Response {
            status: "200 OK",
            kind: metrics::CONTENT_TYPE,
            body: metrics::text(&servers.iter().map(shown).collect::<Vec<_>>()),
            with_body: true,
        },
        Some("/health") => {
            let health = servers.iter().map(|status| status.health()).max().unwrap_or(Health::Stuck);
            let code = if health == Health::Well { "200 OK" } else { "503 Service Unavailable" };
            Response::plain(code, &format!("{health}\n"))
        }
        _ => Response::plain("404 Not Found", "there are /metrics and /health\n"),
    };
    response.with_body = method != "HEAD";
    response
}

fn shown(status: &Arc<Status>) -> metrics::Shown {
    (status.profile(), status.snapshot().unwrap_or_default())
}

struct Response {
    status: &'static str,
    kind: &'static str,
    body: String,
    with_body: bool,
}

impl Response {
    fn plain(status: &'static str, body: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: body.to_owned(), with_body: true }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let Self { status, kind, body, with_body } = self;
        let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\n{allow}Connection: close\r\n\r\n"
        );
        [head.as_bytes(), if *with_body { body.as_bytes() } else { b"" }].concat()
    }
}

#[cfg(test)]
mod tests;
