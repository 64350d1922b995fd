//! The tree of a user's mailboxes: LIST, CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.
//!
//! On disk the tree is flat: `.A.b` lies beside `.A`, which need not exist. What each change does, all of it
//! durable before it returns:
//!
//! | change | moves |
//! |---|---|
//! | create | make `.X` with its parts, a uidlist with a UIDVALIDITY never used before, and its special use if it is given one (under INBOX's lock); sync the root |
//! | delete | rename `.X` to `..DOVECOT-TRASHED`; sync the root, or rename it back; then remove what is in it, at leisure |
//! | rename | rename `.X` and all `.X.…`; sync the root; if any of it fails, what was renamed is renamed back |
//! | rename INBOX | create the target, copy all messages there, remove them from INBOX (RFC 9051 §6.3.6) |
//! | subscribe | write `subscriptions.lock`, created exclusively; rename it over `subscriptions`; sync the root |
//!
//! ```
//! # use std::sync::Arc;
//! # use postier_core::disk::{Op, Resume, Task, TaskInput, TaskStep};
//! # use postier_core::maildir::context::{HostFacts, Root, StoreContext};
//! # use postier_core::maildir::folder::FolderName;
//! # let facts = HostFacts { host: b"mx".to_vec(), pid: 7, ..HostFacts::default() };
//! # let context = Arc::new(StoreContext::new(facts));
//! # let root = Root::new(b"/mail/you");
//! use postier_core::maildir::folders::create;
//!
//! let folder = FolderName::new(b"Projects.Boat").unwrap();
//! let mut task = Task::new(|disk| create(disk, context, root, folder, None));
//! let opens = Op::OpenRoot { path: b"/mail/you".to_vec(), create: false };
//! assert!(matches!(task.resume(Resume::Start), TaskStep::Op(op) if op == opens));
//! ```

mod subscribing;

use self::subscribing::read_subscriptions;
pub use self::subscribing::subscribe;
use super::account;
use super::context::{At, Root, StoreContext, StoreError, StoreErrorKind};
use super::copy::{CopySource, copy_between};
use super::expunge::{Victims, remove};
use super::folder::{FolderName, SpecialUse};
use super::known::Known;
use super::maildirsize;
use super::metadata::{self, Assigned};
use super::place::Place;
use super::properties;
use super::scope::Scope;
use super::settle::{Absences, settle};
use super::uidlist_lock::UidlistLock;
use crate::disk::{Disk, Errno, Handle, Kind, Name};
use crate::imap::sequence::UidSet;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Where a deleted mailbox goes until its files are removed; Dovecot and we ignore it.
const TRASHED: &[u8] = b"..DOVECOT-TRASHED";
/// What is in a new mailbox.
const MADE: [&[u8]; 6] =
    [b"maildirfolder", b"dovecot-uidlist", properties::FILE_NAME, b"cur", b"new", b"tmp"];

/// One mailbox of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedFolder {
    /// Its stored name.
    pub name: FolderName,
    /// Whether it can be selected.
    pub presence: Presence,
    /// Whether its user has subscribed to it.
    pub subscribed: bool,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
}

impl ListedFolder {
    /// There is such a mailbox.
    pub fn exists(&self) -> bool {
        self.presence == Presence::Exists
    }
}

/// Why a name is in the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// There is such a mailbox.
    Exists,
    /// There is none, but one below it exists.
    ParentOnly,
    /// There is none; it is subscribed all the same.
    SubscribedOnly,
}

/// All mailboxes of a user, INBOX first, then by levels, each parent before what is below it.
///
/// # Errors
/// What the disk says. A user whose Maildir does not exist yet has an INBOX and the mailboxes of a new
/// account: they are made.
pub async fn list(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
) -> Result<Vec<ListedFolder>, StoreError> {
    let mut scope = Scope::new(disk);
    let result = list_in(&mut scope, &context, &root).await;
    scope.finish().await;
    result
}

async fn list_in(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
) -> Result<Vec<ListedFolder>, StoreError> {
    let place = Place::open(scope, context, root, &FolderName::inbox()).await?;
    let names = existing_folders(scope, place.root).await?;
    let given: Vec<Assigned> = names.values().copied().collect();
    let subscribed: BTreeSet<FolderName> = match read_subscriptions(scope, place.root).await? {
        Ok(subscriptions) => subscriptions.names().collect(),
        Err(_) => BTreeSet::new(),
    };
    let mut presences: BTreeMap<FolderName, Presence> = BTreeMap::new();
    for name in names.keys() {
        let mut parent = name.parent();
        while let Some(above) = parent {
            parent = above.parent();
            presences.entry(above).or_insert(Presence::ParentOnly);
        }
        presences.insert(name.clone(), Presence::Exists);
    }
    for name in &subscribed {
        presences.entry(name.clone()).or_insert(Presence::SubscribedOnly);
    }
    let use_of = |name: &FolderName| match names.get(name)? {
        Assigned::Use(special_use) => Some(*special_use),
        Assigned::Nothing => None,
        Assigned::ByName => SpecialUse::of(name).filter(|named| !given.contains(&Assigned::Use(*named))),
    };
    let listed = presences.into_iter().map(|(name, presence)| ListedFolder {
        subscribed: subscribed.contains(&name),
        special_use: use_of(&name),
        presence,
        name,
    });
    Ok(listed.collect())
}

/// The mailboxes that exist, INBOX among them, with what they were given for a use.
pub(super) async fn existing_folders(
    scope: &Scope,
    root: Handle,
) -> Result<BTreeMap<FolderName, Assigned>, StoreError> {
    let disk = &scope.disk;
    let mut folders = BTreeMap::from([(FolderName::inbox(), Assigned::Nothing)]);
    for entry in disk.list(root).await.at(b"")? {
        let Some(name) = FolderName::from_directory(&entry.name) else { continue };
        let maybe = match entry.kind {
            Kind::Directory | Kind::Unknown => true,
            Kind::File | Kind::Link | Kind::Other => false,
        };
        if maybe && let OnDisk::Mailbox(assigned) = look_at(disk, root, &entry.name).await? {
            folders.insert(name, assigned);
        }
    }
    Ok(folders)
}

/// What there is under a name that a mailbox could have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OnDisk {
    Nothing,
    Mailbox(Assigned),
    /// A mailbox whose creation a crash cut short.
    Unfinished,
    /// Something else, that is none of our business.
    Foreign,
}

async fn look_at(disk: &Disk, top: Handle, directory: &[u8]) -> Result<OnDisk, StoreError> {
    let mailbox = match disk.open_dir(top, directory).await {
        Ok(mailbox) => mailbox,
        Err(Errno::NotFound) => return Ok(OnDisk::Nothing),
        Err(Errno::NotDirectory | Errno::Loop | Errno::Access) => return Ok(OnDisk::Foreign),
        Err(errno) => return Err(errno).at(directory),
    };
    let found = match disk.stat(mailbox, b"cur").await {
        Ok(_) => Ok(OnDisk::Mailbox(Assigned::read(disk, mailbox).await)),
        Err(Errno::NotFound) => {
            let ours = |name: &[u8]| matches!(name, b"maildirfolder" | b"tmp" | b"new");
            let all_ours = |names: Vec<Name>| names.iter().all(|entry| ours(&entry.name));
            let finished = |ours| if ours { OnDisk::Unfinished } else { OnDisk::Foreign };
            disk.list(mailbox).await.map(all_ours).map(finished)
        }
        Err(errno) => Err(errno),
    };
    disk.close(mailbox).await;
    found.at(directory)
}

/// Makes a mailbox, with a special use if there is one to give, and returns its GUID. Mailboxes above it need not exist,
/// and are not made.
///
/// # Errors
/// AlreadyExists; SpecialUse if another mailbox was given that use; NoSpace and so on, when nothing is left of it.
pub async fn create(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    folder: FolderName,
    special_use: Option<SpecialUse>,
) -> Result<[u8; 16], StoreError> {
    let mut scope = Scope::new(disk);
    let result = create_in(&mut scope, &context, &root, &folder, special_use).await;
    scope.finish().await;
    result
}

async fn create_in(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    folder: &FolderName,
    special_use: Option<SpecialUse>,
) -> Result<[u8; 16], StoreError> {
    let disk = scope.disk.clone();
    let mut inbox = Place::open(scope, context, root, &FolderName::inbox()).await?;
    let top = inbox.root;
    let directory = folder.directory();
    let found = match folder.is_inbox() {
        true => OnDisk::Mailbox(Assigned::Nothing),
        false => look_at(&disk, top, &directory).await?,
    };
    match found {
        OnDisk::Nothing | OnDisk::Unfinished => {}
        OnDisk::Mailbox(_) | OnDisk::Foreign => {
            if found != OnDisk::Foreign {
                // That it exists is a promise, too.
                let place = Place::open(scope, context, root, folder).await?;
                place.make_sure(&disk).await?;
            }
            return Err(StoreError::new(StoreErrorKind::AlreadyExists, folder.as_bytes()));
        }
    }
    if let Some(special_use) = special_use {
        // Nobody else gives it to another mailbox between this look and the end.
        inbox.lock(&disk, context, context.lock_wait).await?;
        if let Err(refused) = metadata::check_use(scope, top, folder, special_use).await {
            inbox.unlock(&disk, context).await;
            return Err(refused);
        }
    }
    let result = make(scope, context, root, top, folder, special_use).await;
    if result.is_err() {
        remove_tree(scope, top, &directory).await;
    }
    inbox.unlock(&disk, context).await;
    result
}

async fn make(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    top: Handle,
    folder: &FolderName,
    special_use: Option<SpecialUse>,
) -> Result<[u8; 16], StoreError> {
    let disk = scope.disk.clone();
    let making = context.durable().begin_making(root);
    account::make_mailbox(scope, top, &folder.directory()).await?;
    drop(making);
    // Looking at it gives it its uidlist, with a UIDVALIDITY of its own.
    let mut place = Place::open(scope, context, root, folder).await?;
    let settled = settle(scope, context, &mut place, None, context.lock_wait, Absences::Proven).await;
    place.unlock(&disk, context).await;
    let guid = settled?.state.guid;
    if let Some(special_use) = special_use {
        metadata::give_use(scope, place.mailbox, special_use).await?;
    }
    disk.sync_dir(top).await.at(&root.path)?;
    Ok(guid)
}

/// Deletes a mailbox with its messages; those below it stay, as do subscriptions.
///
/// # Errors
/// Cannot for INBOX; NotFound; Busy if somebody else keeps its lock.
pub async fn delete(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    folder: FolderName,
) -> Result<(), StoreError> {
    let mut scope = Scope::new(disk);
    let result = delete_in(&mut scope, &context, &root, &folder).await;
    scope.finish().await;
    result
}

async fn delete_in(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    folder: &FolderName,
) -> Result<(), StoreError> {
    if folder.is_inbox() {
        return Err(StoreError::new(StoreErrorKind::Cannot, folder.as_bytes()));
    }
    let disk = scope.disk.clone();
    let top = scope.open_root(root).await?;
    let directory = folder.directory();
    // What a crash left of an earlier deletion would be in the way.
    remove_tree(scope, top, TRASHED).await;
    match look_at(&disk, top, &directory).await? {
        OnDisk::Mailbox(_) => {}
        OnDisk::Nothing | OnDisk::Unfinished | OnDisk::Foreign => {
            return Err(StoreError::new(StoreErrorKind::NotFound, folder.as_bytes()));
        }
    }
    let mailbox = scope.open_dir(top, &directory).await.at(&directory)?;
    let lock = UidlistLock::take(&disk, context, mailbox, context.lock_wait).await?;
    let renamed = disk.rename(top, &directory, top, TRASHED).await;
    context.durable().forget(root);
    // The lock has moved along with its directory; nobody can have waited for it there.
    lock.release(&disk, context).await;
    renamed.at(&directory)?;
    if let Err(errno) = disk.sync_dir(top).await {
        // Otherwise the next deletion would remove what was not deleted.
        let _ = disk.rename(top, TRASHED, top, &directory).await;
        return Err(errno).at(&directory);
    }
    maildirsize::forget(&disk, top).await;
    scope.close(mailbox).await;
    remove_tree(scope, top, TRASHED).await;
    Ok(())
}

/// Removes a mailbox's directory with everything in it, as far as it goes: what cannot be removed stays.
async fn remove_tree(scope: &mut Scope, top: Handle, directory: &[u8]) {
    let disk = scope.disk.clone();
    let Ok(mailbox) = scope.open_dir(top, directory).await else { return };
    let names: Vec<Vec<u8>> = match disk.list(mailbox).await {
        Ok(entries) => entries.into_iter().map(|entry| entry.name.into_vec()).collect(),
        // A directory that cannot be listed may still be one that we have just made.
        Err(_) => MADE.map(<[u8]>::to_vec).into(),
    };
    for name in names {
        if disk.unlink(mailbox, &name).await.is_ok() {
            continue;
        }
        if let Ok(part) = scope.open_dir(mailbox, &name).await {
            for file in disk.list(part).await.unwrap_or_default() {
                let _ = disk.unlink(part, &file.name).await;
            }
            scope.close(part).await;
            let _ = disk.remove_dir(mailbox, &name).await;
        }
    }
    scope.close(mailbox).await;
    let _ = disk.remove_dir(top, directory).await;
}

/// Renames a mailbox and all below it. Renaming INBOX moves its messages and leaves it empty; what is below
/// it stays.
///
/// # Errors
/// NotFound; AlreadyExists; BadName if a name below becomes too long; Cannot if the target lies below the
/// mailbox.
pub async fn rename(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    folder: FolderName,
    to: FolderName,
) -> Result<(), StoreError> {
    let mut scope = Scope::new(disk);
    let result = match folder.is_inbox() {
        true => move_inbox(&mut scope, &context, &root, &to).await,
        false => rename_in(&mut scope, &context, &root, &folder, &to).await,
    };
    scope.finish().await;
    result
}

async fn rename_in(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    folder: &FolderName,
    to: &FolderName,
) -> Result<(), StoreError> {
    if to.is_below(folder) {
        return Err(StoreError::new(StoreErrorKind::Cannot, to.as_bytes()));
    }
    let top = scope.open_root(root).await?;
    let folders = existing_folders(scope, top).await?;
    let mut moves = Vec::new();
    for name in folders.keys() {
        let Some(renamed) = name.renamed(folder, to) else { continue };
        let renamed =
            renamed.map_err(|why| StoreError::new(StoreErrorKind::BadName(why), name.as_bytes()))?;
        if folders.contains_key(&renamed) {
            return Err(StoreError::new(StoreErrorKind::AlreadyExists, renamed.as_bytes()));
        }
        moves.push((name.directory(), renamed.directory()));
    }
    if moves.is_empty() {
        return Err(StoreError::new(StoreErrorKind::NotFound, folder.as_bytes()));
    }
    if folders.contains_key(to) {
        return Err(StoreError::new(StoreErrorKind::AlreadyExists, to.as_bytes()));
    }
    let disk = scope.disk.clone();
    let mut done = 0;
    // What is below the old names is what is now below the new ones, synced or not.
    context.durable().forget(root);
    let mut result = Ok(());
    for (from, to) in &moves {
        result = disk.rename(top, from, top, to).await.at(from);
        if result.is_err() {
            break;
        }
        done += 1;
    }
    if result.is_ok() {
        result = disk.sync_dir(top).await.at(&root.path);
    }
    if result.is_err() {
        for (from, to) in moves.iter().take(done) {
            let _ = disk.rename(top, to, top, from).await;
        }
    }
    result
}

async fn move_inbox(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    to: &FolderName,
) -> Result<(), StoreError> {
    let disk = scope.disk.clone();
    let inbox = FolderName::inbox();
    create_in(scope, context, root, to, None).await?;
    let mut place = Place::open(scope, context, root, &inbox).await?;
    let target = scope.open_mailbox(place.root, to).await?;
    metadata::copy_annotations(scope, place.mailbox, target).await?;
    let settled = settle(scope, context, &mut place, None, context.lock_wait, Absences::Proven).await;
    place.unlock(&disk, context).await;
    let state = settled?.state;
    let messages = state.messages.iter().cloned().collect();
    let source = CopySource { folder: inbox, messages, keywords: state.keywords.clone() };
    let copied = copy_between(scope, context, root, &source, to, &Known::from(None)).await?;
    let mut moved = UidSet::new();
    copied.pairs.iter().for_each(|(uid, _)| moved.push(*uid));
    let removed = remove(scope, context, &mut place, &Known::from(state), &Victims::These(moved)).await;
    place.unlock(&disk, context).await;
    removed.map(drop)
}

#[cfg(test)]
mod tests;
