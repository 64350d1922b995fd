//! A file system that remembers what a power cut would leave of it.
//!
//! Everything happens twice: at once in the cache, which every process sees, and some time later on the platter.
//!
//! * A file's octets and its time are on the platter when the file was synced. What was not synced is there, or not,
//!   or torn: a part of it, or zeros in its place (`crash`).
//! * A name is on the platter when its directory was synced after it came there. Names that were not synced survive
//!   in the order of their directory; unsynced operations in different directories survive in any order. A rename is
//!   one operation of two directories: old name or new, never neither. Syncing a file does not sync its name.
//! * Some disks keep a file's octets ahead of its names when asked ([`Op::Order`](postier_core::disk::Op::Order)): with a
//!   name that the file got after that its octets are on the platter, too, even if a sync of the file has failed.
//! * Syncs cover what was done before they began. What was done while they ran is left to the next.
//! * After a failed fsync of a file its octets are lost, though a second fsync says otherwise.
//! * A listing that runs while names change shows each changing name or not ([`exec`]).
//!
//! The unit tests of core have a disk of their own (`maildir/memdisk.rs`): it fails or cuts at a chosen operation of
//! one task and then knows one outcome, the harshest; this one has many tasks, and many outcomes by chance.

mod crash;
pub mod exec;
pub mod path;

use std::collections::BTreeMap;

use postier_core::disk::{Errno, Kind, Stat};

/// Number of a file or directory; 0 is the root.
pub type Ino = usize;
/// What a directory holds.
pub type Entries = BTreeMap<Vec<u8>, Ino>;

/// File times are as coarse as a kernel's.
const TICK_NS: i64 = 4_000_000;

#[derive(Clone, Debug)]
enum Body {
    File(FileBody),
    Directory(DirBody),
}

#[derive(Clone, Debug, Default)]
struct FileBody {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    durable_mtime_ns: i64,
    /// Not all of it is on the platter.
    dirty: bool,
    /// Its lengths after each write that is not synced.
    lengths: Vec<usize>,
    /// A sync failed: no later one brings the octets to the platter.
    doomed: bool,
    /// No name that it got after so many changes of names comes to the platter without the octets.
    ordered: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct DirBody {
    entries: Entries,
    durable: Entries,
    durable_mtime_ns: i64,
}

#[derive(Clone, Debug)]
struct Inode {
    body: Body,
    mtime_ns: i64,
    ctime_ns: i64,
    links: u64,
}

/// A change of names that is not on the platter yet.
#[derive(Clone, Debug)]
struct Pending {
    number: u64,
    at_ns: i64,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    Add { dir: Ino, name: Vec<u8>, ino: Ino },
    Remove { dir: Ino, name: Vec<u8> },
    Move { from: Ino, name: Vec<u8>, to: Ino, to_name: Vec<u8>, ino: Ino },
}

impl Change {
    fn directories(&self) -> (Ino, Ino) {
        match *self {
            Change::Add { dir, .. } | Change::Remove { dir, .. } => (dir, dir),
            Change::Move { from, to, .. } => (from, to),
        }
    }
}

/// See the module's manual.
#[derive(Clone, Debug)]
pub struct Disk {
    inodes: Vec<Inode>,
    pending: Vec<Pending>,
    /// Changes of names so far.
    changes: u64,
    /// It keeps files' octets ahead of their names.
    keeps_order: bool,
    /// Wall clock, nanoseconds since 1970.
    now_ns: i64,
    /// Directories whose names changed, for whoever watches them.
    pub touched: Vec<Ino>,
}

impl Disk {
    /// An empty disk, which keeps files' octets ahead of their names or does not.
    pub fn new(keeps_order: bool) -> Self {
        let body = Body::Directory(DirBody::default());
        let root = Inode { body, mtime_ns: 0, ctime_ns: 0, links: 1 };
        let (pending, touched) = (Vec::new(), Vec::new());
        Disk { inodes: vec![root], pending, changes: 0, keeps_order, now_ns: 0, touched }
    }

    /// Tells the time, in nanoseconds since 1970.
    pub fn set_time(&mut self, now_ns: i64) {
        self.now_ns = now_ns / TICK_NS * TICK_NS;
    }

    fn new_inode(&mut self, body: Body) -> Ino {
        let (mtime_ns, ctime_ns) = (self.now_ns, self.now_ns);
        self.inodes.push(Inode { body, mtime_ns, ctime_ns, links: 0 });
        self.inodes.len() - 1
    }

    fn entries(&self, dir: Ino) -> Result<&Entries, Errno> {
        match &self.inodes[dir].body {
            Body::Directory(body) => Ok(&body.entries),
            Body::File(_) => Err(Errno::NotDirectory),
        }
    }

    fn file(&self, ino: Ino) -> Result<&FileBody, Errno> {
        match &self.inodes[ino].body {
            Body::File(body) => Ok(body),
            Body::Directory(_) => Err(Errno::IsDirectory),
        }
    }

    fn file_mut(&mut self, ino: Ino) -> Result<&mut FileBody, Errno> {
        match &mut self.inodes[ino].body {
            Body::File(body) => Ok(body),
            Body::Directory(_) => Err(Errno::IsDirectory),
        }
    }

    fn find(&self, dir: Ino, name: &[u8]) -> Result<Ino, Errno> {
        self.entries(dir)?.get(name).copied().ok_or(Errno::NotFound)
    }

    fn stat(&self, ino: Ino) -> Stat {
        let inode = &self.inodes[ino];
        let (kind, size) = match &inode.body {
            Body::File(body) => (Kind::File, body.bytes.len() as u64),
            Body::Directory(_) => (Kind::Directory, 4096),
        };
        let Inode { mtime_ns, ctime_ns, links, .. } = *inode;
        Stat { kind, size, mtime_ns, ctime_ns, inode: ino as u64, device: 1, links, owner: 0 }
    }

    /// Carries a change of names out in the cache; it waits for a sync to reach the platter.
    fn change(&mut self, change: Change) {
        let now_ns = self.now_ns;
        let replaced = apply(&change, &mut self.inodes, Layer::Cache);
        if let Some(replaced) = replaced {
            self.inodes[replaced].links = self.inodes[replaced].links.saturating_sub(1);
            self.inodes[replaced].ctime_ns = now_ns;
        }
        let ino = match change {
            Change::Add { ino, .. } => {
                self.inodes[ino].links += 1;
                Some(ino)
            }
            Change::Move { ino, .. } => Some(ino),
            Change::Remove { .. } => None,
        };
        if let Some(ino) = ino {
            self.inodes[ino].ctime_ns = now_ns;
        }
        let (one, other) = change.directories();
        for dir in [one, other] {
            (self.inodes[dir].mtime_ns, self.inodes[dir].ctime_ns) = (now_ns, now_ns);
            if !self.touched.contains(&dir) {
                self.touched.push(dir);
            }
        }
        self.changes += 1;
        self.pending.push(Pending { number: self.changes, at_ns: now_ns, change });
    }

    /// Brings the octets and the time of a file to the platter.
    fn sync_file(&mut self, ino: Ino) {
        let mtime_ns = self.inodes[ino].mtime_ns;
        if let Body::File(body) = &mut self.inodes[ino].body
            && !body.doomed
            && body.dirty
        {
            body.durable.clone_from(&body.bytes);
            (body.durable_mtime_ns, body.dirty) = (mtime_ns, false);
            body.lengths.clear();
        }
    }

    /// From now on a file's octets are ahead of its names, if this disk does that.
    fn order(&mut self, ino: Ino) -> bool {
        let after = self.keeps_order.then_some(self.changes);
        if let Body::File(body) = &mut self.inodes[ino].body {
            body.ordered = after;
        }
        after.is_some()
    }

    /// An fsync of a file has failed.
    pub fn doom(&mut self, ino: Ino) {
        if let Body::File(body) = &mut self.inodes[ino].body {
            body.doomed |= body.dirty;
        }
    }

    /// Brings the names of a directory to the platter as of the change `up_to`, with everything in other directories
    /// that has to come before.
    fn sync_dir(&mut self, dir: Ino, up_to: u64) {
        let mut needed = vec![dir];
        let mut chosen = Vec::new();
        for (index, pending) in self.pending.iter().enumerate().rev() {
            let (one, other) = pending.change.directories();
            if pending.number <= up_to && (needed.contains(&one) || needed.contains(&other)) {
                needed.extend([one, other]);
                chosen.push(index);
            }
        }
        for &index in chosen.iter().rev() {
            let pending = self.pending[index].clone();
            self.settle(&pending);
        }
        for index in chosen {
            self.pending.remove(index);
        }
    }

    /// A name that a file got with the change of this number reaches the platter.
    fn bring_ahead(&mut self, ino: Ino, number: u64) {
        if let Body::File(body) = &mut self.inodes[ino].body
            && body.ordered.is_some_and(|changes| number > changes)
        {
            body.doomed = false;
            self.sync_file(ino);
        }
    }

    /// A change reaches the platter.
    fn settle(&mut self, pending: &Pending) {
        if let Change::Add { ino, .. } | Change::Move { ino, .. } = pending.change {
            self.bring_ahead(ino, pending.number);
        }
        apply(&pending.change, &mut self.inodes, Layer::Platter);
        let (one, other) = pending.change.directories();
        for dir in [one, other] {
            if let Body::Directory(body) = &mut self.inodes[dir].body {
                body.durable_mtime_ns = pending.at_ns;
            }
        }
    }
}

/// Where names are.
#[derive(Clone, Copy)]
enum Layer {
    Cache,
    Platter,
}

/// Carries a change out in one layer; gives back what lost its name.
fn apply(change: &Change, inodes: &mut [Inode], layer: Layer) -> Option<Ino> {
    match change {
        Change::Add { dir, name, ino } => names(inodes, *dir, layer)?.insert(name.clone(), *ino),
        Change::Remove { dir, name } => names(inodes, *dir, layer)?.remove(name),
        Change::Move { from, name, to, to_name, ino } => {
            names(inodes, *from, layer)?.remove(name);
            names(inodes, *to, layer)?.insert(to_name.clone(), *ino)
        }
    }
}

fn names(inodes: &mut [Inode], dir: Ino, layer: Layer) -> Option<&mut Entries> {
    match (&mut inodes[dir].body, layer) {
        (Body::Directory(body), Layer::Cache) => Some(&mut body.entries),
        (Body::Directory(body), Layer::Platter) => Some(&mut body.durable),
        (Body::File(_), _) => None,
    }
}

#[cfg(test)]
mod tests;
