//! What crosses packages, in one program: every further one takes a second to link.

mod corpus;
mod mona;
mod parity;
mod wireshark;
mod worlds;
