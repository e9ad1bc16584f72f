//! Against `num-bigint`, which shares no code with what is tested.

use alloc::vec::Vec;

use num_bigint::BigUint;

use super::{Comb, Group, KeyingError, PrivateKey, PublicKey, prime};
use crate::profile::flash::tests::rng;

/// `floor(2^bits * pi)` by Machin's formula, with some bits to spare.
fn pi(bits: u64) -> BigUint {
    let spare = 64;
    let arctan_of_inverse = |x: u32| {
        let mut power = (BigUint::from(1_u32) << (bits + spare)) / x;
        let (mut plus, mut minus) = (BigUint::ZERO, BigUint::ZERO);
        for n in 0_u32.. {
            let term = &power / (2 * n + 1);
            if term == BigUint::ZERO {
                break;
            }
            if n % 2 == 0 {
                plus += term
            } else {
                minus += term
            }
            power /= x * x;
        }
        plus - minus
    };
    (arctan_of_inverse(5) * 16_u32 - arctan_of_inverse(239) * 4_u32) >> spare
}

/// The primes are made of pi: RFC 2409 §6.2, RFC 3526 §2, §3 and §5.
#[test]
fn the_primes_are_those_of_the_formula() {
    let addend = |group| match group {
        Group::Modp1024 => 129_093_u32,
        Group::Modp1536 => 741_804,
        Group::Modp2048 => 124_476,
        Group::Modp4096 => 240_904,
    };
    let two_to = |exponent: u32| BigUint::from(1_u32) << exponent;
    for group in Group::ALL {
        let n = group.bits();
        let formula = two_to(n) - two_to(n - 64) - 1_u32 + two_to(64) * (pi(u64::from(n) - 130) + addend(group));
        assert_eq!(prime(group), formula, "{group:?}");
    }
}

#[test]
fn group_numbers() {
    assert_eq!(Group::ALL.map(Group::id), [2, 5, 14, 16]);
    for id in 0..100 {
        assert_eq!(Group::from_id(id).map_or(id, Group::id), id);
    }
    for group in Group::ALL {
        assert_eq!(group.exponent_bits() as usize, group.exponent_len() * 8);
    }
}

/// In every group: public keys, secrets of both sides, and powers of arbitrary bases.
#[test]
fn powers_are_those_of_the_other_library() {
    let mut rng = rng(7);
    for group in Group::ALL {
        let p = prime(group);
        for _ in 0..2 {
            let (one, two) = (PrivateKey::generate(group, &mut rng), PrivateKey::generate(group, &mut rng));
            let exponent = BigUint::from_bytes_be(&one.to_bytes());
            assert_eq!(exponent.bits(), u64::from(group.exponent_bits()), "the top bit is set");
            let public = BigUint::from(2_u32).modpow(&exponent, &p);
            assert_eq!(one.public_key(), public.to_bytes_be());
            assert_eq!(one.public_key_by(&Comb::new(group)), public.to_bytes_be());
            let far = PublicKey::accept(group, &two.public_key()).unwrap();
            let secret = one.agree(&far).unwrap();
            assert_eq!(*secret, BigUint::from_bytes_be(&two.public_key()).modpow(&exponent, &p).to_bytes_be());
            assert_eq!(secret, two.agree(&PublicKey::accept(group, &one.public_key()).unwrap()).unwrap());
        }
    }
}

/// Static keys that were saved when exponents were longer are read, and saved again as they were.
#[test]
fn longer_exponents_are_as_good() {
    for group in Group::ALL {
        for len in [group.exponent_len(), group.exponent_len() + 8, 64] {
            for pattern in [[0xff; 64], [0x80; 64], core::array::from_fn(|n| 0x80 | (n * 37) as u8)] {
                let bytes = &pattern[..len];
                let key = PrivateKey::restore(group, bytes).unwrap();
                let exponent = BigUint::from_bytes_be(bytes);
                let expected = BigUint::from(2_u32).modpow(&exponent, &prime(group)).to_bytes_be();
                assert_eq!(key.public_key(), expected, "{group:?}, {len} bytes");
                assert_eq!(*key.to_bytes(), bytes);
            }
        }
        assert!(PrivateKey::restore(group, &[0xff; 65]).is_none(), "too long");
    }
}

/// RFC 7425 §4.6.2: no leading zero bytes, neither in keys nor in secrets. One in 256 has some.
#[test]
fn leading_zeros_are_cut_off() {
    let mut rng = rng(8);
    let group = Group::Modp1024;
    let p = prime(group);
    let mut found = false;
    for _ in 0..3000 {
        let key = PrivateKey::generate(group, &mut rng);
        let public = key.public_key();
        assert_ne!(public.first(), Some(&0));
        if public.len() < 128 {
            found = true;
            let exponent = BigUint::from_bytes_be(&key.to_bytes());
            assert_eq!(BigUint::from_bytes_be(&public), BigUint::from(2_u32).modpow(&exponent, &p));
            // The far end may have leading zeros all the same.
            let padded = [&[0, 0][..], &public].concat();
            assert_eq!(PublicKey::accept(group, &padded), PublicKey::accept(group, &public));
            break;
        }
    }
    assert!(found, "none of the keys was short");
}

#[test]
fn saved_keys_come_back() {
    let mut rng = rng(9);
    for group in Group::ALL {
        let key = PrivateKey::generate(group, &mut rng);
        let bytes = key.to_bytes();
        assert_eq!(bytes.len(), group.exponent_len());
        assert_eq!(PrivateKey::restore(group, &bytes).unwrap().public_key(), key.public_key());
        assert!(PrivateKey::restore(group, bytes.get(1..).unwrap()).is_none(), "too short");
        let mut low = bytes.to_vec();
        low[0] &= 0x7f;
        assert!(PrivateKey::restore(group, &low).is_none(), "the top bit is missing");
    }
}

/// RFC 7425 §4.6.2, each rule from both sides.
#[test]
fn acceptable_public_keys() {
    let one = || BigUint::from(1_u32);
    let margin = one() << 24_u32;
    for group in Group::ALL {
        let p = prime(group);
        let accepted = |key: &BigUint| PublicKey::accept(group, &key.to_bytes_be()).is_ok();
        let some = || PublicKey::accept(group, &(&p >> 1_u32).to_bytes_be());
        assert!(some().is_ok());
        // At least 2^24. The keys next to it have too few ones or zeros, whence bits at the top that keep the order.
        assert!(!accepted(&BigUint::ZERO) && !accepted(&one()));
        assert!(!accepted(&(&margin - 1_u32)) && !accepted(&margin));
        let lowest = (BigUint::from(0xffff_u32) << 25_u32) | margin.clone();
        assert!(accepted(&lowest), "17 ones, 24 zeros");
        // At most p - 2^24.
        assert!(!accepted(&(&p - 1_u32)) && !accepted(&(&p - &margin + 1_u32)) && !accepted(&p));
        assert!(!accepted(&(&p + &lowest)) && !accepted(&(&p << 8_u32)));
        assert!(accepted(&(&p - &margin)) && accepted(&(&p - &margin - 1_u32)));
        // At least 16 ones, at least 16 zeros behind the leading one.
        assert!(
            !accepted(&(BigUint::from(0x7fff_u32) << 100_u32)) && accepted(&(BigUint::from(0xffff_u32) << 100_u32))
        );
        let ones = (one() << 200_u32) - 1_u32;
        assert!(!accepted(&(&ones << 15_u32)) && accepted(&(&ones << 16_u32)));
    }
    assert_eq!(PublicKey::accept(Group::Modp1024, &[]), Err(KeyingError::BadPublicKey));
}

#[test]
fn keys_of_other_groups_are_refused() {
    let mut rng = rng(10);
    let key = PrivateKey::generate(Group::Modp1024, &mut rng);
    let other = PrivateKey::generate(Group::Modp1536, &mut rng).public_key();
    let other = PublicKey::accept(Group::Modp1536, &other).unwrap();
    assert_eq!(key.agree(&other).map(|_| ()), Err(KeyingError::BadPublicKey));
}

#[test]
fn debug_output_hides_the_secret() {
    let key = PrivateKey::restore(Group::Modp1024, &[0xab; 28]).unwrap();
    let shown = alloc::format!("{key:?}").to_lowercase();
    assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
    let _: Vec<u8> = key.public_key();
}
