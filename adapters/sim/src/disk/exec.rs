//! Carrying out the core's file operations: each begins, and finishes some time later.

use std::collections::BTreeMap;

use postier_core::disk::{Errno, Handle, Kind, Name, Op, OpResult, Outcome};
use postier_core::machine::Now;

use super::{Body, Change, DirBody, Disk, Entries, FileBody, Ino};
use crate::rng::Rng;

/// NAME_MAX
const NAME_BYTES_MAX: usize = 255;

/// The descriptors of one process. A number is never given twice, so that a use after the close shows.
#[derive(Debug)]
pub struct Descriptors {
    open: BTreeMap<u64, Ino>,
    last: u64,
    /// RLIMIT_NOFILE
    pub max: usize,
    /// A handle was used that was not open.
    pub misused: Option<String>,
}

impl Descriptors {
    /// None open, `max` allowed.
    pub fn new(max: usize) -> Self {
        Descriptors { open: BTreeMap::new(), last: 2, max, misused: None }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// None is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn add(&mut self, ino: Ino) -> Result<Handle, Errno> {
        if self.open.len() >= self.max {
            return Err(Errno::TooManyFiles);
        }
        self.last += 1;
        self.open.insert(self.last, ino);
        Ok(Handle(self.last))
    }

    fn ino(&mut self, handle: Handle, what: &str) -> Result<Ino, Errno> {
        match self.open.get(&handle.0) {
            Some(ino) => Ok(*ino),
            None => {
                self.misused
                    .get_or_insert_with(|| format!("{what} of handle {} which is not open", handle.0));
                // EBADF
                Err(Errno::Other(9))
            }
        }
    }

    /// Closes one.
    pub fn close(&mut self, handle: Handle) {
        if self.ino(handle, "a close").is_ok() {
            self.open.remove(&handle.0);
        }
    }
}

/// What an operation noted when it began.
#[derive(Clone, Debug)]
pub enum Begun {
    /// Nothing.
    Plain,
    /// What the directory held.
    Listing(Entries),
    /// The last change of names that a sync covers.
    Sync(u64),
}

impl Disk {
    /// An operation begins.
    pub fn begin(&self, descriptors: &Descriptors, op: &Op) -> Begun {
        match op {
            Op::List { dir } => {
                let entries = descriptors.open.get(&dir.0).map(|ino| self.entries(*ino));
                entries.and_then(Result::ok).map_or(Begun::Plain, |entries| Begun::Listing(entries.clone()))
            }
            Op::SyncDir { .. } => Begun::Sync(self.changes),
            _ => Begun::Plain,
        }
    }

    /// The operation finishes: whatever it does happens now.
    pub fn finish(
        &mut self,
        fds: &mut Descriptors,
        op: Op,
        begun: Begun,
        now: Now,
        rng: &mut Rng,
    ) -> OpResult {
        match op {
            Op::OpenRoot { path, create } => {
                let ino = self.walk(&path, create)?;
                Ok(Outcome::Opened(fds.add(ino)?))
            }
            Op::OpenDir { dir, name } => {
                let ino = self.find(fds.ino(dir, "OpenDir")?, one(&name)?)?;
                self.entries(ino)?;
                Ok(Outcome::Opened(fds.add(ino)?))
            }
            Op::OpenFile { dir, name } | Op::OpenAppend { dir, name } => {
                let ino = self.find(fds.ino(dir, "OpenFile")?, one(&name)?)?;
                self.file(ino)?;
                Ok(Outcome::OpenedFile(fds.add(ino)?, self.stat(ino)))
            }
            Op::Create { dir, name } => {
                let dir = fds.ino(dir, "Create")?;
                if fds.len() >= fds.max {
                    return Err(Errno::TooManyFiles);
                }
                let ino =
                    self.make(dir, one(&name)?, Body::File(FileBody { dirty: true, ..FileBody::default() }))?;
                Ok(Outcome::Opened(fds.add(ino)?))
            }
            Op::Read { file, offset, len } => Ok(Outcome::Bytes(self.read_at(fds, file, offset, len)?)),
            Op::Write { file, bytes } => {
                let ino = fds.ino(file, "Write")?;
                self.append(ino, &bytes)?;
                Ok(Outcome::Unit)
            }
            Op::Sync { file } => {
                let ino = fds.ino(file, "Sync")?;
                self.sync_file(ino);
                Ok(Outcome::Unit)
            }
            Op::Order { file } => {
                let ino = fds.ino(file, "Order")?;
                Ok(Outcome::Flag(self.order(ino)))
            }
            Op::SyncDir { dir } => {
                let up_to = if let Begun::Sync(up_to) = begun { up_to } else { self.changes };
                self.sync_dir(fds.ino(dir, "SyncDir")?, up_to);
                Ok(Outcome::Unit)
            }
            Op::Close { handle } => {
                fds.close(handle);
                Ok(Outcome::Unit)
            }
            Op::List { dir } => {
                let dir = fds.ino(dir, "List")?;
                Ok(Outcome::Names(self.list(dir, begun, rng)?))
            }
            Op::StatHandle { handle } => Ok(Outcome::Stat(self.stat(fds.ino(handle, "StatHandle")?))),
            Op::Clock => Ok(Outcome::Now(now)),
            other => self.finish_named(fds, other),
        }
    }

    /// Operations on names.
    fn finish_named(&mut self, fds: &mut Descriptors, op: Op) -> OpResult {
        match op {
            Op::MakeDir { dir, name } => {
                self.make(fds.ino(dir, "MakeDir")?, one(&name)?, Body::Directory(DirBody::default()))?;
            }
            Op::ReadFile { dir, name, max } => {
                let ino = self.find(fds.ino(dir, "ReadFile")?, one(&name)?)?;
                let bytes = &self.file(ino)?.bytes;
                let bytes = bytes.get(..max).unwrap_or(bytes).to_vec();
                return Ok(Outcome::File(bytes, self.stat(ino)));
            }
            Op::Rename { dir, name, to_dir, to_name, replace } => {
                let (from, to) = (fds.ino(dir, "Rename")?, fds.ino(to_dir, "Rename")?);
                self.rename(from, one(&name)?, to, one(&to_name)?, replace)?;
            }
            Op::Link { dir, name, to_dir, to_name } => {
                let (from, to) = (fds.ino(dir, "Link")?, fds.ino(to_dir, "Link")?);
                let ino = self.find(from, one(&name)?)?;
                self.file(ino)?;
                self.link(ino, to, one(&to_name)?)?;
            }
            Op::Unlink { dir, name } => {
                let dir = fds.ino(dir, "Unlink")?;
                self.file(self.find(dir, one(&name)?)?)?;
                self.change(Change::Remove { dir, name });
            }
            Op::RemoveDir { dir, name } => {
                let dir = fds.ino(dir, "RemoveDir")?;
                if !self.entries(self.find(dir, one(&name)?)?)?.is_empty() {
                    return Err(Errno::NotEmpty);
                }
                self.change(Change::Remove { dir, name });
            }
            Op::Stat { dir, name } => {
                let ino = self.find(fds.ino(dir, "Stat")?, one(&name)?)?;
                return Ok(Outcome::Stat(self.stat(ino)));
            }
            Op::Writable { dir } => _ = self.entries(fds.ino(dir, "Writable")?)?,
            Op::SetTime { dir, name, mtime_ns } => {
                let ino = self.find(fds.ino(dir, "SetTime")?, one(&name)?)?;
                (self.inodes[ino].mtime_ns, self.inodes[ino].ctime_ns) = (mtime_ns, self.now_ns);
                if let Body::File(body) = &mut self.inodes[ino].body {
                    body.dirty = true;
                }
            }
            Op::Overwrite { dir, name, bytes } => {
                let ino = self.find(fds.ino(dir, "Overwrite")?, one(&name)?)?;
                let now_ns = self.now_ns;
                let body = self.file_mut(ino)?;
                body.bytes.resize(body.bytes.len().max(bytes.len()), 0);
                body.bytes.iter_mut().zip(bytes).for_each(|(old, new)| *old = new);
                body.dirty = true;
                (self.inodes[ino].mtime_ns, self.inodes[ino].ctime_ns) = (now_ns, now_ns);
                // The host syncs it (fdatasync) within the operation.
                self.sync_file(ino);
            }
            // The world answers what a disk cannot know.
            _ => return Err(Errno::Other(38)),
        }
        Ok(Outcome::Unit)
    }

    /// Reads from an open file.
    ///
    /// # Errors
    /// Like pread(2).
    pub fn read_at(
        &self,
        fds: &mut Descriptors,
        file: Handle,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, Errno> {
        let bytes = &self.file(fds.ino(file, "Read")?)?.bytes;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[start..bytes.len().min(start.saturating_add(len))].to_vec())
    }

    /// The file or directory behind a handle.
    pub fn ino_of(&self, fds: &Descriptors, handle: Handle) -> Option<Ino> {
        fds.open.get(&handle.0).copied()
    }

    /// A directory from its root; `/mail` and what is below it can be made, each part durable in its parent.
    fn walk(&mut self, path: &[u8], create: bool) -> Result<Ino, Errno> {
        let mut at = 0;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            at = match self.find(at, name) {
                Err(Errno::NotFound) if create => {
                    let made = self.make(at, name, Body::Directory(DirBody::default()))?;
                    self.sync_dir(at, self.changes);
                    made
                }
                other => other?,
            };
        }
        self.entries(at)?;
        Ok(at)
    }

    fn make(&mut self, dir: Ino, name: &[u8], body: Body) -> Result<Ino, Errno> {
        if self.entries(dir)?.contains_key(name) {
            return Err(Errno::Exists);
        }
        self.writable(dir)?;
        let ino = self.new_inode(body);
        self.change(Change::Add { dir, name: name.to_vec(), ino });
        Ok(ino)
    }

    /// Nothing can be made in a directory that was removed.
    fn writable(&self, dir: Ino) -> Result<(), Errno> {
        if self.inodes[dir].links == 0 && dir != 0 { Err(Errno::NotFound) } else { Ok(()) }
    }

    pub(super) fn append(&mut self, ino: Ino, bytes: &[u8]) -> Result<(), Errno> {
        let now_ns = self.now_ns;
        let body = self.file_mut(ino)?;
        body.bytes.extend_from_slice(bytes);
        body.lengths.push(body.bytes.len());
        (body.dirty, body.ordered) = (true, None);
        (self.inodes[ino].mtime_ns, self.inodes[ino].ctime_ns) = (now_ns, now_ns);
        Ok(())
    }

    pub(super) fn link(&mut self, ino: Ino, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        if self.entries(dir)?.contains_key(name) {
            return Err(Errno::Exists);
        }
        self.writable(dir)?;
        self.change(Change::Add { dir, name: name.to_vec(), ino });
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        from: Ino,
        name: &[u8],
        to: Ino,
        to_name: &[u8],
        replace: bool,
    ) -> Result<(), Errno> {
        let ino = self.find(from, name)?;
        match self.entries(to)?.get(to_name) {
            Some(_) if !replace => return Err(Errno::Exists),
            // rename(2): two names of the same file stay as they are.
            Some(target) if *target == ino => return Ok(()),
            Some(_) | None => {}
        }
        self.writable(to)?;
        self.change(Change::Move { from, name: name.to_vec(), to, to_name: to_name.to_vec(), ino });
        Ok(())
    }

    /// What changed while the listing ran is in it or not: POSIX promises no more.
    fn list(&self, dir: Ino, begun: Begun, rng: &mut Rng) -> Result<Vec<Name>, Errno> {
        let now = self.entries(dir)?;
        let mut names: Vec<Name> = Vec::with_capacity(now.len());
        let mut show = |name: &[u8], ino: Ino| {
            let kind = match self.inodes[ino].body {
                Body::File(_) => Kind::File,
                Body::Directory(_) => Kind::Directory,
            };
            names.push(Name { name: name.into(), kind });
        };
        match begun {
            Begun::Listing(before) if before != *now => {
                for (name, ino) in &before {
                    if now.get(name) == Some(ino) || rng.chance(50) {
                        show(name, *ino);
                    }
                }
                for (name, ino) in now {
                    if before.get(name) != Some(ino) && rng.chance(50) {
                        show(name, *ino);
                    }
                }
            }
            _ => now.iter().for_each(|(name, ino)| show(name, *ino)),
        }
        // Directories are hashed.
        rng.shuffle(&mut names);
        Ok(names)
    }
}

/// A name that cannot leave its directory.
fn one(name: &[u8]) -> Result<&[u8], Errno> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Errno::NameTooLong);
    }
    let other = name.is_empty() || name == b"." || name == b".." || name.contains(&b'/');
    if other { Err(Errno::Other(22)) } else { Ok(name) }
}
