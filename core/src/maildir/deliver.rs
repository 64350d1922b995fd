//! Delivery: one message into the mailboxes of one or more users, durable and visible, or not at all.
//!
//! States on disk, for each target, and the moves between them:
//!
//! ```text
//! nothing ─create, write (first target); link or copy (others)─▶ tmp/<name>           all targets, before any goes on
//! tmp/<name> ─rename, never over another file─▶ new/<name>,S=…,W=…                    visible
//! new/<name>… ─sync of the directory─▶ the same, durable                              all targets: success
//! ```
//!
//! A name in `new/` never stands for less than the message: before the rename the octets are synced, or written ahead of
//! the name where the file system keeps that order ([`Disk::sync_with_name`]).
//!
//! If anything fails, the copies that are visible already are removed again, and those in `tmp/` too. After a
//! crash, what is left in `tmp/` is debris that a later look cleans away. No lock is needed to deliver.
//!
//! Deliveries that come together share nothing but the kernel: each syncs `new/` itself, for only a sync that begins
//! after a rename counts for it. File systems do the sharing where they can (a journal commits once for all who
//! wait); to queue for one another's syncs in the process as well makes mail wait longer and saves no CPU time.
//! They share `tmp/` too: a directory for each of those under way takes a queue away where the sync of a new file writes
//! its directory as well (ext4 without a journal), and ten sessions into one mailbox were no faster for it.
//!
//! Where the message is promised already, for the queue has it, a mailbox that fails takes nothing away from the others:
//! `each`.
//!
//! ```
//! # use std::sync::Arc;
//! # use postier_core::disk::{Op, Resume, Task, TaskInput, TaskStep};
//! # use postier_core::maildir::context::{HostFacts, Root, StoreContext};
//! # use postier_core::maildir::folder::FolderName;
//! # let facts = HostFacts { host: b"mx".to_vec(), pid: 7, ..HostFacts::default() };
//! # let context = Arc::new(StoreContext::new(facts));
//! # let root = Root::new(b"/mail/you");
//! use postier_core::maildir::deliver::{DeliveryTarget, deliver};
//!
//! let inbox = DeliveryTarget { root, folder: FolderName::inbox(), quota: None };
//! let mut task = Task::new(|disk| deliver(disk, context, vec![inbox]));
//! task.push_input(TaskInput::Chunk(b"Subject: hello\n\nhow are you?\n".to_vec()));
//! task.push_input(TaskInput::Commit);
//! let opens = Op::OpenRoot { path: b"/mail/you".to_vec(), create: false };
//! assert!(matches!(task.resume(Resume::Start), TaskStep::Op(op) if op == opens));
//! ```

mod each;

pub(crate) use self::each::{Each, deliver_each, has_had, take_back_each};

use super::account;
use super::body::{Body, Source, Staged, link_or_copy, stage_from};
use super::context::{At, Root, StoreContext, StoreError, StoreErrorKind};
use super::durable;
use super::folder::FolderName;
use super::maildirsize::{self, Delta};
use super::quota::usage_at;
use super::scope::Scope;
use crate::disk::{Disk, Errno, Handle};
use crate::site::{Quota, Room, Usage};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Where a copy goes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DeliveryTarget {
    /// Whose mail.
    pub root: Root,
    /// Which mailbox; it must exist unless it is INBOX.
    pub folder: FolderName,
    /// How much mail this user may have. It is kept where the message goes to nobody else: a message for several is
    /// let in, once, rather than lost for all.
    pub quota: Option<Quota>,
}

/// What was delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// Octets of the file.
    pub size: u64,
    /// Octets with CRLF line ends.
    pub wire_size: u64,
    /// The base name, the same in all mailboxes.
    pub base: Box<[u8]>,
}

/// Delivers the message that comes as input, LF line ends and trace fields in place, to all targets or none.
/// A target that is named twice gets one copy. A Maildir that does not exist is made
/// ([`account::create_account`]).
///
/// Success means: durable in every target.
///
/// # Errors
/// [`StoreError`]; nothing is left visible, as far as removing it works.
pub async fn deliver(
    disk: Disk,
    context: Arc<StoreContext>,
    targets: Vec<DeliveryTarget>,
) -> Result<Delivered, StoreError> {
    let body = Body::gather(&disk).await?;
    let mut scope = Scope::new(disk);
    let result = deliver_to(&mut scope, &context, targets, Message::Body(body)).await;
    scope.finish().await;
    result
}

/// A message to deliver.
pub(crate) enum Message<'m> {
    /// One that is coming in, or in memory.
    Body(Body),
    /// One that lies in a file.
    File(Source<'m>),
}

/// Delivers a message as [`deliver`] does.
///
/// # Errors
/// [`StoreError`]; nothing is left visible, as far as removing it works.
pub(crate) async fn deliver_to(
    scope: &mut Scope,
    context: &StoreContext,
    mut targets: Vec<DeliveryTarget>,
    message: Message<'_>,
) -> Result<Delivered, StoreError> {
    targets.sort();
    targets.dedup();
    let (first, others) = targets.split_first().ok_or(StoreError::new(StoreErrorKind::Cannot, b""))?;
    let place = open_place(scope, context, first).await?;
    let staged = match message {
        Message::Body(mut body) => body.store(scope, context, place.tmp, None).await?,
        Message::File(source) => stage_from(scope, context, &source, place.tmp).await?,
    };
    if let Err(full) = check_room(scope, context, place, first, others, &staged).await {
        let _ = scope.disk.unlink(place.tmp, &staged.temporary).await;
        return Err(full);
    }
    let mut progress = Progress { staged: 0, visible: 0, first_visible: false };
    let result = show_everywhere(scope, context, place, others, &staged, &mut progress).await;
    if result.is_err() {
        undo(scope, context, place, others, &staged, &progress).await;
    }
    result.map(|()| Delivered { size: staged.size, wire_size: staged.wire_size, base: staged.base })
}

/// Whether the only one who gets the message has room for it, now that its size is known.
async fn check_room(
    scope: &mut Scope,
    context: &StoreContext,
    place: Place,
    target: &DeliveryTarget,
    others: &[DeliveryTarget],
    staged: &Staged,
) -> Result<(), StoreError> {
    let Some(quota) = target.quota.filter(|_| others.is_empty()) else { return Ok(()) };
    let more = Usage { bytes: staged.size, messages: 1 };
    let used = usage_at(scope, context, &target.root, place.root, quota, more).await?;
    match quota.room_for(used, more) {
        Room::Enough => Ok(()),
        Room::Full => Err(StoreError::new(StoreErrorKind::MailboxFull, &target.root.path)),
        Room::Never => Err(StoreError::new(StoreErrorKind::MailboxTooSmall, &target.root.path)),
    }
}

/// The two directories of a mailbox that a delivery touches.
#[derive(Clone, Copy)]
struct Place {
    root: Handle,
    tmp: Handle,
    new: Handle,
}

/// How far a delivery has come: what there is to undo.
struct Progress {
    /// How many of the other targets have the message in `tmp/` or further.
    staged: usize,
    /// How many of the other targets may have it in `new/`.
    visible: usize,
    first_visible: bool,
}

async fn show_everywhere(
    scope: &Scope,
    context: &StoreContext,
    place: Place,
    others: &[DeliveryTarget],
    staged: &Staged,
    progress: &mut Progress,
) -> Result<(), StoreError> {
    let disk = &scope.disk;
    for target in others {
        // Each target has a scope of its own: a message to a thousand users does not hold their directories
        // open.
        let mut scope = Scope::new(disk.clone());
        let result = stage_copy(&mut scope, context, place, target, staged).await;
        scope.finish().await;
        result?;
        progress.staged += 1;
    }
    progress.first_visible = true;
    show(disk, place, staged).await?;
    for target in others {
        progress.visible += 1;
        let mut scope = Scope::new(disk.clone());
        let result = match open_place(&mut scope, context, target).await {
            Ok(place) => show(disk, place, staged).await,
            Err(error) => Err(error),
        };
        scope.finish().await;
        result?;
    }
    Ok(())
}

async fn stage_copy(
    scope: &mut Scope,
    context: &StoreContext,
    first: Place,
    target: &DeliveryTarget,
    staged: &Staged,
) -> Result<(), StoreError> {
    let place = open_place(scope, context, target).await?;
    link_or_copy(scope, first.tmp, &staged.temporary, place.tmp, &staged.temporary).await
}

/// Makes a staged copy visible, durably.
async fn show(disk: &Disk, place: Place, staged: &Staged) -> Result<(), StoreError> {
    disk.rename(place.tmp, &staged.temporary, place.new, &staged.base).await.at(&staged.base)?;
    Delta::came([Some(staged.size)].into_iter()).note(disk, place.root).await;
    disk.sync_dir(place.new).await.at(b"new")
}

async fn undo(
    scope: &Scope,
    context: &StoreContext,
    place: Place,
    others: &[DeliveryTarget],
    staged: &Staged,
    progress: &Progress,
) {
    let disk = &scope.disk;
    take_back(disk, place, staged, progress.first_visible).await;
    for (index, target) in others.iter().take(progress.staged).enumerate() {
        let mut scope = Scope::new(disk.clone());
        if let Ok(place) = open_place(&mut scope, context, target).await {
            take_back(disk, place, staged, index < progress.visible).await;
        }
        scope.finish().await;
    }
}

async fn take_back(disk: &Disk, place: Place, staged: &Staged, visible: bool) {
    // A name in `new/` may have been ours to give or not yet: the name is unique, so whatever has it is ours.
    let removed = visible && disk.unlink(place.new, &staged.base).await.is_ok();
    if visible {
        maildirsize::forget(disk, place.root).await;
    }
    if !removed {
        let _ = disk.unlink(place.tmp, &staged.temporary).await;
    }
}

async fn open_place(
    scope: &mut Scope,
    context: &StoreContext,
    target: &DeliveryTarget,
) -> Result<Place, StoreError> {
    if let Some(place) = try_open_place(scope, context, target).await? {
        return Ok(place);
    }
    account::create(scope, context, &target.root).await?;
    match try_open_place(scope, context, target).await? {
        Some(place) => Ok(place),
        None => Err(StoreError::new(StoreErrorKind::NotFound, target.folder.as_bytes())),
    }
}

/// `None` if there is no root, or no Maildir in it.
async fn try_open_place(
    scope: &mut Scope,
    context: &StoreContext,
    target: &DeliveryTarget,
) -> Result<Option<Place>, StoreError> {
    let root = match scope.disk.open_root(&target.root.path, false).await {
        Ok(handle) => scope.hold(handle),
        Err(Errno::NotFound) => return Ok(None),
        Err(errno) => return Err(errno).at(&target.root.path),
    };
    let mailbox = scope.open_mailbox(root, &target.folder).await?;
    let parts = match (scope.open_dir(mailbox, b"tmp").await, scope.open_dir(mailbox, b"new").await) {
        (Ok(tmp), Ok(new)) => (tmp, new),
        (Err(Errno::NotFound), _) | (_, Err(Errno::NotFound)) if target.folder.is_inbox() => return Ok(None),
        (Ok(_) | Err(Errno::NotFound), Ok(_) | Err(Errno::NotFound)) => {
            let (durable, root) = (context.durable(), &target.root);
            let tmp = durable::open_part(scope, durable, root, mailbox, b"tmp").await?;
            (tmp, durable::open_part(scope, durable, root, mailbox, b"new").await?)
        }
        (Err(errno), _) | (_, Err(errno)) => return Err(errno).at(&target.root.path),
    };
    let durable = context.durable();
    durable::make_sure(&scope.disk.clone(), durable, &target.root, root, &target.folder, mailbox).await?;
    let (tmp, new) = parts;
    Ok(Some(Place { root, tmp, new }))
}

#[cfg(test)]
mod tests {
    use super::super::memdisk::{MemDisk, context, root};
    use super::*;
    use crate::disk::TaskInput;
    use std::format;
    use std::string::String;

    fn message(chunks: &[&[u8]]) -> Vec<TaskInput> {
        let chunks = chunks.iter().map(|chunk| TaskInput::Chunk(chunk.to_vec()));
        chunks.chain([TaskInput::Commit]).collect()
    }

    fn targets(count: usize) -> Vec<DeliveryTarget> {
        let root = |index: usize| Root::new(format!("/u{index}").as_bytes());
        (0..count)
            .map(|index| DeliveryTarget { root: root(index), folder: FolderName::inbox(), quota: None })
            .collect()
    }

    fn disk_with_users(count: usize) -> MemDisk {
        let mut disk = MemDisk::empty();
        for index in 0..count {
            disk.make_root(format!("/u{index}").as_bytes());
            for part in ["cur", "new", "tmp"] {
                disk.put_dir(&format!("/u{index}/{part}"));
            }
        }
        disk
    }

    fn run(
        disk: &mut MemDisk,
        inputs: Vec<TaskInput>,
        targets: Vec<DeliveryTarget>,
    ) -> Option<Result<Delivered, StoreError>> {
        let context = Arc::new(context());
        disk.run(inputs, move |disk| deliver(disk, context, targets))
    }

    #[test]
    fn one_small_message_costs_nine_operations() {
        let mut disk = MemDisk::with_maildir();
        let context = Arc::new(context());
        let mut deliver = || {
            let (context, inbox) =
                (context.clone(), DeliveryTarget { root: root(), folder: FolderName::inbox(), quota: None });
            disk.run(message(&[b"a\n", b"b\n"]), move |disk| deliver(disk, context, Vec::from([inbox])))
        };
        // The first of a process makes sure that the Maildir is durable.
        let first = deliver().unwrap().unwrap();
        let delivered = deliver().unwrap().unwrap();
        assert_ne!(first.base, delivered.base);
        assert_eq!((delivered.size, delivered.wire_size), (4, 6));
        assert_eq!(
            disk.counted_log(),
            ["OpenRoot", "OpenDir", "OpenDir", "Create", "Write", "Order", "Rename", "OpenAppend", "SyncDir"]
        );
        disk.restart();
        assert_eq!(disk.contents("/m/new"), [b"a\nb\n", b"a\nb\n"]);
        assert!(disk.names("/m/new").contains(&String::from_utf8_lossy(&delivered.base).into_owned()));
        assert!(delivered.base.ends_with(b",S=4,W=6") && disk.names("/m/tmp").is_empty());
    }

    #[test]
    fn where_octets_are_not_kept_ahead_of_names_the_file_is_synced_before_its_name() {
        let mut disk = disk_with_users(1).with_order(false);
        run(&mut disk, message(&[b"a\n"]), targets(1)).unwrap().unwrap();
        let log = disk.counted_log();
        assert!(log.windows(3).any(|ops| ops == ["Order", "Sync", "Rename"]), "{log:?}");
    }

    #[test]
    fn a_large_message_is_written_in_pieces() {
        let mut disk = disk_with_users(1);
        let chunk = [b'x'; 70_000];
        let delivered =
            run(&mut disk, message(&[&chunk, &chunk, &chunk, b"\n"]), targets(1)).unwrap().unwrap();
        assert_eq!((delivered.size, delivered.wire_size), (210_001, 210_002));
        assert_eq!(disk.log.iter().filter(|name| *name == "Write").count(), 2);
        assert_eq!(disk.contents("/u0/new")[0].len(), 210_001);
    }

    #[test]
    fn who_has_no_room_gets_nothing_and_several_get_all() {
        let limited = |bytes| {
            let quota = Some(Quota { bytes: Some(bytes), messages: None });
            targets(1).into_iter().map(|target| DeliveryTarget { quota, ..target }).collect::<Vec<_>>()
        };
        let mut disk = disk_with_users(2);
        run(&mut disk, message(&[b"a\nb\n"]), limited(7)).unwrap().unwrap();
        let full = |disk: &mut MemDisk, targets| {
            let error = run(disk, message(&[b"a\nb\n"]), targets).unwrap().unwrap_err();
            assert!(disk.names("/u0/tmp").is_empty() && disk.contents("/u0/new").len() == 1);
            error.kind
        };
        assert_eq!(full(&mut disk, limited(7)), StoreErrorKind::MailboxFull);
        assert_eq!(full(&mut disk, limited(3)), StoreErrorKind::MailboxTooSmall);
        // With another one it is let in.
        let both = [limited(7), targets(2).split_off(1)].concat();
        run(&mut disk, message(&[b"a\n"]), both).unwrap().unwrap();
        assert_eq!((disk.contents("/u0/new").len(), disk.contents("/u1/new").len()), (2, 1));
        // It is in the account of the last who asked.
        assert_eq!(full_lines(&disk), "3S\n4 1\n2 1\n");
    }

    fn full_lines(disk: &MemDisk) -> String {
        String::from_utf8(disk.read("/u0/maildirsize").unwrap()).unwrap()
    }

    #[test]
    fn an_abort_leaves_nothing() {
        let mut disk = disk_with_users(1);
        let abort = |chunks: &[&[u8]]| {
            let chunks = chunks.iter().map(|chunk| TaskInput::Chunk(chunk.to_vec()));
            chunks.chain([TaskInput::Abort]).collect::<Vec<_>>()
        };
        for inputs in [abort(&[]), abort(&[b"a"]), abort(&[&[b'x'; 200_000], b"y"])] {
            let error = run(&mut disk, inputs, targets(1)).unwrap().unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Aborted);
            assert!(disk.names("/u0/new").is_empty() && disk.names("/u0/tmp").is_empty());
        }
    }

    #[test]
    fn a_missing_maildir_is_made_with_its_mailboxes() {
        let mut disk = MemDisk::empty();
        run(&mut disk, message(&[b"a\n"]), targets(2)).unwrap().unwrap();
        disk.restart();
        for user in ["/u0", "/u1"] {
            assert_eq!(disk.contents(&format!("{user}/new")), [b"a\n"]);
            assert!(!disk.names(&format!("{user}/.Sent/cur")).iter().any(|_| true));
            assert!(disk.names(user).iter().any(|name| name == "subscriptions"));
        }
    }

    #[test]
    fn all_targets_share_one_file_and_one_named_twice_gets_one_copy() {
        let mut disk = disk_with_users(3);
        let twice = [targets(3), targets(3)].concat();
        let delivered = run(&mut disk, message(&[b"a\n"]), twice).unwrap().unwrap();
        let name = String::from_utf8_lossy(&delivered.base).into_owned();
        let inodes: Vec<u64> =
            (0..3).map(|user| disk.stat(&format!("/u{user}/new/{name}")).unwrap().inode).collect();
        assert!(inodes.iter().all(|inode| *inode == inodes[0]));
        assert!((0..3).all(|user| disk.names(&format!("/u{user}/new")).len() == 1));
    }

    #[test]
    fn where_no_link_can_be_a_copy_is_made() {
        let mut disk = disk_with_users(2);
        run(&mut disk, message(&[b"a\n"]), targets(2)).unwrap().unwrap();
        let link = disk.counted_log().iter().position(|name| *name == "Link").unwrap();
        let mut disk = disk_with_users(2);
        disk.fail_at = Some((link, Errno::CrossDevice));
        run(&mut disk, message(&[b"a\n"]), targets(2)).unwrap().unwrap();
        disk.restart();
        assert_eq!(disk.contents("/u1/new"), [b"a\n"]);
        assert!(disk.names("/u1/tmp").is_empty());
    }

    #[test]
    fn whatever_fails_nobody_has_the_message() {
        for count in 1..4 {
            let mut whole = disk_with_users(count);
            run(&mut whole, message(&[b"a\n"]), targets(count)).unwrap().unwrap();
            let note = |at: &usize| whole.counted_log().get(*at) == Some(&"OpenAppend");
            // That the quota file cannot be kept is no failure.
            for at in (0..whole.ops).filter(|at| !note(at)) {
                for errno in [Errno::NoSpace, Errno::Io] {
                    let mut disk = disk_with_users(count);
                    disk.fail_at = Some((at, errno));
                    let error = run(&mut disk, message(&[b"a\n"]), targets(count)).unwrap().unwrap_err();
                    assert_eq!(error.kind, errno.into());
                    for user in 0..count {
                        let left = [format!("/u{user}/new"), format!("/u{user}/tmp")];
                        assert!(left.iter().all(|dir| disk.names(dir).is_empty()), "operation {at}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn after_a_crash_nothing_half_written_is_visible() {
        for keeps_order in [true, false] {
            let fresh = || disk_with_users(2).with_order(keeps_order);
            let mut whole = fresh();
            run(&mut whole, message(&[b"a\n"]), targets(2)).unwrap().unwrap();
            for at in 0..whole.ops {
                let mut disk = fresh();
                disk.crash_at = Some(at);
                assert!(run(&mut disk, message(&[b"a\n"]), targets(2)).is_none());
                disk.restart();
                for user in 0..2 {
                    assert!(disk.contents(&format!("/u{user}/new")).iter().all(|content| content == b"a\n"));
                }
            }
            whole.restart();
            assert!((0..2).all(|user| whole.contents(&format!("/u{user}/new")) == [b"a\n"]));
        }
    }
}
