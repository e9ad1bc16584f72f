//! Checks what a datagram or a timer changed in an endpoint, by snapshots from before and after.

use rtmfp_core::{Disposition, Endpoint, Instant, Path, SessionHandle, SessionState};

use super::invariant_checker::{Contents, InvariantChecker};

/// How many sessions of an endpoint are watched. More, as of a crowd, would take too long.
pub(super) const WATCHED: usize = 4;

/// Something of each session that is watched: in place, because it is asked for several times a datagram.
pub(super) type Watched<T> = [Option<T>; WATCHED];

/// Takes the first few.
pub(super) fn watched<T>(mut of: impl Iterator<Item = T>) -> Watched<T> {
    core::array::from_fn(|_| of.next())
}

/// Sessions are counted up to here.
const COUNTED: usize = 64;

/// What an endpoint shows of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct EndpointSnapshot {
    due: Option<Instant>,
    sessions: usize,
    watched: Watched<(SessionHandle, SessionState, Option<Path>, u64, u64)>,
}

impl EndpointSnapshot {
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        let stats = endpoint.sessions().take(WATCHED).filter_map(|session| {
            let view = endpoint.session(session)?;
            let stats = view.stats();
            Some((session, view.state(), view.path(), stats.cwnd, stats.outstanding))
        });
        Self {
            due: endpoint.poll_timeout(),
            sessions: endpoint.sessions().take(COUNTED).count(),
            watched: watched(stats),
        }
    }

    /// Checks what a datagram from `path` did.
    pub(super) fn check_datagram(
        &self,
        after: &Self,
        path: Path,
        disposition: Disposition,
        checker: &InvariantChecker,
    ) {
        for what in self.faults_of_datagram(after, path, disposition, checker.contents()) {
            checker.report_violation(&format!("{what}, {}", checker.name()));
        }
    }

    fn faults_of_datagram(
        &self,
        after: &Self,
        path: Path,
        disposition: Disposition,
        contents: Contents,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        if (!contents.opened || disposition == Disposition::Dropped) && self != after {
            faults.push(format!("I17 (RFC 7016 §5): a datagram that was dropped changed {self:?} to {after:?}"));
        }
        if contents.hello && after.sessions > self.sessions {
            faults.push("I6 (RFC 7016 §3.5.1.1.2): a hello made a session".to_owned());
        }
        faults.extend(self.moved(after).into_iter().filter(|&to| !contents.proves || to != path).map(|to| {
            format!("I5 (RFC 7016 §3.5.4.2): the far address became {} without an answer from there", to.remote)
        }));
        faults
    }

    /// Checks what a timer did.
    pub(super) fn check_timeout(&self, after: &Self, checker: &InvariantChecker) {
        for to in self.moved(after) {
            let name = checker.name();
            checker.report_violation(&format!(
                "I5 (RFC 7016 §3.5.4.2): the far address became {} by a timer, {name}",
                to.remote
            ));
        }
    }

    /// Where open sessions went.
    fn moved(&self, after: &Self) -> Vec<Path> {
        let mut to = Vec::new();
        for (session, state, path, ..) in self.watched.iter().flatten() {
            let later = after.watched.iter().flatten().find(|later| later.0 == *session);
            let later = later.filter(|later| *state == SessionState::Open && later.1 == SessionState::Open);
            to.extend(later.and_then(|later| later.2).filter(|path_now| path.is_some_and(|path| path != *path_now)));
        }
        to
    }
}

#[cfg(all(test, feature = "files"))]
mod tests {
    use super::*;
    use rtmfp_core::InterfaceId;

    fn path(port: u16) -> Path {
        Path::new(InterfaceId(0), ([192, 0, 2, 1], port).into())
    }

    /// One open session at port 1.
    #[expect(clippy::unwrap_used, reason = "a helper of tests; what is wrong ends the test")]
    fn snapshot() -> (EndpointSnapshot, SessionHandle) {
        let mut endpoint = crate::rtmfp::tests::endpoint();
        let session = endpoint.open(Instant::ORIGIN, rtmfp_core::Target::new(vec![1], path(1))).unwrap();
        let watched = watched([(session, SessionState::Open, Some(path(1)), 4_380, 0)].into_iter());
        (EndpointSnapshot { due: None, sessions: 1, watched }, session)
    }

    fn first(faults: &[String]) -> Option<&str> {
        faults.first().map(|fault| fault.split(' ').next().unwrap_or_default())
    }

    #[test]
    fn what_is_dropped_changes_nothing() {
        let (before, _) = snapshot();
        let after = EndpointSnapshot { due: Some(Instant::ORIGIN), ..before.clone() };
        let closed = Contents::default();
        let opened = Contents { opened: true, ..closed };
        let judge = |after, disposition, contents| before.faults_of_datagram(after, path(1), disposition, contents);
        assert_eq!(first(&judge(&after, Disposition::Processed, closed)), Some("I17"));
        assert_eq!(first(&judge(&after, Disposition::Dropped, opened)), Some("I17"));
        assert!(judge(&after, Disposition::Processed, opened).is_empty());
        assert!(judge(&before, Disposition::Dropped, closed).is_empty());
    }

    #[test]
    fn a_hello_makes_no_session() {
        let (before, _) = snapshot();
        let after = EndpointSnapshot { sessions: 2, ..before.clone() };
        let hello = Contents { opened: true, hello: true, ..Contents::default() };
        let faults = before.faults_of_datagram(&after, path(1), Disposition::Processed, hello);
        assert_eq!(first(&faults), Some("I6"));
        let other = Contents { hello: false, ..hello };
        assert!(before.faults_of_datagram(&after, path(1), Disposition::Processed, other).is_empty());
    }

    #[test]
    fn an_address_changes_by_an_answer_from_there() {
        let (before, session) = snapshot();
        let mut after = before.clone();
        after.watched = watched([(session, SessionState::Open, Some(path(2)), 4_380, 0)].into_iter());
        let answer = Contents { opened: true, proves: true, hello: false };
        let judge = |from, contents| before.faults_of_datagram(&after, from, Disposition::Processed, contents);
        assert!(judge(path(2), answer).is_empty());
        assert_eq!(first(&judge(path(1), answer)), Some("I5"));
        assert_eq!(first(&judge(path(2), Contents { proves: false, ..answer })), Some("I5"));
        let violations = super::super::ViolationLog::default();
        before.check_timeout(&after, &InvariantChecker::new("n", violations.clone(), true));
        assert_eq!(first(&violations.all()), Some("I5"));
    }
}
