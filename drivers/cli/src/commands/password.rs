//! `rtmfp password`

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use crate::args::Password;
use crate::failure::Failure;
use crate::output;

/// Random bytes in a password: 80 bits, which nobody can try offline.
const BYTES: usize = 10;
/// Digits of five bits, without the letters that look like others (Crockford's base 32).
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Digits between two dashes.
const GROUP: usize = 4;

/// Text that nobody can guess.
pub(super) fn fresh() -> Result<String, Failure> {
    let mut random = [0; BYTES];
    getrandom::fill(&mut random).map_err(|e| Failure::local("the system gave no randomness", e))?;
    Ok(spelled(random))
}

pub(super) fn run(args: &Password) -> Result<(), Failure> {
    let password = fresh()?;
    match &args.file {
        Some(file) => write_secret(file, &format!("{password}\n")).map_err(|e| Failure::local(file.display(), e)),
        None => {
            output::line(&password);
            Ok(())
        }
    }
}

/// Sixteen digits in groups of four, most significant first.
fn spelled(random: [u8; BYTES]) -> String {
    let number = random.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    let digits = (0..BYTES * 8 / 5).rev().map(|place| {
        let digit = usize::try_from(number >> (place * 5) & 31).unwrap_or_default();
        char::from(DIGITS.get(digit).copied().unwrap_or(b'0'))
    });
    let mut text = String::new();
    for (place, digit) in digits.enumerate() {
        if place > 0 && place % GROUP == 0 {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

/// Makes a file that its owner alone can read. One that is there already is left as it is.
pub(super) fn write_secret(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{BYTES, spelled};

    #[test]
    fn every_bit_is_in_the_password() {
        assert_eq!(spelled([0; BYTES]), "0000-0000-0000-0000");
        assert_eq!(spelled([0xff; BYTES]), "zzzz-zzzz-zzzz-zzzz");
        let mut seen = std::collections::BTreeSet::new();
        for bit in 0..BYTES * 8 {
            let mut random = [0; BYTES];
            random[bit / 8] = 1 << (bit % 8);
            assert!(seen.insert(spelled(random)), "bit {bit}");
        }
        assert!(!seen.contains("0000-0000-0000-0000"));
    }
}
