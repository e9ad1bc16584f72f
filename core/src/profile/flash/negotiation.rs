//! Negotiating the HMAC and the session sequence numbers (RFC 7425 §4.5.2.4, §4.5.2.5, §4.6.4, §4.6.6).

use crate::profile::KeyingError;

/// Whether this end sends a protection, an HMAC or session sequence numbers, with its packets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Sending {
    /// Never, even if the far end asks for it.
    Never,
    /// If the far end asks for it (`willSendOnRequest`).
    OnRequest,
    /// In every session (`willSendAlways`).
    Always,
}

/// Whether this end wants a protection on the packets that it receives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Receiving {
    /// It does not ask for it.
    Unasked,
    /// It asks for it (`request`), and goes on without.
    Requested,
    /// It asks for it, and refuses a far end that will not send it.
    Required,
}

/// How this end negotiates one protection.
///
/// What is required of the other end goes with what is sent: the default, [`required`](Self::required), has both.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Protection {
    /// On packets sent.
    pub sending: Sending,
    /// On packets received.
    pub receiving: Receiving,
}

impl Protection {
    /// Always sent, and required of the far end: the default.
    #[must_use]
    pub const fn required() -> Self {
        Self { sending: Sending::Always, receiving: Receiving::Required }
    }

    /// Sent if the far end asks for it, and not asked for: for far ends that know nothing of it.
    #[must_use]
    pub const fn on_request() -> Self {
        Self { sending: Sending::OnRequest, receiving: Receiving::Unasked }
    }

    /// Never sent and not asked for. Far ends that ask for it may refuse the session.
    #[must_use]
    pub const fn never() -> Self {
        Self { sending: Sending::Never, receiving: Receiving::Unasked }
    }

    /// What goes into a component. To an initiator that does not ask, a responder need not offer: what it sends is
    /// settled by then.
    pub(super) fn offer(self, answering: Option<Offer>) -> Offer {
        Offer {
            always: self.sending == Sending::Always,
            on_request: match self.sending {
                Sending::Never => false,
                Sending::OnRequest => answering.is_none_or(|far| far.request),
                Sending::Always => true,
            },
            request: self.receiving != Receiving::Unasked,
        }
    }
}

impl Default for Protection {
    fn default() -> Self {
        Self::required()
    }
}

/// The flags of one negotiation option. An absent option is all clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Offer {
    /// `willSendAlways`, SND.
    pub(super) always: bool,
    /// `willSendOnRequest`, SOR.
    pub(super) on_request: bool,
    /// `request`, REQ.
    pub(super) request: bool,
}

impl Offer {
    const SND: u8 = 0x04;
    const SOR: u8 = 0x02;
    const REQ: u8 = 0x01;

    /// From the flags byte, of which the reserved bits are ignored.
    pub(super) const fn from_byte(flags: u8) -> Self {
        Self { always: flags & Self::SND != 0, on_request: flags & Self::SOR != 0, request: flags & Self::REQ != 0 }
    }

    /// The flags byte.
    pub(super) const fn to_byte(self) -> u8 {
        let mut flags = 0;
        if self.always {
            flags |= Self::SND;
        }
        if self.on_request {
            flags |= Self::SOR;
        }
        if self.request {
            flags |= Self::REQ;
        }
        flags
    }

    /// Whether the sender of this offer may send at all.
    pub(super) const fn willing(self) -> bool {
        self.always || self.on_request
    }

    /// Whether the sender of this offer sends to the sender of `other` (RFC 7425 §4.6.4, §4.6.6).
    const fn sends_to(self, other: Self) -> bool {
        self.always || (self.on_request && other.request)
    }
}

/// Both offers of one end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Offers {
    pub(super) hmac: Offer,
    /// How long the HMACs of this end are, if it sends them.
    pub(super) hmac_len: usize,
    pub(super) sequence: Offer,
}

/// What came of both ends' offers, as one end sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Negotiated {
    /// Length of the HMAC on packets sent.
    pub(super) send_hmac: Option<usize>,
    /// Length of the HMAC on packets received.
    pub(super) recv_hmac: Option<usize>,
    /// Whether packets sent have a session sequence number.
    pub(super) send_sequence: bool,
    /// Whether packets received have a session sequence number.
    pub(super) recv_sequence: bool,
}

impl Negotiated {
    /// From both ends' offers.
    pub(super) fn new(near: &Offers, far: &Offers) -> Self {
        Self {
            send_hmac: near.hmac.sends_to(far.hmac).then_some(near.hmac_len),
            recv_hmac: far.hmac.sends_to(near.hmac).then_some(far.hmac_len),
            send_sequence: near.sequence.sends_to(far.sequence),
            recv_sequence: far.sequence.sends_to(near.sequence),
        }
    }
}

/// The near end's rules for both protections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) hmac: Protection,
    pub(super) hmac_len: usize,
    /// The shortest HMAC that is taken from the far end.
    pub(super) min_hmac_len: usize,
    pub(super) sequence: Protection,
}

impl Rules {
    /// The near end's offers: an initiator's, or the answer to an initiator's.
    pub(super) fn offers(&self, answering: Option<&Offers>) -> Offers {
        let hmac = self.hmac.offer(answering.map(|far| far.hmac));
        Offers {
            hmac,
            // RFC 7425 §4.5.2.4: zero if and only if no HMAC is offered.
            hmac_len: if hmac.willing() { self.hmac_len } else { 0 },
            sequence: self.sequence.offer(answering.map(|far| far.sequence)),
        }
    }

    /// Refuses a far end that will not send what is required (RFC 7425 §4.6.4, §4.6.6), or whose HMACs would be too
    /// short. Those are refused even if none is required: the far end could be followed to another address by them.
    pub(super) fn admit(&self, far: &Offers) -> Result<(), KeyingError> {
        let lacking = |rule: Protection, offer: Offer| rule.receiving == Receiving::Required && !offer.willing();
        if lacking(self.hmac, far.hmac) || lacking(self.sequence, far.sequence) {
            return Err(KeyingError::ProtectionRefused);
        }
        let sent = far.hmac.always || (far.hmac.on_request && self.hmac.receiving != Receiving::Unasked);
        if sent && far.hmac_len < self.min_hmac_len {
            return Err(KeyingError::ProtectionRefused);
        }
        Ok(())
    }
}
