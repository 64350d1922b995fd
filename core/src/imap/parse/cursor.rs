//! The words of the grammar, RFC 9051 §9: atoms, strings, numbers, literals, read from a place that moves.
//!
//! A reader that fails leaves the cursor where the wrong octet is, so that the error can show it.

use crate::imap::command::{AString, MailboxName};
use crate::imap::search::PartialRange;
use crate::imap::sequence::SequenceSet;
use crate::wire::token::{self, Class};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use memchr::memchr;

/// What the grammar wanted at the place where the cursor stands.
#[derive(Debug)]
pub(super) struct Expected(pub(super) &'static str);

pub(super) type Parsed<T> = Result<T, Expected>;

/// No client has a longer tag, and each goes back to it in the answer.
const TAG_BYTES_MAX: usize = 1024;

pub(super) struct Cursor<'a> {
    text: &'a [u8],
    /// The end of `text` that is still to be read.
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Cursor { text, rest: text }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Whether nothing but spaces is left.
    pub(super) fn at_end(&self) -> bool {
        self.rest.iter().all(|octet| *octet == b' ')
    }

    /// Goes on by the octet if it is the next one.
    pub(super) fn eat(&mut self, octet: u8) -> bool {
        match self.rest.split_first() {
            Some((next, rest)) if *next == octet => {
                self.rest = rest;
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn expect(&mut self, octet: u8, expected: &'static str) -> Parsed<()> {
        if self.eat(octet) { Ok(()) } else { Err(Expected(expected)) }
    }

    pub(super) fn space(&mut self) -> Parsed<()> {
        self.expect(b' ', "a space and more")
    }

    /// Goes on by so many octets, which the caller has looked at.
    pub(super) fn advance(&mut self, octets: usize) {
        self.rest = self.rest.get(octets..).unwrap_or_default();
    }

    /// Goes back before a word just read, which turned out to be none of those expected.
    pub(super) fn back(&mut self, word: &[u8], expected: &'static str) -> Expected {
        let at = self.text.len().saturating_sub(self.rest.len()).saturating_sub(word.len());
        self.rest = self.text.get(at..).unwrap_or_default();
        Expected(expected)
    }

    fn take_class(&mut self, class: Class) -> &'a [u8] {
        let word;
        (word, self.rest) = token::split(self.rest, class);
        word
    }

    /// Goes on to the next octet of a class, or to the end.
    fn take_until(&mut self, class: Class) -> &'a [u8] {
        let length = self.rest.iter().position(|octet| token::is(*octet, class)).unwrap_or(self.rest.len());
        let piece;
        (piece, self.rest) = self.rest.split_at(length);
        piece
    }

    fn word(&mut self, class: Class, expected: &'static str) -> Parsed<&'a [u8]> {
        match self.take_class(class) {
            [] => Err(Expected(expected)),
            word => Ok(word),
        }
    }

    pub(super) fn tag(&mut self) -> Parsed<&'a [u8]> {
        let tag = self.word(Class::ImapTag, "a tag")?;
        if tag.len() > TAG_BYTES_MAX { Err(self.back(tag, "a shorter tag")) } else { Ok(tag) }
    }

    pub(super) fn atom(&mut self, expected: &'static str) -> Parsed<&'a [u8]> {
        self.word(Class::ImapAtom, expected)
    }

    /// Letters, digits, dots and hyphens, possibly none: the names of FETCH items and sections.
    pub(super) fn name(&mut self) -> &'a [u8] {
        self.take_class(Class::ImapName)
    }

    pub(super) fn astring(&mut self, expected: &'static str) -> Parsed<AString<'a>> {
        self.word_or_string(Class::ImapAstring, expected)
    }

    /// A LIST pattern: an astring in which `*` and `%` need no quotes.
    pub(super) fn list_pattern(&mut self) -> Parsed<AString<'a>> {
        self.word_or_string(Class::ImapList, "a mailbox pattern")
    }

    fn word_or_string(&mut self, class: Class, expected: &'static str) -> Parsed<AString<'a>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => Ok(Cow::Borrowed(self.literal()?)),
            Some(_) | None => Ok(Cow::Borrowed(self.word(class, expected)?)),
        }
    }

    /// A quoted string or a literal.
    pub(super) fn string(&mut self) -> Parsed<AString<'a>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => Ok(Cow::Borrowed(self.literal()?)),
            Some(_) | None => Err(Expected("a string in quotes")),
        }
    }

    /// A string, or `None` for NIL.
    pub(super) fn nstring(&mut self) -> Parsed<Option<AString<'a>>> {
        match self.peek() {
            Some(b'"' | b'{') => Ok(Some(self.string()?)),
            Some(_) | None => self.nil("NIL or a string in quotes").map(|()| None),
        }
    }

    pub(super) fn nil(&mut self, expected: &'static str) -> Parsed<()> {
        let word = self.take_class(Class::ImapAtom);
        if word.eq_ignore_ascii_case(b"NIL") { Ok(()) } else { Err(self.back(word, expected)) }
    }

    /// A space and the name of a mailbox.
    pub(super) fn mailbox_argument(&mut self) -> Parsed<MailboxName> {
        self.space()?;
        Ok(MailboxName::new(self.astring("a mailbox name")?))
    }

    fn quoted(&mut self) -> Parsed<AString<'a>> {
        self.expect(b'"', "a quote")?;
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            let piece = self.take_until(Class::ImapQuotedEnd);
            if self.eat(b'"') {
                return Ok(match unescaped {
                    None => Cow::Borrowed(piece),
                    Some(mut text) => {
                        text.extend_from_slice(piece);
                        Cow::Owned(text)
                    }
                });
            }
            self.expect(b'\\', "a closing quote")?;
            let Some(escaped) = self.peek().filter(|octet| !matches!(octet, b'\r' | b'\n' | 0)) else {
                return Err(Expected("a character after the backslash"));
            };
            self.advance(1);
            let text = unescaped.get_or_insert_default();
            text.extend_from_slice(piece);
            text.push(escaped);
        }
    }

    /// A string or a literal8, or `None` for NIL (RFC 5464 §5, value).
    pub(super) fn nstring8(&mut self) -> Parsed<Option<AString<'a>>> {
        if self.eat(b'~') {
            return Ok(Some(Cow::Borrowed(self.octets()?)));
        }
        self.nstring()
    }

    fn literal(&mut self) -> Parsed<&'a [u8]> {
        let before = self.rest;
        let content = self.octets()?;
        // RFC 9051 §4.3: no NUL but in a literal8.
        if let Some(nul) = memchr(0, content) {
            let after = self.rest.len() + content.len() - nul;
            self.rest = before.get(before.len().saturating_sub(after)..).unwrap_or_default();
            return Err(Expected("no NUL in a literal"));
        }
        Ok(content)
    }

    fn octets(&mut self) -> Parsed<&'a [u8]> {
        let (size, _) = self.literal_head()?;
        self.eat(b'\r');
        self.expect(b'\n', "a line end after the literal's size")?;
        let content = usize::try_from(size).ok().and_then(|size| self.rest.split_at_checked(size));
        let Some((content, rest)) = content else { return Err(Expected("a literal of that size")) };
        self.rest = rest;
        Ok(content)
    }

    /// `{n}`, `{n+}` or `{n-}` without the line end: the size, and whether the client waits.
    pub(super) fn literal_head(&mut self) -> Parsed<(u64, bool)> {
        self.expect(b'{', "a literal")?;
        let size = self.number64("the size of the literal")?;
        let sync = !(self.eat(b'+') || self.eat(b'-'));
        self.expect(b'}', "a closing brace")?;
        Ok((size, sync))
    }

    pub(super) fn number64(&mut self, expected: &'static str) -> Parsed<u64> {
        let start = self.rest.len();
        let mut value: u64 = 0;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            let next = value.checked_mul(10).and_then(|tens| tens.checked_add(u64::from(digit - b'0')));
            let Some(next) = next else { return Err(Expected("a smaller number")) };
            value = next;
            self.advance(1);
        }
        if self.rest.len() == start { Err(Expected(expected)) } else { Ok(value) }
    }

    /// A mod-sequence: 63 bits (RFC 7162 §1); 0, which is none, stands for before all.
    pub(super) fn modseq(&mut self) -> Parsed<u64> {
        let start = self.rest;
        let modseq = self.number64("a mod-sequence")?;
        if i64::try_from(modseq).is_err() {
            self.rest = start;
            return Err(Expected("a smaller mod-sequence"));
        }
        Ok(modseq)
    }

    pub(super) fn number(&mut self, expected: &'static str) -> Parsed<u32> {
        let start = self.rest;
        u32::try_from(self.number64(expected)?).map_err(|_| {
            self.rest = start;
            Expected("a smaller number")
        })
    }

    /// `1:100` or `-1:-100` (RFC 9394 §4, partial-range).
    pub(super) fn partial_range(&mut self) -> Parsed<PartialRange> {
        const RANGE: &str = "a range such as 1:100 or -1:-100";
        let newest = self.peek() == Some(b'-');
        let end = |cursor: &mut Self| {
            if newest {
                cursor.expect(b'-', RANGE)?;
            }
            match cursor.number(RANGE)? {
                0 => Err(Expected("a number above 0 before this")),
                number => Ok(number),
            }
        };
        let from = end(self)?;
        self.expect(b':', RANGE)?;
        Ok(PartialRange { from, to: end(self)?, newest })
    }

    pub(super) fn sequence_set(&mut self) -> Parsed<SequenceSet> {
        if self.eat(b'$') {
            return Ok(SequenceSet::SAVED);
        }
        let Some((set, length)) = SequenceSet::parse_prefix(self.rest) else {
            return Err(Expected("a sequence set"));
        };
        self.advance(length);
        Ok(set)
    }

    /// A parenthesised list, its opening parenthesis first: reads an item at a time until the list closes.
    /// Empty when `()`.
    pub(super) fn list<T>(
        &mut self,
        expected: &'static str,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        self.expect(b'(', expected)?;
        while !self.eat(b')') {
            if !items.is_empty() {
                self.expect(b' ', "a space or a closing parenthesis")?;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }
}
