//! The program as users run it: real processes over loopback.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad;
mod codes;
mod doctor;
mod echo;
mod gateways;
mod harness;
mod interrupted;
mod kill;
mod namespaces;
mod nats;
mod nearby;
mod output;
mod pipes;
mod serve;
mod trace;
mod transfer;
mod trust;
mod via;
