//! The IMAP server session (RFC 9051, RFC 3501): the questions it asks and the answers it takes.
//!
//! The session knows the protocol and its own view of the selected mailbox ([`UidMap`](crate::imap::view::UidMap): which sequence number
//! is which UID). The mailbox itself belongs to the office; the session names messages by UID only and names
//! mailboxes in modified UTF-7, whatever the client speaks (`INBOX` in capitals, delimiter [`DELIMITER`]).
//!
//! What others change arrives in two steps: [`Notice::Changed`] says that there is something,
//! [`Ask::Changes`] brings it when the protocol allows it to be told. An answer to a question that changed the
//! mailbox is preceded by such a notice if there is something to tell.
//!
//! A session that closes leaves its mailbox ([`Ask::Unselect`]) and cancels what is not committed before its
//! [`Action::Close`](crate::machine::Action::Close); what a connection that breaks leaves behind is for whoever owns
//! the session to clear up.
//!
//! | file | what |
//! |---|---|
//! | `session` | states, the pump, the ends of commands, timers |
//! | `dispatch`, `answers` | from a command, and from an answer, to its group |
//! | `login`, `sasl`, `capability`, `enable` | before the login; the one table of capabilities, and what is switched on |
//! | `compress` | what comes packed |
//! | `select`, `changes`, `idle` | the selected mailbox and what others do to it |
//! | `fetch`, `store`, `copy`, `search`, `sort`, `multisearch` | messages |
//! | `batches` | the UIDs in batches |
//! | `context` | searches whose clients are told how the results change |
//! | `modseq`, `resync` | mod-sequences: who is told them, and when; what has changed since the last time |
//! | `append` | messages come in |
//! | `list`, `status`, `folder`, `names` | the tree of mailboxes |
//! | `quota` | how much mail the account has, and may have |
//! | `metadata` | annotations of mailboxes and of the server |
//! | `notify` | what a client is told without asking |
//! | `verdict` | what the answers to questions hold |
//! | `reply` | what a refusal is on the wire |
//!
//! ```
//! use postier_core::imap::server::{Ask, Session, Setup};
//! use postier_core::limits::Limits;
//! use postier_core::machine::{Action, Input, Machine, Now, TlsInfo};
//! use postier_core::send_queue::SendQueue;
//!
//! let setup = Setup {
//!     hostname: "mail.example.org".into(),
//!     peer: "192.0.2.1".parse().unwrap(),
//!     starttls: false,
//!     tls: Some(TlsInfo::default()),
//!     plaintext_login: false,
//!     scram: false,
//!     masks: Default::default(),
//!     limits: Limits::default(),
//! };
//! let mut tx = SendQueue::default();
//! let mut session = Session::new(setup, Now::default(), &mut tx); // The greeting is in `tx` now.
//!
//! let received = b"a LOGIN you secret\r\n";
//! let step = session.handle_input(Now::default(), Input::Bytes(received), &mut tx).unwrap();
//! assert_eq!(step.consumed, received.len());
//! let Some(Action::Ask(Ask::Authenticate { attempt, .. })) = step.action else { panic!() };
//! assert_eq!(attempt.login, b"you");
//! ```

mod answers;
mod append;
mod batches;
mod capability;
mod changes;
mod compress;
mod context;
mod copy;
mod dispatch;
mod enable;
mod fetch;
mod folder;
mod idle;
mod list;
mod login;
mod metadata;
mod modseq;
mod multisearch;
mod names;
mod notify;
mod quota;
mod reply;
mod resync;
mod sasl;
mod search;
mod select;
mod session;
mod sort;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod verdict;

pub use append::MessageHead;
pub use capability::{Mask, names as capability_names};
pub use session::Session;
pub use verdict::{
    Appended, Changes, Copied, FetchPage, FetchRequest, FetchRow, Folder, FolderChange, FolderNews, FoundIn,
    MessageFlags, News, Refusal, SearchQuery, Selected, Status, StoreAction, Stored,
};

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::auth::scram::ScramOffer;
use crate::auth::{Attempt, AuthVerdict};
use crate::imap::flag::FlagList;
use crate::imap::metadata::{Annotations, Entry};
use crate::imap::notify::{Events, MailboxFilter};
use crate::imap::sequence::UidSet;
use crate::imap::sort::SortCriterion;
use crate::imap::thread::{Algorithm, Threads};
use crate::imap::url::MessageUrl;
use crate::limits::{Limits, MetadataLimits};
use crate::machine::TlsInfo;
pub use crate::maildir::folder::SpecialUse;
use crate::site::{Quota, Usage};
use crate::ticket::{Answered, Ticket};

/// Between the levels of a mailbox name, as the client sees it.
pub const DELIMITER: u8 = b'.';

/// What a session is told at its start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The name in the greeting.
    pub hostname: Arc<str>,
    /// The client's address.
    pub peer: IpAddr,
    /// STARTTLS can be offered.
    pub starttls: bool,
    /// TLS was there from the first octet (port 993).
    pub tls: Option<TlsInfo>,
    /// Login is allowed without TLS (`[login] without_tls = "loopback"` and the client is there).
    pub plaintext_login: bool,
    /// SCRAM can be offered ([`Site::offers_scram`](crate::site::Site::offers_scram)).
    pub scram: bool,
    /// What is hidden from whom.
    pub masks: Arc<[Mask]>,
    /// Bounds.
    pub limits: Limits,
}

/// Names one selection of a mailbox by one session, until it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SelectionId(pub u64);

/// A question of the session. Everything but `Verifier` and `Authenticate` is about the account that logged in.
#[derive(Debug)]
pub enum Ask {
    /// What does SCRAM need for this login? There is an answer for everybody.
    Verifier {
        /// To answer with.
        ticket: Ticket<ScramOffer>,
        /// Who wants to log in.
        login: Vec<u8>,
    },
    /// Is this login right?
    Authenticate {
        /// To answer with.
        ticket: Ticket<AuthVerdict>,
        /// Who, and what shows it.
        attempt: Attempt,
    },
    /// UNAUTHENTICATE: what follows is about no account, until the next login; there is no answer.
    Unauthenticate,
    /// SELECT, EXAMINE.
    Select {
        /// To answer with.
        ticket: Ticket<Result<Selected, Refusal>>,
        /// The mailbox.
        mailbox: Vec<u8>,
        /// EXAMINE: nothing may change, not even `\Recent`.
        read_only: bool,
    },
    /// The selection is left; there is no answer.
    Unselect {
        /// Which.
        selection: SelectionId,
    },
    /// What has changed since the last time, or since SELECT?
    Changes {
        /// To answer with.
        ticket: Ticket<Changes>,
        /// Which.
        selection: SelectionId,
        /// Look at the directories first (NOOP, CHECK), instead of only at what is known.
        rescan: bool,
    },
    /// All mailboxes of the account, with their parents.
    List {
        /// To answer with.
        ticket: Ticket<Result<Vec<Folder>, Refusal>>,
    },
    /// STATUS.
    Status {
        /// To answer with.
        ticket: Ticket<Result<Status, Refusal>>,
        /// The mailbox.
        mailbox: Vec<u8>,
        /// `SIZE` or `DELETED-STORAGE` is asked for: it may cost a look at every message.
        size: bool,
    },
    /// GETQUOTA, GETQUOTAROOT.
    Quota {
        /// To answer with: the account's limits and what it has; `None` if it has no limit.
        ticket: Ticket<Result<Option<(Quota, Usage)>, Refusal>>,
    },
    /// CREATE.
    Create {
        /// To answer with: the new mailbox's GUID.
        ticket: Ticket<Result<[u8; 16], Refusal>>,
        /// The mailbox.
        mailbox: Vec<u8>,
        /// What it is for, if that is said (RFC 6154 §3).
        special_use: Option<SpecialUse>,
    },
    /// GETMETADATA: all annotations.
    Metadata {
        /// To answer with: entries with their values, by name.
        ticket: Ticket<Result<Annotations, Refusal>>,
        /// Of which mailbox; `None`: of the server.
        mailbox: Option<Vec<u8>>,
    },
    /// SETMETADATA.
    SetMetadata {
        /// To answer with.
        ticket: Ticket<Result<(), Refusal>>,
        /// Of which mailbox; `None`: of the server.
        mailbox: Option<Vec<u8>>,
        /// The new values; `None`: the entry goes.
        changes: Vec<(Entry, Option<Vec<u8>>)>,
        /// How many there may be in all.
        limits: MetadataLimits,
    },
    /// NOTIFY SET: tell what happens to these mailboxes from now on, instead of what was to be told before.
    Follow {
        /// To answer with: the mailboxes whose messages are meant.
        ticket: Ticket<Result<Vec<Vec<u8>>, Refusal>>,
        /// Which mailboxes, and what of them ([`events_of`](crate::imap::notify::events_of)).
        groups: Vec<(MailboxFilter<Vec<u8>>, Events)>,
        /// How many mailboxes may be followed.
        mailboxes_max: usize,
    },
    /// NOTIFY NONE: tell nothing; there is no answer.
    Unfollow,
    /// What is new of the mailboxes that are followed?
    News {
        /// To answer with.
        ticket: Ticket<News>,
    },
    /// DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.
    Folder {
        /// To answer with.
        ticket: Ticket<Result<(), Refusal>>,
        /// What to do.
        change: FolderChange,
    },
    /// A message is about to be appended; its octets follow as `Action::Body`, wire form.
    Append {
        /// To answer with: whether the mailbox is there and takes it. Its number names the append in a Cancel.
        ticket: Ticket<Result<(), Refusal>>,
        /// The mailbox.
        mailbox: Vec<u8>,
        /// What is known of the message.
        head: MessageHead,
    },
    /// The message before is whole; another one follows into the same mailbox (RFC 3502).
    AppendNext {
        /// To answer with.
        ticket: Ticket<Result<(), Refusal>>,
        /// What is known of the message.
        head: MessageHead,
    },
    /// Octets of another message belong into the one that is coming (RFC 4469).
    AppendUrl {
        /// To answer with: whether that message is there.
        ticket: Ticket<Result<(), Refusal>>,
        /// Its mailbox.
        mailbox: Vec<u8>,
        /// Which message, and what of it.
        url: MessageUrl,
        /// What the message that is coming may become in all, in octets.
        wire_bytes_max: u64,
        /// The how manieth URL of the command it is, from 0, for [`Refusal::BadUrl`].
        place: usize,
    },
    /// All messages have come whole: make them durable and visible, or none.
    AppendCommit {
        /// To answer with.
        ticket: Ticket<Result<Appended, Refusal>>,
    },
    /// The second half of REPLACE (RFC 8508): these messages go, `\Deleted` or not; that is told by Changes.
    Remove {
        /// To answer with.
        ticket: Ticket<Result<(), Refusal>>,
        /// Where.
        selection: SelectionId,
        /// Which messages.
        uids: UidSet,
    },
    /// FETCH of the next messages.
    Fetch {
        /// To answer with.
        ticket: Ticket<Result<FetchPage, Refusal>>,
        /// Where.
        selection: SelectionId,
        /// Which messages, those of earlier pages no longer in it.
        uids: UidSet,
        /// What of them.
        request: Arc<FetchRequest>,
    },
    /// STORE.
    Store {
        /// To answer with.
        ticket: Ticket<Result<Stored, Refusal>>,
        /// Where.
        selection: SelectionId,
        /// Which messages.
        uids: UidSet,
        /// Only those that have not changed since this mod-sequence (RFC 7162 §3.1.3).
        unchanged_since: Option<u64>,
        /// What to do with the flags.
        action: StoreAction,
        /// The flags and keywords.
        flags: FlagList<'static>,
    },
    /// COPY, MOVE.
    Copy {
        /// To answer with.
        ticket: Ticket<Result<Copied, Refusal>>,
        /// Where from.
        selection: SelectionId,
        /// Which messages.
        uids: UidSet,
        /// Where to.
        mailbox: Vec<u8>,
        /// MOVE: take them out of the source; that they are gone is told by Changes.
        remove: bool,
    },
    /// EXPUNGE, UID EXPUNGE, CLOSE: what is gone is told by Changes.
    Expunge {
        /// To answer with.
        ticket: Ticket<Result<(), Refusal>>,
        /// Where.
        selection: SelectionId,
        /// Only these, of those with `\Deleted`.
        uids: Option<UidSet>,
    },
    /// SEARCH.
    Search {
        /// To answer with: UIDs that match.
        ticket: Ticket<Result<UidSet, Refusal>>,
        /// Where.
        selection: SelectionId,
        /// Only among these: the session's view.
        within: UidSet,
        /// What. Sequence numbers are translated to UIDs before.
        query: Arc<SearchQuery>,
    },
    /// ESEARCH: a search in all of a mailbox that need not be selected (RFC 7377).
    SearchIn {
        /// To answer with.
        ticket: Ticket<Result<FoundIn, Refusal>>,
        /// Where.
        mailbox: Vec<u8>,
        /// What. There are no sequence numbers in it; what `*` is in a set of UIDs the mailbox decides.
        query: Arc<SearchQuery>,
        /// The mod-sequences of what is found are wanted, too.
        modseqs: bool,
    },
    /// The highest mod-sequence of some messages: what a search for MODSEQ tells (RFC 7162 §3.1.5).
    ModSeq {
        /// To answer with.
        ticket: Ticket<u64>,
        /// Where.
        selection: SelectionId,
        /// Which messages.
        uids: UidSet,
    },
    /// Which UIDs have gone since a mod-sequence (RFC 7162 §3.2.6)?
    Vanished {
        /// To answer with.
        ticket: Ticket<UidSet>,
        /// Where.
        selection: SelectionId,
        /// The mod-sequence.
        since: u64,
        /// Only these.
        uids: UidSet,
    },
    /// SORT.
    Sort {
        /// To answer with: UIDs that match, in the order asked for.
        ticket: Ticket<Result<Vec<u32>, Refusal>>,
        /// Where.
        selection: SelectionId,
        /// Only among these: the session's view.
        within: UidSet,
        /// What. Sequence numbers are translated to UIDs before.
        query: Arc<SearchQuery>,
        /// By what, the first before the others.
        criteria: Vec<SortCriterion>,
    },
    /// THREAD.
    Thread {
        /// To answer with: the messages that match, in threads.
        ticket: Ticket<Result<Threads, Refusal>>,
        /// Where.
        selection: SelectionId,
        /// Only among these: the session's view.
        within: UidSet,
        /// What. Sequence numbers are translated to UIDs before.
        query: Arc<SearchQuery>,
        /// How.
        algorithm: Algorithm,
    },
}

/// An answer on its way to the session.
#[derive(Debug)]
pub enum Answer {
    /// To [`Ask::Verifier`].
    Verifier(Answered<ScramOffer>),
    /// To [`Ask::Authenticate`].
    Authenticate(Answered<AuthVerdict>),
    /// To [`Ask::Select`].
    Select(Answered<Result<Selected, Refusal>>),
    /// To [`Ask::Changes`].
    Changes(Answered<Changes>),
    /// To [`Ask::List`].
    List(Answered<Result<Vec<Folder>, Refusal>>),
    /// To [`Ask::Status`].
    Status(Answered<Result<Status, Refusal>>),
    /// To [`Ask::Quota`].
    Quota(Answered<Result<Option<(Quota, Usage)>, Refusal>>),
    /// To [`Ask::Metadata`].
    Metadata(Answered<Result<Annotations, Refusal>>),
    /// To [`Ask::Follow`].
    Followed(Answered<Result<Vec<Vec<u8>>, Refusal>>),
    /// To [`Ask::News`].
    News(Answered<News>),
    /// To [`Ask::SetMetadata`], [`Ask::Folder`], [`Ask::Append`], [`Ask::AppendNext`], [`Ask::AppendUrl`], [`Ask::Expunge`] and
    /// [`Ask::Remove`].
    Done(Answered<Result<(), Refusal>>),
    /// To [`Ask::Create`].
    Created(Answered<Result<[u8; 16], Refusal>>),
    /// To [`Ask::AppendCommit`].
    Append(Answered<Result<Appended, Refusal>>),
    /// To [`Ask::Fetch`].
    Fetch(Answered<Result<FetchPage, Refusal>>),
    /// To [`Ask::Store`].
    Store(Answered<Result<Stored, Refusal>>),
    /// To [`Ask::Copy`].
    Copy(Answered<Result<Copied, Refusal>>),
    /// To [`Ask::Search`].
    Search(Answered<Result<UidSet, Refusal>>),
    /// To [`Ask::SearchIn`].
    SearchedIn(Answered<Result<FoundIn, Refusal>>),
    /// To [`Ask::ModSeq`].
    ModSeq(Answered<u64>),
    /// To [`Ask::Vanished`].
    Vanished(Answered<UidSet>),
    /// To [`Ask::Sort`].
    Sort(Answered<Result<Vec<u32>, Refusal>>),
    /// To [`Ask::Thread`].
    Thread(Answered<Result<Threads, Refusal>>),
}

/// What a session is told without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The selected mailbox has changed: ask for it when it may be told.
    Changed,
    /// There is something new of the mailboxes that are followed: ask for it.
    News,
    /// Say BYE and close: the server ends.
    Shutdown,
    /// Say BYE and close: the account that logged in is no account any more.
    AccountGone,
}
