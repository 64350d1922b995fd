//! Which header fields the cache file keeps of a message of which some are asked for.

use crate::mime::header::FIELD_NAME_BYTES_MAX;
use crate::mime::text::write_header;
use alloc::string::String;
use alloc::vec::Vec;

/// Those that clients show in lists, or ask for to find out how messages belong together; in ascending order.
const COMMON: &[&str] = &[
    "bcc",
    "cc",
    "content-type",
    "date",
    "from",
    "importance",
    "in-reply-to",
    "list-id",
    "list-post",
    "list-subscribe",
    "list-unsubscribe",
    "mail-followup-to",
    "message-id",
    "newsgroups",
    "priority",
    "references",
    "reply-to",
    "sender",
    "subject",
    "to",
    "x-label",
    "x-priority",
];
/// Who asks for more fields gets them from the messages.
const NAMES_MAX: usize = 64;

/// Names in lower case.
#[derive(Debug)]
pub(super) struct KeptFields {
    /// Those that are asked for.
    pub(super) wanted: Vec<String>,
    /// All that are kept, ascending, joined by spaces.
    pub(super) names: String,
}

impl KeptFields {
    /// The fields to keep when those are asked for; `None` if they are too many, or one has a name that no field has.
    pub(super) fn new<'n>(asked: impl Iterator<Item = &'n [u8]>) -> Option<KeptFields> {
        let mut wanted = Vec::new();
        for name in asked.take(2 * NAMES_MAX) {
            let is_name =
                (1..=FIELD_NAME_BYTES_MAX).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
            is_name.then_some(())?;
            wanted.push(core::str::from_utf8(name).ok()?.to_ascii_lowercase());
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut names: Vec<&str> = wanted.iter().map(String::as_str).chain(COMMON.iter().copied()).collect();
        names.sort_unstable();
        names.dedup();
        let names = (names.len() <= NAMES_MAX).then(|| names.join(" "))?;
        Some(KeptFields { wanted, names })
    }

    /// Those fields of a header that are kept, with CRLF line ends.
    pub(super) fn of_header(&self, header: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let is_kept =
            |name: &[u8]| self.names.split(' ').any(|kept| kept.as_bytes().eq_ignore_ascii_case(name));
        write_header(&mut out, header, is_kept);
        out
    }
}
