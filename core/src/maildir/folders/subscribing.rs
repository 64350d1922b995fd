//! SUBSCRIBE and UNSUBSCRIBE: the file of subscriptions, read, and replaced under its lock.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::disk::{Disk, Errno, Handle};
use crate::maildir::context::{At, Root, StoreContext, StoreError, StoreErrorKind, wall_ns};
use crate::maildir::folder::FolderName;
use crate::maildir::place::Place;
use crate::maildir::scope::Scope;
use crate::maildir::subscriptions::{self, Subscriptions};

/// The largest subscription file that is read, in octets.
const SUBSCRIPTIONS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest sleep between two attempts to take the lock of the subscriptions.
const STEP: Duration = Duration::from_millis(50);

/// Subscribes to a mailbox, or ends a subscription. The mailbox need not exist; doing it again is no error.
///
/// # Errors
/// Busy if somebody else keeps the lock of the file; Cannot if the file is of a version that we do not know.
pub async fn subscribe(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    folder: FolderName,
    subscribe: bool,
) -> Result<(), StoreError> {
    let mut scope = Scope::new(disk);
    let result = subscribe_in(&mut scope, &context, &root, &folder, subscribe).await;
    scope.finish().await;
    result
}

async fn subscribe_in(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    folder: &FolderName,
    subscribe: bool,
) -> Result<(), StoreError> {
    let disk = scope.disk.clone();
    let place = Place::open(scope, context, root, &FolderName::inbox()).await?;
    place.make_sure(&disk).await?;
    let top = place.root;
    let lock = take_subscriptions_lock(scope, context, top).await?;
    let result = change_subscriptions(scope, top, lock, folder, subscribe).await;
    if !matches!(result, Ok(true)) {
        // The lock file has not become the new file.
        let _ = disk.unlink(top, subscriptions::LOCK_NAME).await;
    }
    result?;
    disk.sync_dir(top).await.at(subscriptions::FILE_NAME)
}

/// Under the lock; whether the file was replaced, and the lock with that given back.
async fn change_subscriptions(
    scope: &mut Scope,
    top: Handle,
    lock: Handle,
    folder: &FolderName,
    subscribe: bool,
) -> Result<bool, StoreError> {
    let unreadable = |_| StoreError::new(StoreErrorKind::Cannot, subscriptions::FILE_NAME);
    let mut all = read_subscriptions(scope, top).await?.map_err(unreadable)?;
    let changed = if subscribe { all.subscribe(folder) } else { all.unsubscribe(folder) };
    if !changed {
        return Ok(false);
    }
    let mut content = Vec::new();
    all.push(&mut content);
    let names = (subscriptions::LOCK_NAME, subscriptions::FILE_NAME);
    scope.fill_and_rename(top, lock, names.0, names.1, content).await.at(names.1)?;
    Ok(true)
}

pub(super) async fn read_subscriptions(
    scope: &Scope,
    top: Handle,
) -> Result<Result<Subscriptions, subscriptions::Unreadable>, StoreError> {
    match scope.disk.read_file(top, subscriptions::FILE_NAME, SUBSCRIPTIONS_BYTES_MAX).await {
        Ok((bytes, _)) => Ok(Subscriptions::parse(&bytes)),
        Err(Errno::NotFound) => Ok(Ok(Subscriptions::default())),
        Err(errno) => Err(errno).at(subscriptions::FILE_NAME),
    }
}

/// Creates the lock file; one of somebody else is waited for, or removed when it is stale.
async fn take_subscriptions_lock(
    scope: &mut Scope,
    context: &StoreContext,
    top: Handle,
) -> Result<Handle, StoreError> {
    let disk = scope.disk.clone();
    let start = disk.now().await.instant;
    loop {
        match disk.create(top, subscriptions::LOCK_NAME).await {
            Ok(file) => return Ok(scope.hold(file)),
            Err(Errno::Exists) => {}
            Err(errno) => return Err(errno).at(subscriptions::LOCK_NAME),
        }
        let now = disk.now().await;
        if let Ok(stat) = disk.stat(top, subscriptions::LOCK_NAME).await {
            let age_ns = wall_ns(now.wall).saturating_sub(stat.mtime_ns);
            if age_ns > subscriptions::LOCK_STALE_SECONDS as i64 * 1_000_000_000 {
                let _ = disk.unlink(top, subscriptions::LOCK_NAME).await;
                continue;
            }
        }
        if now.instant.since(start) >= context.lock_wait {
            return Err(StoreError::new(StoreErrorKind::Busy, subscriptions::LOCK_NAME));
        }
        disk.wait(STEP).await;
    }
}
