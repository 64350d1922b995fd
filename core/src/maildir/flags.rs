//! STORE: other flags for some messages, each by one rename in `cur/`.
//!
//! ```text
//! cur/<base>:2,<old> or new/<base> ─lock, letters for new keywords, rename─▶ cur/<base>:2,<new>
//! all renamed ─one sync of cur/─▶ durable
//! ```
//!
//! A file that is not where it was has been renamed by another program, or removed: a scan tells where it is, and
//! what flags it has now; the change is made on top of those. What a few scans do not show, or another program
//! renames each time before we do, is left as it is and reported: a busy directory keeps no STORE waiting, and
//! whether the message is gone for good is for the next look to prove. A failure in the middle leaves the
//! messages before it changed: the next look tells.
//!
//! ```
//! # use std::sync::Arc;
//! # use postier_core::disk::{Op, Resume, Task, TaskInput, TaskStep};
//! # use postier_core::maildir::context::{HostFacts, Root, StoreContext};
//! # use postier_core::maildir::folder::FolderName;
//! # let facts = HostFacts { host: b"mx".to_vec(), pid: 7, ..HostFacts::default() };
//! # let context = Arc::new(StoreContext::new(facts));
//! # let root = Root::new(b"/mail/you");
//! use postier_core::imap::flag::{FlagList, FlagSet, SystemFlag};
//! use postier_core::imap::sequence::SequenceSet;
//! use postier_core::imap::server::StoreAction;
//! use postier_core::maildir::flags::{FlagRequest, store_flags};
//! use postier_core::maildir::mailbox::MailboxState;
//!
//! let state = MailboxState::default(); // what the last operation returned
//! let uids = SequenceSet::parse(b"1:3").unwrap().resolve(u32::MAX);
//! let flags = FlagList { system: FlagSet::EMPTY.with(SystemFlag::Seen), keywords: vec![] };
//! let request = FlagRequest { uids, action: StoreAction::Add, flags, patient: true, unchanged_since: None };
//! let mut task = Task::new(|disk| store_flags(disk, context, root, FolderName::inbox(), state, request));
//! let opens = Op::OpenRoot { path: b"/mail/you".to_vec(), create: false };
//! assert!(matches!(task.resume(Resume::Start), TaskStep::Op(op) if op == opens));
//! ```

use super::context::{At, Root, StoreContext, StoreError};
use super::folder::FolderName;
use super::keyword_file::{self, Lacking};
use super::known::Known;
use super::listing::OwnChange;
use super::mailbox::{Change, MailboxState, Message};
use super::merge::named_flags;
use super::place::Place;
use super::scope::Scope;
use super::settle::{Absences, begin_write, forget_scan, settle};
use super::sync::{FILES_PER_REFRESH, renamed};
use crate::disk::{Disk, Errno};
use crate::imap::flag::{FlagList, FlagSet};
use crate::imap::sequence::UidSet;
use crate::imap::server::StoreAction;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// How often files are looked for that are not where they were.
pub(super) const LOOKS_MAX: usize = 3;

/// What a change of flags has done.
#[derive(Debug)]
pub struct Flagged {
    /// The state to go on with.
    pub state: MailboxState,
    /// How it differs from the one given.
    pub changes: Vec<Change>,
    /// Messages that were asked for and are not changed: they are gone, or could not be found.
    pub missing: UidSet,
    /// Messages that have changed since [`FlagRequest::unchanged_since`]: they stay as they are.
    pub modified: UidSet,
}

/// Changes the flags of messages. Flags that mean nothing to us stay.
///
/// # Errors
/// KeywordsFull if no letter is left for a keyword that is to be added, and nothing is changed; Busy if somebody else keeps the lock; ReadOnly and so on. The flags are as before then, as far as renaming back
/// works.
pub async fn store_flags(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    folder: FolderName,
    previous: impl Into<Known>,
    request: FlagRequest,
) -> Result<Flagged, StoreError> {
    let known = previous.into();
    let mut scope = Scope::new(disk.clone());
    let result = match Place::open(&mut scope, &context, &root, &folder).await {
        Ok(mut place) => {
            let result = store(&mut scope, &context, &mut place, &known, &request).await;
            place.unlock(&disk, &context).await;
            result
        }
        Err(error) => Err(error),
    };
    scope.finish().await;
    result
}

/// Which flags of which messages, and how.
#[derive(Debug)]
pub struct FlagRequest {
    /// The messages; those that do not exist are reported.
    pub uids: UidSet,
    /// Replace, add or remove.
    pub action: StoreAction,
    /// Flags and keywords.
    pub flags: FlagList<'static>,
    /// Wait for the lock if somebody else has it. `\Seen` that a FETCH sets is not waited for.
    pub patient: bool,
    /// Only messages that have not changed since this mod-sequence (RFC 7162 §3.1.3).
    pub unchanged_since: Option<u64>,
}

async fn store(
    scope: &mut Scope,
    context: &StoreContext,
    place: &mut Place,
    known: &Known,
    request: &FlagRequest,
) -> Result<Flagged, StoreError> {
    let wait = if request.patient { context.lock_wait } else { Duration::ZERO };
    let settled = begin_write(scope, context, place, known, wait).await?;
    let (mut state, mut changes) = (settled.state, settled.changes);
    let keywords = match request.action {
        StoreAction::Replace | StoreAction::Add => {
            let (mailbox, wanted) = (place.mailbox, &request.flags.keywords);
            keyword_file::assign(scope, mailbox, &mut state, &mut changes, wanted, Lacking::Refused).await?
        }
        StoreAction::Remove => keyword_file::known(&state, &request.flags.keywords),
    };
    let wanted = Wanted { action: request.action, flags: request.flags.system.union(keywords) };
    let mut modified = UidSet::new();
    let present = request.unmodified(&state, existing(&state, &request.uids), &mut modified);
    let mut elsewhere = rename_all(scope, place, &mut state, &mut changes, &present, wanted).await?;
    for _ in 0..LOOKS_MAX {
        if elsewhere.is_empty() {
            break;
        }
        look_for_files(scope, context, place, &mut state, &mut changes).await?;
        let found = request.unmodified(&state, existing(&state, &elsewhere), &mut modified);
        elsewhere = rename_all(scope, place, &mut state, &mut changes, &found, wanted).await?;
    }
    // A message that others have changed, too, is named twice: see the change log.
    let missing = request.uids.difference(&existing(&state, &request.uids)).union(&elsewhere);
    Ok(Flagged { state, changes, missing, modified })
}

impl FlagRequest {
    /// Those of these messages that have not changed; the others are added to `modified`.
    fn unmodified(&self, state: &MailboxState, uids: UidSet, modified: &mut UidSet) -> UidSet {
        let Some(modseq) = self.unchanged_since else { return uids };
        let (mut same, mut other) = (UidSet::new(), UidSet::new());
        for message in uids.ranges().iter().flat_map(|range| state.messages.range(range.first, range.last)) {
            let set = if state.has_changed_since(message, modseq) { &mut other } else { &mut same };
            set.push(message.uid);
        }
        *modified = modified.union(&other);
        same
    }
}

/// Files were not where they should be: learns where they are now. What is not found stays in the state, unless
/// it is proven to be gone: the next look goes on with that.
pub(super) async fn look_for_files(
    scope: &mut Scope,
    context: &StoreContext,
    place: &mut Place,
    state: &mut MailboxState,
    changes: &mut Vec<Change>,
) -> Result<(), StoreError> {
    forget_scan(state);
    let wait = context.lock_wait;
    let settled = settle(scope, context, place, Some(state), wait, Absences::LeftOpen).await?;
    *state = settled.state;
    changes.extend(settled.changes);
    Ok(())
}

/// Those of these messages that the state has.
pub(crate) fn existing(state: &MailboxState, uids: &UidSet) -> UidSet {
    let mut present = UidSet::new();
    for range in uids.ranges() {
        state.messages.range(range.first, range.last).for_each(|message| present.push(message.uid));
    }
    present
}

#[derive(Clone, Copy)]
struct Wanted {
    action: StoreAction,
    flags: FlagSet,
}

impl Wanted {
    fn apply(self, before: FlagSet) -> FlagSet {
        match self.action {
            StoreAction::Replace => self.flags,
            StoreAction::Add => before.union(self.flags),
            StoreAction::Remove => before.difference(self.flags),
        }
    }
}

/// Renames the files of these messages and syncs the directory: all or none. Returns those whose file was not where it
/// should be.
async fn rename_all(
    scope: &mut Scope,
    place: &mut Place,
    state: &mut MailboxState,
    changes: &mut Vec<Change>,
    uids: &UidSet,
    wanted: Wanted,
) -> Result<UidSet, StoreError> {
    let disk = scope.disk.clone();
    let cur = place.cur_dir(scope).await?;
    let own = OwnChange::begin(&disk, place.mailbox).await;
    let (mut elsewhere, mut changed) = (UidSet::new(), Vec::new());
    let renamed = rename_each(scope, place, state, uids, wanted, &mut elsewhere, &mut changed).await;
    let result = match renamed {
        // What another program has renamed as it is wanted is acknowledged, too, and may not be durable yet.
        Ok(as_wanted) if as_wanted || !changed.is_empty() => disk.sync_dir(cur).await.at(b"cur"),
        other => other.map(|_| ()),
    };
    if let Err(error) = result {
        rename_back(scope, place, state, &changed).await;
        return Err(error);
    }
    if !changed.is_empty() {
        own.end(&disk, place.mailbox, state).await;
        state.highest_modseq = state.highest_modseq.saturating_add(1);
    }
    for now in changed {
        changes.push(Change::Flags(now.uid));
        if let Some(message) = state.messages.find_mut(now.uid) {
            *message = now;
        }
    }
    Ok(elsewhere)
}

/// Renames files to `cur/`, adding what the messages are then to `changed`, and those whose file is not there to
/// `elsewhere`. Says whether there are some in `cur/` that had the flags already.
async fn rename_each(
    scope: &mut Scope,
    place: &mut Place,
    state: &MailboxState,
    uids: &UidSet,
    wanted: Wanted,
    elsewhere: &mut UidSet,
    changed: &mut Vec<Message>,
) -> Result<bool, StoreError> {
    let disk = scope.disk.clone();
    let mut as_wanted = false;
    let named = named_flags(&state.keywords);
    let modseq = state.highest_modseq.saturating_add(1);
    let cur = place.cur_dir(scope).await?;
    for (count, uid) in uids.iter().enumerate() {
        if count % FILES_PER_REFRESH == FILES_PER_REFRESH - 1 {
            place.keep_lock(&disk).await;
        }
        let Some(message) = state.messages.find(uid) else { continue };
        let flags = wanted.apply(message.flags);
        if flags == message.flags {
            as_wanted |= !message.in_new;
            continue;
        }
        let file = renamed(message, flags, named);
        let dir = place.dir_of(scope, message).await?;
        match disk.rename(dir, &message.file, cur, &file).await {
            Ok(()) => changed.push(Message { file, flags, modseq, in_new: false, ..message.clone() }),
            Err(Errno::NotFound | Errno::Exists) => elsewhere.push(uid),
            Err(errno) => return Err(errno).at(&file),
        }
    }
    Ok(as_wanted)
}

/// Gives files the names that the state says they have; one that cannot be renamed keeps its new flags, and the next
/// look tells.
async fn rename_back(scope: &mut Scope, place: &mut Place, state: &MailboxState, changed: &[Message]) {
    let disk = scope.disk.clone();
    let Ok(cur) = place.cur_dir(scope).await else { return };
    for now in changed {
        let Some(before) = state.messages.find(now.uid) else { continue };
        if let Ok(dir) = place.dir_of(scope, before).await {
            let _ = disk.rename(cur, &now.file, dir, &before.file).await;
        }
    }
}
