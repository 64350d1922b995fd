//! base64 (RFC 4648 §4): [`decode`] strict, as SASL wants it; [`Decoder`] lenient, as bodies need it;
//! [`encode`].
//!
//! Strict means: one spelling for each value. Padding is required, nothing is ignored, and the bits that
//! fill up the last character are zero. Lenient means RFC 2045 §6.8: whatever is not in the alphabet is
//! passed over. Padding ends a group, and what follows it starts a new one, so that pieces encoded apart
//! and joined later come out whole.
//!
//! What it will not do: the URL alphabet, or line breaking.
//!
//! ```
//! use postier_core::wire::base64;
//!
//! assert_eq!(base64::encode(b"\0alice\0secret"), "AGFsaWNlAHNlY3JldA==");
//! assert_eq!(base64::decode(b"AGFsaWNlAHNlY3JldA==", 512).unwrap(), b"\0alice\0secret");
//!
//! let (mut decoder, mut body) = (base64::Decoder::new(), Vec::new());
//! decoder.feed(b"SGVs\r\nbG8", &mut body);
//! decoder.finish(&mut body);
//! assert_eq!(body, b"Hello");
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Why [`decode`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The value would have more octets than allowed.
    TooLong,
    /// A character outside the alphabet, padding at the wrong place or missing, or bits that are not zero.
    Malformed,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "base64: too long",
            Self::Malformed => "base64: malformed",
        })
    }
}

impl core::error::Error for Error {}

/// Decodes all of `input`, which must be the one right spelling of a value of at most `max` octets.
pub fn decode(input: &[u8], max: usize) -> Result<Vec<u8>, Error> {
    let (groups, rest) = input.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(Error::Malformed);
    }
    let Some((last, groups)) = groups.split_last() else { return Ok(Vec::new()) };
    let tail = match last {
        [_, _, b'=', b'='] => 1,
        [_, _, _, b'='] => 2,
        _ => 3,
    };
    let len = groups.len() * 3 + tail;
    if len > max {
        return Err(Error::TooLong);
    }
    let mut out = Vec::with_capacity(len);
    for group in groups {
        out.extend_from_slice(&decode_group(group).ok_or(Error::Malformed)?);
    }
    let mut filled = *last;
    // 'A' stands for six zero bits.
    filled[tail + 1..].fill(b'A');
    let octets = decode_group(&filled).ok_or(Error::Malformed)?;
    if octets[tail..].iter().any(|&octet| octet != 0) {
        return Err(Error::Malformed);
    }
    out.extend_from_slice(&octets[..tail]);
    Ok(out)
}

/// The one right spelling of `input`, with padding.
pub fn encode(input: &[u8]) -> String {
    let mut out = String::with_capacity(input.len().div_ceil(3).saturating_mul(4));
    for chunk in input.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, &octet| bits << 8 | u32::from(octet)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let six = (bits >> (18 - 6 * at)) & 0x3f;
            out.push(if at <= chunk.len() { char::from(ALPHABET[six as usize]) } else { '=' });
        }
    }
    out
}

/// Decodes a body in any segmentation, passing over what does not belong there (RFC 2045 §6.8).
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// The bits of the characters of an unfinished group.
    bits: u32,
    /// How many characters these are: 0 to 3.
    held: u8,
}

impl Decoder {
    /// Before the first character.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what `input` completes to `out`: at most three octets for four characters, and two more.
    pub fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        out.reserve(input.len() / 4 * 3 + 3);
        while let Some((&first, rest)) = input.split_first() {
            if self.held == 0 {
                let (groups, _) = input.as_chunks::<4>();
                let mut decoded = 0;
                for octets in groups.iter().map_while(decode_group) {
                    out.extend_from_slice(&octets);
                    decoded += 4;
                }
                if decoded > 0 {
                    input = &input[decoded..];
                    continue;
                }
            }
            self.take(first, out);
            input = rest;
        }
    }

    /// No more characters: the octets which an unfinished group holds whole are kept, odd bits dropped.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.end_group(out);
    }

    fn take(&mut self, octet: u8, out: &mut Vec<u8>) {
        let value = VALUES[usize::from(octet)];
        if octet == b'=' {
            self.end_group(out);
        } else if value != NONE {
            self.bits = self.bits << 6 | u32::from(value);
            self.held += 1;
            if self.held == 4 {
                out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
                (self.bits, self.held) = (0, 0);
            }
        }
    }

    fn end_group(&mut self, out: &mut Vec<u8>) {
        match self.held {
            2 => out.push((self.bits >> 4) as u8),
            3 => out.extend_from_slice(&((self.bits >> 2) as u16).to_be_bytes()),
            _ => {}
        }
        (self.bits, self.held) = (0, 0);
    }
}

/// How much of a body, from its beginning, is whole groups and what does not belong there: what comes after it can be
/// decoded by itself.
///
/// ```
/// assert_eq!(postier_core::wire::base64::whole_groups(b"SGVs\nbG8=\nSGV"), 10);
/// ```
pub fn whole_groups(input: &[u8]) -> usize {
    let (mut held, mut whole) = (0, 0);
    for (octet, end) in input.iter().zip(1..) {
        if *octet == b'=' {
            held = 0;
        } else if VALUES[usize::from(*octet)] != NONE {
            held = (held + 1) % 4;
        }
        if held == 0 {
            whole = end;
        }
    }
    whole
}

/// The three octets of four characters, all of the alphabet.
#[inline]
fn decode_group(group: &[u8; 4]) -> Option<[u8; 3]> {
    let [a, b, c, d] = group.map(|character| VALUES[usize::from(character)]);
    if (a | b | c | d) & NONE != 0 {
        return None;
    }
    Some([a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d])
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// The value of what has none; no value has this bit.
const NONE: u8 = 0x80;
const VALUES: [u8; 256] = values_of(ALPHABET);

/// For each octet its place in `alphabet`.
const fn values_of(alphabet: &[u8; 64]) -> [u8; 256] {
    let mut values = [NONE; 256];
    let mut at = 0;
    while at < 64 {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::super::segments::{cut, cuts, octets_of};
    use super::*;
    use proptest::prelude::*;

    fn decode_leniently(segments: &[&[u8]]) -> Vec<u8> {
        let (mut decoder, mut out) = (Decoder::new(), Vec::new());
        segments.iter().for_each(|segment| decoder.feed(segment, &mut out));
        decoder.finish(&mut out);
        out
    }

    /// Bit by bit.
    fn decode_leniently_naively(input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for group in input.split(|&octet| octet == b'=') {
            let bits: Vec<bool> = group
                .iter()
                .filter_map(|octet| ALPHABET.iter().position(|letter| letter == octet))
                .flat_map(|value| (0..6).rev().map(move |bit| value >> bit & 1 == 1))
                .collect();
            let octets =
                bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |acc, &bit| acc << 1 | u8::from(bit)));
            out.extend(octets);
        }
        out
    }

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (value, spelling) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(value.as_bytes()), spelling);
            assert_eq!(decode(spelling.as_bytes(), 6).as_deref(), Ok(value.as_bytes()));
        }
    }

    #[test]
    fn strict_refuses() {
        for bad in [
            "Zg",
            "Zg=",
            "Zg===",
            "Zh==",
            "Zm9=",
            "Zm9v\r\n",
            " Zm9v",
            "Zm 9v",
            "=",
            "====",
            "Z===",
            "Zg==Zg==",
            "Zm=v",
            "Z=9v",
            "Zm9_",
            "Zm9\u{e9}",
        ] {
            assert_eq!(decode(bad.as_bytes(), 512), Err(Error::Malformed), "{bad:?}");
        }
        assert_eq!(decode(b"Zm9v", 2), Err(Error::TooLong));
        assert_eq!(decode(b"Zm8=", 2).as_deref(), Ok(&b"fo"[..]));
    }

    #[test]
    fn lenient_takes_what_it_can() {
        assert_eq!(decode_leniently(&[b"Zm9v\r\n YmFy!"]), b"foobar");
        assert_eq!(decode_leniently(&[b"Zg==Zg=="]), b"ff");
        assert_eq!(decode_leniently(&[b"Zm9vY"]), b"foo");
        assert_eq!(decode_leniently(&[b"Zm9vYm"]), b"foob");
    }

    proptest! {
        #[test]
        fn round_trip(value in prop::collection::vec(any::<u8>(), 0..100)) {
            let spelling = encode(&value);
            prop_assert_eq!(decode(spelling.as_bytes(), 100), Ok(value.clone()));
            prop_assert_eq!(decode_leniently(&[spelling.as_bytes()]), value);
        }

        #[test]
        fn what_is_decoded_was_the_one_spelling(input in octets_of(b"AQgZ/+9==", 12)) {
            if let Ok(value) = decode(&input, 512) {
                prop_assert_eq!(encode(&value).into_bytes(), input);
            }
        }

        #[test]
        fn any_segmentation_gives_the_same_octets(input in octets_of(b"ABCz09+/ABCz09+/=\r\n!", 200), cuts in cuts()) {
            let expected = decode_leniently_naively(&input);
            prop_assert_eq!(&decode_leniently(&[&input]), &expected);
            prop_assert_eq!(&decode_leniently(&cut(&input, &cuts)), &expected);
        }
    }
}
