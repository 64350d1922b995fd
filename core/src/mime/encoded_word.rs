//! Encoded words (RFC 2047) in header values, decoded to UTF-8 for SEARCH and for showing.
//!
//! White space between two encoded words goes (§6.2); neighbours in one character set are decoded together, because
//! many programs cut inside a character. What is no encoded word stays, read as UTF-8. One pass: an encoded word
//! has no `?` but its own, so a false start is left behind after a few of them.

use alloc::string::String;
use alloc::vec::Vec;

use memchr::memchr;

use super::charset;
use crate::wire::base64;

/// Longest charset name (with RFC 2231's language) taken for one.
pub const CHARSET_BYTES_MAX: usize = 64;

/// A header value, unfolded or not, with its encoded words decoded.
///
/// ```
/// use postier_core::mime::encoded_word::decode;
/// assert_eq!(decode(b"=?ISO-8859-1?Q?Keld_J=F8rn?= Simonsen"), "Keld Jørn Simonsen");
/// assert_eq!(decode(b"=?utf-8?b?w6k=?= =?utf-8?b?w6k=?="), "éé");
/// ```
pub fn decode(value: &[u8]) -> String {
    let value = super::header::unfold(value);
    let mut out = String::with_capacity(value.len());
    let mut rest = &value[..];
    // The run of encoded words not yet decoded: their charset and bytes.
    let mut run: Option<(&[u8], Vec<u8>)> = None;
    while let Some(start) = find_start(rest) {
        let (before, from) = rest.split_at_checked(start).unwrap_or((rest, &[]));
        let Some(word) = parse_word(from) else {
            flush(&mut out, &mut run);
            let (text, after) = rest.split_at_checked(start + 2).unwrap_or((rest, &[]));
            push_raw(&mut out, text);
            rest = after;
            continue;
        };
        let joined = run.is_some() && before.iter().all(u8::is_ascii_whitespace);
        if !joined {
            flush(&mut out, &mut run);
            push_raw(&mut out, before);
        }
        if run.as_ref().is_some_and(|(charset, _)| !charset.eq_ignore_ascii_case(word.charset)) {
            flush(&mut out, &mut run);
        }
        let (_, bytes) = run.get_or_insert((word.charset, Vec::new()));
        word.decode_into(bytes);
        rest = from.get(word.len..).unwrap_or_default();
    }
    flush(&mut out, &mut run);
    push_raw(&mut out, rest);
    out
}

fn find_start(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let equals = at + memchr(b'=', bytes.get(at..)?)?;
        if bytes.get(equals + 1) == Some(&b'?') {
            return Some(equals);
        }
        at = equals + 1;
    }
}

fn flush(out: &mut String, run: &mut Option<(&[u8], Vec<u8>)>) {
    if let Some((charset, bytes)) = run.take() {
        out.push_str(&charset::decode(charset, &bytes));
    }
}

fn push_raw(out: &mut String, bytes: &[u8]) {
    out.push_str(&String::from_utf8_lossy(bytes));
}

struct Word<'a> {
    charset: &'a [u8],
    base64: bool,
    text: &'a [u8],
    /// Length of the whole word.
    len: usize,
}

impl Word<'_> {
    fn decode_into(&self, out: &mut Vec<u8>) {
        if self.base64 {
            let mut decoder = base64::Decoder::new();
            decoder.feed(self.text, out);
            decoder.finish(out);
            return;
        }
        let mut rest = self.text;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match (byte, after) {
                (b'_', _) => out.push(b' '),
                (b'=', [high, low, after @ ..]) => match hex_pair(*high, *low) {
                    Some(byte) => {
                        out.push(byte);
                        rest = after;
                    }
                    None => out.push(b'='),
                },
                (byte, _) => out.push(byte),
            }
        }
    }
}

pub(super) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Reads the encoded word at the start of `bytes`, which begins with `=?`.
fn parse_word(bytes: &[u8]) -> Option<Word<'_>> {
    let after = bytes.get(2..)?;
    let charset_end = memchr(b'?', after.get(..after.len().min(CHARSET_BYTES_MAX + 1))?)?;
    let (charset, after) = (after.get(..charset_end)?, after.get(charset_end + 1..)?);
    if charset.is_empty() || charset.iter().any(u8::is_ascii_whitespace) {
        return None;
    }
    let [encoding, b'?', after @ ..] = after else { return None };
    let base64 = match encoding.to_ascii_lowercase() {
        b'b' => true,
        b'q' => false,
        _ => return None,
    };
    let text_end = memchr(b'?', after)?;
    if after.get(text_end + 1) != Some(&b'=') {
        return None;
    }
    // RFC 2231 §5: a language may follow the charset.
    let charset = charset.split(|&byte| byte == b'*').next()?;
    let len = bytes.len() - after.len() + text_end + 2;
    Some(Word { charset, base64, text: after.get(..text_end)?, len })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::base64::encode;

    #[test]
    fn rfc2047_section_8() {
        let cases = [
            ("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
            (
                "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
                "If you can read this you understand the example.",
            ),
            ("(=?ISO-8859-1?Q?a?=)", "(a)"),
            ("(=?ISO-8859-1?Q?a?= b)", "(a b)"),
            ("(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)"),
            ("(=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=)", "(ab)"),
            ("(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
            ("=?US-ASCII*EN?Q?Keith?=", "Keith"),
        ];
        for (value, expected) in cases {
            assert_eq!(decode(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn what_people_write() {
        let cases = [
            ("=?utf-8?B?w?= =?utf-8?B?6k=?=", "\u{fffd}\u{fffd}"),
            ("=?utf-8?Q?=C3?= =?utf-8?Q?=A9?=", "é"),
            ("=?utf-8?Q?=C3=A9?= =?iso-8859-1?Q?=E9?=", "éé"),
            ("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
            ("=?nope?Q?=C3=A9?=", "é"),
            ("=?utf-8?Q?a b=zz?=", "a b=zz"),
            ("a =?utf-8?X?b?= c", "a =?utf-8?X?b?= c"),
            ("=?=?utf-8?Q?a?=", "=?a"),
            ("=?utf-8?Q?a", "=?utf-8?Q?a"),
            ("caf\u{e9} = x", "caf\u{e9} = x"),
        ];
        for (value, expected) in cases {
            if expected.contains('\u{fffd}') {
                assert!(decode(value.as_bytes()).chars().all(|c| c != '='));
            } else {
                assert_eq!(decode(value.as_bytes()), expected, "{value}");
            }
        }
    }

    proptest! {
        #[test]
        fn words_cut_anywhere_come_back(text in "\\PC{1,20}", cut in 1_usize..9) {
            let words: Vec<_> = text.as_bytes().chunks(cut)
                .map(|chunk| alloc::format!("=?UTF-8?b?{}?=", encode(chunk))).collect();
            prop_assert_eq!(decode(words.join("\r\n ").as_bytes()), text);
        }

        #[test]
        fn never_panics(pieces in proptest::collection::vec(prop::sample::select(&[
            "=?", "?=", "utf-8", "?q?", "?b?", "?", "=", "a", " ", "=C3", "\u{e9}",
        ][..]), 0..40)) {
            decode(pieces.concat().as_bytes());
        }
    }
}
