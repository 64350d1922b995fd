//! Bytes in a named character set to UTF-8. Never fails: what cannot be read becomes U+FFFD.
//!
//! US-ASCII and unknown or absent names are read as UTF-8, of which US-ASCII is a part: mail that says nothing, or
//! says too little, is more often UTF-8 than anything else.

use alloc::string::String;

use encoding_rs::{Encoding, UTF_8};

/// The encoding to use for a charset name.
pub(super) fn encoding(label: &[u8]) -> &'static Encoding {
    let label = label.trim_ascii();
    if label.eq_ignore_ascii_case(b"us-ascii") || label.eq_ignore_ascii_case(b"ascii") {
        return UTF_8;
    }
    match Encoding::for_label_no_replacement(label) {
        Some(encoding) => encoding,
        None => UTF_8,
    }
}

/// `bytes` in the charset `label`, as UTF-8.
pub(super) fn decode(label: &[u8], bytes: &[u8]) -> String {
    encoding(label).decode_without_bom_handling(bytes).0.into_owned()
}
