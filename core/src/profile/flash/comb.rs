//! Powers of the generator 2 with a secret exponent, for fresh public keys. The base is always the same, so that most
//! of the squarings can be done ahead: the exponent is cut into [`TEETH`] parts of equal length, and one
//! multiplication deals with a bit of each. A third of the work of a power with any base.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Choice, CtAssign as _, Odd, U512, U1024, U1536, U2048, U4096, Uint};
use zeroize::{Zeroize as _, Zeroizing};

use super::dh::{self, PRIME_1024, PRIME_1536, PRIME_2048, PRIME_4096};
use super::groups::Group;

/// Parts of the exponent. More would save squarings, and lose as much in reading the table, all of which is read
/// each time: 387, 331 and 316 µs were measured for 4, 5 and 6 of them in group 14, and 950 µs without.
const TEETH: u32 = 5;

/// What is computed ahead for one group: 32 numbers of its size.
#[derive(Debug)]
pub(super) struct Comb(Sized);

#[derive(Debug)]
enum Sized {
    Modp1024(Table<{ U1024::LIMBS }>),
    Modp1536(Table<{ U1536::LIMBS }>),
    Modp2048(Table<{ U2048::LIMBS }>),
    Modp4096(Table<{ U4096::LIMBS }>),
}

impl Comb {
    /// Costs about as much as one power.
    pub(super) fn new(group: Group) -> Self {
        let bits = group.exponent_bits();
        Self(match group {
            Group::Modp1024 => Sized::Modp1024(Table::new(&PRIME_1024, bits)),
            Group::Modp1536 => Sized::Modp1536(Table::new(&PRIME_1536, bits)),
            Group::Modp2048 => Sized::Modp2048(Table::new(&PRIME_2048, bits)),
            Group::Modp4096 => Sized::Modp4096(Table::new(&PRIME_4096, bits)),
        })
    }

    /// `2 ^ exponent` modulo the prime, in network byte order without leading zero bytes. Takes a time that depends on
    /// the group alone, for exponents of the group's length.
    pub(super) fn power(&self, exponent: &U512) -> Zeroizing<Vec<u8>> {
        match &self.0 {
            Sized::Modp1024(table) => table.power(exponent),
            Sized::Modp1536(table) => table.power(exponent),
            Sized::Modp2048(table) => table.power(exponent),
            Sized::Modp4096(table) => table.power(exponent),
        }
    }
}

#[derive(Debug)]
struct Table<const LIMBS: usize> {
    params: Box<FixedMontyParams<LIMBS>>,
    /// How long the parts of the exponent are, in bits.
    part: u32,
    /// The power of 2, in Montgomery form, for each choice of parts whose bit is set.
    powers: Vec<Uint<LIMBS>>,
}

impl<const LIMBS: usize> Table<LIMBS> {
    fn new(prime: &Odd<Uint<LIMBS>>, bits: u32) -> Self {
        let params = FixedMontyParams::new_vartime(*prime);
        let part = bits.div_ceil(TEETH);
        let mut powers = Vec::with_capacity(1 << TEETH);
        powers.push(FixedMontyForm::one(&params));
        let mut tooth = FixedMontyForm::new(&Uint::from_u8(2), &params);
        for _ in 0..TEETH {
            let with: Vec<_> = powers.iter().map(|power| power.mul(&tooth)).collect();
            powers.extend(with);
            tooth = tooth.square_repeat_vartime(part);
        }
        let powers = powers.iter().map(FixedMontyForm::to_montgomery).collect();
        Self { params: Box::new(params), part, powers }
    }

    fn power(&self, exponent: &U512) -> Zeroizing<Vec<u8>> {
        let mut result = FixedMontyForm::one(&self.params);
        let mut chosen = Uint::ZERO;
        for bit in (0..self.part).rev() {
            result = result.square();
            let index = Zeroizing::new(
                (0..TEETH)
                    .fold(0, |index, tooth| index | u32::from(exponent.bit(tooth * self.part + bit).to_u8()) << tooth),
            );
            for (place, power) in (0..).zip(&self.powers) {
                chosen.ct_assign(power, Choice::from_u32_eq(place, *index));
            }
            result = result.mul(&FixedMontyForm::from_montgomery(chosen, &self.params));
        }
        chosen.zeroize();
        dh::encode(result)
    }
}
