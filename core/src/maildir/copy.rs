//! COPY, and the first half of MOVE: the same messages in another mailbox of the same user, as hard links.
//!
//! ```text
//! source cur/<base>:2,<flags> ─lock of the target, UIDs appended to its uidlist and synced,
//!                              link; or copy into tmp/, sync, rename─▶ target cur/<base>:2,<flags> or new/<base>
//! all there ─one sync of each directory─▶ durable
//! ```
//!
//! A copy keeps its base name, as Dovecot does it, unless the target has a message of that name already. So when it was
//! saved (RFC 8514) stands in its record of the uidlist.
//! Keywords are copied by name, for the letters of two mailboxes mean different things; those for which the target has
//! no letter left are left out, and said so. All messages are copied or none; a message whose file is gone from the
//! source is left out, and said so.
//!
//! ```
//! # use std::sync::Arc;
//! # use postier_core::disk::{Op, Resume, Task, TaskInput, TaskStep};
//! # use postier_core::maildir::context::{HostFacts, Root, StoreContext};
//! # use postier_core::maildir::folder::FolderName;
//! # let facts = HostFacts { host: b"mx".to_vec(), pid: 7, ..HostFacts::default() };
//! # let context = Arc::new(StoreContext::new(facts));
//! # let root = Root::new(b"/mail/you");
//! use postier_core::maildir::copy::{CopySource, copy};
//! use postier_core::maildir::mailbox::MailboxState;
//!
//! let inbox = MailboxState::default(); // what the last operation on INBOX returned
//! let messages = inbox.messages.range(1, 9).cloned().collect();
//! let source = CopySource { folder: FolderName::inbox(), messages, keywords: inbox.keywords };
//! let archive = FolderName::new(b"Archive").unwrap();
//! let mut task = Task::new(|disk| copy(disk, context, root, source, archive, None));
//! let opens = Op::OpenRoot { path: b"/mail/you".to_vec(), create: false };
//! assert!(matches!(task.resume(Resume::Start), TaskStep::Op(op) if op == opens));
//! ```

use super::append::{arrival, receive, sync_dirs, take_out};
use super::body::link_or_copy;
use super::context::{At, Root, StoreContext, StoreError, StoreErrorKind};
use super::flags::LOOKS_MAX;
use super::folder::FolderName;
use super::keyword_file::{self, Lacking};
use super::known::Known;
use super::list_file;
use super::listing::{Listing, OwnChange};
use super::mailbox::{Change, MailboxState, Message};
use super::maildirsize::Delta;
use super::name::{FileName, push_sizes};
use super::place::Place;
use super::scope::Scope;
use super::settle::{begin_write, take_uid};
use super::sync::FILES_PER_REFRESH;
use crate::disk::{Disk, Errno};
use crate::imap::flag::FlagSet;
use crate::imap::sequence::UidSet;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU32;

/// What is to be copied.
#[derive(Clone, Debug)]
pub struct CopySource {
    /// The mailbox; it may be the target itself.
    pub folder: FolderName,
    /// The messages, in ascending UID order.
    pub messages: Vec<Message>,
    /// The keyword table that their flags refer to.
    pub keywords: Arc<Vec<String>>,
}

/// What a copy has done.
#[derive(Debug)]
pub struct Copied {
    /// The target's state to go on with.
    pub state: MailboxState,
    /// How it differs from the one given.
    pub changes: Vec<Change>,
    /// Source UIDs with their UIDs in the target, in ascending source order.
    pub pairs: Vec<(u32, u32)>,
    /// Source UIDs of messages that are gone.
    pub gone: UidSet,
    /// Copies lack keywords of their sources, because the target has no letter left.
    pub lacks_keywords: bool,
}

/// Copies messages into another mailbox (or the same) of the same user, durably. `previous` is the state of
/// the target.
///
/// # Errors
/// NotFound if one of the mailboxes does not exist; Busy if somebody else keeps the target's lock; ReadOnly,
/// NoSpace and so on. Nothing is left of the copies then.
pub async fn copy(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    source: CopySource,
    target: FolderName,
    previous: impl Into<Known>,
) -> Result<Copied, StoreError> {
    let known = previous.into();
    let mut scope = Scope::new(disk.clone());
    let result = copy_between(&mut scope, &context, &root, &source, &target, &known).await;
    scope.finish().await;
    result
}

/// [`copy`] within another operation.
pub(super) async fn copy_between(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    source: &CopySource,
    target: &FolderName,
    known: &Known,
) -> Result<Copied, StoreError> {
    let disk = scope.disk.clone();
    let mut from = Place::open(scope, context, root, &source.folder).await?;
    let mut place = Place::open(scope, context, root, target).await?;
    let result = copy_into(scope, context, &mut from, source, &mut place, known).await;
    place.unlock(&disk, context).await;
    result
}

async fn copy_into(
    scope: &mut Scope,
    context: &StoreContext,
    from: &mut Place,
    source: &CopySource,
    place: &mut Place,
    known: &Known,
) -> Result<Copied, StoreError> {
    let settled = begin_write(scope, context, place, known, context.lock_wait).await?;
    let (mut state, mut changes) = (settled.state, settled.changes);
    let letters = translate(scope, place, source, &mut state, &mut changes).await?;
    let taken = taken_bases(&state, &source.messages);
    let now = u32::try_from(scope.disk.now().await.wall.secs).ok().and_then(NonZeroU32::new);
    let mut copies = Vec::with_capacity(source.messages.len());
    for message in &source.messages {
        let uid = take_uid(&mut state)?;
        let base = match taken.contains(message.base()) {
            true => another_base(scope, context, message).await,
            false => message.base().into(),
        };
        let flags = translated(message.flags, &letters);
        let mut copy = arrival(uid, &base, flags, &state);
        (copy.internal_date, copy.copied) = (message.internal_date, now);
        (copy.size, copy.wire_size) = (message.size, message.wire_size);
        copies.push(copy);
    }
    let records: Vec<&Message> = copies.iter().collect();
    list_file::add(scope, context, place.mailbox, &mut state, &records).await?;
    let own = OwnChange::begin(&scope.disk.clone(), place.mailbox).await;
    let mut there = Vec::with_capacity(copies.len());
    let linked = link_all(scope, context, from, source, place, &copies, &mut there).await;
    let made = || there.iter().filter_map(|index: &usize| copies.get(*index));
    let result = match linked {
        Ok(()) => sync_dirs(scope, place, made()).await,
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        take_out(scope, place, made()).await;
        return Err(error);
    }
    own.end(&scope.disk.clone(), place.mailbox, &mut state).await;
    Delta::came(made().map(|copy| copy.size)).note(&scope.disk, place.root).await;
    let pair = |index: &usize| Some((source.messages.get(*index)?.uid, copies.get(*index)?.uid));
    let pairs: Vec<(u32, u32)> = there.iter().filter_map(pair).collect();
    let (mut asked, mut copied) = (UidSet::new(), UidSet::new());
    source.messages.iter().for_each(|message| asked.push(message.uid));
    pairs.iter().for_each(|(uid, _)| copied.push(*uid));
    let nowhere = letters.iter().filter(|(_, letter)| letter.is_empty());
    let lost = nowhere.fold(FlagSet::EMPTY, |lost, (index, _)| lost.with_keyword(*index));
    let mut sources = there.iter().filter_map(|index| source.messages.get(*index));
    let lacks_keywords = sources.any(|message| !message.flags.intersect(lost).is_empty());
    receive(&mut state, &mut changes, there.iter().filter_map(|index| copies.get(*index)).cloned());
    Ok(Copied { state, changes, pairs, gone: asked.difference(&copied), lacks_keywords })
}

/// The target's flag for each keyword letter of the source that the messages use.
async fn translate(
    scope: &mut Scope,
    place: &Place,
    source: &CopySource,
    state: &mut MailboxState,
    changes: &mut Vec<Change>,
) -> Result<Vec<(usize, FlagSet)>, StoreError> {
    let used = source.messages.iter().fold(FlagSet::EMPTY, |flags, message| flags.union(message.flags));
    let named: Vec<(usize, Cow<'_, str>)> = used
        .keywords()
        .filter_map(|index| Some((index, Cow::Borrowed(source.keywords.get(index)?.as_str()))))
        .filter(|(_, name)| !name.is_empty())
        .collect();
    let names: Vec<Cow<'_, str>> = named.iter().map(|(_, name)| name.clone()).collect();
    keyword_file::assign(scope, place.mailbox, state, changes, &names, Lacking::LeftOut).await?;
    let letter = |(index, name): (usize, Cow<'_, str>)| (index, keyword_file::known(state, &[name]));
    Ok(named.into_iter().map(letter).collect())
}

fn translated(flags: FlagSet, letters: &[(usize, FlagSet)]) -> FlagSet {
    let kept = letters.iter().filter(|(index, _)| flags.contains_keyword(*index));
    kept.fold(flags.system(), |all, (_, letter)| all.union(*letter))
}

/// Those base names of the messages to be copied that the target has already.
fn taken_bases<'m>(state: &MailboxState, messages: &'m [Message]) -> BTreeSet<&'m [u8]> {
    let wanted: BTreeSet<&[u8]> = messages.iter().map(Message::base).collect();
    state.messages.iter().filter_map(|message| wanted.get(message.base()).copied()).collect()
}

/// A new base name for a message, with the same sizes.
async fn another_base(scope: &Scope, context: &StoreContext, message: &Message) -> Box<[u8]> {
    let now = scope.disk.now().await;
    let mut base = context.unique_name(now).base(context.host());
    let name = FileName::parse(&message.file);
    if let (Some(size), Some(wire_size)) = (name.size(), name.virtual_size()) {
        push_sizes(&mut base, size, wire_size);
    }
    base.into()
}

/// Makes the files of all copies, noting the indexes of those made in `there`.
async fn link_all(
    scope: &mut Scope,
    context: &StoreContext,
    from: &mut Place,
    source: &CopySource,
    place: &mut Place,
    copies: &[Message],
    there: &mut Vec<usize>,
) -> Result<(), StoreError> {
    let mut elsewhere = Vec::new();
    for (index, (message, copy)) in source.messages.iter().zip(copies).enumerate() {
        if index % FILES_PER_REFRESH == FILES_PER_REFRESH - 1 {
            place.keep_lock(&scope.disk.clone()).await;
        }
        match link_one(scope, context, from, message, place, copy).await {
            Ok(()) => there.push(index),
            Err(error) if error.kind == StoreErrorKind::NotFound => elsewhere.push(index),
            Err(error) => return Err(error),
        }
    }
    // Somebody has renamed or removed them. A look tells which, unless they are renamed again meanwhile: a change of
    // flags in the source may run beside this.
    let disk = scope.disk.clone();
    for _ in 0..LOOKS_MAX {
        if elsewhere.is_empty() {
            break;
        }
        let (cur, new) = (from.cur_dir(scope).await?, from.new_dir(scope).await?);
        let listing = Listing::scan(&disk, from.mailbox, cur, new, true).await?;
        for index in core::mem::take(&mut elsewhere) {
            let (Some(message), Some(copy)) = (source.messages.get(index), copies.get(index)) else {
                continue;
            };
            let entry = listing.find(message.base()).and_then(|at| listing.entries.get(at));
            let linked = match entry {
                Some(entry) => {
                    let found = Message { file: entry.file.clone(), in_new: entry.in_new, ..message.clone() };
                    link_one(scope, context, from, &found, place, copy).await
                }
                None => Err(StoreError::new(StoreErrorKind::NotFound, message.base())),
            };
            match linked {
                Ok(()) => there.push(index),
                Err(error) if error.kind == StoreErrorKind::NotFound => elsewhere.push(index),
                Err(error) => return Err(error),
            }
        }
    }
    there.sort_unstable();
    Ok(())
}

/// Makes the file of one copy: a link, or where there can be none a copy by way of `tmp/`.
async fn link_one(
    scope: &mut Scope,
    context: &StoreContext,
    from: &mut Place,
    message: &Message,
    place: &mut Place,
    copy: &Message,
) -> Result<(), StoreError> {
    let disk = scope.disk.clone();
    let dir = from.dir_of(scope, message).await?;
    let to_dir = place.dir_of(scope, copy).await?;
    match disk.link(dir, &message.file, to_dir, &copy.file).await {
        Ok(()) => return Ok(()),
        Err(Errno::CrossDevice | Errno::Access | Errno::TooManyLinks | Errno::Other(_)) => {}
        Err(errno) => return Err(errno).at(&message.file),
    }
    let tmp = place.tmp_dir(scope).await?;
    let temporary = context.unique_name(disk.now().await).base(context.host());
    link_or_copy(scope, dir, &message.file, tmp, &temporary).await?;
    let renamed = disk.rename(tmp, &temporary, to_dir, &copy.file).await;
    if renamed.is_err() {
        let _ = disk.unlink(tmp, &temporary).await;
    }
    renamed.at(&copy.file)
}
