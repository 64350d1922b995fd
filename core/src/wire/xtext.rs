//! xtext, the spelling of ENVID and ORCPT values (RFC 3461 §4).
//!
//! Printable ASCII stands for itself, but for `+` and `=`; any octet may be `+` and two upper-case hex digits.
//! [`decode`] takes every spelling the RFC allows, and [`encode`] writes the shortest.
//!
//! What it will not do: `utf-8-addr-xtext` (RFC 6533 §3), which is another layer: its `\x{…}` is plain
//! xtext octets to this module and comes out of [`decode`] unchanged.
//!
//! ```
//! use postier_core::wire::xtext;
//!
//! assert_eq!(xtext::encode(b"a+b=c@example.com"), "a+2Bb+3Dc@example.com");
//! assert_eq!(xtext::decode(b"a+2Bb+3Dc@example.com").unwrap(), b"a+b=c@example.com");
//! assert_eq!(xtext::decode(b"50+"), None);
//! ```

use alloc::string::String;
use alloc::vec::Vec;

/// The octets `input` spells, or `None` if it is not xtext. They may be any octets: NUL, CR and LF too.
pub fn decode(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some((&octet, tail)) = rest.split_first() {
        rest = match (octet, tail) {
            (b'+', [high, low, tail @ ..]) => {
                out.push(hex_value(*high)? << 4 | hex_value(*low)?);
                tail
            }
            (b'+' | b'=', _) => return None,
            (b'!'..=b'~', _) => {
                out.push(octet);
                tail
            }
            _ => return None,
        };
    }
    Some(out)
}

/// Whether `input` is xtext: whether [`decode`] has an answer.
pub fn is_valid(input: &[u8]) -> bool {
    let mut rest = input;
    loop {
        rest = match rest {
            [] => return true,
            [b'+', high, low, tail @ ..] if is_hex(*high) && is_hex(*low) => tail,
            [b'+' | b'=', ..] => return false,
            [b'!'..=b'~', tail @ ..] => tail,
            [_, ..] => return false,
        }
    }
}

/// The shortest spelling of `value`.
pub fn encode(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    for &octet in value {
        match octet {
            b'+' | b'=' | ..=b' ' | 0x7f.. => {
                out.push('+');
                out.push(char::from(HEX[usize::from(octet >> 4)]));
                out.push(char::from(HEX[usize::from(octet & 15)]));
            }
            _ => out.push(char::from(octet)),
        }
    }
    out
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn is_hex(digit: u8) -> bool {
    hex_value(digit).is_some()
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::segments::octets_of;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_xtext_and_what_is_not() {
        assert_eq!(decode(b"").as_deref(), Some(&b""[..]));
        assert_eq!(decode(b"+41+2B+00+FF").as_deref(), Some(&b"A+\0\xff"[..]));
        for bad in [&b"+"[..], b"+4", b"+4g", b"+2b", b"++2B", b"=", b"a b", b"a\x7f", b"\xc3\xa9", b"a\r"] {
            assert_eq!(decode(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
    }

    /// The grammar of RFC 3461 §4, octet by octet.
    fn is_xtext(input: &[u8]) -> bool {
        let hex = |at: usize| input.get(at).is_some_and(|digit| HEX.contains(digit));
        let mut at = 0;
        while at < input.len() {
            at += match input[at] {
                b'+' if hex(at + 1) && hex(at + 2) => 3,
                b'+' | b'=' => return false,
                33..=126 => 1,
                _ => return false,
            };
        }
        true
    }

    proptest! {
        #[test]
        fn round_trip(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let spelling = encode(&value);
            prop_assert!(is_xtext(spelling.as_bytes()));
            prop_assert_eq!(decode(spelling.as_bytes()), Some(value));
        }

        #[test]
        fn decodes_exactly_the_grammar(input in octets_of(b"+++0AFaf=~! ", 10)) {
            let value = decode(&input);
            prop_assert_eq!(value.is_some(), is_xtext(&input));
            prop_assert_eq!(is_valid(&input), is_xtext(&input));
            if let Some(value) = value {
                prop_assert!(encode(&value).len() <= input.len());
            }
        }
    }
}
