//! One mailbox open during an operation: its directories, and the lock while it is held.

use super::account;
use super::context::{At, Root, StoreContext, StoreError, StoreErrorKind};
use super::durable::{self, Durable};
use super::folder::FolderName;
use super::mailbox::Message;
use super::scope::Scope;
use super::uidlist_lock::UidlistLock;
use crate::disk::{Disk, Errno, Handle};
use alloc::sync::Arc;
use core::time::Duration;

/// An open mailbox. [`Place::unlock`] must be called on every way out; the scope closes the handles.
#[derive(Debug)]
pub(super) struct Place {
    /// The user's root.
    pub(super) root: Handle,
    /// The mailbox's directory.
    pub(super) mailbox: Handle,
    /// The lock of the uidlist, while it is ours.
    pub(super) lock: Option<UidlistLock>,
    whose: Root,
    folder: FolderName,
    durable: Arc<Durable>,
    cur: Option<Handle>,
    new: Option<Handle>,
    tmp: Option<Handle>,
}

impl Place {
    /// Opens a mailbox. A user's INBOX that does not exist yet is made, with all that a new account gets.
    pub(super) async fn open(
        scope: &mut Scope,
        context: &StoreContext,
        root: &Root,
        folder: &FolderName,
    ) -> Result<Place, StoreError> {
        let top = match scope.open_root(root).await {
            Err(error) if error.kind == StoreErrorKind::NotFound && folder.is_inbox() => {
                account::create(scope, context, root).await?;
                scope.open_root(root).await?
            }
            other => other?,
        };
        let mailbox = scope.open_mailbox(top, folder).await?;
        let (whose, folder) = (root.clone(), folder.clone());
        let durable = context.durable().clone();
        let mut place =
            Place { root: top, mailbox, lock: None, whose, folder, durable, cur: None, new: None, tmp: None };
        match scope.open_dir(mailbox, b"cur").await {
            Ok(cur) => place.cur = Some(cur),
            Err(Errno::NotFound) if place.folder.is_inbox() => account::create(scope, context, root).await?,
            // A directory without `cur/` is no mailbox, whatever else it is.
            Err(errno) => return Err(errno).at(b"cur"),
        }
        Ok(place)
    }

    /// Its `cur/`.
    pub(super) async fn cur_dir(&mut self, scope: &mut Scope) -> Result<Handle, StoreError> {
        self.part(scope, b"cur", |place| &mut place.cur).await
    }

    /// Its `new/`.
    pub(super) async fn new_dir(&mut self, scope: &mut Scope) -> Result<Handle, StoreError> {
        self.part(scope, b"new", |place| &mut place.new).await
    }

    /// Its `tmp/`.
    pub(super) async fn tmp_dir(&mut self, scope: &mut Scope) -> Result<Handle, StoreError> {
        self.part(scope, b"tmp", |place| &mut place.tmp).await
    }

    async fn part(
        &mut self,
        scope: &mut Scope,
        name: &[u8],
        slot: fn(&mut Place) -> &mut Option<Handle>,
    ) -> Result<Handle, StoreError> {
        if let Some(handle) = *slot(self) {
            return Ok(handle);
        }
        let handle = durable::open_part(scope, &self.durable, &self.whose, self.mailbox, name).await?;
        if self.lock.is_some() {
            // Since the lock was taken a delivery, which takes none, may have made it.
            self.make_sure(&scope.disk).await?;
        }
        *slot(self) = Some(handle);
        Ok(handle)
    }

    /// Whether it can be changed as things stand: the lock be taken, and messages be renamed.
    pub(super) async fn is_writable(&mut self, scope: &mut Scope) -> Result<bool, StoreError> {
        let disk = scope.disk.clone();
        let cur = self.cur_dir(scope).await?;
        Ok(disk.is_writable(self.mailbox).await && disk.is_writable(cur).await)
    }

    /// The directory in which a message's file lies.
    pub(super) async fn dir_of(
        &mut self,
        scope: &mut Scope,
        message: &Message,
    ) -> Result<Handle, StoreError> {
        if message.in_new { self.new_dir(scope).await } else { self.cur_dir(scope).await }
    }

    /// Makes sure that the mailbox is there after a power cut: to be done before anything in it is promised.
    pub(super) async fn make_sure(&self, disk: &Disk) -> Result<(), StoreError> {
        durable::make_sure(disk, &self.durable, &self.whose, self.root, &self.folder, self.mailbox).await
    }

    /// Takes the lock, if it is not ours already. What is done under it is durable when it is synced: the mailbox
    /// itself is durable then.
    pub(super) async fn lock(
        &mut self,
        disk: &Disk,
        context: &StoreContext,
        wait: Duration,
    ) -> Result<(), StoreError> {
        if self.lock.is_none() {
            let lock = UidlistLock::take(disk, context, self.mailbox, wait).await?;
            if let Err(error) = self.make_sure(disk).await {
                lock.release(disk, context).await;
                return Err(error);
            }
            self.lock = Some(lock);
        }
        Ok(())
    }

    /// Shows others that the lock is in use; called every few dozen files.
    pub(super) async fn keep_lock(&mut self, disk: &Disk) {
        if let Some(lock) = &mut self.lock {
            lock.refresh(disk).await;
        }
    }

    /// Gives the lock back, if it is ours.
    pub(super) async fn unlock(&mut self, disk: &Disk, context: &StoreContext) {
        if let Some(lock) = self.lock.take() {
            lock.release(disk, context).await;
        }
    }
}
