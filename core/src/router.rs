//! Several uses of one endpoint: each is a service, and a router gives each what is its own.
//!
//! An endpoint is one identity, so uses that share an identity share an endpoint. A flow's metadata begins with the name
//! of its protocol, by which the router finds the service that is to have it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::app::App;
use crate::endpoint::Endpoint;
use crate::event::Event;
use crate::handle::{RecvFlowHandle, SendFlowHandle};
use crate::time::Instant;
use crate::transmit::{InterfaceId, Path};

/// The exception code of flows that no service claims (RFC 7016 §3.6.3.7): the protocol's own.
const NOBODY: u64 = 0;

/// One use of an endpoint that others use too: an application that gets only what is its own.
///
/// It hears of every session that opens, moves or ends, of unmatched hellos, of the receiving flows that it claims, and
/// of the sending flows that it owns. It must not close a session that it did not open: others may use it.
pub trait Service {
    /// Whether a flow with this metadata that a far end has begun is for this service. Of several services the one
    /// that was added first gets it.
    fn claims(&self, metadata: &[u8]) -> bool;

    /// Whether this service opened the flow, and has not heard of its end. Return flows to such a flow
    /// (RFC 7016 §2.3.11.1.2) are for this service, whatever their metadata. A service that opens none leaves this out.
    fn owns(&self, _flow: SendFlowHandle) -> bool {
        false
    }

    /// [`App::on_event`].
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event);

    /// [`App::on_wake`]: also when it is somebody else who is to be woken.
    fn on_wake(&mut self, _now: Instant, _endpoint: &mut Endpoint) {}

    /// [`App::carries`]. Of several services that carry an interface, the one that was added first does.
    fn carries(&self, _interface: InterfaceId) -> bool {
        false
    }

    /// [`App::carry`].
    fn carry(&mut self, _now: Instant, _endpoint: &mut Endpoint, _path: Path, _datagram: &[u8]) {}

    /// [`App::next_timeout`].
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// [`App::is_done`]. The endpoint stops when all services are done, unless there is a
    /// [fallback](Router::with_fallback), which decides then.
    fn is_done(&self) -> bool {
        false
    }
}

/// An application made of services.
#[derive(Default)]
pub struct Router {
    services: Vec<Box<dyn Service + Send>>,
    fallback: Option<Box<dyn App + Send>>,
    /// The service that has a receiving flow. It has as many entries as the endpoint has such flows, which are limited
    /// for each session.
    claimed: BTreeMap<RecvFlowHandle, usize>,
}

/// For whom an event is.
enum Recipient {
    Everybody,
    Service(usize),
    Fallback,
}

impl Router {
    /// Without services: it rejects every flow.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with one more service.
    #[must_use]
    pub fn with(mut self, service: Box<dyn Service + Send>) -> Self {
        self.services.push(service);
        self
    }

    /// The same, with an application for all that no service claims or owns. It hears of every session, as services do.
    #[must_use]
    pub fn with_fallback(mut self, app: Box<dyn App + Send>) -> Self {
        self.fallback = Some(app);
        self
    }

    /// Finds out for whom an event is. A flow that begins is given to a service.
    fn recipient(&mut self, endpoint: &Endpoint, event: &Event) -> Recipient {
        let service = match event {
            Event::FlowOpened { flow } => {
                let service = self.claimant(endpoint, *flow);
                if let Some(service) = service {
                    self.claimed.insert(*flow, service);
                }
                service
            }
            Event::FlowReadable { flow } => self.claimed.get(flow).copied(),
            Event::FlowFinished { flow, .. } => self.claimed.remove(flow),
            Event::FlowWritable { flow }
            | Event::FlowRejected { flow, .. }
            | Event::FlowCompleted { flow, .. }
            | Event::MessageDone { flow, .. } => self.owner(*flow),
            Event::SessionOpened { .. }
            | Event::SessionFailed { .. }
            | Event::SessionClosed { .. }
            | Event::SessionDrained { .. }
            | Event::SessionUpdated { .. }
            | Event::PathChanged { .. }
            | Event::UnmatchedHello { .. } => return Recipient::Everybody,
        };
        service.map_or(Recipient::Fallback, Recipient::Service)
    }

    fn claimant(&self, endpoint: &Endpoint, flow: RecvFlowHandle) -> Option<usize> {
        let flow = endpoint.recv_flow(flow)?;
        let answered = flow.association();
        let owner = answered.and_then(|answered| self.owner(answered));
        // What answers a flow of the fallback is for that.
        let is_answer = answered.is_some() && self.fallback.is_some();
        let by_name = || self.services.iter().position(|service| service.claims(flow.metadata()));
        owner.or_else(|| if is_answer { None } else { by_name() })
    }

    fn owner(&self, flow: SendFlowHandle) -> Option<usize> {
        self.services.iter().position(|service| service.owns(flow))
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("services", &self.services.len()).finish_non_exhaustive()
    }
}

impl App for Router {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match self.recipient(endpoint, &event) {
            Recipient::Everybody => {
                for service in &mut self.services {
                    service.on_event(now, endpoint, &event);
                }
                if let Some(fallback) = &mut self.fallback {
                    fallback.on_event(now, endpoint, event);
                }
            }
            Recipient::Service(index) => {
                if let Some(service) = self.services.get_mut(index) {
                    service.on_event(now, endpoint, &event);
                }
            }
            Recipient::Fallback => match (&mut self.fallback, event) {
                (Some(fallback), event) => fallback.on_event(now, endpoint, event),
                (None, Event::FlowOpened { flow }) => {
                    if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
                        flow.reject(NOBODY);
                    }
                }
                (None, _) => {}
            },
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for service in &mut self.services {
            service.on_wake(now, endpoint);
        }
        if let Some(fallback) = &mut self.fallback {
            fallback.on_wake(now, endpoint);
        }
    }

    fn carries(&self, interface: InterfaceId) -> bool {
        let fallback = self.fallback.as_ref().is_some_and(|app| app.carries(interface));
        fallback || self.services.iter().any(|service| service.carries(interface))
    }

    fn carry(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        match self.services.iter_mut().find(|service| service.carries(path.interface)) {
            Some(service) => service.carry(now, endpoint, path, datagram),
            None => {
                if let Some(fallback) = &mut self.fallback {
                    fallback.carry(now, endpoint, path, datagram);
                }
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let fallback = self.fallback.as_ref().and_then(|app| app.next_timeout());
        self.services.iter().filter_map(|service| service.next_timeout()).chain(fallback).min()
    }

    fn is_done(&self) -> bool {
        match &self.fallback {
            Some(app) => app.is_done(),
            None => self.services.iter().all(|service| service.is_done()),
        }
    }
}

#[cfg(test)]
mod tests;
