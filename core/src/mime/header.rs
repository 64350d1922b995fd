//! Header fields of a message as stored: where the header ends, its fields one by one, unfolding.
//!
//! Line ends are LF or CRLF, mixed as they come. A line that is no field (the "From " line of an mbox, a line
//! without a colon) is shown as a field with an empty name, and does not end the header: only an empty line does.
//! Nothing here allocates but [`unfold`]; nothing decodes (see [`super::encoded_word`]).

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::Range;

use memchr::memchr;

/// Longest field name taken for one; RFC 5322 §2.1.1 leaves no room for longer ones on a line of 78.
pub const FIELD_NAME_BYTES_MAX: usize = 76;

/// One field of a header block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name without white space and colon; empty for a line that is no field.
    pub name: &'a [u8],
    /// Everything after the colon up to the last line end (not included), folding kept; for a line that is no
    /// field, the whole line with its continuations.
    pub value: &'a [u8],
    /// Where the field stands in the block, with its last line end.
    pub range: Range<usize>,
}

impl Field<'_> {
    /// Whether this is the field `name`, in any case.
    pub fn is(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.name.eq_ignore_ascii_case(name)
    }
}

/// The fields of a header block, in order. Stops at the first empty line, so that a whole message may be given.
pub fn fields(block: &[u8]) -> Fields<'_> {
    Fields { block, at: 0 }
}

/// The iterator of [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let start = self.at;
        let rest = self.block.get(start..).filter(|rest| !rest.is_empty())?;
        if is_empty_line(rest) {
            return None;
        }
        let mut len = line_bytes(rest);
        while let Some(more) = rest.get(len..)
            && matches!(more.first(), Some(b' ' | b'\t'))
        {
            len += line_bytes(more);
        }
        self.at = start + len;
        let whole = trim_line_end(rest.get(..len).unwrap_or(rest));
        let (name, value) = split_name(whole).unwrap_or((&[], whole));
        Some(Field { name, value, range: start..start + len })
    }
}

impl Fields<'_> {
    /// Whether the next thing is the empty line that ends the header.
    pub(super) fn at_end_line(&self) -> bool {
        self.block.get(self.at..).is_some_and(is_empty_line)
    }
}

/// The first field called `name` (any case) of a header block.
pub fn find<'a>(block: &'a [u8], name: &[u8]) -> Option<Field<'a>> {
    fields(block).find(|field| field.is(name))
}

/// Length in bytes of the header of `message`, with the empty line that ends it; the whole length when none does.
pub fn header_bytes(message: &[u8]) -> usize {
    let mut at = 0;
    while let Some(rest) = message.get(at..)
        && !rest.is_empty()
    {
        at += line_bytes(rest);
        if is_empty_line(rest) {
            break;
        }
    }
    at
}

/// A value without its folding (RFC 5322 §2.2.3) and without white space at its ends, for people: the tab that begins a
/// continuation line becomes a space, as Dovecot has it, and so does a CR that is no part of a line end.
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    unfolded(value, b' ')
}

/// The same for programs: all white space stays what it was.
pub(super) fn unfold_exactly(value: &[u8]) -> Cow<'_, [u8]> {
    unfolded(value, b'\t')
}

fn unfolded(value: &[u8], tab: u8) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if !value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    let mut after_line_end = false;
    let mut octets = value.iter().copied().peekable();
    while let Some(byte) = octets.next() {
        match byte {
            b'\r' if octets.peek() == Some(&b'\n') => {}
            b'\n' => after_line_end = true,
            b'\r' => out.push(b' '),
            b'\t' if after_line_end => {
                out.push(tab);
                after_line_end = false;
            }
            _ => {
                out.push(byte);
                after_line_end = false;
            }
        }
    }
    Cow::Owned(out)
}

/// Splits `Name: value` at its colon; `None` when the bytes before it are no field name (RFC 5322 §2.2, and white
/// space before the colon as §4.5 has it).
pub(super) fn split_name(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let scan = line.get(..line.len().min(FIELD_NAME_BYTES_MAX + 8))?;
    let colon = memchr(b':', scan)?;
    let (name, value) = (line.get(..colon)?.trim_ascii_end(), line.get(colon + 1..)?);
    let ok = !name.is_empty() && name.len() <= FIELD_NAME_BYTES_MAX && name.iter().all(|&b| is_name_byte(b));
    ok.then_some((name, value))
}

pub(super) fn is_name_byte(byte: u8) -> bool {
    matches!(byte, 33..=126) && byte != b':'
}

/// Length of the first line with its line end.
fn line_bytes(bytes: &[u8]) -> usize {
    memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}

fn is_empty_line(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\n") || bytes.starts_with(b"\r\n")
}

fn trim_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    const BLOCK: &[u8] = b"From joe Mon Sep 17 10:00:00 2001\nSubject: a\n\tb\r\n c\r\njunk\n more junk\n\
        X-Empty:\nTO : joe\n\nbody: no\n";

    #[test]
    fn fields_with_junk_and_folding() {
        let all: Vec<_> = fields(BLOCK).map(|f| (f.name, f.value)).collect();
        let expected: Vec<(&[u8], &[u8])> = vec![
            (b"", b"From joe Mon Sep 17 10:00:00 2001"),
            (b"Subject", b" a\n\tb\r\n c"),
            (b"", b"junk\n more junk"),
            (b"X-Empty", b""),
            (b"TO", b" joe"),
        ];
        assert_eq!(all, expected);
        assert_eq!(find(BLOCK, b"to").unwrap().range, 78..87);
        assert_eq!(find(BLOCK, b"body"), None);
        assert_eq!(find(BLOCK, b""), None);
        assert_eq!(&BLOCK[header_bytes(BLOCK)..], b"body: no\n");
        assert_eq!(&*unfold(b" a\r\n\tb\n  c \r\n"), b"a b  c");
        assert_eq!(&*unfold(b"a\rb\r\r\n\tc\t\n"), b"a b  c");
        assert_eq!(&*unfold_exactly(b"a\rb\r\n\tc\n d"), b"a b\tc d");
    }

    #[test]
    fn header_without_an_end() {
        assert_eq!(header_bytes(b"A: b\r\n"), 6);
        assert_eq!(header_bytes(b""), 0);
        assert_eq!(header_bytes(b"\r\nx"), 2);
        assert_eq!(fields(b"A: b").next().unwrap().range, 0..4);
    }

    proptest! {
        #[test]
        fn fields_cover_the_header_exactly(bytes in proptest::collection::vec(
            prop::sample::select(&b"aB: \t\r\n\x00\xff"[..]), 0..200)) {
            let mut at = 0;
            for field in fields(&bytes) {
                prop_assert_eq!(field.range.start, at);
                prop_assert!(field.range.end > at);
                at = field.range.end;
            }
            let header = &bytes[..header_bytes(&bytes)];
            prop_assert!(header.len() == at || is_empty_line(&header[at..]));
        }
    }
}
