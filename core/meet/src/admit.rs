//! Who may do what.

use core::net::SocketAddr;

use rtmfp_core::{Bytes, SessionHandle};

/// Whoever asks a rendezvous server for something, over a session.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Asker {
    /// Its session.
    pub session: SessionHandle,
    /// Where its packets come from.
    pub address: SocketAddr,
    /// Its Canonical Endpoint Discriminator.
    pub discriminator: Bytes,
    /// Whether the session proves that the discriminator is its own
    /// ([`far_owner_proved`](rtmfp_core::SessionRef::far_owner_proved)).
    pub proved: bool,
    /// Whether one of its tokens was accepted.
    pub accepted: bool,
}

/// Who may do what. Everything is allowed to everybody unless a method says otherwise; no token is accepted.
pub trait Admit {
    /// Whether a token holds. It must be compared in constant time.
    fn accepts_token(&mut self, _asker: &Asker, _token: &[u8]) -> bool {
        false
    }

    /// Whether somebody may use the server: have a number, find others, and be found. Asked before the other methods. It is
    /// told that a token is missing. Anybody may show one.
    fn may_use(&mut self, _asker: &Asker) -> bool {
        true
    }

    /// Whether somebody may have a number, under which others find it.
    fn may_have_number(&mut self, _asker: &Asker) -> bool {
        true
    }

    /// Whether somebody may find this peer and be introduced to it: by its discriminator, or by a number that it has.
    fn may_find(&mut self, _asker: &Asker, _discriminator: &[u8]) -> bool {
        true
    }

    /// Whether somebody may have datagrams relayed to and from this peer, if the server relays at all. Asked for those
    /// that it may find.
    fn may_relay(&mut self, _asker: &Asker, _discriminator: &[u8]) -> bool {
        true
    }

    /// Whether a hello for this peer may be answered though nobody at its address has found the peer, or has a circuit to
    /// it. `from` is not proved.
    fn may_be_introduced_unasked(&mut self, _from: SocketAddr, _discriminator: &[u8]) -> bool {
        true
    }
}

/// Allows everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Everybody;

impl Admit for Everybody {}
