//! A file system in memory for tests: drives a task to its end, fails any operation, loses what was not
//! synced.
//!
//! Crash model, harsher than most file systems: a directory keeps its entries as of its last sync, a file its
//! octets and time as of its last sync (none if there was no sync). So a rename whose target directory alone
//! was synced leaves both names; but it never leaves none, as it does on no journaling file system. A name that a file
//! got after [`Op::Order`] is durable together with the octets.

mod other_programs;

use super::context::{HostFacts, Root, StoreContext, wall_ns};
use crate::disk::{
    Disk, Errno, Handle, Kind, Name, Op, OpResult, Outcome, Resume, Stat, Task, TaskInput, TaskStep,
};
use crate::machine::{Instant, Now, WallTime};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;
use core::time::Duration;
use std::format;

/// Another program.
type Intruder = fn(&mut MemDisk);
type Entries = BTreeMap<Vec<u8>, usize>;

#[derive(Clone, Debug, PartialEq)]
enum Content {
    File(Vec<u8>),
    Directory(Entries),
}

#[derive(Clone, Debug)]
struct Inode {
    content: Content,
    mtime_ns: i64,
    durable: Content,
    durable_mtime_ns: i64,
    ordered: Ordered,
}

/// Whether a file's octets come to the disk before its names.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Ordered {
    No,
    /// Before names it gets from now on.
    Asked,
    /// It has got such a name.
    Named,
}

/// What an injected failure or crash is bound to: the operations in the order in which they are carried out,
/// from 0.
#[derive(Clone)]
pub(crate) struct MemDisk {
    inodes: Vec<Inode>,
    roots: BTreeMap<Vec<u8>, usize>,
    handles: BTreeMap<u64, usize>,
    next_handle: u64,
    micros: u64,
    /// How often the power went.
    pub(crate) lives: u32,
    /// The wall clock is so many seconds behind.
    pub(crate) clock_behind: i64,
    /// Operations carried out, not counting closing and asking for facts.
    pub(crate) ops: usize,
    /// This operation fails.
    pub(crate) fail_at: Option<(usize, Errno)>,
    /// So many operations fail, beginning with that.
    pub(crate) fail_count: usize,
    /// All operations of the office's tasks fail.
    pub(crate) broken: Option<Errno>,
    /// Directories in which no name can be changed, by inode, each with the error that says so.
    shut: BTreeMap<usize, Errno>,
    /// The power goes after this operation.
    pub(crate) crash_at: Option<usize>,
    /// Another program does something before this operation.
    pub(crate) before: Option<(usize, Intruder)>,
    /// Another program does something before every operation.
    pub(crate) always: Option<Intruder>,
    /// Processes that live.
    pub(crate) alive: Vec<u32>,
    /// Names of all operations, for tests that count them.
    pub(crate) log: Vec<String>,
    /// Octets read so far.
    pub(crate) octets_read: usize,
    /// It keeps files' octets before their names; else it answers [`Op::Order`] with no.
    keeps_order: bool,
    /// How many handles a task leaves open, for others to close; `None` if the test knows better.
    pub(crate) handed_out: Option<usize>,
}

/// Where a task stands.
pub(crate) enum Stopped<T> {
    /// This operation comes next, and has not been carried out.
    Before(Op),
    Done(T),
}

pub(crate) fn context() -> StoreContext {
    let started = WallTime { secs: 1_699_999_000, micros: 0 };
    StoreContext::new(HostFacts { host: b"mx".to_vec(), pid: 7, started, booted: None, seed: 42 })
}

pub(crate) fn root() -> Root {
    Root::new(b"/m")
}

impl MemDisk {
    /// A disk without any root.
    pub(crate) fn empty() -> MemDisk {
        MemDisk {
            inodes: Vec::new(),
            roots: BTreeMap::new(),
            handles: BTreeMap::new(),
            next_handle: 1,
            micros: 0,
            lives: 0,
            clock_behind: 0,
            ops: 0,
            fail_at: None,
            fail_count: 1,
            broken: None,
            shut: BTreeMap::new(),
            crash_at: None,
            before: None,
            always: None,
            alive: Vec::new(),
            log: Vec::new(),
            octets_read: 0,
            keeps_order: true,
            handed_out: Some(0),
        }
    }

    /// A disk with a Maildir at `/m`.
    pub(crate) fn with_maildir() -> MemDisk {
        let mut disk = MemDisk::empty();
        disk.make_root(b"/m");
        for name in ["cur", "new", "tmp"] {
            disk.put_dir(&format!("/m/{name}"));
        }
        disk.advance(10_000_000);
        disk
    }

    /// The same, keeping files' octets ahead of their names or not.
    pub(crate) fn with_order(self, keeps_order: bool) -> MemDisk {
        MemDisk { keeps_order, ..self }
    }

    pub(crate) fn make_root(&mut self, path: &[u8]) -> usize {
        let inode = self.new_inode(Content::Directory(Entries::new()));
        self.roots.insert(path.to_vec(), inode);
        inode
    }

    /// Lets time pass, in microseconds.
    pub(crate) fn advance(&mut self, micros: u64) {
        self.micros += micros;
    }

    pub(crate) fn now(&self) -> Now {
        let wall = WallTime {
            secs: 1_700_000_000 + (self.micros / 1_000_000) as i64 - self.clock_behind,
            micros: (self.micros % 1_000_000) as u32,
        };
        Now { instant: Instant::from_micros(self.micros), wall }
    }

    /// The clock of file times ticks every 4 ms.
    fn tick_ns(&self) -> i64 {
        wall_ns(self.now().wall) / 4_000_000 * 4_000_000
    }

    fn new_inode(&mut self, content: Content) -> usize {
        let durable = match content {
            Content::File(_) => Content::File(Vec::new()),
            Content::Directory(_) => Content::Directory(Entries::new()),
        };
        let mtime_ns = self.tick_ns();
        let (durable_mtime_ns, ordered) = (mtime_ns, Ordered::No);
        self.inodes.push(Inode { content, mtime_ns, durable, durable_mtime_ns, ordered });
        self.inodes.len() - 1
    }

    /// Everything that was not synced is gone, and so are all handles.
    pub(crate) fn restart(&mut self) {
        for inode in &mut self.inodes {
            inode.content = inode.durable.clone();
            inode.mtime_ns = inode.durable_mtime_ns;
        }
        self.handles.clear();
        self.lives += 1;
        (self.fail_at, self.crash_at, self.before) = (None, None, None);
        self.handed_out = Some(0);
        self.advance(10_000_000);
    }

    /// The process is killed, the power stays: what was not synced is there for the next process.
    pub(crate) fn kill(&mut self) {
        self.handles.clear();
        (self.fail_at, self.crash_at, self.before) = (None, None, None);
    }

    /// Makes everything as it is now durable.
    pub(crate) fn settle(&mut self) {
        for inode in &mut self.inodes {
            inode.durable = inode.content.clone();
            inode.durable_mtime_ns = inode.mtime_ns;
        }
        self.advance(10_000_000);
    }

    /// Drives an operation to its end; `None` if the power went.
    pub(crate) fn run<T, F, Fut>(&mut self, inputs: Vec<TaskInput>, start: F) -> Option<T>
    where
        F: FnOnce(Disk) -> Fut,
        Fut: Future<Output = T> + Send + 'static,
    {
        let mut task = Task::new(start);
        let mut inputs = inputs.into_iter();
        let mut resume = Resume::Start;
        self.ops = 0;
        self.log.clear();
        loop {
            match task.resume(resume) {
                TaskStep::Op(op) => resume = Resume::Outcome(self.perform(op)?),
                TaskStep::NeedInput => {
                    task.push_input(inputs.next().expect("the task wants more input than the test has"));
                    resume = Resume::Start;
                }
                TaskStep::Wait(duration) => {
                    self.log.push("Wait".into());
                    self.advance(duration.as_micros() as u64);
                    resume = Resume::Start;
                }
                TaskStep::Done(done) => {
                    let left = self.handles.len();
                    assert_eq!(left, self.handed_out.unwrap_or(left), "left open: {:?}", self.handles);
                    return Some(done);
                }
            }
        }
    }

    /// Carries an operation out, or fails it as the test wants; `None` if the power went behind it.
    fn perform(&mut self, op: Op) -> Option<OpResult> {
        let counted = !matches!(op, Op::Close { .. } | Op::Clock | Op::ProcessAlive { .. });
        let index = self.ops;
        self.ops += usize::from(counted);
        let name = format!("{op:?}");
        self.log.push(name.split([' ', '{']).next().unwrap_or_default().into());
        if counted
            && let Some((at, act)) = self.before
            && at == index
        {
            act(self);
        }
        if let Some(act) = self.always {
            act(self);
        }
        let outcome = match (self.fail_at, self.broken) {
            (Some((at, errno)), _) if counted && (at..at + self.fail_count).contains(&index) => Err(errno),
            (_, Some(errno)) => Err(errno),
            (_, None) => self.carry_out(op),
        };
        Some(outcome).filter(|_| !(counted && self.crash_at == Some(index)))
    }

    /// Drives a task of the office until it is over (`Ok`), or wants to wait for so long.
    ///
    /// # Panics
    /// When the power goes.
    pub(crate) fn drive<T>(&mut self, task: &mut Task<T>) -> Result<T, Duration> {
        self.try_drive(task).expect("the power stays on")
    }

    /// As [`MemDisk::drive`]; `None` if the power went.
    pub(crate) fn try_drive<T>(&mut self, task: &mut Task<T>) -> Option<Result<T, Duration>> {
        let mut resume = Resume::Start;
        loop {
            match task.resume(resume) {
                TaskStep::Op(op) => resume = Resume::Outcome(self.perform(op)?),
                TaskStep::NeedInput => panic!("nobody has an input for this task"),
                TaskStep::Wait(duration) => return Some(Err(duration)),
                TaskStep::Done(done) => return Some(Ok(done)),
            }
        }
    }

    /// Drives a task from `resume` on until `stop` says so of what it wants next, or to its end. Where it stops it
    /// stays, with its handles open: it goes on with [`MemDisk::go_on`].
    ///
    /// # Panics
    /// When the power goes.
    pub(crate) fn drive_up_to<T>(
        &mut self,
        task: &mut Task<T>,
        mut resume: Resume,
        mut stop: impl FnMut(&Op) -> bool,
    ) -> Stopped<T> {
        loop {
            resume = match task.resume(resume) {
                TaskStep::Op(op) if stop(&op) => return Stopped::Before(op),
                TaskStep::Op(op) => Resume::Outcome(self.perform(op).expect("the power stays on")),
                TaskStep::NeedInput => panic!("nobody has an input for this task"),
                TaskStep::Wait(duration) => {
                    self.advance(duration.as_micros() as u64);
                    Resume::Start
                }
                TaskStep::Done(done) => return Stopped::Done(done),
            }
        }
    }

    /// Lets a task that was stopped before `op` go on to its end.
    pub(crate) fn go_on<T>(&mut self, task: &mut Task<T>, op: Op) -> T {
        let resume = Resume::Outcome(self.perform(op).expect("the power stays on"));
        match self.drive_up_to(task, resume, |_| false) {
            Stopped::Done(done) => done,
            Stopped::Before(op) => unreachable!("nothing stops it, nor {op:?}"),
        }
    }

    /// The names of the operations that count, in order.
    pub(crate) fn counted_log(&self) -> Vec<&str> {
        let counts = |name: &&str| !["Close", "Clock", "ProcessAlive", "Wait"].contains(name);
        self.log.iter().map(String::as_str).filter(counts).collect()
    }

    /// Reads from a handle that a task left open.
    pub(crate) fn read_handle(&self, file: Handle, offset: u64, len: usize) -> Vec<u8> {
        let bytes = self.bytes(self.inode(file)).expect("a file");
        let start = bytes.len().min(offset as usize);
        bytes[start..bytes.len().min(start + len)].to_vec()
    }

    /// How many handles are open.
    pub(crate) fn open_handles(&self) -> usize {
        self.handles.len()
    }

    /// Closes a handle that a task left open.
    pub(crate) fn close_handle(&mut self, file: Handle) {
        self.handles.remove(&file.0).expect("closed twice");
    }

    fn inode(&self, handle: Handle) -> usize {
        *self.handles.get(&handle.0).expect("a handle that is not open")
    }

    fn entries(&self, dir: usize) -> Result<&Entries, Errno> {
        match &self.inodes[dir].content {
            Content::Directory(entries) => Ok(entries),
            Content::File(_) => Err(Errno::NotDirectory),
        }
    }

    fn entries_mut(&mut self, dir: usize) -> Result<&mut Entries, Errno> {
        let tick = self.tick_ns();
        let inode = &mut self.inodes[dir];
        inode.mtime_ns = tick;
        match &mut inode.content {
            Content::Directory(entries) => Ok(entries),
            Content::File(_) => Err(Errno::NotDirectory),
        }
    }

    fn find(&self, dir: usize, name: &[u8]) -> Result<usize, Errno> {
        self.entries(dir)?.get(name).copied().ok_or(Errno::NotFound)
    }

    fn opened(&mut self, inode: usize) -> Handle {
        let handle = self.next_handle;
        self.next_handle += 1;
        self.handles.insert(handle, inode);
        Handle(handle)
    }

    fn stat_of(&self, inode: usize) -> Stat {
        let node = &self.inodes[inode];
        let (kind, size) = match &node.content {
            Content::File(bytes) => (Kind::File, bytes.len() as u64),
            Content::Directory(_) => (Kind::Directory, 4096),
        };
        let mtime_ns = node.mtime_ns;
        Stat {
            kind,
            size,
            mtime_ns,
            ctime_ns: mtime_ns,
            inode: inode as u64,
            device: 1,
            links: 1,
            owner: 1000,
        }
    }

    fn bytes(&self, inode: usize) -> Result<&Vec<u8>, Errno> {
        match &self.inodes[inode].content {
            Content::File(bytes) => Ok(bytes),
            Content::Directory(_) => Err(Errno::IsDirectory),
        }
    }

    fn bytes_mut(&mut self, inode: usize) -> Result<&mut Vec<u8>, Errno> {
        let tick = self.tick_ns();
        self.inodes[inode].mtime_ns = tick;
        match &mut self.inodes[inode].content {
            Content::File(bytes) => Ok(bytes),
            Content::Directory(_) => Err(Errno::IsDirectory),
        }
    }

    fn add(&mut self, dir: usize, name: Vec<u8>, content: Content) -> Result<usize, Errno> {
        assert!(!name.is_empty() && !name.contains(&b'/'), "a bad name: {}", String::from_utf8_lossy(&name));
        if name.len() > 255 {
            return Err(Errno::NameTooLong);
        }
        if self.find(dir, &name).is_ok() {
            return Err(Errno::Exists);
        }
        let inode = self.new_inode(content);
        self.entries_mut(dir)?.insert(name, inode);
        Ok(inode)
    }

    /// What a directory that is shut says to an operation that would change it.
    fn refusal(&self, op: &Op) -> Option<Errno> {
        let says = |dir: &Handle| self.shut.get(&self.inode(*dir)).copied();
        match op {
            Op::Create { dir, .. }
            | Op::MakeDir { dir, .. }
            | Op::Unlink { dir, .. }
            | Op::RemoveDir { dir, .. }
            | Op::Writable { dir } => says(dir),
            Op::Rename { dir, to_dir, .. } | Op::Link { dir, to_dir, .. } => says(dir).or(says(to_dir)),
            // Files in it may be written, unless the file system is read-only.
            Op::OpenAppend { dir, .. } | Op::Overwrite { dir, .. } | Op::SetTime { dir, .. } => {
                says(dir).filter(|errno| *errno == Errno::ReadOnly)
            }
            _ => None,
        }
    }

    fn carry_out(&mut self, op: Op) -> OpResult {
        self.advance(10);
        if let Some(errno) = self.refusal(&op) {
            return Err(errno);
        }
        match op {
            Op::OpenRoot { path, create } => match self.roots.get(&path).copied() {
                Some(inode) => Ok(Outcome::Opened(self.opened(inode))),
                None if create => {
                    let inode = self.make_root(&path);
                    Ok(Outcome::Opened(self.opened(inode)))
                }
                None => Err(Errno::NotFound),
            },
            Op::OpenDir { dir, name } => {
                let inode = self.find(self.inode(dir), &name)?;
                self.entries(inode)?;
                Ok(Outcome::Opened(self.opened(inode)))
            }
            Op::MakeDir { dir, name } => {
                self.add(self.inode(dir), name, Content::Directory(Entries::new()))?;
                Ok(Outcome::Unit)
            }
            Op::OpenFile { dir, name } | Op::OpenAppend { dir, name } => {
                let inode = self.find(self.inode(dir), &name)?;
                self.bytes(inode)?;
                let stat = self.stat_of(inode);
                Ok(Outcome::OpenedFile(self.opened(inode), stat))
            }
            Op::Create { dir, name } => {
                let inode = self.add(self.inode(dir), name, Content::File(Vec::new()))?;
                Ok(Outcome::Opened(self.opened(inode)))
            }
            Op::Read { file, offset, len } => {
                let bytes = self.bytes(self.inode(file))?;
                let start = bytes.len().min(offset as usize);
                let end = bytes.len().min(start + len);
                let bytes = bytes[start..end].to_vec();
                self.octets_read += bytes.len();
                Ok(Outcome::Bytes(bytes))
            }
            Op::ReadFile { dir, name, max } => {
                let inode = self.find(self.inode(dir), &name)?;
                let bytes = self.bytes(inode)?;
                let bytes = bytes[..bytes.len().min(max)].to_vec();
                self.octets_read += bytes.len();
                Ok(Outcome::File(bytes, self.stat_of(inode)))
            }
            Op::Write { file, bytes } => {
                let inode = self.inode(file);
                self.bytes_mut(inode)?.extend(bytes);
                self.inodes[inode].ordered = Ordered::No;
                Ok(Outcome::Unit)
            }
            Op::Order { file } => {
                let inode = self.inode(file);
                if self.keeps_order {
                    self.inodes[inode].ordered = Ordered::Asked;
                }
                Ok(Outcome::Flag(self.keeps_order))
            }
            Op::Sync { file } | Op::SyncDir { dir: file } => {
                self.sync(self.inode(file));
                Ok(Outcome::Unit)
            }
            Op::Close { handle } => {
                self.handles.remove(&handle.0).expect("closed twice");
                Ok(Outcome::Unit)
            }
            op => self.carry_out_on_names(op),
        }
    }

    fn carry_out_on_names(&mut self, op: Op) -> OpResult {
        match op {
            Op::Rename { dir, name, to_dir, to_name, replace } => {
                let (from, to) = (self.inode(dir), self.inode(to_dir));
                self.move_entry(from, &name, to, to_name, replace)?;
                Ok(Outcome::Unit)
            }
            Op::Link { dir, name, to_dir, to_name } => {
                let (inode, to) = (self.find(self.inode(dir), &name)?, self.inode(to_dir));
                if self.find(to, &to_name).is_ok() {
                    return Err(Errno::Exists);
                }
                self.entries_mut(to)?.insert(to_name, inode);
                Ok(Outcome::Unit)
            }
            Op::Unlink { dir, name } => {
                let dir = self.inode(dir);
                self.bytes(self.find(dir, &name)?)?;
                self.entries_mut(dir)?.remove(&name);
                Ok(Outcome::Unit)
            }
            Op::RemoveDir { dir, name } => {
                let dir = self.inode(dir);
                if !self.entries(self.find(dir, &name)?)?.is_empty() {
                    return Err(Errno::NotEmpty);
                }
                self.entries_mut(dir)?.remove(&name);
                Ok(Outcome::Unit)
            }
            Op::List { dir } => {
                let name = |(name, inode): (&Vec<u8>, &usize)| Name {
                    name: name.as_slice().into(),
                    kind: self.stat_of(*inode).kind,
                };
                Ok(Outcome::Names(self.entries(self.inode(dir))?.iter().map(name).collect()))
            }
            Op::Stat { dir, name } => {
                let inode = self.find(self.inode(dir), &name)?;
                Ok(Outcome::Stat(self.stat_of(inode)))
            }
            Op::StatHandle { handle } => Ok(Outcome::Stat(self.stat_of(self.inode(handle)))),
            Op::Writable { dir } => {
                self.entries(self.inode(dir))?;
                Ok(Outcome::Unit)
            }
            Op::SetTime { dir, name, mtime_ns } => {
                let inode = self.find(self.inode(dir), &name)?;
                self.inodes[inode].mtime_ns = mtime_ns;
                Ok(Outcome::Unit)
            }
            Op::Overwrite { dir, name, bytes } => {
                let inode = self.find(self.inode(dir), &name)?;
                let old = self.bytes_mut(inode)?;
                let kept = old.split_off(old.len().min(bytes.len()));
                *old = [bytes, kept].concat();
                Ok(Outcome::Unit)
            }
            Op::ProcessAlive { pid } => Ok(Outcome::Flag(self.alive.contains(&pid))),
            Op::Clock => Ok(Outcome::Now(self.now())),
            other => panic!("an operation of the other half: {other:?}"),
        }
    }

    /// A file or directory is durable as it is. A directory's time is in the same place as its entries, so no file
    /// system keeps one without the other.
    fn sync(&mut self, inode: usize) {
        self.sync_alone(inode);
        let named: Vec<usize> =
            (0..self.inodes.len()).filter(|file| self.inodes[*file].ordered == Ordered::Named).collect();
        for file in named {
            let names = |node: &Inode| match &node.durable {
                Content::Directory(entries) => entries.values().any(|inode| *inode == file),
                Content::File(_) => false,
            };
            if self.inodes.iter().any(names) {
                self.sync_alone(file);
            }
        }
    }

    fn sync_alone(&mut self, inode: usize) {
        let node = &mut self.inodes[inode];
        let before = core::mem::replace(&mut node.durable, node.content.clone());
        node.durable_mtime_ns = node.mtime_ns;
        let (Content::Directory(before), Content::Directory(after)) = (before, node.content.clone()) else {
            return;
        };
        // A rename is one step: what has gone from here for good is for good where it went to.
        let gone: Vec<usize> =
            before.values().filter(|file| !after.values().any(|kept| kept == *file)).copied().collect();
        for node in &mut self.inodes {
            if let (Content::Directory(now), Content::Directory(durable)) = (&node.content, &mut node.durable)
            {
                let arrived: Vec<(&Vec<u8>, &usize)> =
                    now.iter().filter(|(_, file)| gone.contains(file)).collect();
                if !arrived.is_empty() {
                    node.durable_mtime_ns = node.mtime_ns;
                }
                durable.extend(arrived.into_iter().map(|(name, file)| (name.clone(), *file)));
            }
        }
    }

    fn move_entry(
        &mut self,
        from: usize,
        name: &[u8],
        to: usize,
        to_name: Vec<u8>,
        replace: bool,
    ) -> Result<(), Errno> {
        let inode = self.find(from, name)?;
        if !replace && self.find(to, &to_name).is_ok() {
            return Err(Errno::Exists);
        }
        self.entries_mut(from)?.remove(name);
        self.entries_mut(to)?.insert(to_name, inode);
        if self.inodes[inode].ordered == Ordered::Asked {
            self.inodes[inode].ordered = Ordered::Named;
        }
        Ok(())
    }

    fn resolve(&self, path: &str) -> Result<usize, Errno> {
        let (root, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let start = *self.roots.get(format!("/{root}").as_bytes()).ok_or(Errno::NotFound)?;
        let parts = rest.split('/').filter(|part| !part.is_empty());
        parts.into_iter().try_fold(start, |dir, part| self.find(dir, part.as_bytes()))
    }

    fn parent<'p>(&self, path: &'p str) -> (usize, &'p [u8]) {
        let (parent, name) = path.rsplit_once('/').expect("an absolute path");
        (self.resolve(parent).expect("the parent exists"), name.as_bytes())
    }
}
