//! `dovecot-keywords`: which keyword the letters `a` to `z` in file names mean, both ways.
//!
//! ```text
//! 0 $Forwarded
//! 1 $Junk
//! ```
//!
//! One line for each letter: its index (0 is `a`, 25 is `z`), a space, the keyword. Keywords are
//! case-insensitive (RFC 9051 §2.3.2). A letter once given away keeps its meaning: messages of the mailbox
//! carry it.
//!
//! More than 26 keywords a mailbox cannot have. PERMANENTFLAGS has no `\*` then, a STORE of another one is refused (NO
//! with LIMIT, RFC 5530), and of messages that come by APPEND or COPY with another one the client is told that they
//! lack it.
//!
//! The file is written only under the lock of the uidlist, as a new file renamed over the old one, and its
//! modification time must grow each time, because readers look at nothing else.

use super::{decimal_prefix, push_decimal};
use crate::imap::flag::{FlagSet, KEYWORDS_MAX};
use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

/// The longest keyword that gets a letter, in bytes.
pub const KEYWORD_BYTES_MAX: usize = 250;

/// The names of the 26 letters.
///
/// ```
/// use postier_core::maildir::keywords::Keywords;
/// let mut keywords = Keywords::parse(b"0 $Forwarded\n2 $Junk\n");
/// assert_eq!(keywords.index(b"$junk"), Some(2));
/// assert_eq!(keywords.assign(b"work"), Ok(1));
/// let mut file = Vec::new();
/// keywords.push(&mut file);
/// assert_eq!(file, b"0 $Forwarded\n1 work\n2 $Junk\n");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Keywords {
    names: [Option<Vec<u8>>; KEYWORDS_MAX],
}

/// Why a keyword gets no letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoLetter {
    /// All 26 letters mean something.
    Full,
    /// The name is not an atom of IMAP, or longer than [`KEYWORD_BYTES_MAX`].
    BadName,
}

impl Keywords {
    /// Reads the file. Lines that say nothing (no space, index above 25, no name, a name or an index seen
    /// before) are passed over, so every file is readable; a last line without line end does not count, for
    /// it may be half a line.
    pub fn parse(file: &[u8]) -> Keywords {
        let mut keywords = Keywords::default();
        let whole = memchr::memrchr(b'\n', file).and_then(|end| file.get(..end)).unwrap_or(&[]);
        for line in whole.split(|&byte| byte == b'\n') {
            let Some((index, digits)) = decimal_prefix(line) else { continue };
            let Some(name) = line.get(digits..).and_then(|rest| rest.strip_prefix(b" ")) else { continue };
            if name.is_empty() || name.contains(&0) || keywords.index(name).is_some() {
                continue;
            }
            let slot = usize::try_from(index).ok().and_then(|index| keywords.names.get_mut(index));
            if let Some(slot @ None) = slot {
                *slot = Some(name.to_vec());
            }
        }
        keywords
    }

    /// Appends the whole file.
    pub fn push(&self, out: &mut Vec<u8>) {
        for (index, name) in self.names.iter().enumerate() {
            if let Some(name) = name {
                push_decimal(out, index as u64);
                out.push(b' ');
                out.extend_from_slice(name);
                out.push(b'\n');
            }
        }
    }

    /// The index of a keyword, whatever its case.
    pub fn index(&self, keyword: &[u8]) -> Option<u8> {
        let same =
            |name: &Option<Vec<u8>>| name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(keyword));
        self.names.iter().position(same).map(|index| index as u8)
    }

    /// The keyword with this index, as the file spells it.
    pub fn name(&self, index: u8) -> Option<&[u8]> {
        self.names.get(usize::from(index))?.as_deref()
    }

    /// The keyword to tell a client for a letter that a message carries: its name, or `unknown-<n>` where the
    /// letter has none or has one that is not an atom and would break the response.
    pub fn shown_name(&self, index: u8) -> Cow<'_, [u8]> {
        match self.name(index) {
            Some(name) if is_keyword(name) => Cow::Borrowed(name),
            Some(_) | None => Cow::Owned(format!("unknown-{index}").into_bytes()),
        }
    }

    /// The letters that have a name, as flags.
    pub fn named(&self) -> FlagSet {
        let named = self.names.iter().enumerate().filter(|(_, name)| name.is_some());
        named.fold(FlagSet::EMPTY, |flags, (index, _)| flags.with_keyword(index))
    }

    /// The index of a keyword, giving it the first free letter if it has none.
    ///
    /// A changed table must be on disk before the letter is used: compare with a copy, or ask
    /// [`Keywords::index`] first.
    ///
    /// # Errors
    /// [`NoLetter`]; the table is then unchanged.
    pub fn assign(&mut self, keyword: &[u8]) -> Result<u8, NoLetter> {
        self.assign_beside(keyword, FlagSet::EMPTY)
    }

    /// [`Keywords::assign`], passing over the nameless letters of `used`: messages carry them already, and
    /// giving one a name would give those messages the keyword.
    ///
    /// # Errors
    /// [`NoLetter`]; the table is then unchanged.
    pub fn assign_beside(&mut self, keyword: &[u8], used: FlagSet) -> Result<u8, NoLetter> {
        if let Some(index) = self.index(keyword) {
            return Ok(index);
        }
        if !is_keyword(keyword) {
            return Err(NoLetter::BadName);
        }
        let slots = self.names.iter_mut().enumerate();
        let free =
            |(index, slot): &(usize, &mut Option<Vec<u8>>)| slot.is_none() && !used.contains_keyword(*index);
        let (index, slot) = slots.into_iter().find(free).ok_or(NoLetter::Full)?;
        *slot = Some(keyword.to_vec());
        Ok(index as u8)
    }
}

/// Whether `name` is a `flag-keyword` that can be written in a response: an atom (RFC 9051 §9), at most
/// [`KEYWORD_BYTES_MAX`] bytes. A system flag is none: `\` does not belong in atoms.
pub fn is_keyword(name: &[u8]) -> bool {
    let special = |byte: u8| matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']');
    (1..=KEYWORD_BYTES_MAX).contains(&name.len())
        && name.iter().all(|&byte| byte.is_ascii_graphic() && !special(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_that_say_nothing_are_passed_over() {
        let file = b"0 a\nx\n26 b\n3 \n4\n 5 c\n1 A\n0 d\n7 two words\n99999999999999999999 e\n8 half";
        let keywords = Keywords::parse(file);
        let mut out = Vec::new();
        keywords.push(&mut out);
        assert_eq!(out, b"0 a\n7 two words\n");
    }

    #[test]
    fn a_letter_without_a_usable_name_is_shown_as_unknown() {
        let keywords = Keywords::parse(b"0 $Junk\n1 two words\n");
        assert_eq!(keywords.shown_name(0), &b"$Junk"[..]);
        assert_eq!(keywords.shown_name(1), &b"unknown-1"[..]);
        assert_eq!(keywords.shown_name(25), &b"unknown-25"[..]);
        assert_eq!(keywords.name(26), None);
    }

    #[test]
    fn letters_are_given_once_and_only_26_times() {
        let mut keywords = Keywords::default();
        for index in 0..26u8 {
            assert_eq!(keywords.assign(&[b'k', b'a' + index]), Ok(index));
        }
        assert_eq!(keywords.assign(b"KZ"), Ok(25));
        assert_eq!(keywords.assign(b"one-more"), Err(NoLetter::Full));
        assert_eq!(keywords.named().keywords().count(), 26);
    }

    #[test]
    fn a_nameless_letter_in_use_is_not_given_away() {
        let mut keywords = Keywords::default();
        assert_eq!(keywords.assign_beside(b"work", FlagSet::EMPTY.with_keyword(0).with_keyword(1)), Ok(2));
    }

    #[test]
    fn only_atoms_get_letters() {
        for bad in [&b""[..], b"\\Seen", b"a b", b"a(", b"\xc3\xa9", b"a]", &[b'x'; 251]] {
            assert_eq!(Keywords::default().assign(bad), Err(NoLetter::BadName));
        }
        assert!(Keywords::default().assign(b"$MDNSent").is_ok());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(names in proptest::collection::vec("[a-z$-]{1,4}", 0..40)) {
            let mut keywords = Keywords::default();
            for name in &names {
                let _ = keywords.assign(name.as_bytes());
            }
            let mut file = Vec::new();
            keywords.push(&mut file);
            prop_assert_eq!(Keywords::parse(&file), keywords);
        }

        #[test]
        fn any_bytes_are_readable(bytes: Vec<u8>) {
            let keywords = Keywords::parse(&bytes);
            let mut file = Vec::new();
            keywords.push(&mut file);
            prop_assert_eq!(Keywords::parse(&file), keywords);
        }
    }
}
