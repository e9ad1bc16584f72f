//! For those who plot themselves.

use core::fmt::Write as _;

use super::plain::chunks;
use crate::run::Outcome;

/// Text as a JSON string.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Every packet that was kept and every message that was delivered, an object a line; times are nanoseconds.
#[must_use]
pub fn json_lines(outcome: &Outcome) -> String {
    let mut out = String::new();
    for seen in &outcome.watched.packets {
        let names = if seen.on_link { &outcome.names.links } else { &outcome.names.devices };
        let place = if seen.on_link { seen.place / 2 } else { seen.place };
        let place = names.get(&place).map_or("?", String::as_str);
        let chunks = chunks(&outcome.plaintexts, &seen.bytes).unwrap_or_default();
        let chunks: Vec<String> = chunks.iter().map(|chunk| quote(chunk)).collect();
        let _infallible = writeln!(
            out,
            "{{\"t\":{},\"what\":{},\"at\":{},\"uid\":{},\"src\":{},\"dst\":{},\"len\":{},\"chunks\":[{}]}}",
            seen.time.0,
            quote(&format!("{:?}", seen.what)),
            quote(place),
            seen.uid,
            quote(&seen.src.to_string()),
            quote(&seen.dst.to_string()),
            seen.bytes.len(),
            chunks.join(",")
        );
    }
    for account in &outcome.books.accounts {
        for delivery in &account.deliveries {
            let _infallible = writeln!(
                out,
                "{{\"t\":{},\"what\":\"message\",\"work\":{},\"index\":{},\"written\":{},\"len\":{}}}",
                delivery.read.0,
                quote(&account.work.label()),
                delivery.index,
                delivery.written.0,
                delivery.len
            );
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

#[test]
fn text_is_quoted() {
    assert_eq!(quote("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
}
