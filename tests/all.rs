//! What crosses packages, in one program, so that there is one to link.

mod corpus;
mod mona;
mod parity;
mod wireshark;
mod worlds;
mod wycheproof;
