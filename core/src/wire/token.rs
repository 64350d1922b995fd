//! Which octet may stand where: one table, one bit for each class, and [`split`], which reads a word.
//!
//! What it will not do: 8-bit octets are in no class; a grammar that allows UTF-8 asks for `octet >= 0x80`
//! too.
//!
//! ```
//! use postier_core::wire::token::{self, Class};
//!
//! assert!(token::is(b'+', Class::Atext));
//! assert_eq!(token::split(b"NOOP \r\n", Class::ImapAtom), (&b"NOOP"[..], &b" \r\n"[..]));
//! ```

/// A set of ASCII characters that some grammar names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `atext`: of a local part or a phrase (RFC 5322 §3.2.3).
    Atext = 1 << 0,
    /// `token`: of a media type or a parameter's name (RFC 2045 §5.1).
    MimeToken = 1 << 1,
    /// `ATOM-CHAR` (RFC 9051 §9): no `]`-exception, no wildcards.
    ImapAtom = 1 << 2,
    /// `ASTRING-CHAR`: `ATOM-CHAR` and `]` (RFC 9051 §9).
    ImapAstring = 1 << 3,
    /// `list-char`: `ASTRING-CHAR` and the wildcards `%` and `*` (RFC 9051 §9).
    ImapList = 1 << 4,
    /// A character of a tag: `ASTRING-CHAR` but not `+` (RFC 9051 §9).
    ImapTag = 1 << 5,
    /// `esmtp-value`: printable ASCII but not `=` (RFC 5321 §4.1.2).
    EsmtpValue = 1 << 6,
    /// `ftext`: of a header field's name (RFC 5322 §2.2).
    FieldName = 1 << 7,
    /// `atext` and dots: of a local part without quotes, dots anywhere (RFC 5321 §4.1.2).
    LocalPart = 1 << 8,
    /// Letters, digits, hyphens, dots, and `_`, which host names have in practice (RFC 5321 §4.1.2).
    DomainName = 1 << 9,
    /// Letters, digits, hyphens and dots: the names of FETCH items, sections and options (RFC 9051 §9).
    ImapName = 1 << 10,
    /// What a quoted string cannot hold as it is: `"`, `\`, CR, LF and NUL (RFC 9051 §9, QUOTED-CHAR).
    ImapQuotedEnd = 1 << 11,
}

/// Whether `octet` is in `class`.
#[inline]
pub const fn is(octet: u8, class: Class) -> bool {
    CLASSES[octet as usize] & class as u16 != 0
}

/// Whether all of `octets` are in `class`, and there is at least one.
pub fn all(octets: &[u8], class: Class) -> bool {
    !octets.is_empty() && octets.iter().all(|&octet| is(octet, class))
}

/// Splits after the longest start of `input` which is all in `class`; it may be empty.
#[inline]
pub fn split(input: &[u8], class: Class) -> (&[u8], &[u8]) {
    let len = input.iter().position(|&octet| !is(octet, class)).unwrap_or(input.len());
    input.split_at(len)
}

const CLASSES: [u16; 256] = classes();

const fn classes() -> [u16; 256] {
    let mut classes = [0; 256];
    // CTL, SP and DEL are in no class but the last one.
    let mut octet = b'!';
    while octet <= b'~' {
        classes[octet as usize] = classes_of(octet);
        octet += 1;
    }
    let (quoted_end, mut at) = (*b"\"\\\r\n\0", 0);
    while at < quoted_end.len() {
        classes[quoted_end[at] as usize] |= Class::ImapQuotedEnd as u16;
        at += 1;
    }
    classes
}

const fn classes_of(octet: u8) -> u16 {
    let mut classes = 0;
    if !matches!(
        octet,
        b'(' | b')' | b'<' | b'>' | b'[' | b']' | b':' | b';' | b'@' | b'\\' | b',' | b'.' | b'"'
    ) {
        classes |= Class::Atext as u16;
    }
    // tspecials of RFC 2045 §5.1.
    if !matches!(
        octet,
        b'(' | b')'
            | b'<'
            | b'>'
            | b'@'
            | b','
            | b';'
            | b':'
            | b'\\'
            | b'"'
            | b'/'
            | b'['
            | b']'
            | b'?'
            | b'='
    ) {
        classes |= Class::MimeToken as u16;
    }
    if !matches!(octet, b'(' | b')' | b'{' | b'"' | b'\\') {
        classes |= Class::ImapList as u16;
        if !matches!(octet, b'%' | b'*') {
            classes |= Class::ImapAstring as u16;
            if octet != b']' {
                classes |= Class::ImapAtom as u16;
            }
            if octet != b'+' {
                classes |= Class::ImapTag as u16;
            }
        }
    }
    if octet != b'=' {
        classes |= Class::EsmtpValue as u16;
    }
    if octet != b':' {
        classes |= Class::FieldName as u16;
    }
    if classes & Class::Atext as u16 != 0 || octet == b'.' {
        classes |= Class::LocalPart as u16;
    }
    if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.') {
        classes |= Class::ImapName as u16 | Class::DomainName as u16;
    }
    if octet == b'_' {
        classes |= Class::DomainName as u16;
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn members(class: Class) -> String {
        (0..=255u8).filter(|&octet| is(octet, class)).map(char::from).collect()
    }

    #[test]
    fn classes_as_the_rfcs_list_them() {
        let shown = |class| {
            members(class)
                .replace("0123456789", "0-9")
                .replace("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "A-Z")
                .replace("abcdefghijklmnopqrstuvwxyz", "a-z")
        };
        // RFC 5322 §3.2.3 names these marks one by one.
        let mut atext: alloc::vec::Vec<char> = "!#$%&'*+-/=?^_`{|}~".chars().collect();
        atext.extend(('0'..='9').chain('A'..='Z').chain('a'..='z'));
        atext.sort_unstable();
        assert_eq!(members(Class::Atext), atext.into_iter().collect::<String>());
        assert_eq!(shown(Class::MimeToken), "!#$%&'*+-.0-9A-Z^_`a-z{|}~");
        assert_eq!(shown(Class::ImapAtom), "!#$&'+,-./0-9:;<=>?@A-Z[^_`a-z|}~");
        assert_eq!(shown(Class::ImapAstring), "!#$&'+,-./0-9:;<=>?@A-Z[]^_`a-z|}~");
        assert_eq!(shown(Class::ImapList), "!#$%&'*+,-./0-9:;<=>?@A-Z[]^_`a-z|}~");
        assert_eq!(shown(Class::ImapTag), "!#$&',-./0-9:;<=>?@A-Z[]^_`a-z|}~");
        assert_eq!(shown(Class::LocalPart), "!#$%&'*+-./0-9=?A-Z^_`a-z{|}~");
        assert_eq!(shown(Class::DomainName), "-.0-9A-Z_a-z");
        assert_eq!(shown(Class::ImapName), "-.0-9A-Za-z");
        assert_eq!(members(Class::ImapQuotedEnd), "\0\n\r\"\\");
        assert_eq!(members(Class::EsmtpValue).len(), 93);
        assert_eq!(members(Class::FieldName).len(), 93);
    }

    #[test]
    fn all_of_nothing_is_nothing() {
        assert!(!all(b"", Class::Atext));
        assert!(all(b"a", Class::Atext));
        assert!(!all(b"a b", Class::Atext));
        assert_eq!(split(b"abc", Class::Atext), (&b"abc"[..], &b""[..]));
    }
}
