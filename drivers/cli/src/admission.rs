//! Finds places for the sessions that far ends open.

use core::net::{IpAddr, Ipv4Addr};

use rtmfp_core::{Endpoint, Instant, SessionHandle};
use rtmfp_std::{Admission, Places};

/// Sessions without a place that are kept for a moment, to be told that there is none.
const TURNED_AWAY: usize = 64;

/// What came of a session that has opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    /// Whether it has a place.
    pub(crate) has_place: bool,
    /// The session that must be closed for it, if one must.
    pub(crate) displaced: Option<SessionHandle>,
    /// The far end's address, for which its share is counted.
    pub(crate) address: IpAddr,
}

/// Asks for a place for a session that has opened. `turned_away` are the sessions without a place, and when each is to
/// be closed at the latest. If too many of them are there, the one that is due first is displaced.
pub(crate) fn admit(
    places: &mut Places<SessionHandle>,
    now: Instant,
    endpoint: &Endpoint,
    session: SessionHandle,
    turned_away: impl Iterator<Item = (SessionHandle, Instant)>,
) -> Admitted {
    let path = endpoint.session(session).and_then(|session| session.path());
    let address = path.map_or(Ipv4Addr::UNSPECIFIED.into(), |path| path.remote.ip());
    let (has_place, displaced) = match places.admit(now, session, address) {
        Admission::Admitted => (true, None),
        Admission::Replaced(holder) => (true, Some(holder)),
        Admission::Full => (false, first_of_too_many(turned_away)),
    };
    Admitted { has_place, displaced, address }
}

fn first_of_too_many(turned_away: impl Iterator<Item = (SessionHandle, Instant)>) -> Option<SessionHandle> {
    let (mut count, mut first) = (0, None);
    for (session, until) in turned_away {
        count += 1;
        if first.is_none_or(|(_, earliest)| until < earliest) {
            first = Some((session, until));
        }
    }
    first.filter(|_| count >= TURNED_AWAY).map(|(session, _)| session)
}
