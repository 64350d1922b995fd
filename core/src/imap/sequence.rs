//! Sets of message numbers: what a client names ([`SequenceSet`]) and what the server knows ([`UidSet`]).
//!
//! Both are kept as sorted, disjoint, non-adjacent ranges, so `1:4294967295` costs eight bytes however
//! often it is repeated. A `SequenceSet` may contain `*`, which has no value until somebody says what the
//! largest number is: [`SequenceSet::resolve`] does that and gives a `UidSet`. `$` (SEARCHRES) stands
//! for what a session has saved: it resolves to nothing, and who may meet it asks [`SequenceSet::is_saved`] before.
//!
//! ```
//! use postier_core::imap::sequence::{SequenceSet, UidSet};
//!
//! let asked = SequenceSet::parse(b"7,2:4,3:5,*").unwrap();
//! let there: UidSet = asked.resolve(9);
//! assert_eq!(there.to_string(), "2:5,7,9");
//! assert!(there.contains(4) && !there.contains(6));
//! ```

use super::response::write_number;
use alloc::vec::Vec;
use core::fmt;

/// An inclusive range of numbers, `first <= last`, never containing 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NumberRange {
    /// The smallest number of the range.
    pub first: u32,
    /// The largest number of the range; equal to `first` for a single number.
    pub last: u32,
}

impl NumberRange {
    /// The range between two numbers in either order (RFC 9051 §9, seq-range: `2:4` and `4:2` are equal).
    pub fn between(a: u32, b: u32) -> Self {
        NumberRange { first: a.min(b), last: a.max(b) }
    }

    /// How many numbers there are in the range.
    pub fn count(self) -> u64 {
        u64::from(self.last) - u64::from(self.first) + 1
    }

    /// Whether `number` lies in the range.
    pub fn contains(self, number: u32) -> bool {
        self.first <= number && number <= self.last
    }
}

impl fmt::Display for NumberRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}:{}", self.first, self.last),
        }
    }
}

/// A set of UIDs (or of sequence numbers): sorted, disjoint, non-adjacent ranges.
///
/// Looking up is logarithmic in the number of ranges; pushing in ascending order is constant; inserting or
/// removing in the middle moves the ranges behind it. [`Display`](fmt::Display) writes the wire form `1:3,5`
/// (nothing at all for the empty set, which has no wire form).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UidSet {
    ranges: Vec<NumberRange>,
}

impl UidSet {
    /// The empty set. Does not allocate.
    pub const fn new() -> Self {
        UidSet { ranges: Vec::new() }
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many numbers are in the set.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|range| range.count()).sum()
    }

    /// The smallest number.
    pub fn first(&self) -> Option<u32> {
        self.ranges.first().map(|range| range.first)
    }

    /// The largest number.
    pub fn last(&self) -> Option<u32> {
        self.ranges.last().map(|range| range.last)
    }

    /// The ranges in ascending order; no two touch.
    pub fn ranges(&self) -> &[NumberRange] {
        &self.ranges
    }

    /// Every number in ascending order. A set taken from a client may hold four thousand million of them:
    /// intersect it with what exists first.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|range| range.first..=range.last)
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u32) -> bool {
        let index = self.ranges.partition_point(|range| range.last < number);
        self.ranges.get(index).is_some_and(|range| range.first <= number)
    }

    /// Adds one number; constant time when it is larger than all that are there. 0 is ignored.
    pub fn push(&mut self, number: u32) {
        self.push_range(NumberRange { first: number, last: number });
    }

    /// Adds a range; constant time when it begins at or above the beginning of the last range. 0 is ignored.
    pub fn push_range(&mut self, range: NumberRange) {
        let range = NumberRange { first: range.first.max(1), last: range.last };
        if range.first > range.last {
            return;
        }
        match self.ranges.last_mut() {
            Some(end) if range.first < end.first => self.insert_range(range),
            Some(end) if range.first <= end.last.saturating_add(1) => end.last = end.last.max(range.last),
            Some(_) | None => self.ranges.push(range),
        }
    }

    /// Adds one number, anywhere; says whether it was new. 0 is never new.
    pub fn insert(&mut self, number: u32) -> bool {
        if number == 0 || self.contains(number) {
            return false;
        }
        self.push(number);
        true
    }

    fn insert_range(&mut self, range: NumberRange) {
        // All ranges in from..to overlap or touch the new one and become one with it.
        let from = self.ranges.partition_point(|old| old.last.saturating_add(1) < range.first);
        let to = self.ranges.partition_point(|old| old.first <= range.last.saturating_add(1));
        let mut merged = range;
        if let Some(touching) = self.ranges.get(from..to)
            && let (Some(low), Some(high)) = (touching.first(), touching.last())
        {
            merged = NumberRange { first: low.first.min(range.first), last: high.last.max(range.last) };
        }
        self.ranges.splice(from..to.max(from), [merged]);
    }

    /// Takes one number out; says whether it was there.
    pub fn remove(&mut self, number: u32) -> bool {
        let index = self.ranges.partition_point(|range| range.last < number);
        let Some(range) = self.ranges.get_mut(index).filter(|range| range.first <= number) else {
            return false;
        };
        let NumberRange { first, last } = *range;
        match (first == number, last == number) {
            (true, true) => drop(self.ranges.remove(index)),
            (true, false) => range.first = number.saturating_add(1),
            (false, true) => range.last = number.saturating_sub(1),
            (false, false) => {
                range.last = number.saturating_sub(1);
                self.ranges
                    .insert(index.saturating_add(1), NumberRange { first: number.saturating_add(1), last });
            }
        }
        true
    }

    /// The numbers at these places of the ascending order, the first place being 0.
    pub fn slice(&self, places: core::ops::Range<u64>) -> UidSet {
        let mut out = UidSet::new();
        let mut place = 0;
        for range in &self.ranges {
            let end = place + range.count();
            let (from, to) = (places.start.clamp(place, end) - place, places.end.clamp(place, end) - place);
            // Both are at most the length of the range, so they fit where its numbers do.
            if from < to {
                let (first, last) = (range.first + from as u32, range.first + (to - 1) as u32);
                out.push_range(NumberRange { first, last });
            }
            place = end;
        }
        out
    }

    /// What is in one set or the other; linear in the number of ranges.
    pub fn union(&self, other: &UidSet) -> UidSet {
        let mut out = UidSet { ranges: Vec::with_capacity(self.ranges.len().max(other.ranges.len())) };
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        loop {
            let from_left = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) => a.first <= b.first,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => return out,
            };
            let next = if from_left { left.next() } else { right.next() };
            next.into_iter().for_each(|range| out.push_range(*range));
        }
    }

    /// What is in both sets; linear in the number of ranges.
    pub fn intersect(&self, other: &UidSet) -> UidSet {
        let mut out = UidSet::new();
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            let common = NumberRange { first: a.first.max(b.first), last: a.last.min(b.last) };
            let left_ends_first = a.last < b.last;
            out.push_range(common);
            let _ = if left_ends_first { left.next() } else { right.next() };
        }
        out
    }

    /// What is in this set and not in the other; linear in the number of ranges.
    pub fn difference(&self, other: &UidSet) -> UidSet {
        let mut out = UidSet::new();
        let mut holes = other.ranges.iter().peekable();
        for range in &self.ranges {
            let mut next = Some(range.first);
            while holes.next_if(|hole| hole.last < range.first).is_some() {}
            while let (Some(first), Some(hole)) = (next, holes.peek().filter(|hole| hole.first <= range.last))
            {
                if first < hole.first {
                    out.push_range(NumberRange { first, last: hole.first.saturating_sub(1) });
                }
                next = hole.last.checked_add(1).filter(|after| *after <= range.last);
                if next.is_some() {
                    holes.next();
                }
            }
            if let Some(first) = next {
                out.push_range(NumberRange { first, last: range.last });
            }
        }
        out
    }
}

impl UidSet {
    /// Appends the wire form `1:3,5`.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (index, range) in self.ranges.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_number(out, u64::from(range.first));
            if range.first != range.last {
                out.push(b':');
                write_number(out, u64::from(range.last));
            }
        }
    }
}

impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{range}")?;
        }
        Ok(())
    }
}

impl FromIterator<u32> for UidSet {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut set = UidSet::new();
        numbers.into_iter().for_each(|number| set.push(number));
        set
    }
}

impl FromIterator<NumberRange> for UidSet {
    fn from_iter<I: IntoIterator<Item = NumberRange>>(ranges: I) -> Self {
        let mut set = UidSet::new();
        ranges.into_iter().for_each(|range| set.push_range(range));
        set
    }
}

/// The messages a client names, RFC 9051 §9 sequence-set: numbers, ranges, `*`.
///
/// Whether they are sequence numbers or UIDs is for the command to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceSet {
    numbers: UidSet,
    /// The smallest `n` of all `n:*`, `u32::MAX` for a `*` alone. One number is enough: each `n:*` is
    /// "everything from n on, and the largest in any case", so the smallest `n` covers the others.
    from_to_star: Option<u32>,
    /// It is `$`, and nothing else.
    saved: bool,
}

impl SequenceSet {
    /// `$`: the result of the last `SEARCH RETURN (SAVE)` (RFC 9051 §6.4.4.1).
    pub const SAVED: SequenceSet = SequenceSet { numbers: UidSet::new(), from_to_star: None, saved: true };

    /// Whether it is `$`, which only the session can resolve: it is a set of messages, whatever their numbers.
    pub fn is_saved(&self) -> bool {
        self.saved
    }

    /// Reads a whole sequence set. `None` if it is not one: empty, a 0, a number above `u32::MAX`, or any
    /// other octet before its end.
    pub fn parse(text: &[u8]) -> Option<SequenceSet> {
        match SequenceSet::parse_prefix(text)? {
            (set, read) if read == text.len() => Some(set),
            (_, _) => None,
        }
    }

    /// Reads a sequence set from the beginning of `text` up to the first octet that cannot belong to it, and
    /// says how many octets it took.
    pub(crate) fn parse_prefix(text: &[u8]) -> Option<(SequenceSet, usize)> {
        let mut ranges: Vec<NumberRange> = Vec::new();
        let mut ascending = true;
        let mut from_to_star: Option<u32> = None;
        let mut at = 0;
        loop {
            let low = read_number(text, &mut at)?;
            let high = match text.get(at) {
                Some(b':') => {
                    at += 1;
                    read_number(text, &mut at)?
                }
                Some(_) | None => low,
            };
            match (low, high) {
                (Number::Star, Number::Star) => from_to_star = from_to_star.or(Some(u32::MAX)),
                (Number::Star, Number::Value(n)) | (Number::Value(n), Number::Star) => {
                    from_to_star = Some(from_to_star.map_or(n, |old| old.min(n)));
                }
                (Number::Value(a), Number::Value(b)) => {
                    ascending &= append_range(&mut ranges, NumberRange::between(a, b));
                }
            }
            match text.get(at) {
                Some(b',') => at += 1,
                Some(_) | None => break,
            }
        }
        if !ascending {
            // Sorted first, each range is added at the end of the set and none has to be moved.
            ranges.sort_unstable();
        }
        let numbers = if ascending { UidSet { ranges } } else { ranges.into_iter().collect() };
        Some((SequenceSet { numbers, from_to_star, saved: false }, at))
    }

    /// The numbers from 1 to `max` that the set names. `*` is `max`, so `n:*` with `n` above `max` still names
    /// `max` (RFC 9051 §6.4.9). Nothing when `max` is 0.
    pub fn resolve(&self, max: u32) -> UidSet {
        let mut out = UidSet { ranges: Vec::with_capacity(self.numbers.ranges.len() + 1) };
        for range in self.numbers.ranges.iter().take_while(|range| range.first <= max) {
            out.push_range(NumberRange { first: range.first, last: range.last.min(max) });
        }
        if let Some(from) = self.from_to_star {
            out.push_range(NumberRange { first: from.min(max), last: max });
        }
        out
    }

    /// The same messages of `max` by other numbers, which ascend as these do: `n:*` goes on to whatever will be the
    /// largest, and so does what is `max` for being a `*`.
    pub(super) fn renumbered(&self, max: u32, number_of: impl Fn(u32) -> Option<u32>) -> SequenceSet {
        let numbers = SequenceSet { from_to_star: None, ..self.clone() }.resolve(max);
        let ends = |range: &NumberRange| {
            Some(NumberRange { first: number_of(range.first)?, last: number_of(range.last)? })
        };
        let numbers = numbers.ranges.iter().filter_map(ends).collect();
        let from_to_star = self.from_to_star.map(|from| number_of(from).unwrap_or(u32::MAX));
        SequenceSet { numbers, from_to_star, saved: self.saved }
    }

    /// Whether the set names `number` when `max` is the largest there is.
    pub fn contains(&self, number: u32, max: u32) -> bool {
        number > 0
            && number <= max
            && (self.numbers.contains(number) || self.from_to_star.is_some_and(|n| number >= n.min(max)))
    }

    /// The largest number written out (the `n` of an `n:*` included); `None` for a lone `*`. A sequence
    /// number above the number of messages is an error of the client (RFC 9051 §9, seq-number).
    pub fn largest_number(&self) -> Option<u32> {
        let from = self.from_to_star.filter(|n| *n != u32::MAX);
        self.numbers.last().max(from)
    }

    /// Whether `*` occurs in the set.
    pub fn has_star(&self) -> bool {
        self.from_to_star.is_some()
    }
}

impl From<UidSet> for SequenceSet {
    fn from(numbers: UidSet) -> Self {
        SequenceSet { numbers, from_to_star: None, saved: false }
    }
}

impl fmt::Display for SequenceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comma = if self.numbers.is_empty() { "" } else { "," };
        match self.from_to_star {
            _ if self.saved => f.write_str("$"),
            None => write!(f, "{}", self.numbers),
            Some(u32::MAX) => write!(f, "{}{comma}*", self.numbers),
            Some(n) => write!(f, "{}{comma}{n}:*", self.numbers),
        }
    }
}

/// Appends a range, merging with the last one where they touch; false when the order is not ascending, in
/// which case the whole must be sorted and merged at the end.
fn append_range(ranges: &mut Vec<NumberRange>, range: NumberRange) -> bool {
    match ranges.last_mut() {
        Some(end) if end.first <= range.first && range.first <= end.last.saturating_add(1) => {
            end.last = end.last.max(range.last);
            true
        }
        Some(end) if range.first < end.first => {
            ranges.push(range);
            false
        }
        Some(_) | None => {
            ranges.push(range);
            true
        }
    }
}

#[derive(Clone, Copy)]
enum Number {
    Star,
    Value(u32),
}

fn read_number(text: &[u8], at: &mut usize) -> Option<Number> {
    if text.get(*at) == Some(&b'*') {
        *at += 1;
        return Some(Number::Star);
    }
    let mut value: u32 = 0;
    while let Some(digit) = text.get(*at).filter(|octet| octet.is_ascii_digit()) {
        value = value.checked_mul(10)?.checked_add(u32::from(*digit - b'0'))?;
        *at += 1;
    }
    // nz-number: no digit at all and 0 are both wrong.
    (value != 0).then_some(Number::Value(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::format;
    use alloc::string::{String, ToString};
    use proptest::prelude::*;

    fn resolved(text: &str, max: u32) -> String {
        let set = SequenceSet::parse(text.as_bytes()).expect("a set");
        let found = set.resolve(max);
        for pair in found.ranges.windows(2) {
            assert!(pair[0].last + 1 < pair[1].first, "{text} {found:?}");
        }
        found.to_string()
    }

    #[test]
    fn examples_of_rfc_9051() {
        assert_eq!(resolved("2,4:7,9,12:*", 15), "2,4:7,9,12:15");
        assert_eq!(resolved("*:4,5:7", 10), "4:10");
        assert_eq!(resolved("2:4", 15), "2:4");
        assert_eq!(resolved("4:2", 15), "2:4");
        assert_eq!(resolved("3291:*", 15), "15");
        assert_eq!(resolved("*", 15), "15");
        assert_eq!(resolved("1:*", 0), "");
        assert_eq!(resolved("1:3,4,9:*", 4), "1:4");
    }

    #[test]
    fn wrong_sets() {
        for text in ["", "0", "1:0", ",1", "1,", "1:", ":1", "1;2", "4294967296", "1:2:3", "-1", "$", "**"] {
            assert_eq!(SequenceSet::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_bomb_costs_one_range() {
        let text = "1:4294967295,".repeat(10_000) + "4294967295:1";
        let set = SequenceSet::parse(text.as_bytes()).expect("a set");
        assert_eq!(set.numbers.ranges.capacity(), 4);
        assert_eq!(set.to_string(), "1:4294967295");
        assert_eq!(set.resolve(3).count(), 3);
    }

    #[test]
    fn display_and_largest() {
        assert_eq!(
            (SequenceSet::SAVED.to_string().as_str(), SequenceSet::SAVED.resolve(9).count()),
            ("$", 0)
        );
        let everything: UidSet = [NumberRange { first: 1, last: u32::MAX }].into_iter().collect();
        assert_eq!(everything.slice(u64::from(u32::MAX) - 2..u64::MAX).to_string(), "4294967294:4294967295");
        let set = SequenceSet::parse(b"5,1:2,9:*,*").expect("a set");
        assert_eq!(set.to_string(), "1:2,5,9:*");
        assert_eq!(set.largest_number(), Some(9));
        assert_eq!(SequenceSet::parse(b"*").expect("a set").largest_number(), None);
    }

    fn set_text() -> impl Strategy<Value = String> {
        let number = prop_oneof![8 => (1u32..40).prop_map(|n| n.to_string()), 1 => Just(String::from("*"))];
        let item =
            prop_oneof![number.clone(), (number.clone(), number).prop_map(|(a, b)| format!("{a}:{b}"))];
        proptest::collection::vec(item, 1..12).prop_map(|items| items.join(","))
    }

    fn naive(text: &str, max: u32) -> BTreeSet<u32> {
        let value = |text: &str| if text == "*" { max } else { text.parse::<u32>().expect("a number") };
        let mut out = BTreeSet::new();
        for item in text.split(',') {
            let (a, b) = item.split_once(':').unwrap_or((item, item));
            let (a, b) = (value(a), value(b));
            out.extend((a.min(b)..=a.max(b)).filter(|n| *n >= 1 && *n <= max));
        }
        out
    }

    proptest! {
        #[test]
        fn sequence_set_is_the_naive_one(text in set_text(), max in 0u32..45) {
            let set = SequenceSet::parse(text.as_bytes()).expect("a set");
            let expected = naive(&text, max);
            prop_assert_eq!(resolved(&text, max), expected.iter().copied().collect::<UidSet>().to_string());
            for n in 0..50 {
                prop_assert_eq!(set.contains(n, max), expected.contains(&n), "{}", n);
            }
            prop_assert_eq!(SequenceSet::parse(set.to_string().as_bytes()), Some(set));
        }

        #[test]
        fn slices_are_those_of_a_list(
            numbers in proptest::collection::btree_set(1u32..60, 0..40),
            from in 0usize..50,
            length in 0usize..50,
        ) {
            let set: UidSet = numbers.iter().copied().collect();
            let expected: UidSet = numbers.iter().copied().skip(from).take(length).collect();
            prop_assert_eq!(set.slice(from as u64..(from + length) as u64), expected);
        }

        #[test]
        fn uid_set_is_a_set(
            steps in proptest::collection::vec((0u8..4, 1u32..60, 0u32..6), 0..60),
            other in proptest::collection::btree_set(1u32..60, 0..30),
        ) {
            let (mut set, mut model) = (UidSet::new(), BTreeSet::new());
            for (what, n, more) in steps {
                match what {
                    0 => prop_assert_eq!(set.insert(n), model.insert(n)),
                    1 => prop_assert_eq!(set.remove(n), model.remove(&n)),
                    2 => { set.push(n); model.insert(n); }
                    _ => {
                        set.push_range(NumberRange { first: n, last: n + more });
                        model.extend(n..=n + more);
                    }
                }
                for pair in set.ranges.windows(2) {
                    prop_assert!(pair[0].last + 1 < pair[1].first);
                }
            }
            let right: UidSet = other.iter().copied().collect();
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert_eq!(set.count(), model.len() as u64);
            prop_assert!(set.union(&right).iter().eq(model.union(&other).copied()));
            prop_assert!(set.intersect(&right).iter().eq(model.intersection(&other).copied()));
            prop_assert!(set.difference(&right).iter().eq(model.difference(&other).copied()));
            prop_assert!((0..70).all(|n| set.contains(n) == model.contains(&n)));
        }

        #[test]
        fn any_octets(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = SequenceSet::parse_prefix(&text);
        }
    }
}
