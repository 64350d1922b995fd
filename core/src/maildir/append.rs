//! APPEND: a message is staged in `tmp/` by itself; what is staged is then committed, any number at once.
//!
//! ```text
//! nothing ─stage: create, write, set INTERNALDATE─▶ tmp/<name>                  many at the same time, no lock
//! tmp/<name> ─commit: lock, keyword letters, UIDs appended to the uidlist and synced,
//!             renames, one sync of each directory─▶ cur/<base>:2,<flags> or new/<base>, with its UID
//! tmp/<name> ─discard─▶ nothing
//! ```
//!
//! What is staged is whole wherever its next name is found, and durable when that is
//! ([`Disk::sync_with_name`]).
//!
//! A message without flags goes to `new/` and so is `\Recent` for the session that looks next, as RFC 3501
//! §6.3.11 has it. A commit that fails takes everything back; of a crash in its middle some UIDs without
//! messages may remain, which is allowed.
//!
//! ```
//! # use std::sync::Arc;
//! # use postier_core::disk::{Op, Resume, Task, TaskInput, TaskStep};
//! # use postier_core::maildir::context::{HostFacts, Root, StoreContext};
//! # use postier_core::maildir::folder::FolderName;
//! # let facts = HostFacts { host: b"mx".to_vec(), pid: 7, ..HostFacts::default() };
//! # let context = Arc::new(StoreContext::new(facts));
//! # let root = Root::new(b"/mail/you");
//! use postier_core::maildir::append::stage_append;
//!
//! let sent = FolderName::new(b"Sent").unwrap();
//! let mut task = Task::new(|disk| stage_append(disk, context, root, sent, Some(1_700_000_000)));
//! task.push_input(TaskInput::Chunk(b"Subject: hello\n\nhow are you?\n".to_vec()));
//! task.push_input(TaskInput::Commit);
//! let opens = Op::OpenRoot { path: b"/mail/you".to_vec(), create: false };
//! assert!(matches!(task.resume(Resume::Start), TaskStep::Op(op) if op == opens));
//! ```

use super::body::Body;
pub use super::body::Staged;
use super::context::{At, Root, StoreContext, StoreError};
use super::folder::FolderName;
use super::keyword_file::{self, Lacking};
use super::known::Known;
use super::list_file;
use super::listing::OwnChange;
use super::mailbox::{Change, MailboxState, Message};
use super::maildirsize::Delta;
use super::merge::named_flags;
use super::name::FileName;
use super::place::Place;
use super::scope::Scope;
use super::settle::{begin_write, take_uid};
use super::sync::FILES_PER_REFRESH;
use crate::disk::{Disk, Handle};
use crate::imap::flag::{FlagList, FlagSet};
use crate::imap::sequence::UidSet;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A staged message with the flags it is to have.
#[derive(Debug)]
pub struct Append {
    /// From [`stage_append`].
    pub staged: Staged,
    /// Flags and keywords. Keywords for which no letter is left are left out, which [`Appended::lacking`] tells.
    pub flags: FlagList<'static>,
}

/// What a commit has done.
#[derive(Debug)]
pub struct Appended {
    /// The state to go on with.
    pub state: MailboxState,
    /// How it differs from the one given.
    pub changes: Vec<Change>,
    /// The UIDs of the messages, in the order given.
    pub uids: Vec<u32>,
    /// Those of them that lack keywords, because there is no letter left.
    pub lacking: UidSet,
}

/// Takes a message as input (LF line ends) and writes it to `tmp/` of the mailbox: durable when it is committed.
///
/// `internal_date` is in seconds since 1970; without one it is now.
///
/// # Errors
/// NotFound if there is no such mailbox, Aborted, or what the disk says; nothing is left then.
pub async fn stage_append(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    folder: FolderName,
    internal_date: Option<i64>,
) -> Result<Staged, StoreError> {
    let body = Body::gather(&disk).await?;
    let mut scope = Scope::new(disk);
    let result = stage(&mut scope, &context, &root, &folder, internal_date, body).await;
    scope.finish().await;
    result
}

async fn stage(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    folder: &FolderName,
    internal_date: Option<i64>,
    mut body: Body,
) -> Result<Staged, StoreError> {
    let mut place = Place::open(scope, context, root, folder).await?;
    let tmp = place.tmp_dir(scope).await?;
    body.store(scope, context, tmp, internal_date).await
}

/// Removes staged messages that are not to be committed.
pub async fn discard_staged(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    folder: FolderName,
    staged: Vec<Staged>,
) {
    let mut scope = Scope::new(disk.clone());
    if let Ok(mut place) = Place::open(&mut scope, &context, &root, &folder).await
        && let Ok(tmp) = place.tmp_dir(&mut scope).await
    {
        for staged in &staged {
            let _ = disk.unlink(tmp, &staged.temporary).await;
        }
    }
    scope.finish().await;
}

/// Gives staged messages their UIDs and makes them visible, durably: all of them or none.
///
/// # Errors
/// Busy if somebody else keeps the lock; ReadOnly, NoSpace and so on. Nothing of the messages is left then.
pub async fn commit_append(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    folder: FolderName,
    previous: impl Into<Known>,
    messages: Vec<Append>,
) -> Result<Appended, StoreError> {
    let known = previous.into();
    let mut scope = Scope::new(disk.clone());
    let result = match Place::open(&mut scope, &context, &root, &folder).await {
        Ok(mut place) => {
            let result = commit(&mut scope, &context, &mut place, &known, &messages).await;
            if result.is_err()
                && let Ok(tmp) = place.tmp_dir(&mut scope).await
            {
                for message in &messages {
                    let _ = disk.unlink(tmp, &message.staged.temporary).await;
                }
            }
            place.unlock(&disk, &context).await;
            result
        }
        Err(error) => Err(error),
    };
    scope.finish().await;
    result
}

async fn commit(
    scope: &mut Scope,
    context: &StoreContext,
    place: &mut Place,
    known: &Known,
    messages: &[Append],
) -> Result<Appended, StoreError> {
    let settled = begin_write(scope, context, place, known, context.lock_wait).await?;
    let (mut state, mut changes) = (settled.state, settled.changes);
    let mut arrivals = Vec::with_capacity(messages.len());
    let tmp = place.tmp_dir(scope).await?;
    let mut lacking = UidSet::new();
    for Append { staged, flags } in messages {
        let (mailbox, wanted) = (place.mailbox, &flags.keywords);
        // RFC 9051 §6.3.12 would have them set; but a message without them is better than none.
        let lacks = Lacking::LeftOut;
        let keywords = keyword_file::assign(scope, mailbox, &mut state, &mut changes, wanted, lacks).await?;
        let uid = take_uid(&mut state)?;
        if keywords.keywords().count() < wanted.len() {
            lacking.push(uid);
        }
        let source = Source { dir: tmp, file: staged.temporary.clone() };
        let mut message = arrival(uid, &staged.base, flags.system.union(keywords), &state);
        message.internal_date = Some(staged.internal_date);
        arrivals.push(Arrival { source, message });
    }
    let uids = arrivals.iter().map(|arrival| arrival.message.uid).collect();
    let records: Vec<&Message> = arrivals.iter().map(|arrival| &arrival.message).collect();
    list_file::add(scope, context, place.mailbox, &mut state, &records).await?;
    let own = OwnChange::begin(&scope.disk.clone(), place.mailbox).await;
    let mut shown = 0;
    if let Err(error) = move_in(scope, place, &arrivals, &mut shown).await {
        take_out(scope, place, arrivals.iter().take(shown).map(|arrival| &arrival.message)).await;
        return Err(error);
    }
    own.end(&scope.disk.clone(), place.mailbox, &mut state).await;
    Delta::came(messages.iter().map(|message| Some(message.staged.size))).note(&scope.disk, place.root).await;
    receive(&mut state, &mut changes, arrivals.into_iter().map(|arrival| arrival.message));
    Ok(Appended { state, changes, uids, lacking })
}

/// Where the file of a message to come is now.
struct Source {
    dir: Handle,
    file: Box<[u8]>,
}

struct Arrival {
    source: Source,
    message: Message,
}

/// A message as it will be in this mailbox: in `new/` if it has no flags, else in `cur/`.
pub(super) fn arrival(uid: u32, base: &[u8], flags: FlagSet, state: &MailboxState) -> Message {
    let in_new = flags.is_empty();
    let file = if in_new { base.to_vec() } else { FileName::parse(base).with_flags(flags) };
    let modseq = state.highest_modseq.saturating_add(1);
    Message::new(uid, file.into(), in_new, named_flags(&state.keywords), modseq)
}

/// Takes messages that are durable now into the state.
pub(super) fn receive(
    state: &mut MailboxState,
    changes: &mut Vec<Change>,
    messages: impl Iterator<Item = Message>,
) {
    let modseq = state.highest_modseq.saturating_add(1);
    for mut message in messages {
        let uid = message.uid;
        message.modseq = modseq;
        if state.messages.push(message) {
            changes.push(Change::Appended(uid));
            state.highest_modseq = modseq;
        }
    }
}

/// Renames all arrivals to their places, counting them in `shown`, and syncs the directories.
async fn move_in(
    scope: &mut Scope,
    place: &mut Place,
    arrivals: &[Arrival],
    shown: &mut usize,
) -> Result<(), StoreError> {
    let disk = scope.disk.clone();
    for Arrival { source, message } in arrivals {
        if *shown % FILES_PER_REFRESH == FILES_PER_REFRESH - 1 {
            place.keep_lock(&disk).await;
        }
        let dir = place.dir_of(scope, message).await?;
        disk.rename(source.dir, &source.file, dir, &message.file).await.at(&message.file)?;
        *shown += 1;
    }
    sync_dirs(scope, place, arrivals.iter().map(|arrival| &arrival.message)).await
}

/// Syncs `cur/` and `new/`, as far as these messages lie there: each once.
pub(super) async fn sync_dirs<'m>(
    scope: &mut Scope,
    place: &mut Place,
    messages: impl Iterator<Item = &'m Message>,
) -> Result<(), StoreError> {
    let (mut cur, mut new) = (false, false);
    for message in messages {
        *(if message.in_new { &mut new } else { &mut cur }) = true;
    }
    if cur {
        let dir = place.cur_dir(scope).await?;
        scope.disk.sync_dir(dir).await.at(b"cur")?;
    }
    if new {
        let dir = place.new_dir(scope).await?;
        scope.disk.sync_dir(dir).await.at(b"new")?;
    }
    Ok(())
}

/// Removes files that became visible in an operation that failed; what cannot be removed stays.
pub(super) async fn take_out<'m>(
    scope: &mut Scope,
    place: &mut Place,
    messages: impl Iterator<Item = &'m Message>,
) {
    let disk = scope.disk.clone();
    for message in messages {
        if let Ok(dir) = place.dir_of(scope, message).await {
            let _ = disk.unlink(dir, &message.file).await;
        }
    }
}
