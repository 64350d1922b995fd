//! Random numbers that are the same on every machine: xoshiro256** seeded by splitmix64.
//!
//! Everything a world decides by chance comes from here. [`Rng::fork`] gives a part of the world its own stream, so
//! that a part which is cut away by the shrinker leaves the chances of the others as they were.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        let mut at = seed;
        Rng { state: std::array::from_fn(|_| splitmix(&mut at)) }
    }

    /// An independent stream for the part of the world that has this number. It depends on the seed alone, not on
    /// what was drawn.
    pub fn fork(seed: u64, part: u64) -> Self {
        let mut at = seed ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93);
        Rng::new(splitmix(&mut at))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number from 0 up to, not including, `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The bias of a 64-bit product is far below what a test could see.
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `start` up to, not including, `end`.
    pub fn between(&mut self, start: u64, end: u64) -> u64 {
        start + self.below(end.saturating_sub(start))
    }

    /// An index into something of this length.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these, which are not none.
    pub fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.index(of.len())]
    }

    /// A number whose magnitude is random, too: between 1 and 2^`bits`.
    pub fn magnitude(&mut self, bits: u64) -> u64 {
        let bits = self.below(bits + 1);
        self.between(1, (1 << bits) + 1)
    }

    /// In random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.index(end + 1));
        }
    }
}

/// One step of splitmix64.
pub fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_seed_is_what_it_was() {
        let mut rng = Rng::new(7);
        let first: Vec<u64> = (0..3).map(|_| rng.bits()).collect();
        let again: Vec<u64> = std::iter::repeat_with({
            let mut rng = Rng::new(7);
            move || rng.bits()
        })
        .take(3)
        .collect();
        assert_eq!(first, again);
        assert_ne!(Rng::fork(7, 1).bits(), Rng::fork(7, 2).bits());
    }

    #[test]
    fn numbers_stay_in_their_range_and_reach_its_ends() {
        let mut rng = Rng::new(1);
        let drawn: Vec<u64> = (0..1000).map(|_| rng.between(3, 6)).collect();
        assert!(drawn.contains(&3) && drawn.contains(&5) && drawn.iter().all(|n| (3..6).contains(n)));
        assert_eq!(rng.below(0), 0);
        let mut items = [1, 2, 3, 4];
        rng.shuffle(&mut items);
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3, 4]);
    }
}
