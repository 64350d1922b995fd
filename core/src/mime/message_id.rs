//! Message identifiers (RFC 5322 §3.6.4) in `Message-ID`, `In-Reply-To` and `References`, in the one form in which they
//! can be compared (RFC 5256 §3, THREAD): without angle brackets, quotes, white space.
//!
//! Reading never fails: what is between two identifiers is passed over, and so is what only looks like one. One pass.

use alloc::vec::Vec;

/// The longest identifier that counts, in octets; longer ones are nobody's.
pub const MESSAGE_ID_BYTES_MAX: usize = 512;

/// The identifiers in a field's value, folded or not, in the order written.
///
/// ```
/// use postier_core::mime::message_id::message_ids;
///
/// let value = b"<a@x.test>\r\n (Joe's) <\"b\\.c\"@x.test> your mail of <yesterday>";
/// assert_eq!(message_ids(value).collect::<Vec<_>>(), [b"a@x.test".to_vec(), b"b.c@x.test".to_vec()]);
/// ```
pub fn message_ids(value: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    // Everything up to the first bracket belongs to none of them.
    value.split(|octet| *octet == b'<').skip(1).filter_map(message_id)
}

/// The identifier at the beginning of what follows a `<`.
fn message_id(text: &[u8]) -> Option<Vec<u8>> {
    let (mut id, mut quoted, mut at_sign) = (Vec::new(), false, None);
    let mut octets = text.iter().copied();
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => quoted = !quoted,
            b'\\' if quoted => id.extend(octets.next()),
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'>' if !quoted => {
                // id-left "@" id-right, neither of them empty.
                let at = at_sign.filter(|at| *at > 0 && at + 1 < id.len());
                return at.map(|_| id);
            }
            b'@' if !quoted => {
                at_sign = Some(id.len());
                id.push(octet);
            }
            _ => id.push(octet),
        }
        if id.len() > MESSAGE_ID_BYTES_MAX {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn ids(value: &str) -> Vec<String> {
        message_ids(value.as_bytes()).map(|id| String::from_utf8(id).unwrap()).collect()
    }

    #[test]
    fn one_form_for_each() {
        assert_eq!(ids("<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>"), ids("<01KF8JCEOCBS0045PS@xxx.yyy.com>"));
        assert_eq!(ids("<a@b><c@d> , <e@\r\n f>"), ["a@b", "c@d", "e@f"]);
        assert_eq!(ids("<a\"b<@c> <d@e>"), ["d@e"]);
        assert_eq!(ids("\"Joe <joe@x.test>\" <1@2>"), ["joe@x.test", "1@2"]);
    }

    #[test]
    fn what_is_none() {
        for value in ["", "a@b", "<>", "<@>", "<a>", "<a@>", "<@b>", "<a@b", "<\"a@b\">", "<<<"] {
            assert!(ids(value).is_empty(), "{value}");
        }
        let long = alloc::format!("<{}@b> <a@b>", "a".repeat(MESSAGE_ID_BYTES_MAX));
        assert_eq!(ids(&long), ["a@b"]);
        assert_eq!(ids(&"<a@b".repeat(100_000)).len(), 0);
    }
}
