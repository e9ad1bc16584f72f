//! The program as users run it: real processes over loopback.

mod bad;
mod echo;
mod harness;
mod kill;
mod transfer;
