//! Scenarios as files that people like to read: one line for each thing.

use core::fmt::Write as _;

use toml::{Table, Value};

/// Keys in the order in which a file tells its story; the others come behind, by name.
const ORDER: [&str; 14] = [
    "name", "about", "duration", "seed", "quick", "needs", "explicit", "work", "at", "faults", "expect", "node",
    "crowd", "nat",
];

fn place(key: &str) -> usize {
    ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len())
}

/// Each entry of a list of tables, and each value of a named thing, is a line.
pub(super) fn short(table: &Table) -> String {
    let mut keys: Vec<&String> = table.keys().collect();
    keys.sort_by_key(|key| (place(key), key.as_str()));
    // Tables end what belongs to the file itself, so they come last.
    let (things, own): (Vec<_>, Vec<_>) =
        keys.into_iter().filter_map(|key| Some((key, table.get(key)?))).partition(|(_, value)| value.is_table());
    let mut out = String::new();
    for (key, value) in own {
        let list = value.as_array().filter(|list| list.len() > 1 || list.iter().any(Value::is_table));
        // Writing to a string does not fail.
        let _ = match list {
            Some(list) => {
                let lines: String = list.iter().map(|entry| format!("    {entry},\n")).collect();
                writeln!(out, "{key} = [\n{lines}]")
            }
            None => writeln!(out, "{key} = {value}"),
        };
    }
    for (kind, named) in things {
        let named = named.as_table().into_iter().flatten();
        let (deep, flat): (Vec<_>, Vec<_>) = named.partition(|(_, value)| value.is_table());
        if !flat.is_empty() {
            let _ = writeln!(out, "\n[{kind}]");
            put_values(&mut out, flat.into_iter());
        }
        for (name, value) in deep {
            let _ = writeln!(out, "\n[{kind}.{}]", quoted(name));
            put_values(&mut out, value.as_table().into_iter().flatten());
        }
    }
    // Things without anything to say of them need no room around them.
    out.replace("]\n\n[", "]\n[")
}

fn put_values<'a>(out: &mut String, values: impl Iterator<Item = (&'a String, &'a Value)>) {
    for (key, value) in values {
        let _ = writeln!(out, "{} = {value}", quoted(key));
    }
}

/// A key as it may stand in a file.
fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { key.to_owned() } else { Value::from(key).to_string() }
}
