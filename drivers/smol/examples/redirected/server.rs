//! What a server tells a redirector: who it is, and that clients may come. The protocol is described in `namespace.ttl` of
//! rtmfp-cpp. Each end sends messages on a flow of its own, and the first byte of a message is its kind.

use std::net::SocketAddr;

use futures_lite::future;
use hmac::{Hmac, KeyInit, Mac, digest::InvalidLength};
use rtmfp_smol::core::wire::{Address, Cursor, encode_option, vlu};
use rtmfp_smol::{Error, FlowOptions, RecvFlow, Registration, RegistrationEvent, SendFlow, Session};
use sha2::Sha256;

/// The metadata of both flows.
pub(crate) const METADATA: &[u8] = b"http://zenomt.com/ns/rtmfp#redirector";

/// To the redirector: proves a password.
pub(crate) const AUTHENTICATION: u8 = 0x1d;
/// To the redirector: clients may come, and these are the addresses to send them to.
pub(crate) const SETTINGS: u8 = 0x05;
/// To the redirector: send no more clients, except those who ask for this server's peer ID.
pub(crate) const DRAINING: u8 = 0x00;
/// To the redirector: how busy this server is, compared with others.
pub(crate) const LOAD_FACTOR: u8 = 0x0f;
/// From the redirector: the address that it sees this server at. Also the option of the settings that asks it to send
/// clients there.
pub(crate) const REFLEXIVE_ADDRESS: u8 = 0x0d;
/// An option of the settings: another address to send clients to.
pub(crate) const OTHER_ADDRESS: u8 = 0x0a;

/// The code that a flow is rejected with if the password is wrong or missing.
pub(crate) const BAD_AUTHENTICATION: u64 = 0x0a;

/// Who may register servers.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Account {
    /// What proves the password to the redirector with this near nonce: in this session, and in no other.
    pub(crate) fn proof(&self, nonce: &[u8]) -> Result<Hmac<Sha256>, InvalidLength> {
        Ok(Hmac::new_from_slice(self.password.as_bytes())?.chain_update(nonce))
    }

    pub(crate) fn authentication(&self, nonce: &[u8]) -> Result<Vec<u8>, InvalidLength> {
        let mut message = vec![AUTHENTICATION];
        message.extend(self.proof(nonce)?.finalize().into_bytes());
        message.extend_from_slice(self.user.as_bytes());
        Ok(message)
    }
}

/// The address that the redirector sees, and others.
pub(crate) fn settings(others: &[Address]) -> Vec<u8> {
    let mut message = vec![SETTINGS];
    encode_option(REFLEXIVE_ADDRESS.into(), &[], &mut message);
    for address in others {
        let mut value = Vec::new();
        address.encode(&mut value);
        encode_option(OTHER_ADDRESS.into(), &value, &mut message);
    }
    message
}

pub(crate) fn load_factor(load: u64) -> Vec<u8> {
    let mut message = vec![LOAD_FACTOR];
    vlu::encode(load, &mut message);
    message
}

/// A place among the servers of a redirector. Dropped, it is given up.
pub(crate) struct Place {
    to: SendFlow,
    /// A flow that is dropped is rejected, and the redirector takes that for the end.
    from: RecvFlow,
}

impl Place {
    /// Tells the redirector something: new [`settings`], a [`load_factor`], or that this server is [`DRAINING`].
    pub(crate) async fn tell(&self, message: impl Into<Vec<u8>>) -> Result<(), Error> {
        self.to.send(message.into()).await
    }

    /// The address that the redirector sees this server at. It is told again when it changes.
    pub(crate) async fn seen_at(&self) -> Result<Option<SocketAddr>, Error> {
        while let Some(message) = self.from.recv().await? {
            if let Some((&REFLEXIVE_ADDRESS, address)) = message.data.split_first() {
                return Ok(Address::parse(&mut Cursor::new(address)).ok().map(|address| address.socket));
            }
        }
        Ok(None)
    }

    /// Waits until the place is lost, and tells why.
    pub(crate) async fn lost(&self) -> Error {
        self.to.closed().await
    }
}

/// Asks the redirector at the far end of a session for a place, and waits until it is given.
async fn ask(session: &Session, account: &Account) -> Result<Place, Error> {
    let to = session.open_flow(FlowOptions::new(METADATA));
    let nonce = session.far_nonce().await.ok_or(Error::Closed)?;
    // An HMAC takes keys of any length.
    to.send(account.authentication(&nonce).unwrap_or_default()).await?;
    to.send(settings(&[])).await?;
    to.send(load_factor(0)).await?;
    let answered = async {
        loop {
            let flow = session.accept_flow().await?;
            if flow.is_return_to(&to) {
                return Ok(flow);
            }
        }
    };
    let from = future::or(async { Err(to.closed().await) }, answered).await?;
    Ok(Place { to, from })
}

/// Waits until this end is registered, and has a place among the servers. After a loss it is the same again: the
/// registration opens another session by itself, and that one has other nonces.
///
/// # Errors
/// [`Rejected`](Error::Rejected) with [`BAD_AUTHENTICATION`] or another code, or [`Stopped`](Error::Stopped).
pub(crate) async fn join(registration: &Registration, account: &Account) -> Result<Place, Error> {
    while let Some(event) = registration.next_event().await {
        if let (RegistrationEvent::Registered, Some(session)) = (event, registration.session()) {
            match ask(&session, account).await {
                // The next event tells of it.
                Err(Error::SessionClosed(_) | Error::Closed) => {}
                result => return result,
            }
        }
    }
    Err(Error::Stopped)
}
