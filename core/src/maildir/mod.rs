//! Maildir as Dovecot writes it: file names, control files, folders; pure formats, both ways.
//!
//! A mailbox is a directory with `cur`, `new` and `tmp`. What the directory cannot say stands in small
//! control files beside them, which other programs read and write too:
//!
//! | file | module | what it holds |
//! |---|---|---|
//! | `cur/1700000000.M5P7.host,S=9:2,S` | [`name`] | identity, sizes and flags of one message |
//! | `dovecot-uidlist` | [`uidlist`] | UIDVALIDITY, the mailbox GUID, a UID for each message |
//! | `dovecot-uidlist.lock` | [`lock`] | who may change the list and rename messages now |
//! | `dovecot-keywords` | [`keywords`] | which keyword the letters `a` to `z` of a name mean |
//! | `.Archive.2024/` | [`folder`] | a mailbox that is not INBOX |
//! | `subscriptions` | [`subscriptions`] | what LSUB answers |
//! | `dovecot-uidvalidity` | [`uidvalidity`] | the UIDVALIDITY for the next new folder |
//! | `maildirsize`, `quota` | `maildirsize` | how much mail the user has, if somebody enforces a quota |
//! | `postier.properties` | `properties` | annotations, and special uses that were given: what cannot be made anew |
//! | `postier.index` | [`index_file`] | what was known when the mailbox was last looked at: disposable |
//! | `postier.cache` | [`cache`], [`cache_file`] | what was found out about messages by reading them: disposable |
//!
//! What is done with these files is told as coroutines of single file operations ([`crate::disk`]), each in a
//! module that begins with the states on disk and the moves between them:
//!
//! | module | what it does |
//! |---|---|
//! | [`deliver`] | one message into the mailboxes of any number of users, all or none |
//! | [`sync`] | opens a mailbox, or looks what has changed in it |
//! | [`append`], [`copy`] | new messages, and copies of old ones, with their UIDs |
//! | [`flags`], [`expunge`] | other flags; messages gone for good |
//! | [`folders`], [`account`] | the tree of mailboxes; a new user's |
//! | [`metadata`] | annotations and special uses |
//! | [`fetch`], [`search`] | reading messages |
//! | [`mailbox`], [`history`], [`known`], [`context`] | what is known of a mailbox and its past; what all operations share |
//!
//! # Every state on disk
//!
//! Of a message. A crash leaves one of these and nothing else, whatever the file system does with what was not synced:
//!
//! | state | what is there | how it comes about, and goes |
//! |---|---|---|
//! | staged | `tmp/<name>` | delivery, APPEND and a COPY that cannot link make it; debris after a crash, removed when it is 36 h old |
//! | visible | `new/<base>` or `cur/<base>:2,…`, no record | a delivery's rename, ours or anybody's; the next look that has the lock gives it a record |
//! | announced | a record, no file | APPEND and COPY write the record first; after a crash, and after every expunge, it stays and means nothing: its UID is never given again |
//! | there | a file and a record | the record is durable before any client is told the UID |
//! | twice | one file under two names, or two files under one base name | a move that a crash cut short, or another program; under the lock the second name goes, or the second file gets a name of its own |
//! | elsewhere | a record, and a file with other flags or in the other directory | STORE, the move from `new/` to `cur/`, or another program, by one rename: the old name or the new one, never neither |
//! | gone | neither file nor record | the record goes when the list is written anew |
//!
//! Of a mailbox:
//!
//! | state | what is there | how it comes about, and goes |
//! |---|---|---|
//! | none | no directory, or one without `cur/` | CREATE makes `.X` with its parts, then the list; INBOX is completed whenever it is opened |
//! | unsure | all is there, but a power cut may undo it: its maker was killed before it synced | the first operation of a process that promises something there syncs it, the root and what is above (`durable`) |
//! | unnumbered | no `dovecot-uidlist`, or one that breaks the rules | the next operation writes one, with a UIDVALIDITY never used before |
//! | numbered | `dovecot-uidlist` | appended to, or written as `dovecot-uidlist.tmp`, synced and renamed over |
//! | torn | half a record or zeros at its end | a crash in the middle of an append; written anew before the next |
//! | locked | `dovecot-uidlist.lock` | whoever gives UIDs, renames or removes in `cur/`; one that a crash left is [stale](lock), and one that could not be removed is known to the process that left it |
//! | with new letters | `dovecot-keywords` | written as `dovecot-keywords.lock`, renamed over, durable before a file name has the letter |
//! | annotated | `postier.properties` | written as `postier.properties.tmp`, synced and renamed over; gone with the mailbox |
//! | leaving | `..DOVECOT-TRASHED` | DELETE renames, then removes; whatever is left there nobody sees, and the next DELETE removes it |
//! | remembered | `postier.index`, `postier.cache` | written when the mailbox has been at rest for some seconds, and when messages were read; torn, old, of another hand or absent, they cost a look |
//! | half written | `dovecot-uidlist.tmp`, `dovecot-keywords.lock`, `postier.properties.tmp`, `postier.index.tmp`, `postier.cache.tmp` | a crash before the rename; it means nothing, and whoever writes that file next begins it anew |
//!
//! Of an account, in its root:
//!
//! | state | what is there | how it comes about, and goes |
//! |---|---|---|
//! | subscribed | `subscriptions` | written as `subscriptions.lock`, which is the lock, too, synced and renamed over; one that a crash left is stale after 30 s |
//! | numbering | `dovecot-uidvalidity`, `dovecot-uidvalidity.<the same>` | the second is renamed to the next number, then the first written; where they differ after a crash the second counts |
//! | counted | `maildirsize` | lines appended as mail comes and goes, by whoever enforces a quota counted anew; not synced, for an absent one is counted anew |
//!
//! # Mod-sequences
//!
//! They begin at the time of the mailbox's first opening in seconds times 2^20, above the small counters of Dovecot, and grow
//! by one with each operation that changes something. What may be told is reserved durably before: the header of
//! `dovecot-uidlist` has a key `M` of ours, which Dovecot keeps, and all that were told are below its value. So
//! neither a clock that goes back nor a lost index lowers them: a process that cannot prove to know the last one
//! goes on well above the reservation, since Dovecot may have served the mailbox from there on meanwhile, and makes another ([`mailbox::MailboxState::shown_modseq`], [`history`]).
//!
//! Three rules hold for all operations. Nothing is told before it is durable. One operation at a time changes a
//! mailbox in this process, and holds its uidlist lock against other programs. What other programs do without
//! the lock is expected at every step: a file that is not where it was is looked for once more before it is
//! gone.
//!
//! ```
//! use postier_core::imap::flag::SystemFlag;
//! use postier_core::maildir::name::FileName;
//!
//! let name = FileName::parse(b"1700000000.M5P7.host,S=9:2,S");
//! assert_eq!(name.size(), Some(9));
//! assert!(name.flags().contains(SystemFlag::Seen));
//! ```

pub mod account;
pub mod append;
pub(crate) mod body;
pub mod cache;
pub mod cache_file;
#[cfg(test)]
mod cache_tests;
pub mod context;
pub mod copy;
pub mod deliver;
pub(crate) mod durable;
pub mod expunge;
pub mod fetch;
pub mod flags;
pub mod folder;
pub mod folders;
#[doc(hidden)]
pub mod fuzzing;
mod headers;
pub mod history;
mod index;
pub mod index_file;
#[cfg(test)]
mod index_tests;
mod kept_fields;
mod keyword_file;
pub mod keywords;
pub mod known;
mod list_file;
mod listing;
pub mod lock;
pub mod mailbox;
mod maildirsize;
#[cfg(test)]
pub(crate) mod memdisk;
mod merge;
pub mod metadata;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod modseq_tests;
pub mod name;
mod octets;
mod place;
mod properties;
pub mod quota;
mod reader;
pub(crate) mod scope;
pub mod search;
mod settle;
pub mod sort;
pub mod subscriptions;
pub mod sync;
pub mod thread;
pub mod uidlist;
mod uidlist_lock;
pub mod uidvalidity;
#[cfg(test)]
mod write_tests;

/// Reads decimal digits at the start of `bytes`: the value and how many digits there were.
///
/// `None` without a digit, or when the value does not fit.
fn decimal_prefix(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    let mut length = 0;
    for &byte in bytes {
        if !byte.is_ascii_digit() {
            break;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
        length += 1;
    }
    (length > 0).then_some((value, length))
}

/// Reads `bytes` as one whole decimal number.
fn decimal(bytes: &[u8]) -> Option<u64> {
    match decimal_prefix(bytes) {
        Some((value, length)) if length == bytes.len() => Some(value),
        Some(_) | None => None,
    }
}

/// Appends `value` in decimal digits.
fn push_decimal(out: &mut alloc::vec::Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut first = digits.len();
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        first -= 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or(&[]));
}

/// Appends `value` as `width` lower-case hexadecimal digits, leading zeros included.
fn push_hex(out: &mut alloc::vec::Vec<u8>, value: u64, width: u32) {
    for place in (0..width).rev() {
        let digit = (value.checked_shr(place * 4).unwrap_or(0) & 0xf) as u8;
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
}

/// Reads exactly `width` hexadecimal digits, either case; `None` for anything else.
fn hex(bytes: &[u8], width: usize) -> Option<u128> {
    if bytes.len() != width || width > 32 {
        return None;
    }
    bytes.iter().try_fold(0u128, |value, &byte| {
        let digit = char::from(byte).to_digit(16)?;
        Some(value << 4 | u128::from(digit))
    })
}
