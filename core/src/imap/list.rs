//! Patterns of LIST and LSUB, RFC 9051 §6.3.9: `*` is anything, `%` is anything but the hierarchy delimiter.
//!
//! Matching follows all places of the pattern where the name read so far may stand, so it costs at most
//! pattern times name and cannot be made to backtrack. INBOX matches in any case, its children keep theirs.
//! Which names exist, and whether a name that does not exist must be shown because of its children, is for
//! the caller.
//!
//! ```
//! use postier_core::imap::list::ListPattern;
//!
//! let pattern = ListPattern::new(b"", b"inbox.%", b'.').unwrap();
//! assert!(pattern.matches(b"INBOX.Sent"));
//! assert!(!pattern.matches(b"INBOX.Sent.2026"));
//! ```

use super::command::INBOX;
use alloc::vec;
use alloc::vec::Vec;

/// The longest pattern, in octets; no mailbox has a name as long.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// A pattern that names are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPattern {
    elements: Vec<Element>,
    delimiter: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Octet(u8),
    /// `%`
    WithinLevel,
    /// `*`
    AcrossLevels,
}

impl ListPattern {
    /// The pattern of a LIST command: reference and pattern as one. `None` when they are longer than
    /// [`PATTERN_BYTES_MAX`], which no mailbox can match.
    pub fn new(reference: &[u8], pattern: &[u8], delimiter: u8) -> Option<ListPattern> {
        if reference.len().saturating_add(pattern.len()) > PATTERN_BYTES_MAX {
            return None;
        }
        let mut elements: Vec<Element> = Vec::with_capacity(reference.len() + pattern.len());
        for octet in reference.iter().chain(pattern) {
            let element = match octet {
                b'*' => Element::AcrossLevels,
                b'%' => Element::WithinLevel,
                octet => Element::Octet(*octet),
            };
            match (elements.last_mut(), element) {
                // A run of wildcards is worth its widest.
                (Some(last @ Element::WithinLevel), Element::AcrossLevels) => *last = Element::AcrossLevels,
                (Some(Element::WithinLevel), Element::WithinLevel) => {}
                (Some(Element::AcrossLevels), Element::AcrossLevels | Element::WithinLevel) => {}
                (Some(_) | None, element) => elements.push(element),
            }
        }
        Some(ListPattern { elements, delimiter })
    }

    /// Whether a mailbox of that name (octets as on the wire) is meant.
    pub fn matches(&self, name: &[u8]) -> bool {
        let octets = self.elements.iter().filter(|element| matches!(element, Element::Octet(_))).count();
        if octets > name.len() {
            return false;
        }
        let any_case = if self.is_inbox_or_below(name) { INBOX.len() } else { 0 };
        let mut places = Places { reached: vec![false; self.elements.len() + 1], low: 0, high: 0 };
        self.arrive(&mut places, 0);
        for (index, octet) in name.iter().enumerate() {
            if !self.step(&mut places, *octet, index < any_case) {
                return false;
            }
        }
        places.reached.last() == Some(&true)
    }

    /// What [`ListPattern::matches`] may cost for this name, in places looked at.
    pub fn cost(&self, name: &[u8]) -> usize {
        self.elements.len().saturating_mul(name.len())
    }

    /// Reads one octet of the name; false when no place is left.
    fn step(&self, places: &mut Places, octet: u8, any_case: bool) -> bool {
        let (low, high) = (places.low, places.high);
        (places.low, places.high) = (usize::MAX, 0);
        // From above, because a place moves only upwards: what is set here is not looked at again.
        for index in (low..=high).rev() {
            let was_here = places.reached.get_mut(index).is_some_and(core::mem::take);
            let Some(next) = self.elements.get(index).copied().filter(|_| was_here) else { continue };
            match next {
                Element::Octet(wanted) => {
                    if wanted == octet || (any_case && wanted.eq_ignore_ascii_case(&octet)) {
                        self.arrive(places, index + 1);
                    }
                }
                Element::WithinLevel | Element::AcrossLevels => {
                    if self.takes(next, octet) {
                        self.arrive(places, index);
                    }
                }
            }
        }
        places.low <= places.high
    }

    /// Marks a place, and the one behind it when a wildcard stands there: it may stand for nothing.
    fn arrive(&self, places: &mut Places, index: usize) {
        let wildcard = !matches!(self.elements.get(index), Some(Element::Octet(_)) | None);
        let last = if wildcard { index + 1 } else { index };
        for place in places.reached.iter_mut().take(last + 1).skip(index) {
            *place = true;
        }
        places.low = places.low.min(index);
        places.high = places.high.max(last);
    }

    /// Whether the element is a wildcard that takes the octet and may take more.
    fn takes(&self, element: Element, octet: u8) -> bool {
        match element {
            Element::Octet(_) => false,
            Element::WithinLevel => octet != self.delimiter,
            Element::AcrossLevels => true,
        }
    }

    fn is_inbox_or_below(&self, name: &[u8]) -> bool {
        let first = name.split(|octet| *octet == self.delimiter).next();
        first.is_some_and(|level| level.eq_ignore_ascii_case(INBOX))
    }
}

/// Where in the pattern the name read so far may end.
struct Places {
    /// `reached[n]`: what has been read may be the first n elements.
    reached: Vec<bool>,
    /// No place below is reached.
    low: usize,
    /// No place above is reached.
    high: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        ListPattern::new(b"", pattern.as_bytes(), b'/').expect("short").matches(name.as_bytes())
    }

    #[test]
    fn examples() {
        assert!(matches("*", "a/b/c") && matches("%", "a") && !matches("%", "a/b"));
        assert!(matches("*", "") && matches("", "") && !matches("", "a"));
        assert!(matches("a/%/c", "a/b/c") && !matches("a/%/c", "a/b/b/c") && matches("a*c", "a/b/b/c"));
        assert!(matches("%/%", "a/b") && !matches("%/%", "a/b/c") && matches("%*", "a/b"));
        assert!(matches("*%b", "x/ab") && matches("%%%", "abc"));
        assert!(matches("inbox", "INBOX") && matches("InB%", "INBOX") && matches("inbox/a", "INBOX/a"));
        assert!(!matches("inbox/A", "INBOX/a") && !matches("Sent", "SENT") && !matches("inboxa", "INBOXA"));
        let joined = ListPattern::new(b"~/Mail/", b"%", b'/').expect("short");
        assert!(joined.matches(b"~/Mail/foo") && !joined.matches(b"foo"));
        assert_eq!(ListPattern::new(b"a", &[b'*'; PATTERN_BYTES_MAX], b'/'), None);
    }

    #[test]
    fn nothing_to_backtrack() {
        let pattern = "*a%".repeat(300) + "b";
        assert!(!matches(&pattern, &"a".repeat(1000)));
        assert!(matches(&pattern, &("a".repeat(1000) + "b")));
    }

    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|skip| naive(rest, &name[skip..])),
            Some((b'%', rest)) => (0..=name.len())
                .take_while(|skip| !name[..*skip].contains(&b'/'))
                .any(|skip| naive(rest, &name[skip..])),
            Some((octet, rest)) => name.first() == Some(octet) && naive(rest, &name[1..]),
        }
    }

    fn word(octets: &'static str) -> impl Strategy<Value = String> {
        let octets: Vec<char> = octets.chars().collect();
        proptest::collection::vec(proptest::sample::select(octets), 0..8)
            .prop_map(|octets| octets.into_iter().collect())
    }

    proptest! {
        #[test]
        fn as_naive_matching(pattern in word("ab/*%"), name in word("ab/")) {
            prop_assert_eq!(matches(&pattern, &name), naive(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
