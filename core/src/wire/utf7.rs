//! UTF-7 (RFC 2152), in which a client may write what it searches for.
//!
//! Printable ASCII stands for itself, `+` is `+-`, and anything else is UTF-16 in base64 between `+` and `-`, or whatever
//! else ends it. What mail clients once sent is read; nothing is written in it. Mailbox names have a spelling of their
//! own ([`mutf7`]).
//!
//! ```
//! use postier_core::wire::utf7;
//!
//! assert_eq!(utf7::decode(b"Hi Mom -+Jjo--!").as_deref(), Some("Hi Mom -☺-!"));
//! assert_eq!(utf7::decode(b"+ZeVnLIqe and 1 +- 1").as_deref(), Some("日本語 and 1 + 1"));
//! ```

use super::mutf7::{self, decode_units};
use alloc::string::String;

/// The text; `None` if it is no UTF-7: an octet above 127, or base64 that is no UTF-16.
pub fn decode(input: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while let Some((&octet, tail)) = rest.split_first() {
        rest = tail;
        if octet != b'+' {
            out.push(char::from(Some(octet).filter(u8::is_ascii)?));
            continue;
        }
        if let Some(tail) = tail.strip_prefix(b"-") {
            out.push('+');
            rest = tail;
            continue;
        }
        let letters = tail.iter().take_while(|letter| value_of(**letter).is_some()).count();
        let (encoded, tail) = tail.split_at(letters);
        if encoded.is_empty() {
            return None;
        }
        decode_units(encoded.iter().copied().filter_map(value_of), |character| {
            out.push(character);
            Ok(())
        })
        .ok()?;
        rest = tail.strip_prefix(b"-").unwrap_or(tail);
    }
    Some(out)
}

/// RFC 4648 §4: modified UTF-7 has `,` where this has `/`.
fn value_of(letter: u8) -> Option<u8> {
    match letter {
        b'/' => Some(63),
        b',' => None,
        _ => mutf7::value_of(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_utf7_is_refused() {
        for text in [&b"+"[..], b"+ x", b"caf\xc3\xa9", b"+A-", b"+AAA", b"+2D3-", b"+AOl-"] {
            // `+AAA` is one unit, NUL, and two bits of nothing: that is allowed.
            assert_eq!(decode(text).is_some(), text == b"+AAA", "{}", text.escape_ascii());
        }
    }

    proptest! {
        /// A name's own spelling differs in two letters, and in what stands for itself.
        #[test]
        fn what_is_spelt_is_read(text in "[a-zäöü日本📬]{0,12}") {
            let spelt = mutf7::encode(&text).replace('&', "+").replace(',', "/");
            prop_assert_eq!(decode(spelt.as_bytes()), Some(text));
        }

        #[test]
        fn arbitrary_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some(text) = decode(&octets) {
                prop_assert!(text.len() <= octets.len() * 2);
            }
        }
    }
}
