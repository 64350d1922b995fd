//! The users file on disk: one editor at a time, and never half a file.
//!
//! The lock is flock(2) on the file itself. Because an editor replaces the file, whoever gets the lock looks
//! whether the path still names the file that was locked. The replacement keeps mode and owner; it is written beside
//! the file, synced and renamed over it, and then the directory is synced: after a power cut there is
//! the old file or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Exclusive right to change a users file; ends when dropped.
#[derive(Debug)]
pub struct UsersFileLock {
    /// The file itself, symbolic links followed.
    path: PathBuf,
    file: File,
}

impl UsersFileLock {
    /// Waits until no other editor has the file. A file that does not exist is made, empty, with mode 0640.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn acquire(path: &Path) -> io::Result<Self> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o640)
                .open(path)?;
            let path = path.canonicalize()?;
            flock(&file, FlockOperation::LockExclusive)?;
            let (locked, named) = (file.metadata()?, fs::metadata(&path));
            if named.is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino())) {
                return Ok(Self { path, file });
            }
        }
    }

    /// The whole text.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.file.read_to_end(&mut text)?;
        Ok(text)
    }

    /// Puts `text` in the place of the file and gives up the lock.
    ///
    /// # Errors
    /// Those of the file system; the old file is then still there.
    pub fn replace(self, text: &[u8]) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let beside = directory.join(format!(".{name}.{}.tmp", std::process::id()));
        let written = self.write_beside(&beside, text).and_then(|()| fs::rename(&beside, &self.path));
        if written.is_err() {
            // The error that matters is the first one.
            let _ = fs::remove_file(&beside);
        }
        written?;
        File::open(directory)?.sync_all()
    }

    fn write_beside(&self, beside: &Path, text: &[u8]) -> io::Result<()> {
        let old = self.file.metadata()?;
        // A file of this name is left over from a process of the same number that died; the lock says nobody writes it.
        let _ = fs::remove_file(beside);
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
        let made = new.metadata()?;
        if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(&new, Some(old.uid()), Some(old.gid()))?;
        }
        new.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
        new.write_all(text)?;
        new.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_links_and_text_survive() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("users"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o604)).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let mut lock = UsersFileLock::acquire(&link).unwrap();
        assert_eq!(lock.read().unwrap(), b"old");
        lock.replace(b"new").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o604);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_missing_file_is_made_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        UsersFileLock::acquire(&path).unwrap().replace(b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o027, 0);
        assert!(UsersFileLock::acquire(&dir.path().join("no/users")).is_err());
    }

    #[test]
    fn editors_wait_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let mut lock = UsersFileLock::acquire(&path).unwrap();
                        let mut text = lock.read().unwrap();
                        text.push(b'x');
                        lock.replace(&text).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read(&path).unwrap().len(), 80);
    }
}
