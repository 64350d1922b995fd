//! Which directories are known to survive a power cut.
//!
//! A directory that is there need not be there after a power cut: whoever made it may have been killed before it
//! synced the directory above. What an operation promises lies in its mailbox, so before an operation is the first of
//! this process to promise something there, it syncs the mailbox's directory, the root, and the directories above
//! the root, and the process remembers that.
//!
//! What is remembered says nothing of what is made later. While directories are made nothing is remembered at all, and
//! those below the root where it happens are forgotten, with those above if the root itself is made.
//!
//! Directories above the root that we may not open are not ours: whoever made them has made them durable.

use super::context::{At, Root, StoreError};
use super::folder::FolderName;
use super::scope::Scope;
use crate::disk::{Disk, Errno, Handle};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Bound;
use spin::Mutex;

/// So many directories are remembered; with one more, all are forgotten.
const REMEMBERED_MAX: usize = 64 * 1024;

/// The directories that this process has synced.
#[derive(Debug, Default)]
pub(super) struct Durable(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    /// Absolute paths of directories all of whose entries were synced, and their own in all above.
    paths: BTreeSet<Box<[u8]>>,
    /// How many operations make directories now.
    making: u32,
    /// How many have begun.
    begun: u64,
}

/// As long as it lives, an operation makes directories.
#[derive(Debug)]
pub(super) struct Making<'d>(&'d Durable);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.0.lock().making -= 1;
    }
}

impl Durable {
    /// Directories are going to be made below a root.
    pub(super) fn begin_making(&self, root: &Root) -> Making<'_> {
        let mut remembered = self.0.lock();
        remembered.making += 1;
        remembered.begun += 1;
        remembered.forget_below(&root.path);
        Making(self)
    }

    /// The root itself is going to be made, perhaps with directories above it.
    pub(super) fn begin_making_root(&self, root: &Root) -> Making<'_> {
        let making = self.begin_making(root);
        let mut remembered = self.0.lock();
        for above in above(&root.path) {
            remembered.paths.remove(above);
        }
        making
    }

    /// A mailbox's directory has, or gets, another name, or a root is not there: what is below the root must be synced
    /// again.
    pub(super) fn forget(&self, root: &Root) {
        let mut remembered = self.0.lock();
        remembered.begun += 1;
        remembered.forget_below(&root.path);
    }

    fn knows(&self, path: &[u8]) -> bool {
        self.0.lock().paths.contains(path)
    }

    /// To be taken before the syncs that make something worth remembering.
    fn begun(&self) -> u64 {
        self.0.lock().begun
    }

    fn remember(&self, path: &[u8], begun: u64) {
        let mut remembered = self.0.lock();
        if remembered.making > 0 || remembered.begun != begun {
            return;
        }
        if remembered.paths.len() >= REMEMBERED_MAX {
            remembered.paths.clear();
        }
        remembered.paths.insert(path.into());
    }
}

impl Remembered {
    fn forget_below(&mut self, root: &[u8]) {
        let from = (Bound::Included(root), Bound::Unbounded);
        let below = self.paths.range::<[u8], _>(from).take_while(|path| path.starts_with(root));
        let below: Vec<Box<[u8]>> = below.cloned().collect();
        for path in below {
            self.paths.remove(&path);
        }
    }
}

/// The directories above a path, the nearest first.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().rev().filter(|(_, octet)| **octet == b'/');
    slashes.filter_map(move |(at, _)| path.get(..at.max(1))).filter(move |above| *above != path)
}

/// Opens `cur`, `new` or `tmp` of a mailbox, making it if a delivery agent or a crash left it out.
///
/// It may be there because another operation has just made it, and may not be durable then. So whoever promises
/// something in it makes sure of the mailbox after this, not before ([`make_sure`]).
pub(super) async fn open_part(
    scope: &mut Scope,
    durable: &Durable,
    root: &Root,
    mailbox: Handle,
    name: &[u8],
) -> Result<Handle, StoreError> {
    match scope.open_dir(mailbox, name).await {
        Err(Errno::NotFound) => {
            let _making = durable.begin_making(root);
            scope.open_or_make_dir(mailbox, name).await
        }
        opened => opened.at(name),
    }
}

/// Makes sure that a mailbox is there after a power cut. `top` is its root, `mailbox` its own directory.
///
/// # Errors
/// What the disk says to a sync; nothing may be promised then.
pub(super) async fn make_sure(
    disk: &Disk,
    durable: &Durable,
    root: &Root,
    top: Handle,
    folder: &FolderName,
    mailbox: Handle,
) -> Result<(), StoreError> {
    if folder.is_inbox() {
        if durable.knows(&root.path) {
            return Ok(());
        }
    } else {
        let directory = folder.directory();
        let path = [&*root.path, b"/", &directory].concat();
        if durable.knows(&path) {
            return Ok(());
        }
        let begun = durable.begun();
        disk.sync_dir(mailbox).await.at(&directory)?;
        make_root_sure(disk, durable, root, top).await?;
        durable.remember(&path, begun);
        return Ok(());
    }
    make_root_sure(disk, durable, root, top).await
}

/// Syncs a root, whatever is remembered of it, and those directories above it of which nothing is remembered.
async fn make_root_sure(disk: &Disk, durable: &Durable, root: &Root, top: Handle) -> Result<(), StoreError> {
    let begun = durable.begun();
    disk.sync_dir(top).await.at(&root.path)?;
    sync_above(disk, durable, root).await?;
    durable.remember(&root.path, begun);
    Ok(())
}

/// Makes the directories above a root durable, without remembering it.
pub(crate) async fn make_above_sure(disk: &Disk, root: &Root) -> Result<(), StoreError> {
    sync_above(disk, &Durable::default(), root).await
}

async fn sync_above(disk: &Disk, durable: &Durable, root: &Root) -> Result<(), StoreError> {
    for above in above(&root.path) {
        if durable.knows(above) {
            continue;
        }
        let begun = durable.begun();
        match sync_path(disk, above).await {
            Ok(()) => durable.remember(above, begun),
            // Not ours, or a file system that has no syncs of directories.
            Err(Errno::NotFound | Errno::Access | Errno::ReadOnly | Errno::Other(_)) => {}
            Err(errno) => return Err(errno).at(above),
        }
    }
    Ok(())
}

async fn sync_path(disk: &Disk, path: &[u8]) -> Result<(), Errno> {
    let dir = disk.open_root(path, false).await?;
    let synced = disk.sync_dir(dir).await;
    disk.close(dir).await;
    synced
}

#[cfg(test)]
mod tests {
    use super::super::account::create_account;
    use super::super::append::{Append, commit_append, stage_append};
    use super::super::deliver::{DeliveryTarget, deliver};
    use super::super::folders;
    use super::super::memdisk::{MemDisk, Stopped, context, root};
    use super::super::sync::{SyncMode, Synced, sync};
    use super::*;
    use crate::disk::{Op, Resume, Task, TaskInput};
    use crate::imap::flag::FlagList;
    use crate::maildir::context::{StoreContext, StoreErrorKind};
    use alloc::sync::Arc;
    use std::format;

    fn message() -> Vec<TaskInput> {
        Vec::from([TaskInput::Chunk(b"a\n".to_vec()), TaskInput::Commit])
    }

    fn delivery(disk: &mut MemDisk, context: &Arc<StoreContext>, folder: &str) {
        let target = DeliveryTarget { root: root(), folder: folder_named(folder), quota: None };
        let context = context.clone();
        disk.run(message(), move |disk| deliver(disk, context, Vec::from([target]))).unwrap().unwrap();
    }

    fn folder_named(name: &str) -> FolderName {
        if name.is_empty() { FolderName::inbox() } else { FolderName::new(name.as_bytes()).unwrap() }
    }

    /// Disks on which a process was killed at every step of making a mailbox.
    fn killed_while_making(folder: &'static str) -> Vec<MemDisk> {
        let make = move |disk: &mut MemDisk| {
            let context = Arc::new(context());
            let folder = folder_named(folder);
            match folder.is_inbox() {
                true => disk.run(Vec::new(), move |disk| create_account(disk, context, root())).map(drop),
                false => disk
                    .run(Vec::new(), move |disk| folders::create(disk, context, root(), folder, None))
                    .map(drop),
            }
        };
        let fresh = || {
            let mut disk = if folder.is_empty() { MemDisk::empty() } else { MemDisk::with_maildir() };
            if folder.is_empty() {
                disk.make_root(b"/m");
            }
            disk
        };
        let mut whole = fresh();
        make(&mut whole);
        (0..whole.ops)
            .map(|at| {
                let mut disk = fresh();
                disk.crash_at = Some(at);
                make(&mut disk);
                disk.kill();
                // A lock that it has left is stale by now.
                disk.advance(600_000_000);
                disk
            })
            .collect()
    }

    #[test]
    fn a_delivery_into_what_a_killed_process_has_left_is_durable() {
        for mut disk in killed_while_making("") {
            delivery(&mut disk, &Arc::new(context()), "");
            disk.restart();
            assert_eq!(disk.contents("/m/new"), [b"a\n"]);
        }
        for mut disk in killed_while_making("x") {
            if disk.stat("/m/.x/cur").is_none() {
                continue;
            }
            delivery(&mut disk, &Arc::new(context()), "x");
            disk.restart();
            assert_eq!(disk.contents("/m/.x/new"), [b"a\n"]);
        }
    }

    #[test]
    fn an_append_and_a_subscription_too_and_that_a_mailbox_exists() {
        for mut disk in killed_while_making("x") {
            if disk.stat("/m/.x/cur").is_none() {
                continue;
            }
            let context = Arc::new(context());
            let mut other = disk.clone();
            let (ctx, folder) = (context.clone(), folder_named("x"));
            let made =
                other.run(Vec::new(), move |disk| folders::create(disk, ctx, root(), folder, None)).unwrap();
            assert_eq!(made.unwrap_err().kind, StoreErrorKind::AlreadyExists);
            other.restart();
            assert!(other.stat("/m/.x/cur").is_some());

            let (ctx, folder) = (context.clone(), folder_named("x"));
            let staged = disk.run(message(), move |disk| stage_append(disk, ctx, root(), folder, None));
            let message = Append { staged: staged.unwrap().unwrap(), flags: FlagList::default() };
            let commit = move |disk| {
                commit_append(disk, context, root(), folder_named("x"), None, Vec::from([message]))
            };
            disk.run(Vec::new(), commit).unwrap().unwrap();
            disk.restart();
            assert_eq!(disk.names("/m/.x/cur").len() + disk.names("/m/.x/new").len(), 1);
        }
        for mut disk in killed_while_making("") {
            let (ctx, folder) = (Arc::new(context()), folder_named("x"));
            disk.run(Vec::new(), move |disk| folders::subscribe(disk, ctx, root(), folder, true))
                .unwrap()
                .unwrap();
            disk.restart();
            assert!(disk.stat("/m/cur").is_some() && disk.read("/m/subscriptions").is_some());
        }
    }

    /// Runs a look at INBOX, which makes `new/`, up to the moment when that is done and not yet synced.
    fn stopped_while_making_new(
        disk: &mut MemDisk,
        context: &Arc<StoreContext>,
    ) -> Task<Result<Synced, StoreError>> {
        let context = context.clone();
        let look = |disk| sync(disk, context, root(), FolderName::inbox(), None, SyncMode::default());
        let mut task = Task::new(look);
        let mut made = false;
        let stopped = disk.drive_up_to(&mut task, Resume::Start, |op| {
            let now = core::mem::replace(&mut made, matches!(op, Op::MakeDir { name, .. } if name == b"new"));
            now && matches!(op, Op::SyncDir { .. })
        });
        assert!(matches!(stopped, Stopped::Before(_)));
        task
    }

    #[test]
    fn a_part_that_another_operation_is_making_is_durable_before_mail_in_it_is_acknowledged() {
        let mut disk = MemDisk::with_maildir();
        let context = Arc::new(context());
        delivery(&mut disk, &context, "");
        // Somebody removes it; the process remembers that all was durable.
        disk.remove_file("/m/new");
        let _making = stopped_while_making_new(&mut disk, &context);
        disk.handed_out = None;
        delivery(&mut disk, &context, "");
        disk.restart();
        assert_eq!(disk.contents("/m/new"), [b"a\n"]);
    }

    #[test]
    fn nor_one_that_was_made_since_the_lock_was_taken() {
        let appended = |stop: usize| -> Option<MemDisk> {
            let mut disk = MemDisk::with_maildir();
            let context = Arc::new(context());
            delivery(&mut disk, &context, "");
            let ctx = context.clone();
            let look = |disk| sync(disk, ctx, root(), FolderName::inbox(), None, SyncMode::default());
            let state = disk.run(Vec::new(), look).unwrap().unwrap().state;
            let ctx = context.clone();
            let stage = |disk| stage_append(disk, ctx, root(), FolderName::inbox(), None);
            let staged = disk.run(message(), stage).unwrap().unwrap();
            disk.remove_file("/m/new");
            let ctx = context.clone();
            let messages = Vec::from([Append { staged, flags: FlagList::default() }]);
            let commit = |disk| commit_append(disk, ctx, root(), FolderName::inbox(), state, messages);
            let mut task = Task::new(commit);
            let mut left = stop;
            let next = disk.drive_up_to(&mut task, Resume::Start, |_| {
                let now = left == 0;
                left = left.wrapping_sub(1);
                now
            });
            let Stopped::Before(op) = next else { return None };
            disk.handed_out = None;
            let _making =
                (disk.stat("/m/new").is_none()).then(|| stopped_while_making_new(&mut disk, &context));
            disk.go_on(&mut task, op).unwrap();
            disk.restart();
            Some(disk)
        };
        let mut stops = 0;
        while let Some(disk) = appended(stops) {
            assert_eq!(disk.contents("/m/new"), [b"a\n"], "stopped before operation {stops}");
            stops += 1;
        }
        assert!(stops > 10);
    }

    #[test]
    fn the_second_delivery_of_a_process_syncs_no_more_than_its_own() {
        let mut disk = MemDisk::with_maildir();
        let context = Arc::new(context());
        let syncs = |disk: &MemDisk| disk.log.iter().filter(|name| *name == "SyncDir").count();
        delivery(&mut disk, &context, "");
        assert_eq!(syncs(&disk), 2);
        delivery(&mut disk, &context, "");
        assert_eq!(syncs(&disk), 1);
        let making = context.durable().begin_making(&root());
        delivery(&mut disk, &context, "");
        delivery(&mut disk, &context, "");
        assert_eq!(syncs(&disk), 2, "while directories are made nothing is remembered");
        drop(making);
        delivery(&mut disk, &context, "");
        delivery(&mut disk, &context, "");
        assert_eq!(syncs(&disk), 1);
    }

    #[test]
    fn a_remembered_root_does_not_outlive_a_directory_that_is_being_made() {
        let durable = Durable::default();
        let begun = durable.begun();
        drop(durable.begin_making(&root()));
        durable.remember(b"/m", begun);
        assert!(!durable.knows(b"/m"));
        for path in [&b"/m"[..], b"/m/.x", b"/n", b"/"] {
            durable.remember(path, durable.begun());
        }
        drop(durable.begin_making(&root()));
        assert_eq!(
            [&b"/m"[..], b"/m/.x", b"/n", b"/"].map(|path| durable.knows(path)),
            [false, false, true, true]
        );
        drop(durable.begin_making_root(&root()));
        assert!(durable.knows(b"/n") && !durable.knows(b"/"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let durable = Durable::default();
        for number in 0..=REMEMBERED_MAX {
            durable.remember(format!("/m{number}").as_bytes(), 0);
        }
        assert_eq!(durable.0.lock().paths.len(), 1);
    }

    #[test]
    fn above_a_path_are_all_its_beginnings() {
        let all: Vec<&[u8]> = above(b"/var/mail/you").collect();
        assert_eq!(all, [&b"/var/mail"[..], b"/var", b"/"]);
        assert_eq!(above(b"/m").collect::<Vec<_>>(), [b"/"]);
        assert_eq!(above(b"/").count(), 0);
    }
}
