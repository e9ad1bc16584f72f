//! Two who meet by a code: whoever made it offers, whoever was told it claims. Before the proof nothing is said or read
//! that is not the proof's.

mod claiming;
mod farewell;
mod finder;
mod input;
mod nearby;
mod offering;
mod receiving;
mod sending;

pub use claiming::Claiming;
pub use finder::{Finder, Found, Wanted};
pub use input::{Answers, refuse_in_arguments};
pub use offering::{NotUsed, Offering};
pub use receiving::{Decision, Offer, Receiving};
pub use sending::Sending;

use rtmfp_core::profile::Fingerprint;
use rtmfp_core::{Endpoint, Event, SessionHandle};
use rtmfp_std::peer_id_of;

/// The session that an event is about, or whose flow it is about.
pub(crate) const fn session_of(event: &Event) -> Option<SessionHandle> {
    match event {
        Event::SessionOpened { session }
        | Event::SessionFailed { session, .. }
        | Event::SessionClosed { session, .. }
        | Event::SessionDrained { session, .. }
        | Event::SessionUpdated { session }
        | Event::PathChanged { session, .. } => Some(*session),
        Event::FlowOpened { flow } | Event::FlowReadable { flow } | Event::FlowFinished { flow, .. } => {
            Some(flow.session())
        }
        Event::FlowWritable { flow }
        | Event::FlowRejected { flow, .. }
        | Event::FlowCompleted { flow, .. }
        | Event::MessageDone { flow, .. } => Some(flow.session()),
        Event::UnmatchedHello { .. } | _ => None,
    }
}

/// Who is at the far end of a session, once that is proved.
pub(crate) fn far_of(endpoint: &Endpoint, session: SessionHandle) -> Option<Fingerprint> {
    let session = endpoint.session(session).filter(|session| session.far_owner_proved())?;
    peer_id_of(session.far_certificate(), &session.far_canonical_discriminator())
}

/// What is announced in a network for the number of a code.
pub(crate) fn topic(number: u64) -> Vec<u8> {
    format!("code {number}").into_bytes()
}
