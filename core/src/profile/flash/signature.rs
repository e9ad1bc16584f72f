//! Signatures of keying messages, by shared passwords (RFC 7425 §4.3.5).

use alloc::vec::Vec;
use core::fmt;

use hmac::Mac;
use zeroize::Zeroizing;

use super::derive::{hmac, keyed};
use crate::wire::option::{Options, RawOption, encode_option};
use crate::wire::{Cursor, Malformed};

const SIMPLE_PASSWORD: u64 = 0x1d;
/// What is sent in place of an empty signature (RFC 7425 §4.3.5). Some implementations accept nothing else.
const EMPTY: &[u8] = b"X";

/// A password with its identifier, a user name for instance.
#[derive(Clone)]
pub(super) struct Password {
    id: Vec<u8>,
    secret: Zeroizing<Vec<u8>>,
}

impl Password {
    pub(super) fn new(id: &[u8], secret: &[u8]) -> Self {
        Self { id: id.to_vec(), secret: Zeroizing::new(secret.to_vec()) }
    }

    pub(super) fn id(&self) -> &[u8] {
        &self.id
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Signs with all of these.
pub(super) fn sign(passwords: &[Password], message: &[&[u8]]) -> Vec<u8> {
    if passwords.is_empty() {
        return EMPTY.to_vec();
    }
    let mut out = Vec::new();
    for password in passwords {
        let mut value = hmac(&password.secret, message).to_vec();
        value.extend_from_slice(&password.id);
        encode_option(SIMPLE_PASSWORD, &value, &mut out);
    }
    out
}

/// Whether a signature holds at least one of these passwords, and no wrong one. A malformed signature counts as an
/// empty one.
pub(super) fn verify(passwords: &[Password], message: &[&[u8]], signature: &[u8]) -> bool {
    signature != EMPTY && examine(passwords, message, signature) == Ok(true)
}

fn examine(passwords: &[Password], message: &[&[u8]], signature: &[u8]) -> Result<bool, Malformed> {
    let (mut any, mut wrong) = (false, false);
    for option in Options::new(signature) {
        let RawOption::Option { kind: SIMPLE_PASSWORD, value } = option? else { continue };
        let mut value = Cursor::new(value);
        let mac = value.array::<32>()?;
        // RFC 7425 §4.3.5.1.1: an unrecognized identifier is ignored.
        let Some(password) = passwords.iter().find(|password| password.id == value.as_slice()) else { continue };
        let mut expected = keyed(&password.secret);
        message.iter().for_each(|part| expected.update(part));
        any = true;
        wrong |= expected.verify_slice(&mac).is_err();
    }
    Ok(any && !wrong)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use quickcheck::quickcheck;

    use super::{Password, sign, verify};

    const MESSAGE: &[&[u8]] = &[b"signed ", b"parameters"];

    fn alice() -> Password {
        Password::new(b"alice", b"secret")
    }

    #[test]
    fn a_signature_is_for_its_message_and_password() {
        let signature = sign(&[alice()], MESSAGE);
        assert_eq!(signature.get(..2), Some(&[0x26, 0x1d][..]));
        assert!(signature.ends_with(b"alice") && signature.len() == 2 + 32 + 5);
        assert!(verify(&[alice()], MESSAGE, &signature));
        assert!(verify(&[alice()], &[b"signed parameters"], &signature), "however the message is cut");
        assert!(!verify(&[alice()], &[b"others"], &signature));
        assert!(!verify(&[Password::new(b"alice", b"wrong")], MESSAGE, &signature));
        assert!(!verify(&[Password::new(b"bob", b"secret")], MESSAGE, &signature), "none is recognized");
        for at in 2..signature.len() {
            let mut altered = signature.clone();
            altered[at] ^= 1;
            assert!(!verify(&[alice()], MESSAGE, &altered), "byte {at}");
        }
    }

    #[test]
    fn nothing_to_sign_with() {
        assert_eq!(sign(&[], MESSAGE), b"X");
        assert!(!verify(&[alice()], MESSAGE, b"X") && !verify(&[alice()], MESSAGE, b""));
        assert!(!verify(&[], MESSAGE, b"X"));
    }

    /// RFC 7425 §4.3.5.1.1.
    #[test]
    fn unknown_ones_are_ignored_and_a_wrong_one_spoils_all() {
        let (bob, wrong) = (Password::new(b"bob", b"?"), Password::new(b"alice", b"wrong"));
        let known = Password::new(b"carol", b"too");
        let accepted = [alice(), known.clone()];
        assert!(verify(&accepted, MESSAGE, &sign(&[bob.clone(), alice()], MESSAGE)));
        assert!(verify(&accepted, MESSAGE, &sign(&[alice(), known.clone()], MESSAGE)));
        assert!(!verify(&accepted, MESSAGE, &sign(&[known.clone(), wrong.clone()], MESSAGE)));
        assert!(!verify(&accepted, MESSAGE, &sign(&[wrong, known], MESSAGE)));
        let mut with_others = alloc::vec![2, 0x7f, 0xaa, 0];
        with_others.extend(sign(&[alice()], MESSAGE));
        assert!(verify(&accepted, MESSAGE, &with_others), "unknown options and markers are ignored");
        with_others.push(5);
        assert!(!verify(&accepted, MESSAGE, &with_others), "a malformed signature is an empty one");
        assert!(!verify(&[alice()], MESSAGE, &[4, 0x1d, 1, 2, 3]), "too short for an HMAC");
    }

    quickcheck! {
        fn no_signature_is_valid_by_chance(bytes: Vec<u8>) -> bool {
            !verify(&[alice()], MESSAGE, &bytes)
        }
    }
}
