//! The table of counts, and what differs from the one that is checked in.

use core::fmt;
use std::collections::BTreeMap;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts/counts.txt");
/// More instructions than were checked in, in percent, that are too many.
const MARGIN: u64 = 5;
/// What depends on no size costs at most so many times as much with the largest as with the smallest.
const FLAT: u64 = 2;

/// What work with this size costs.
pub(crate) struct Count {
    pub(crate) name: String,
    pub(crate) size: u32,
    pub(crate) instructions: u64,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<28} {:>7} {:>12}", self.name, self.size, self.instructions)
    }
}

/// All counts, and where they are of.
pub(crate) struct Table {
    place: String,
    pub(crate) counts: Vec<Count>,
}

impl Table {
    pub(crate) const fn new(place: String) -> Self {
        Self { place, counts: Vec::new() }
    }

    pub(crate) fn write(&self) -> Result<(), String> {
        self.flat()?;
        let mut text = String::from(
            "# Instructions by `cargo bench -p rtmfp-tests --bench counts -- --renew`: work, size, count.\n",
        );
        text.push_str(&format!("# {}\n", self.place));
        for count in &self.counts {
            text.push_str(&format!("{count}\n"));
        }
        std::fs::write(FILE, text).map_err(|error| format!("{FILE}: {error}"))
    }

    /// Fails for what costs too much more than it did. Those of another place say nothing.
    pub(crate) fn compare(&self) -> Result<(), String> {
        self.flat()?;
        let text = std::fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
        if !text.lines().any(|line| line.strip_prefix("# ") == Some(&self.place)) {
            println!("counts.txt is not of {}: not compared", self.place);
            return Ok(());
        }
        let mut worse = Vec::new();
        for count in &self.counts {
            let known = text.lines().find_map(|line| {
                let mut words = line.split_whitespace();
                let of_it = words.next() == Some(&count.name) && words.next() == Some(&count.size.to_string());
                words.next().filter(|_| of_it)?.parse::<u64>().ok()
            });
            match known {
                None => worse.push(format!("{count}: not in counts.txt")),
                Some(known) if count.instructions * 100 > known * (100 + MARGIN) => {
                    worse.push(format!("{count}: it was {known}"));
                }
                Some(_) => {}
            }
        }
        if worse.is_empty() {
            return Ok(());
        }
        Err(format!("more instructions than in counts.txt (--renew, and say why):\n{}", worse.join("\n")))
    }

    /// Fails for what costs more the more there is of what it should not depend on.
    pub(crate) fn flat(&self) -> Result<(), String> {
        let mut ends: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for count in &self.counts {
            let (least, most) = ends.entry(&count.name).or_insert((u64::MAX, 0));
            *least = count.instructions.min(*least);
            *most = count.instructions.max(*most);
        }
        let steep = ends.iter().filter(|(_, (least, most))| *most > least * FLAT);
        let steep: Vec<String> = steep.map(|(name, (least, most))| format!("{name}: from {least} to {most}")).collect();
        if steep.is_empty() { Ok(()) } else { Err(format!("not flat:\n{}", steep.join("\n"))) }
    }
}
