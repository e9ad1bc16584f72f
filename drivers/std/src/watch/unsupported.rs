//! Changes of the network are not noticed on this system: nobody has written that yet.

use std::io;

/// Cannot be made.
#[derive(Debug)]
pub(crate) enum Watch {}

impl Watch {
    pub(crate) fn new(_wake: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "changes of the network are not noticed on this system"))
    }

    pub(crate) const fn works(&self) -> bool {
        match *self {}
    }

    pub(crate) const fn take_change(&self) -> bool {
        match *self {}
    }
}
