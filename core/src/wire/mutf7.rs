//! Modified UTF-7, the spelling of mailbox names for IMAP clients without UTF8=ACCEPT and on disk
//! (RFC 3501 §5.1.3).
//!
//! Printable ASCII stands for itself, `&` is `&-`, and anything else is UTF-16 in base64 (with `,` for `/`
//! and no padding) between `&` and `-`. Each name has exactly one spelling here: [`decode`] refuses all
//! others, because two spellings of one mailbox would be two mailboxes to whoever compares octets.
//!
//! What it will not do: say which names are allowed, or normalise Unicode.
//!
//! ```
//! use postier_core::wire::mutf7;
//!
//! assert_eq!(mutf7::encode("Éléments & Envoyés"), "&AMk-l&AOk-ments &- Envoy&AOk-s");
//! assert_eq!(mutf7::decode(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-").unwrap(), "~peter/mail/台北/日本語");
//! ```

use alloc::string::String;
use core::fmt;

/// Why [`decode`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A control character or an octet over 126 outside `&` … `-`.
    UnencodedOctet,
    /// A character outside the alphabet between `&` and `-`, or no `-` at all.
    Unterminated,
    /// Bits left over after the last UTF-16 unit: half a unit, or fill that is not zero.
    OddBits,
    /// Half of a surrogate pair.
    UnpairedSurrogate,
    /// A printable ASCII character in base64; it stands for itself, and `&` is `&-`.
    EncodedPrintable,
    /// `-&`: the two encoded parts should be one.
    AdjacentShifts,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnencodedOctet => "modified UTF-7: an octet that must be encoded is not",
            Self::Unterminated => "modified UTF-7: an encoded part does not end with -",
            Self::OddBits => "modified UTF-7: bits left over",
            Self::UnpairedSurrogate => "modified UTF-7: half of a surrogate pair",
            Self::EncodedPrintable => "modified UTF-7: printable ASCII is encoded",
            Self::AdjacentShifts => "modified UTF-7: two encoded parts side by side",
        })
    }
}

impl core::error::Error for Error {}

/// The one spelling of `name`, all printable ASCII; at most five times as long in octets.
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut shift = Shift::default();
    for character in name.chars() {
        if is_printable(character) {
            shift.close(&mut out);
            out.push(character);
            if character == '&' {
                out.push('-');
            }
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                shift.put(*unit, &mut out);
            }
        }
    }
    shift.close(&mut out);
    out
}

/// The name whose one spelling `input` is; never longer in octets than twice `input`.
pub fn decode(input: &[u8]) -> Result<String, Error> {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    let mut after_shift = false;
    while let Some((&octet, tail)) = rest.split_first() {
        match (octet, tail) {
            (b'&', [b'-', tail @ ..]) => {
                out.push('&');
                (rest, after_shift) = (tail, false);
            }
            (b'&', _) if after_shift => return Err(Error::AdjacentShifts),
            (b'&', _) => {
                let letters = tail.iter().take_while(|&&letter| value_of(letter).is_some()).count();
                let (encoded, tail) = tail.split_at(letters);
                rest = tail.strip_prefix(b"-").ok_or(Error::Unterminated)?;
                decode_shift(encoded, &mut out)?;
                after_shift = true;
            }
            (b' '..=b'~', _) => {
                out.push(char::from(octet));
                (rest, after_shift) = (tail, false);
            }
            _ => return Err(Error::UnencodedOctet),
        }
    }
    Ok(out)
}

/// Decodes what stands between `&` and `-`.
fn decode_shift(encoded: &[u8], out: &mut String) -> Result<(), Error> {
    decode_units(encoded.iter().copied().filter_map(value_of), |character| {
        if is_printable(character) {
            return Err(Error::EncodedPrintable);
        }
        out.push(character);
        Ok(())
    })
}

/// The characters of UTF-16 whose bits come six at a time.
pub(super) fn decode_units(
    values: impl Iterator<Item = u8>,
    mut each: impl FnMut(char) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mut bits, mut held) = (0u32, 0u32);
    let units = values.filter_map(|value| {
        bits = bits << 6 | u32::from(value);
        held += 6;
        (held >= 16).then(|| {
            held -= 16;
            let unit = (bits >> held) as u16;
            bits &= (1 << held) - 1;
            unit
        })
    });
    for character in char::decode_utf16(units) {
        each(character.map_err(|_| Error::UnpairedSurrogate)?)?;
    }
    if held >= 6 || bits != 0 { Err(Error::OddBits) } else { Ok(()) }
}

/// The encoder's base64 part.
#[derive(Default)]
struct Shift {
    open: bool,
    bits: u32,
    held: u32,
}

impl Shift {
    fn put(&mut self, unit: u16, out: &mut String) {
        if !self.open {
            out.push('&');
            self.open = true;
        }
        self.bits = self.bits << 16 | u32::from(unit);
        self.held += 16;
        while self.held >= 6 {
            self.held -= 6;
            out.push(letter_of(self.bits >> self.held));
            self.bits &= (1 << self.held) - 1;
        }
    }

    fn close(&mut self, out: &mut String) {
        if self.held > 0 {
            out.push(letter_of(self.bits << (6 - self.held)));
        }
        if self.open {
            out.push('-');
        }
        *self = Self::default();
    }
}

fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~')
}

fn letter_of(six_bits: u32) -> char {
    char::from(ALPHABET[(six_bits & 0x3f) as usize])
}

pub(super) fn value_of(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b',' => Some(63),
        _ => None,
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

#[cfg(test)]
mod tests {
    use super::super::segments::octets_of;
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn names_as_they_are_spelt() {
        for (name, spelling) in [
            ("", ""),
            ("INBOX", "INBOX"),
            ("&", "&-"),
            ("&&", "&-&-"),
            ("Tom & Jerry", "Tom &- Jerry"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("é&é", "&AOk-&-&AOk-"),
            ("台北", "&U,BTFw-"),
            ("📬", "&2D3c7A-"),
            ("a\u{0}b", "a&AAA-b"),
            ("\u{7f}", "&AH8-"),
            ("~/-,+", "~/-,+"),
        ] {
            assert_eq!(encode(name), spelling);
            assert_eq!(decode(spelling.as_bytes()).as_deref(), Ok(name));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for (bad, error) in [
            (&b"\xc3\xa9"[..], Error::UnencodedOctet),
            (b"a\tb", Error::UnencodedOctet),
            (b"&", Error::Unterminated),
            (b"&AOk", Error::Unterminated),
            (b"&AOk/-", Error::Unterminated),
            (b"&AOk=-", Error::Unterminated),
            (b"&A-", Error::OddBits),
            (b"&AOl-", Error::OddBits),
            (b"&AOkA-", Error::OddBits),
            (b"&AOkAA-", Error::OddBits),
            (b"&2D0-", Error::UnpairedSurrogate),
            (b"&3Kw-", Error::UnpairedSurrogate),
            (b"&AEE-", Error::EncodedPrintable),
            (b"&ACY-", Error::EncodedPrintable),
            (b"&AOk-&AOk-", Error::AdjacentShifts),
        ] {
            assert_eq!(decode(bad), Err(error), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    /// Any character that base64 can spell, as lenient decoders take it, or nothing.
    fn decode_leniently(input: &[u8]) -> Option<String> {
        let text = core::str::from_utf8(input).ok().filter(|text| text.chars().all(is_printable))?;
        let mut parts = text.split('&');
        let mut out = parts.next()?.to_string();
        for part in parts {
            let (encoded, plain) = part.split_once('-')?;
            if encoded.is_empty() {
                out.push('&');
            }
            let bits: Vec<u16> = encoded
                .bytes()
                .map(|letter| ALPHABET.iter().position(|known| *known == letter))
                .collect::<Option<Vec<usize>>>()?
                .into_iter()
                .flat_map(|value| (0..6).rev().map(move |bit| (value >> bit & 1) as u16))
                .collect();
            let units: Vec<u16> =
                bits.chunks_exact(16).map(|unit| unit.iter().fold(0, |acc, bit| acc << 1 | bit)).collect();
            out.push_str(&String::from_utf16(&units).ok()?);
            out.push_str(plain);
        }
        Some(out)
    }

    proptest! {
        #[test]
        fn round_trip(name in "(\\PC|[a&\u{e9}\u{1f4ec}\u{0}-]){0,30}") {
            let spelling = encode(&name);
            prop_assert!(spelling.len() <= name.len() * 5);
            prop_assert!(spelling.chars().all(is_printable));
            prop_assert_eq!(decode(spelling.as_bytes()), Ok(name));
        }

        #[test]
        fn decodes_exactly_what_the_encoder_spells(input in octets_of(b"&&&--AAAO2DQ3kwrs,/", 16)) {
            let lenient = decode_leniently(&input).filter(|name| encode(name).as_bytes() == input);
            let strict = decode(&input);
            prop_assert_eq!(strict.as_ref().ok(), lenient.as_ref());
            if let Ok(name) = strict {
                prop_assert!(name.len() <= input.len() * 2);
            }
        }
    }
}
