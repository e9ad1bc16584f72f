//! An impairing proxy: a link model between real sockets, in real time.
//!
//! Each client has a socket of its own towards the server, as behind a NAT; threads read the sockets and one loop does
//! everything else.

use core::net::{IpAddr, SocketAddr};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use datagram_sim::{Direction, LinkEmulator, LinkSpec, Time};
use rtmfp_sim::scenario::{Action, At, Lane, Link, Scenario, units};

use super::batch::began;
use super::output::outln;
use super::source::load;
use super::{Done, PASSED, ProxyArguments};

/// Clients at a time; the one that was silent for longest makes room for a new one.
const CLIENTS: usize = 256;
/// Datagrams between the sockets' threads and the loop; beyond it the sockets' own buffers fill.
const WAITING: usize = 1_024;
/// How often a reader checks whether it is still wanted.
const STOP_POLL: Duration = Duration::from_millis(200);
const LARGEST: usize = 65_536;
/// Asked of the system for the buffers of each socket, which are not part of what is emulated: with the usual 208 KiB
/// they lose what comes in bursts.
const BUFFER: usize = 4 << 20;

/// A datagram from one of the sockets.
enum Came {
    Client(SocketAddr, Vec<u8>),
    /// With the client's number, and which of its sockets it came to.
    Server(u16, u64, Vec<u8>),
}

struct Client {
    number: u16,
    address: SocketAddr,
    socket: UdpSocket,
    /// Which socket this is, of all that there were.
    generation: u64,
    wanted: Arc<AtomicBool>,
    last: Time,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
    }
}

/// What happens at a time.
enum Step {
    Up(bool),
    Change(Box<LinkSpec>, Vec<Direction>),
    Rebind,
}

struct Proxy {
    began: Instant,
    emulator: LinkEmulator,
    listen: UdpSocket,
    to: SocketAddr,
    clients: Vec<Client>,
    next_number: u16,
    generation: u64,
    steps: Vec<(Time, Step)>,
    sender: SyncSender<Came>,
    wanted: Arc<AtomicBool>,
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> String + '_ {
    move |error| format!("{what}: {error}")
}

/// Has the system give the socket large buffers, as far as it allows. How large they are, to receive and to send.
fn enlarge(socket: &UdpSocket) -> [usize; 2] {
    let socket = socket2::SockRef::from(socket);
    // It works with less, only worse.
    let _smaller = (socket.set_recv_buffer_size(BUFFER), socket.set_send_buffer_size(BUFFER));
    // Linux tells twice what was asked for.
    let part = if cfg!(target_os = "linux") { 2 } else { 1 };
    [socket.recv_buffer_size(), socket.send_buffer_size()].map(|size| size.unwrap_or(0) / part)
}

/// Reads a socket in a thread of its own until it is not wanted any more.
fn read(
    socket: &UdpSocket,
    wanted: Arc<AtomicBool>,
    sender: SyncSender<Came>,
    came: impl Fn(SocketAddr, Vec<u8>) -> Came + Send + 'static,
) -> Result<(), String> {
    let socket = socket.try_clone().map_err(failed("socket"))?;
    socket.set_read_timeout(Some(STOP_POLL)).map_err(failed("socket"))?;
    std::thread::spawn(move || {
        let mut buffer = vec![0; LARGEST];
        while wanted.load(Ordering::Relaxed) {
            // A time-out, or news of a port that nobody listens on: neither ends anything.
            let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
            let bytes = buffer.get(..len).unwrap_or_default().to_vec();
            if sender.send(came(from, bytes)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

impl Proxy {
    fn now(&self) -> Time {
        Time(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// A new socket towards the server, and somebody who reads it.
    fn socket(&mut self, number: u16) -> Result<(UdpSocket, u64, Arc<AtomicBool>), String> {
        let any: IpAddr = if self.to.is_ipv4() { [0, 0, 0, 0].into() } else { [0; 16].into() };
        let socket = UdpSocket::bind((any, 0)).map_err(failed("socket"))?;
        enlarge(&socket);
        socket.connect(self.to).map_err(failed("socket"))?;
        self.generation += 1;
        let (generation, wanted) = (self.generation, Arc::new(AtomicBool::new(true)));
        read(&socket, wanted.clone(), self.sender.clone(), move |_, bytes| Came::Server(number, generation, bytes))?;
        Ok((socket, generation, wanted))
    }

    fn client(&mut self, address: SocketAddr) -> Result<u16, String> {
        let now = self.now();
        if let Some(known) = self.clients.iter_mut().find(|client| client.address == address) {
            known.last = now;
            return Ok(known.number);
        }
        if self.clients.len() >= CLIENTS {
            let oldest = (0..self.clients.len()).min_by_key(|&at| self.clients.get(at).map(|client| client.last));
            oldest.map(|at| self.clients.swap_remove(at));
        }
        self.next_number = self.next_number.checked_add(1).unwrap_or(1);
        let number = self.next_number;
        let (socket, generation, wanted) = self.socket(number)?;
        self.clients.push(Client { number, address, socket, generation, wanted, last: now });
        Ok(number)
    }

    /// Every client gets another socket: a NAT that forgot its mappings. What comes to the old ones is lost.
    fn rebind(&mut self) -> Result<(), String> {
        let mut clients = core::mem::take(&mut self.clients);
        for client in &mut clients {
            client.wanted.store(false, Ordering::Relaxed);
            (client.socket, client.generation, client.wanted) = self.socket(client.number)?;
        }
        self.clients = clients;
        Ok(())
    }

    fn enter(&mut self, came: Came) -> Result<(), String> {
        match came {
            Came::Client(from, bytes) => {
                let number = self.client(from)?;
                self.emulator.enter(Direction::Forward, number, bytes);
            }
            Came::Server(number, generation, bytes) => {
                // What still comes out of a socket that was given up is lost.
                if self.clients.iter().any(|client| client.number == number && client.generation == generation) {
                    self.emulator.enter(Direction::Backward, number, bytes);
                }
            }
        }
        Ok(())
    }

    /// Everything that is due: events of the scenario, then datagrams.
    fn due(&mut self) -> Result<(), String> {
        let now = self.now();
        self.emulator.run_until(now).map_err(|error| error.to_string())?;
        while self.steps.first().is_some_and(|(at, _)| *at <= now) {
            match self.steps.remove(0).1 {
                Step::Up(up) => self.emulator.set_up(up),
                Step::Rebind => self.rebind()?,
                Step::Change(spec, directions) => {
                    for direction in directions {
                        let stages = match direction {
                            Direction::Forward => &spec.forward,
                            Direction::Backward => &spec.backward,
                        };
                        self.emulator.set_stages(direction, stages);
                    }
                }
            }
        }
        // An error of a socket here is a datagram lost, as on any network.
        while let Some((number, bytes)) = self.emulator.take(Direction::Forward) {
            if let Some(client) = self.clients.iter().find(|client| client.number == number) {
                let _lost = client.socket.send(&bytes);
            }
        }
        while let Some((number, bytes)) = self.emulator.take(Direction::Backward) {
            if let Some(client) = self.clients.iter().find(|client| client.number == number) {
                let _lost = self.listen.send_to(&bytes, client.address);
            }
        }
        Ok(())
    }

    fn run(&mut self, came: &Receiver<Came>, end: Option<Time>, stop: &AtomicBool) -> Result<(), String> {
        while !stop.load(Ordering::Relaxed) {
            self.due()?;
            let now = self.now();
            if end.is_some_and(|end| now >= end) {
                break;
            }
            let steps = self.steps.first().map(|(at, _)| *at);
            let next = [self.emulator.next_event(), steps, end].into_iter().flatten().min();
            let wait = next.map_or(STOP_POLL, |next| Duration::from_nanos(next.0.saturating_sub(now.0)).min(STOP_POLL));
            match came.recv_timeout(wait) {
                Ok(first) => {
                    // The world's time is that of the datagram's coming.
                    self.emulator.run_until(self.now()).map_err(|error| error.to_string())?;
                    self.enter(first)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.wanted.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// The link that is meant, and what happens to it: one of a scenario, or stages with ", " between them.
fn link(what: &str, name: Option<&str>) -> Result<(Link, Vec<(Time, Step)>), String> {
    if let (Some(lane), None) = (stages(what), name) {
        return Ok((Link { both: lane?, ..Link::default() }, Vec::new()));
    }
    let scenario: Scenario = load(what)?;
    let (name, link) = match name {
        Some(name) => scenario.link.get_key_value(name).ok_or_else(|| format!("`{what}` has no link `{name}`"))?,
        None => match scenario.link.iter().collect::<Vec<_>>().as_slice() {
            [only] => *only,
            _ => return Err(format!("`{what}` has several links; say which one with --link")),
        },
    };
    let mut in_order: Vec<&At> = scenario.at.iter().collect();
    in_order.sort_by_key(|at| at.t.0);
    let (mut now_is, mut steps) = (link.clone(), Vec::new());
    for at in in_order {
        let is_it = |other: &String| other == name;
        let step = match &at.action {
            Action::LinkDown { link } if is_it(link) => Step::Up(false),
            Action::LinkUp { link, .. } if is_it(link) => Step::Up(true),
            Action::LinkChange { link, .. } if is_it(link) => {
                let Some((new, directions)) = at.action.changed(&now_is) else { continue };
                let spec = new.spec()?;
                now_is = new;
                Step::Change(Box::new(spec), directions)
            }
            Action::Rebind { .. } | Action::NatFlush { .. } => Step::Rebind,
            // What happens to endpoints or to other links is not the proxy's.
            Action::LinkDown { .. }
            | Action::LinkUp { .. }
            | Action::LinkChange { .. }
            | Action::Freeze { .. }
            | Action::Thaw { .. }
            | Action::ClockStep { .. }
            | Action::Restart { .. }
            | Action::Close { .. }
            | Action::Suspend { .. }
            | Action::Resume { .. }
            | Action::Heal => continue,
        };
        steps.push((Time(at.t.0.0), step));
    }
    Ok((link.clone(), steps))
}

/// Reads `delay 25ms, loss random 1%`; none if it does not begin like a stage.
fn stages(text: &str) -> Option<Result<Lane, String>> {
    let kinds = rtmfp_sim::scenario::KINDS;
    let first = text.split(' ').next()?;
    kinds.iter().find(|(_, name)| *name == first)?;
    Some(text.split(", ").try_fold(Lane::default(), |lane, stage| lane.with(stage).map_err(|error| error.to_string())))
}

fn make(arguments: &ProxyArguments) -> Result<(Proxy, Receiver<Came>), String> {
    let (link, mut steps) = link(&arguments.link_or_scenario, arguments.link.as_deref())?;
    for text in &arguments.rebind_at {
        steps.push((Time(units::span(text)?.0), Step::Rebind));
    }
    steps.sort_by_key(|(at, _)| *at);
    let listen = UdpSocket::bind(arguments.listen).map_err(failed(&arguments.listen.to_string()))?;
    let (sender, came) = sync_channel(WAITING);
    let wanted = Arc::new(AtomicBool::new(true));
    read(&listen, wanted.clone(), sender.clone(), Came::Client)?;
    let proxy = Proxy {
        began: began(),
        emulator: LinkEmulator::new(arguments.seed, &link.spec()?),
        listen,
        to: arguments.to,
        clients: Vec::new(),
        next_number: 0,
        generation: 0,
        steps,
        sender,
        wanted,
    };
    Ok((proxy, came))
}

pub(super) fn proxy(arguments: &ProxyArguments) -> Done {
    let end = arguments.lasts.as_deref().map(units::span).transpose()?.map(|span| Time(span.0));
    let (mut proxy, came) = make(arguments)?;
    let listens = proxy.listen.local_addr().map_err(failed("socket"))?;
    outln!("from {listens} to {}", arguments.to);
    let [receive, send] = enlarge(&proxy.listen).map(|bytes| bytes / 1_024);
    outln!("socket buffers: {receive} KiB to receive, {send} KiB to send");
    proxy.run(&came, end, &AtomicBool::new(false))?;
    Ok(PASSED)
}

#[cfg(test)]
mod tests;
