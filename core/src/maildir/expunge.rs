//! EXPUNGE and the second half of MOVE: messages are removed for good.
//!
//! ```text
//! cur/<base>:2,…T or new/… ─lock, unlink─▶ gone
//! all unlinked ─one sync of each directory─▶ durable; the uidlist is written anew when it has too many dead records
//! ```
//!
//! A file that is not where it was has been renamed by another program, or removed: a scan tells its flags now,
//! and only what is still to be removed is. A record of a message that is gone does no harm: its UID is never
//! given again.
//!
//! ```
//! # use std::sync::Arc;
//! # use postier_core::disk::{Op, Resume, Task, TaskInput, TaskStep};
//! # use postier_core::maildir::context::{HostFacts, Root, StoreContext};
//! # use postier_core::maildir::folder::FolderName;
//! # let facts = HostFacts { host: b"mx".to_vec(), pid: 7, ..HostFacts::default() };
//! # let context = Arc::new(StoreContext::new(facts));
//! # let root = Root::new(b"/mail/you");
//! use postier_core::maildir::expunge::{Victims, expunge};
//! use postier_core::maildir::mailbox::MailboxState;
//!
//! let state = MailboxState::default(); // what the last operation returned
//! let inbox = FolderName::inbox();
//! let mut task = Task::new(|disk| expunge(disk, context, root, inbox, state, Victims::Deleted));
//! let opens = Op::OpenRoot { path: b"/mail/you".to_vec(), create: false };
//! assert!(matches!(task.resume(Resume::Start), TaskStep::Op(op) if op == opens));
//! ```

use super::append::sync_dirs;
use super::context::{At, Root, StoreContext, StoreError};
use super::flags::{LOOKS_MAX, existing, look_for_files};
use super::folder::FolderName;
use super::known::Known;
use super::list_file;
use super::listing::OwnChange;
use super::mailbox::{Change, MailboxState, Message};
use super::maildirsize::Delta;
use super::place::Place;
use super::scope::Scope;
use super::settle::begin_write;
use super::sync::FILES_PER_REFRESH;
use crate::disk::{Disk, Errno};
use crate::imap::flag::SystemFlag;
use crate::imap::sequence::UidSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Which messages are to be removed.
#[derive(Clone, Debug)]
pub enum Victims {
    /// All with `\Deleted` (EXPUNGE).
    Deleted,
    /// Those of these with `\Deleted` (UID EXPUNGE, RFC 4315).
    DeletedOf(UidSet),
    /// These, whatever their flags (MOVE, RFC 6851).
    These(UidSet),
}

impl Victims {
    fn of(&self, state: &MailboxState) -> UidSet {
        let deleted = |message: &&Message| message.flags.contains(SystemFlag::Deleted);
        let mut victims = UidSet::new();
        match self {
            Victims::Deleted => {
                state.messages.iter().filter(deleted).for_each(|message| victims.push(message.uid))
            }
            Victims::DeletedOf(uids) => {
                for range in uids.ranges() {
                    let messages = state.messages.range(range.first, range.last);
                    messages.filter(deleted).for_each(|message| victims.push(message.uid));
                }
            }
            Victims::These(uids) => victims = existing(state, uids),
        }
        victims
    }
}

/// What an expunge has done.
#[derive(Debug)]
pub struct Expunged {
    /// The state to go on with.
    pub state: MailboxState,
    /// How it differs from the one given.
    pub changes: Vec<Change>,
}

/// Removes messages, durably.
///
/// # Errors
/// Busy if somebody else keeps the lock; ReadOnly and so on. Some messages may be gone nevertheless: the next
/// look tells.
pub async fn expunge(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    folder: FolderName,
    previous: impl Into<Known>,
    victims: Victims,
) -> Result<Expunged, StoreError> {
    let known = previous.into();
    let mut scope = Scope::new(disk.clone());
    let result = match Place::open(&mut scope, &context, &root, &folder).await {
        Ok(mut place) => {
            let result = remove(&mut scope, &context, &mut place, &known, &victims).await;
            place.unlock(&disk, &context).await;
            result
        }
        Err(error) => Err(error),
    };
    scope.finish().await;
    result
}

/// [`expunge`] within another operation; the lock is left taken.
pub(super) async fn remove(
    scope: &mut Scope,
    context: &StoreContext,
    place: &mut Place,
    known: &Known,
    victims: &Victims,
) -> Result<Expunged, StoreError> {
    let settled = begin_write(scope, context, place, known, context.lock_wait).await?;
    let (mut state, mut changes) = (settled.state, settled.changes);
    let uids = victims.of(&state);
    let mut elsewhere = unlink_all(scope, place, &mut state, &mut changes, &uids).await?;
    // What is gone already, or moves about still, is left for the next look and the next expunge.
    for _ in 0..LOOKS_MAX {
        if elsewhere.is_empty() {
            break;
        }
        look_for_files(scope, context, place, &mut state, &mut changes).await?;
        let uids = victims.of(&state).intersect(&elsewhere);
        elsewhere = unlink_all(scope, place, &mut state, &mut changes, &uids).await?;
    }
    if list_file::has_too_many_dead(&state) {
        list_file::rewrite(scope, context, place.mailbox, &mut state, &[]).await?;
    }
    Ok(Expunged { state, changes })
}

/// Unlinks the files of these messages and syncs; returns those whose file was not where it should be.
async fn unlink_all(
    scope: &mut Scope,
    place: &mut Place,
    state: &mut MailboxState,
    changes: &mut Vec<Change>,
    uids: &UidSet,
) -> Result<UidSet, StoreError> {
    let disk = scope.disk.clone();
    let own = OwnChange::begin(&disk, place.mailbox).await;
    let (mut elsewhere, mut gone) = (UidSet::new(), Vec::new());
    for (count, uid) in uids.iter().enumerate() {
        if count % FILES_PER_REFRESH == FILES_PER_REFRESH - 1 {
            place.keep_lock(&disk).await;
        }
        let Some(message) = state.messages.find(uid) else { continue };
        let dir = place.dir_of(scope, message).await?;
        match disk.unlink(dir, &message.file).await {
            Ok(()) => gone.push(uid),
            Err(Errno::NotFound) => elsewhere.push(uid),
            Err(errno) => return Err(errno).at(&message.file),
        }
    }
    sync_dirs(scope, place, gone.iter().filter_map(|uid| state.messages.find(*uid))).await?;
    if !gone.is_empty() {
        own.end(&disk, place.mailbox, state).await;
        let went = Delta::went(gone.iter().filter_map(|uid| state.messages.find(*uid)));
        went.note(&disk, place.root).await;
        state.highest_modseq = state.highest_modseq.saturating_add(1);
    }
    let modseq = state.highest_modseq;
    for uid in gone {
        state.expunge(uid, modseq);
        changes.push(Change::Expunged(uid));
    }
    Ok(elsewhere)
}
