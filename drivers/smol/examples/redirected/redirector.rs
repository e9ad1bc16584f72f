//! A redirector that spreads clients over servers: the far side of `server.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_lite::{StreamExt, future};
use hmac::Mac;
use rtmfp_smol::core::wire::{Address, AddressOrigin, Cursor, Malformed, Options, RawOption};
use rtmfp_smol::profile::flash::Discriminator;
use rtmfp_smol::{Endpoint, Error, FlowOptions, Introduction, Message, RecvFlow, Session};

use super::server::{
    AUTHENTICATION, Account, BAD_AUTHENTICATION, DRAINING, LOAD_FACTOR, METADATA, OTHER_ADDRESS, REFLEXIVE_ADDRESS,
    SETTINGS,
};

const REFLEXIVE_OPTION: u64 = REFLEXIVE_ADDRESS as u64;
const OTHER_OPTION: u64 = OTHER_ADDRESS as u64;

struct Redirector {
    accounts: Vec<Account>,
    /// By the numbers of their sessions. Who has not proved a password is not among them.
    servers: Mutex<BTreeMap<u64, Server>>,
}

struct Server {
    session: Session,
    load: u64,
    /// Whether clients may be sent to it who do not ask for its peer ID.
    active: bool,
    /// Whether the address that its packets come from is one for clients.
    reflexive: bool,
    others: Vec<SocketAddr>,
}

/// Redirects until the endpoint stops. That must have been built with
/// [`IntroducePolicy::Ask`](rtmfp_smol::IntroducePolicy::Ask).
pub(crate) async fn run(endpoint: Endpoint, accounts: Vec<Account>) {
    let redirector = Arc::new(Redirector { accounts, servers: Mutex::default() });
    let registering = async {
        let mut number = 0;
        while let Some(session) = endpoint.accept().await {
            number += 1;
            let redirector = Arc::clone(&redirector);
            let serving = async move {
                // Whatever its end is, the server has no place any more.
                let _ = redirector.register(number, session).await;
                redirector.servers().remove(&number);
            };
            smol::spawn(serving).detach();
        }
    };
    let redirecting = async {
        let mut requests = endpoint.introductions();
        while let Some(request) = requests.next().await {
            redirector.redirect(&request).await;
        }
    };
    future::zip(registering, redirecting).await;
}

impl Redirector {
    fn servers(&self) -> MutexGuard<'_, BTreeMap<u64, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the messages of a server until the flow's end.
    async fn register(&self, number: u64, session: Session) -> Result<(), Error> {
        let flow = session.accept_flow().await?;
        if flow.metadata() != METADATA {
            return refuse(flow, 0);
        }
        let nonce = session.near_nonce().await.ok_or(Error::Closed)?;
        let (mut authentic, mut answering) = (false, None);
        while let Some(Message { data, .. }) = flow.recv().await? {
            match data.split_first() {
                None => continue,
                Some((&AUTHENTICATION, proof)) => match self.check(&nonce, proof) {
                    Some(true) => authentic = true,
                    Some(false) => return refuse(flow, BAD_AUTHENTICATION),
                    None => {}
                },
                Some(_) if !authentic => return refuse(flow, BAD_AUTHENTICATION),
                Some((&kind, rest)) => {
                    if self.update(number, &session, kind, rest).is_err() {
                        return refuse(flow, 0);
                    }
                    if answering.is_none() {
                        let answer = flow.open_return_flow(FlowOptions::new(METADATA));
                        answer.send(seen_at(&session)).await?;
                        answering = Some(answer);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the proof is right; `None` if it is of an unknown user.
    fn check(&self, nonce: &[u8], proof: &[u8]) -> Option<bool> {
        let (proof, user) = proof.split_at_checked(32)?;
        let account = self.accounts.iter().find(|account| account.user.as_bytes() == user)?;
        Some(account.proof(nonce).ok()?.verify_slice(proof).is_ok())
    }

    fn update(&self, number: u64, session: &Session, kind: u8, rest: &[u8]) -> Result<(), Malformed> {
        let mut servers = self.servers();
        let server = servers.entry(number).or_insert_with(|| Server {
            session: session.clone(),
            load: 0,
            active: false,
            reflexive: false,
            others: Vec::new(),
        });
        match kind {
            SETTINGS => {
                (server.active, server.reflexive) = (true, false);
                server.others.clear();
                for option in Options::new(rest) {
                    match option? {
                        RawOption::Option { kind: REFLEXIVE_OPTION, .. } => server.reflexive = true,
                        RawOption::Option { kind: OTHER_OPTION, value } => {
                            server.others.push(Address::parse(&mut Cursor::new(value))?.socket);
                        }
                        RawOption::Option { .. } | RawOption::Marker => {}
                    }
                }
                // More are not sent to clients either.
                server.others.truncate(23);
            }
            DRAINING => server.active = false,
            LOAD_FACTOR => server.load = Cursor::new(rest).vlu()?,
            _ => {}
        }
        Ok(())
    }

    /// Tells a client where a server is, and the server that the client calls. Others are not answered.
    async fn redirect(&self, request: &Introduction) {
        let server = self.server_for(request);
        // The client is told first. What it sends then opens its NAT for what the server sends.
        if let Some((addresses, session)) = server
            && request.redirect(&addresses).await
        {
            request.forward(&session).await;
        }
    }

    /// The server that a client asks for, or the one with the least load.
    fn server_for(&self, request: &Introduction) -> Option<(Vec<SocketAddr>, Session)> {
        let servers = self.servers();
        let server = match request.peer_id() {
            Some(peer_id) => servers.values().find(|server| server.session.peer_id() == Some(peer_id))?,
            None => {
                Discriminator::parse(request.discriminator()).ok()?.required_ancillary_data()?;
                servers.values().filter(|server| server.active).min_by_key(|server| server.load)?
            }
        };
        let seen_at = server.session.remote_addr().filter(|_| server.reflexive);
        let addresses: Vec<_> = seen_at.into_iter().chain(server.others.iter().copied()).collect();
        // An answer without addresses would mean this endpoint's own (RFC 7016 §3.5.1.4).
        (!addresses.is_empty()).then(|| (addresses, server.session.clone()))
    }
}

fn refuse(flow: RecvFlow, code: u64) -> Result<(), Error> {
    flow.reject(code);
    Ok(())
}

/// What tells a server its address.
fn seen_at(session: &Session) -> Vec<u8> {
    let mut message = vec![REFLEXIVE_ADDRESS];
    if let Some(socket) = session.remote_addr() {
        Address { origin: AddressOrigin::Observed, socket }.encode(&mut message);
    }
    message
}
