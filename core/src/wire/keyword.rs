//! The words of a grammar, in any ASCII case: a [`Keyword`] is a whole word as one number, so that two are
//! compared at once, and `match_keyword!` finds a word among many without comparing it with each.
//!
//! What it will not do: words longer than [`KEYWORD_BYTES_MAX`] octets. A peer's longer word equals no keyword
//! of ours; a longer one of ours does not compile where it is a constant.
//!
//! ```
//! use postier_core::wire::keyword::Keyword;
//!
//! const NOOP: Keyword = Keyword::new("NOOP");
//! assert_eq!(Keyword::of(b"noop"), NOOP);
//! assert_ne!(Keyword::of(b"noop\0"), NOOP);
//! ```

/// The longest word that can be a [`Keyword`], in octets.
pub const KEYWORD_BYTES_MAX: usize = 15;

/// A word without its case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyword(u128);

impl Keyword {
    /// A word of ours, at most [`KEYWORD_BYTES_MAX`] octets.
    ///
    /// # Panics
    /// If it is longer; in a constant that is an error of the compiler.
    pub const fn new(word: &str) -> Keyword {
        assert!(word.len() <= KEYWORD_BYTES_MAX, "a keyword has at most 15 octets");
        Keyword::of(word.as_bytes())
    }

    /// A word of a peer. One that is too long equals nothing [`Keyword::new`] makes.
    #[inline]
    pub const fn of(word: &[u8]) -> Keyword {
        if word.len() > KEYWORD_BYTES_MAX {
            return Keyword(u128::MAX);
        }
        // With its length: a NUL in a word is an octet like others.
        Keyword(upper(pack(word)) | (word.len() as u128) << (8 * KEYWORD_BYTES_MAX))
    }

    /// The words of a table in which each has a value.
    ///
    /// # Panics
    /// As [`Keyword::new`].
    pub const fn of_table<T, const N: usize>(table: &[(&str, T); N]) -> [Keyword; N] {
        let (mut keywords, mut at) = ([Keyword(0); N], 0);
        while at < N {
            keywords[at] = Keyword::new(table[at].0);
            at += 1;
        }
        keywords
    }
}

/// The octets of a word of at most 16 as one number, the first one lowest.
#[inline]
const fn pack(word: &[u8]) -> u128 {
    // Two pieces that overlap: the octets both have are the same in both.
    if let (Some(head), Some(tail)) = (word.first_chunk(), word.last_chunk()) {
        let (head, tail) = (u64::from_le_bytes(*head), u64::from_le_bytes(*tail));
        return head as u128 | (tail as u128) << (8 * (word.len() - 8));
    }
    if let (Some(head), Some(tail)) = (word.first_chunk(), word.last_chunk()) {
        let (head, tail) = (u32::from_le_bytes(*head), u32::from_le_bytes(*tail));
        return (head as u64 | (tail as u64) << (8 * (word.len() - 4))) as u128;
    }
    (match word {
        [a, b, c, ..] => u32::from_le_bytes([*a, *b, *c, 0]),
        [a, b] => u32::from_le_bytes([*a, *b, 0, 0]),
        [a] => *a as u32,
        [] => 0,
    }) as u128
}

/// The upper case of 16 octets.
#[inline]
const fn upper(octets: u128) -> u128 {
    const EACH: u128 = u128::from_ne_bytes([1; 16]);
    // The top bits say what is true of each octet; no sum goes over into the next.
    let seven_bits = octets & (EACH * 0x7f);
    let from_a = seven_bits + EACH * (0x80 - b'a' as u128);
    let above_z = seven_bits + EACH * (0x7f - b'z' as u128);
    let is_lower = from_a & !above_z & !octets & (EACH << 7);
    octets ^ (is_lower >> 2)
}

/// A `match` over the words of a grammar in any case. The last arm takes all others.
///
/// ```text
/// match_keyword!(word,
///     "HEADER" => Section::Header,
///     "MIME" if in_part => Section::Mime,
///     _ => return None,
/// )
/// ```
macro_rules! match_keyword {
    ($word:expr, $($keyword:literal $(if $guard:expr)? => $value:expr,)+ _ => $other:expr $(,)?) => {{
        // The compiler makes a search tree of equalities with one number.
        let word = $crate::wire::keyword::Keyword::of($word);
        $(if word == const { $crate::wire::keyword::Keyword::new($keyword) } $(&& $guard)? {
            $value
        } else)+ {
            $other
        }
    }};
}
pub(crate) use match_keyword;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn long_words_are_no_keywords() {
        let (longest, longer) = ([b'a'; KEYWORD_BYTES_MAX], [b'a'; KEYWORD_BYTES_MAX + 1]);
        assert_eq!(Keyword::of(&longest), Keyword::new("AAAAAAAAAAAAAAA"));
        assert_ne!(Keyword::of(&longer), Keyword::of(&longest));
        assert_ne!(Keyword::of(&[0xff; KEYWORD_BYTES_MAX]), Keyword::of(&longer));
    }

    #[test]
    fn the_first_arm_that_fits() {
        let number =
            |word: &str| match_keyword!(word.as_bytes(), "ONE" => 1, "TWO" if false => 2, "TWO" => 3, _ => 0);
        assert_eq!(["one", "Two", "three", "", "ones"].map(number), [1, 3, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn equal_are_words_that_differ_only_in_case(
            left in prop::collection::vec(prop::sample::select(&b"aAzZ@[`{\0\xe1\xc1"[..]), 0..=KEYWORD_BYTES_MAX),
            flips in prop::collection::vec(prop::sample::select(&[0u8, 0, 0, 0x20][..]), KEYWORD_BYTES_MAX),
            added in 0usize..40,
        ) {
            let mut right: Vec<u8> = left.iter().zip(flips).map(|(octet, flip)| octet ^ flip).collect();
            right.extend((added < 2).then_some(0));
            right.truncate(KEYWORD_BYTES_MAX);
            prop_assert_eq!(Keyword::of(&left) == Keyword::of(&right), left.eq_ignore_ascii_case(&right));
        }
    }
}
