//! New files and directories, with the mode and the group of the directory they appear in.
//!
//! Dovecot's rule, so that a tree shared by a group stays shared whoever creates in it: permission bits come
//! from the parent (files without x), the group too. When the group cannot be given (not root and not a member),
//! its bits are taken away rather than given to another group. A mail root that is missing is made with mode
//! 0700, or as its nearest existing parent has it when that one is setgid.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, CWD, Gid, Mode, OFlags};
use rustix::io::{Errno as OsError, retry_on_intr};

const GROUP_AND_OTHER: u32 = 0o077;
const GROUP: u32 = 0o070;
const FILE: u32 = 0o666;
const DIRECTORY: u32 = 0o777;
const SETGID: u32 = 0o2000;

/// Opens the directory at `path`; with `make`, makes it and its parents, each durable in its parent.
pub(super) fn open_root(path: &[u8], make: bool) -> Result<OwnedFd, OsError> {
    match open_path(path) {
        Err(OsError::NOENT) if make => make_path(path),
        other => other,
    }
}

fn open_path(path: &[u8]) -> Result<OwnedFd, OsError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry_on_intr(|| fs::openat(CWD, path, flags, Mode::empty()))
}

fn make_path(path: &[u8]) -> Result<OwnedFd, OsError> {
    if path.first() != Some(&b'/') {
        return Err(OsError::INVAL);
    }
    let mut dir = open_path(b"/")?;
    for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        dir = match retry_on_intr(|| fs::openat(&dir, name, flags, Mode::empty())) {
            Err(OsError::NOENT) => {
                make_root_part(dir.as_fd(), name)?;
                retry_on_intr(|| fs::fsync(&dir))?;
                retry_on_intr(|| fs::openat(&dir, name, flags, Mode::empty()))?
            }
            other => other?,
        };
    }
    Ok(dir)
}

fn make_root_part(dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), OsError> {
    let made = if fs::fstat(dir)?.st_mode & SETGID != 0 {
        make_dir(dir, name)
    } else {
        fs::mkdirat(dir, name, Mode::from_raw_mode(0o700))
    };
    // Somebody else made it at the same moment.
    if made == Err(OsError::EXIST) { Ok(()) } else { made }
}

/// Makes a directory inside `dir`.
pub(super) fn make_dir(dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), OsError> {
    let parent = fs::fstat(dir)?;
    let mode = 0o700 | (parent.st_mode & GROUP_AND_OTHER);
    fs::mkdirat(dir, name, Mode::from_raw_mode(mode))?;
    if mode & GROUP_AND_OTHER == 0 {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let made = retry_on_intr(|| fs::openat(dir, name, flags, Mode::empty()))?;
    share(made.as_fd(), mode, DIRECTORY | SETGID, &parent)
}

/// Creates a file inside `dir`, for appending; it must not exist.
pub(super) fn create(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, OsError> {
    let parent = fs::fstat(dir)?;
    let mode = 0o600 | (parent.st_mode & GROUP_AND_OTHER & FILE);
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = retry_on_intr(|| fs::openat(dir, name, flags, Mode::from_raw_mode(mode)))?;
    if mode & GROUP_AND_OTHER != 0 {
        share(file.as_fd(), mode, FILE, &parent)?;
    }
    Ok(file)
}

/// Gives what was just made the parent's group and `mode`, whatever the umask took away; `mask` are the bits
/// that may be different from what is wanted.
fn share(made: BorrowedFd<'_>, mode: u32, mask: u32, parent: &fs::Stat) -> Result<(), OsError> {
    let found = fs::fstat(made)?;
    let mut wanted = mode | (found.st_mode & SETGID);
    if found.st_gid != parent.st_gid && mode & GROUP != 0 {
        match fs::fchown(made, None, Some(Gid::from_raw(parent.st_gid))) {
            Ok(()) => {}
            Err(OsError::PERM) => wanted &= !(GROUP | SETGID),
            Err(error) => return Err(error),
        }
    }
    if found.st_mode & mask != wanted & mask {
        fs::fchmod(made, Mode::from_raw_mode(wanted))?;
    }
    Ok(())
}
