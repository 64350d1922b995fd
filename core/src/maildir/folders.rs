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
mod tests {
    use super::super::memdisk::{MemDisk, context, root};
    use super::super::write_tests::{disk_with_four, shown, state_of};
    use super::*;
    use alloc::string::String;
    use std::format;

    type Run = Option<Result<(), StoreError>>;

    fn name(stored: &str) -> FolderName {
        FolderName::new(stored.as_bytes()).unwrap()
    }

    fn create_on(disk: &mut MemDisk, folder: &str) -> Run {
        let (context, folder) = (Arc::new(context()), name(folder));
        disk.run(Vec::new(), move |disk| create(disk, context, root(), folder, None))
            .map(|made| made.map(drop))
    }

    fn delete_on(disk: &mut MemDisk, folder: &str) -> Run {
        let (context, folder) = (Arc::new(context()), name(folder));
        disk.run(Vec::new(), move |disk| delete(disk, context, root(), folder))
    }

    fn rename_on(disk: &mut MemDisk, folder: &str, to: &str) -> Run {
        let (context, folder, to) = (Arc::new(context()), name(folder), name(to));
        disk.run(Vec::new(), move |disk| rename(disk, context, root(), folder, to))
    }

    fn subscribe_on(disk: &mut MemDisk, folder: &str, on: bool) -> Run {
        let (context, folder) = (Arc::new(context()), name(folder));
        disk.run(Vec::new(), move |disk| subscribe(disk, context, root(), folder, on))
    }

    /// `name presence`, `+` for subscribed.
    fn listed(disk: &mut MemDisk) -> Vec<String> {
        let folders =
            disk.run(Vec::new(), move |disk| list(disk, Arc::new(context()), root())).unwrap().unwrap();
        let line = |folder: ListedFolder| {
            let mark = if folder.subscribed { "+" } else { "" };
            format!("{mark}{} {:?}", String::from_utf8_lossy(folder.name.as_bytes()), folder.presence)
        };
        folders.into_iter().map(line).collect()
    }

    fn kind(run: Run) -> StoreErrorKind {
        run.unwrap().unwrap_err().kind
    }

    fn disk_with(folders: &[&str]) -> MemDisk {
        let (mut disk, _) = disk_with_four();
        for folder in folders {
            create_on(&mut disk, folder).unwrap().unwrap();
        }
        disk.settle();
        disk
    }

    #[test]
    fn the_list_has_parents_and_subscriptions() {
        let mut disk = disk_with(&["b.c.d", "a"]);
        disk.put_dir("/m/.config");
        disk.put_file("/m/.dovecot.sieve", b"");
        subscribe_on(&mut disk, "b.c.d", true).unwrap().unwrap();
        subscribe_on(&mut disk, "lost", true).unwrap().unwrap();
        let expected = [
            "INBOX Exists",
            "a Exists",
            "b ParentOnly",
            "b.c ParentOnly",
            "+b.c.d Exists",
            "+lost SubscribedOnly",
        ];
        assert_eq!(listed(&mut disk), expected);
        let mut nobody = MemDisk::empty();
        assert_eq!(listed(&mut nobody).len(), 6);
        let folders =
            nobody.run(Vec::new(), move |disk| list(disk, Arc::new(context()), root())).unwrap().unwrap();
        assert_eq!(folders.iter().filter(|folder| folder.special_use.is_some()).count(), 5);
    }

    #[test]
    fn each_new_mailbox_has_a_uidvalidity_of_its_own() {
        let mut disk = disk_with(&["a"]);
        let first = state_of(&mut disk, name("a")).uid_validity;
        delete_on(&mut disk, "a").unwrap().unwrap();
        create_on(&mut disk, "a").unwrap().unwrap();
        disk.restart();
        assert!(state_of(&mut disk, name("a")).uid_validity > first);
        assert!(disk.names("/m/.a").iter().any(|name| name == "maildirfolder"));
    }

    #[test]
    fn what_exists_is_not_made_again_and_what_is_foreign_is_left_alone() {
        let mut disk = disk_with(&["a"]);
        disk.put_dir("/m/.ssh");
        disk.put_file("/m/.ssh/id", b"secret");
        for folder in ["a", "INBOX", "ssh"] {
            assert_eq!(kind(create_on(&mut disk, folder)), StoreErrorKind::AlreadyExists);
        }
        assert_eq!(kind(delete_on(&mut disk, "ssh")), StoreErrorKind::NotFound);
        assert_eq!(disk.names("/m/.ssh"), ["id"]);
    }

    #[test]
    fn a_creation_is_whole_or_can_be_repeated() {
        let disk = disk_with(&[]);
        let mut whole = disk.clone();
        create_on(&mut whole, "a").unwrap().unwrap();
        for at in 0..=whole.ops {
            for crash in [false, true] {
                let mut bad = disk.clone();
                (bad.fail_at, bad.crash_at) =
                    if crash { (None, Some(at)) } else { (Some((at, Errno::NoSpace)), None) };
                let done = create_on(&mut bad, "a").is_some_and(|result| result.is_ok());
                if crash {
                    bad.restart();
                }
                (bad.fail_at, bad.crash_at) = (None, None);
                bad.advance(200_000_000);
                let again = create_on(&mut bad, "a").unwrap().map_err(|error| error.kind);
                assert!(
                    again == Ok(()) || again == Err(StoreErrorKind::AlreadyExists),
                    "operation {at}: {again:?}"
                );
                assert!(!done || again.is_err(), "operation {at}");
                assert_eq!(state_of(&mut bad, name("a")).messages.len(), 0);
            }
        }
    }

    #[test]
    fn a_creation_that_fails_leaves_nothing_even_where_nothing_can_be_listed() {
        let mut disk = disk_with(&[]);
        let before = disk.names("/m");
        disk.always = Some(|disk| {
            let lists = disk.log.last().is_some_and(|op| op == "List");
            disk.fail_at = lists.then(|| (disk.ops - 1, Errno::Io));
        });
        assert_eq!(kind(create_on(&mut disk, "a")), StoreErrorKind::Temporary(Errno::Io));
        assert_eq!(disk.names("/m"), before);
    }

    #[test]
    fn deleting_removes_the_messages_and_not_what_is_below() {
        let mut disk = disk_with(&["a", "a.b"]);
        disk.put_file("/m/.a/cur/1.x:2,S", b"x\n");
        delete_on(&mut disk, "a").unwrap().unwrap();
        disk.restart();
        assert_eq!(listed(&mut disk), ["INBOX Exists", "a ParentOnly", "a.b Exists"]);
        assert_eq!(kind(delete_on(&mut disk, "a")), StoreErrorKind::NotFound);
        assert_eq!(kind(delete_on(&mut disk, "INBOX")), StoreErrorKind::Cannot);
        let left = disk.names("/m/..DOVECOT-TRASHED");
        create_on(&mut disk, "a").unwrap().unwrap();
        delete_on(&mut disk, "a").unwrap().unwrap();
        assert!(disk.names("/m").iter().all(|name| name != "..DOVECOT-TRASHED"), "{left:?}");
    }

    #[test]
    fn a_deletion_that_fails_keeps_everything() {
        let mut disk = disk_with(&["a"]);
        disk.put_file("/m/.a/cur/1.x:2,S", b"x\n");
        let mut whole = disk.clone();
        delete_on(&mut whole, "a").unwrap().unwrap();
        for at in 0..whole.ops {
            let mut failing = disk.clone();
            failing.fail_at = Some((at, Errno::Io));
            let result = delete_on(&mut failing, "a").unwrap();
            let there = !failing.names("/m/.a").is_empty();
            assert_eq!(there, result.is_err(), "operation {at}");
            assert!(!there || failing.contents("/m/.a/cur") == [b"x\n"], "operation {at}");
        }
    }

    #[test]
    fn renaming_takes_along_what_is_below() {
        let mut disk = disk_with(&["a", "a.b", "ab"]);
        let validity = state_of(&mut disk, name("a.b")).uid_validity;
        rename_on(&mut disk, "a", "z.y").unwrap().unwrap();
        disk.restart();
        let expected = ["INBOX Exists", "ab Exists", "z ParentOnly", "z.y Exists", "z.y.b Exists"];
        assert_eq!(listed(&mut disk), expected);
        assert_eq!(state_of(&mut disk, name("z.y.b")).uid_validity, validity);
        assert_eq!(kind(rename_on(&mut disk, "a", "c")), StoreErrorKind::NotFound);
        assert_eq!(kind(rename_on(&mut disk, "z.y", "ab")), StoreErrorKind::AlreadyExists);
        assert_eq!(kind(rename_on(&mut disk, "z", "z.y")), StoreErrorKind::Cannot);
        // A parent that does not exist can be renamed: what is below it moves.
        rename_on(&mut disk, "z", "q").unwrap().unwrap();
        assert_eq!(listed(&mut disk)[2..], ["q ParentOnly", "q.y Exists", "q.y.b Exists"]);
    }

    #[test]
    fn a_rename_that_fails_is_taken_back() {
        let disk = disk_with(&["a", "a.b"]);
        let mut whole = disk.clone();
        rename_on(&mut whole, "a", "z").unwrap().unwrap();
        let changes = |at: &usize| ["Rename", "SyncDir"].contains(&whole.counted_log()[*at]);
        for at in (0..whole.ops).filter(changes) {
            let mut failing = disk.clone();
            failing.fail_at = Some((at, Errno::NoSpace));
            assert_eq!(kind(rename_on(&mut failing, "a", "z")), StoreErrorKind::NoSpace);
            failing.fail_at = None;
            assert_eq!(listed(&mut failing), ["INBOX Exists", "a Exists", "a.b Exists"]);
        }
    }

    #[test]
    fn renaming_inbox_moves_its_messages() {
        let (mut disk, inbox) = disk_with_four();
        rename_on(&mut disk, "INBOX", "old.mail").unwrap().unwrap();
        disk.restart();
        // What has no flags is \Recent after the move, as after any copy.
        let moved = shown(&state_of(&mut disk, name("old.mail")));
        assert_eq!(moved, ["1 1.a  new", "2 2.b S", "3 3.c Ta", "4 4.d  new"]);
        let after = state_of(&mut disk, FolderName::inbox());
        assert!(after.messages.is_empty() && after.uid_validity == inbox.uid_validity && after.uid_next == 5);
    }

    #[test]
    fn subscriptions_are_durable_and_keep_their_version() {
        let (mut disk, _) = disk_with_four();
        subscribe_on(&mut disk, "a.b", true).unwrap().unwrap();
        subscribe_on(&mut disk, "a.b", true).unwrap().unwrap();
        subscribe_on(&mut disk, "none", false).unwrap().unwrap();
        assert!(disk.names("/m").iter().all(|name| name != "subscriptions.lock"));
        disk.restart();
        assert_eq!(disk.read("/m/subscriptions").unwrap(), b"V\t2\n\na\tb\n");
        disk.put_file("/m/subscriptions", b"x\n");
        subscribe_on(&mut disk, "a.b", true).unwrap().unwrap();
        subscribe_on(&mut disk, "x", false).unwrap().unwrap();
        assert_eq!(disk.read("/m/subscriptions").unwrap(), b"a.b\n");
        disk.put_file("/m/subscriptions", b"V\t3\n\nx\n");
        assert_eq!(kind(subscribe_on(&mut disk, "a.b", true)), StoreErrorKind::Cannot);
        assert_eq!(disk.read("/m/subscriptions").unwrap(), b"V\t3\n\nx\n");
    }

    #[test]
    fn a_lock_of_the_subscriptions_is_waited_for_until_it_is_stale() {
        let (mut disk, _) = disk_with_four();
        disk.put_file("/m/subscriptions.lock", b"");
        assert_eq!(kind(subscribe_on(&mut disk, "a", true)), StoreErrorKind::Busy);
        disk.advance(20_000_000);
        subscribe_on(&mut disk, "a", true).unwrap().unwrap();
        assert_eq!(disk.read("/m/subscriptions").unwrap(), b"V\t2\n\na\n");
    }
}
