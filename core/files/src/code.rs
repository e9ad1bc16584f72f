//! What one person tells the other: a number and words.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU8;
use core::str::FromStr;

use rand_core::CryptoRng;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

/// The words of a code, unless more are asked for: 22 bits. A stranger has one guess of four million.
pub const DEFAULT_WORDS: usize = 2;
/// The most words of a code.
pub const MAX_WORDS: usize = 12;
/// Letters with which each word of the list can be told from all others.
const ENOUGH: usize = 4;
/// No code is longer. What is typed is read no further.
const MAX_LENGTH: usize = 200;

/// Words that only two people know, each as its place in the list. They are wiped from memory when dropped, and
/// [`Debug`] does not show them.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Words(Vec<u16>);

impl Words {
    /// So many words by chance, at least one and at most [`MAX_WORDS`]. Each is worth 11 bits.
    pub fn random(count: usize, rng: &mut impl CryptoRng) -> Self {
        // The list has 2,048 words: all values of 11 bits are as likely.
        let word = |_| u16::try_from(rng.next_u32() & 0x7ff).unwrap_or(0);
        Self((0..count.clamp(1, MAX_WORDS)).map(word).collect())
    }

    /// What both ends put into the proof.
    pub(crate) fn as_secret(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_be_bytes()).collect()
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({} of them)", self.0.len())
    }
}

/// A number under which somebody can be met, and words that prove it is the right one.
///
/// Written as `7214-castle-river`. When it is read, capitals do not matter, spaces do as well as hyphens, and four
/// letters of a word are enough.
///
/// One that leads to several codes has a slot behind its number: `7214.2-castle-river` is the second of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Code {
    /// What a server, or the network, knows.
    pub number: u64,
    /// Which of several codes of this number it is, if there are several. It is as public as the number.
    pub slot: Option<NonZeroU8>,
    /// What they never see.
    pub words: Words,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        self.slot.iter().try_for_each(|slot| write!(f, ".{slot}"))?;
        let list = bip39::Language::English.word_list();
        self.words.0.iter().try_for_each(|word| write!(f, "-{}", list.get(usize::from(*word)).copied().unwrap_or("?")))
    }
}

/// Why a text is no code.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CodeError {
    /// It has no number in front.
    NoNumber,
    /// It has a number and nothing else.
    NoWords,
    /// It has too many words.
    TooLong,
    /// This word is not of the list. The second is one that begins alike, if there is one.
    UnknownWord(String, Option<&'static str>),
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber => f.write_str("a code begins with a number, as in 7214-castle-river"),
            Self::NoWords => f.write_str("the words after the number are missing"),
            Self::TooLong => write!(f, "a code has {MAX_WORDS} words at most"),
            Self::UnknownWord(word, None) => write!(f, "{word:?} is no word of a code"),
            Self::UnknownWord(word, Some(like)) => write!(f, "{word:?} is no word of a code; {like:?} is one"),
        }
    }
}

impl core::error::Error for CodeError {}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        if text.len() > MAX_LENGTH {
            return Err(CodeError::TooLong);
        }
        let mut parts = text.split(|c: char| c == '-' || c.is_whitespace()).filter(|part| !part.is_empty());
        let (number, slot) = parts.next().and_then(place).ok_or(CodeError::NoNumber)?;
        let words = Words(parts.map(find).collect::<Result<_, _>>()?);
        match words.0.len() {
            0 => Err(CodeError::NoWords),
            1..=MAX_WORDS => Ok(Self { number, slot, words }),
            _ => Err(CodeError::TooLong),
        }
    }
}

/// A number, and the slot behind it if there is one.
fn place(text: &str) -> Option<(u64, Option<NonZeroU8>)> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    match text.split_once('.') {
        Some((number, slot)) => Some((number.parse().ok()?, Some(slot.parse().ok()?))),
        None => Some((text.parse().ok()?, None)),
    }
}

/// The place in the list of a word, or of the one word that begins so.
fn find(typed: &str) -> Result<u16, CodeError> {
    let mut word = typed.to_lowercase();
    let list = bip39::Language::English.word_list();
    let place = match list.binary_search(&word.as_str()) {
        Ok(place) => Some(place),
        Err(after) => {
            let is_it = |listed: &&&str| word.len() >= ENOUGH && listed.starts_with(word.as_str());
            list.get(after).filter(is_it).map(|_| after)
        }
    };
    let place = place.and_then(|place| u16::try_from(place).ok());
    let found = place.ok_or_else(|| CodeError::UnknownWord(typed.to_string(), like(&word)));
    word.zeroize();
    found
}

/// A word that begins with as many of the same letters as possible, at least two.
fn like(word: &str) -> Option<&'static str> {
    let list = bip39::Language::English.word_list();
    let alike = |listed: &str| listed.chars().zip(word.chars()).take_while(|(a, b)| a == b).count();
    list.iter().copied().rev().max_by_key(|listed| alike(listed)).filter(|listed| alike(listed) >= 2)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;
    use alloc::format;
    use chacha20::ChaCha20Rng;
    use chacha20::rand_core::SeedableRng as _;
    use quickcheck::quickcheck;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code: Code = "7214-abandon-zebra".parse().unwrap();
        assert_eq!((code.number, code.words.0.as_slice()), (7_214, [0, 2_044].as_slice()));
        for typed in [" 7214 Abandon  ZEBRA\n", "7214-aban-zebr", "7214--abandon-zebra-", "7214 abandon-zebra"] {
            assert_eq!(typed.parse(), Ok(code.clone()), "{typed:?}");
        }
        assert_eq!(code.to_string(), "7214-abandon-zebra");
        assert_eq!("7214.2 aban zebr".parse(), Ok(Code { slot: NonZeroU8::new(2), ..code.clone() }));
        assert!(!format!("{code:?}").contains("zebra"), "secrets are in no log");
    }

    #[test]
    fn what_is_no_code_is_refused_with_what_is_wrong() {
        let refused = |text: &str| text.parse::<Code>().unwrap_err();
        for none in [
            "",
            "-",
            "abandon-zebra",
            "+1-zebra",
            "1.-zebra",
            ".1-zebra",
            "1.0-zebra",
            "1.+1-zebra",
            "1.256-zebra",
            "1.2.3-zebra",
            "99999999999999999999-zebra",
        ] {
            assert_eq!(refused(none), CodeError::NoNumber, "{none:?}");
        }
        assert_eq!(refused("7214-"), CodeError::NoWords);
        assert_eq!(refused("7214-zebr-abandom"), CodeError::UnknownWord("abandom".into(), Some("abandon")));
        assert_eq!(refused("7214-aba"), CodeError::UnknownWord("aba".into(), Some("abandon")));
        assert_eq!(refused("7214-ñandú"), CodeError::UnknownWord("ñandú".into(), None));
        assert_eq!(refused(&format!("7214{}", "-zoo".repeat(13))), CodeError::TooLong);
        assert_eq!(refused(&"7".repeat(201)), CodeError::TooLong);
    }

    #[test]
    fn four_letters_tell_each_word_from_all_others() {
        for (place, word) in bip39::Language::English.word_list().iter().enumerate() {
            let beginning = word.get(..ENOUGH).unwrap_or(word);
            assert_eq!(find(beginning), Ok(u16::try_from(place).unwrap()), "{word}");
        }
    }

    #[test]
    fn words_by_chance_are_of_the_whole_list() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let words: alloc::collections::BTreeSet<u16> =
            (0..4_000).flat_map(|_| Words::random(MAX_WORDS, &mut rng).0.clone()).collect();
        assert_eq!(words.len(), 2_048);
        assert_eq!((Words::random(0, &mut rng).0.len(), Words::random(99, &mut rng).0.len()), (1, MAX_WORDS));
    }

    quickcheck! {
        fn what_is_written_is_read_again(number: u64, seed: u8, count: usize, slot: u8) -> bool {
            let slot = NonZeroU8::new(slot);
            let words = Words::random(count % MAX_WORDS, &mut ChaCha20Rng::from_seed([seed; 32]));
            let code = Code { number, slot, words };
            code.to_string().parse() == Ok(code)
        }

        fn nothing_that_is_typed_panics(text: String) -> bool {
            text.parse::<Code>().is_err() || text.contains('-')
        }
    }
}
