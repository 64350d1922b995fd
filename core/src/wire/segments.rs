//! For tests: cuts an input into random segments, and makes inputs that are dense in what matters.

use alloc::vec::Vec;
use proptest::prelude::*;

/// The slices of `input` between the `cuts`, each taken modulo what is left; empty slices included.
pub(crate) fn cut<'i>(mut input: &'i [u8], cuts: &[usize]) -> Vec<&'i [u8]> {
    let mut segments = Vec::new();
    for cut in cuts {
        let (head, tail) = input.split_at(cut % (input.len() + 1));
        segments.push(head);
        input = tail;
    }
    segments.push(input);
    segments
}

/// Where to cut: mostly short steps, so that every pair of octets is torn apart in some run.
pub(crate) fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![Just(0usize), 1usize..4, 0usize..200], 0..60)
}

/// Up to `len_max` octets drawn only from `alphabet`.
pub(crate) fn octets_of(alphabet: &'static [u8], len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(alphabet), 0..=len_max)
}
