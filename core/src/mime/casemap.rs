//! The collation `i;unicode-casemap` (RFC 5051): texts that differ only in case, or in how a character is put together,
//! are one text. SORT, THREAD and SEARCH compare so (RFC 5256 §7, RFC 5255 §4).
//!
//! Each character becomes its titlecase, as the Unicode data's simple mapping has it, and is then decomposed as far as
//! it goes, compatibility characters too. What comes out is compared octet by octet. Nothing is put in another order:
//! the RFC does not ask for it.

use alloc::vec::Vec;
use unicode_normalization::char::decompose_compatible;

/// Appends what is compared instead of `text`, in UTF-8.
///
/// ```
/// use postier_core::mime::casemap::fold;
///
/// let folded = |text: &str| {
///     let mut out = Vec::new();
///     fold(text, &mut out);
///     String::from_utf8(out).unwrap()
/// };
/// assert_eq!(folded("Straße"), "STRAßE");
/// assert_eq!(folded("E\u{301}t\u{e9}"), folded("\u{c9}TE\u{301}"));
/// assert_eq!(folded("ﬁle №5"), "fiLE No5");
/// ```
pub fn fold(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    if text.is_ascii() {
        out.extend_from_slice(text.as_bytes());
        out.get_mut(start..).unwrap_or_default().make_ascii_uppercase();
        return;
    }
    out.reserve(text.len());
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(octet) if octet.is_ascii() => out.push(octet.to_ascii_uppercase()),
            Ok(_) | Err(_) => decompose_compatible(title(character), |part| {
                out.extend_from_slice(part.encode_utf8(&mut [0; 4]).as_bytes());
            }),
        }
    }
}

/// The simple titlecase mapping. It is the uppercase one where that is a single character, with few exceptions.
fn title(character: char) -> char {
    match character {
        // The digraphs have a third form: the first letter of both is large.
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        // Unicode has no mapping from ß to the capital that a few write, nor one back that counts here.
        '\u{1e9e}' => 'ß',
        // A Georgian title is not written in capitals.
        '\u{10d0}'..='\u{10fa}' | '\u{10fd}'..='\u{10ff}' => character,
        // With a small iota below, which only the full mapping makes a letter of its own.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => above(character, 8),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => above(character, 9),
        _ => {
            let mut upper = character.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(only), None) => only,
                (Some(_) | None, _) => character,
            }
        }
    }
}

fn above(character: char, distance: u32) -> char {
    char::from_u32(u32::from(character) + distance).unwrap_or(character)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn folded(text: &str) -> String {
        let mut out = Vec::new();
        fold(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn characters_with_a_case_of_their_own() {
        for (text, expected) in [
            ("abcXYZ019 [", "ABCXYZ019 ["),
            ("ς σ Σ", "Σ Σ Σ"),
            ("ä Ä", "A\u{308} A\u{308}"),
            ("ß ẞ ŉ ﬃ", "ß ß \u{2bc}n ffi"),
            ("ǆ ǅ Ǆ", "Dz\u{30c} Dz\u{30c} Dz\u{30c}"),
            ("ა Ა", "ა Ა"),
            ("ᾳ ᾼ ᾀ ᾈ", "Α\u{345} Α\u{345} Α\u{313}\u{345} Α\u{313}\u{345}"),
            ("ﾊﾟ ＡＢ한", "ハ\u{309a} AB\u{1112}\u{1161}\u{11ab}"),
            ("İ ı", "I\u{307} I"),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn ascii_is_folded_alike_alone_and_beside_others(text in "[ -~]{0,20}") {
            let (alone, beside) = (folded(&text), folded(&alloc::format!("{text}é")));
            prop_assert_eq!(beside.strip_suffix("E\u{301}"), Some(alone.as_str()));
        }
    }
}
