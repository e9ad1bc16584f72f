//! What a client of a rendezvous server needs: messages to write, and what their answers mean.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use rtmfp_core::Bytes;
use rtmfp_core::wire::{Address, Malformed};

use crate::message::{CircuitEnd, MAX_ADDRESSES, Refusal, Reply, Request};

/// The most requests that wait for an answer. Older ones are forgotten, and their answers ignored.
const MAX_WAITING: usize = 256;

/// The kind of a message that has no meaning.
const HELLO: u8 = 0;

/// A client's side: gives each request a number of its own, and matches answers to them.
///
/// Write the bytes of each call to a flow with [`METADATA`](crate::METADATA), and give [`on_message`](Self::on_message)
/// what the return flow carries.
#[derive(Clone, Debug, Default)]
pub struct Client {
    next: u64,
    waiting: BTreeMap<u64, Asked>,
}

/// What was asked, which an answer must be one to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Number,
    Who,
    Token,
    Circuit,
}

/// What a server has said.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// The server sees this end at this address, which is another one than before.
    Seen(Address),
    /// A number has been given to this end.
    Number {
        /// The request.
        request: u64,
        /// The number: it leads to this end while the session lasts.
        number: u64,
    },
    /// A peer is here. A session can be opened to it through the server, now and for a minute and a half.
    Found {
        /// The request.
        request: u64,
        /// The peer's Canonical Endpoint Discriminator.
        discriminator: Bytes,
    },
    /// Nobody is there.
    Nobody {
        /// The request.
        request: u64,
    },
    /// Not now, or not at all.
    Refused {
        /// The request.
        request: u64,
        /// Why.
        reason: Refusal,
        /// Seconds after which it may be asked again. With 0, not before something else changes.
        seconds: u64,
    },
    /// The token is accepted.
    Accepted {
        /// The request.
        request: u64,
    },
    /// A circuit is open. The peer is reached over it at
    /// [`RelayInterface::path`](crate::RelayInterface::path).
    Circuit {
        /// The request.
        request: u64,
        /// The circuit.
        circuit: u64,
    },
    /// A peer has opened a circuit to this end.
    CircuitFrom {
        /// The circuit.
        circuit: u64,
        /// The peer's Canonical Endpoint Discriminator, as its session with the server proves it.
        discriminator: Bytes,
    },
    /// A circuit has ended.
    CircuitClosed {
        /// The circuit.
        circuit: u64,
        /// Why.
        end: CircuitEnd,
    },
}

impl Answer {
    /// The request that it answers, if it answers one.
    #[must_use]
    pub const fn request(&self) -> Option<u64> {
        match self {
            Self::Seen(_) | Self::CircuitFrom { .. } | Self::CircuitClosed { .. } => None,
            Self::Number { request, .. }
            | Self::Found { request, .. }
            | Self::Nobody { request }
            | Self::Refused { request, .. }
            | Self::Accepted { request }
            | Self::Circuit { request, .. } => Some(*request),
        }
    }
}

impl Client {
    /// A client that has asked for nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first message, with which the server hears of the flow: it tells this end's address. Needed only if nothing is
    /// asked at once.
    #[must_use]
    pub fn hello(&self) -> Vec<u8> {
        [HELLO].into()
    }

    /// Asks for a number under which others can meet this end.
    pub fn number(&mut self) -> (u64, Vec<u8>) {
        let request = self.ask(Asked::Number);
        (request, Request::Number { request }.to_bytes())
    }

    /// Gives a number back.
    #[must_use]
    pub fn release(&self, number: u64) -> Vec<u8> {
        Request::Release { number }.to_bytes()
    }

    /// Asks who can be met under a number.
    pub fn look_up(&mut self, number: u64) -> (u64, Vec<u8>) {
        let request = self.ask(Asked::Who);
        (request, Request::LookUp { request, number }.to_bytes())
    }

    /// Asks for a peer by its Canonical Endpoint Discriminator, at most
    /// [`MAX_DISCRIMINATOR`](crate::message::MAX_DISCRIMINATOR) bytes.
    pub fn peer(&mut self, discriminator: &[u8]) -> (u64, Vec<u8>) {
        let request = self.ask(Asked::Who);
        (request, Request::Peer { request, discriminator }.to_bytes())
    }

    /// Shows a token, at most [`MAX_TOKEN`](crate::message::MAX_TOKEN) bytes.
    pub fn token(&mut self, token: &[u8]) -> (u64, Vec<u8>) {
        let request = self.ask(Asked::Token);
        (request, Request::Token { request, token }.to_bytes())
    }

    /// Asks for a circuit to a peer by its Canonical Endpoint Discriminator. Both ends must have
    /// [joined](crate::RelayInterface::join) the server's relay.
    pub fn open_circuit(&mut self, discriminator: &[u8]) -> (u64, Vec<u8>) {
        let request = self.ask(Asked::Circuit);
        (request, Request::OpenCircuit { request, discriminator }.to_bytes())
    }

    /// Ends a circuit.
    #[must_use]
    pub fn close_circuit(&self, circuit: u64) -> Vec<u8> {
        Request::CloseCircuit { circuit }.to_bytes()
    }

    /// Whether others are to be introduced to this end, as they are at first.
    #[must_use]
    pub fn introduction(&self, wanted: bool) -> Vec<u8> {
        Request::Introduction { wanted }.to_bytes()
    }

    /// Tells the server at which further addresses this end is reached, in place of those before. The first
    /// [`MAX_ADDRESSES`](crate::message::MAX_ADDRESSES) count.
    #[must_use]
    pub fn addresses(&self, addresses: &[Address]) -> Vec<u8> {
        let mut list = Vec::new();
        addresses.iter().take(MAX_ADDRESSES).for_each(|address| address.encode(&mut list));
        Request::Addresses { list: &list }.to_bytes()
    }

    /// Reads what the server has said. `None` for what answers no request, or is of a kind that is not known.
    ///
    /// # Errors
    /// The message does not follow the syntax: the server is at fault.
    pub fn on_message(&mut self, message: &[u8]) -> Result<Option<Answer>, Malformed> {
        let Some(reply) = Reply::parse(message)? else { return Ok(None) };
        let answer = match reply {
            Reply::Seen { address } => return Ok(Some(Answer::Seen(address))),
            Reply::Number { request, number } => {
                self.answered(request, &[Asked::Number]).then_some(Answer::Number { request, number })
            }
            Reply::Found { request, discriminator } => {
                let discriminator = Bytes::copy_from_slice(discriminator);
                self.answered(request, &[Asked::Who]).then_some(Answer::Found { request, discriminator })
            }
            Reply::Nobody { request } => {
                self.answered(request, &[Asked::Who, Asked::Circuit]).then_some(Answer::Nobody { request })
            }
            Reply::Refused { request, reason, seconds } => {
                let any = [Asked::Number, Asked::Who, Asked::Token, Asked::Circuit];
                self.answered(request, &any).then_some(Answer::Refused { request, reason, seconds })
            }
            Reply::Accepted { request } => {
                self.answered(request, &[Asked::Token]).then_some(Answer::Accepted { request })
            }
            Reply::Circuit { request, circuit } => {
                self.answered(request, &[Asked::Circuit]).then_some(Answer::Circuit { request, circuit })
            }
            Reply::CircuitFrom { circuit, discriminator } => {
                Some(Answer::CircuitFrom { circuit, discriminator: Bytes::copy_from_slice(discriminator) })
            }
            Reply::CircuitClosed { circuit, end } => Some(Answer::CircuitClosed { circuit, end }),
        };
        Ok(answer)
    }

    /// Nobody waits for the answer to a request any more: it is ignored.
    pub fn forget(&mut self, request: u64) {
        self.waiting.remove(&request);
    }

    fn ask(&mut self, what: Asked) -> u64 {
        let request = self.next;
        self.next = self.next.wrapping_add(1);
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_first();
        }
        self.waiting.insert(request, what);
        request
    }

    fn answered(&mut self, request: u64, to: &[Asked]) -> bool {
        let matches = self.waiting.get(&request).is_some_and(|asked| to.contains(asked));
        if matches {
            self.waiting.remove(&request);
        }
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_and_only_to_what_was_asked() {
        let mut client = Client::new();
        let (number, _) = client.number();
        let (who, _) = client.look_up(7_214);
        assert_ne!(number, who);
        assert_eq!(Request::parse(&client.hello()), Ok(None), "a server has nothing to answer");
        let found = Reply::Found { request: number, discriminator: b"eve" }.to_bytes();
        assert_eq!(client.on_message(&found), Ok(None), "no answer to a wish for a number");
        let given = Reply::Number { request: number, number: 1_234 }.to_bytes();
        assert_eq!(client.on_message(&given), Ok(Some(Answer::Number { request: number, number: 1_234 })));
        assert_eq!(client.on_message(&given), Ok(None), "the second time");
        let nobody = Reply::Nobody { request: who }.to_bytes();
        let answer = client.on_message(&nobody);
        assert_eq!(answer, Ok(Some(Answer::Nobody { request: who })));
        assert_eq!(answer.map(|answer| answer.and_then(|answer| answer.request())), Ok(Some(who)));
        assert_eq!(client.on_message(&[0x77, 1, 2]), Ok(None));
        assert_eq!(client.on_message(&[]), Err(Malformed));
    }

    #[test]
    fn of_requests_that_are_never_answered_the_last_are_remembered() {
        let mut client = Client::new();
        let asked: Vec<_> = (0..300).map(|number| client.look_up(number).0).collect();
        let answered = asked.iter().filter(|request| {
            let nobody = Reply::Nobody { request: **request }.to_bytes();
            matches!(client.on_message(&nobody), Ok(Some(_)))
        });
        assert_eq!(answered.copied().collect::<Vec<_>>(), asked.get(44..).unwrap_or_default());
    }
}
