//! What the answers to a session's questions hold: plain values, made by the office.

use super::SelectionId;
use crate::disk::Handle;
use crate::imap::fetch::FetchItem;
use crate::imap::flag::FlagSet;
use crate::imap::metadata::Entry;
use crate::imap::search::SearchKey;
use crate::imap::sequence::UidSet;
use crate::imap::view::UidMap;
use crate::maildir::folder::SpecialUse;
use crate::send_queue::FileRange;
use crate::ticket::Answered;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The answer to SELECT and EXAMINE.
#[derive(Clone, Debug)]
pub struct Selected {
    /// To name it by.
    pub selection: SelectionId,
    /// UIDVALIDITY
    pub uid_validity: u32,
    /// UIDNEXT
    pub uid_next: u32,
    /// HIGHESTMODSEQ; `None`: no mod-sequences are kept (NOMODSEQ).
    pub modseq: Option<u64>,
    /// The mailbox's GUID, once it is durable.
    pub guid: Option<[u8; 16]>,
    /// The messages.
    pub view: UidMap,
    /// Those that are `\Recent` in this session.
    pub recent: UidSet,
    /// UID of the first without `\Seen`.
    pub first_unseen: Option<u32>,
    /// Keyword names by letter; empty strings are unused.
    pub keywords: Arc<Vec<String>>,
    /// Nothing can be changed here.
    pub read_only: bool,
}

/// What happened between the last answer and now.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Gone for good.
    pub expunged: UidSet,
    /// New, ascending.
    pub appended: Vec<u32>,
    /// Of the new ones, those that are `\Recent` in this session.
    pub recent: UidSet,
    /// Other flags than before, not counting what the session itself did and was told.
    pub flags: Vec<MessageFlags>,
    /// HIGHESTMODSEQ with all this told.
    pub modseq: Option<u64>,
    /// A new keyword table.
    pub keywords: Option<Arc<Vec<String>>>,
    /// UIDVALIDITY changed or the mailbox is gone: the session must leave (BYE).
    pub reset: bool,
}

/// The flags of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageFlags {
    /// Its UID.
    pub uid: u32,
    /// Flags and keywords.
    pub flags: FlagSet,
    /// The mod-sequence of its last change.
    pub modseq: u64,
}

/// One mailbox of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its name on the wire.
    pub name: Vec<u8>,
    /// It only exists as the parent of others.
    pub non_existent: bool,
    /// Subscribed.
    pub subscribed: bool,
    /// Its special use (RFC 6154).
    pub special_use: Option<SpecialUse>,
}

/// What is new of the mailboxes that are followed. What happened to one several times is told once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Mailboxes that are new, have other names, are gone, or are subscribed or not other than before.
    pub folders: Vec<FolderNews>,
    /// Entries that have other values, by mailbox; `None`: the server's.
    pub annotations: Vec<(Option<Vec<u8>>, Vec<Entry>)>,
    /// Mailboxes with other messages or flags than before.
    pub statuses: Vec<(Vec<u8>, Status)>,
    /// There is too much to follow: nothing is told any more.
    pub overflow: bool,
}

/// A mailbox as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderNews {
    /// The mailbox; `non_existent` if it is gone.
    pub folder: Folder,
    /// The name it had before.
    pub old_name: Option<Vec<u8>>,
}

/// The answer to STATUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// MESSAGES
    pub messages: u32,
    /// RECENT
    pub recent: u32,
    /// UIDNEXT
    pub uid_next: u32,
    /// UIDVALIDITY
    pub uid_validity: u32,
    /// UNSEEN
    pub unseen: u32,
    /// DELETED
    pub deleted: u32,
    /// SIZE, if sizes were asked for.
    pub size: Option<u64>,
    /// DELETED-STORAGE, if sizes were asked for.
    pub deleted_size: Option<u64>,
    /// HIGHESTMODSEQ, if mod-sequences are kept.
    pub modseq: Option<u64>,
    /// The mailbox's GUID, once it is durable.
    pub guid: Option<[u8; 16]>,
}

/// A change to the tree of mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderChange {
    /// DELETE
    Delete {
        /// The mailbox.
        mailbox: Vec<u8>,
    },
    /// RENAME
    Rename {
        /// From.
        mailbox: Vec<u8>,
        /// To.
        to: Vec<u8>,
    },
    /// SUBSCRIBE, UNSUBSCRIBE
    Subscribe {
        /// The mailbox; it need not exist.
        mailbox: Vec<u8>,
        /// Subscribe or unsubscribe.
        subscribe: bool,
    },
}

/// The answer to APPEND (RFC 4315 APPENDUID).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// UIDVALIDITY of the mailbox.
    pub uid_validity: u32,
    /// The messages' UIDs, ascending in the order given.
    pub uids: UidSet,
    /// Some lack keywords: the mailbox has as many as it can have.
    pub lacks_keywords: bool,
}

/// What FETCH wants of each message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchRequest {
    /// The items, macros expanded.
    pub items: Vec<FetchItem>,
    /// UIDs that are `\Recent` in this session.
    pub recent: UidSet,
    /// Set `\Seen` (a body was asked for without PEEK, in a mailbox that can be changed).
    pub set_seen: bool,
    /// Only messages that have changed since this mod-sequence (RFC 7162 §3.1.4.1).
    pub changed_since: Option<u64>,
    /// Where flags are told because they have changed, the mod-sequence is told, too.
    pub tells_modseq: bool,
}

/// Some messages' FETCH data, in ascending UID order, rendered.
#[derive(Debug, Default)]
pub struct FetchPage {
    /// One entry per message.
    pub rows: Vec<FetchRow>,
    /// What stands between the parentheses of all rows, one after the other.
    pub bytes: Vec<u8>,
    /// Parts of files to be sent in between: before the octet of `bytes` at that position. At most one file.
    pub files: Vec<(usize, FileRange)>,
    /// The UID to go on with; `None` when all are done.
    pub next: Option<u32>,
    /// Some message was gone when its turn came: end with `NO [EXPUNGEISSUED]`.
    pub gone: bool,
    /// Some part has a transfer encoding that cannot be undone: end with `NO [UNKNOWN-CTE]`.
    pub unknown_encoding: bool,
    /// Messages whose files the system does not let us read: end with `NO [CONTACTADMIN]`.
    pub unreadable: UidSet,
}

impl Answered<Result<FetchPage, Refusal>> {
    /// The opened files of a page that nobody waits for: they are to be closed.
    pub fn into_files(self) -> impl Iterator<Item = Handle> {
        let id = self.id();
        let files = self.into_verdict(id).and_then(Result::ok).map(|page| page.files).unwrap_or_default();
        files.into_iter().map(|(_, range)| range.file)
    }
}

/// One message of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchRow {
    /// Its UID.
    pub uid: u32,
    /// Where its octets end in `bytes`; they begin where the row before ends.
    pub end: usize,
}

/// What STORE does with the flags it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAction {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// The answer to STORE.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The flags now of all messages that were changed.
    pub flags: Vec<MessageFlags>,
    /// Those that have changed since the client knew them, and are as they were.
    pub modified: UidSet,
    /// The keyword table these flags refer to.
    pub keywords: Arc<Vec<String>>,
    /// Some message was gone.
    pub gone: bool,
}

/// The answer to COPY and MOVE (RFC 4315 COPYUID).
#[derive(Clone, Debug, Default)]
pub struct Copied {
    /// UIDVALIDITY of the target.
    pub uid_validity: u32,
    /// Source UIDs with their UIDs in the target, in ascending source order.
    pub pairs: Vec<(u32, u32)>,
    /// Some copies lack keywords: the target has as many as it can have.
    pub lacks_keywords: bool,
}

/// What SEARCH looks for.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchQuery {
    /// The keys, all of which must match; sequence sets hold UIDs here.
    pub key: SearchKey,
    /// UIDs that are `\Recent` in this session.
    pub recent: UidSet,
    /// UIDs that `$` means.
    pub saved: UidSet,
}

/// What was found in a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundIn {
    /// UIDVALIDITY of the mailbox.
    pub uid_validity: u32,
    /// The UIDs that match.
    pub uids: UidSet,
    /// UIDs with their mod-sequences, ascending, if they were wanted.
    pub modseqs: Vec<(u32, u64)>,
}

/// Why something was refused; each maps to one NO with its response code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The mailbox does not exist.
    NonExistent,
    /// The target mailbox does not exist: TRYCREATE.
    TryCreate,
    /// It exists already.
    AlreadyExists,
    /// It cannot be done, for ever; a sentence why.
    Cannot(&'static str),
    /// The mailbox cannot be changed.
    ReadOnly,
    /// Someone holds the mailbox's lock: INUSE.
    InUse,
    /// The disk or the quota is full: OVERQUOTA.
    NoSpace,
    /// The message is larger than a message may be: LIMIT.
    TooBig,
    /// The mailbox has as many keywords as it can have, or the name is too long: LIMIT.
    KeywordsFull,
    /// So many mailboxes cannot be followed: NOTIFICATIONOVERFLOW.
    TooManyFollowed,
    /// There would be too many annotations: METADATA TOOMANY.
    TooManyEntries,
    /// The mailbox cannot be given this special use: USEATTR.
    SpecialUse,
    /// The system does not let us: NOPERM.
    NoPermission,
    /// A disk or system error: UNAVAILABLE.
    Unavailable,
    /// The charset of SEARCH is not known: BADCHARSET.
    BadCharset,
    /// CATENATE: nothing can be read by this URL, the how manieth of the command from 0: BADURL.
    BadUrl(usize),
}
