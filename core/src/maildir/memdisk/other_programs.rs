//! What other programs do to the files, by paths, and what a test sees of them.

use super::{Content, Entries, MemDisk};
use crate::disk::{Errno, Stat};
use alloc::string::String;
use alloc::vec::Vec;
use std::format;

impl MemDisk {
    /// Makes a directory, durably, as another program.
    pub(crate) fn put_dir(&mut self, path: &str) {
        let (parent, name) = self.parent(path);
        self.add(parent, name.to_vec(), Content::Directory(Entries::new())).expect("a new directory");
        self.sync(parent);
    }

    /// From now on nothing can be changed in a directory, and that is why; or it can again.
    pub(crate) fn shut(&mut self, path: &str, why: Option<Errno>) {
        let inode = self.resolve(path).expect("the directory exists");
        match why {
            Some(errno) => _ = self.shut.insert(inode, errno),
            None => _ = self.shut.remove(&inode),
        }
    }

    /// Writes a file, durably, as another program.
    pub(crate) fn put_file(&mut self, path: &str, bytes: &[u8]) {
        let (parent, name) = self.parent(path);
        let _ = self.entries_mut(parent).map(|entries| entries.remove(name));
        let inode = self.add(parent, name.to_vec(), Content::File(bytes.to_vec())).expect("a new file");
        self.inodes[inode].durable = self.inodes[inode].content.clone();
        self.sync(parent);
    }

    /// Renames, durably, as another program.
    pub(crate) fn move_file(&mut self, path: &str, to: &str) {
        let ((from, name), (target, to_name)) = (self.parent(path), self.parent(to));
        self.move_entry(from, name, target, to_name.to_vec(), true).expect("the file exists");
        self.sync(from);
        self.sync(target);
    }

    /// Gives a file a second name, durably.
    pub(crate) fn link_file(&mut self, path: &str, to: &str) {
        let inode = self.resolve(path).expect("the file exists");
        let (target, to_name) = self.parent(to);
        self.entries_mut(target).expect("a directory").insert(to_name.to_vec(), inode);
        self.sync(target);
    }

    /// Appends to a file as another program that does not sync.
    pub(crate) fn append_unsynced(&mut self, path: &str, bytes: &[u8]) {
        let inode = self.resolve(path).expect("the file exists");
        self.bytes_mut(inode).expect("a file").extend_from_slice(bytes);
    }

    /// Renames a new file over another as another program that does not sync the directory.
    pub(crate) fn replace_unsynced(&mut self, path: &str, bytes: &[u8]) {
        let (parent, name) = self.parent(path);
        let inode = self.new_inode(Content::File(bytes.to_vec()));
        self.inodes[inode].durable = self.inodes[inode].content.clone();
        self.entries_mut(parent).expect("a directory").insert(name.to_vec(), inode);
    }

    /// Sets a modification time, durably.
    pub(crate) fn set_mtime(&mut self, path: &str, mtime_ns: i64) {
        let inode = self.resolve(path).expect("the file exists");
        self.inodes[inode].mtime_ns = mtime_ns;
        self.inodes[inode].durable_mtime_ns = mtime_ns;
    }

    /// Removes a file, or a directory with what is in it, durably, as another program.
    pub(crate) fn remove_file(&mut self, path: &str) {
        let (parent, name) = self.parent(path);
        self.entries_mut(parent).expect("a directory").remove(name).expect("the file exists");
        self.sync(parent);
    }

    /// The names in a directory; none if it does not exist.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = self.resolve(path).and_then(|dir| self.entries(dir));
        let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
        entries.map(|entries| entries.keys().map(text).collect()).unwrap_or_default()
    }

    /// The octets of a file.
    pub(crate) fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.bytes(self.resolve(path).ok()?).ok().cloned()
    }

    /// The stat of a file or directory.
    pub(crate) fn stat(&self, path: &str) -> Option<Stat> {
        Some(self.stat_of(self.resolve(path).ok()?))
    }

    /// The octets of every file in a directory.
    pub(crate) fn contents(&self, path: &str) -> Vec<Vec<u8>> {
        self.names(path).iter().filter_map(|name| self.read(&format!("{path}/{name}"))).collect()
    }
}
