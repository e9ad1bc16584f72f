//! What a session is given by its endpoint, and tells it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;
use rand_core::CryptoRng;

use super::time_critical::TimeCriticalClock;
use crate::event::EventQueue;
use crate::profile::SessionKeys;
use crate::stats::EndpointStats;
use crate::time::Instant;
use crate::transmit::Path;

/// What an endpoint grants to one of its sessions, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    /// The most that may be received and kept.
    pub(crate) recv: usize,
    /// By how much all receive windows may grow.
    pub(crate) windows: usize,
    /// The most that may be queued to be sent.
    pub(crate) send: usize,
    /// While `send` is this much, a message of any size may be queued.
    pub(crate) ample: usize,
}

/// What a session takes of the memory of its endpoint, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) recv: usize,
    pub(crate) send: usize,
}

/// What a session is given for the time of one call.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) events: &'a mut EventQueue,
    /// For the session's own secrets (mobility) as needed.
    pub(crate) rng: &'a mut dyn CryptoRng,
    /// Time critical traffic over all sessions of the endpoint.
    pub(crate) time_critical: &'a mut TimeCriticalClock,
    /// Hellos forwarded to this end (§3.5.1.5), for the endpoint to answer after the call.
    pub(crate) forwarded: &'a mut VecDeque<ReceivedForward>,
    /// Counters that belong to the endpoint.
    pub(crate) stats: &'a mut EndpointStats,
}

/// An FIHello that arrived over a session.
#[derive(Debug)]
pub(crate) struct ReceivedForward {
    pub(crate) discriminator: Vec<u8>,
    pub(crate) reply_address: SocketAddr,
    pub(crate) tag: Vec<u8>,
    /// The forwarder, and the interface that it was heard on.
    pub(crate) via: Path,
}

/// All that a session needs to be in S_OPEN.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) keys: Box<dyn SessionKeys>,
    /// The session ID to put on packets to the far end.
    pub(crate) tx_id: u32,
    pub(crate) path: Path,
    pub(crate) far_certificate: Bytes,
}
