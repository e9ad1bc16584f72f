//! Makes the hosts of a world that run no endpoint.

use datagram_sim::attack::{Flooder, Payload, Spoofer};
use datagram_sim::cross::{Cbr, PACKET, Receiver, Sender, ShortFlows};
use datagram_sim::{Key, Node, Stream, Time};
use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::{Endpoint, EndpointConfig, Instant, InterfaceId, Path, Target, TransmitBuf};

use super::cryptography::{Crypto, new_profile, of};
use super::{Players, RunOptions};
use crate::rtmfp::SimRandom;
use crate::scenario::build::{Map, PORT};
use crate::scenario::{Forgery, Role, Scenario, ScenarioError};

/// The port that cross traffic and forged sources begin with.
const FIRST_PORT: u16 = 5_000;
/// How many different hellos a flood has.
const HELLOS: u32 = 16;
/// The MTU that forged signals claim: less than any path may have.
const CLAIMED_MTU: u32 = 100;
const FIRST_STRANGER: u32 = 2_000_000;

fn address(map: &Map, name: &str, port: u16) -> Result<core::net::SocketAddr, ScenarioError> {
    let address = map.reach.get(name).ok_or_else(|| ScenarioError(format!("`{name}` has no address")))?;
    Ok((*address, port).into())
}

/// Datagrams with hellos for the owner of this profile, each of another stranger.
fn hellos(victim: &dyn CryptoProfile, crypto: Crypto) -> Result<Vec<Vec<u8>>, ScenarioError> {
    let name = victim.canonical_discriminator(victim.certificate());
    let path = Path::new(InterfaceId(0), ([198, 18, 0, 1], PORT).into());
    let hello = |stranger: u32| {
        let profile = new_profile(FIRST_STRANGER + stranger, crypto)?;
        let rng = Box::new(SimRandom::new(Key::mix(stranger.into(), "stranger", "endpoint")));
        let wrong = |error: &dyn core::fmt::Display| ScenarioError(format!("a stranger's hello: {error}"));
        let now = Instant::ORIGIN;
        let mut endpoint =
            Endpoint::new(EndpointConfig::default(), profile, rng, now).map_err(|error| wrong(&error))?;
        endpoint.open(now, Target::new(name.clone(), path)).map_err(|error| wrong(&error))?;
        let mut buf = TransmitBuf::new(1);
        let len = endpoint.poll_transmit(now, &mut buf).map_or(0, |transmit| transmit.len);
        Ok(buf.as_slice().get(..len).unwrap_or_default().to_vec())
    };
    (0..HELLOS).map(hello).collect()
}

fn payload(what: Forgery, victim: &dyn CryptoProfile, crypto: Crypto) -> Result<Payload, ScenarioError> {
    let hellos = if what == Forgery::Hello { hellos(victim, crypto)? } else { Vec::new() };
    Ok(Box::new(move |number: u64, stream: &mut Stream, out: &mut Vec<u8>| match hellos.len() as u64 {
        0 => {
            let len = 12 + stream.below(1_200);
            out.resize(usize::try_from(len).unwrap_or(12), 0);
            stream.fill(out);
        }
        several => {
            let which = usize::try_from(number % several).unwrap_or(0);
            out.extend_from_slice(hellos.get(which).map(Vec::as_slice).unwrap_or_default());
        }
    }))
}

/// The node of a role.
pub(super) fn make(
    scenario: &Scenario,
    map: &Map,
    players: &Players,
    options: &RunOptions,
    (name, role): (&str, &Role),
) -> Result<Box<dyn Node>, ScenarioError> {
    let stream = Key::mix(options.seed, name, "role").stream();
    let end = Time(scenario.duration.0.0);
    let forged = |what: Forgery, victim: &String| {
        let player = players.get(victim).ok_or_else(|| ScenarioError(format!("`{victim}` runs no endpoint")))?;
        payload(what, player.profile.as_ref(), of(scenario, victim, options))
    };
    Ok(match role {
        Role::Sink => Box::new(Receiver::new()),
        Role::Transfer { to, control, start, bytes } => {
            let packets = bytes.map(|bytes| bytes.0.div_ceil(PACKET.into()));
            let to = address(map, to, PORT)?;
            Box::new(Sender::bulk((*control).into(), FIRST_PORT, to, Time(start.0.0), packets))
        }
        Role::Short { to, control, start, gap, bytes } => {
            let flows = ShortFlows {
                to: address(map, to, PORT)?,
                mean_gap: gap.0,
                mean_packets: bytes.0.div_ceil(PACKET.into()),
                control: (*control).into(),
                stream,
            };
            Box::new(Sender::short(flows, Time(start.0.0)))
        }
        Role::Constant { to, rate, start, until, on, off } => {
            let times = (Time(start.0.0), until.map_or(end, |until| Time(until.0.0)));
            let steady = Cbr::new(FIRST_PORT, address(map, to, PORT)?, rate.0, PACKET, times);
            match (on, off) {
                (Some(on), Some(off)) => Box::new(steady.on_off(on.0, off.0, stream)),
                _ => Box::new(steady),
            }
        }
        Role::Flood { victim, what, per_second, sources, start, until } => {
            let times = (Time(start.0.0), until.map_or(end, |until| Time(until.0.0)));
            let from = (address(map, name, FIRST_PORT)?, sources.unwrap_or(1_000));
            let bytes = forged(*what, victim)?;
            Box::new(Flooder::new(address(map, victim, PORT)?, from, *per_second, times, stream, bytes))
        }
        Role::Spoof { victim, claims, what, every, count, start } => {
            let ends = (address(map, claims, PORT)?, address(map, victim, PORT)?);
            let bytes = forged(*what, victim)?;
            let spoofer = Spoofer::new(ends, Time(start.0.0), every.0, count.unwrap_or(1_000), stream, bytes);
            Box::new(if *what == Forgery::TooBig { spoofer.too_big(CLAIMED_MTU) } else { spoofer })
        }
    })
}
