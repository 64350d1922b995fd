//! Flags of messages: the five system flags, keywords, and the compact set a mailbox keeps per message.
//!
//! A client writes names ([`FlagList`]); a mailbox keeps bits ([`FlagSet`]), where a keyword's bit is its
//! place in the mailbox's own table of at most 26 keywords. Only the owner of that table can turn one into
//! the other. `\Recent` is no flag of a message but a fact about a session (RFC 3501 §2.3.2): it is never in
//! a set, and [`FlagSet::write`] takes it as an argument.
//!
//! ```
//! use postier_core::imap::flag::{FlagSet, SystemFlag};
//!
//! let table = [String::from("$Forwarded")];
//! let flags = FlagSet::EMPTY.with(SystemFlag::Seen).with_keyword(0);
//! let mut out = Vec::new();
//! flags.write(&mut out, &table, false);
//! assert_eq!(out, br"(\Seen $Forwarded)");
//! ```

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// How many keywords one mailbox can have: Maildir names them by the letters `a` to `z`.
pub const KEYWORDS_MAX: usize = 26;

/// Whether a mailbox with this table (empty: no name) can have one more keyword: `\*` of PERMANENTFLAGS, RFC 9051 §7.1.
pub fn has_room(table: &[String]) -> bool {
    table.len() < KEYWORDS_MAX || table.iter().any(String::is_empty)
}

/// A flag with a meaning given by the protocol, RFC 9051 §2.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SystemFlag {
    /// `\Answered`
    Answered = 0,
    /// `\Flagged`
    Flagged = 1,
    /// `\Deleted`
    Deleted = 2,
    /// `\Seen`
    Seen = 3,
    /// `\Draft`
    Draft = 4,
}

impl SystemFlag {
    /// All of them, in the order in which they are written.
    pub const ALL: [SystemFlag; 5] =
        [SystemFlag::Answered, SystemFlag::Flagged, SystemFlag::Deleted, SystemFlag::Seen, SystemFlag::Draft];

    /// The name on the wire, backslash included.
    pub const fn name(self) -> &'static str {
        match self {
            SystemFlag::Answered => "\\Answered",
            SystemFlag::Flagged => "\\Flagged",
            SystemFlag::Deleted => "\\Deleted",
            SystemFlag::Seen => "\\Seen",
            SystemFlag::Draft => "\\Draft",
        }
    }

    /// The flag of a name, in any case, backslash included.
    pub fn from_name(name: &[u8]) -> Option<SystemFlag> {
        SystemFlag::ALL.into_iter().find(|flag| name.eq_ignore_ascii_case(flag.name().as_bytes()))
    }
}

/// One flag by name.
#[derive(Clone, Copy, Debug)]
pub enum Flag<'a> {
    /// One of the five.
    System(SystemFlag),
    /// Any other word, an atom. Keywords are equal when they differ only in ASCII case.
    Keyword(&'a str),
}

impl Flag<'_> {
    /// The name on the wire.
    pub fn name(&self) -> &str {
        match self {
            Flag::System(flag) => flag.name(),
            Flag::Keyword(word) => word,
        }
    }
}

impl PartialEq for Flag<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.name().eq_ignore_ascii_case(other.name())
    }
}

impl Eq for Flag<'_> {}

/// The flags a client names in STORE or APPEND.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagList<'a> {
    /// The system flags; no keyword bit is set here.
    pub system: FlagSet,
    /// The keywords in the order named, each once (ASCII case aside). All are atoms.
    pub keywords: Vec<Cow<'a, str>>,
}

impl FlagList<'_> {
    /// The same list without the borrow, for a request that goes to another thread.
    pub fn into_owned(self) -> FlagList<'static> {
        let keywords = self.keywords.into_iter().map(|word| Cow::Owned(word.into_owned())).collect();
        FlagList { system: self.system, keywords }
    }

    /// Whether no flag is named.
    pub fn is_empty(&self) -> bool {
        self.system.is_empty() && self.keywords.is_empty()
    }

    /// Every flag named.
    pub fn iter(&self) -> impl Iterator<Item = Flag<'_>> {
        let system = SystemFlag::ALL.into_iter().filter(|flag| self.system.contains(*flag)).map(Flag::System);
        system.chain(self.keywords.iter().map(|word| Flag::Keyword(word)))
    }
}

/// The flags of one message: five system bits and 26 keyword bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlagSet(u32);

const SYSTEM_BITS: u32 = 5;
const SYSTEM_MASK: u32 = (1 << SYSTEM_BITS) - 1;

impl FlagSet {
    /// No flag at all.
    pub const EMPTY: FlagSet = FlagSet(0);

    /// Whether no flag is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a system flag is set.
    pub const fn contains(self, flag: SystemFlag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }

    /// Whether the keyword at `index` of the mailbox's table is set.
    pub const fn contains_keyword(self, index: usize) -> bool {
        self.0 & keyword_bit(index) != 0
    }

    /// The set with a system flag added.
    #[must_use]
    pub const fn with(self, flag: SystemFlag) -> FlagSet {
        FlagSet(self.0 | 1 << flag as u32)
    }

    /// The set with a system flag taken away.
    #[must_use]
    pub const fn without(self, flag: SystemFlag) -> FlagSet {
        FlagSet(self.0 & !(1 << flag as u32))
    }

    /// The set with the keyword at `index` of the mailbox's table added; unchanged when `index` is not below
    /// [`KEYWORDS_MAX`].
    #[must_use]
    pub const fn with_keyword(self, index: usize) -> FlagSet {
        FlagSet(self.0 | keyword_bit(index))
    }

    /// The flags of either set.
    #[must_use]
    pub const fn union(self, other: FlagSet) -> FlagSet {
        FlagSet(self.0 | other.0)
    }

    /// The flags of both sets.
    #[must_use]
    pub const fn intersect(self, other: FlagSet) -> FlagSet {
        FlagSet(self.0 & other.0)
    }

    /// The flags of this set that are not in the other.
    #[must_use]
    pub const fn difference(self, other: FlagSet) -> FlagSet {
        FlagSet(self.0 & !other.0)
    }

    /// The system flags alone.
    #[must_use]
    pub const fn system(self) -> FlagSet {
        FlagSet(self.0 & SYSTEM_MASK)
    }

    /// The system flags that are set, in the order in which they are written.
    pub fn system_flags(self) -> impl Iterator<Item = SystemFlag> {
        SystemFlag::ALL.into_iter().filter(move |flag| self.contains(*flag))
    }

    /// The indices of the keywords that are set, ascending.
    pub fn keywords(self) -> impl Iterator<Item = usize> {
        (0..KEYWORDS_MAX).filter(move |index| self.contains_keyword(*index))
    }

    /// The set as a number for storage: bits 0–4 are the system flags in the order of [`SystemFlag::ALL`],
    /// bits 5–30 the keywords by index.
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The set of a stored number; bits without a meaning are dropped.
    pub const fn from_bits(bits: u32) -> FlagSet {
        FlagSet(bits & (u32::MAX >> 1))
    }

    /// Writes the parenthesised list of a FETCH response, `(\Seen $Forwarded)`, with `\Recent` last among the
    /// system flags when asked for. A keyword bit without a name in `table` is left out.
    pub fn write(self, out: &mut Vec<u8>, table: &[String], recent: bool) {
        out.push(b'(');
        let start = out.len();
        let mut write_name = |name: &str| {
            if out.len() > start {
                out.push(b' ');
            }
            out.extend_from_slice(name.as_bytes());
        };
        self.system_flags()
            .map(SystemFlag::name)
            .chain(recent.then_some("\\Recent"))
            .for_each(&mut write_name);
        let named = self.keywords().filter_map(|index| table.get(index)).filter(|word| !word.is_empty());
        named.for_each(|word| write_name(word));
        out.push(b')');
    }
}

const fn keyword_bit(index: usize) -> u32 {
    if index < KEYWORDS_MAX { 1 << (SYSTEM_BITS + index as u32) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn written(flags: FlagSet, table: &[String], recent: bool) -> Vec<u8> {
        let mut out = Vec::new();
        flags.write(&mut out, table, recent);
        out
    }

    #[test]
    fn a_letter_that_has_lost_its_name_is_left_out() {
        let flags = FlagSet::EMPTY.with(SystemFlag::Seen).with_keyword(0).with_keyword(1).with_keyword(2);
        let table = [String::new(), "work".into()];
        assert_eq!(written(flags, &table, false), b"(\\Seen work)");
    }

    #[test]
    fn every_flag_has_its_own_bit() {
        let mut all = FlagSet::EMPTY;
        for flag in SystemFlag::ALL {
            assert!(!all.contains(flag));
            all = all.with(flag);
            assert_eq!(SystemFlag::from_name(flag.name().to_ascii_uppercase().as_bytes()), Some(flag));
        }
        for index in 0..KEYWORDS_MAX {
            assert!(!all.contains_keyword(index));
            all = all.with_keyword(index);
        }
        assert_eq!(all.to_bits(), u32::MAX >> 1);
        assert_eq!(all.with_keyword(26), all);
        assert_eq!(FlagSet::from_bits(u32::MAX), all);
        assert_eq!(all.keywords().count(), 26);
        assert_eq!(all.system().system_flags().count(), 5);
        assert!(all.difference(all).is_empty());
        assert!(!all.without(SystemFlag::Seen).contains(SystemFlag::Seen));
    }

    #[test]
    fn written_form() {
        let table = vec![String::from("$Forwarded"), String::from("work")];
        assert_eq!(written(FlagSet::EMPTY, &table, false), b"()");
        assert_eq!(written(FlagSet::EMPTY, &table, true), br"(\Recent)");
        let flags = FlagSet::EMPTY.with(SystemFlag::Seen).with(SystemFlag::Answered).with_keyword(1);
        assert_eq!(written(flags, &table, true), br"(\Answered \Seen \Recent work)");
        assert_eq!(written(FlagSet::EMPTY.with_keyword(7), &table, false), b"()");
    }

    #[test]
    fn a_table_has_room_until_every_letter_has_a_name() {
        let mut table = vec![String::from("work"); KEYWORDS_MAX - 1];
        assert!(has_room(&table));
        table.push("more".into());
        assert!(!has_room(&table));
        table[3].clear();
        assert!(has_room(&table));
    }

    #[test]
    fn keywords_are_equal_in_any_case() {
        assert_eq!(Flag::Keyword("$MDNSent"), Flag::Keyword("$mdnsent"));
        assert_ne!(Flag::Keyword("a"), Flag::Keyword("b"));
        assert_ne!(Flag::Keyword("Seen"), Flag::System(SystemFlag::Seen));
    }
}
