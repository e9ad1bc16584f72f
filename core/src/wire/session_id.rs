//! The scrambled session ID before every encrypted packet (RFC 7016 §2.2.2).

/// Length of the scrambled session ID in bytes: the encrypted packet follows it.
pub const LEN: usize = 4;

/// The scrambled session ID to put before `encrypted`.
pub fn scramble(session_id: u32, encrypted: &[u8]) -> [u8; LEN] {
    (session_id ^ mask(encrypted)).to_be_bytes()
}

/// The session ID of a datagram, and the offset of the encrypted packet in it.
///
/// None: the datagram is too short to have a session ID.
pub fn unscramble(datagram: &[u8]) -> Option<(u32, usize)> {
    let (scrambled, encrypted) = datagram.split_first_chunk::<LEN>()?;
    Some((u32::from_be_bytes(*scrambled) ^ mask(encrypted), LEN))
}

/// The exclusive-or of the first two words; an encrypted packet shorter than that counts as padded with zeros.
fn mask(encrypted: &[u8]) -> u32 {
    let words = match encrypted.first_chunk::<8>() {
        Some(&words) => words,
        None => {
            let mut words = [0; 8];
            for (to, from) in words.iter_mut().zip(encrypted) {
                *to = *from;
            }
            words
        }
    };
    let both = u64::from_be_bytes(words);
    (both >> 32) as u32 ^ both as u32
}
