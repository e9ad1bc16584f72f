//! For those who plot themselves.

use core::fmt::Write as _;

#[cfg(feature = "files")]
use serde::Serialize;

#[cfg(feature = "files")]
use super::plain::chunks;
use crate::run::Outcome;

/// A packet that was kept.
#[cfg(feature = "files")]
#[derive(Serialize)]
struct PacketLine<'a> {
    t: u64,
    what: String,
    at: &'a str,
    uid: u64,
    src: String,
    dst: String,
    len: usize,
    chunks: Vec<String>,
}

/// A message that was delivered.
#[cfg(feature = "files")]
#[derive(Serialize)]
struct MessageLine {
    t: u64,
    what: &'static str,
    work: String,
    index: u64,
    written: u64,
    len: u64,
}

/// Every packet that was kept and every message that was delivered, an object a line; times are nanoseconds.
#[cfg(feature = "files")]
#[must_use]
pub fn json_lines(outcome: &Outcome) -> String {
    let mut out = String::new();
    // Objects of strings and numbers always have a form in JSON.
    let mut push = |line: Result<String, serde_json::Error>| {
        out.push_str(&line.unwrap_or_default());
        out.push('\n');
    };
    for seen in &outcome.watched.packets {
        let names = if seen.on_link { &outcome.names.links } else { &outcome.names.devices };
        let place = if seen.on_link { seen.place / 2 } else { seen.place };
        push(serde_json::to_string(&PacketLine {
            t: seen.time.0,
            what: seen.kind.to_string(),
            at: names.get(&place).map_or("?", String::as_str),
            uid: seen.uid,
            src: seen.src.to_string(),
            dst: seen.dst.to_string(),
            len: seen.bytes.len(),
            chunks: chunks(&outcome.plaintexts, &seen.bytes).unwrap_or_default(),
        }));
    }
    for delivery_log in &outcome.log.works {
        for delivery in &delivery_log.deliveries {
            push(serde_json::to_string(&MessageLine {
                t: delivery.read.0,
                what: "message",
                work: delivery_log.work.label(),
                index: delivery.index,
                written: delivery.written.0,
                len: delivery.len,
            }));
        }
    }
    out
}

/// All gauges: place, gauge, session, time in nanoseconds, value.
#[must_use]
pub fn csv(outcome: &Outcome) -> String {
    let mut out = String::from("place,gauge,session,time_ns,value\n");
    for ((place, gauge, session), points) in &outcome.series {
        for (time, value) in points {
            let _infallible = writeln!(out, "{place},{gauge},{session},{},{value}", time.0);
        }
    }
    out
}
