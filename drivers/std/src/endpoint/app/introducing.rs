//! Hellos for others: introduces their senders, or lets the application decide.

use core::net::SocketAddr;

use rtmfp_core::wire::{Address, AddressOrigin};
use rtmfp_core::{Endpoint, Instant, UnmatchedHello};

use super::EndpointApp;
use crate::endpoint::introduction::{IntroducePolicy, IntroductionRequest};
use crate::endpoint::shared::{Introduce, lock};

impl EndpointApp {
    /// Introduces by this policy. Sessions that far ends open are kept then, though nobody holds them: it is for their
    /// sake that they are there.
    #[must_use]
    pub fn introduce(mut self, policy: IntroducePolicy) -> Self {
        lock(&self.shared.introductions).wanted = matches!(policy, IntroducePolicy::Ask);
        self.keeps_sessions = true;
        self.introduce = Some(policy);
        self
    }

    pub(super) fn unmatched_hello(&self, now: Instant, endpoint: &mut Endpoint, hello: UnmatchedHello) {
        match &self.introduce {
            // Strangers who ask for nobody do not make the application work.
            Some(IntroducePolicy::Authorise(authorise)) => {
                if endpoint.session_named(&hello.discriminator).is_some() && authorise(&IntroductionRequest::of(&hello))
                {
                    endpoint.introduce(now, &hello);
                }
            }
            Some(IntroducePolicy::Ask) => lock(&self.shared.introductions).push(now, hello),
            // The endpoint does it by itself.
            Some(IntroducePolicy::Connected) | None => {}
        }
    }
}

/// Does what the application has decided. False if that is not possible.
pub(super) fn answer(now: Instant, endpoint: &mut Endpoint, hello: &UnmatchedHello, how: Introduce) -> bool {
    match how {
        Introduce::Known => endpoint.introduce(now, hello),
        Introduce::Forward(session) => {
            let session = lock(&session.0).handle;
            session.is_some_and(|session| endpoint.forward(now, hello, session))
        }
        Introduce::Redirect(addresses) => endpoint.redirect(now, hello, &to_wire(&addresses)),
    }
}

fn to_wire(addresses: &[SocketAddr]) -> Vec<Address> {
    addresses.iter().map(|address| Address { origin: AddressOrigin::Unknown, socket: *address }).collect()
}
