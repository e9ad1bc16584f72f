//! Fields of the modern profile's handshake that are right, nearly right, or made to break a rule of the profile.

use rtmfp_core::wire::{encode_marker, encode_option};

use crate::siege::Draw;

/// Ed25519 public keys of small order: under each, a lax verifier takes one signature for many messages.
const SMALL_ORDER: [[u8; 32]; 6] = [
    edge(1, 0, 0),
    edge(0, 0, 0),
    edge(0, 0, 0x80),
    edge(0xec, 0xff, 0x7f),
    edge(0xee, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
];

/// The order of the group of Ed25519 (RFC 8032 §5.1), lowest byte first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

const fn edge(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    (bytes[0], bytes[31]) = (first, last);
    bytes
}

impl Draw {
    /// Mostly as it is, at times damaged.
    pub(super) fn nearly(&mut self, mut right: Vec<u8>) -> Vec<u8> {
        if self.below(8) == 7 {
            self.damage(&mut right);
        }
        right
    }

    /// 32 bytes that are a key, or nearly one.
    fn key(&mut self, right: &[u8]) -> Vec<u8> {
        match self.below(6) {
            0..2 => right.get(2..34).unwrap_or_default().to_vec(),
            2..4 => SMALL_ORDER[self.below(SMALL_ORDER.len() as u64) as usize].to_vec(),
            4 => self.bytes(32),
            _ => {
                let len = self.below(70) as usize;
                self.bytes(len)
            }
        }
    }

    /// Options, of which some break a rule: too many, too long, twice, unknown, critical, a marker. `known` are the types
    /// that mean something here, and `right` is a field whose first option has a key of 32 bytes.
    fn options_of(&mut self, known: &[u64], right: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..=self.below(4) {
            let kind = match self.below(8) {
                0..6 => known[self.below(known.len() as u64) as usize],
                6 => 0x60 + self.below(4),
                _ => self.number(),
            };
            let value = match self.below(8) {
                0..4 => self.key(right),
                4 => Vec::new(),
                5 => b"victim.example".to_vec(),
                6 => (0..self.below(20)).map(|number| number as u8 % 5).collect(),
                _ => vec![b'x'; 200 + self.below(9_000) as usize],
            };
            encode_option(kind, &value, &mut out);
        }
        if self.one_in(8) {
            encode_marker(&mut out);
        }
        out
    }

    /// A certificate: `own`, one of somebody else, or one that is made up.
    pub(super) fn certificate(&mut self, own: &[u8], others: &[&[u8]]) -> Vec<u8> {
        match self.below(12) {
            0..7 => own.to_vec(),
            7 => {
                let mut damaged = own.to_vec();
                self.damage(&mut damaged);
                damaged
            }
            8..10 => others[self.below(others.len() as u64) as usize].to_vec(),
            10 => {
                let mut out = Vec::new();
                encode_option(0x41, &SMALL_ORDER[self.below(SMALL_ORDER.len() as u64) as usize], &mut out);
                out
            }
            _ => self.options_of(&[0x41, 0x42, 0x44], own),
        }
    }

    /// A keying component, of which `right` is the one that fits.
    pub(super) fn component(&mut self, right: &[u8]) -> Vec<u8> {
        match self.below(12) {
            0..8 => right.to_vec(),
            8 => {
                let mut damaged = right.to_vec();
                self.damage(&mut damaged);
                damaged
            }
            9 => {
                let mut out = Vec::new();
                encode_option(0x51, &self.key(right), &mut out);
                let ciphers: Vec<u8> = (0..self.below(20)).map(|_| self.below(5) as u8).collect();
                encode_option(0x53, &ciphers, &mut out);
                out
            }
            _ => self.options_of(&[0x51, 0x53, 0x56], right),
        }
    }

    /// A discriminator, of which `right` is one that selects the endpoint.
    pub(super) fn discriminator(&mut self, right: &[u8]) -> Vec<u8> {
        match self.below(8) {
            0..5 => right.to_vec(),
            5..7 => self.options_of(&[0x4f, 0x42, 0x44], right),
            _ => self.nearly(right.to_vec()),
        }
    }

    /// A signature, of which `right` is the valid one: damaged, of another length, the same number written otherwise, or
    /// that of a key of small order.
    pub(super) fn signature(&mut self, right: Vec<u8>) -> Vec<u8> {
        let mut signature = right;
        match self.below(12) {
            0..7 => {}
            7..9 => self.damage(&mut signature),
            9 => {
                // S + L is the same number, and only S < L is allowed.
                let mut carry = 0;
                for (byte, add) in signature.iter_mut().skip(32).zip(ORDER) {
                    let sum = u16::from(*byte) + u16::from(add) + carry;
                    (*byte, carry) = (sum as u8, sum >> 8);
                }
            }
            10 => {
                signature = SMALL_ORDER[self.below(SMALL_ORDER.len() as u64) as usize].to_vec();
                signature.resize(64, 0);
            }
            _ => {
                let len = self.below(200) as usize;
                signature = self.bytes(len);
            }
        }
        signature
    }
}
