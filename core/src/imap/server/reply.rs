//! What a refusal becomes on the wire: one table of response codes and sentences (RFC 9051 §7.1, RFC 5530).
//! The status is always NO.

use super::Refusal;
use crate::imap::response::{Code, Status, write_untagged};
use crate::send_queue::SendQueue;

/// The charsets named when SEARCH asks for another; every charset of the WHATWG Encoding Standard is taken.
const CHARSETS: &[&str] = &["US-ASCII", "UTF-8"];

pub(super) const NOT_WRITABLE: &str = "The mailbox is open for reading only";
pub(super) const LOST_ANSWER: &str = "The server is too busy, try again";

const KEYWORDS_FULL: &str = "The mailbox has all the keywords it can have, or the name is too long";

/// Warns (RFC 9051 §7.1.2) that messages have come into a mailbox without keywords that they should have.
pub(super) fn warn_of_lacking_keywords(tx: &mut SendQueue) {
    let text = "Keywords were left out: the mailbox has all it can have, or their names are too long";
    tx.write_with(|out| write_untagged(out, Status::No, Some(&Code::Limit), text));
}

/// The response code of a refusal and a sentence for the person at the client.
pub(super) fn of_refusal(refusal: &Refusal) -> (Code<'static>, &'static str) {
    match refusal {
        Refusal::NonExistent => (Code::NonExistent, "There is no such mailbox"),
        Refusal::TryCreate => (Code::TryCreate, "There is no such mailbox, create it first"),
        Refusal::AlreadyExists => (Code::AlreadyExists, "There is a mailbox of that name already"),
        Refusal::Cannot(why) => (Code::Cannot, why),
        Refusal::ReadOnly => (Code::NoPerm, "The mailbox cannot be changed"),
        Refusal::InUse => (Code::InUse, "Another program holds the mailbox, try again"),
        Refusal::NoSpace => (Code::OverQuota, "There is no room left for it"),
        // RFC 7889 §4
        Refusal::TooBig => (Code::TooBig, "The message is larger than this server takes"),
        // RFC 5530 §3
        Refusal::KeywordsFull => (Code::Limit, KEYWORDS_FULL),
        Refusal::TooManyFollowed => (Code::NotificationOverflow, "So many mailboxes cannot be followed"),
        Refusal::TooManyEntries => (Code::MetadataTooMany, "There are too many annotations already"),
        Refusal::SpecialUse => (Code::UseAttr, "The mailbox cannot have this use: another one was given it"),
        Refusal::NoPermission => (Code::NoPerm, "The system does not allow it"),
        Refusal::Unavailable => (Code::Unavailable, "The mail store has trouble, try again later"),
        Refusal::BadCharset => (Code::BadCharset(CHARSETS), "The charset is not known, use UTF-8"),
        // Which one it is, is said where the URLs are known.
        Refusal::BadUrl(_) => (Code::BadUrl(""), "Nothing can be read by the URL"),
    }
}
