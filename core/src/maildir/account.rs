//! A user's Maildir as a new account gets it: INBOX, the mailboxes with a special use, all subscribed.
//!
//! Every step may find its work done already, by an earlier attempt or another program, so that a creation
//! which a crash cut short is completed by the next.
//!
//! ```
//! use std::sync::Arc;
//! use postier_core::disk::{Op, Resume, Task, TaskStep};
//! use postier_core::maildir::context::{HostFacts, Root, StoreContext};
//! use postier_core::maildir::account::create_account;
//!
//! let facts = HostFacts { host: b"mx".to_vec(), pid: 7, ..HostFacts::default() };
//! let context = Arc::new(StoreContext::new(facts));
//! let mut task = Task::new(|disk| create_account(disk, context, Root::new(b"/mail/you")));
//! let looks = Op::OpenRoot { path: b"/mail/you".to_vec(), create: false };
//! assert!(matches!(task.resume(Resume::Start), TaskStep::Op(op) if op == looks));
//! ```

use super::context::{At, Root, StoreContext, StoreError};
use super::folder::SpecialUse;
use super::scope::Scope;
use super::subscriptions::{self, Subscriptions};
use crate::disk::{Disk, Errno, Handle};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The three directories of a Maildir, in the order in which they are made: one with `cur` has the others
/// too.
const PARTS: [&[u8]; 3] = [b"tmp", b"new", b"cur"];

/// The empty file in each mailbox but INBOX by which Maildir++ programs know that it is one.
pub(super) const MAILDIRFOLDER: &[u8] = b"maildirfolder";

/// Makes a user's Maildir, or what of it is missing. The directories above are made too.
///
/// The mailboxes with a special use and the subscriptions are made only along with INBOX: one that its user
/// deleted stays deleted.
///
/// # Errors
/// [`StoreError`]; what was made stays, and the next attempt goes on.
pub async fn create_account(disk: Disk, context: Arc<StoreContext>, root: Root) -> Result<(), StoreError> {
    let mut scope = Scope::new(disk);
    let result = create(&mut scope, &context, &root).await;
    scope.finish().await;
    result
}

/// [`create_account`] within another operation.
pub(super) async fn create(scope: &mut Scope, context: &StoreContext, root: &Root) -> Result<(), StoreError> {
    let disk = scope.disk.clone();
    let making;
    let handle = match disk.open_root(&root.path, false).await {
        Err(Errno::NotFound) => {
            making = context.durable().begin_making_root(root);
            disk.open_root(&root.path, true).await
        }
        opened => {
            making = context.durable().begin_making(root);
            opened
        }
    };
    let top = scope.hold(handle.at(&root.path)?);
    let new_account = match disk.stat(top, b"cur").await {
        Ok(_) => false,
        Err(Errno::NotFound) => true,
        Err(errno) => return Err(errno).at(b"cur"),
    };
    if new_account {
        for usage in SpecialUse::ALL {
            make_mailbox(scope, top, &usage.folder().directory()).await?;
        }
        subscribe_special(scope, top).await?;
    }
    // INBOX's `cur` comes last: it says that all the rest is there.
    make_parts(scope, top).await?;
    let synced = disk.sync_dir(top).await.at(&root.path);
    drop(making);
    synced
}

/// Makes a mailbox's directory with all that belongs into it, or completes it. The caller syncs `root`.
pub(super) async fn make_mailbox(
    scope: &mut Scope,
    root: Handle,
    directory: &[u8],
) -> Result<(), StoreError> {
    let disk = scope.disk.clone();
    or_exists(disk.make_dir(root, directory).await).at(directory)?;
    let mailbox = scope.open_dir(root, directory).await.at(directory)?;
    match disk.create(mailbox, MAILDIRFOLDER).await {
        Ok(file) => disk.close(file).await,
        Err(Errno::Exists) => {}
        Err(errno) => return Err(errno).at(MAILDIRFOLDER),
    }
    make_parts(scope, mailbox).await?;
    scope.close(mailbox).await;
    Ok(())
}

/// Makes `tmp`, `new` and `cur` in a mailbox, and syncs it.
async fn make_parts(scope: &mut Scope, mailbox: Handle) -> Result<(), StoreError> {
    let disk = &scope.disk;
    for part in PARTS {
        or_exists(disk.make_dir(mailbox, part).await).at(part)?;
    }
    disk.sync_dir(mailbox).await.at(b"cur")
}

/// Subscribes to the mailboxes with a special use, unless there are subscriptions already.
///
/// Several mails for a new account may make it at the same time, so the file is written under a name of its own
/// (no other operation of this process has the handle of this root, no other process this moment), and the first
/// one that is whole stays. The lock of the subscriptions would be in the way of all others after a crash here.
async fn subscribe_special(scope: &mut Scope, root: Handle) -> Result<(), StoreError> {
    let disk = scope.disk.clone();
    let mut wanted = Subscriptions::default();
    for usage in SpecialUse::ALL {
        wanted.subscribe(&usage.folder());
    }
    match disk.stat(root, subscriptions::FILE_NAME).await {
        Ok(_) => return Ok(()),
        Err(Errno::NotFound) => {}
        Err(errno) => return Err(errno).at(subscriptions::FILE_NAME),
    }
    let mut content = Vec::new();
    wanted.push(&mut content);
    or_exists(disk.make_dir(root, b"tmp").await).at(b"tmp")?;
    let tmp = scope.open_dir(root, b"tmp").await.at(b"tmp")?;
    let wall = disk.now().await.wall;
    let temporary = format!("{}.M{}.{}.subscriptions", wall.secs, wall.micros, root.0).into_bytes();
    let file = scope.hold(disk.create(tmp, &temporary).await.at(&temporary)?);
    let result = async {
        disk.write(file, content).await?;
        disk.sync_with_name(file).await?;
        disk.rename(tmp, &temporary, root, subscriptions::FILE_NAME).await
    };
    let result = result.await;
    if result.is_err() {
        let _ = disk.unlink(tmp, &temporary).await;
    }
    scope.close(file).await;
    or_exists(result).at(subscriptions::FILE_NAME)
}

fn or_exists(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::Exists) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::memdisk::{MemDisk, context, root};
    use super::*;

    fn create_on(disk: &mut MemDisk) -> Option<Result<(), StoreError>> {
        let context = Arc::new(context());
        disk.run(Vec::new(), move |disk| create_account(disk, context, root()))
    }

    fn assert_whole(disk: &MemDisk) {
        for dir in ["/m", "/m/.Drafts", "/m/.Sent", "/m/.Junk", "/m/.Trash", "/m/.Archive"] {
            let names = disk.names(dir);
            for part in ["cur", "new", "tmp"] {
                assert!(names.iter().any(|name| name == part), "{dir}/{part} is missing");
            }
            assert_eq!(names.iter().any(|name| name == "maildirfolder"), dir != "/m");
        }
        let subscribed = b"V\t2\n\nDrafts\nSent\nJunk\nTrash\nArchive\n";
        assert_eq!(disk.read("/m/subscriptions").as_deref(), Some(&subscribed[..]));
    }

    #[test]
    fn a_new_account_is_whole_and_durable() {
        let mut disk = MemDisk::empty();
        assert_eq!(create_on(&mut disk), Some(Ok(())));
        disk.restart();
        assert_whole(&disk);
    }

    #[test]
    fn a_creation_cut_short_anywhere_is_completed_by_the_next() {
        let mut whole = MemDisk::empty();
        create_on(&mut whole);
        for at in 0..whole.ops {
            let mut failing = MemDisk::empty();
            failing.fail_at = Some((at, Errno::NoSpace));
            assert!(create_on(&mut failing).unwrap().is_err());
            let mut crashing = MemDisk::empty();
            crashing.make_root(b"/m");
            crashing.crash_at = Some(at);
            create_on(&mut crashing);
            crashing.restart();
            for mut disk in [failing, crashing] {
                disk.fail_at = None;
                assert_eq!(create_on(&mut disk), Some(Ok(())));
                if disk.read("/m/subscriptions").is_some_and(|file| !file.is_empty()) {
                    assert_whole(&disk);
                }
            }
        }
    }

    #[test]
    fn two_mails_for_a_new_account_make_it_at_the_same_time() {
        let mut whole = MemDisk::empty();
        create_on(&mut whole);
        for at in 0..whole.ops {
            let mut disk = MemDisk::empty();
            disk.handed_out = None;
            disk.before = Some((at, |disk| {
                disk.before = None;
                assert_eq!(create_on(disk), Some(Ok(())));
            }));
            assert_eq!(create_on(&mut disk), Some(Ok(())), "before operation {at}");
            disk.restart();
            assert_whole(&disk);
            assert!(disk.names("/m/tmp").is_empty());
        }
    }

    #[test]
    fn a_special_mailbox_that_its_user_deleted_stays_deleted() {
        let mut disk = MemDisk::with_maildir();
        assert_eq!(create_on(&mut disk), Some(Ok(())));
        assert_eq!(disk.names("/m"), ["cur", "new", "tmp"]);
    }
}
