//! What can be done to a mailbox, as tasks; and what comes back.
//!
//! Each [`Work`] becomes one task over file operations; its [`Worked`] brings back the result together with
//! whom to answer, so that no table has to remember who asked for what.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::mailboxes::MailboxKey;
use super::quota::Measured;
use super::uploads::SpliceWanted;
use super::{Caller, StoreTask};
use crate::auth::AuthVerdict;
use crate::disk::{Disk, Task};
use crate::dkim::signer::{Signed, Unsigned};
use crate::imap::flag::FlagList;
use crate::imap::metadata::Entry;
use crate::imap::sequence::UidSet;
use crate::imap::server::{
    Answer, Appended, Changes, Copied, FetchPage, FetchRequest, FoundIn, Refusal, SearchQuery, Selected,
    SelectionId, Status, StoreAction, Stored,
};
use crate::limits::MetadataLimits;
use crate::maildir::append::{self, Staged, commit_append};
use crate::maildir::context::{Root, StoreContext, StoreError, StoreErrorKind};
use crate::maildir::copy::{CopySource, copy};
use crate::maildir::expunge::{Victims, expunge};
use crate::maildir::fetch::Fetched;
use crate::maildir::flags::{FlagRequest, store_flags};
use crate::maildir::folder::FolderName;
use crate::maildir::folders::{self, ListedFolder};
use crate::maildir::index_file::{Saved, save_index};
use crate::maildir::known::Known;
use crate::maildir::mailbox::{Change, MailboxState, Message};
use crate::maildir::metadata::{Annotated, EntryChange, set_metadata};
use crate::maildir::sync::{SyncMode, Synced, sync};
use crate::queue::spool::Late;
use crate::site::Account;
use crate::ticket::Ticket;

/// Something to do to a mailbox; one at a time.
#[derive(Debug)]
pub(super) enum Work {
    /// Look at the directories, open the mailbox if it is not.
    Sync {
        /// Move what is in `new/` to `cur/`.
        move_new: bool,
        then: Vec<AfterSync>,
    },
    /// Look at the directories when they have come to rest, and save what is known in the index file.
    Upkeep {
        saved: Option<Saved>,
    },
    /// Give staged messages their UIDs.
    Append(Vec<Append>),
    Store(StoreWork),
    Expunge {
        caller: Caller,
        ticket: Ticket<Result<(), Refusal>>,
        victims: Victims,
    },
    Copy(CopyWork),
    /// The second half of MOVE.
    Remove {
        caller: Caller,
        ticket: Ticket<Result<Copied, Refusal>>,
        copied: Copied,
        /// Whose messages leave.
        uids: UidSet,
    },
    /// SETMETADATA.
    Annotate {
        caller: Caller,
        ticket: Ticket<Result<(), Refusal>>,
        of: Annotated,
        changes: Vec<EntryChange>,
        limits: MetadataLimits,
    },
    /// DELETE and RENAME of the mailbox whose queue this is.
    Folder {
        caller: Caller,
        ticket: Ticket<Result<(), Refusal>>,
        to: Option<FolderName>,
    },
}

/// Who wanted the look at the directories.
#[derive(Debug)]
pub(super) enum AfterSync {
    Select {
        caller: Caller,
        ticket: Ticket<Result<Selected, Refusal>>,
        examine: bool,
    },
    Changes {
        caller: Caller,
        ticket: Ticket<Changes>,
        selection: SelectionId,
    },
    Status {
        caller: Caller,
        ticket: Ticket<Result<Status, Refusal>>,
        size: bool,
    },
    /// ESEARCH wants to search it.
    Search {
        caller: Caller,
        ticket: Ticket<Result<FoundIn, Refusal>>,
        query: Arc<SearchQuery>,
        modseqs: bool,
    },
    /// CATENATE wants octets of a message.
    Splice {
        caller: Caller,
        ticket: Ticket<Result<(), Refusal>>,
        wanted: Box<SpliceWanted>,
    },
    /// APPEND wants to know whether the mailbox is there.
    Exists {
        caller: Caller,
        ticket: Ticket<Result<(), Refusal>>,
    },
}

#[derive(Debug)]
pub(super) struct Append {
    pub(super) caller: Caller,
    pub(super) ticket: Ticket<Result<Appended, Refusal>>,
    pub(super) messages: Vec<append::Append>,
}

#[derive(Debug)]
pub(super) struct StoreWork {
    pub(super) caller: Caller,
    pub(super) selection: SelectionId,
    pub(super) uids: UidSet,
    pub(super) unchanged_since: Option<u64>,
    pub(super) action: StoreAction,
    pub(super) flags: FlagList<'static>,
    pub(super) then: AfterStore,
}

impl StoreWork {
    /// Adds flags to these messages, whatever has happened to them.
    pub(super) fn add(
        caller: Caller,
        selection: SelectionId,
        uids: UidSet,
        flags: FlagList<'static>,
        then: AfterStore,
    ) -> Self {
        StoreWork { caller, selection, uids, unchanged_since: None, action: StoreAction::Add, flags, then }
    }
}

#[derive(Debug)]
pub(super) enum AfterStore {
    /// STORE.
    Answer(Ticket<Result<Stored, Refusal>>),
    /// A FETCH that sets `\Seen` goes on.
    Fetch {
        ticket: Ticket<Result<FetchPage, Refusal>>,
        /// All that the FETCH is about.
        uids: UidSet,
        request: Arc<FetchRequest>,
    },
    /// Such a FETCH has gone on without.
    Nothing,
}

#[derive(Debug)]
pub(super) struct CopyWork {
    pub(super) caller: Caller,
    pub(super) ticket: Ticket<Result<Copied, Refusal>>,
    pub(super) source: MailboxKey,
    pub(super) messages: Vec<Message>,
    pub(super) keywords: Arc<Vec<alloc::string::String>>,
    pub(super) remove: bool,
}

/// What a task of the office brings back.
#[derive(Debug)]
pub struct Done(pub(super) Box<Outcome>);

impl Done {
    pub(super) fn new(outcome: Outcome) -> Self {
        Done(Box::new(outcome))
    }
}

/// A message that is durable, in mailboxes, in the queue or in both.
#[derive(Debug)]
pub(super) struct Taken {
    /// Octets as stored.
    pub(super) size: u64,
    /// What came of signing it, where that was wanted.
    pub(super) signed: Option<Result<Signed, Unsigned>>,
    /// Mailboxes that will have it later.
    pub(super) late: Vec<Late>,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Measured(Measured),
    Prepared {
        caller: Caller,
        ticket: Ticket<AuthVerdict>,
        account: Arc<Account>,
        result: Result<(), StoreError>,
    },
    Delivered(Result<Taken, StoreError>),
    Staged(Result<Staged, StoreError>),
    Worked(MailboxKey, Box<Worked>),
    Fetched {
        caller: Caller,
        ticket: Ticket<Result<FetchPage, Refusal>>,
        selection: SelectionId,
        mailbox: MailboxKey,
        /// Whose flags it has changed.
        changed: UidSet,
        result: Result<Fetched, StoreError>,
    },
    Answered {
        caller: Caller,
        mailbox: MailboxKey,
        answer: Answer,
        trouble: Option<StoreError>,
    },
    /// The tree of an account that is followed.
    Listed {
        root: Root,
        result: Result<Vec<ListedFolder>, StoreError>,
    },
    Discarded,
    /// The cache of this mailbox was written anew.
    Compacted(MailboxKey),
    Outbound(super::outbound::Done),
    Pickup(super::pickup::PickupDone),
}

/// Whom to answer, and how many messages of the commit were theirs, in order.
pub(super) type AppendAnswer = (Caller, Ticket<Result<Appended, Refusal>>, usize);

/// The next state of a mailbox, how it differs, and what else there is to tell.
pub(super) type Next<T = ()> = Result<(MailboxState, Vec<Change>, T), StoreError>;

/// Messages that STORE has left as they are.
#[derive(Debug)]
pub(super) struct Unchanged {
    /// They are gone, or could not be found.
    pub(super) missing: UidSet,
    /// They have changed before.
    pub(super) modified: UidSet,
}

#[derive(Debug)]
pub(super) enum Worked {
    Synced {
        then: Vec<AfterSync>,
        result: Result<Synced, StoreError>,
    },
    Kept {
        result: Result<Synced, StoreError>,
        saved: Option<Saved>,
    },
    Appended {
        answers: Vec<AppendAnswer>,
        /// Their UIDs, and those that lack keywords.
        result: Next<(Vec<u32>, UidSet)>,
    },
    Stored {
        caller: Caller,
        selection: SelectionId,
        uids: UidSet,
        then: AfterStore,
        result: Next<Unchanged>,
    },
    Expunged {
        caller: Caller,
        ticket: Ticket<Result<(), Refusal>>,
        result: Next,
    },
    Copied {
        caller: Caller,
        ticket: Ticket<Result<Copied, Refusal>>,
        source: MailboxKey,
        remove: bool,
        /// The UIDs, and whether copies lack keywords.
        result: Next<(Vec<(u32, u32)>, bool)>,
    },
    Removed {
        caller: Caller,
        ticket: Ticket<Result<Copied, Refusal>>,
        copied: Copied,
        result: Next,
    },
    Annotated {
        caller: Caller,
        ticket: Ticket<Result<(), Refusal>>,
        of: Annotated,
        entries: Vec<Entry>,
        result: Result<(), StoreError>,
    },
    Folder {
        caller: Caller,
        ticket: Ticket<Result<(), Refusal>>,
        to: Option<FolderName>,
        result: Result<(), StoreError>,
    },
}

impl Worked {
    /// It could not be done because another program kept the lock.
    pub(super) fn is_busy(&self) -> bool {
        let error = match self {
            Worked::Synced { result, .. } | Worked::Kept { result, .. } => result.as_ref().err(),
            Worked::Appended { result, .. } => result.as_ref().err(),
            Worked::Stored { result, then: AfterStore::Answer(_) | AfterStore::Nothing, .. } => {
                result.as_ref().err()
            }
            Worked::Expunged { result, .. } | Worked::Removed { result, .. } => result.as_ref().err(),
            // That does not wait.
            Worked::Stored { then: AfterStore::Fetch { .. }, .. } => None,
            Worked::Copied { result, .. } => result.as_ref().err(),
            Worked::Folder { result, .. } | Worked::Annotated { result, .. } => result.as_ref().err(),
        };
        error.is_some_and(|error| error.kind == StoreErrorKind::Busy)
    }
}

impl Work {
    /// It works on an opened mailbox.
    pub(super) fn needs_state(&self) -> bool {
        match self {
            Work::Sync { .. } | Work::Upkeep { .. } | Work::Folder { .. } | Work::Annotate { .. } => false,
            Work::Append(_) | Work::Store(_) | Work::Expunge { .. } | Work::Copy(_) | Work::Remove { .. } => {
                true
            }
        }
    }

    /// Whether `next` can be done in the same task.
    pub(super) fn can_take(&self, next: &Work) -> bool {
        match (self, next) {
            (Work::Sync { move_new: a, .. }, Work::Sync { move_new: b, .. }) => a == b,
            (Work::Append(_), Work::Append(_)) => true,
            _ => false,
        }
    }

    /// Joins work that [`Work::can_take`] said yes to.
    pub(super) fn take(&mut self, next: Work) {
        match (self, next) {
            (Work::Sync { then, .. }, Work::Sync { then: more, .. }) => then.extend(more),
            (Work::Append(all), Work::Append(more)) => all.extend(more),
            _ => {}
        }
    }

    /// The task that does it. `saved_modseq` is for a mailbox that is to be opened: what this process has saved of it.
    pub(super) fn into_task(
        self,
        ctx: Arc<StoreContext>,
        key: MailboxKey,
        known: Known,
        saved_modseq: Option<u64>,
    ) -> StoreTask {
        Task::new(move |disk| async move {
            let MailboxKey { root, folder } = key.clone();
            let worked = match self {
                Work::Sync { move_new, then } => {
                    let mode = SyncMode { move_new, saved_modseq };
                    Worked::Synced { then, result: sync(disk, ctx, root, folder, known.take(), mode).await }
                }
                Work::Upkeep { saved } => {
                    let (mode, known) = (SyncMode { move_new: false, saved_modseq: None }, known.take());
                    let result = sync(disk.clone(), ctx, root.clone(), folder.clone(), known, mode).await;
                    let saved = match &result {
                        Ok(Synced { state, .. }) if !state.pending && !state.read_only => {
                            save_index(disk, root, folder, state.clone(), saved).await
                        }
                        Ok(_) | Err(_) => saved,
                    };
                    Worked::Kept { result, saved }
                }
                Work::Append(all) => {
                    let (mut answers, mut messages) = (Vec::new(), Vec::new());
                    for append in all {
                        answers.push((append.caller, append.ticket, append.messages.len()));
                        messages.extend(append.messages);
                    }
                    let result = commit_append(disk, ctx, root, folder, known, messages).await;
                    let result = result.map(|a| (a.state, a.changes, (a.uids, a.lacking)));
                    Worked::Appended { answers, result }
                }
                Work::Store(StoreWork { caller, selection, uids, unchanged_since, action, flags, then }) => {
                    let patient = !matches!(then, AfterStore::Fetch { .. });
                    let request = FlagRequest { uids: uids.clone(), action, flags, patient, unchanged_since };
                    let result = store_flags(disk, ctx, root, folder, known, request).await;
                    let unchanged = |missing, modified| Unchanged { missing, modified };
                    let result = result.map(|f| (f.state, f.changes, unchanged(f.missing, f.modified)));
                    Worked::Stored { caller, selection, uids, then, result }
                }
                Work::Expunge { caller, ticket, victims } => {
                    let result = expunge(disk, ctx, root, folder, known, victims).await;
                    Worked::Expunged { caller, ticket, result: result.map(|e| (e.state, e.changes, ())) }
                }
                Work::Copy(CopyWork { caller, ticket, source, messages, keywords, remove }) => {
                    let from = CopySource { folder: source.folder.clone(), messages, keywords };
                    let result = copy(disk, ctx, root, from, folder, known).await;
                    let result = result.map(|c| (c.state, c.changes, (c.pairs, c.lacks_keywords)));
                    Worked::Copied { caller, ticket, source, remove, result }
                }
                Work::Remove { caller, ticket, copied, uids } => {
                    let victims = Victims::These(uids);
                    let result = expunge(disk, ctx, root, folder, known, victims).await;
                    let result = result.map(|e| (e.state, e.changes, ()));
                    Worked::Removed { caller, ticket, copied, result }
                }
                Work::Annotate { caller, ticket, of, changes, limits } => {
                    known.take();
                    let entries = changes.iter().map(|(entry, _)| entry.clone()).collect();
                    let result = set_metadata(disk, ctx, root, of.clone(), changes, limits).await;
                    Worked::Annotated { caller, ticket, of, entries, result }
                }
                Work::Folder { caller, ticket, to } => {
                    known.take();
                    let result = match &to {
                        Some(to) => folders::rename(disk, ctx, root, folder, to.clone()).await,
                        None => folders::delete(disk, ctx, root, folder).await,
                    };
                    Worked::Folder { caller, ticket, to, result }
                }
            };
            Done::new(Outcome::Worked(key, Box::new(worked)))
        })
    }
}

/// The task of a change that concerns no opened mailbox: CREATE, SUBSCRIBE, UNSUBSCRIBE.
pub(super) fn folder_task<F, Fut>(
    mailbox: MailboxKey,
    caller: Caller,
    ticket: Ticket<Result<(), Refusal>>,
    operation: F,
) -> StoreTask
where
    F: FnOnce(Disk) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    Task::new(move |disk| async move {
        let result = operation(disk).await;
        let (answer, trouble) = match result {
            Ok(()) => (Ok(()), None),
            Err(error) => (Err(super::answers::refusal(&error)), Some(error)),
        };
        Done::new(Outcome::Answered { caller, mailbox, answer: Answer::Done(ticket.answer(answer)), trouble })
    })
}
