//! Names that stay with a mailbox and with a message (RFC 8474): MAILBOXID and EMAILID.
//!
//! A mailbox is named by its GUID, which lives in `dovecot-uidlist` and moves along with a rename. A message is named by
//! the base name of its file, which COPY and MOVE keep: hashed, since it may have characters that an id may not.
//!
//! ```
//! use postier_core::imap::objectid::{EmailId, write_mailbox_id};
//!
//! let id = EmailId::of(b"1700000000.M5P7.host,S=9,W=10");
//! let mut text = Vec::new();
//! id.write(&mut text);
//! assert_eq!(EmailId::parse(&text), Some(id));
//! let mut text = Vec::new();
//! write_mailbox_id(&mut text, &[0xab; 16]);
//! assert_eq!(text, b"Fabababababababababababababababab");
//! ```

use alloc::vec::Vec;

/// The name of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmailId(u128);

impl EmailId {
    /// The name of the message whose file has this base name.
    pub fn of(base: &[u8]) -> EmailId {
        // FNV-1a of 128 bits: whoever sends mail does not choose the names of files.
        const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        EmailId(base.iter().fold(OFFSET, |hash, octet| (hash ^ u128::from(*octet)).wrapping_mul(PRIME)))
    }

    /// Writes it, without parentheses.
    pub fn write(self, out: &mut Vec<u8>) {
        write_id(out, b'M', &self.0.to_be_bytes());
    }

    /// Reads what [`EmailId::write`] writes; `None` for what names no message here.
    pub fn parse(text: &[u8]) -> Option<EmailId> {
        let digits = core::str::from_utf8(text.strip_prefix(b"M")?).ok()?;
        let lower = digits.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'));
        let value = u128::from_str_radix(digits, 16).ok()?;
        (digits.len() == 32 && lower).then_some(EmailId(value))
    }
}

/// Writes the name of the mailbox with this GUID, without parentheses.
pub fn write_mailbox_id(out: &mut Vec<u8>, guid: &[u8; 16]) {
    write_id(out, b'F', guid);
}

fn write_id(out: &mut Vec<u8>, kind: u8, octets: &[u8; 16]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(kind);
    for octet in octets {
        out.extend([octet >> 4, octet & 15].iter().filter_map(|digit| DIGITS.get(usize::from(*digit))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_stay() {
        let mut text = Vec::new();
        EmailId::of(b"").write(&mut text);
        // What clients have stored: a change of this is a change of every message.
        assert_eq!(text, b"M6c62272e07bb014262b821756295c58d");
        assert_ne!(EmailId::of(b"1.a"), EmailId::of(b"1.b"));
        for bad in [
            &b""[..],
            b"M",
            b"Mabc",
            b"M6C62272E07BB014262B821756295C58D",
            b"F6c62272e07bb014262b821756295c58d",
        ] {
            assert_eq!(EmailId::parse(bad), None);
        }
    }
}
