//! Annotations (RFC 5464) and special uses (RFC 6154) of mailboxes: reading and writing `postier.properties`.
//!
//! ```text
//! old file ─lock of the uidlist, read, change─▶ postier.properties.tmp, synced ─rename, sync of the directory─▶ new file
//! ```
//!
//! What a mailbox is for is an annotation, too (RFC 6154 §4). A mailbox that was given none has the use that its name
//! tells (`Sent`, `Trash` …), unless another one was given that use.
//!
//! ```
//! # use std::sync::Arc;
//! # use postier_core::disk::{Op, Resume, Task, TaskStep};
//! # use postier_core::maildir::context::{HostFacts, Root, StoreContext};
//! # use postier_core::maildir::folder::FolderName;
//! # let context = Arc::new(StoreContext::new(HostFacts { pid: 7, ..HostFacts::default() }));
//! # let root = Root::new(b"/mail/you");
//! use postier_core::maildir::metadata::{Annotated, metadata};
//!
//! let of = Annotated::Mailbox(FolderName::new(b"Boat").unwrap());
//! let mut task = Task::new(|disk| metadata(disk, context, root, of));
//! let opens = Op::OpenRoot { path: b"/mail/you".to_vec(), create: false };
//! assert!(matches!(task.resume(Resume::Start), TaskStep::Op(op) if op == opens));
//! ```

use super::context::{At, Root, StoreContext, StoreError, StoreErrorKind};
use super::folder::{FolderName, SpecialUse};
use super::folders::existing_folders;
use super::place::Place;
use super::properties::{FILE_BYTES_MAX, FILE_NAME, Of, Properties, TEMPORARY};
use super::scope::Scope;
use crate::disk::{Disk, Errno, Handle};
use crate::imap::metadata::{Annotations, Entry, SPECIAL_USE};
use crate::limits::MetadataLimits;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What the annotations are about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Annotated {
    /// A mailbox.
    Mailbox(FolderName),
    /// The account as a whole: what the protocol calls the server's annotations.
    Server,
}

impl Annotated {
    /// The mailbox whose file has them.
    pub fn folder(&self) -> FolderName {
        match self {
            Annotated::Mailbox(folder) => folder.clone(),
            Annotated::Server => FolderName::inbox(),
        }
    }

    fn kind(&self) -> Of {
        match self {
            Annotated::Mailbox(_) => Of::Mailbox,
            Annotated::Server => Of::Server,
        }
    }
}

/// What [`metadata`] has found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metadata {
    /// All entries with their values, in the order of their names.
    pub entries: Annotations,
    /// Lines of the file are damaged, and what they said is lost: for the log.
    pub damage: Option<StoreError>,
}

/// A change of an entry: its new value, or `None` to remove it.
pub type EntryChange = (Entry, Option<Vec<u8>>);

/// All annotations of a mailbox or of the account.
///
/// # Errors
/// NotFound if there is no such mailbox; Cannot if the file is of another version.
pub async fn metadata(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    of: Annotated,
) -> Result<Metadata, StoreError> {
    let mut scope = Scope::new(disk);
    let result = read_all(&mut scope, &context, &root, &of).await;
    scope.finish().await;
    result
}

async fn read_all(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    of: &Annotated,
) -> Result<Metadata, StoreError> {
    let (folder, kind) = (of.folder(), of.kind());
    let place = Place::open(scope, context, root, &folder).await?;
    let properties = read(&scope.disk.clone(), place.mailbox).await?;
    let mut entries = properties.entries(kind).clone();
    if kind == Of::Mailbox
        && let Some(entry) = Entry::new(SPECIAL_USE)
    {
        let special_use = match Assigned::of(&properties) {
            Assigned::Use(special_use) => Some(special_use),
            Assigned::Nothing => None,
            Assigned::ByName => match SpecialUse::of(&folder) {
                Some(named) if !is_given(scope, place.root, named, &folder).await? => Some(named),
                Some(_) | None => None,
            },
        };
        match special_use {
            Some(special_use) => _ = entries.insert(entry, special_use.attribute().as_bytes().to_vec()),
            None => _ = entries.remove(&entry),
        }
    }
    Ok(Metadata { entries: entries.into_iter().collect(), damage: damage_of(&properties) })
}

/// Changes annotations, durably: all or none.
///
/// # Errors
/// NotFound if there is no such mailbox; TooManyEntries; SpecialUse if the mailbox cannot have that use; Busy if somebody
/// else keeps its lock; ReadOnly, NoSpace and so on. All is as before then.
pub async fn set_metadata(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    of: Annotated,
    changes: Vec<EntryChange>,
    limits: MetadataLimits,
) -> Result<(), StoreError> {
    let mut scope = Scope::new(disk.clone());
    let gives_use = |(entry, _): &EntryChange| entry.as_bytes() == SPECIAL_USE;
    let result = match of.kind() == Of::Mailbox && !of.folder().is_inbox() && changes.iter().any(gives_use) {
        // Nobody gives the same use to another mailbox meanwhile: INBOX's lock is taken first, here and by CREATE.
        true => match Place::open(&mut scope, &context, &root, &FolderName::inbox()).await {
            Ok(mut inbox) => {
                let result = match inbox.lock(&disk, &context, context.lock_wait).await {
                    Ok(()) => change_locked(&mut scope, &context, &root, &of, changes, limits).await,
                    Err(error) => Err(error),
                };
                inbox.unlock(&disk, &context).await;
                result
            }
            Err(error) => Err(error),
        },
        false => change_locked(&mut scope, &context, &root, &of, changes, limits).await,
    };
    scope.finish().await;
    result
}

/// Changes annotations under the mailbox's own lock.
async fn change_locked(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    of: &Annotated,
    changes: Vec<EntryChange>,
    limits: MetadataLimits,
) -> Result<(), StoreError> {
    let (disk, folder, kind) = (scope.disk.clone(), of.folder(), of.kind());
    let mut place = Place::open(scope, context, root, &folder).await?;
    let result = match place.lock(&disk, context, context.lock_wait).await {
        Ok(()) => change(scope, &place, (&folder, kind), changes, limits).await,
        Err(error) => Err(error),
    };
    place.unlock(&disk, context).await;
    result
}

/// What is to be said in the log of a file with damaged lines.
fn damage_of(properties: &Properties) -> Option<StoreError> {
    (properties.damaged > 0).then(|| StoreError::new(StoreErrorKind::Damaged, FILE_NAME))
}

async fn change(
    scope: &mut Scope,
    place: &Place,
    (folder, kind): (&FolderName, Of),
    changes: Vec<EntryChange>,
    limits: MetadataLimits,
) -> Result<(), StoreError> {
    let before = read(&scope.disk.clone(), place.mailbox).await?;
    let mut after = before.clone();
    for (entry, value) in changes {
        let value = match kind == Of::Mailbox && entry.as_bytes() == SPECIAL_USE {
            true => checked_use(scope, place.root, folder, value.as_deref()).await?,
            false => value,
        };
        match value {
            Some(value) => _ = after.entries_mut(kind).insert(entry, value),
            None => _ = after.entries_mut(kind).remove(&entry),
        }
    }
    let octets = |properties: &Properties| {
        properties
            .entries(kind)
            .iter()
            .map(|(entry, value)| entry.as_bytes().len() + value.len())
            .sum::<usize>()
    };
    let (count, had) = (after.entries(kind).len(), before.entries(kind).len());
    // Who has too much from before may still change what is there for less.
    if (count > limits.entries_max && count > had)
        || (octets(&after) > limits.bytes_max && octets(&after) > octets(&before))
    {
        return Err(StoreError::new(StoreErrorKind::TooManyEntries, FILE_NAME));
    }
    if after == before {
        return Ok(());
    }
    write(scope, place.mailbox, &after).await
}

/// The value to keep for a special use. Of a mailbox whose name tells one, that it has none is kept as an empty value.
async fn checked_use(
    scope: &mut Scope,
    top: Handle,
    folder: &FolderName,
    value: Option<&[u8]>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(SpecialUse::of(folder).map(|_| Vec::new()));
    };
    // RFC 6154 §4: what is set is checked as it is in CREATE.
    let wanted = SpecialUse::of_attribute(value);
    check_use(scope, top, folder, wanted.ok_or_else(|| cannot_have_use(folder))?).await?;
    Ok(wanted.map(|special_use| special_use.attribute().as_bytes().to_vec()))
}

/// Whether a mailbox can be given this use.
///
/// # Errors
/// SpecialUse if it cannot: it is INBOX, or another one was given the same.
pub(super) async fn check_use(
    scope: &mut Scope,
    top: Handle,
    folder: &FolderName,
    special_use: SpecialUse,
) -> Result<(), StoreError> {
    if folder.is_inbox() || is_given(scope, top, special_use, folder).await? {
        return Err(cannot_have_use(folder));
    }
    Ok(())
}

fn cannot_have_use(folder: &FolderName) -> StoreError {
    StoreError::new(StoreErrorKind::SpecialUse, folder.as_bytes())
}

/// Whether a mailbox other than this one was given the use.
async fn is_given(
    scope: &Scope,
    top: Handle,
    special_use: SpecialUse,
    but: &FolderName,
) -> Result<bool, StoreError> {
    let all = existing_folders(scope, top).await?;
    Ok(all.iter().any(|(name, assigned)| name != but && *assigned == Assigned::Use(special_use)))
}

/// What a mailbox was given for a use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Assigned {
    /// Nothing was said: its name tells.
    ByName,
    /// None, whatever its name is.
    Nothing,
    /// This one.
    Use(SpecialUse),
}

impl Assigned {
    fn of(properties: &Properties) -> Assigned {
        let value = Entry::new(SPECIAL_USE).and_then(|entry| properties.entries(Of::Mailbox).get(&entry));
        match value {
            None => Assigned::ByName,
            Some(value) => SpecialUse::of_attribute(value).map_or(Assigned::Nothing, Assigned::Use),
        }
    }

    /// What a mailbox was given; where the file cannot be read its name tells.
    pub(super) async fn read(disk: &Disk, mailbox: Handle) -> Assigned {
        read(disk, mailbox).await.map_or(Assigned::ByName, |properties| Assigned::of(&properties))
    }
}

/// Gives a mailbox that is new, and that nobody else knows yet, a use. Durable in its directory.
pub(super) async fn give_use(
    scope: &mut Scope,
    mailbox: Handle,
    special_use: SpecialUse,
) -> Result<(), StoreError> {
    let mut properties = read(&scope.disk.clone(), mailbox).await?;
    if let Some(entry) = Entry::new(SPECIAL_USE) {
        let value = special_use.attribute().as_bytes().to_vec();
        properties.entries_mut(Of::Mailbox).insert(entry, value);
    }
    write(scope, mailbox, &properties).await
}

/// RFC 5464 §4.1: a mailbox that INBOX is renamed to gets a copy of INBOX's annotations.
pub(super) async fn copy_annotations(scope: &mut Scope, inbox: Handle, to: Handle) -> Result<(), StoreError> {
    let from = read(&scope.disk.clone(), inbox).await?;
    if from.entries(Of::Mailbox).is_empty() {
        return Ok(());
    }
    let mut properties = Properties::default();
    *properties.entries_mut(Of::Mailbox) = from.entries(Of::Mailbox).clone();
    write(scope, to, &properties).await
}

async fn read(disk: &Disk, mailbox: Handle) -> Result<Properties, StoreError> {
    let cannot = || StoreError::new(StoreErrorKind::Cannot, FILE_NAME);
    match disk.read_file(mailbox, FILE_NAME, FILE_BYTES_MAX).await {
        Ok((_, stat)) if stat.size > FILE_BYTES_MAX as u64 => Err(cannot()),
        Ok((file, _)) => Properties::parse(&file).map_err(|_| cannot()),
        Err(Errno::NotFound) => Ok(Properties::default()),
        Err(errno) => Err(errno).at(FILE_NAME),
    }
}

async fn write(scope: &mut Scope, mailbox: Handle, properties: &Properties) -> Result<(), StoreError> {
    let mut content = Vec::new();
    properties.push(&mut content);
    scope.replace_file(mailbox, TEMPORARY, FILE_NAME, content).await?;
    scope.disk.sync_dir(mailbox).await.at(FILE_NAME)
}

#[cfg(test)]
mod tests {
    use super::super::folders;
    use super::super::memdisk::{MemDisk, Stopped, context, root};
    use super::*;
    use crate::disk::{Resume, Task};
    use alloc::string::String;
    use std::format;

    const COMMENT: &str = "/private/comment";
    const FILE: &str = "/m/.Boat/postier.properties";

    type Run<T> = Option<Result<T, StoreError>>;

    fn name(stored: &str) -> FolderName {
        FolderName::new(stored.as_bytes()).unwrap()
    }

    fn boat() -> Annotated {
        Annotated::Mailbox(name("Boat"))
    }

    fn create(disk: &mut MemDisk, folder: &str, special_use: Option<SpecialUse>) -> Run<()> {
        let (context, folder) = (Arc::new(context()), name(folder));
        let create = move |disk| folders::create(disk, context, root(), folder, special_use);
        disk.run(Vec::new(), create).map(|made| made.map(drop))
    }

    fn set_all(disk: &mut MemDisk, of: Annotated, changes: &[(&str, Option<&str>)]) -> Run<()> {
        let change = |(entry, value): &(&str, Option<&str>)| {
            (Entry::new(entry.as_bytes()).unwrap(), value.map(|value| value.as_bytes().to_vec()))
        };
        let (context, changes) = (Arc::new(context()), changes.iter().map(change).collect());
        let limits = MetadataLimits { value_bytes_max: 1024, entries_max: 3, bytes_max: 200 };
        disk.run(Vec::new(), move |disk| set_metadata(disk, context, root(), of, changes, limits))
    }

    fn set(
        disk: &mut MemDisk,
        of: Annotated,
        entry: &str,
        value: Option<&str>,
    ) -> Result<(), StoreErrorKind> {
        set_all(disk, of, &[(entry, value)]).unwrap().map_err(|error| error.kind)
    }

    fn found(disk: &mut MemDisk, of: Annotated) -> Metadata {
        let context = Arc::new(context());
        disk.run(Vec::new(), move |disk| metadata(disk, context, root(), of)).unwrap().unwrap()
    }

    /// `entry value`, one for each.
    fn shown(disk: &mut MemDisk, of: Annotated) -> Vec<String> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let line = |(entry, value): &(Entry, Vec<u8>)| format!("{} {}", text(entry.as_bytes()), text(value));
        found(disk, of).entries.iter().map(line).collect()
    }

    /// `name \Use`, those that have one.
    fn uses(disk: &mut MemDisk) -> Vec<String> {
        let context = Arc::new(context());
        let listed = disk.run(Vec::new(), move |disk| folders::list(disk, context, root())).unwrap().unwrap();
        let line = |folder: &folders::ListedFolder| {
            let special_use = folder.special_use?.attribute();
            Some(format!("{} {special_use}", String::from_utf8_lossy(folder.name.as_bytes())))
        };
        listed.iter().filter_map(line).collect()
    }

    fn disk_with_boat() -> MemDisk {
        let mut disk = MemDisk::with_maildir();
        create(&mut disk, "Boat", None).unwrap().unwrap();
        create(&mut disk, "Sent", None).unwrap().unwrap();
        disk.settle();
        disk
    }

    #[test]
    fn annotations_outlive_a_power_cut_and_go_with_the_mailbox() {
        let mut disk = disk_with_boat();
        set(&mut disk, boat(), COMMENT, Some("what it costs")).unwrap();
        set(&mut disk, boat(), "/shared/x", Some("1")).unwrap();
        set(&mut disk, Annotated::Server, COMMENT, Some("mine")).unwrap();
        set(&mut disk, Annotated::Mailbox(FolderName::inbox()), COMMENT, Some("of INBOX")).unwrap();
        disk.restart();
        assert_eq!(shown(&mut disk, boat()), ["/private/comment what it costs", "/shared/x 1"]);
        assert_eq!(shown(&mut disk, Annotated::Server), ["/private/comment mine"]);
        assert_eq!(shown(&mut disk, Annotated::Mailbox(FolderName::inbox())), ["/private/comment of INBOX"]);
        let (ctx, old, new) = (Arc::new(context()), name("Boat"), name("Ship"));
        disk.run(Vec::new(), move |disk| folders::rename(disk, ctx, root(), old, new)).unwrap().unwrap();
        let ship = || Annotated::Mailbox(name("Ship"));
        assert_eq!(shown(&mut disk, ship()).len(), 2);
        // RENAME of INBOX copies them.
        let (ctx, new) = (Arc::new(context()), name("Old"));
        disk.run(Vec::new(), move |disk| folders::rename(disk, ctx, root(), FolderName::inbox(), new))
            .unwrap()
            .unwrap();
        disk.restart();
        for of in [FolderName::inbox(), name("Old")].map(Annotated::Mailbox) {
            assert_eq!(shown(&mut disk, of), ["/private/comment of INBOX"]);
        }
        let ctx = Arc::new(context());
        disk.run(Vec::new(), move |disk| folders::delete(disk, ctx, root(), name("Ship"))).unwrap().unwrap();
        create(&mut disk, "Ship", None).unwrap().unwrap();
        assert!(shown(&mut disk, ship()).is_empty());
    }

    #[test]
    fn of_two_that_are_given_one_use_at_the_same_time_one_has_it() {
        for stop in 0.. {
            let mut disk = disk_with_boat();
            let ctx = Arc::new(context());
            let first =
                |disk| folders::create(disk, ctx.clone(), root(), name("Old"), Some(SpecialUse::Archive));
            let (mut task, mut operations) = (Task::new(first), 0);
            let stopped = disk.drive_up_to(&mut task, Resume::Start, |_| {
                operations += 1;
                operations > stop
            });
            let Stopped::Before(next) = stopped else {
                assert!(stop > 20, "it is over at once");
                break;
            };
            disk.handed_out = None;
            let second = match stop % 2 {
                0 => create(&mut disk, "Older", Some(SpecialUse::Archive)).unwrap().is_ok(),
                _ => set(&mut disk, boat(), "/private/specialuse", Some("\\Archive")).is_ok(),
            };
            let first = disk.go_on(&mut task, next).is_ok();
            assert_ne!(first, second, "stopped before operation {stop}");
            let archives = uses(&mut disk).into_iter().filter(|line| line.ends_with("Archive"));
            assert_eq!(archives.count(), 1, "stopped before operation {stop}");
        }
    }

    #[test]
    fn whatever_fails_and_wherever_the_power_goes_all_is_changed_or_nothing() {
        let mut whole = disk_with_boat();
        set_all(&mut whole, boat(), &[(COMMENT, Some("old")), ("/shared/x", Some("old"))]).unwrap().unwrap();
        whole.settle();
        let change =
            |disk: &mut MemDisk| set_all(disk, boat(), &[(COMMENT, Some("new")), ("/shared/x", None)]);
        let (old, new) =
            (["/private/comment old", "/shared/x old"].to_vec(), ["/private/comment new"].to_vec());
        let mut counted = whole.clone();
        change(&mut counted).unwrap().unwrap();
        for at in 0..counted.ops {
            let mut disk = whole.clone();
            disk.fail_at = Some((at, Errno::NoSpace));
            let done = change(&mut disk).unwrap();
            disk.fail_at = None;
            assert!(!disk.names("/m/.Boat").iter().any(|name| name.ends_with(".tmp")), "operation {at}");
            disk.restart();
            let now = shown(&mut disk, boat());
            assert!(now == new || (now == old && done.is_err()), "operation {at}: {now:?}");
            let mut disk = whole.clone();
            disk.crash_at = Some(at);
            change(&mut disk);
            disk.restart();
            // The lock that is left is of another boot by now.
            disk.advance(600_000_000);
            let now = shown(&mut disk, boat());
            assert!(now == new || now == old, "after operation {at}: {now:?}");
            change(&mut disk).unwrap().unwrap();
            disk.restart();
            assert_eq!(shown(&mut disk, boat()), new);
        }
    }

    #[test]
    fn there_is_a_limit_and_one_who_is_above_it_can_get_below() {
        let mut disk = disk_with_boat();
        for entry in ["/private/a", "/private/b", "/shared/c"] {
            set(&mut disk, boat(), entry, Some("x")).unwrap();
        }
        assert_eq!(set(&mut disk, boat(), "/shared/d", Some("x")), Err(StoreErrorKind::TooManyEntries));
        assert_eq!(
            set(&mut disk, boat(), "/shared/c", Some(&"x".repeat(200))),
            Err(StoreErrorKind::TooManyEntries)
        );
        set(&mut disk, boat(), "/shared/c", Some(&"x".repeat(100))).unwrap();
        set(&mut disk, boat(), "/private/a", None).unwrap();
        set(&mut disk, boat(), "/shared/d", Some("x")).unwrap();
        assert_eq!(shown(&mut disk, boat()).len(), 3);
        let nowhere = Annotated::Mailbox(name("Nowhere"));
        assert_eq!(set(&mut disk, nowhere, COMMENT, Some("x")), Err(StoreErrorKind::NotFound));
    }

    #[test]
    fn damage_is_told_and_costs_no_more_than_its_lines() {
        let mut disk = disk_with_boat();
        set_all(&mut disk, boat(), &[(COMMENT, Some("one")), ("/shared/x", Some("two"))]).unwrap().unwrap();
        let mut file = disk.read(FILE).unwrap();
        *file.last_mut().unwrap() = 0;
        disk.put_file(FILE, &file);
        let read = found(&mut disk, boat());
        assert_eq!(
            (read.entries.len(), read.damage.map(|error| error.kind)),
            (1, Some(StoreErrorKind::Damaged))
        );
        set(&mut disk, boat(), "/shared/x", Some("two again")).unwrap();
        assert_eq!(found(&mut disk, boat()).damage, None);
        assert_eq!(shown(&mut disk, boat()), ["/private/comment one", "/shared/x two again"]);
        disk.put_file(FILE, b"postier.properties 2\n");
        assert_eq!(set(&mut disk, boat(), COMMENT, Some("x")), Err(StoreErrorKind::Cannot));
        assert_eq!(disk.read(FILE).unwrap(), b"postier.properties 2\n");
        assert_eq!(uses(&mut disk), ["Sent \\Sent"]);
    }

    #[test]
    fn a_use_that_is_given_counts_more_than_a_name() {
        let mut disk = disk_with_boat();
        create(&mut disk, "Gesendet", Some(SpecialUse::Sent)).unwrap().unwrap();
        create(&mut disk, "Old", Some(SpecialUse::Archive)).unwrap().unwrap();
        disk.restart();
        assert_eq!(uses(&mut disk), ["Gesendet \\Sent", "Old \\Archive"]);
        let annotated = |name_of: &str| Annotated::Mailbox(name(name_of));
        assert_eq!(shown(&mut disk, annotated("Gesendet")), ["/private/specialuse \\Sent"]);
        assert!(shown(&mut disk, annotated("Sent")).is_empty());
        // One mailbox has it; it is not made then.
        let again = create(&mut disk, "More", Some(SpecialUse::Archive)).unwrap().unwrap_err();
        assert_eq!(again.kind, StoreErrorKind::SpecialUse);
        assert!(disk.stat("/m/.More").is_none());
        let other = set(&mut disk, boat(), "/private/specialuse", Some("\\Archive"));
        assert_eq!(other, Err(StoreErrorKind::SpecialUse));
        for bad in ["\\Archive \\Junk", "Archive", "\\All"] {
            let refused = set(&mut disk, boat(), "/private/specialuse", Some(bad));
            assert_eq!(refused, Err(StoreErrorKind::SpecialUse), "{bad}");
        }
        let inbox =
            set(&mut disk, Annotated::Mailbox(FolderName::inbox()), "/private/specialuse", Some("\\Junk"));
        assert_eq!(inbox, Err(StoreErrorKind::SpecialUse));
        set(&mut disk, boat(), "/private/specialuse", Some("\\junk")).unwrap();
        set(&mut disk, annotated("Gesendet"), "/private/specialuse", None).unwrap();
        assert_eq!(uses(&mut disk), ["Boat \\Junk", "Old \\Archive", "Sent \\Sent"]);
        assert_eq!(shown(&mut disk, annotated("Sent")), ["/private/specialuse \\Sent"]);
        // Nor has one a use by its name that was told to have none.
        set(&mut disk, annotated("Sent"), "/private/specialuse", None).unwrap();
        disk.restart();
        assert_eq!(uses(&mut disk), ["Boat \\Junk", "Old \\Archive"]);
        assert!(shown(&mut disk, annotated("Sent")).is_empty());
    }

    #[test]
    fn a_creation_with_a_use_that_fails_leaves_nothing() {
        let mut whole = disk_with_boat();
        create(&mut whole, "Old", Some(SpecialUse::Archive)).unwrap().unwrap();
        for at in 0..whole.ops {
            let mut disk = disk_with_boat();
            disk.fail_at = Some((at, Errno::NoSpace));
            let created = create(&mut disk, "Old", Some(SpecialUse::Archive)).unwrap();
            disk.fail_at = None;
            let there = uses(&mut disk).contains(&"Old \\Archive".into());
            assert_eq!(created.is_ok(), there, "operation {at}");
            assert!(there || disk.stat("/m/.Old").is_none(), "operation {at}");
        }
    }
}
