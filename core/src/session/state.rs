//! The states of a session and the only ways from one to another (RFC 7016 §3.5, figure 8).

use crate::session_state::SessionState;
use SessionState::{Closed, FarCloseLinger, HelloSent, KeyingSent, NearClose, Open, OpenFailed};

/// A session's state, changed by named transitions only. Each tells whether it was legal; one that was not changes
/// nothing.
#[derive(Debug)]
pub(super) struct StateMachine {
    state: SessionState,
}

impl StateMachine {
    pub(super) const fn new() -> Self {
        Self { state: HelloSent }
    }

    pub(super) const fn get(&self) -> SessionState {
        self.state
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, Open)
    }

    fn go(&mut self, legal: bool, to: SessionState) -> bool {
        if legal {
            self.state = to;
        }
        legal
    }

    /// An RHello was accepted and the IIKeying sent.
    pub(super) fn keying_sent(&mut self) -> bool {
        self.go(self.state == HelloSent, KeyingSent)
    }

    /// Keys exist: from S_KEYING_SENT for an initiator; a responder's session has no opening state of its own and
    /// comes straight from the first.
    pub(super) fn opened(&mut self) -> bool {
        self.go(self.state.is_opening(), Open)
    }

    /// The session did not open.
    pub(super) fn open_failed(&mut self) -> bool {
        self.go(self.state.is_opening(), OpenFailed)
    }

    /// ORDERLY CLOSE.
    pub(super) fn near_close(&mut self) -> bool {
        self.go(self.state == Open, NearClose)
    }

    /// A Session Close Request came.
    pub(super) fn far_close(&mut self) -> bool {
        self.go(self.state == Open, FarCloseLinger)
    }

    /// ABRUPT CLOSE, a Session Close Acknowledgement, an override, or the end of a lingering state.
    pub(super) fn closed(&mut self) -> bool {
        self.go(matches!(self.state, Open | NearClose | FarCloseLinger), Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_transitions_of_figure_8_are_legal() {
        type Step = fn(&mut StateMachine) -> bool;
        let steps: [(Step, SessionState, &[SessionState]); 6] = [
            (StateMachine::keying_sent, KeyingSent, &[HelloSent]),
            (StateMachine::opened, Open, &[HelloSent, KeyingSent]),
            (StateMachine::open_failed, OpenFailed, &[HelloSent, KeyingSent]),
            (StateMachine::near_close, NearClose, &[Open]),
            (StateMachine::far_close, FarCloseLinger, &[Open]),
            (StateMachine::closed, Closed, &[Open, NearClose, FarCloseLinger]),
        ];
        for (step, to, sources) in steps {
            for from in [HelloSent, KeyingSent, Open, NearClose, FarCloseLinger, Closed, OpenFailed] {
                let mut machine = StateMachine { state: from };
                let legal = sources.contains(&from);
                assert_eq!(step(&mut machine), legal, "{from:?} to {to:?}");
                assert_eq!(machine.get(), if legal { to } else { from });
            }
        }
    }
}
