//! Numbers and strings in our own files, little-endian, and the checksums over them.

use crate::imap::sequence::NumberRange;
use alloc::vec::Vec;

/// The checksum that the first of a file continues.
pub(super) const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// The checksum of octets that continues another one: every octet, and every bit of the one before, makes another one.
pub(super) fn sum(before: u64, body: &[u8]) -> u64 {
    // Each step is a bijection of the sum as well as of the octets, so one changed word is always noticed.
    let step = |sum: u64, word: u64| (sum ^ word).rotate_left(29).wrapping_mul(0x9fb2_1c65_1e98_df25);
    let mut words = body.chunks_exact(8);
    let mut result = step(before, body.len() as u64);
    for word in &mut words {
        result = step(result, word.try_into().map_or(0, u64::from_le_bytes));
    }
    let mut last = [0; 8];
    for (slot, octet) in last.iter_mut().zip(words.remainder()) {
        *slot = *octet;
    }
    let result = step(result, u64::from_le_bytes(last));
    result ^ result >> 32
}

pub(super) fn push_u32(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

/// Names, keywords and values of keys are all short.
pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or(bytes));
}

pub(super) fn push_range(out: &mut Vec<u8>, range: NumberRange) {
    out.extend_from_slice(&range.first.to_le_bytes());
    out.extend_from_slice(&range.last.to_le_bytes());
}

/// What is left to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Octets<'f>(&'f [u8]);

impl<'f> Octets<'f> {
    pub(super) fn new(octets: &'f [u8]) -> Octets<'f> {
        Octets(octets)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many octets are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'f [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[octet]| octet)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn bytes(&mut self) -> Option<&'f [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    pub(super) fn range(&mut self) -> Option<NumberRange> {
        let (first, last) = (self.u32()?, self.u32()?);
        (first <= last).then_some(NumberRange { first, last })
    }
}
