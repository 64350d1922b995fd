//! The place where local programs leave their mail, on the real file system: made by the server, filled by `sendmail`.
//!
//! It is `drop` in the state directory, laid out as [`postier_core::pickup`] says. Anybody may make files in `tmp` and rename
//! them into `new`; nobody but the server's user can list either, and the names cannot be guessed. So a drop can be readable
//! for the server, whoever wrote it, and still nobody else reads it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use postier_core::pickup::{Drop, name_of};

/// The directories, with their modes: any user may make and rename their own files in some, and see nobody's.
const LAYOUT: [(&str, u32); 4] = [("", 0o711), ("tmp", 0o1733), ("new", 0o1733), ("cur", 0o700)];

/// Where local programs leave their mail.
pub fn directory(state: &Path) -> PathBuf {
    state.join("drop")
}

/// Makes the place, or makes it as it must be. For the user that the server is.
///
/// # Errors
/// What the file system says.
pub fn prepare(state: &Path) -> io::Result<PathBuf> {
    let top = directory(state);
    for (part, mode) in LAYOUT {
        let path = if part.is_empty() { top.clone() } else { top.join(part) };
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    Ok(top)
}

/// Whether other users can pass through the state directory to it. A state directory that is not there yet will be made so.
pub fn is_open(state: &Path) -> bool {
    fs::metadata(state).map_or(true, |metadata| metadata.permissions().mode() & 0o001 != 0)
}

/// A mail that is being handed in. Dropped before its end it leaves nothing.
#[derive(Debug)]
pub struct HandIn {
    file: File,
    temporary: PathBuf,
    place: PathBuf,
    name: String,
}

impl HandIn {
    /// Begins with the envelope.
    ///
    /// # Errors
    /// `NotFound` where no server has made the place; what the file system says.
    pub fn begin(state: &Path, drop: &Drop) -> io::Result<Self> {
        let mut random = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let (place, name) = (directory(state), name_of(random));
        let temporary = place.join("tmp").join(&name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary)?;
        let mut handing = Self { file, temporary, place, name };
        // Whatever the umask: the server is another user.
        handing.file.set_permissions(Permissions::from_mode(0o644))?;
        handing.write(&drop.to_file())?;
        Ok(handing)
    }

    /// More of the message.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.write_all(octets)
    }

    /// The message is whole: from here on it is the server's, durably. Its name comes back.
    ///
    /// # Errors
    /// What the file system says. After a failure of the last sync the server may have taken it all the same.
    pub fn finish(mut self) -> io::Result<String> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, self.place.join("new").join(&self.name))?;
        self.temporary = PathBuf::new();
        // Others than the server's user cannot open the directory to sync it. Linux's file systems write the new name with
        // the inode, which the rename has changed.
        self.file.sync_all()?;
        match File::open(self.place.join("new")) {
            Ok(directory) => directory.sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
        Ok(std::mem::take(&mut self.name))
    }
}

impl std::ops::Drop for HandIn {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            // What stays is removed by the server after a day and a half.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_in_is_whole_or_not_there() {
        let state = tempfile::tempdir().unwrap();
        let drop = Drop { user: "ann".into(), recipients: vec!["bob".into()], ..Drop::default() };
        assert_eq!(HandIn::begin(state.path(), &drop).unwrap_err().kind(), io::ErrorKind::NotFound);
        let place = prepare(state.path()).unwrap();
        for (part, mode) in LAYOUT {
            let found = fs::metadata(place.join(part)).unwrap().permissions().mode() & 0o7777;
            assert_eq!(found, mode, "{part}");
        }
        let count = |part: &str| fs::read_dir(place.join(part)).unwrap().count();
        let mut first = HandIn::begin(state.path(), &drop).unwrap();
        first.write(b"Subject: x\n\n").unwrap();
        assert_eq!((count("tmp"), count("new")), (1, 0));
        std::mem::drop(first);
        assert_eq!((count("tmp"), count("new")), (0, 0));
        let mut second = HandIn::begin(state.path(), &drop).unwrap();
        second.write(b"hello\n").unwrap();
        let name = second.finish().unwrap();
        assert_eq!((count("tmp"), count("new")), (0, 1));
        let file = fs::read(place.join("new").join(name)).unwrap();
        assert_eq!(
            Drop::from_file(&file, 9).map(|(read, at)| (read, &file[at..])),
            Some((drop, &b"hello\n"[..]))
        );
        // A second start finds the place as it is.
        prepare(state.path()).unwrap();
        assert_eq!(count("new"), 1);
    }

    #[test]
    fn a_closed_state_directory_is_noticed() {
        let state = tempfile::tempdir().unwrap();
        for (mode, open) in [(0o700, false), (0o711, true)] {
            fs::set_permissions(state.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_open(state.path()), open);
        }
        assert!(is_open(&state.path().join("none")));
    }
}
