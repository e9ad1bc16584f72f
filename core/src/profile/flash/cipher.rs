//! AES-128 in CBC mode with an initialization vector of zeros (RFC 7425 §4.7.1).
//!
//! One chain can only be encrypted block after block, and a processor with AES instructions is idle most of that
//! time. Packets of one session are independent chains under one key: up to [`LANES`] of them are encrypted in lock
//! step, which costs a seventh of one after the other. Decryption of a chain is parallel by nature.

use aes::cipher::{
    Array, Block, BlockCipherDecrypt, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser,
};
use aes::{Aes128Dec, Aes128Enc};

/// Bytes of a cipher block.
pub(super) const BLOCK: usize = 16;
/// How many chains are encrypted together.
pub(super) const LANES: usize = 8;
/// How many blocks are decrypted together: a kibibyte of ciphertext is kept on the stack meanwhile.
const CHUNK: usize = 64;

type AesBlock = Block<Aes128Enc>;

/// One chain on its way: the blocks still to encrypt, and the ciphertext before them.
#[derive(Default)]
pub(super) struct Lane<'a> {
    blocks: &'a mut [AesBlock],
    chain: AesBlock,
}

impl<'a> Lane<'a> {
    /// A chain over whole blocks. What exceeds them stays as it is.
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { blocks: Array::slice_as_chunks_mut(bytes).0, chain: AesBlock::default() }
    }
}

/// Encrypts the chains in lock step until the shortest ends, then goes on with the others.
pub(super) fn encrypt(cipher: &Aes128Enc, lanes: &mut [Lane<'_>]) {
    for lanes in lanes.chunks_mut(LANES) {
        let mut lanes = lanes;
        loop {
            // The ended lanes to the front, out of the way.
            lanes.sort_unstable_by_key(|lane| lane.blocks.len());
            let ended = lanes.iter().take_while(|lane| lane.blocks.is_empty()).count();
            lanes = lanes.split_at_mut(ended).1;
            let Some(steps) = lanes.first().map(|lane| lane.blocks.len()) else { break };
            run(cipher, lanes, steps);
        }
    }
}

/// `steps` blocks of each lane; the number of lanes becomes a constant, so that the loop over them unrolls.
fn run(cipher: &Aes128Enc, lanes: &mut [Lane<'_>], steps: usize) {
    match lanes.len() {
        1 => lock_step::<1>(cipher, lanes, steps),
        2 => lock_step::<2>(cipher, lanes, steps),
        3 => lock_step::<3>(cipher, lanes, steps),
        4 => lock_step::<4>(cipher, lanes, steps),
        5 => lock_step::<5>(cipher, lanes, steps),
        6 => lock_step::<6>(cipher, lanes, steps),
        7 => lock_step::<7>(cipher, lanes, steps),
        _ => lock_step::<LANES>(cipher, lanes, steps),
    }
}

fn lock_step<const N: usize>(cipher: &Aes128Enc, lanes: &mut [Lane<'_>], steps: usize) {
    let Some(lanes) = lanes.first_chunk_mut::<N>() else { return };
    let mut chains: [AesBlock; N] = lanes.each_ref().map(|lane| lane.chain);
    let mut heads = lanes.each_mut().map(|lane| {
        let (head, tail) = core::mem::take(&mut lane.blocks).split_at_mut(steps);
        lane.blocks = tail;
        head
    });
    if aes::hardware_accelerated() {
        cipher.encrypt_with_backend(LockStep { heads: &mut heads, chains: &mut chains, steps });
    } else {
        in_software(cipher, &mut heads, &mut chains, steps);
    }
    for (lane, chain) in lanes.iter_mut().zip(chains) {
        lane.chain = chain;
    }
}

/// The software cipher works on several blocks as one, but only through this call.
fn in_software<const N: usize>(
    cipher: &Aes128Enc,
    heads: &mut [&mut [AesBlock]; N],
    chains: &mut [AesBlock; N],
    steps: usize,
) {
    for step in 0..steps {
        mix(heads, chains, step);
        cipher.encrypt_blocks(chains);
        store(heads, chains, step);
    }
}

/// The whole loop as one unit of work for the hardware cipher, so that its detection is paid once.
struct LockStep<'a, 'b, const N: usize> {
    heads: &'a mut [&'b mut [AesBlock]; N],
    chains: &'a mut [AesBlock; N],
    steps: usize,
}

impl<const N: usize> BlockSizeUser for LockStep<'_, '_, N> {
    type BlockSize = <Aes128Enc as BlockSizeUser>::BlockSize;
}

impl<const N: usize> BlockCipherEncClosure for LockStep<'_, '_, N> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = Self::BlockSize>>(self, backend: &B) {
        for step in 0..self.steps {
            mix(self.heads, self.chains, step);
            for chain in self.chains.iter_mut() {
                backend.encrypt_block_inplace(chain);
            }
            store(self.heads, self.chains, step);
        }
    }
}

#[inline(always)]
fn mix<const N: usize>(heads: &[&mut [AesBlock]; N], chains: &mut [AesBlock; N], step: usize) {
    for (chain, head) in chains.iter_mut().zip(heads) {
        if let Some(block) = head.get(step) {
            xor(chain, block);
        }
    }
}

#[inline(always)]
fn store<const N: usize>(heads: &mut [&mut [AesBlock]; N], chains: &[AesBlock; N], step: usize) {
    for (chain, head) in chains.iter().zip(heads) {
        if let Some(block) = head.get_mut(step) {
            *block = *chain;
        }
    }
}

#[inline(always)]
fn xor(to: &mut AesBlock, from: &AesBlock) {
    // As one number each: byte by byte it takes as long as half the cipher.
    to.0 = (u128::from_ne_bytes(to.0) ^ u128::from_ne_bytes(from.0)).to_ne_bytes();
}

/// Decrypts one chain of whole blocks in place. What exceeds them stays as it is.
pub(super) fn decrypt(cipher: &Aes128Dec, bytes: &mut [u8]) {
    let blocks: &mut [AesBlock] = Array::slice_as_chunks_mut(bytes).0;
    let mut kept = [AesBlock::default(); CHUNK];
    let mut chain = AesBlock::default();
    for blocks in blocks.chunks_mut(CHUNK) {
        for (kept, block) in kept.iter_mut().zip(blocks.iter()) {
            *kept = *block;
        }
        cipher.decrypt_blocks(blocks);
        let mut before = chain;
        for (block, kept) in blocks.iter_mut().zip(&kept) {
            xor(block, &before);
            before = *kept;
        }
        chain = before;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use aes::cipher::{BlockCipherEncrypt, KeyInit};
    use aes::{Aes128Dec, Aes128Enc};
    use quickcheck::{TestResult, quickcheck};

    use super::{BLOCK, Lane, decrypt, encrypt, in_software};

    const KEY: [u8; 16] = *b"Adobe Systems 02";

    /// CBC as the books have it.
    fn naive(bytes: &mut [u8]) {
        let cipher = Aes128Enc::new(&KEY.into());
        let mut chain = [0_u8; BLOCK];
        for block in bytes.chunks_exact_mut(BLOCK) {
            block.iter_mut().zip(chain).for_each(|(to, from)| *to ^= from);
            let mut one: [u8; BLOCK] = (&*block).try_into().unwrap();
            cipher.encrypt_block((&mut one).into());
            block.copy_from_slice(&one);
            chain = one;
        }
    }

    fn messages(lens: &[u8]) -> Vec<Vec<u8>> {
        let fill =
            |(index, len): (usize, &u8)| (0..usize::from(*len) * BLOCK).map(|at| (at * 7 + index * 31) as u8).collect();
        lens.iter().enumerate().map(fill).collect()
    }

    quickcheck! {
        fn lanes_of_any_lengths_equal_one_by_one(lens: Vec<u8>) -> TestResult {
            if lens.len() > 40 {
                return TestResult::discard();
            }
            let (mut together, mut alone) = (messages(&lens), messages(&lens));
            let mut lanes: Vec<_> = together.iter_mut().map(|bytes| Lane::new(bytes)).collect();
            encrypt(&Aes128Enc::new(&KEY.into()), &mut lanes);
            alone.iter_mut().for_each(|bytes| naive(bytes));
            TestResult::from_bool(together == alone)
        }

        fn decryption_is_the_inverse(len: u8) -> bool {
            let plain = messages(&[len]).remove(0);
            let mut bytes = plain.clone();
            naive(&mut bytes);
            decrypt(&Aes128Dec::new(&KEY.into()), &mut bytes);
            bytes == plain
        }
    }

    /// RFC 3602 §4, case 1 has another key and vector; NIST SP 800-38A F.2.1 with its vector mixed into the first
    /// block has the zero vector that is used here.
    #[test]
    fn the_nist_example() {
        let key = [0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c];
        let plain = [0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a];
        let mut bytes: Vec<u8> = plain.iter().zip(0_u8..).map(|(byte, iv)| byte ^ iv).collect();
        bytes.extend([0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03, 0xac, 0x9c, 0x9e, 0xb7, 0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51]);
        encrypt(&Aes128Enc::new(&key.into()), &mut [Lane::new(&mut bytes)]);
        let expected = [
            0x76, 0x49, 0xab, 0xac, 0x81, 0x19, 0xb2, 0x46, 0xce, 0xe9, 0x8e, 0x9b, 0x12, 0xe9, 0x19, 0x7d, //
            0x50, 0x86, 0xcb, 0x9b, 0x50, 0x72, 0x19, 0xee, 0x95, 0xdb, 0x11, 0x3a, 0x91, 0x76, 0x78, 0xb2,
        ];
        assert_eq!(bytes, expected);
    }

    /// Whatever this machine has.
    #[test]
    fn the_way_without_hardware() {
        let (mut together, mut alone) = (messages(&[9; 3]), messages(&[9; 3]));
        let mut lanes: Vec<_> = together.iter_mut().map(|bytes| Lane::new(bytes).blocks).collect();
        let heads: &mut [_; 3] = lanes.as_mut_slice().try_into().unwrap();
        in_software(&Aes128Enc::new(&KEY.into()), heads, &mut Default::default(), 9);
        alone.iter_mut().for_each(|bytes| naive(bytes));
        assert_eq!(together, alone);
    }

    #[test]
    fn a_broken_block_stays_as_it_is() {
        let mut bytes = vec![7; BLOCK + 3];
        encrypt(&Aes128Enc::new(&KEY.into()), &mut [Lane::new(&mut bytes), Lane::default()]);
        assert_eq!(bytes.get(BLOCK..), Some(&[7, 7, 7][..]));
        encrypt(&Aes128Enc::new(&KEY.into()), &mut []);
    }
}
