//! The handles that one store operation holds: opened through a [`Scope`], all closed at its end.
//!
//! An operation has many ways out and a handle must not leak on any of them. So each operation is two
//! functions: the outer one makes a scope, awaits the inner one, and closes what is still open.

use super::context::{At, Root, StoreError};
use super::folder::FolderName;
use crate::disk::{Disk, Errno, Handle};
use alloc::vec::Vec;

/// Open handles of one operation.
#[derive(Debug)]
pub(crate) struct Scope {
    /// The way to the disk.
    pub(crate) disk: Disk,
    open: Vec<Handle>,
}

impl Scope {
    /// Nothing open.
    pub(crate) fn new(disk: Disk) -> Scope {
        Scope { disk, open: Vec::new() }
    }

    /// Closes a handle that this scope holds when it is done.
    pub(crate) fn hold(&mut self, handle: Handle) -> Handle {
        self.open.push(handle);
        handle
    }

    /// Closes one handle before the end.
    pub(crate) async fn close(&mut self, handle: Handle) {
        self.open.retain(|open| *open != handle);
        self.disk.close(handle).await;
    }

    /// Leaves one handle open at the end: it is another one's to close.
    pub(crate) fn keep(&mut self, handle: Handle) {
        self.open.retain(|open| *open != handle);
    }

    /// Closes everything.
    pub(crate) async fn finish(self) {
        for handle in self.open {
            self.disk.close(handle).await;
        }
    }

    /// Opens a user's root, which exists.
    pub(crate) async fn open_root(&mut self, root: &Root) -> Result<Handle, StoreError> {
        let handle = self.disk.open_root(&root.path, false).await.at(&root.path)?;
        Ok(self.hold(handle))
    }

    /// Opens a directory.
    pub(crate) async fn open_dir(&mut self, dir: Handle, name: &[u8]) -> Result<Handle, Errno> {
        let handle = self.disk.open_dir(dir, name).await?;
        Ok(self.hold(handle))
    }

    /// Opens the directory of a mailbox: the root itself for INBOX.
    pub(crate) async fn open_mailbox(
        &mut self,
        root: Handle,
        folder: &FolderName,
    ) -> Result<Handle, StoreError> {
        if folder.is_inbox() {
            return Ok(root);
        }
        let directory = folder.directory();
        self.open_dir(root, &directory).await.at(&directory)
    }

    /// Opens `cur`, `new` or `tmp`, making it if a delivery agent or a crash left it out.
    pub(crate) async fn open_or_make_dir(&mut self, dir: Handle, name: &[u8]) -> Result<Handle, StoreError> {
        match self.open_dir(dir, name).await {
            Ok(handle) => Ok(handle),
            Err(Errno::NotFound) => {
                match self.disk.make_dir(dir, name).await {
                    Ok(()) | Err(Errno::Exists) => {}
                    Err(errno) => return Err(errno).at(name),
                }
                self.disk.sync_dir(dir).await.at(name)?;
                self.open_dir(dir, name).await.at(name)
            }
            Err(errno) => Err(errno).at(name),
        }
    }

    /// Writes a file whole: as `temporary` first, which is then renamed over `name`. It is durable when the caller has
    /// synced `dir`.
    ///
    /// A temporary file that a crash left is removed first: whoever calls holds the lock that guards the
    /// name.
    pub(crate) async fn replace_file(
        &mut self,
        dir: Handle,
        temporary: &[u8],
        name: &[u8],
        content: Vec<u8>,
    ) -> Result<(), StoreError> {
        let mut created = self.disk.create(dir, temporary).await;
        if created == Err(Errno::Exists) {
            self.disk.unlink(dir, temporary).await.at(temporary)?;
            created = self.disk.create(dir, temporary).await;
        }
        let file = self.hold(created.at(temporary)?);
        let result = self.fill_and_rename(dir, file, temporary, name, content).await;
        if result.is_err() {
            let _ = self.disk.unlink(dir, temporary).await;
        }
        result.at(name)
    }

    /// Fills a file just created as `temporary` and renames it over `name`. It is durable when the caller has synced
    /// `dir`.
    pub(crate) async fn fill_and_rename(
        &mut self,
        dir: Handle,
        file: Handle,
        temporary: &[u8],
        name: &[u8],
        content: Vec<u8>,
    ) -> Result<(), Errno> {
        self.disk.write(file, content).await?;
        self.disk.sync_with_name(file).await?;
        self.close(file).await;
        self.disk.replace(dir, temporary, name).await
    }
}
