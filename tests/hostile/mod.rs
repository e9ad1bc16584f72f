//! An endpoint among people who mean it ill: strangers, and authenticated peers that keep no rule. Whatever they send,
//! nothing panics, memory stays bounded, and a friend's transfers through the same endpoint do not notice.
//!
//! With `RTMFP_LONG=1` there are a million packets under the plain profile, and a hundred thousand each under Flash and the
//! modern profile. Without it there is an eighth of that. `RTMFP_HOSTILE` multiplies their number, `RTMFP_HOSTILE_SEED`
//! chooses which.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod admission;
mod answers;
mod limits;
mod memory;
mod mutation;
mod receivers;
mod rendezvous;
mod strangers;
mod table;
mod unread;
mod windows;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
