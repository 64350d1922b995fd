//! Directory watches: one inotify instance for the whole process, two watches for each mailbox.
//!
//! A system that has no instance left gives none; then nothing can be watched, and mailboxes are looked at now and then.
//! The office's thread adds and removes watches; the control thread's poll reads what happened. Several mailboxes may
//! name one directory (two accounts that share a Maildir), so a kernel watch has a list of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use postier_core::server::office::WatchId;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// The directories of a mailbox in which messages come, go and are renamed.
const WATCHED: [&[u8]; 2] = [b"new", b"cur"];

/// See the module's manual.
pub(super) struct Watcher {
    inotify: Result<OwnedFd, Errno>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_kernel: BTreeMap<i32, BTreeSet<WatchId>>,
    by_watch: BTreeMap<WatchId, Vec<i32>>,
}

impl Watcher {
    pub(super) fn new() -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        if let Err(error) = &inotify {
            tracing::warn!(
                %error,
                "changes by other programs are seen seconds later: raise fs.inotify.max_user_instances"
            );
        }
        Watcher { inotify, table: Mutex::default() }
    }

    /// For the poll, if there is anything to wait for.
    pub(super) fn fd(&self) -> Option<RawFd> {
        self.inotify.as_ref().ok().map(AsRawFd::as_raw_fd)
    }

    /// Watches `cur` and `new` in a mailbox directory.
    ///
    /// # Errors
    /// ENOSPC when the user has too many watches, ENOENT …; nothing is watched then.
    pub(super) fn watch(&self, watch: WatchId, path: &[u8]) -> Result<(), Errno> {
        let inotify = self.inotify.as_ref().map_err(|error| *error)?;
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        for name in WATCHED {
            let directory = [path, b"/", name].concat();
            // The table is locked first: an event must not come before its watch is known.
            let mut table = self.table();
            match inotify::add_watch(inotify, directory, flags) {
                Ok(kernel) => {
                    table.by_kernel.entry(kernel).or_default().insert(watch);
                    table.by_watch.entry(watch).or_default().push(kernel);
                }
                Err(error) => {
                    drop(table);
                    self.unwatch(watch);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    pub(super) fn unwatch(&self, watch: WatchId) {
        let mut table = self.table();
        for kernel in table.by_watch.remove(&watch).unwrap_or_default() {
            let Some(watches) = table.by_kernel.get_mut(&kernel) else { continue };
            watches.remove(&watch);
            if watches.is_empty() {
                table.by_kernel.remove(&kernel);
                // An error means that the directory is gone, and the watch with it.
                let _ = self.inotify.as_ref().map(|inotify| inotify::remove_watch(inotify, kernel));
            }
        }
    }

    /// All mailboxes in which something happened, each once.
    pub(super) fn read(&self) -> BTreeSet<WatchId> {
        let mut changed = BTreeSet::new();
        let Ok(inotify) = &self.inotify else { return changed };
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            let table = self.table();
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                // Anything may have happened anywhere.
                changed.extend(table.by_watch.keys());
            } else if let Some(watches) = table.by_kernel.get(&event.wd()) {
                changed.extend(watches);
            }
        }
        changed
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn changes_in_new_and_cur_are_seen_until_unwatched() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().as_os_str().as_encoded_bytes();
        for name in ["new", "cur", "tmp"] {
            fs::create_dir(tmp.path().join(name)).unwrap();
        }
        let watcher = Watcher::new();
        let (one, two) = (WatchId(1), WatchId(2));
        watcher.watch(one, path).unwrap();
        watcher.watch(two, path).unwrap();
        fs::write(tmp.path().join("tmp/a"), "x").unwrap();
        assert!(watcher.read().is_empty());
        fs::rename(tmp.path().join("tmp/a"), tmp.path().join("new/a")).unwrap();
        assert_eq!(watcher.read(), BTreeSet::from([one, two]));
        assert!(watcher.read().is_empty());
        watcher.unwatch(one);
        fs::rename(tmp.path().join("new/a"), tmp.path().join("cur/a")).unwrap();
        assert_eq!(watcher.read(), BTreeSet::from([two]));
        watcher.unwatch(two);
        fs::remove_file(tmp.path().join("cur/a")).unwrap();
        assert!(watcher.read().is_empty());
    }

    #[test]
    fn a_missing_directory_is_an_error_and_leaves_nothing_watched() {
        let tmp = tempfile::tempdir().unwrap();
        fs::create_dir(tmp.path().join("new")).unwrap();
        let watcher = Watcher::new();
        let path = tmp.path().as_os_str().as_encoded_bytes();
        assert_eq!(watcher.watch(WatchId(1), path), Err(Errno::NOENT));
        fs::write(tmp.path().join("new/a"), "x").unwrap();
        assert!(watcher.read().is_empty() && watcher.table().by_kernel.is_empty());
    }
}
