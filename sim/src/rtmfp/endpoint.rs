//! Runs an endpoint and an application of it as a node.

use core::ops::Range;
use std::collections::BTreeMap;

use datagram_sim::{Duration, Ecn, NetChange, Node, RxMeta, Sink, Time, Tx};
use rtmfp_core::{App, Endpoint, Instant, InterfaceId, Path, RecvMeta, SessionHandle, Trace, TransmitBuf};

use super::invariant_checker::InvariantChecker;
use super::plaintexts::{PacketRecorder, Plaintexts};
use super::snapshot::{EndpointSnapshot, WATCHED, Watched, watched};
use super::yielding::Yielding;

/// An endpoint with its application, as a host's node. Interface `n` of the host is interface `n` of the endpoint.
#[derive(Debug)]
pub struct EndpointNode<A> {
    endpoint: Endpoint,
    app: A,
    port: u16,
    /// Interfaces of the endpoint that are further sockets of the host: its interface, and the port.
    sockets: BTreeMap<InterfaceId, (u16, u16)>,
    buf: TransmitBuf,
    /// What of it is still to be handed out.
    flight: Flight,
    violation: Option<String>,
    checker: Option<InvariantChecker>,
    yielding: BTreeMap<SessionHandle, Yielding>,
    late: Duration,
    /// Keeps the packets before encryption, if that is wanted.
    recorder: Option<PacketRecorder>,
}

/// The datagrams of one call of `Endpoint::poll_transmit` that are left in the buffer.
#[derive(Debug, Default)]
struct Flight {
    left: Range<usize>,
    /// The length of each, except for the last, which may be shorter.
    segment: usize,
    tx: Option<Tx>,
}

impl Flight {
    fn next(&mut self) -> Option<(Tx, Range<usize>)> {
        if self.left.is_empty() {
            return None;
        }
        let end = self.left.end.min(self.left.start + self.segment);
        let datagram = self.left.start..end;
        self.left.start = end;
        Some((self.tx?, datagram))
    }
}

/// No fragment is longer.
const LARGEST_FRAGMENT: u64 = 1_500;

/// Data may be sent while less than the window is in flight; the last fragment may exceed it.
const fn exceeds_window(before: u64, after: u64, window: u64) -> bool {
    after > before && after > window + LARGEST_FRAGMENT
}

pub(crate) fn instant(now: Time) -> Instant {
    Instant::from_micros(now.0 / 1_000)
}

/// Time as worlds count it.
pub(crate) const fn time(instant: Instant) -> Time {
    Time(instant.as_micros().saturating_mul(1_000))
}

impl<A: App + 'static> EndpointNode<A> {
    /// A node that sends from this port.
    #[must_use]
    pub fn new(endpoint: Endpoint, app: A, port: u16) -> Self {
        Self {
            endpoint,
            app,
            port,
            sockets: BTreeMap::new(),
            buf: TransmitBuf::new(8),
            flight: Flight::default(),
            violation: None,
            checker: None,
            yielding: BTreeMap::new(),
            late: Duration::ZERO,
            recorder: None,
        }
    }

    /// The same, with one more socket: `interface` of the endpoint is this port of interface `on` of the host.
    #[must_use]
    pub fn with_socket(mut self, interface: InterfaceId, on: u16, port: u16) -> Self {
        self.sockets.insert(interface, (on, port));
        self
    }

    /// The endpoint's interface that a datagram came in over.
    fn interface(&self, meta: &RxMeta) -> InterfaceId {
        let at = (meta.interface, meta.local.port());
        let socket = self.sockets.iter().find(|(_, socket)| **socket == at);
        socket.map_or(InterfaceId(meta.interface), |(interface, _)| *interface)
    }

    /// The same, checked by `checker`, which must also tap the packets of the endpoint's profile.
    #[must_use]
    pub fn checked_by(mut self, checker: InvariantChecker) -> Self {
        self.checker = Some(checker);
        self
    }

    /// The same, woken this much later than it asks for. Its clock counts microseconds: with less than one, it does what
    /// it did, but after others that are due at the same time.
    #[must_use]
    pub const fn late_by(mut self, late: Duration) -> Self {
        self.late = late;
        self
    }

    /// The same, with its packets before encryption kept in `plaintexts`, and with sinks for the endpoint's trace.
    #[must_use]
    pub fn traced(mut self, plaintexts: Option<&Plaintexts>, mut sinks: Vec<Box<dyn Trace>>) -> Self {
        self.recorder = plaintexts.map(Plaintexts::recorder);
        sinks.extend(self.recorder.clone().map(|recorder| Box::new(recorder) as Box<dyn Trace>));
        if !sinks.is_empty() {
            self.endpoint.set_trace(Some(Box::new(sinks)));
        }
        self
    }

    /// Sets the checker's clock, and takes a snapshot of the endpoint before something happens to it.
    fn snapshot(&self, now: Instant) -> Option<EndpointSnapshot> {
        self.checker.as_ref()?.set_clock(time(now));
        Some(EndpointSnapshot::of(&self.endpoint))
    }

    /// The endpoint.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The application.
    #[must_use]
    pub const fn app(&self) -> &A {
        &self.app
    }

    /// Does something with the application and the endpoint from outside; use with [`World::with_node`](datagram_sim::World::with_node).
    pub fn act<R>(&mut self, now: Time, act: impl FnOnce(&mut A, &mut Endpoint, Instant) -> R) -> R {
        let now = instant(now);
        let result = act(&mut self.app, &mut self.endpoint, now);
        self.round(now);
        result
    }

    /// The first violation of the driving contract that was seen, if any.
    #[must_use]
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// What the first few sessions have in flight. Those of a crowd are not watched: that would take too long.
    fn outstanding(&self) -> Watched<(SessionHandle, u64)> {
        let stats = |session| Some((session, self.endpoint.session(session)?.stats().outstanding));
        watched(self.endpoint.sessions().take(WATCHED).filter_map(stats))
    }

    fn check_window(&mut self, now: Instant, before: &Watched<(SessionHandle, u64)>) {
        for &(session, before) in before.iter().flatten() {
            let Some(stats) = self.endpoint.session(session).map(|view| view.stats()) else { continue };
            if exceeds_window(before, stats.outstanding, stats.cwnd) {
                let (flight, window) = (stats.outstanding, stats.cwnd);
                self.violation.get_or_insert_with(|| {
                    format!("I3 (RFC 7016 §3.5.2): {now:?}: {flight} bytes in flight with a window of {window}")
                });
            }
        }
    }

    /// Who is asked to yield grows slowly.
    fn check_growth(&mut self, now: Time) {
        let Some(checker) = &self.checker else { return };
        for session in self.endpoint.sessions().take(WATCHED) {
            let Some(view) = self.endpoint.session(session) else { continue };
            let stats = view.stats();
            let round_trip = Duration(u64::try_from(stats.srtt.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX));
            let notices = checker.notices(view.near_nonce());
            let fault = self.yielding.entry(session).or_default().judge(now, notices, (stats.cwnd, round_trip));
            if let Some(fault) = fault {
                checker.report_violation(&format!("{fault}, {}", checker.name()));
            }
        }
    }

    /// Key agreements, which take no time here, events to the application, and its own deadline, until all are quiet.
    fn round(&mut self, now: Instant) {
        loop {
            while let Some(job) = self.endpoint.poll_key_agreement() {
                self.endpoint.handle_key_agreement(now, job.run());
            }
            while let Some(event) = self.endpoint.poll_event() {
                self.app.on_event(now, &mut self.endpoint, event);
            }
            if self.app.next_timeout().is_none_or(|due| due > now) {
                return;
            }
            self.app.on_wake(now, &mut self.endpoint);
            if self.app.next_timeout().is_some_and(|due| due <= now) {
                self.violation.get_or_insert_with(|| format!("{now:?}: the application's deadline is not after now"));
                return;
            }
        }
    }
}

/// The driving contract: after `handle_timeout(now)` there is no deadline at or before now.
fn left_due(now: Instant, due: Option<Instant>, reason: impl FnOnce() -> Option<&'static str>) -> Option<String> {
    let due = due.filter(|&due| due <= now)?;
    let reason = reason().unwrap_or("no reason");
    Some(format!("{now:?}: after handle_timeout the deadline is {due:?} ({reason})"))
}

pub(crate) const fn ecn_out(ecn: Option<rtmfp_core::Ecn>) -> Ecn {
    match ecn {
        None => Ecn::NotEct,
        Some(rtmfp_core::Ecn::Ect0) => Ecn::Ect0,
        Some(rtmfp_core::Ecn::Ect1) => Ecn::Ect1,
        Some(rtmfp_core::Ecn::Ce) => Ecn::Ce,
    }
}

impl<A: App + 'static> Node for EndpointNode<A> {
    fn on_start(&mut self, now: Time) {
        let now = instant(now);
        self.app.on_wake(now, &mut self.endpoint);
        self.round(now);
    }

    fn on_datagram(&mut self, now: Time, meta: &RxMeta, bytes: &mut [u8]) {
        let now = instant(now);
        let path = Path::new(self.interface(meta), meta.remote);
        let received = RecvMeta { ecn: rtmfp_core::Ecn::from_bits(meta.ecn as u8) };
        let before = self.snapshot(now);
        if let Some(checker) = &self.checker {
            checker.begin_datagram();
        }
        let disposition = self.endpoint.handle_datagram(now, path, received, bytes);
        if let (Some(checker), Some(before)) = (&self.checker, before) {
            before.check_datagram(&EndpointSnapshot::of(&self.endpoint), path, disposition, checker);
            self.check_growth(time(now));
        }
        self.round(now);
    }

    fn on_timeout(&mut self, now: Time) {
        let now = instant(now);
        let before = self.snapshot(now);
        self.endpoint.handle_timeout(now);
        if let (Some(checker), Some(before)) = (&self.checker, before) {
            before.check_timeout(&EndpointSnapshot::of(&self.endpoint), checker);
        }
        if let Some(fault) = left_due(now, self.endpoint.poll_timeout(), || self.endpoint.timeout_reason()) {
            self.violation.get_or_insert(fault);
        }
        self.round(now);
    }

    fn on_network_change(&mut self, now: Time, change: NetChange) {
        // What routers say of sizes proves nothing, and an interface that is gone is nothing to probe.
        if let NetChange::InterfaceUp { interface, .. } = change {
            let now = instant(now);
            self.endpoint.interface_changed(now, InterfaceId(interface));
            self.round(now);
        }
    }

    fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        while self.flight.left.is_empty() {
            let now = instant(now);
            if let Some(checker) = &self.checker {
                checker.set_clock(time(now));
            }
            let before = self.outstanding();
            self.recorder.iter().for_each(PacketRecorder::begin_flight);
            let transmit = self.endpoint.poll_transmit(now, &mut self.buf)?;
            self.check_window(now, &before);
            if self.app.carries(transmit.path.interface) {
                let Self { app, endpoint, buf, .. } = self;
                buf.datagrams().for_each(|datagram| app.carry(now, endpoint, transmit.path, datagram));
                continue;
            }
            let interface = transmit.path.interface;
            let (on, port) = self.sockets.get(&interface).copied().unwrap_or((interface.0, self.port));
            let mut tx = Tx::new(port, transmit.path.remote);
            tx.interface = Some(on);
            tx.ecn = ecn_out(transmit.ecn);
            tx.dont_fragment = !transmit.may_fragment;
            let segment = transmit.segment_size.unwrap_or(transmit.len).max(1);
            self.flight = Flight { left: 0..transmit.len, segment, tx: Some(tx) };
        }
        let (tx, datagram) = self.flight.next()?;
        let datagram = self.buf.as_slice().get(datagram).unwrap_or_default();
        self.recorder.iter().for_each(|recorder| recorder.keep(datagram));
        out.extend_from_slice(datagram);
        Some(tx)
    }

    fn poll_timeout(&self) -> Option<Time> {
        let deadlines = [self.endpoint.poll_timeout(), self.app.next_timeout()];
        deadlines.into_iter().flatten().min().map(|due| time(due) + self.late)
    }

    fn observe(&self, sink: &mut dyn Sink) {
        for (index, session) in (0..).zip(self.endpoint.sessions()) {
            let Some(session) = self.endpoint.session(session) else { continue };
            let stats = session.stats();
            let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            let nanos = |span: core::time::Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
            sink.gauge("cwnd", index, number(stats.cwnd));
            sink.gauge("flight", index, number(stats.outstanding));
            sink.gauge("srtt", index, stats.srtt.map_or(0, nanos));
            sink.gauge("erto", index, nanos(stats.erto));
        }
    }
}

#[cfg(all(test, feature = "files"))]
mod tests {
    use super::*;
    use rtmfp_core::Event;

    #[test]
    fn data_sent_beyond_the_window_is_seen() {
        assert!(!exceeds_window(4_000, 4_380 + LARGEST_FRAGMENT, 4_380));
        assert!(exceeds_window(4_000, 4_380 + LARGEST_FRAGMENT + 1, 4_380));
        // The window got smaller, and nothing was sent.
        assert!(!exceeds_window(9_000, 9_000, 4_380));
    }

    #[test]
    fn a_deadline_that_handle_timeout_leaves_due_is_seen() {
        let at = Instant::from_millis;
        let fault = |due| left_due(at(5), due, || Some("startup"));
        assert_eq!((fault(None), fault(Some(at(6)))), (None, None));
        for due in [at(4), at(5)] {
            assert!(fault(Some(due)).is_some_and(|fault| fault.ends_with("(startup)")));
        }
    }

    /// Wants to be woken in an instant that never passes.
    #[derive(Debug)]
    struct Impatient;

    impl App for Impatient {
        fn on_event(&mut self, _now: Instant, _endpoint: &mut Endpoint, _event: Event) {}
        fn next_timeout(&self) -> Option<Instant> {
            Some(Instant::ORIGIN)
        }
    }

    #[test]
    fn a_deadline_that_is_served_and_stays_is_seen() {
        let mut node = EndpointNode::new(crate::rtmfp::tests::endpoint(), Impatient, 1);
        assert_eq!(node.violation(), None);
        node.on_start(Time::ZERO);
        assert!(node.violation().is_some_and(|violation| violation.contains("is not after now")));
    }
}
