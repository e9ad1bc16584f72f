//! Guests that are reached over the relay alone, though nothing is between the two: neither learns an address of the other.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use datagram_sim::{NodeId, Observer, Record, RecordKind, Time, World};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{Endpoint, EndpointConfig, Instant};
use rtmfp_meet::{GuestOptions, PathKind, PathPolicy};
use rtmfp_sim::rtmfp::{EndpointNode, SimRandom};

use super::guest::{PORT, Program};
use super::world;

/// Counts what two hosts send to each other's address.
struct Between([IpAddr; 2], Arc<AtomicUsize>);

impl Observer for Between {
    fn on_record(&mut self, record: &Record, _bytes: &[u8]) {
        let Self([one, other], count) = self;
        let Some(ends) = record.packet.map(|packet| [packet.src.ip(), packet.dst.ip()]) else { return };
        if record.kind == RecordKind::Sent && (ends == [*one, *other] || ends == [*other, *one]) {
            count.fetch_add(1, SeqCst);
        }
    }
}

/// Another program in the place of one, with a policy for all that it does.
fn replace(world: &mut World, node: NodeId, name: &str, policy: PathPolicy) {
    let mut options = GuestOptions::default();
    options.policy = policy;
    let profile = PlainProfile::new(name.as_bytes()).pretend_authentic(true);
    let rng = SimRandom::new(world.key(name, "endpoint again"));
    let endpoint = Endpoint::new(EndpointConfig::default(), Arc::new(profile), Box::new(rng), Instant::ORIGIN).unwrap();
    let guest = Box::new(SimRandom::new(world.key(name, "guest again")));
    world.replace_node(node, Box::new(EndpointNode::new(endpoint, Program::told_when(None, options, guest), PORT)));
}

#[test]
fn a_guest_that_is_reached_over_the_relay_alone_sends_no_datagram_to_its_peer() {
    for (policy, hidden) in [(PathPolicy::RelayOnly, true), (PathPolicy::Any, false)] {
        let (mut world, [ada, ben]) = world(3, [None, None], 20, PathPolicy::Any);
        replace(&mut world, ben, "ben", policy);
        let count = Arc::new(AtomicUsize::new(0));
        let addresses = [ada, ben].map(|host| world.addresses(host, 0)[0]);
        drop(world.observe_with(Box::new(Between(addresses, Arc::clone(&count)))));
        world.run_until(Time(30_000_000_000)).unwrap();
        let [ada, ben] = [ada, ben].map(|id| world.node::<EndpointNode<Program>>(id).map(EndpointNode::app).unwrap());
        assert_eq!(ben.got.len(), 20, "{policy:?}: {:#?}", (&ada.told, &ben.told));
        let kind = if hidden { PathKind::Relayed } else { PathKind::Direct };
        assert_eq!(ada.kinds().last(), Some(&kind));
        assert_eq!(count.load(SeqCst) == 0, hidden, "{policy:?}");
    }
}
