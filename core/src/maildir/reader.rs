//! Reading the message files of one mailbox by what a snapshot says of them.
//!
//! A [`Reader`] opens root, mailbox, `cur` and `new` when they are first needed and keeps them open. A message
//! whose file has another name by now, because somebody changed its flags, is looked for by its base name in
//! a listing of both directories. One listing may miss a name that is being renamed, so a message is
//! [`Failure::Gone`] only after a listing made for it did not show it either; but a reader makes at most
//! [`LISTINGS_MAX`] listings, however many messages are gone.
//!
//! Reading much takes long. So that others get their turn, a reader gives its worker back now and then: it waits for
//! no time at all ([`Sizes::turn`]).

use super::context::{At, Root, StoreError};
use super::folder::FolderName;
use super::mailbox::Message;
use super::name::FileName;
use super::scope::Scope;
use crate::disk::{Disk, Errno, Handle, Stat};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

/// What a file operation costs besides what it reads, in octets read at the same expense.
const OPERATION_BYTES: usize = 4096;

/// How often one reader lists the directories.
const LISTINGS_MAX: usize = 3;

/// How much is read at once, and kept, in octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// The largest text that is read into memory whole.
    pub(super) small: usize,
    /// What is read first when only the header of a message is wanted.
    pub(super) head: usize,
    /// What is read at once of what is too large to be kept.
    pub(super) chunk: usize,
    /// The most that is looked at of one header.
    pub(super) header_max: usize,
    /// After so much others have their turn.
    pub(super) turn: usize,
    /// A page for which so much was read ends.
    pub(super) page: usize,
}

impl Sizes {
    pub(super) const USUAL: Sizes = Sizes {
        small: 64 * 1024,
        head: 16 * 1024,
        chunk: 256 * 1024,
        header_max: 1024 * 1024,
        turn: 8 * 1024 * 1024,
        page: 16 * 1024 * 1024,
    };
}

/// Why a message could not be read.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no file of it any more.
    Gone,
    /// The system refuses.
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

/// The way to the files of one mailbox.
#[derive(Debug)]
pub(super) struct Reader {
    /// How much to read; tests read less.
    pub(super) sizes: Sizes,
    /// What has been read so far, in octets.
    pub(super) spent: usize,
    /// What has been read in this turn.
    turn: usize,
    pub(super) scope: Scope,
    root: Root,
    folder: FolderName,
    mailbox: Option<Handle>,
    cur: Option<Directory>,
    new: Option<Directory>,
    /// All messages there are, in the order of their base names.
    listing: Vec<Listed>,
    listings: usize,
}

#[derive(Clone, Copy, Debug)]
enum Directory {
    Missing,
    Open(Handle),
}

#[derive(Debug)]
struct Listed {
    file: Box<[u8]>,
    in_new: bool,
}

impl Listed {
    fn base(&self) -> &[u8] {
        FileName::parse(&self.file).base()
    }
}

/// How far the search for one message has come.
#[derive(Debug, Default)]
struct Search {
    asked: bool,
    /// The number of the last listing that was looked into.
    listing: usize,
    /// That listing was made for this search.
    fresh: bool,
}

impl Reader {
    /// Nothing is opened yet.
    pub(super) fn new(disk: Disk, root: Root, folder: FolderName) -> Reader {
        Reader {
            sizes: Sizes::USUAL,
            spent: 0,
            turn: 0,
            scope: Scope::new(disk),
            root,
            folder,
            mailbox: None,
            cur: None,
            new: None,
            listing: Vec::new(),
            listings: 0,
        }
    }

    /// Closes everything that was not kept.
    pub(super) async fn finish(self) {
        self.scope.finish().await;
    }

    /// The first `max` octets of a message, and its stat.
    pub(super) async fn read(&mut self, message: &Message, max: usize) -> Result<(Vec<u8>, Stat), Failure> {
        let mut search = Search::default();
        while let Some((dir, name)) = self.candidate(message, &mut search).await? {
            match self.scope.disk.read_file(dir, &name, max).await {
                Err(Errno::NotFound) => {}
                result => {
                    let file = result.at(&name)?;
                    self.spend(file.0.len().saturating_add(OPERATION_BYTES)).await;
                    return Ok(file);
                }
            }
        }
        Err(Failure::Gone)
    }

    /// The stat of a message.
    pub(super) async fn stat(&mut self, message: &Message) -> Result<Stat, Failure> {
        let mut search = Search::default();
        while let Some((dir, name)) = self.candidate(message, &mut search).await? {
            match self.scope.disk.stat(dir, &name).await {
                Err(Errno::NotFound) => {}
                result => {
                    self.spend(OPERATION_BYTES).await;
                    return Ok(result.at(&name)?);
                }
            }
        }
        Err(Failure::Gone)
    }

    /// A message's file, opened; closed by [`Reader::close`] or at the end, or left open by [`Reader::keep`].
    pub(super) async fn open(&mut self, message: &Message) -> Result<Handle, Failure> {
        let mut search = Search::default();
        while let Some((dir, name)) = self.candidate(message, &mut search).await? {
            match self.scope.disk.open_file(dir, &name).await {
                Err(Errno::NotFound) => {}
                result => return Ok(self.scope.hold(result.at(&name)?.0)),
            }
        }
        Err(Failure::Gone)
    }

    /// Octets of a message that is open.
    pub(super) async fn read_at(
        &mut self,
        message: &Message,
        file: Handle,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, Failure> {
        let octets = self.scope.disk.read(file, offset, len).await.at(&message.file)?;
        self.spend(octets.len().saturating_add(OPERATION_BYTES)).await;
        Ok(octets)
    }

    /// Something was done that costs as much as reading so many octets.
    pub(super) async fn spend(&mut self, octets: usize) {
        self.spent = self.spent.saturating_add(octets);
        self.turn = self.turn.saturating_add(octets);
        if self.turn >= self.sizes.turn {
            self.turn = 0;
            self.scope.disk.wait(Duration::ZERO).await;
        }
    }

    /// Closes a file.
    pub(super) async fn close(&mut self, file: Handle) {
        self.scope.close(file).await;
    }

    /// The file is another one's to close.
    pub(super) fn keep(&mut self, file: Handle) {
        self.scope.keep(file);
    }

    /// A file that was kept is closed at the end after all.
    pub(super) fn take_back(&mut self, file: Handle) {
        self.scope.hold(file);
    }

    /// The next name under which the message's file may be.
    async fn candidate<'m>(
        &mut self,
        message: &'m Message,
        search: &mut Search,
    ) -> Result<Option<(Handle, Cow<'m, [u8]>)>, StoreError> {
        if !core::mem::replace(&mut search.asked, true)
            && let Some(dir) = self.directory(message.in_new).await?
        {
            return Ok(Some((dir, Cow::Borrowed(&message.file[..]))));
        }
        loop {
            if search.listing == self.listings {
                if self.listings == LISTINGS_MAX {
                    return Ok(None);
                }
                self.list().await?;
                search.fresh = true;
            }
            search.listing = self.listings;
            let found = self.listing.binary_search_by(|listed| listed.base().cmp(message.base()));
            let Some(listed) = found.ok().and_then(|index| self.listing.get(index)) else {
                if search.fresh {
                    return Ok(None);
                }
                continue;
            };
            let (in_new, name) = (listed.in_new, Cow::Owned(listed.file.to_vec()));
            if let Some(dir) = self.directory(in_new).await? {
                return Ok(Some((dir, name)));
            }
        }
    }

    async fn list(&mut self) -> Result<(), StoreError> {
        self.listing.clear();
        self.listings += 1;
        for in_new in [true, false] {
            let Some(dir) = self.directory(in_new).await? else { continue };
            let names = self.scope.disk.list(dir).await.at(directory_name(in_new))?;
            self.listing.extend(names.into_iter().map(|name| Listed { file: name.name, in_new }));
        }
        self.listing.sort_by(|a, b| a.base().cmp(b.base()));
        Ok(())
    }

    async fn directory(&mut self, in_new: bool) -> Result<Option<Handle>, StoreError> {
        let known = if in_new { self.new } else { self.cur };
        let directory = match known {
            Some(directory) => directory,
            None => {
                let mailbox = self.mailbox().await?;
                let name = directory_name(in_new);
                match self.scope.open_dir(mailbox, name).await {
                    Ok(handle) => Directory::Open(handle),
                    Err(Errno::NotFound) => Directory::Missing,
                    Err(errno) => return Err(errno).at(name),
                }
            }
        };
        *(if in_new { &mut self.new } else { &mut self.cur }) = Some(directory);
        Ok(match directory {
            Directory::Open(handle) => Some(handle),
            Directory::Missing => None,
        })
    }

    /// The mailbox's directory.
    pub(super) async fn mailbox(&mut self) -> Result<Handle, StoreError> {
        if let Some(mailbox) = self.mailbox {
            return Ok(mailbox);
        }
        let root = self.scope.open_root(&self.root).await?;
        let mailbox = self.scope.open_mailbox(root, &self.folder).await?;
        self.mailbox = Some(mailbox);
        Ok(mailbox)
    }
}

fn directory_name(in_new: bool) -> &'static [u8] {
    if in_new { b"new" } else { b"cur" }
}
