//! What crosses packages, in one program, so that there is one to link.

mod corpus;
mod meet;
mod mona;
mod parity;
mod wireshark;
mod worlds;
mod wycheproof;
