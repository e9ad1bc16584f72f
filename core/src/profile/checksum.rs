//! The simple checksum of RFC 7425 §4.7.3.1, which the plain profile has in common with the Flash profile.

/// The ones' complement of the ones' complement sum of the big-endian 16-bit words of `bytes`.
///
/// An odd last byte counts as the LOW byte of a word (RFC 7425 §4.7.3.1), unlike in RFC 1071.
pub(super) fn internet_checksum(bytes: &[u8]) -> u16 {
    // A ones' complement sum does not depend on byte order but for its own (RFC 1071 §2), nor on the width of the
    // words: native words of four bytes cost a twentieth of what big-endian ones of two do.
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let (pairs, odd) = rest.as_chunks::<2>();
    sum += pairs.iter().map(|pair| u64::from(u16::from_ne_bytes(*pair))).sum::<u64>();
    sum += odd.iter().map(|byte| u64::from(u16::from_ne_bytes([0, *byte]))).sum::<u64>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits just above")]
    let folded = sum as u16;
    !u16::from_be_bytes(folded.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use quickcheck::quickcheck;

    use super::internet_checksum;

    /// Word by word, as the text has it.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += match pair {
                [high, low] => u32::from(*high) << 8 | u32::from(*low),
                [low] => u32::from(*low),
                _ => 0,
            };
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    quickcheck! {
        fn agrees_with_the_word_by_word_sum(bytes: Vec<u8>) -> bool {
            internet_checksum(&bytes) == naive(&bytes)
        }
    }

    #[test]
    fn long_inputs_carry_over() {
        for len in [0, 1, 2, 3, 1191, 1192, 65_535] {
            let bytes = alloc::vec![0xff_u8; len];
            assert_eq!(internet_checksum(&bytes), naive(&bytes), "{len} bytes of ff");
        }
    }

    /// The example of RFC 1071 §3.
    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(!internet_checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    /// RFC 7425 §4.7.3.1: the odd byte is the low byte, not the high one as in RFC 1071.
    #[test]
    fn an_odd_byte_is_a_low_byte() {
        assert_eq!(!internet_checksum(&[0x12, 0x34, 0x56]), 0x1234 + 0x0056);
        assert_eq!(!internet_checksum(&[0, 0, 0, 0, 0x56]), 0x0056);
    }
}
