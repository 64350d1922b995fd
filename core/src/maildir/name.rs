//! Names of message files: `<secs>.M<usec>P<pid>….<host>,S=<bytes>,W=<bytes>:2,<flags>`.
//!
//! A name has two halves. The *base*, everything before the first `:`, is the message's identity and never
//! changes while the message is in its mailbox. The *info* after it holds the flags, and changes by rename.
//!
//! [`FileName`] borrows a name and reads it; [`FileName::push_with_flags`] writes the name the same message
//! has with other flags, keeping every letter it does not understand and a second flag set (`,other`)
//! untouched. [`UniqueName`] makes the base of a new message. [`FileName::order`] is the order in which
//! messages without a UID get one.
//!
//! Nothing here looks at a clock, draws a random number or opens a file.

use super::{decimal, decimal_prefix, push_decimal, push_hex};
use crate::imap::flag::{FlagSet, SystemFlag};
use alloc::vec::Vec;
use core::cmp::Ordering;

/// The longest file name that the usual file systems take, in bytes (Linux `NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 255;

/// A number before the first dot of a name that is smaller is no time: 1990, when there was no Maildir yet.
const MADE_AT_MIN: u32 = 631_152_000;

/// The longest host part of a new name, in bytes after escaping; a longer host is cut.
pub const HOST_BYTES_MAX: usize = 100;

/// The flag of one letter; `None` for letters that mean nothing to us (`P`, `X` …), which a name keeps.
///
/// `a` to `z` are the keywords with index 0 to 25; what they mean is said by `dovecot-keywords`
/// ([`super::keywords`]).
pub const fn flag_of_letter(letter: u8) -> Option<FlagSet> {
    Some(match letter {
        b'D' => FlagSet::EMPTY.with(SystemFlag::Draft),
        b'F' => FlagSet::EMPTY.with(SystemFlag::Flagged),
        b'R' => FlagSet::EMPTY.with(SystemFlag::Answered),
        b'S' => FlagSet::EMPTY.with(SystemFlag::Seen),
        b'T' => FlagSet::EMPTY.with(SystemFlag::Deleted),
        b'a'..=b'z' => FlagSet::EMPTY.with_keyword((letter - b'a') as usize),
        _ => return None,
    })
}

/// The letters of a set of flags in ASCII order, which is their order in a file name.
pub fn letters_of(flags: FlagSet) -> impl Iterator<Item = u8> {
    let set = move |letter: u8| flag_of_letter(letter).is_some_and(|flag| flags.intersect(flag) == flag);
    b"DFRSTabcdefghijklmnopqrstuvwxyz".iter().copied().filter(move |&letter| set(letter))
}

/// One file name in `cur` or `new`, read.
///
/// Every byte sequence is some name: parsing cannot fail. Whether a name may be *used* is said by
/// [`FileName::is_message`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileName<'a> {
    base: &'a [u8],
    /// What follows the first `:`, without it.
    info: Option<&'a [u8]>,
}

impl<'a> FileName<'a> {
    /// Splits `name` at its first `:`.
    pub fn parse(name: &'a [u8]) -> FileName<'a> {
        match memchr::memchr(b':', name).and_then(|colon| name.split_at_checked(colon)) {
            Some((base, rest)) => FileName { base, info: rest.split_first().map(|(_, info)| info) },
            None => FileName { base: name, info: None },
        }
    }

    /// The identity of the message: everything before the first `:`.
    pub fn base(&self) -> &'a [u8] {
        self.base
    }

    /// Whether a directory entry with this name is a message that can have a line in `dovecot-uidlist`: not a
    /// dot file, not without a base, and without the bytes that would break that file's lines (CR, LF, NUL,
    /// `/`).
    pub fn is_message(&self) -> bool {
        let whole = |part: &[u8]| !part.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0 | b'/'));
        self.base.first().is_some_and(|&first| first != b'.')
            && whole(self.base)
            && self.info.is_none_or(whole)
    }

    /// The flag letters: after `2,`, up to another `,` (which begins a flag set that is not ours).
    fn letters(&self) -> &'a [u8] {
        let set = self.set();
        let end = memchr::memchr(b',', set).unwrap_or(set.len());
        set.get(..end).unwrap_or(set)
    }

    /// Everything after `:2,`; empty where the name has no info of version 2.
    fn set(&self) -> &'a [u8] {
        self.info.and_then(|info| info.strip_prefix(b"2,")).unwrap_or(&[])
    }

    /// The flags that the name carries. Letters that mean nothing to us are passed over.
    pub fn flags(&self) -> FlagSet {
        self.letters()
            .iter()
            .filter_map(|&letter| flag_of_letter(letter))
            .fold(FlagSet::EMPTY, FlagSet::union)
    }

    /// When the name was made, in seconds since 1970: the digits before the first dot, if they can be a time.
    /// Whatever delivers into a Maildir begins its names so.
    pub fn made_at(&self) -> Option<u32> {
        let (seconds, digits) = decimal_prefix(self.base)?;
        let seconds = u32::try_from(seconds).ok()?;
        (seconds >= MADE_AT_MIN && self.base.get(digits) == Some(&b'.')).then_some(seconds)
    }

    /// The size of the file in bytes, if the name carries it as `,S=`.
    pub fn size(&self) -> Option<u64> {
        self.number_after(b",S=")
    }

    /// The size of the message in bytes with every line end as CRLF (RFC822.SIZE), if the name carries it as
    /// `,W=`.
    pub fn virtual_size(&self) -> Option<u64> {
        self.number_after(b",W=")
    }

    fn number_after(&self, key: &[u8; 3]) -> Option<u64> {
        // The first occurrence counts, as it does for Dovecot, even when what follows is not a number.
        let at = self.base.windows(key.len()).position(|window| window == key)?;
        let rest = self.base.get(at + key.len()..)?;
        let (value, length) = decimal_prefix(rest)?;
        matches!(rest.get(length), None | Some(b',')).then_some(value)
    }

    /// The place of this message among messages that get their UIDs at the same time.
    pub fn order(&self) -> Order<'a> {
        let digits = self.base.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (seconds, rest) = self.base.split_at_checked(digits).unwrap_or((&[], self.base));
        // A number that does not fit sorts last instead of first: such a name is no time at all.
        let seconds = if seconds.is_empty() { 0 } else { decimal(seconds).unwrap_or(u64::MAX) };
        Order { seconds, microseconds: microseconds(rest), base: self.base }
    }

    /// Appends the name that this message has with exactly `flags`: the base, `:2,`, then letters in ASCII
    /// order.
    ///
    /// Letters that mean nothing to us keep their place in that order, and a second flag set (from the next
    /// `,` on) is kept as it is. Info of another version (`:1,…`) is dropped.
    pub fn push_with_flags(&self, flags: FlagSet, out: &mut Vec<u8>) {
        out.extend_from_slice(self.base);
        out.extend_from_slice(b":2,");
        let letters = self.letters();
        let mut ours = letters_of(flags).peekable();
        for &kept in letters.iter().filter(|&&letter| flag_of_letter(letter).is_none()) {
            while let Some(letter) = ours.next_if(|&letter| letter < kept) {
                out.push(letter);
            }
            out.push(kept);
        }
        out.extend(ours);
        out.extend_from_slice(self.set().get(letters.len()..).unwrap_or(&[]));
    }

    /// [`FileName::push_with_flags`] into a new buffer.
    pub fn with_flags(&self, flags: FlagSet) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.base.len() + 16);
        self.push_with_flags(flags, &mut out);
        out
    }
}

/// Finds `M<digits>` in the second dot-separated part of a name; `rest` begins at its dot.
fn microseconds(rest: &[u8]) -> Option<u64> {
    let part = rest.strip_prefix(b".")?;
    let part = part.split(|&byte| byte == b'.').next()?;
    let at = memchr::memchr(b'M', part)?;
    Some(decimal_prefix(part.get(at + 1..)?).map_or(0, |(value, _)| value))
}

/// The order in which new messages get UIDs: seconds of the name, then microseconds, then bytes of the base
/// name.
///
/// A name without microseconds comes before those of its second that have them. (Dovecot compares such pairs
/// by their bytes, which is no total order; a sort needs one.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order<'a> {
    seconds: u64,
    microseconds: Option<u64>,
    base: &'a [u8],
}

impl Order<'_> {
    /// The unix time that the name begins with; 0 when it begins with none.
    pub fn seconds(&self) -> u64 {
        self.seconds
    }
}

impl Ord for Order<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.seconds, self.microseconds, self.base).cmp(&(other.seconds, other.microseconds, other.base))
    }
}

impl PartialOrd for Order<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What makes the base of a new message's name unique; all of it is given.
///
/// Time and process alone do not: two messages may share a microsecond, and two containers may share host
/// name and process number. So a counter of the caller's and a random number stand in the name as well.
///
/// ```
/// use postier_core::maildir::name::{HostPart, UniqueName};
/// let host = HostPart::new(b"mx.example.org");
/// let unique = UniqueName { seconds: 1700000000, microseconds: 42, pid: 7, sequence: 1, random: 0xabcd };
/// assert_eq!(unique.base(&host), b"1700000000.M42P7Q1R0000abcd.mx.example.org");
/// assert_eq!(unique.base_with_sizes(&host, 100, 103), b"1700000000.M42P7Q1R0000abcd.mx.example.org,S=100,W=103");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UniqueName {
    /// Unix time, seconds.
    pub seconds: u64,
    /// The microseconds of that second, below 1,000,000.
    pub microseconds: u32,
    /// The process number of this process.
    pub pid: u32,
    /// A number that this process uses once; also keeps names of one microsecond apart.
    pub sequence: u64,
    /// A random number; keeps processes with the same number apart.
    pub random: u32,
}

impl UniqueName {
    /// The base without sizes, good for a file in `tmp`.
    pub fn base(&self, host: &HostPart) -> Vec<u8> {
        let mut out = Vec::with_capacity(96 + host.0.len());
        push_decimal(&mut out, self.seconds);
        out.extend_from_slice(b".M");
        push_decimal(&mut out, u64::from(self.microseconds));
        out.push(b'P');
        push_decimal(&mut out, u64::from(self.pid));
        out.push(b'Q');
        push_decimal(&mut out, self.sequence);
        out.push(b'R');
        push_hex(&mut out, u64::from(self.random), 8);
        out.push(b'.');
        out.extend_from_slice(&host.0);
        out
    }

    /// The base for `new` or `cur`: with the file's size and its size with CRLF line ends, in bytes.
    pub fn base_with_sizes(&self, host: &HostPart, size: u64, virtual_size: u64) -> Vec<u8> {
        let mut out = self.base(host);
        push_sizes(&mut out, size, virtual_size);
        out
    }
}

/// Appends `,S=<size>,W=<virtual size>` to a base name, both in bytes.
pub fn push_sizes(base: &mut Vec<u8>, size: u64, virtual_size: u64) {
    base.extend_from_slice(b",S=");
    push_decimal(base, size);
    base.extend_from_slice(b",W=");
    push_decimal(base, virtual_size);
}

/// A host name made fit for a file name: `/` is written `\057` and `:` is written `\072`, as is customary; so
/// are `,`, `\` and everything that is not visible ASCII. Cut at [`HOST_BYTES_MAX`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPart(Vec<u8>);

impl HostPart {
    /// Escapes `host`; an empty one becomes `localhost`.
    pub fn new(host: &[u8]) -> HostPart {
        let host = if host.is_empty() { b"localhost" } else { host };
        let mut out = Vec::with_capacity(host.len());
        for &byte in host {
            let plain = byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b',' | b'\\');
            if out.len() + if plain { 1 } else { 4 } > HOST_BYTES_MAX {
                break;
            }
            if plain {
                out.push(byte);
            } else {
                out.extend_from_slice(&[
                    b'\\',
                    b'0' + (byte >> 6),
                    b'0' + (byte >> 3 & 7),
                    b'0' + (byte & 7),
                ]);
            }
        }
        HostPart(out)
    }

    /// The escaped bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::string::String;

    fn flags(letters: &[u8]) -> FlagSet {
        letters.iter().filter_map(|&letter| flag_of_letter(letter)).fold(FlagSet::EMPTY, FlagSet::union)
    }

    #[test]
    fn reads_base_flags_and_sizes() {
        let name = FileName::parse(b"1700000000.M5P7.host,S=1234,W=1250:2,FSac");
        assert_eq!(name.base(), b"1700000000.M5P7.host,S=1234,W=1250");
        assert_eq!(name.flags(), flags(b"FSac"));
        assert_eq!((name.size(), name.virtual_size()), (Some(1234), Some(1250)));
        assert_eq!(name.flags().keywords().collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn a_size_is_digits_up_to_a_comma_or_the_end() {
        assert_eq!(FileName::parse(b"1.a,S=12x,S=3").size(), None);
        assert_eq!(FileName::parse(b"1.a,S=:2,").size(), None);
        assert_eq!(FileName::parse(b"1.a,S=99999999999999999999999").size(), None);
        assert_eq!(FileName::parse(b"1.a:2,S,S=5").size(), None);
        assert_eq!(FileName::parse(b"1.a,W=7,S=5").virtual_size(), Some(7));
    }

    #[test]
    fn names_without_version_2_info_have_no_flags() {
        for name in [&b"1.a"[..], b"1.a:", b"1.a:2", b"1.a:2,", b"1.a:1,FS", b"1.a:2,,S"] {
            assert_eq!(FileName::parse(name).flags(), FlagSet::EMPTY, "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn unknown_letters_and_a_second_set_are_kept() {
        let name = FileName::parse(b"1.a:2,FPSXb,other,more");
        assert_eq!(name.with_flags(flags(b"DRTa")), b"1.a:2,DPRTXa,other,more");
        assert_eq!(name.with_flags(FlagSet::EMPTY), b"1.a:2,PX,other,more");
        assert_eq!(FileName::parse(b"1.a").with_flags(flags(b"zSD")), b"1.a:2,DSz");
        assert_eq!(FileName::parse(b"1.a:1,E").with_flags(flags(b"S")), b"1.a:2,S");
    }

    #[test]
    fn what_can_be_a_message() {
        for good in [&b"1.a:2,S"[..], b"x", b"1.a b"] {
            assert!(FileName::parse(good).is_message());
        }
        for bad in [&b""[..], b".hidden", b":2,S", b"1\n2", b"1.a:2,\r", b"a/b", b"a\0"] {
            assert!(!FileName::parse(bad).is_message(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn order_is_seconds_then_microseconds_then_bytes() {
        let sorted: [&[u8]; 8] = [
            b"no time",
            b"999.z",
            b"1000.abc.host",
            b"1000.b.host",
            b"1000.P9M3Q1.host",
            b"1000.M20P1.a",
            b"1000.M20P1.b",
            b"1000.M100P1.a:2,S",
        ];
        let mut mixed = sorted;
        mixed.reverse();
        mixed.sort_by_key(|name| FileName::parse(name).order());
        assert_eq!(mixed, sorted);
    }

    #[test]
    fn a_name_tells_when_it_was_made_if_it_begins_with_a_time() {
        for name in [&b"1700000000.M5P7.mx,S=9:2,S"[..], b"1700000000.12345_1.host,U=3:2,", b"1700000000.x"] {
            assert_eq!(FileName::parse(name).made_at(), Some(1_700_000_000));
        }
        for name in
            [&b"1.a:2,"[..], b"a1700000000.x", b"17000000000.x", b"1700000000", b"1700000000_1.x", b""]
        {
            assert_eq!(FileName::parse(name).made_at(), None);
        }
    }

    #[test]
    fn the_host_is_escaped_and_cut() {
        assert_eq!(HostPart::new(b"a/b:c").as_bytes(), br"a\057b\072c");
        assert_eq!(HostPart::new(b"a,\\\xff").as_bytes(), br"a\054\134\377");
        assert_eq!(HostPart::new(b"").as_bytes(), b"localhost");
        let long = HostPart::new(&[b'/'; 300]);
        assert!(long.as_bytes().len() <= HOST_BYTES_MAX && long.as_bytes().len().is_multiple_of(4));
    }

    #[test]
    fn the_longest_name_fits_a_directory_entry() {
        let host = HostPart::new(&[b'h'; 500]);
        let (seconds, random) = (u64::MAX, u32::MAX);
        let unique =
            UniqueName { seconds, microseconds: 999_999, pid: u32::MAX, sequence: u64::MAX >> 20, random };
        let base = unique.base_with_sizes(&host, u64::MAX >> 14, u64::MAX >> 14);
        assert!(FileName::parse(&base).with_flags(FlagSet::from_bits(u32::MAX)).len() <= NAME_BYTES_MAX);
    }

    #[test]
    fn two_names_of_one_microsecond_differ() {
        let host = HostPart::new(b"h");
        let one = UniqueName { seconds: 1, microseconds: 2, pid: 3, sequence: 4, random: 5 };
        let names: BTreeSet<_> = [one, UniqueName { sequence: 5, ..one }, UniqueName { random: 6, ..one }]
            .iter()
            .map(|unique| unique.base(&host))
            .collect();
        assert_eq!(names.len(), 3);
    }

    proptest! {
        #[test]
        fn flags_survive_a_rename(name in "[0-9a-zA-Z.,:=]{0,40}", bits: u32) {
            let flags = FlagSet::from_bits(bits);
            let old = FileName::parse(name.as_bytes());
            let renamed = old.with_flags(flags);
            let new = FileName::parse(&renamed);
            prop_assert_eq!(new.base(), old.base());
            prop_assert_eq!(new.flags(), flags);
            prop_assert_eq!(new.with_flags(flags), renamed.clone());
            let unknown = |name: &FileName<'_>| -> Vec<u8> {
                name.letters().iter().copied().filter(|&l| flag_of_letter(l).is_none()).collect()
            };
            prop_assert_eq!(unknown(&new), unknown(&old));
        }

        #[test]
        fn any_bytes_are_some_name(name: Vec<u8>) {
            let name = FileName::parse(&name);
            let _ = (name.flags(), name.size(), name.order(), name.with_flags(flags(b"S")), name.is_message());
        }

        #[test]
        fn a_new_name_reads_back(seconds in 0u64..1 << 40, microseconds in 0u32..1_000_000, size: u64, virtual_size: u64,
                                 host: Vec<u8>, pid: u32, sequence: u64, random: u32) {
            let unique = UniqueName { seconds, microseconds, pid, sequence, random };
            let base = unique.base_with_sizes(&HostPart::new(&host), size, virtual_size);
            let name = FileName::parse(&base);
            prop_assert_eq!(name.base(), &base[..]);
            prop_assert!(name.is_message());
            prop_assert_eq!((name.size(), name.virtual_size()), (Some(size), Some(virtual_size)));
            prop_assert_eq!(name.order().seconds, seconds);
            prop_assert_eq!(name.order().microseconds, Some(u64::from(microseconds)));
        }
    }
}
