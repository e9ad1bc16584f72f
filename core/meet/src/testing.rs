//! What several tests need.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use core::net::SocketAddr;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::rand_core::SeedableRng as _;
use rtmfp_core::{Bytes, Endpoint, EndpointConfig, Instant, InterfaceId, Path, SessionHandle, Target};

pub(crate) fn generator(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

pub(crate) fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, u8::try_from(node).unwrap_or(u8::MAX)], 1935))
}

pub(crate) fn path_to(node: usize) -> Path {
    Path::new(InterfaceId(0), address(node))
}

pub(crate) fn name(node: usize) -> String {
    node.to_string()
}

pub(crate) fn endpoint(node: usize, config: EndpointConfig, authentic: bool) -> Endpoint {
    let profile = PlainProfile::new(name(node).as_bytes()).pretend_authentic(authentic);
    let rng = generator(u8::try_from(node).unwrap_or(u8::MAX));
    Endpoint::new(config, Arc::new(profile), Box::new(rng), Instant::ORIGIN)
        .unwrap_or_else(|error| unreachable!("{error}"))
}

/// Two sessions of an endpoint that never open.
pub(crate) fn sessions() -> (SessionHandle, SessionHandle) {
    let mut endpoint = endpoint(9, EndpointConfig::default(), true);
    let mut open = |name: &'static [u8]| {
        let target = Target { discriminator: Bytes::from_static(name), candidates: vec![(path_to(1), Duration::ZERO)] };
        endpoint.open(Instant::ORIGIN, target).ok()
    };
    open(b"a").zip(open(b"b")).unwrap_or_else(|| unreachable!("there is room for two"))
}

pub(crate) fn a_session() -> SessionHandle {
    sessions().0
}

pub(crate) fn another_session() -> SessionHandle {
    sessions().1
}
