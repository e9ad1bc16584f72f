//! What is wanted of the server: when it is asked for, and in which order.

use alloc::collections::BTreeMap;
use core::time::Duration;

use rtmfp_core::{Instant, SessionHandle};

use super::Ticket;
use crate::rates::{Rate, after_one_more};

/// Requests that wait for an answer at once. A [`Client`](crate::Client) remembers more, so it forgets none of them.
const MAX_ASKED: usize = 192;
/// Wishes beyond which no circuits for open sessions are added: those come again.
const MAX_DUE: usize = 512;
/// How often a circuit for an open session is asked for. It is a third of what a server grants one source by default, so
/// that numbers, tokens and connections have the rest.
const RENEWALS: Rate = Rate { burst: 8, every: Duration::from_secs(9) };

/// What a question to the server is for. What is less is asked for first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Asked {
    Token,
    Number(Ticket),
    Find(Ticket),
    /// Whether the peer of an attempt is there.
    Peer(Ticket),
    /// A circuit for an attempt.
    Circuit(Ticket),
    /// A circuit for a session that is open.
    Renewal(SessionHandle),
}

/// What is to be asked for, and what was and has no answer yet.
#[derive(Debug)]
pub(super) struct Wishes {
    /// What is to be asked for, and not before when.
    due: BTreeMap<Asked, Instant>,
    /// Requests without an answer, and until when one is waited for. All wait equally long, so the first ends first.
    asked: BTreeMap<u64, (Asked, Instant)>,
    /// The flow to the server had no room. It tells when it has.
    is_blocked: bool,
    /// When as many renewals as ever may be asked for at once.
    renewals_whole_at: Instant,
}

impl Wishes {
    pub(super) const fn new() -> Self {
        Self { due: BTreeMap::new(), asked: BTreeMap::new(), is_blocked: false, renewals_whole_at: Instant::ORIGIN }
    }

    /// Forgets all, for another session with the server.
    pub(super) fn clear(&mut self) {
        self.due.clear();
        self.asked.clear();
        self.is_blocked = false;
    }

    /// Wants something, not before this time. What is wanted already keeps its time, and what was asked for is not asked
    /// for twice.
    pub(super) fn want(&mut self, what: Asked, at: Instant) {
        let is_renewal = matches!(what, Asked::Renewal(_));
        if self.is_asked(what) || is_renewal && self.due.len() >= MAX_DUE {
            return;
        }
        self.due.entry(what).or_insert(at);
    }

    /// Wants it now, whatever was said before about the same.
    pub(super) fn want_anew(&mut self, what: Asked, now: Instant) {
        self.due.insert(what, now);
    }

    fn is_asked(&self, what: Asked) -> bool {
        self.asked.values().any(|(asked, _)| *asked == what)
    }

    /// Whether the answer is not there yet.
    pub(super) fn is_open(&self, what: Asked) -> bool {
        self.due.contains_key(&what) || self.is_asked(what)
    }

    /// What is to be asked for now.
    pub(super) fn next(&self, now: Instant) -> Option<Asked> {
        // Without the token the server would refuse the others for good.
        let waits = self.due.get(&Asked::Token).is_some_and(|at| *at > now);
        if waits || self.is_blocked || self.asked.len() >= MAX_ASKED {
            return None;
        }
        let first = self.due.iter().find(|(_, at)| **at <= now).map(|(what, _)| *what);
        first.filter(|what| !matches!(what, Asked::Renewal(_)) || self.wait_for_renewal(now).is_zero())
    }

    fn wait_for_renewal(&self, now: Instant) -> Duration {
        after_one_more(RENEWALS, now, self.renewals_whole_at).err().unwrap_or_default()
    }

    /// It was asked for.
    pub(super) fn asked(&mut self, now: Instant, what: Asked, request: u64, until: Instant) {
        self.due.remove(&what);
        self.asked.insert(request, (what, until));
        if matches!(what, Asked::Renewal(_))
            && let Ok(whole_at) = after_one_more(RENEWALS, now, self.renewals_whole_at)
        {
            self.renewals_whole_at = whole_at;
        }
    }

    /// The flow takes no more, or takes more again.
    pub(super) const fn set_blocked(&mut self, is_blocked: bool) {
        self.is_blocked = is_blocked;
    }

    /// What a request was for that is answered.
    pub(super) fn answered(&mut self, request: u64) -> Option<Asked> {
        self.asked.remove(&request).map(|(what, _)| what)
    }

    /// It is not to be asked for. What was asked for stays: a number or a circuit that comes is to be given back.
    pub(super) fn withdraw(&mut self, what: Asked) {
        self.due.remove(&what);
    }

    /// The answer is of no use to anybody. The request, if there was one.
    pub(super) fn forget(&mut self, what: Asked) -> Option<u64> {
        self.due.remove(&what);
        let request = self.asked.iter().find(|(_, (asked, _))| *asked == what).map(|(request, _)| *request)?;
        self.asked.remove(&request);
        Some(request)
    }

    /// Has the answer to a request for a number go to somebody else, if nobody wants it who has asked.
    pub(super) fn take_over(&mut self, from: impl Fn(Ticket) -> bool, to: Ticket) -> bool {
        let mut all = self.asked.values_mut().map(|(asked, _)| asked);
        let unwanted = all.find(|asked| matches!(**asked, Asked::Number(ticket) if from(ticket)));
        unwanted.map(|asked| *asked = Asked::Number(to)).is_some()
    }

    /// A request that gets no answer.
    pub(super) fn expire(&mut self, now: Instant) -> Option<(u64, Asked)> {
        let (request, (what, _)) = self.asked.first_key_value().filter(|(_, (_, until))| *until <= now)?;
        let expired = (*request, *what);
        self.asked.remove(&expired.0);
        Some(expired)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let expiry = self.asked.first_key_value().map(|(_, (_, until))| *until);
        if self.is_blocked || self.asked.len() >= MAX_ASKED {
            return expiry;
        }
        let due = self.due.get(&Asked::Token).copied().or_else(|| {
            let ready = |(what, at): (&Asked, &Instant)| {
                let is_renewal = matches!(what, Asked::Renewal(_));
                if is_renewal { *at + self.wait_for_renewal(*at) } else { *at }
            };
            self.due.iter().map(ready).min()
        });
        expiry.into_iter().chain(due).min()
    }
}
