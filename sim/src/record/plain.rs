//! The chunks of a packet as text.

use rtmfp_core::wire::PacketHeader;

use crate::rtmfp::Plaintexts;

fn parse<'a>(plain: &'a [u8]) -> Option<(PacketHeader, impl Iterator<Item = String> + 'a)> {
    let (header, chunks) = PacketHeader::parse(plain).ok()?;
    let shown = chunks.filter_map(|chunk| match chunk {
        Ok(rtmfp_core::wire::Chunk::Padding) => None,
        Ok(chunk) => Some(chunk.to_string()),
        Err(_) => Some("malformed chunk".to_owned()),
    });
    Some((header, shown))
}

/// The header and every chunk of a datagram, a line each; none if it was not sealed by a node of the run.
#[must_use]
pub fn chunks(plaintexts: &Plaintexts, datagram: &[u8]) -> Option<Vec<String>> {
    let plain = plaintexts.of(datagram)?;
    let (header, shown) = parse(&plain)?;
    Some(core::iter::once(header.to_string()).chain(shown).collect())
}

/// The chunks of a datagram on one short line.
#[must_use]
pub fn chunk_names(plaintexts: &Plaintexts, datagram: &[u8]) -> String {
    let plain = plaintexts.of(datagram);
    let Some((_, shown)) = plain.as_deref().and_then(parse) else { return format!("{} bytes", datagram.len()) };
    let short = |chunk: String| {
        let end = chunk.find(['{', '(', ',', ':']).unwrap_or(chunk.len());
        chunk.get(..end).unwrap_or(&chunk).trim().chars().take(40).collect::<String>()
    };
    let mut names: Vec<(String, u32)> = Vec::new();
    for name in shown.map(short) {
        match names.last_mut() {
            Some((last, count)) if *last == name => *count += 1,
            _ => names.push((name, 1)),
        }
    }
    let names = names.into_iter().map(|(name, count)| if count > 1 { format!("{name} x{count}") } else { name });
    names.collect::<Vec<_>>().join(" + ")
}
