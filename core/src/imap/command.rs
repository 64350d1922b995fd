//! A client's command as a value, borrowed from the receive buffer: [`parse`] makes it.
//!
//! One variant per command; a command with and without UID is one variant with a `uid` field. What makes a variant
//! much larger than the others is in a box of its own, so that a NOOP is not moved about as a SORT would be. What goes to
//! another thread (FETCH, SEARCH, sequence sets, mailbox names) is owned, the rest borrows. The parser knows
//! the grammar only: whether a command is allowed now, and whether a mailbox name is a possible one, is for
//! the session to say.
//!
//! ```
//! use postier_core::imap::command::{CommandBody, parse};
//!
//! let command = parse(b"a1 SELECT inbox\r\n").unwrap();
//! assert_eq!(command.tag, b"a1");
//! let CommandBody::Select(select) = command.body else { panic!() };
//! assert!(select.mailbox.is_inbox());
//!
//! let error = parse(b"a2 FETCH ) FLAGS\r\n").unwrap_err();
//! assert_eq!(error.tag, Some(&b"a2"[..]));
//! assert_eq!(error.to_string(), r#"FETCH: expected a sequence set, found ") FLAGS""#);
//! ```

use super::fetch::Fetch;
use super::flag::FlagList;
use super::metadata::{Depth, Entry};
use super::notify::{Notify, Source};
pub use super::parse::{ParseError, parse, parse_append_rest, parse_section, tag_of};
use super::search::Search;
use super::sequence::{SequenceSet, UidSet};
use super::sort::Sort;
use super::thread::Algorithm;
pub use crate::maildir::folder::SpecialUse;
use crate::mime::date::Date;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

/// A string as the client gave it, unquoted; owned only when it was quoted and had escapes.
pub type AString<'a> = Cow<'a, [u8]>;

/// A command with its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// The client's name for the command, at least one octet, no `+`.
    pub tag: &'a [u8],
    /// What to do.
    pub body: CommandBody<'a>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandBody<'a> {
    /// CAPABILITY, RFC 9051 §6.1.1.
    Capability,
    /// NOOP, RFC 9051 §6.1.2.
    Noop,
    /// LOGOUT, RFC 9051 §6.1.3.
    Logout,
    /// ID, RFC 2971: what the client says of itself; no fields for `NIL`.
    Id {
        /// Names and values in the order given.
        fields: Vec<(AString<'a>, Option<AString<'a>>)>,
    },
    /// STARTTLS, RFC 9051 §6.2.1.
    StartTls,
    /// AUTHENTICATE, RFC 9051 §6.2.2.
    Authenticate {
        /// The SASL mechanism, as the client spelt it.
        mechanism: &'a [u8],
        /// The initial response still in base64 (`=` for an empty one), RFC 4959.
        initial: Option<Secret<'a>>,
    },
    /// LOGIN, RFC 9051 §6.2.3.
    Login {
        /// The account.
        username: AString<'a>,
        /// The password.
        password: Secret<'a>,
    },
    /// COMPRESS, RFC 4978.
    Compress {
        /// The mechanism, as the client spelt it.
        mechanism: &'a [u8],
    },
    /// UNAUTHENTICATE, RFC 8437.
    Unauthenticate,
    /// ENABLE, RFC 9051 §6.3.1.
    Enable {
        /// The capabilities named, at least one.
        capabilities: Vec<&'a [u8]>,
    },
    /// UIDBATCHES, RFC 10022.
    UidBatches(UidBatches),
    /// CANCELUPDATE, RFC 5267 §4.3.5.
    CancelUpdate {
        /// Tags of searches, at least one.
        tags: Vec<AString<'a>>,
    },
    /// SELECT and EXAMINE, RFC 9051 §6.3.2, §6.3.3.
    Select(Select),
    /// CREATE, RFC 9051 §6.3.4, with `USE` of RFC 6154 §3.
    Create {
        /// The mailbox; may end in the hierarchy delimiter.
        mailbox: MailboxName,
        /// What the mailbox is to be used for.
        special_use: Vec<SpecialUse>,
        /// Whether a use was named that we do not know: the answer is `NO [USEATTR]`.
        unknown_use: bool,
    },
    /// DELETE, RFC 9051 §6.3.5.
    Delete {
        /// The mailbox.
        mailbox: MailboxName,
    },
    /// RENAME, RFC 9051 §6.3.6.
    Rename {
        /// The name it has.
        from: MailboxName,
        /// The name it shall have.
        to: MailboxName,
    },
    /// SUBSCRIBE, RFC 9051 §6.3.7.
    Subscribe {
        /// The mailbox.
        mailbox: MailboxName,
    },
    /// UNSUBSCRIBE, RFC 9051 §6.3.8.
    Unsubscribe {
        /// The mailbox.
        mailbox: MailboxName,
    },
    /// LIST, RFC 9051 §6.3.9.
    List(List<'a>),
    /// LSUB, RFC 3501 §6.3.9.
    Lsub {
        /// The reference name.
        reference: AString<'a>,
        /// The pattern.
        pattern: AString<'a>,
    },
    /// NAMESPACE, RFC 9051 §6.3.10.
    Namespace,
    /// GETMETADATA, RFC 5464 §4.2.
    GetMetadata(GetMetadata),
    /// SETMETADATA, RFC 5464 §4.3.
    SetMetadata {
        /// The mailbox; an empty name is the server.
        mailbox: MailboxName,
        /// Entries with their new values; `None` for NIL: the entry goes.
        values: Vec<(Entry, Option<AString<'a>>)>,
    },
    /// NOTIFY, RFC 5465 §3.
    Notify(Notify),
    /// STATUS, RFC 9051 §6.3.11.
    Status {
        /// The mailbox.
        mailbox: MailboxName,
        /// What to say of it, at least one.
        items: Vec<StatusItem>,
    },
    /// GETQUOTA, RFC 9208 §4.1.1.
    GetQuota {
        /// The quota root.
        root: AString<'a>,
    },
    /// GETQUOTAROOT, RFC 9208 §4.1.2.
    GetQuotaRoot {
        /// The mailbox; it need not exist.
        mailbox: MailboxName,
    },
    /// SETQUOTA, RFC 9208 §4.1.3, whose limits nobody here may set and nobody looks at.
    SetQuota {
        /// The quota root.
        root: AString<'a>,
    },
    /// The head of APPEND, RFC 9051 §6.3.12, or of REPLACE, RFC 8508; the message comes after it.
    Append(Append<'a>),
    /// IDLE, RFC 9051 §6.3.13; ends with the line [`is_done`] knows.
    Idle,
    /// CHECK, RFC 3501 §6.4.1.
    Check,
    /// CLOSE, RFC 9051 §6.4.1.
    Close,
    /// UNSELECT, RFC 9051 §6.4.2.
    Unselect,
    /// EXPUNGE, or UID EXPUNGE with the set (RFC 9051 §6.4.3, §6.4.9).
    Expunge {
        /// The UIDs to which it is limited.
        uids: Option<SequenceSet>,
    },
    /// SEARCH and UID SEARCH, RFC 9051 §6.4.4.
    Search(Box<Search>),
    /// ESEARCH, RFC 7377.
    MultiSearch(Box<MultiSearch>),
    /// SORT and UID SORT, RFC 5256.
    Sort(Box<Sort>),
    /// THREAD and UID THREAD, RFC 5256.
    Thread(Box<Thread>),
    /// FETCH and UID FETCH, RFC 9051 §6.4.5.
    Fetch(Fetch),
    /// STORE and UID STORE, RFC 9051 §6.4.6.
    Store(Store<'a>),
    /// COPY and UID COPY, RFC 9051 §6.4.7.
    Copy {
        /// Whether the set names UIDs.
        uid: bool,
        /// The messages.
        set: SequenceSet,
        /// Where to.
        mailbox: MailboxName,
    },
    /// MOVE and UID MOVE, RFC 9051 §6.4.8.
    Move {
        /// Whether the set names UIDs.
        uid: bool,
        /// The messages.
        set: SequenceSet,
        /// Where to.
        mailbox: MailboxName,
    },
}

/// A GETMETADATA command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetMetadata {
    /// The mailbox; an empty name is the server.
    pub mailbox: MailboxName,
    /// The entries asked for, at least one.
    pub entries: Vec<Entry>,
    /// No values that are longer, in octets.
    pub max_size: Option<u32>,
    /// How far below the entries.
    pub depth: Depth,
}

/// A SELECT or EXAMINE command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// EXAMINE: nothing may change.
    pub read_only: bool,
    /// CONDSTORE (RFC 7162 §3.1.8): the client knows of mod-sequences.
    pub condstore: bool,
    /// QRESYNC (RFC 7162 §3.2.5): the client knows the mailbox as it was.
    pub resync: Option<Box<Resync>>,
}

/// What a client remembers of a mailbox that it opens again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resync {
    /// UIDVALIDITY at that time; if it is another one now, all the rest means nothing.
    pub uid_validity: u32,
    /// HIGHESTMODSEQ at that time.
    pub modseq: u64,
    /// The UIDs it wants to know about; all if it does not say.
    pub known: Option<UidSet>,
    /// Some sequence numbers of that time, and their UIDs.
    pub matches: Option<(UidSet, UidSet)>,
}

/// The name of a mailbox as octets on the wire. `INBOX` in any case is `INBOX`; everything else, modified
/// UTF-7 or UTF-8, is kept as sent.
#[derive(Clone)]
pub struct MailboxName(Vec<u8>);

impl MailboxName {
    /// The inbox.
    pub fn inbox() -> Self {
        MailboxName(INBOX.to_vec())
    }

    /// A name from its octets.
    pub fn new(name: impl Into<Vec<u8>>) -> Self {
        MailboxName(name.into())
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        if self.is_inbox() { INBOX } else { &self.0 }
    }

    /// The octets as the client has sent them, `inbox` for `INBOX` too.
    pub fn as_sent(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the inbox.
    pub fn is_inbox(&self) -> bool {
        self.0.eq_ignore_ascii_case(INBOX)
    }
}

impl PartialEq for MailboxName {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for MailboxName {}

impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

pub(crate) const INBOX: &[u8] = b"INBOX";

/// A password or a SASL response: not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<'a>(pub AString<'a>);

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A LIST command, RFC 9051 §6.3.9 (RFC 5258, 5819, 6154, 9590).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List<'a> {
    /// The reference name.
    pub reference: AString<'a>,
    /// The patterns, at least one. A single empty one, in a command that is not `extended`, asks for the
    /// hierarchy delimiter.
    pub patterns: Vec<AString<'a>>,
    /// Whether selection options, return options or a list of patterns were written.
    pub extended: bool,
    /// Which mailboxes.
    pub select: ListSelect,
    /// What to say of them.
    pub returns: ListReturn,
}

/// LIST selection options, RFC 9051 §6.3.9.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListSelect {
    /// SUBSCRIBED: subscribed names, whether the mailbox exists or not.
    pub subscribed: bool,
    /// REMOTE: remote mailboxes too.
    pub remote: bool,
    /// RECURSIVEMATCH: parents of what is selected too, with CHILDINFO; never without SUBSCRIBED or
    /// SPECIAL-USE.
    pub recursive_match: bool,
    /// SPECIAL-USE: only mailboxes with a special use.
    pub special_use: bool,
}

/// LIST return options, RFC 9051 §6.3.9.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListReturn {
    /// SUBSCRIBED: say whether each is subscribed.
    pub subscribed: bool,
    /// CHILDREN: say whether each has children.
    pub children: bool,
    /// SPECIAL-USE: say what each is used for.
    pub special_use: bool,
    /// STATUS: a STATUS response for each that can be selected, with these items; none when not asked for.
    pub status: Vec<StatusItem>,
    /// METADATA: a METADATA response for each that can be selected, with these entries (RFC 9590); none when not asked
    /// for.
    pub metadata: Vec<Entry>,
}

/// What STATUS can say of a mailbox, RFC 9051 §6.3.11.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusItem {
    /// The number of messages.
    Messages,
    /// The number of messages with `\Recent` (RFC 3501).
    Recent,
    /// The next UID.
    UidNext,
    /// The UIDVALIDITY.
    UidValidity,
    /// The number of messages without `\Seen`.
    Unseen,
    /// The number of messages with `\Deleted`.
    Deleted,
    /// The sum of the sizes.
    Size,
    /// The mailbox's name that stays (RFC 8474).
    MailboxId,
    /// The largest message that can be appended (RFC 7889).
    AppendLimit,
    /// The highest mod-sequence (RFC 7162).
    HighestModSeq,
    /// The octets that an EXPUNGE would free (RFC 9208 §4.1.4).
    DeletedStorage,
}

impl StatusItem {
    /// Whether it may cost a look at every message.
    pub const fn needs_sizes(self) -> bool {
        matches!(self, StatusItem::Size | StatusItem::DeletedStorage)
    }

    /// All of them.
    pub const ALL: [StatusItem; 11] = [
        StatusItem::Messages,
        StatusItem::Recent,
        StatusItem::UidNext,
        StatusItem::UidValidity,
        StatusItem::Unseen,
        StatusItem::Deleted,
        StatusItem::Size,
        StatusItem::MailboxId,
        StatusItem::AppendLimit,
        StatusItem::HighestModSeq,
        StatusItem::DeletedStorage,
    ];

    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            StatusItem::Messages => "MESSAGES",
            StatusItem::Recent => "RECENT",
            StatusItem::UidNext => "UIDNEXT",
            StatusItem::UidValidity => "UIDVALIDITY",
            StatusItem::Unseen => "UNSEEN",
            StatusItem::Deleted => "DELETED",
            StatusItem::Size => "SIZE",
            StatusItem::MailboxId => "MAILBOXID",
            StatusItem::AppendLimit => "APPENDLIMIT",
            StatusItem::HighestModSeq => "HIGHESTMODSEQ",
            StatusItem::DeletedStorage => "DELETED-STORAGE",
        }
    }
}

/// The head of an APPEND or REPLACE command: everything up to and including the first announcement of a literal, or
/// all of it if there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append<'a> {
    /// Where to.
    pub mailbox: MailboxName,
    /// REPLACE (RFC 8508): the one message that leaves when the new one is there.
    pub replaces: Option<Replaced>,
    /// What the messages are made of, in order. More pieces may follow the literal that the last one announces:
    /// [`parse_append_rest`] reads them.
    pub pieces: Vec<AppendPiece<'a>>,
}

/// The message that REPLACE takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Whether it is named by UID.
    pub uid: bool,
    /// Its number or UID; a set of one.
    pub set: SequenceSet,
}

/// A piece of what APPEND is given: RFC 9051 §6.3.12, MULTIAPPEND (RFC 3502), CATENATE (RFC 4469).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendPiece<'a> {
    /// A message begins.
    Message {
        /// The flags it shall have.
        flags: FlagList<'a>,
        /// The internal date it shall have; now when `None`.
        date: Option<Date>,
        /// CATENATE: it is put together from the pieces up to [`AppendPiece::Joined`].
        joined: bool,
    },
    /// A literal follows the line end: the whole message, or a TEXT of one that is put together.
    Octets(LiteralHead),
    /// Octets of another message, by its URL.
    Url(AString<'a>),
    /// The same; the URL is a literal that follows the line end.
    UrlLiteral(LiteralHead),
    /// The message that is put together is complete.
    Joined,
}

impl AppendPiece<'_> {
    /// The same without the borrow, for what has to wait until other pieces are done.
    pub fn into_owned(self) -> AppendPiece<'static> {
        match self {
            AppendPiece::Message { flags, date, joined } => {
                AppendPiece::Message { flags: flags.into_owned(), date, joined }
            }
            AppendPiece::Octets(literal) => AppendPiece::Octets(literal),
            AppendPiece::Url(url) => AppendPiece::Url(Cow::Owned(url.into_owned())),
            AppendPiece::UrlLiteral(literal) => AppendPiece::UrlLiteral(literal),
            AppendPiece::Joined => AppendPiece::Joined,
        }
    }
}

/// The announcement of a literal, `{310}`, RFC 9051 §4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiteralHead {
    /// Octets that follow the announcement's line end.
    pub size: u64,
    /// Whether the client waits for a continuation (`{n}`) or sends on at once (`{n+}`, `{n-}`; RFC 7888).
    pub sync: bool,
    /// Whether it may contain NUL (`~{n}`, literal8).
    pub binary: bool,
}

/// A UIDBATCHES command, RFC 10022.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UidBatches {
    /// How many messages a batch is to have; never 0.
    pub size: u32,
    /// The first batch that is wanted; that of the newest messages is 1.
    pub first: u32,
    /// The last one, `u32::MAX` if nothing was said.
    pub last: u32,
}

/// An ESEARCH command, RFC 7377.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiSearch {
    /// In which mailboxes; in the selected one if there are none.
    pub sources: Vec<Source>,
    /// Which messages; in UIDs.
    pub search: Search,
}

/// A THREAD command, RFC 5256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// How the messages are put together.
    pub algorithm: Algorithm,
    /// Which messages; without return options.
    pub search: Search,
}

/// A STORE command, RFC 9051 §6.4.6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store<'a> {
    /// Whether the set names UIDs.
    pub uid: bool,
    /// The messages.
    pub set: SequenceSet,
    /// Only messages that have not changed since this mod-sequence (RFC 7162 §3.1.3).
    pub unchanged_since: Option<u64>,
    /// What to do with the flags.
    pub mode: StoreMode,
    /// Whether the client does not want to see the result.
    pub silent: bool,
    /// The flags.
    pub flags: FlagList<'a>,
}

/// What STORE does with its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMode {
    /// `FLAGS`: the message has these and no others.
    Replace,
    /// `+FLAGS`: these are added.
    Add,
    /// `-FLAGS`: these are taken away.
    Remove,
}

/// Whether a line (with or without its line end) ends IDLE: `DONE` in any case, RFC 9051 §6.3.13.
pub fn is_done(line: &[u8]) -> bool {
    line.trim_ascii().eq_ignore_ascii_case(b"DONE")
}
