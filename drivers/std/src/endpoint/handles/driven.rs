//! Whether anybody runs the endpoint of a handle.

use core::sync::atomic::Ordering;

use super::{
    Asked, EndpointHandle, Meeting, PendingSend, Receipt, RecvFlow, Registration, SendFlow, Session, SessionEvents,
    Sleep,
};

/// Handles, and what they give to wait for.
pub trait Driven {
    /// Whether a driver has begun to run the endpoint of this. Before that nothing happens.
    fn is_driven(&self) -> bool;
}

impl<T> Driven for Asked<T> {
    fn is_driven(&self) -> bool {
        self.endpoint.driven.load(Ordering::Relaxed)
    }
}

macro_rules! driven {
    ($($type:ty: $this:ident => $endpoint:expr;)*) => {
        $(impl Driven for $type {
            fn is_driven(&self) -> bool {
                let $this = self;
                $endpoint.driven.load(Ordering::Relaxed)
            }
        })*
    };
}

driven! {
    EndpointHandle: this => this.shared();
    Session: this => this.0.endpoint();
    SendFlow: this => this.session().0.endpoint();
    RecvFlow: this => this.session.0.endpoint();
    PendingSend<'_>: this => this.flow.session().0.endpoint();
    Receipt: this => this.endpoint;
    SessionEvents: this => this.endpoint;
    Sleep: this => this.endpoint;
    Registration: this => this.keeper.0;
    Meeting: this => this.keeper.0;
}
