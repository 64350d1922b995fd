//! Annotations of mailboxes and of the server (RFC 5464): the names of entries.
//!
//! ```
//! use postier_core::imap::metadata::{Depth, Entry};
//!
//! let filters = Entry::new(b"/private/Filters/values").unwrap();
//! let small = Entry::new(b"/private/filters/values/small").unwrap();
//! assert!(small.is_within(&filters, Depth::One) && !small.is_within(&filters, Depth::Zero));
//! assert_eq!(Entry::new(b"/elsewhere"), None);
//! ```

use alloc::vec::Vec;

/// The longest name of an entry, in octets.
pub const ENTRY_BYTES_MAX: usize = 250;

/// The entry that says what a mailbox is for (RFC 6154 §4).
pub const SPECIAL_USE: &[u8] = b"/private/specialuse";

/// Entries with their values, by name.
pub type Annotations = Vec<(Entry, Vec<u8>)>;

/// The name of an entry, in lower case: names are case-insensitive (RFC 5464 §3.2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry(Vec<u8>);

/// How far below a named entry others are meant, too (RFC 5464 §4.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// Only the entry itself.
    #[default]
    Zero,
    /// And those immediately below it.
    One,
    /// And all below it.
    Infinity,
}

impl Entry {
    /// A name as the client has it; `None` if it is none. RFC 5464 §3.2.1: levels after `/`, none of them empty, of
    /// printable US-ASCII without `*` and `%`; the first is `private` or `shared` (§6).
    pub fn new(name: &[u8]) -> Option<Entry> {
        let name = name.to_ascii_lowercase();
        let mut levels = name.strip_prefix(b"/")?.split(|octet| *octet == b'/');
        let printable = |octet: &u8| (b' '..=b'~').contains(octet) && !matches!(octet, b'*' | b'%');
        let is_name = name.len() <= ENTRY_BYTES_MAX
            && matches!(levels.clone().next(), Some(b"private" | b"shared"))
            && levels.all(|level| !level.is_empty() && level.iter().all(printable));
        is_name.then_some(Entry(name))
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is below `/private` or `/shared`: those two are names of entries, and have no value.
    pub fn can_have_value(&self) -> bool {
        self.0.iter().filter(|octet| **octet == b'/').count() > 1
    }

    /// Whether everybody on the server shares it; otherwise it is the account's own.
    pub fn is_shared(&self) -> bool {
        self.0.starts_with(b"/shared")
    }

    /// Whether it is `other`, or below that within the depth.
    pub fn is_within(&self, other: &Entry, depth: Depth) -> bool {
        let Some(rest) = self.0.strip_prefix(other.as_bytes()) else { return false };
        let below = rest.strip_prefix(b"/");
        match depth {
            Depth::Zero => rest.is_empty(),
            Depth::One => rest.is_empty() || below.is_some_and(|below| !below.contains(&b'/')),
            Depth::Infinity => rest.is_empty() || below.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_first_level_and_no_empty_one() {
        for bad in [
            &b""[..],
            b"/",
            b"private/a",
            b"/private/",
            b"/private//a",
            b"/other/a",
            b"/shared/a*",
            b"/shared/%",
        ] {
            assert_eq!(Entry::new(bad), None, "{}", bad.escape_ascii());
        }
        for bad in [
            &b"/private/\xc3\xa9"[..],
            b"/private/\x19",
            &[b"/private/".to_vec(), [b'a'; 250].to_vec()].concat(),
        ] {
            assert_eq!(Entry::new(bad), None);
        }
        let entry = Entry::new(b"/PRIVATE/vendor/X y").unwrap();
        assert_eq!(entry.as_bytes(), b"/private/vendor/x y");
        assert!(entry.can_have_value() && !entry.is_shared());
        assert!(!Entry::new(b"/shared").unwrap().can_have_value());
    }

    #[test]
    fn depth_counts_levels() {
        let entry = |name: &str| Entry::new(name.as_bytes()).unwrap();
        let (a, b, c) = (entry("/shared/a"), entry("/shared/a/b"), entry("/shared/a/b/c"));
        let within = |depth| [&a, &b, &c].map(|entry| entry.is_within(&a, depth));
        assert_eq!(within(Depth::Zero), [true, false, false]);
        assert_eq!(within(Depth::One), [true, true, false]);
        assert_eq!(within(Depth::Infinity), [true, true, true]);
        assert!(!entry("/shared/ab").is_within(&a, Depth::Infinity));
    }
}
